//! Sources as a scheduler meets them: text files, nested events, and what a night must have brought.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, ListArray, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int32Type};

use crate::small;
use crate::support::World;

const DAY: &str = "2024-02-29";

/// The small project with payments as CSV.
fn csv(declared: &str) -> World {
    let world = small::world();
    declare(&world, declared);
    std::fs::create_dir_all(world.raw().join("pay")).unwrap();
    world
}

fn declare(world: &World, declared: &str) {
    let location = format!("location: pay/*.csv\n    format: csv\n{declared}");
    world.write("sql/sources.yaml", &small::SOURCES.replace("location: pay/day={date}/*.parquet", location.trim_end()));
}

fn rows(day: u32, rows: std::ops::Range<usize>) -> String {
    rows.map(|row| format!("p{day}-{row},u{row},2024-02-{day:02}T10:00:00Z,10.00\n")).collect()
}

fn deliver(world: &World, file: &str, rows: &str) {
    let path = world.raw().join("pay").join(file);
    std::fs::write(path, format!("id,user_id,paid_at,amount\n{rows}")).unwrap();
}

#[test]
fn a_night_from_csv_and_a_day_that_is_too_small() {
    let world = csv("    volume: {at_least: 0.5, otherwise: fail}\n    freshness: 1d\n");
    for day in 24..=28 {
        deliver(&world, &format!("{day}.csv"), &rows(day, 0..20));
    }
    world.job("ingest", "2024-02-28").ok();
    deliver(&world, "29.csv", &rows(29, 0..2));
    let says = ["source pay: volume", "2 rows of 2024-02-29", "20 is the median of the 5 days", "at least 10"];
    world.job("nightly", DAY).refuses(3, &says);
    let rows_of = "select status, exit_code, error from runs where logical_date = '2024-02-29'";
    let runs = world.query(rows_of);
    assert_eq!((runs.len(), &runs[0]["exit_code"]), (1, &3.into()), "nothing after ingest: {runs:?}");
    assert!(runs[0]["error"].as_str().unwrap().contains("2 rows of 2024-02-29"));
    assert_eq!(world.query("select count(*) as n from pay")[0]["n"], 102, "what was delivered is loaded");
    deliver(&world, "29 rest.csv", &rows(29, 2..18));
    let line = world.job("ingest", DAY).ok().line("tables/pay");
    assert_eq!(line["details"]["checks"][1]["status"], "ok", "{line}");
    world.job("nightly", DAY).ok();
    declare(&world, "    freshness: 1d\n");
    let line = world.job("ingest", "2024-03-02").ok().line("tables/pay");
    assert_eq!(line["details"]["checks"][0]["status"], "warn", "{line}");
    assert!(line["status"].as_str().unwrap().contains("the newest event is of 2024-02-29T10:00:00Z"), "{line}");
}

#[test]
fn a_broken_line_is_found_in_quarantine() {
    let world = csv("    max_bad_share: 0.5\n");
    deliver(&world, "a.csv", "p1,u1,2024-02-29T10:00:00Z,10.00\np2,u1,2024-02-29T10:00:00Z,ten\np3,u1\n");
    let line = world.job("ingest", DAY).refuses(3, &["2 of 3 rows are bad", "line 3"]);
    assert!(line.stderr.contains("`amount` is no decimal(18,2) (1)"), "{}", line.stderr);
    deliver(&world, "b.csv", &rows(29, 0..2));
    world.job("ingest", DAY).ok();
    let rows = world.query("select file, line, reason from quarantine.pay order by line");
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["file"], &rows[0]["line"]), (&"pay/a.csv".into(), &3.into()), "{rows:?}");
    assert_eq!(rows[1]["reason"], "2 fields, 4 expected");
}

