"""What analysts rely on when they read the lake with their own tools: same rows, same values, documented columns."""

import math
from collections import Counter

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from conftest import BESIDE, GROUPS, MAPS, MODELS, QUERIES, SEQUENCES, TABLES, lake
from deltalake import DeltaTable
from readers import READERS


def read(name: str) -> pa.Table:
    return READERS["deltalake"](lake() / name)


def summary(table: pa.Table) -> dict[str, tuple]:
    """Per column: how many values, and their sum (numbers), all of them (lists, maps) or how many different ones."""
    columns = {}
    for name in table.column_names:
        column = table[name]
        values = len(column) - column.null_count
        if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
            numbers = [float(x) for x in column.to_pylist() if x is not None]
            columns[name] = (values, math.fsum(x for x in numbers if math.isfinite(x)))
        elif pa.types.is_nested(column.type):
            # Every item of every list or map, in its order; rows come in any.
            texts = sorted(map(str, column.to_pylist()))
            columns[name] = (values, hash(tuple(texts)))
        else:
            columns[name] = (values, len(set(column.to_pylist())))
    return columns


def test_the_definitions_are_found():
    assert {"credit", "buying"} <= MODELS.keys()
    assert GROUPS
    assert "payment_orders" in SEQUENCES


@pytest.mark.parametrize("name", TABLES + BESIDE)
def test_the_readers_agree(name):
    found = {reader: summary(read_table(lake() / name)) for reader, read_table in READERS.items()}
    expected = found.pop("deltalake")
    assert expected, f"{name} has no columns"
    assert max(values for values, _ in expected.values()) > 0, f"{name} has no rows"
    for reader, columns in found.items():
        assert columns.keys() == expected.keys(), f"{reader} sees other columns of {name}"
        for column, (values, total) in columns.items():
            assert values == expected[column][0], f"{reader}: non-null values of {name}.{column}"
            same = pytest.approx(expected[column][1], rel=1e-12) if isinstance(total, float) else expected[column][1]
            assert total == same, f"{reader}: {name}.{column}"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("model", MODELS)
def test_a_version_of_the_past_is_read_as_it_was(model, reader):
    """Time travel: before the second night there were the scores of the first, and nothing else."""
    path = lake() / "scores" / model
    log = DeltaTable(path)
    earlier = [version for version in range(log.version()) if DeltaTable(path, version=version).file_uris()]
    assert earlier, "`make readers` runs two nights, each of which is a version"
    then, now = (READERS[reader](path, version) for version in (earlier[-1], None))
    dates = [set(map(str, table["logical_date"].to_pylist())) for table in (then, now)]
    assert dates[0] < dates[1], "the second night is not in the version before it"
    kept = pc.is_in(now["logical_date"].cast(pa.string()), pa.array(sorted(dates[0])))
    assert summary(then.select(["probability"])) == summary(now.filter(kept).select(["probability"]))


@pytest.mark.parametrize("name", TABLES + BESIDE)
def test_columns_are_documented_in_the_schema(name):
    fields = DeltaTable(lake() / name).schema().fields
    silent = [field.name for field in fields if not (field.metadata.get("comment") or "").strip()]
    assert not silent, f"columns of {name} without a comment: {silent}"


def test_amounts_say_their_unit():
    """The documentation of features that have the unit of their column ends in it, as the column's does."""
    comments = {}
    for group in GROUPS:
        fields = DeltaTable(lake() / "features" / group).schema().fields
        comments |= {f"{group}.{field.name}": field.metadata["comment"] for field in fields}
    of_money = {name: comment for name, comment in comments.items() if ".amount_sum" in name or ".amount_mean" in name}
    assert of_money
    assert all("PLN" in comment for comment in of_money.values()), of_money


# Features of queries keep no states: `sql_features` are computed anew each night.
@pytest.mark.parametrize("name", [name for name in TABLES[len(MODELS) :] if name not in QUERIES])
def test_states_say_that_they_are_internal(name):
    states = DeltaTable(lake() / f"{name}__state")
    assert states.metadata().description.startswith("Internal: ")
    described = {field.name: (str(field.type), field.metadata["comment"]) for field in states.schema().fields}
    bytes_only = [text for kind, text in described.values() if "binary" in kind]
    assert bytes_only and all(text.startswith("Internal: ") for text in bytes_only)


@pytest.mark.parametrize("model", MODELS)
def test_scores_are_whole(model):
    scores = read(f"scores/{model}")
    wanted = {"user_id", "as_of", "probability", "score", "decision", "model_version"}
    assert wanted <= set(scores.column_names), f"missing: {wanted - set(scores.column_names)}"
    for column in wanted:
        assert scores[column].null_count == 0, f"nulls in {column}"
    assert all(0 <= p <= 1 for p in scores["probability"].to_pylist())
    if "from" in MODELS[model].get("score", {"from": 100}):
        assert all(0 <= s <= 100 for s in scores["score"].to_pylist())
    assert len(set(scores["probability"].to_pylist())) > 10, "a model that tells nobody from anybody"


