//! Erasure: nothing of the entity is left in any byte, nothing of anybody else is lost, and it does not come back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::incremental::project::copy_dir;
use crate::small::{batch, deliver, write};
use crate::support::{Said, World};

/// Items of payments: they do not say whose they are.
const ITEMS: &str = "
  item:
    description: What was paid for.
    location: item/day={date}/*.parquet
    event_time: sold_at
    key: [item_id]
    max_bad_share: 0.9
    columns:
      item_id: string
      id: string
      sold_at: timestamp
      note: {type: string, nullable: true}
";
const SOLD: &str = "\
description: What was sold.
grain: one row per item
key: [item_id]
event_time: sold_at
materialized: incremental
columns:
  item_id: {doc: The item.}
  id: {doc: The payment.}
  sold_at: {doc: When.}
  note: {doc: What was said.}
  amount: {doc: For how much.}
";
const DAYS: [&str; 3] = ["2024-02-27", "2024-02-28", "2024-02-29"];

fn world() -> World {
    let world = crate::small::world();
    let sources = format!("{}{ITEMS}", crate::small::SOURCES);
    world.write("sql/sources.yaml", &sources);
    world.write(
        "sql/marts/sold.sql",
        "select i.item_id, i.id, i.sold_at, i.note, p.amount from item i join pay p on p.id = i.id \
         and p.event_date = i.event_date\n",
    );
    world.write("sql/marts/sold.yaml", SOLD);
    for (n, day) in DAYS.iter().enumerate() {
        let at = |hour: usize| format!("{day}T{hour:02}:00:00Z");
        let (first, second, third) = (at(9), at(10), at(11));
        let ids = [format!("p{n}a"), format!("p{n}b"), format!("p{n}c")];
        deliver(
            &world,
            &format!("day={day}/a.parquet"),
            &batch(&[
                (&ids[0], Some("anna1"), Some(&first), 1000),
                (&ids[1], Some("anna12"), Some(&second), 2000),
                (&ids[2], Some("u2"), Some(&third), 3000),
            ]),
        );
        let note = if n < 2 { "for anna1, with love" } else { "with love" };
        items(&world, day, &ids.map(|id| (format!("i-{id}"), id, note)));
    }
    world
}

fn items(world: &World, day: &str, rows: &[(String, String, &str)]) {
    let text = |of: &dyn Fn(&(String, String, &str)) -> String| {
        Arc::new(rows.iter().map(|row| Some(of(row))).collect::<StringArray>()) as ArrayRef
    };
    let times = vec![Some(crate::small::micros(&format!("{day}T12:00:00Z"))); rows.len()];
    let times = arrow::array::TimestampMicrosecondArray::from(times).with_timezone("UTC");
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("item_id", text(&|row| row.0.clone()), true),
        ("id", text(&|row| row.1.clone()), true),
        ("sold_at", Arc::new(times) as ArrayRef, true),
        ("note", text(&|row| row.2.to_string()), true),
    ])
    .unwrap();
    let path = world.raw().join(format!("item/day={day}/a.parquet"));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    write(&path, &batch);
}

fn night(world: &World, date: &str) {
    for job in ["ingest", "tables", "features"] {
        world.job(job, date).ok();
    }
}

fn erase(world: &World, entity: &str, more: &[&str]) -> Said {
    let project = world.project.display().to_string();
    let all = [&["erase", "--entity", entity, "--date", "2024-03-01", "--project", &project, "--json"], more].concat();
    world.run(&all)
}

/// Files below a directory that hold a word: Parquet decoded to text, and as they are. Not by the code under test.
fn holding(path: &Path, word: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, word));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        if path.extension().is_some_and(|e| e == "parquet") {
            // Compressed bytes say anything, two letters soon; what they mean is below, and the footer is as it is.
            let length = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap()) as usize;
            text = String::from_utf8_lossy(&bytes[bytes.len() - 8 - length..]).into_owned();
            let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path).unwrap()).unwrap();
            let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
            text += &arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
        }
        let is_word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let is_there = text.match_indices(word).any(|(at, _)| {
            !is_word(text[..at].chars().next_back()) && !is_word(text[at + word.len()..].chars().next())
        });
        if is_there {
            found.push(path);
        }
    }
    found
}

fn rows(world: &World, sql: &str) -> Vec<Value> {
    world.query(sql)
}

/// What others have, in every table.
fn others(world: &World) -> BTreeMap<String, Vec<Value>> {
    let not = "user_id <> 'anna1'";
    [
        format!("select * from tables.pay where {not} order by id, _known_from"),
        format!("select * from tables.payments where {not} order by id, _known_from"),
        format!("select * from tables.people where {not} order by user_id, _known_from"),
        "select item_id, id, sold_at, _known_from, _known_until from tables.item where id not like '%a' order by 1"
            .into(),
        "select item_id, id, sold_at, amount, _known_from from tables.sold where id not like '%a' order by 1".into(),
        format!("select * from features.pays where {not} order by logical_date, user_id"),
        format!("select * from sequences.trail where {not} order by logical_date, user_id"),
    ]
    .into_iter()
    .map(|sql| (sql.clone(), rows(world, &sql)))
    .collect()
}

#[test]
fn nothing_is_left_of_it_and_all_of_the_others() {
    let world = world();
    night(&world, DAYS[0]);
    night(&world, DAYS[1]);
    let before = others(&world);
    let dry = erase(&world, "anna1", &["--dry-run"]).ok().json();
    assert!(dry["proof"]["found"].as_u64() > Some(0));
    assert_eq!(others(&world), before);
    assert!(!holding(&world.lake(), "anna1").is_empty(), "the search finds what is there");

    let said = erase(&world, "anna1", &[]).ok().json();
    assert_eq!(said["proof"]["found"], 0, "{said:#}");
    assert_eq!(holding(&world.lake(), "anna1"), Vec::<PathBuf>::new());
    assert_eq!(holding(&world.lake(), "p0a"), Vec::<PathBuf>::new(), "the keys of its rows are gone too");
    assert_eq!(others(&world), before, "nobody else lost anything");
    let of = |report: &Value, table: &str| {
        report["tables"].as_array().unwrap().iter().find(|t| t["table"] == table).map(|t| t["rows"].clone())
    };
    for table in ["tables/pay", "tables/item", "tables/sold", "features/pays", "features/pays__state"] {
        assert!(of(&said, table).and_then(|rows| rows.as_u64()) > Some(0), "{table}: {said:#}");
        assert_eq!(of(&dry, table), of(&said, table), "{table}");
    }
    assert_eq!(said["raw"], dry["raw"]);
    assert_eq!(said["raw"].as_array().unwrap().len(), 5, "{said:#}");
    let notes = rows(&world, "select distinct note from item");
    assert_eq!(notes, [serde_json::json!({"note": "for [erased], with love"})]);
    let proof = rows(&world, "select found, objects from erasures where \"table\" = '*'");
    assert_eq!(proof[0]["found"], 0);
    let first = rows(&world, "select first_version as v from erasures where \"table\" = 'tables/pay'")[0]["v"].clone();
    assert!(first.as_u64() > Some(1), "{first}");
    let again = erase(&world, "anna1", &[]).ok().json();
    assert_eq!(again["tables"], serde_json::json!([]), "what is erased is erased");
}

#[test]
fn the_nights_after_it_are_those_of_a_world_without_it() {
    let world = world();
    night(&world, DAYS[0]);
    night(&world, DAYS[1]);
    erase(&world, "anna1", &[]).ok();
    let versions = world.versions();
    night(&world, DAYS[1]);
    let unchanged = ["tables/pay", "tables/payments", "tables/item", "tables/sold"];
    for table in unchanged {
        assert_eq!(world.versions()[table], versions[table], "{table} was made again for nothing");
    }
    // Today, and a file of the entity delivered again, with somebody else's row in it.
    let late = batch(&[
        ("p0a", Some("anna1"), Some("2024-02-27T09:00:00Z"), 1),
        ("p0d", Some("u2"), Some("2024-02-27T13:00:00Z"), 2),
        ("p0e", Some("anna1"), Some("2024-02-27T14:00:00Z"), 3),
    ]);
    deliver(&world, "day=2024-02-27/again.parquet", &late);
    items(&world, DAYS[0], &[("i-p0a".into(), "p0a".into(), "late"), ("i-p0d".into(), "p0d".into(), "late")]);
    let said = world.job("ingest", DAYS[2]).ok();
    let line = said.line("tables/pay");
    let n = |key: &str| line["details"][key].as_u64().unwrap();
    assert_eq!((n("read"), line["rows"].as_u64().unwrap(), n("duplicate"), n("suppressed")), (6, 3, 0, 3));
    for job in ["tables", "features"] {
        world.job(job, DAYS[2]).ok();
    }
    assert_eq!(holding(&world.lake(), "anna1"), Vec::<PathBuf>::new());
    let manifest = rows(
        &world,
        "select sum(rows_read) as r, sum(rows_written + duplicates + quarantined + coalesce(suppressed, 0)) as s from manifest",
    );
    assert_eq!(manifest[0]["r"], manifest[0]["s"]);
    // The same features as from all rows.
    let copy = World { dir: tempfile::TempDir::new().unwrap(), project: world.project.clone() };
    copy_dir(&world.lake(), &copy.lake());
    let project = copy.project.display().to_string();
    copy.run(&["features", "--date", DAYS[2], "--project", &project, "--full", "--json"]).ok();
    assert_eq!(others(&copy), others(&world));
    assert!(others(&world).values().all(|rows| !rows.is_empty()));
}

#[test]
fn quarantine_artifacts_and_reports_are_searched_too() {
    let world = world();
    // A row without its key: it goes to quarantine, and names the entity there.
    let path = world.raw().join("pay/day=2024-02-27/bad.parquet");
    let bad = batch(&[("x", Some("anna1"), None, 1)]);
    write(&path, &bad);
    let sources = std::fs::read_to_string(world.project.join("sql/sources.yaml")).unwrap();
    world.write("sql/sources.yaml", &sources.replacen("    key: [id]\n", "    key: [id]\n    max_bad_share: 0.9\n", 1));
    night(&world, DAYS[0]);
    assert_eq!(rows(&world, "select * from quarantine.pay").len(), 1);
    for (file, text) in [
        ("models/m/v1/model.txt", "cat: anna1"),
        ("models/m/v1/_files.json", "{}"),
        ("reports/a.html", "<b>anna1</b>"),
        ("reports/b.html", "anna12"),
    ] {
        let path = world.lake().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    erase(&world, "user_id=anna1", &[]).ok();
    assert_eq!(holding(&world.lake(), "anna1"), Vec::<PathBuf>::new());
    assert!(rows(&world, "select * from quarantine.pay").is_empty());
    assert!(!world.lake().join("models/m/v1/_files.json").exists(), "an artifact goes as a whole");
    assert!(world.lake().join("reports/b.html").exists());
    assert_eq!(rows(&world, "select event from registry where version = 'v1'")[0]["event"], "erased");
}

/// What leads to the keys of its rows goes first; they are known from the list then.
#[test]
fn killed_between_two_tables_it_still_finds_what_its_rows_led_to() {
    let world = world();
    night(&world, DAYS[0]);
    let project = world.project.display().to_string();
    let mut command =
        crate::support::scorehouse(&["erase", "--entity", "anna1", "--date", "2024-03-01", "--project", &project]);
    command.arg("--raw").arg(world.raw()).arg("--lake").arg(world.lake());
    command.env("SCOREHOUSE_FAILPOINT", "after-commit:tables/pay=kill");
    assert_eq!(command.output().unwrap().status.code(), None, "it was killed");
    erase(&world, "anna1", &[]).ok();
    assert_eq!(holding(&world.lake(), "anna1"), Vec::<PathBuf>::new());
    assert_eq!(holding(&world.lake(), "p0a"), Vec::<PathBuf>::new());
    assert_eq!(rows(&world, "select * from tables.item").len(), 2);
}

/// A source of payments by users with these keys; the first is to be erased.
fn users(keys: &[&str]) -> World {
    let world = crate::small::world();
    for (n, day) in DAYS.iter().enumerate() {
        let at = format!("{day}T09:00:00Z");
        let ids: Vec<String> = (0..keys.len()).map(|user| format!("p{n}x{user}")).collect();
        let rows: Vec<_> =
            keys.iter().zip(&ids).map(|(key, id)| (id.as_str(), Some(*key), Some(at.as_str()), 1000)).collect();
        deliver(&world, &format!("day={day}/a.parquet"), &batch(&rows));
    }
    world
}

#[test]
fn keys_that_look_alike_are_told_apart_and_odd_ones_found() {
    for keys in [
        ["anna1", "anna1-2", "x.anna1", "anna1ž", "anna11"],
        ["žluťoučký", "žluťoučký-2", "luťoučký", "z", "y"],
        ["o\"neil's & <co>", "o\"neil", "neil's", "co", "&"],
        ["a%20b c", "a%20b", "a b c", "b c", "a"],
    ] {
        let world = users(&keys);
        night(&world, DAYS[1]);
        let not = keys[0].replace('\'', "''");
        let sql = format!("select user_id, payments_30d from features.pays where user_id <> '{not}' order by user_id");
        let before = rows(&world, &sql);
        assert_eq!(before.len(), 4, "{keys:?}");
        let said = erase(&world, keys[0], &[]).ok().json();
        assert_eq!((said["proof"]["found"].as_u64(), said["raw"].as_array().unwrap().len()), (Some(0), 3), "{said:#}");
        assert_eq!(rows(&world, &sql), before, "{keys:?}");
        assert!(rows(&world, &format!("select * from tables.pay where user_id = '{not}'")).is_empty());
        night(&world, DAYS[2]);
        assert_eq!(rows(&world, &sql).len(), 8, "two nights of four");
        assert!(rows(&world, &format!("select * from tables.pay where user_id = '{not}'")).is_empty(), "{keys:?}");
    }
}

#[test]
fn a_number_is_erased_as_the_value_of_its_column_and_in_reports() {
    let world = users(&["42", "421", "4", "2"]);
    for file in std::fs::read_dir(world.project.join("sql/marts")).unwrap().map(|entry| entry.unwrap().path()) {
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replace("select id, user_id,", "select id, cast(user_id as bigint) as user_id,"))
            .unwrap();
    }
    let people = "select cast(user_id as bigint) as user_id from pay where user_id is not null group by user_id\n";
    world.write("sql/marts/people.sql", people);
    night(&world, DAYS[1]);
    for (file, text) in [
        ("reports/a.csv", "score,user_id\n1,42\n"),
        ("reports/b.csv", "score,user_id\n42,421\n"),
        ("reports/c.html", "<th>user_id</th><td>42</td>"),
        ("reports/d.html", "<th>rows</th><td>42</td>"),
        ("reports/user_id=42/e.txt", "nothing"),
    ] {
        let path = world.lake().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let said = erase(&world, "42", &[]).ok().json();
    let gone = serde_json::json!(["reports/a.csv", "reports/c.html", "reports/user_id=42/e.txt"]);
    assert_eq!((&said["objects"], said["proof"]["found"].as_u64()), (&gone, Some(0)), "{said:#}");
    assert_eq!(rows(&world, "select user_id from features.pays order by 1").len(), 3);
    assert!(rows(&world, "select * from tables.pay where user_id = '42'").is_empty());
}

/// Rows of changes that other writers keep beside a table, a checkpoint, what a run said when it failed.
#[test]
fn change_data_checkpoints_and_errors_of_runs_are_searched_too() {
    let world = world();
    let sold = std::fs::read_to_string(world.project.join("sql/marts/sold.yaml")).unwrap();
    let audit = "audits:\n  - {name: kind, query: \"select note from this where note like '%love%'\"}\n";
    world.write("sql/marts/sold.yaml", &format!("{sold}{audit}"));
    world.job("ingest", DAYS[0]).ok();
    world.job("tables", DAYS[0]).refuses(3, &["anna1"]);
    assert!(
        rows(&world, "select error from runs where status = 'failed'")[0]["error"].as_str().unwrap().contains("anna1")
    );
    world.write("sql/marts/sold.yaml", &sold);
    night(&world, DAYS[0]);
    let table = world.lake().join("tables/pay");
    let changes = table.join("_change_data");
    std::fs::create_dir_all(&changes).unwrap();
    write(&changes.join("cdc-1.parquet"), &batch(&[("p0a", Some("anna1"), Some("2024-02-27T09:00:00Z"), 1)]));
    crate::agree::run::block_on(async {
        let lake = scorehouse::lake::Lake::open(world.lake().to_str().unwrap(), Default::default()).unwrap();
        lake.snapshot("tables/pay").await.unwrap().unwrap().checkpoint().await.unwrap();
    });
    let said = erase(&world, "anna1", &[]).ok().json();
    assert_eq!(said["proof"]["found"], 0, "{said:#}");
    assert_eq!(holding(&world.lake(), "anna1"), Vec::<PathBuf>::new());
    assert!(!changes.join("cdc-1.parquet").exists());
    let error = rows(&world, "select error from runs where status = 'failed'")[0]["error"].to_string();
    assert!(error.contains("[erased]"), "{error}");
}

#[test]
fn whom_is_asked_back_where_it_is_not_clear() {
    let world = world();
    erase(&world, "", &[]).refuses(2, &["--entity is empty"]);
    let other = crate::small::FEATURES.replace("group: pays", "group: ids").replace("entity: user_id", "entity: id");
    world.write("features/ids.yaml", &other.replace("entities: people", "entities: payments"));
    erase(&world, "anna1", &[]).refuses(2, &["id, user_id", "COLUMN=KEY"]);
}
