"""What two nights told of lineage: valid by OpenLineage's published schemas, and true of the lake."""

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import lake
from deltalake import DeltaTable
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

SCHEMAS = Path(__file__).with_name("openlineage")
EVENTS = os.environ.get("SCOREHOUSE_LINEAGE")

pytestmark = pytest.mark.skipif(not EVENTS, reason="SCOREHOUSE_LINEAGE names no file of events; `make readers` writes one")

DOCUMENTS = [json.loads(path.read_text()) for path in [SCHEMAS / "OpenLineage.json", *(SCHEMAS / "facets").glob("*.json")]]
REGISTRY = Registry().with_resources((document["$id"], Resource.from_contents(document)) for document in DOCUMENTS)


def events() -> list[dict]:
    return [json.loads(line) for line in Path(EVENTS).read_text().splitlines()]


def valid(reference: str, said: object) -> None:
    Draft202012Validator({"$ref": reference}, registry=REGISTRY, format_checker=FormatChecker()).validate(said)


def facets(event: dict) -> list[tuple[str, dict]]:
    places = [event["run"]["facets"], event["job"]["facets"]]
    for dataset in event["inputs"] + event["outputs"]:
        places += [dataset.get(kind, {}) for kind in ("facets", "inputFacets", "outputFacets")]
    return [entry for place in places for entry in place.items()]


def outputs(job: str) -> dict[str, dict]:
    """Those of the last run, by where they lie in the lake."""
    done = [event for event in events() if event["job"]["name"] == job and event["eventType"] == "COMPLETE"][-1]
    return {output["name"].removeprefix(f"{lake().resolve()}/"): output for output in done["outputs"]}


def test_every_event_is_valid():
    said = events()
    assert len(said) == 36
    for event in said:
        valid(event["schemaURL"], event)


def test_every_facet_is_valid_by_the_schema_that_it_names():
    seen = set()
    for event in events():
        for name, facet in facets(event):
            valid(facet["_schemaURL"], facet)
            seen.add(name)
    assert {"nominalTime", "parent", "processing_engine", "jobType", "schema", "version", "dataSource"} <= seen
    assert {"columnLineage", "inputStatistics", "outputStatistics"} <= seen


def test_a_facet_that_is_wrong_is_found():
    wrong = {"_producer": "urn:x", "_schemaURL": "https://openlineage.io", "datasetVersion": 3}
    with pytest.raises(Exception, match="3 is not of type 'string'"):
        valid("https://openlineage.io/spec/facets/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet", wrong)


@pytest.mark.parametrize(("key", "value"), [("eventTime", "yesterday"), ("producer", "not a URI"), ("eventType", "BEGIN")])
def test_an_event_that_is_wrong_is_found(key, value):
    with pytest.raises(Exception, match=value):
        event = events()[0]
        valid(event["schemaURL"], event | {key: value})


def test_every_run_begins_once_and_ends_once():
    runs: dict[str, list[str]] = {}
    for event in events():
        runs.setdefault(event["run"]["runId"], []).append(event["eventType"])
    assert all(phases[0] == "START" and len(phases) == 2 for phases in runs.values()), runs
    parents = {event["run"]["facets"].get("parent", {}).get("run", {}).get("runId") for event in events()}
    assert parents - {None} <= set(runs)


@pytest.mark.parametrize("job", ["tables", "features", "score"])
def test_versions_rows_and_columns_are_those_of_the_tables(job):
    found = outputs(job)
    assert found
    for name, output in found.items():
        version = int(output["facets"]["version"]["datasetVersion"])
        table = DeltaTable(lake() / name, version=version)
        fields = {field["name"]: field.get("description") for field in output["facets"]["schema"]["fields"]}
        assert list(fields) == [field.name for field in table.schema().fields]
        for field in table.schema().fields:
            assert fields[field.name] == field.metadata.get("comment")
        if name.startswith("scores/"):
            night = max(table.to_pyarrow_table(columns=["logical_date"])["logical_date"].to_pylist())
            rows = table.to_pyarrow_table(columns=["logical_date"])["logical_date"].to_pylist().count(night)
            assert output["outputFacets"]["outputStatistics"]["rowCount"] == rows


def test_inputs_have_the_rows_of_their_version():
    done = [event for event in events() if event["job"]["name"] == "features" and event["eventType"] == "COMPLETE"][-1]
    assert done["inputs"]
    for entry in done["inputs"]:
        version = int(entry["facets"]["version"]["datasetVersion"])
        table = DeltaTable(entry["name"], version=version)
        assert entry["inputFacets"]["inputStatistics"]["rowCount"] == table.to_pyarrow_dataset().count_rows()


def test_columns_come_from_columns():
    group = outputs("features")["features/payments"]["facets"]["columnLineage"]
    made = {name: field["inputFields"] for name, field in group["fields"].items()}
    assert any(entry["name"].endswith("tables/order_payments") for fields in made.values() for entry in fields)
    direct = [use for fields in made.values() for entry in fields for use in entry["transformations"]]
    assert {use["type"] for use in direct} == {"DIRECT", "INDIRECT"}


@pytest.mark.parametrize("job", ["ingest", "tables", "features", "score"])
def test_every_column_that_is_named_is_one_of_what_is_named(job):
    seen = 0
    for output in outputs(job).values():
        lineage = output["facets"].get("columnLineage", {"fields": {}, "dataset": []})
        fields = [entry for field in lineage["fields"].values() for entry in field["inputFields"]]
        for entry in fields + lineage["dataset"]:
            seen += 1
            assert entry["field"] in columns(Path(entry["name"])), entry
    assert seen


def columns(place: Path) -> list[str]:
    """Of a table, or of the newest file in a folder of raw ones."""
    if (place / "_delta_log").is_dir():
        return [column.name for column in DeltaTable(place).schema().fields]
    return pq.read_schema(max(place.rglob("*.parquet"))).names