@pytest.mark.parametrize("model", MODELS)
def test_a_decision_is_scored_once(model):
    """One row per user and instant; where a user may ask for several things at once, per thing asked for."""
    scores = read(f"scores/{model}")
    key = ["user_id", "as_of", *MODELS[model]["spine"].get("key", [])]
    key = [column for column in key if column in scores.column_names]
    rows = Counter(tuple(row[column] for column in key) for row in scores.select(key).to_pylist())
    twice = [row for row, times in rows.items() if times > 1]
    assert not twice, f"{len(twice)} scored more than once, such as {twice[:3]}"


@pytest.mark.parametrize("model", [name for name, m in MODELS.items() if "population" in m.get("scoring", {})])
def test_everybody_has_a_score(model):
    population = read(f"tables/{MODELS[model]['scoring']['population']}")
    current = population
    if "_known_until" in population.column_names:
        current = population.filter(pc.is_null(population["_known_until"]))
    scores = read(f"scores/{model}")
    latest = scores.filter(pc.equal(scores["as_of"], pc.max(scores["as_of"])))
    assert set(latest["user_id"].to_pylist()) == set(current["user_id"].to_pylist()) - {None}


@pytest.mark.parametrize("model", MODELS)
def test_decisions_follow_from_the_definition(model):
    """The first action whose bound the probability is below, taken from the definition and done again here."""
    declared = MODELS[model]["decisions"]
    scores = read(f"scores/{model}")
    for probability, decision in zip(scores["probability"].to_pylist(), scores["decision"].to_pylist(), strict=True):
        expected = next(rule["action"] for rule in declared if probability < rule.get("below", math.inf))
        assert decision == expected, f"probability {probability}"


@pytest.mark.parametrize("group", GROUPS)
def test_features_have_one_row_per_entity(group):
    table = read(f"features/{group}")
    entity = GROUPS[group]["entity"]
    keys = ["logical_date", *([entity] if isinstance(entity, str) else entity)]
    entities = table.select(keys).to_pylist()
    assert len({tuple(row.values()) for row in entities}) == len(entities), "per night"
    for name in [*GROUPS[group].get("derived", {}), *GROUPS[group].get("columns", {})]:
        assert name in table.column_names, f"{group}.{name} is declared and not stored"


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_sequences_are_aligned_lists(sequence):
    definition = SEQUENCES[sequence]
    table = read(f"sequences/{sequence}")
    fields = [field if isinstance(field, str) else field.get("as", field.get("of")) for field in definition["fields"]]
    assert set(fields) <= set(table.column_names), f"missing: {set(fields) - set(table.column_names)}"
    lengths = [pc.list_value_length(table[field]).to_pylist() for field in fields]
    for row, length in enumerate(zip(*lengths, strict=True)):
        assert len(set(length)) == 1, f"row {row}: lists of lengths {dict(zip(fields, length, strict=True))}"
        assert (length[0] or 0) <= definition["length"], f"row {row}: longer than declared"
    assert max(n or 0 for n in lengths[0]) > 1, "no sequence longer than one event"


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_sequences_run_forward_in_time(sequence):
    """Days before the decision fall from the oldest event to the youngest, and none lies after it."""
    ages = [f["as"] for f in SEQUENCES[sequence]["fields"] if isinstance(f, dict) and f.get("fn") == "time_since"]
    if not ages:
        pytest.skip("declares no time_since")
    for days in read(f"sequences/{sequence}")[ages[0]].to_pylist():
        assert all(earlier >= later for earlier, later in zip(days or [], (days or [])[1:]))
        assert all(age > 0 for age in days or [])


def test_there_are_maps():
    assert MAPS, "no feature of the shipped project is a map"


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(("group", "column"), MAPS)
def test_shares_are_maps_that_add_up(group, column, reader):
    """Keys ascending, shares above 0, together 1; null where there is nothing to share."""
    maps = READERS[reader](lake() / "features" / group)[column]
    assert pa.types.is_map(maps.type)
    whole = [value for value in maps.to_pylist() if value is not None]
    assert 0 < len(whole) < len(maps)
    for value in whole:
        keys = [key for key, _ in value]
        assert keys == sorted(set(keys))
        assert all(share > 0 for _, share in value)
        assert math.fsum(share for _, share in value) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize(("group", "column"), MAPS)
def test_a_map_is_asked_for_a_key(group, column):
    """As analysts write it, in each tool; where a row has no such key the answer is null."""
    table = DeltaTable(lake() / "features" / group)
    rows = [dict(value) for value in table.to_pyarrow_table()[column].to_pylist() if value]
    key = max(set(rows[0]), key=lambda key: sum(key in row for row in rows))
    expected = math.fsum(row.get(key, 0.0) for row in rows)
    assert expected > 0

    dataset = table.to_pyarrow_dataset()
    with duckdb.connect() as connection:
        connection.register("dataset", dataset)
        found = connection.execute(f"select fsum({column}['{key}']) from dataset").fetchone()[0]
    assert found == pytest.approx(expected, rel=1e-9), "DuckDB"

    shares = pl.read_delta(str(lake() / "features" / group))[column].to_arrow().to_pylist()
    found = math.fsum(dict(value).get(key, 0.0) for value in shares if value)
    assert found == pytest.approx(expected, rel=1e-9), "Polars"

    shares = table.to_pandas()[column].dropna()
    assert math.fsum(dict(value).get(key, 0.0) for value in shares) == pytest.approx(expected, rel=1e-9), "pandas"


