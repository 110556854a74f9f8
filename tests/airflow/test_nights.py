"""What becomes of a lake when Airflow runs its nights: the same as without it, whatever happens on the way."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from conftest import DAGS, FIRST, LONG, SCRIPT, SECOND, Airflow
from lakes import assert_same, scored, versions


def until(what, said: str):
    """Waits for what is asked to be true, and gives it."""
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.3)
    raise AssertionError(f"not {said} after {LONG} seconds")


def test_two_nights_with_a_refusal_in_the_second_and_once_more(airflow, place, undisturbed, tmp_path: Path) -> None:
    home, lake = airflow(**place()), tmp_path / "lake"
    assert home.night(FIRST) == 0, home.said()
    assert set(home.states(FIRST).values()) == {"success"}
    assert_same(lake, undisturbed[FIRST])

    assert home.night(SECOND) == 0, home.said()
    states = home.states(SECOND)
    assert states.pop("strict.gate") == "skipped", "its candidate was refused"
    assert set(states.values()) == {"success"}
    assert_same(lake, undisturbed[SECOND])
    for model in ("calm", "strict"):
        nights = [scored(lake, model, date) for date in (FIRST, SECOND)]
        assert all(len(night) > 100 for night in nights)
        assert {row["model_version"][:10] for night in nights for row in night} == {FIRST}, "the old champion scores"

    # A finished night, and then a finished task, once more.
    before = versions(lake)
    assert home.night(SECOND) == 0
    assert home.states(SECOND)["strict.gate"] == "skipped", "it is told again what was found"
    assert home.run("tasks", "test", "scorehouse", "features", SECOND) == 0
    assert versions(lake) == before


def test_a_killed_job_is_completed_by_its_retry(airflow, place, undisturbed, tmp_path: Path) -> None:
    home, lake, go = airflow(**place()), tmp_path / "lake", tmp_path / "go"
    # Held where its files are written and no version names them yet.
    held = f"before-commit:features/payments=hold:{go}"
    night = home.start("dags", "test", "scorehouse", FIRST, SCOREHOUSE_FAILPOINT=held)
    until((tmp_path / "go.held").exists, "held")
    (note,) = (lake / "running").glob("*-features.json")
    process = json.loads(note.read_text())["process"]
    os.kill(process, signal.SIGKILL)
    go.touch()
    assert night.wait(LONG) == 0, home.said()
    assert home.tasks(FIRST)["features"] == ("success", 2)
    assert_same(lake, undisturbed[FIRST])


def test_two_runs_of_one_date_at_once(airflow, place, undisturbed, tmp_path: Path) -> None:
    """One Airflow does not run a date twice at once; two do that know nothing of each other."""
    shutil.copytree(undisturbed[FIRST], tmp_path / "lake")
    homes = [airflow(name, **place()) for name in ("one", "other")]
    nights = [home.start("dags", "test", "scorehouse", SECOND) for home in homes]
    assert [night.wait(LONG) for night in nights] == [0, 0], homes[0].said() + homes[1].said()
    assert_same(tmp_path / "lake", undisturbed[SECOND])


def test_airflows_own_backfill(airflow, place, undisturbed, tmp_path: Path) -> None:
    """By scheduler, DAG processor and API server, as in earnest; of a DAG that ends, so that no night of today's runs."""
    folder = tmp_path / "dags"
    folder.mkdir()
    shipped = f"import sys; sys.path.append({str(DAGS)!r})\nfrom scorehouse_nightly import dag\n"
    ends = f"import pendulum\n\ndag.end_date = pendulum.parse({SECOND!r})\n"
    (folder / "ends.py").write_text(f"# airflow dag\n{shipped}{ends}")
    home: Airflow = airflow(AIRFLOW__CORE__DAGS_FOLDER=folder, **place())
    with open(home.home / "served.txt", "w") as log:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log, "text": True}
        served = subprocess.Popen([SCRIPT, "serve", home.home], env=os.environ | home.environment, **pipes)
    try:
        assert served.stdout.readline().startswith("endpoint=http://127.0.0.1:"), (home.home / "served.txt").read_text()
        asked = ["backfill", "create", "--dag-id", "scorehouse", "--from-date", FIRST, "--to-date", SECOND]
        assert home.run(*asked, "--max-active-runs", "1") == 0, home.said()
        assert home.run("dags", "unpause", "scorehouse") == 0, home.said()
        ended = "select count(*) from dag_run where backfill_id is not null and state in ('success', 'failed')"
        until(lambda: home.ask(ended) == [(2,)], "backfilled")
    finally:
        served.stdin.close()
        served.wait(60)
    assert home.states(FIRST)["night"] == home.states(SECOND)["night"] == "success"
    assert home.states(SECOND)["strict.gate"] == "skipped"
    assert_same(tmp_path / "lake", undisturbed[SECOND])
