"""Three ways to read one Delta table, each with its own Parquet reader. All return an Arrow table.

DuckDB's own Delta extension has to be downloaded, which not every machine may do. So DuckDB is given the live files of
the table's log and the partition values in their paths, and reads the Parquet itself.
"""

import urllib.parse
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
from deltalake import DeltaTable


def with_deltalake(table: Path) -> pa.Table:
    return DeltaTable(table).to_pyarrow_table()


def with_duckdb(table: Path) -> pa.Table:
    delta = DeltaTable(table)
    partitioned = bool(delta.metadata().partition_columns)
    files = [urllib.parse.unquote(uri.removeprefix("file://")) for uri in delta.file_uris()]
    assert files, f"{table} has no files"
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        return connection.read_parquet(files, hive_partitioning=partitioned).to_arrow_table()


def with_polars(table: Path) -> pa.Table:
    return pl.read_delta(str(table)).to_arrow()


READERS = {"deltalake": with_deltalake, "duckdb": with_duckdb, "polars": with_polars}
