"""Ways to read one Delta table, at its newest version or an earlier one. All return an Arrow table.

DuckDB's own Delta extension and Spark's have to be downloaded from elsewhere than a package index, which not every
machine may do. So these two and PyArrow are given the live files of the table's log and the partition values in their
paths, and read the Parquet themselves.
"""

import os
import sys
import urllib.parse
from functools import cache
from importlib.util import find_spec
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


def with_pyspark(table: Path, version: int | None = None) -> pa.Table:
    """Where it is installed: `make interop` runs these tests once more in the environment of the benches."""
    files, _ = live(table, version)
    return spark().read.option("basePath", str(table)).parquet(*files).toArrow()


@cache
def spark():
    """One session of this machine. A Java beside the environment, as benches/peers.sh leaves it, is its Java."""
    from pyspark.sql import SparkSession

    java = Path(sys.prefix) / "java"
    if java.exists():
        os.environ["JAVA_HOME"] = str(java)
    settings = {
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.parquet.inferTimestampNTZ.enabled": "false",
    }
    builder = SparkSession.builder.master("local[*]").appName("readers")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


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
if find_spec("pyspark") or "pyspark" in os.environ.get("SCOREHOUSE_READERS", ""):
    READERS["pyspark"] = with_pyspark