const NESTED: &str = "\
sources:
  event:
    location: event/*.parquet
    event_time: at
    key: [id]
    columns:
      id: string
      at: timestamp
      device: {type: json, nullable: true}
      sizes: {type: json, nullable: true}
      payload: {type: json, nullable: true}
";
const FLAT: &str = "\
select id, at, device->>'os' as os, json_get_int(sizes, 1) as second_size, payload->'a'->>'b' as b,
       sqrt(cast(json_get_float(payload, 'x') as double)) as root
from event
";
const ITEMS: &str = "\
select id, at, json_get_int(item, 'n') as n from (
  select id, at, unnest(json_get_array(payload, 'items')) as item from event
) items
";

const SYSTEMS: &str = "\
group: systems
entity: os
entities: systems
table: flat
aggregations:
  - {fn: count, as: events, over: [7d]}
  - {of: second_size, fn: sum, over: [7d]}
  - {of: root, fn: max, over: [7d]}
";

#[test]
fn structs_lists_and_json_strings_are_flattened_by_sql() {
    let yaml = |columns: &str| {
        let columns: String = columns.split(' ').map(|name| format!("  {name}: {{doc: \"{name}\"}}\n")).collect();
        format!("materialized: incremental\nkey: [id]\nevent_time: at\ncolumns:\n{columns}")
    };
    let flat = format!(
        "{}tests:\n  - name: nested\n    given:\n      event: [{{id: e1, at: '2024-02-29T01:00:00Z', device: '{{\"os\":\"x\"}}'}}]\n    \
         expect: [{{id: e1, os: x, b: null}}]\n",
        yaml("id at os second_size b root")
    );
    let items = yaml("id at n").replace("key: [id]", "key: [id, n]");
    let systems = "materialized: full\nkey: [os]\ncolumns: {os: {doc: A system.}}\n";
    let files = [
        ("sql/sources.yaml", NESTED),
        ("sql/flat.sql", FLAT),
        ("sql/flat.yaml", &flat),
        ("sql/items.sql", ITEMS),
        ("sql/items.yaml", &items),
        ("sql/systems.sql", "select os from flat where os is not null group by os"),
        ("sql/systems.yaml", systems),
        ("features/systems.yaml", SYSTEMS),
    ];
    let world = World::with(&files);
    let os = Arc::new(Field::new("os", DataType::Utf8, true));
    let names: ArrayRef = Arc::new(StringArray::from(vec!["linux", "beos"]));
    let sizes = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), Some(2)]), None]);
    let payload = r#"{"a": {"b": "deep"}, "x": 2.25, "items": [{"n": 1}, {"n": 2}]}"#;
    let times = [small::micros("2024-02-29T01:00:00Z"), small::micros("2024-02-29T02:00:00Z")];
    let columns: [(&str, ArrayRef); 6] = [
        ("id", Arc::new(StringArray::from(vec!["e1", "e2"]))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))),
        ("device", Arc::new(StructArray::from(vec![(os, names)]))),
        ("sizes", Arc::new(sizes)),
        ("payload", Arc::new(StringArray::from(vec![Some(payload), None]))),
        ("more", Arc::new(Int32Array::from(vec![1, 2]))),
    ];
    std::fs::create_dir_all(world.raw().join("event")).unwrap();
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap();
    small::write(&world.raw().join("event/a.parquet"), &batch);
    let project = world.project.display().to_string();
    world.run(&["check", "--project", &project]).ok();
    world.job("nightly", DAY).ok();
    let rows = world.query("select os, second_size, b, root from flat order by id");
    assert_eq!(rows[0]["os"], "linux");
    assert_eq!((&rows[0]["second_size"], &rows[0]["b"], &rows[0]["root"]), (&2.into(), &"deep".into(), &1.5.into()));
    assert_eq!((&rows[1]["os"], &rows[1]["second_size"]), (&"beos".into(), &serde_json::Value::Null));
    let rows = world.query("select id, n from items order by n");
    assert_eq!(rows.iter().map(|row| row["n"].as_i64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    let rows = world.query("select device->>'os' as os from event where json_contains(payload, 'items')");
    assert_eq!(rows, [serde_json::json!({"os": "linux"})]);
    let features = "select os, events_7d as events, second_size_sum_7d as sizes, root_max_7d as root from features.systems \
                    where logical_date = '{date}' order by os";
    let of = |date: &str| world.query(&features.replace("{date}", date));
    let beos = serde_json::json!({"os": "beos", "events": 1});
    assert_eq!(of(DAY), [beos.clone(), serde_json::json!({"os": "linux", "events": 1, "sizes": 2, "root": 1.5})]);
    // The next night brings another; the features come from last night's states, and are those of all rows.
    let names: ArrayRef = Arc::new(StringArray::from(vec!["linux"]));
    let os = Arc::new(Field::new("os", DataType::Utf8, true));
    let at = TimestampMicrosecondArray::from_iter_values([small::micros("2024-03-01T01:00:00Z")]).with_timezone("UTC");
    let columns: [(&str, ArrayRef); 5] = [
        ("id", Arc::new(StringArray::from(vec!["e3"]))),
        ("at", Arc::new(at)),
        ("device", Arc::new(StructArray::from(vec![(os, names)]))),
        ("sizes", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(7), Some(40)])]))),
        ("payload", Arc::new(StringArray::from(vec![Some(r#"{"x": 16, "items": [{"n": 9}]}"#)]))),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true))).unwrap();
    small::write(&world.raw().join("event/b.parquet"), &batch);
    world.job("nightly", "2024-03-01").ok();
    assert_eq!(of("2024-03-01"), [beos, serde_json::json!({"os": "linux", "events": 2, "sizes": 42, "root": 4.0})]);
    let rows = world.query("select n from items order by n");
    assert_eq!(rows.iter().map(|row| row["n"].as_i64().unwrap()).collect::<Vec<_>>(), [1, 2, 9]);
    world.run(&["verify", "--date", "2024-03-01", "--sample", "5", "--project", &project]).ok();
}
