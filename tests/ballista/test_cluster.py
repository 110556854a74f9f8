"""Nights on a cluster of one scheduler and two executors give the lake that the embedded engine gives, bit for bit.

`make ballista` builds a binary that knows clusters, and runs this with it. Every process is a real one, on this machine.
"""

import os
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import polars as pl
import pytest
import yaml
from deltalake import DeltaTable

ROOT = Path(__file__).parents[2]
SCOREHOUSE = os.environ.get("SCOREHOUSE", "")
FIRST, SECOND = "2025-06-29", "2025-06-30"
USERS, DAYS = 400, 150
# Seconds.
LONG = 1800
LOST_AFTER = 10
# What says when and by whom something was done, and not what came of it.
ACCOUNTS = ("runs", "running", "manifest")
# Of other tables, what names the run, and the files that it pinned.
NAMES_OF_RUNS = {"run_id", "inputs"}


def scorehouse(*arguments: object, codes: tuple[int, ...] = (0,), **options) -> subprocess.CompletedProcess:
    command = [SCOREHOUSE, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG, **options)
    assert done.returncode in codes, done.stderr
    return done


def night(date: str, *place: object) -> str:
    """What a night computes by queries, and a model; what they say."""
    said = [scorehouse(job, "--date", date, *place) for job in ("ingest", "tables", "features")]
    said.append(scorehouse("train", "--select", "buying", "--date", date, *place))
    return "".join(done.stdout + done.stderr for done in said)


def free_port(following: int = 0) -> int:
    """A port of this machine that nobody listens on, nor on so many that follow it."""
    for _ in range(100):
        with ExitStack() as held:
            try:
                first = held.enter_context(socket.socket())
                first.bind(("127.0.0.1", 0))
                port = first.getsockname()[1]
                for more in range(following):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port + 1 + more))
                return port
            except OSError:
                continue
    raise RuntimeError("no ports are free")


@contextmanager
def process(log: Path, *arguments: object):
    with open(log, "w") as said:
        started = subprocess.Popen([SCOREHOUSE, *map(str, arguments)], cwd=ROOT, stdout=said, stderr=said)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(port: int, started: subprocess.Popen, log: Path) -> None:
    for _ in range(600):
        if answers(port):
            return
        assert started.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(f"nobody listens on {port}: {log.read_text()}")


class Cluster:
    """A scheduler and two executors, and the profile of jobs that compute there."""

    def __init__(self, folder: Path, raw: Path, stack: ExitStack):
        self.port, self.folder = free_port(), folder
        self.profile = folder / "cluster.yaml"
        settings = {"lake": str(folder / "lake"), "raw": str(raw)}
        settings |= {"engine": "ballista", "scheduler": f"http://127.0.0.1:{self.port}"}
        self.profile.write_text(yaml.safe_dump(settings))
        log = folder / "scheduler.log"
        arguments = ["ballista", "scheduler", "--listen", f"127.0.0.1:{self.port}"]
        self.scheduler = stack.enter_context(process(log, *arguments, "--executor-timeout", LOST_AFTER))
        wait_for(self.port, self.scheduler, log)
        self.executors = []
        for name in ("one", "two"):
            log, port = folder / f"{name}.log", free_port(following=1)
            arguments = ["ballista", "executor", "--profile", self.profile, "--listen", f"127.0.0.1:{port}"]
            started = stack.enter_context(process(log, *arguments, "--work-dir", folder / name, "--tasks", 2))
            wait_for(port, started, log)
            self.executors.append(started)

    @property
    def lake(self) -> Path:
        return self.folder / "lake"


@pytest.fixture(scope="session")
def raw(tmp_path_factory) -> Path:
    assert os.access(SCOREHOUSE, os.X_OK), "`make ballista` builds the binary and sets SCOREHOUSE"
    folder = tmp_path_factory.mktemp("events") / "raw"
    scorehouse("generate", "--users", USERS, "--days", DAYS, "--seed", 3, "--date", SECOND, "--raw", folder)
    return folder


@pytest.fixture(scope="session")
def embedded(raw, tmp_path_factory) -> Path:
    lake = tmp_path_factory.mktemp("embedded") / "lake"
    for date in (FIRST, SECOND):
        night(date, "--raw", raw, "--lake", lake)
    return lake


def tables(lake: Path) -> dict[str, Path]:
    found = {str(log.parent.relative_to(lake)): log.parent for log in lake.rglob("_delta_log")}
    return {name: path for name, path in found.items() if name.split("/")[0] not in ACCOUNTS}


