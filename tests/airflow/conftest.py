"""What the tests of orchestration/airflow have: Airflow itself, a small project, its events, and an undisturbed lake.

Airflow runs in a home of its own for each test, by `airflow dags test`, with the DAG as it is shipped. Where a test
asks what becomes of exit codes, a script that ends with them stands for scorehouse; where it asks what becomes of a
lake, scorehouse itself runs.
"""

import os
import shutil
import sqlite3
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DAGS = ROOT / "orchestration" / "airflow"
SCRIPT = ROOT / "orchestration" / "airflow.sh"
FIRST, SECOND = "2025-06-29", "2025-06-30"
# Seconds. A night here takes some, and the machine may be busy.
LONG = int(os.environ.get("SCOREHOUSE_AIRFLOW_PATIENCE", "900"))


def pytest_configure(config: pytest.Config) -> None:
    """Without the binary nothing is tested, which is a failure."""
    binary = os.environ.get("SCOREHOUSE", "")
    if not os.access(binary, os.X_OK):
        raise pytest.UsageError(f"SCOREHOUSE={binary} is no program; `make airflow` builds it and sets it")


def scorehouse(*arguments: object, code: int = 0) -> str:
    command = [os.environ["SCOREHOUSE"], *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == code, done.stderr
    return done.stdout


@dataclass
class Airflow:
    """A home of Airflow, and what its DAG finds in the environment."""

    home: Path
    environment: dict[str, str]

    def start(self, *arguments: str, **more: str) -> subprocess.Popen:
        """`airflow ARGUMENT…`, under way; its output goes to a file of the home."""
        with open(self.home / "said.txt", "a") as said:
            command = [SCRIPT, "run", self.home, *arguments]
            environment = os.environ | self.environment | more
            return subprocess.Popen(command, env=environment, stdout=said, stderr=said, stdin=subprocess.DEVNULL)

    def run(self, *arguments: str, **more: str) -> int:
        return self.start(*arguments, **more).wait(LONG)

    def night(self, date: str, **more: str) -> int:
        """The exit code of a run of the DAG."""
        return self.run("dags", "test", "scorehouse", date, **more)

    def said(self) -> str:
        return (self.home / "said.txt").read_text()

    def ask(self, query: str) -> list[tuple]:
        with sqlite3.connect(f"file:{self.home}/airflow.db?mode=ro", uri=True, timeout=60) as connection:
            return connection.execute(query).fetchall()

    def tasks(self, date: str) -> dict[str, tuple[str, int]]:
        """State and number of tries of each task of a date's run."""
        found = self.ask(
            "select task_id, task_instance.state, try_number from task_instance join dag_run using (dag_id, run_id)"
            f" where logical_date like '{date}%'"
        )
        assert found, self.said()
        return {task: (state, tries) for task, state, tries in found}

    def states(self, date: str) -> dict[str, str]:
        return {task: state for task, (state, _) in self.tasks(date).items()}


@pytest.fixture(scope="session")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with its database made, to be copied: making it takes longer than a run."""
    home = tmp_path_factory.mktemp("airflow")
    assert Airflow(home, {}).run("version") == 0, (home / "said.txt").read_text()
    (home / "airflow.cfg").unlink(missing_ok=True)
    return home


@pytest.fixture
def airflow(settled: Path, tmp_path: Path):
    """Makes a home: `airflow(name, SCOREHOUSE_PROFILE=…)`."""

    def make(name: str = "home", **environment: object) -> Airflow:
        shutil.copytree(settled, tmp_path / name)
        # The DAG leaves the seconds before a retry to Airflow's own setting.
        settings = {"AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1"}
        return Airflow(tmp_path / name, settings | {key: str(value) for key, value in environment.items()})

    return make


# Two models of one kind. The gate of `strict` lets the first version pass, and then nothing that differs from it.
MODEL = """
model: {name}
description: Cancellation, refusal or return of an order within a week.
entity: user_id
spine: {{table: purchase_order, as_of: ordered_at, key: [purchase_id], seed: 7}}
label: {{table: order_outcomes, match: [purchase_id], horizon: 7d, delay: 1d}}
inputs: [payments.*]
head: {{kind: lightgbm, params: {{learning_rate: 0.2, num_leaves: 4, min_data_in_leaf: 20}}, rounds: 10, seed: 1}}
validation: {{kind: time, test: 20d}}
score: {{from: 100, to: 0}}
decisions:
  - {{action: cash_on_delivery, below: 0.2}}
  - {{action: prepaid_only}}
scoring: {{population: users}}
gate: {{checks: {checks}}}
retrain: {retrain}
"""
SOURCES = {"user", "purchase_order", "payment", "cancellation", "refusal", "return"}
TABLES = ["users", "order_payments", "order_outcomes"]


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As much of the shipped project as two quick models need."""
    root = tmp_path_factory.mktemp("project")
    for folder in ("sql/marts", "features", "models"):
        (root / folder).mkdir(parents=True)
    for name in TABLES:
        for ending in ("sql", "yaml"):
            shutil.copy(ROOT / f"sql/marts/{name}.{ending}", root / "sql/marts")
    shutil.copy(ROOT / "features/payments.yaml", root / "features")
    sources = yaml.safe_load((ROOT / "sql/sources.yaml").read_text())
    sources["sources"] = {name: source for name, source in sources["sources"].items() if name in SOURCES}
    (root / "sql/sources.yaml").write_text(yaml.safe_dump(sources, sort_keys=False))
    for name, checks, retrain in [("calm", "{}", "7d"), ("strict", "{psi: {max: 0.0000001}}", "1d")]:
        (root / f"models/{name}.yaml").write_text(MODEL.format(name=name, checks=checks, retrain=retrain))
    return root


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("raw")
    scorehouse("generate", "--users", 300, "--days", 60, "--seed", 1, "--date", SECOND, "--raw", root)
    return root


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, project: Path, raw: Path) -> dict[str, Path]:
    """The lake after each of two nights of `scorehouse nightly`."""
    lakes = {date: tmp_path_factory.mktemp("undisturbed") / "lake" for date in (FIRST, SECOND)}
    place = ("--project", project, "--raw", raw)
    scorehouse("nightly", "--date", FIRST, *place, "--lake", lakes[FIRST])
    shutil.copytree(lakes[FIRST], lakes[SECOND])
    # The gate refuses a candidate of `strict`.
    scorehouse("nightly", "--date", SECOND, *place, "--lake", lakes[SECOND], code=4)
    return lakes


@pytest.fixture
def place(tmp_path: Path, project: Path, raw: Path):
    """Makes what a home's DAG is told of a lake: `place("lake")`."""

    def make(name: str = "lake") -> dict[str, object]:
        profile = tmp_path / f"{name}.yaml"
        profile.write_text(yaml.safe_dump({"lake": str(tmp_path / name), "raw": str(raw)}))
        return {"SCOREHOUSE_PROJECT": project, "SCOREHOUSE_PROFILE": profile}

    return make
