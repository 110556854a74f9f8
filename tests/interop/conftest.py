"""The lake under test, and the definitions that say what must be in it."""

import os
from pathlib import Path

import pytest
import yaml


def pytest_configure(config: pytest.Config) -> None:
    """A missing lake is a failure, not a skip: a test that reads nothing proves nothing."""
    lake = os.environ.get("SCOREHOUSE_LAKE")
    if not lake:
        raise pytest.UsageError("SCOREHOUSE_LAKE is not set; `make readers` writes a lake and sets it")
    if not (Path(lake) / "scores").is_dir():
        raise pytest.UsageError(f"SCOREHOUSE_LAKE={lake} holds no scores/; `make readers` writes such a lake")


def lake() -> Path:
    return Path(os.environ["SCOREHOUSE_LAKE"])


def definitions(folder: str, kind: str) -> dict[str, dict]:
    """The shipped definitions of one kind (`group`, `sql_features`, `sequence`, `model`) by name."""
    project = Path(os.environ.get("SCOREHOUSE_PROJECT", Path(__file__).parents[2]))
    texts = [path.read_text() for path in sorted((project / folder).glob("*.yaml"))]
    found = [yaml.safe_load(text) for text in texts]
    return {definition[kind]: definition for definition in found if kind in definition}


MODELS = definitions("models", "model")
SQL_FEATURES = definitions("features", "sql_features")
GROUPS = definitions("features", "group") | SQL_FEATURES
SEQUENCES = definitions("features", "sequence")



def maps() -> list[tuple[str, str]]:
    """Columns that are maps, (group, column): shares without a list of values."""
    found = []
    for group, definition in GROUPS.items():
        for entry in definition.get("aggregations", []):
            if entry["fn"] == "share" and "top" in entry:
                found += [(group, f"{entry.get('as', entry['of'])}_share_{window}") for window in entry["over"]]
    return found


MAPS = maps()
QUERIES = [f"features/{name}" for name in SQL_FEATURES]

TABLES = (
    [f"scores/{name}" for name in MODELS]
    + [f"features/{name}" for name in GROUPS]
    + [f"sequences/{name}" for name in SEQUENCES]
)

# What promotion and scoring leave beside the scores.
BESIDE = [
    f"{table}/{name}" for table in ("scores_current", "gates", "differences", "fairness", "monitoring") for name in MODELS
]
