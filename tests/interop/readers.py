"""Ways to read one Delta table, at its newest version or an earlier one. All return an Arrow table.

DuckDB's own Delta extension and Spark's have to be downloaded from elsewhere than a package index, which not every
machine may do. So these two and PyArrow are given the live files of the table's log and the partition values in their
paths, and read the Parquet themselves.
"""

import urllib.parse
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
from deltalake import DeltaTable
from pyarrow import dataset


def with_deltalake(table: Path, version: int | None = None) -> pa.Table:
    return DeltaTable(table, version=version).to_pyarrow_table()


def with_pandas(table: Path, version: int | None = None) -> pa.Table:
    """By pandas' own extension types for Arrow, since its older ones know no missing integer."""
    frame = DeltaTable(table, version=version).to_pandas(types_mapper=pd.ArrowDtype)
    return pa.Table.from_pandas(frame, preserve_index=False)


def with_pyarrow(table: Path, version: int | None = None) -> pa.Table:
    files, partitioned = live(table, version)
    if not partitioned:
        return dataset.dataset(files, format="parquet").to_table()
    # A partition value is text in the path; its type is the log's.
    types = pa.schema(DeltaTable(table, version=version).schema().to_arrow())
    fields = pa.schema([types.field(name) for name in partitioned])
    return dataset.dataset(files, format="parquet", partitioning=dataset.partitioning(fields, flavor="hive")).to_table()


def with_duckdb(table: Path, version: int | None = None) -> pa.Table:
    files, partitioned = live(table, version)
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        return connection.read_parquet(files, hive_partitioning=bool(partitioned)).to_arrow_table()


def with_polars(table: Path, version: int | None = None) -> pa.Table:
    return pl.read_delta(str(table), version=version).to_arrow()


def live(table: Path, version: int | None = None) -> tuple[list[str], list[str]]:
    """The files of a version, and the columns by which they are partitioned."""
    delta = DeltaTable(table, version=version)
    files = [urllib.parse.unquote(uri.removeprefix("file://")) for uri in delta.file_uris()]
    assert files, f"{table} has no files"
    return files, delta.metadata().partition_columns


READERS = {
    "deltalake": with_deltalake,
    "duckdb": with_duckdb,
    "pandas": with_pandas,
    "polars": with_polars,
    "pyarrow": with_pyarrow,
}