def rows(path: Path) -> pl.DataFrame:
    """Every row as text, bits of floats included, in an order of their own."""
    frame = pl.from_arrow(DeltaTable(path).to_pyarrow_table())
    texts = []
    for column in sorted(set(frame.columns) - NAMES_OF_RUNS):
        values = frame[column]
        if values.dtype.is_float():
            values = values.to_physical().map_elements(float.hex, return_dtype=pl.String)
        texts.append(pl.Series(column, [repr(value) for value in values.to_list()]))
    return pl.DataFrame(texts).sort(pl.all())


def assert_same(here: Path, there: Path) -> None:
    ours, theirs = tables(here), tables(there)
    assert ours.keys() == theirs.keys()
    for name in sorted(ours):
        one, other = rows(ours[name]), rows(theirs[name])
        assert one.equals(other), f"{name}: {one.height} rows embedded, {other.height} on the cluster"
    assert len(ours) > 30


def used(folder: Path) -> int:
    """Files that an executor left of what it did."""
    return sum(1 for path in folder.rglob("*") if path.is_file())


def test_a_cluster_gives_the_same_lake(raw, embedded, tmp_path):
    with ExitStack() as stack:
        cluster = Cluster(tmp_path, raw, stack)
        for date in (FIRST, SECOND):
            night(date, "--profile", cluster.profile)
        assert used(tmp_path / "one") and used(tmp_path / "two"), "both have worked"
        assert_same(embedded, cluster.lake)
        assert "unchanged" in night(SECOND, "--profile", cluster.profile)
        asked = scorehouse("query", "select count(*) as n from tables.payment", "--profile", cluster.profile, "--json")
        here = scorehouse("query", "select count(*) as n from tables.payment", "--lake", embedded, "--raw", raw, "--json")
        assert asked.stdout == here.stdout


def test_an_executor_that_is_killed_half_way_costs_time_only(raw, embedded, tmp_path):
    with ExitStack() as stack:
        cluster = Cluster(tmp_path, raw, stack)
        place = ("--profile", cluster.profile)
        night(FIRST, *place)
        scorehouse("ingest", "--date", SECOND, *place)
        log = tmp_path / "tables.log"
        with open(log, "w") as said:
            command = [SCOREHOUSE, "tables", "--date", SECOND, "--profile", str(cluster.profile)]
            tables = subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=said)
        stack.callback(tables.kill)
        # Some tables are there, others are not.
        deadline = time.monotonic() + LONG
        while "step=" not in log.read_text() and tables.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert tables.poll() is None, log.read_text()
        cluster.executors[0].kill()
        assert tables.wait(LONG) == 0, log.read_text()
        night(SECOND, *place)
        assert_same(embedded, cluster.lake)


def test_without_a_scheduler_a_job_ends_as_temporary(raw, embedded, tmp_path):
    settings = {"lake": str(embedded), "raw": str(raw), "engine": "ballista"}
    settings["scheduler"] = f"http://127.0.0.1:{free_port()}"
    profile = tmp_path / "nobody.yaml"
    profile.write_text(yaml.safe_dump(settings))
    command = ["query", "select sum(amount) from tables.payment", "--profile", profile]
    said = scorehouse(*command, codes=(75,)).stderr
    assert settings["scheduler"] in said, said


@pytest.mark.xfail(reason="what a task failed with comes back as text, and not yet with its exit code")
def test_a_scheduler_without_executors_ends_as_temporary(raw, embedded, tmp_path):
    port, log = free_port(), tmp_path / "scheduler.log"
    profile = tmp_path / "nobody.yaml"
    settings = {"lake": str(embedded), "raw": str(raw), "engine": "ballista"}
    profile.write_text(yaml.safe_dump(settings | {"scheduler": f"http://127.0.0.1:{port}"}))
    arguments = ["ballista", "scheduler", "--listen", f"127.0.0.1:{port}", "--executor-timeout", "5"]
    with process(log, *arguments) as scheduler:
        wait_for(port, scheduler, log)
        command = ["query", "select sum(amount) from tables.payment", "--profile", profile]
        scorehouse(*command, codes=(75,))


def test_errors_of_data_and_of_queries_keep_their_codes(raw, embedded, tmp_path):
    with ExitStack() as stack:
        cluster = Cluster(tmp_path, raw, stack)
        settings = yaml.safe_load(cluster.profile.read_text()) | {"lake": str(embedded)}
        cluster.profile.write_text(yaml.safe_dump(settings))
        query = ["query", "--profile", cluster.profile]
        scorehouse(*query, "select cast(payment_method as bigint) from tables.payment", codes=(3,))
        scorehouse(*query, "select nothing from tables.payment", codes=(2,))
