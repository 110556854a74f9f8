"""What a reader sees of a lake, so that two can be compared."""

from pathlib import Path

from deltalake import DeltaTable

# Which run wrote a row, and a fingerprint of files, which have other names in another lake.
NOT_TOLD = {"run_id", "inputs"}


def tables(lake: Path) -> dict[str, DeltaTable]:
    logs = sorted(lake.rglob("_delta_log"))
    return {str(log.parent.relative_to(lake)): DeltaTable(log.parent) for log in logs}


def rows(lake: Path) -> dict[str, list[str]]:
    """Every row of every table but `runs`, which is a diary."""
    seen = {}
    for name, table in tables(lake).items():
        if name != "runs":
            read = table.to_pyarrow_table()
            read = read.select([column for column in read.column_names if column not in NOT_TOLD])
            seen[name] = sorted(str(row) for row in read.to_pylist())
    return seen


def assert_same(found: Path, expected: Path) -> None:
    ours, theirs = rows(found), rows(expected)
    assert ours.keys() == theirs.keys()
    for name, expected_rows in theirs.items():
        assert ours[name] == expected_rows, name


def versions(lake: Path) -> dict[str, int]:
    """Of every table but `runs`."""
    return {name: table.version() for name, table in tables(lake).items() if name != "runs"}


def scored(lake: Path, model: str, date: str) -> list[dict]:
    found = DeltaTable(lake / "scores" / model).to_pyarrow_table().to_pylist()
    return [row for row in found if str(row["logical_date"]) == date]
