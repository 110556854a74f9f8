"""A DuckDB connection that sees the task's files as views."""

import duckdb

from task import Task

MICROS = "epoch_us"


def connect(task: Task, **views: list[str]) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute(f"set threads = {task.threads}; set timezone = 'UTC'; set preserve_insertion_order = false")
    connection.execute(f"set temp_directory = '{task.spill}'")
    if task.memory_limit is not None:
        connection.execute(f"set memory_limit = '{task.memory_limit} bytes'")
    for view, files in views.items():
        connection.execute(f"create view {view} as from read_parquet({files}, hive_partitioning = false)")
    return connection


def write(connection: duckdb.DuckDBPyConnection, query: str, task: Task) -> None:
    connection.execute(f"copy ({query}) to '{task.out}' (format parquet)")
