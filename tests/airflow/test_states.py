"""What Airflow makes of each exit code: a script that ends with the codes it is given stands for scorehouse."""

from datetime import datetime, timezone
from pathlib import Path

import pytest
from conftest import FIRST

STUB = """#!/bin/sh
# stub JOB … [--select MODEL]: ends with the first code that is left in its file, by SIGKILL if it is `kill`, or with 0.
for last; do :; done
name=$1
case " $* " in *" --select "*) name=$last.$1 ;; esac
echo "$name: $*" >>calls.txt
code=$(sed -n 1p "codes/$name" 2>/dev/null)
sed -i 1d "codes/$name" 2>/dev/null
[ "$code" != kill ] || kill -9 $$
exit "${code:-0}"
"""


@pytest.fixture
def codes(airflow, tmp_path: Path):
    """Runs a night in which jobs end with these codes, one try after the other."""
    (tmp_path / "models" / "experiments").mkdir(parents=True)
    (tmp_path / "codes").mkdir()
    for name in "ab":
        (tmp_path / f"models/{name}.yaml").write_text(f"model: {name}\n")
    (tmp_path / "models/experiments/c.yaml").write_text("experiment: c\nmodel: a\n")
    (tmp_path / "stub").write_text(STUB)
    (tmp_path / "stub").chmod(0o755)
    home = airflow(SCOREHOUSE=tmp_path / "stub", SCOREHOUSE_PROJECT=tmp_path, SCOREHOUSE_PROFILE="p.yaml")

    def run(date: str = FIRST, **jobs: str):
        for job, given in jobs.items():
            (tmp_path / "codes" / job.replace("__", ".")).write_text(given.replace(" ", "\n") + "\n")
        code = home.night(date)
        calls = (tmp_path / "calls.txt").read_text().splitlines() if (tmp_path / "calls.txt").exists() else []
        return code, home.tasks(date), calls

    return run


def test_temporary_is_retried_a_refusal_is_skipped_and_a_failed_gate_stops_no_scoring(codes) -> None:
    code, tasks, calls = codes(ingest="75 75", a__gate="4", b__gate="3")
    assert tasks["ingest"] == ("success", 3)
    assert tasks["a.gate"] == ("skipped", 1)
    assert tasks["b.gate"] == ("failed", 1)
    assert all(tasks[task][0] == "success" for task in ["a.score", "a.monitor", "b.score", "b.monitor", "report"])
    assert (tasks["night"][0], code) == ("upstream_failed", 1), "a failed gate fails the run, once all is done"
    assert f"a.score: score --date {FIRST} --profile p.yaml --select a" in calls
    assert not [call for call in calls if call.startswith("c")], "an experiment is no model"


def test_without_tonights_features_nothing_is_trained_or_scored(codes) -> None:
    code, tasks, calls = codes(features="3")
    assert tasks["features"] == ("failed", 1), "no retry helps what broke its contract"
    after = {task: state for task, (state, _) in tasks.items() if task not in ("ingest", "tables", "features")}
    # `judged` succeeds whatever became of training and gate; that is all there is of it.
    assert {after.pop("a.judged"), after.pop("b.judged")} == {"success"}
    assert set(after.values()) == {"upstream_failed"}
    assert [call.split(":")[0] for call in calls] == ["ingest", "tables", "features"]
    assert code == 1


def test_a_kill_is_retried_and_one_models_failure_is_not_the_others(codes) -> None:
    code, tasks, _ = codes(a__train="kill", b__score="1", b__train="2")
    assert tasks["a.train"] == ("success", 2)
    assert tasks["b.train"] == ("failed", 1)
    assert tasks["b.score"] == ("failed", 1), "it ran, although there was no training"
    assert tasks["b.monitor"][0] == "upstream_failed"
    assert tasks["report"][0] == "success"
    assert (tasks["night"][0], code) == ("upstream_failed", 1)


def test_a_refusal_alone_leaves_the_run_green(codes) -> None:
    code, tasks, _ = codes(a__gate="4")
    assert {state for state, _ in tasks.values()} == {"success", "skipped"}
    assert tasks["night"][0] == "success"
    assert code == 0


def test_a_day_that_is_not_over_is_no_night(codes) -> None:
    today = f"{datetime.now(timezone.utc):%Y-%m-%d}"
    code, tasks, calls = codes(date=today)
    assert tasks["ingest"] == ("failed", 1)
    assert (code, calls) == (1, [])
