"""A Spark session on this machine that sees the task's files as views.

Shuffles go into as many parts as keep each one small, and lists of files are read without a job of their own. Hash
joins instead of sorted ones, fewer or more parts, and other limits of code generation made no difference.
"""

import os
import sys
from pathlib import Path

from task import Task

MICROS = "unix_micros"

UNLIMITED = 8 << 30
"""Heap where the task sets no limit: Java must have one."""


def start(task: Task):
    os.environ["JAVA_HOME"] = str(Path(sys.prefix) / "java")
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    from pyspark.sql import SparkSession

    heap = (task.memory_limit or UNLIMITED) >> 20
    settings = {
        "spark.driver.memory": f"{heap}m",
        "spark.local.dir": str(task.spill),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(16 * task.threads),
        "spark.sql.sources.parallelPartitionDiscovery.threshold": "100000",
    }
    builder = SparkSession.builder.master(f"local[{task.threads}]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def views(session, **views: list[str]) -> None:
    for view, files in views.items():
        session.read.parquet(*files).createOrReplaceTempView(view)


def write(session, query: str, task: Task) -> None:
    session.sql(query).write.mode("overwrite").parquet(str(task.out))