@pytest.mark.parametrize("sequence", SEQUENCES)
def test_lists_become_rows(sequence):
    """All lists of a sequence taken apart together, a row per event, in each tool."""
    table = DeltaTable(lake() / "sequences" / sequence)
    names = [field.name for field in table.schema().fields if str(field.type).startswith("ArrayType")]
    assert len(names) > 1
    lists = table.to_pyarrow_table()
    expected = sorted(map(str, zip(*(pc.list_flatten(lists[name]).to_pylist() for name in names), strict=True)))
    assert expected

    frame = pl.read_delta(str(lake() / "sequences" / sequence)).select(names)
    events = frame.filter(pl.col(names[0]).list.len() > 0).explode(names)
    assert sorted(map(str, events.rows())) == expected, "Polars"

    with duckdb.connect() as connection:
        connection.register("dataset", table.to_pyarrow_dataset())
        apart = ", ".join(f'unnest("{name}")' for name in names)
        assert sorted(map(str, connection.execute(f"select {apart} from dataset").fetchall())) == expected, "DuckDB"

    frame = table.to_pandas()[names]
    events = frame[frame[names[0]].map(len) > 0].explode(names)
    assert len(events) == len(expected), "pandas"
    first = pc.drop_null(pc.list_flatten(lists[names[0]].combine_chunks())).to_pylist()
    assert list(events[names[0]].dropna()) == first, "pandas"


def rows(table: pa.Table, without: tuple[str, ...] = ()) -> Counter:
    """Rows as texts, since lists cannot be counted."""
    kept = [name for name in table.column_names if name not in without]
    return Counter(repr(tuple(row.values())) for row in table.select(kept).to_pylist())


@pytest.mark.parametrize("model", MODELS)
def test_the_change_feed_says_what_moved_and_nothing_else(model):
    """The version before, less what went and plus what came, is the version now; and a row that went did not come."""
    path = lake() / "scores_current" / model
    current = DeltaTable(path)
    version = current.version()
    assert version >= 2, "`make readers` runs two nights, so that something moves"
    before = rows(pa.table(DeltaTable(path, version=version - 1).to_pyarrow_table()))
    after = rows(pa.table(current.to_pyarrow_table()))
    feed = pa.table(current.load_cdf(starting_version=version, ending_version=version))
    # The feed has its columns in an order of its own.
    columns = current.to_pyarrow_table().column_names
    of = {kind: Counter() for kind in ("insert", "delete", "update_preimage", "update_postimage")}
    for row in feed.to_pylist():
        of[row["_change_type"]][repr(tuple(row[column] for column in columns))] += 1
    gone, come = of["delete"] + of["update_preimage"], of["insert"] + of["update_postimage"]
    assert sum(of["update_preimage"].values()) == sum(of["update_postimage"].values()) > 0
    assert not gone & come, "a row that did not move is told of"
    assert before - gone + come == after
    assert not gone - before


@pytest.mark.parametrize("model", MODELS)
def test_what_is_current_is_the_newest_night(model):
    """Values of tonight; who scores as before keeps the night from which it is so."""
    scores, current = read(f"scores/{model}"), read(f"scores_current/{model}")
    night = pc.max(scores["logical_date"])
    tonight = scores.filter(pc.equal(scores["logical_date"], night))
    when = ("as_of", "logical_date")
    assert rows(tonight.select(current.column_names), when) == rows(current, when)


@pytest.mark.parametrize("model", [name for name, model in MODELS.items() if "reasons" in model])
def test_reasons_are_declared_and_in_words(model):
    groups = MODELS[model]["reasons"]["groups"].values()
    sentences = {group["code"]: group["sentence"] for group in groups}
    scores = read(f"scores/{model}")
    most = 0
    for codes, reasons in zip(scores["reason_codes"].to_pylist(), scores["reasons"].to_pylist(), strict=True):
        assert len(codes) == len(set(codes)) <= MODELS[model]["reasons"].get("count", 4)
        assert reasons == [sentences[code] for code in codes]
        most = max(most, len(codes))
    assert most > 1


@pytest.mark.parametrize("model", MODELS)
def test_a_limit_is_that_of_its_band(model):
    declared = MODELS[model]["decisions"]
    scores = read(f"scores/{model}")
    for probability, limit in zip(scores["probability"].to_pylist(), scores["limit"].to_pylist(), strict=True):
        assert limit == next(band for band in declared if probability < band.get("below", math.inf)).get("limit")
