"""ADBC's driver for Flight SQL reads the lake, and cannot change it; `make ballista` installs it."""

import os
from pathlib import Path

import adbc_driver_flightsql.dbapi as flightsql
import pytest

from test_cluster import free_port, process, scorehouse, wait_for

DATE = "2025-06-30"


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("flight")
    scorehouse("generate", "--users", 50, "--days", 20, "--date", DATE, "--raw", folder / "raw")
    for job in ("ingest", "tables"):
        scorehouse(job, "--date", DATE, "--raw", folder / "raw", "--lake", folder / "lake")
    return folder


@pytest.fixture
def served(lake):
    port, log = free_port(), lake / "flight.log"
    place = ("--raw", lake / "raw", "--lake", lake / "lake")
    os.environ["SCOREHOUSE_FLIGHT_TOKEN"] = "a token of some length"
    try:
        with process(log, "flight", "--listen", f"127.0.0.1:{port}", *place) as server:
            wait_for(port, server, log)
            yield f"grpc://127.0.0.1:{port}"
    finally:
        del os.environ["SCOREHOUSE_FLIGHT_TOKEN"]


def connect(uri: str, token: str = "a token of some length"):
    return flightsql.connect(uri, db_kwargs={"adbc.flight.sql.authorization_header": f"Bearer {token}"})


def test_answers_are_those_of_query(lake, served):
    sql = "select payment_method, count(*) as n, sum(amount) as paid from payment group by 1 order by 1"
    with connect(served) as connection, connection.cursor() as cursor:
        cursor.execute(sql)
        rows = cursor.fetch_arrow_table().to_pylist()
        cursor.execute("select count(*) from tables.payment")
        assert cursor.fetchone()[0] >= sum(row["n"] for row in rows)
    place = ("--raw", lake / "raw", "--lake", lake / "lake")
    lines = scorehouse("query", sql, "--format", "csv", *place).stdout.splitlines()[1:]
    assert [f"{row['payment_method']},{row['n']},{row['paid']}" for row in rows] == lines


def test_tools_see_the_tables(served):
    with connect(served) as connection:
        seen = connection.adbc_get_objects(depth="tables").read_all().to_pylist()
    names = {table["table_name"] for catalog in seen for schema in catalog["catalog_db_schemas"] for table in schema["db_schema_tables"]}
    assert {"payment", "order_payments", "users"} <= names


@pytest.mark.parametrize("sql", ["drop table payment", "insert into payment select * from payment", "set a.b = 1"])
def test_nothing_can_be_changed(served, sql):
    with connect(served) as connection, connection.cursor() as cursor:
        with pytest.raises(Exception):
            cursor.execute(sql)
            cursor.fetchall()
        cursor.execute("select count(*) from payment")
        assert cursor.fetchone()[0] > 0


def test_without_the_token_nothing_is_answered(served):
    with pytest.raises(Exception, match="(?i)unauthenticated|authorization"):
        with connect(served, "another") as connection, connection.cursor() as cursor:
            cursor.execute("select 1")
            cursor.fetchone()


def test_beyond_this_machine_a_token_is_needed(lake):
    place = ("--raw", lake / "raw", "--lake", lake / "lake")
    said = scorehouse("flight", "--listen", f"0.0.0.0:{free_port()}", *place, codes=(2,)).stderr
    assert "SCOREHOUSE_FLIGHT_TOKEN" in said
