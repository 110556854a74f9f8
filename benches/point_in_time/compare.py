"""Are two results the same? Counts and decimals exactly, floating point to 1e-12 of the amounts it is made of."""

from pathlib import Path

import polars as pl

TOLERANCE = 1e-12

SHOWN = 3
"""Rows of a difference that are told."""


def read_parquet(path: Path) -> pl.DataFrame:
    """A file, or a directory of them as Spark writes it."""
    return pl.read_parquet(path / "*.parquet" if path.is_dir() else path)


def normalised(answer: pl.DataFrame, key: str) -> pl.DataFrame:
    """One order of rows and columns, one type for each kind of number.

    Rows without a payment in the widest window are left out: some engines have them, with counts of zero, some do not.
    """
    columns = sorted(name for name in answer.columns if name.endswith("d") and name[-2].isdigit())
    widest = max((name for name in columns if name.startswith("payments_")), key=lambda name: int(name[9:-1]))
    kinds = [pl.col(key).cast(pl.Int64)]
    for name in columns:
        if answer.schema[name].is_float():
            kinds.append(pl.col(name).cast(pl.Float64))
        elif answer.schema[name].is_decimal():
            kinds.append(pl.col(name).cast(pl.Decimal(38, 2)))
        else:
            kinds.append(pl.col(name).cast(pl.Int64))
    return answer.filter(pl.col(widest) > 0).select(kinds).sort(key)


def differences(expected: pl.DataFrame, found: pl.DataFrame, key: str) -> list[str]:
    """One line for each column that is not the same; none if all are."""
    if expected.columns != found.columns:
        return [f"columns {sorted(set(expected.columns) ^ set(found.columns))} are not in both"]
    if not expected[key].equals(found[key]):
        return [f"{expected.height:,} and {found.height:,} rows, of different {key}"]
    faults = []
    for name in expected.columns:
        wrong = unequal(expected, found, name)
        if wrong.any():
            rows = pl.DataFrame({key: expected[key], "expected": expected[name], "found": found[name]})
            shown = rows.filter(wrong).head(SHOWN).rows()
            faults.append(f"{name}: {wrong.sum():,} of {len(wrong):,} rows, ({key}, expected, found) {shown}")
    return faults


def unequal(expected: pl.DataFrame, found: pl.DataFrame, name: str) -> pl.Series:
    a, b = expected[name], found[name]
    if a.dtype != b.dtype:
        return pl.repeat(True, len(a), eager=True)
    if not a.dtype.is_float():
        return a.ne_missing(b)
    # A deviation is no more exact than the amounts from whose difference it comes.
    statistic, _, window = name.rpartition("_")
    scale = expected[f"amount_max_{window}"].cast(pl.Float64) if statistic.endswith("_stddev") else a.abs()
    off = ((a - b).abs() > TOLERANCE * scale) | b.is_nan()
    return off.fill_null(False) | (a.is_null() != b.is_null())
