//! Another key of pseudonyms: the lake afterwards is one that had it from the start, and so are the nights after it.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use serde_json::Value;
use tempfile::TempDir;

use crate::incremental::project::copy_dir;
use crate::small::{micros, write};
use crate::support::{Said, World, said, scorehouse};
use crate::torture::compare::{Dump, assert_same, dump};

pub const OLD: &str = "the key until tonight, long enough";
pub const NEW: &str = "another key from now on, as long";

const SOURCES: &str = "\
sources:
  pay:
    description: A payment.
    location: pay/day={date}/*.parquet
    event_time: paid_at
    key: [id]
    max_bad_share: 0.5
    columns:
      id: string
      user_id: {type: string, nullable: true, pii: pseudonymise}
      phone: {type: string, nullable: true, pii: pseudonymise}
      paid_at: timestamp
      amount: 'decimal(18,2)'
";
const PEOPLE: &str = "\
description: Whoever paid.
grain: one row per user
key: [user_id]
materialized: full
columns:
  user_id: {doc: The user.}
";
const PAYMENTS: &str = "\
description: Payments.
grain: one row per payment
key: [id]
event_time: paid_at
materialized: incremental
columns:
  id: {doc: The payment.}
  user_id: {doc: The user.}
  phone: {doc: The phone.}
  note: {doc: A text with the phone in it.}
  paid_at: {doc: When.}
  amount: {doc: How much.}
";
const PAYS: &str = "\
group: pays
entity: user_id
entities: people
table: payments
aggregations:
  - {of: amount, fn: [sum, mean, max, last], over: [1d, 30d]}
  - {fn: count, as: payments, over: [1d, 30d]}
";
/// Its states hold pseudonyms.
const PHONES: &str = "\
group: phones
entity: user_id
entities: people
table: payments
aggregations:
  - {of: phone, fn: [last, count_distinct], over: [30d]}
";
const TRAIL: &str = "\
sequence: trail
entity: user_id
entities: people
table: payments
length: 3
fields: [amount, phone]
";
const DAYS: usize = 5;

pub fn world() -> World {
    let world = World::with(&[
        ("sql/sources.yaml", SOURCES),
        ("sql/marts/people.sql", "select user_id from pay where user_id is not null group by user_id\n"),
        ("sql/marts/people.yaml", PEOPLE),
        ("sql/marts/payments.sql", "select id, user_id, phone, 'of ' || phone as note, paid_at, amount from pay\n"),
        ("sql/marts/payments.yaml", PAYMENTS),
        ("features/pays.yaml", PAYS),
        ("features/phones.yaml", PHONES),
        ("features/trail.yaml", TRAIL),
    ]);
    (0..DAYS).for_each(|day| today(&world, day));
    world
}

type Row = (String, Option<String>, Option<String>, Option<i64>, i128);

/// Payments of a dozen users; from the second day on a late one, a correction and one that breaks the contract.
fn today(world: &World, day: usize) {
    let at = |of: usize, hour: usize| Some(micros(&format!("2024-03-{:02}T{hour:02}:00:00Z", of + 1)));
    let row = |id: String, user: usize, of: usize, hour: usize, amount: i128| -> Row {
        (id, Some(format!("ü {user}")), Some(format!("+48 {}", (user + of) % 4)), at(of, hour), amount)
    };
    let mut rows: Vec<Row> = (0..12)
        .filter(|user| !(user * 7 + day * 5).is_multiple_of(3))
        .map(|user| row(format!("p{day}-{user}"), user, day, user + 1, (1000 + user * 389 + day * 173) as i128))
        .collect();
    rows.push((format!("n{day}"), None, None, at(day, 13), 500));
    if day > 0 {
        rows.push(row(format!("late{day}"), 40 + day, day - 1, 7, 4200));
        rows.push(row(format!("p{}-{}", day - 1, (day + 1) % 3 + 1), 3, day - 1, 22, 77));
        rows.push(("bad".into(), Some("ü 1".into()), None, None, 3));
    }
    write_rows(&world.raw().join(format!("pay/day=2024-03-{:02}/a.parquet", day + 1)), &rows);
}

fn write_rows(path: &Path, rows: &[Row]) {
    let times: TimestampMicrosecondArray = rows.iter().map(|row| row.3).collect();
    let amounts: Decimal128Array = rows.iter().map(|row| Some(row.4)).collect();
    let text = |of: fn(&Row) -> Option<&String>| Arc::new(rows.iter().map(of).collect::<StringArray>()) as ArrayRef;
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("id", text(|row| Some(&row.0)), true),
        ("user_id", text(|row| row.1.as_ref()), true),
        ("phone", text(|row| row.2.as_ref()), true),
        ("paid_at", Arc::new(times.with_timezone("UTC")) as ArrayRef, true),
        ("amount", Arc::new(amounts.with_precision_and_scale(18, 2).unwrap()), true),
    ])
    .unwrap();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    write(path, &batch);
}

pub fn date(day: usize) -> String {
    format!("2024-03-{:02}", day + 1)
}

/// A command with both keys, the one in force under the profile's name.
pub fn command(world: &World, key: &str, arguments: &[&str]) -> Command {
    let mut command = scorehouse(arguments);
    command.arg("--project").arg(&world.project).arg("--raw").arg(world.raw()).arg("--lake").arg(world.lake());
    command.env("SCOREHOUSE_PII_KEY", key).env("OLD_KEY", OLD).env("NEW_KEY", NEW).env_remove("SCOREHOUSE_FAILPOINT");
    command
}

pub fn run(world: &World, key: &str, arguments: &[&str]) -> Said {
    said(command(world, key, arguments).output().unwrap())
}

pub fn nights(world: &World, key: &str, days: std::ops::Range<usize>) {
    for day in days {
        run(world, key, &["nightly", "--json", "--date", &date(day)]).ok();
    }
}

pub const ROTATE: [&str; 8] =
    ["maintain", "--rotate-key", "--old-key", "OLD_KEY", "--new-key", "NEW_KEY", "--json", "--date=2024-03-20"];

fn rotate(world: &World, more: &[&str]) -> Said {
    run(world, OLD, &[&ROTATE[..], more].concat())
}

/// Another lake beside the same raw files.
fn beside(world: &World) -> World {
    let other = World { dir: TempDir::new().unwrap(), project: world.project.clone() };
    link_dir(&world.raw(), &other.raw());
    other
}

/// The same files, with the times at which they were written: a night tells them by those.
pub fn link_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() { link_dir(&path, &to) } else { std::fs::hard_link(&path, &to).unwrap() }
    }
}

pub fn copied(world: &World) -> World {
    let other = beside(world);
    copy_dir(&world.lake(), &other.lake());
    other
}

/// What a reader sees; not which salt the fingerprint of the key has, and no states, which may be made later.
pub fn seen(world: &World) -> Dump {
    let mut dump = dump(&world.lake());
    dump.retain(|name, _| !name.ends_with("__state"));
    for row in dump.get_mut("manifest").into_iter().flatten() {
        let (before, after) = row.split_once("pii_key=").unwrap();
        *row = format!("{before}{}", after.split_once(' ').unwrap().1);
        // Files of the two lakes were written at different times.
        let (before, after) = row.split_once("stamp=").unwrap();
        *row = format!("{before}{}", after.split_once(' ').unwrap().1);
    }
    dump
}

/// Files of a lake that hold one of these texts: whatever is Parquet decoded, and as they are. Not by the code under test.
pub fn holding(path: &Path, words: &[String]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, words));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        if path.extension().is_some_and(|e| e == "parquet") {
            use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder as Builder;
            let reader = Builder::try_new(std::fs::File::open(&path).unwrap()).unwrap().build().unwrap();
            for batch in reader.map(Result::unwrap) {
                text += &arrow::util::pretty::pretty_format_batches(&[batch]).unwrap().to_string();
            }
        }
        if words.iter().any(|word| text.contains(word.as_str())) {
            found.push(path);
        }
    }
    found
}

pub fn pseudonyms(world: &World, key: &str) -> Vec<String> {
    let sql = "select user_id as v from tables.pay where user_id is not null union select phone from tables.pay where phone is not null";
    let said = run_query(world, key, sql);
    said.iter().map(|row| row["v"].as_str().unwrap().to_string()).collect()
}

fn run_query(world: &World, key: &str, sql: &str) -> Vec<Value> {
    let mut command = scorehouse(&["query", sql, "--json"]);
    command.arg("--raw").arg(world.raw()).arg("--lake").arg(world.lake()).env("SCOREHOUSE_PII_KEY", key);
    said(command.output().unwrap()).ok().stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_lake_is_one_that_had_the_new_key_from_the_start() {
    let world = world();
    let fresh = beside(&world);
    nights(&world, OLD, 2..4);
    nights(&fresh, NEW, 2..4);
    let old = pseudonyms(&world, OLD);
    assert!(old.len() > 10 && old.iter().all(|value| value.len() == 64), "{old:?}");
    let before = dump(&world.lake());
    let dry = rotate(&world, &["--dry-run"]).ok().json();
    assert_eq!(dump(&world.lake()), before, "a dry run changes nothing");
    assert!(
        dry["proof"]["found"].as_u64() > Some(100) && dry["pseudonyms"].as_u64() >= Some(old.len() as u64),
        "{dry:#}"
    );

    let done = rotate(&world, &[]).ok().json();
    assert_eq!(done["proof"]["found"], 0, "{done:#}");
    let of = |report: &Value, key: &str| -> Vec<Value> {
        report["tables"].as_array().unwrap().iter().map(|table| table[key].clone()).collect()
    };
    assert_eq!(of(&dry, "table"), of(&done, "table"));
    assert_eq!(of(&dry, "files"), of(&done, "files"));
    assert_eq!(done["states"], serde_json::json!(["features/phones__state", "sequences/trail__state"]), "{done:#}");
    assert_eq!(holding(&world.lake(), &old), Vec::<PathBuf>::new());
    assert_same(&seen(&world), &seen(&fresh), "after the rotation");

    // The same night once more has nothing to do; the next goes on from last night's states where those have no pseudonyms.
    let versions = world.versions();
    nights(&world, NEW, 3..4);
    assert_eq!(world.versions(), versions, "no night can tell");
    run(&world, OLD, &["nightly", "--date", &date(4)]).refuses(2, &["is not the key of the nights before"]);
    let night = run(&world, NEW, &["nightly", "--json", "--date", &date(4)]).ok();
    let expected = run(&fresh, NEW, &["nightly", "--json", "--date", &date(4)]).ok();
    // From the state of last night, as the other lake goes from its own.
    assert_eq!(night.line("features/pays")["details"], expected.line("features/pays")["details"]);
    assert_eq!(night.line("features/phones")["details"]["way"], "snapshot");
    assert_eq!(night.line("tables/payments")["rows"], expected.line("tables/payments")["rows"]);
    assert_same(&seen(&world), &seen(&fresh), "the night after");
    let again = rotate(&world, &[]).ok().json();
    assert_eq!(again["nothing_to_do"], true, "{again:#}");
}

#[test]
fn killed_at_any_place_it_is_completed_by_the_next_run_and_nobody_else_runs() {
    let world = world();
    nights(&world, OLD, 2..4);
    let fresh = beside(&world);
    nights(&fresh, NEW, 2..4);
    let copy = copied(&world);
    let mut trace = command(&copy, OLD, &ROTATE);
    let traced = said(trace.env("SCOREHOUSE_FAILPOINT", "any=trace").output().unwrap()).ok();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let reached = traced.stderr.lines().filter_map(|line| line.split_once("reached ")).map(|(_, place)| place.trim());
    for place in reached.filter(|place| place.contains("-commit:") || place.contains("rotation/")) {
        let (point, name) = place.split_once(':').unwrap();
        let name = name.split_once("/lake/").map_or(name, |(_, name)| name);
        *places.entry(format!("{point}:{name}")).or_default() += 1;
    }
    assert!(places.len() > 12, "{places:#?}");
    for place in places.keys().filter(|place| !place.ends_with(":runs")) {
        let world = copied(&world);
        let killed =
            command(&world, OLD, &ROTATE).env("SCOREHOUSE_FAILPOINT", format!("{place}=kill")).output().unwrap();
        assert_eq!(killed.status.signal(), Some(9), "{place}: {}", String::from_utf8_lossy(&killed.stderr));
        if world.lake().join("rotation/under-way.json").exists() {
            let says = ["the key of pseudonyms is being rotated", "maintain --rotate-key` again"];
            run(&world, NEW, &["nightly", "--date", &date(4)]).refuses(75, &says);
            run(&world, OLD, &["plan", "--date", &date(4)]).refuses(75, &says);
        }
        let done = rotate(&world, &[]).ok().json();
        assert!(done["nothing_to_do"] == true || done["proof"]["found"] == 0, "{place}: {done:#}");
        assert_same(&seen(&world), &seen(&fresh), place);
        nights(&world, NEW, 3..4);
        assert_same(&seen(&world), &seen(&fresh), place);
    }
}

#[test]
fn what_would_be_lost_is_said_before_anything_is_changed() {
    let world = world();
    nights(&world, OLD, 2..4);
    std::fs::remove_file(world.raw().join("pay/day=2024-03-04/a.parquet")).unwrap();
    let before = dump(&world.lake());
    let says =
        ["no raw file has", "pay.user_id (1)", "day=2024-03-04/a.parquet", "--accept-loss", "nothing was changed"];
    rotate(&world, &[]).refuses(3, &says);
    let dry = rotate(&world, &["--dry-run"]).ok().json();
    assert_eq!(dry["lost"]["pay.user_id"], 1, "{dry:#}");
    assert_eq!(dump(&world.lake()), before);
    let old = pseudonyms(&world, OLD);
    let joined = "select count(*) as n from tables.pay p join tables.people q on p.user_id = q.user_id \
                  join features.pays f on f.user_id = p.user_id";
    let rows = run_query(&world, OLD, joined);
    rotate(&world, &["--accept-loss"]).ok();
    assert_eq!(holding(&world.lake(), &old), Vec::<PathBuf>::new());
    assert_eq!(run_query(&world, NEW, joined), rows, "what joined joins");
    nights(&world, NEW, 4..5);
}

#[test]
fn values_computed_from_pseudonyms_are_said_before_anything_is_changed() {
    let world = world();
    let sql = "select id, user_id, phone, upper(phone) as note, paid_at, amount from pay\n";
    world.write("sql/marts/payments.sql", sql);
    nights(&world, OLD, 2..3);
    rotate(&world, &[]).refuses(3, &["values computed from pseudonyms", "tables/payments.note (4)"]);
    rotate(&world, &["--accept-loss"]).ok();
}

#[test]
fn keys_that_are_missing_short_or_wrong_are_refused() {
    let world = world();
    nights(&world, OLD, 2..3);
    let with = |old: Option<&str>, new: Option<&str>| {
        let mut command = command(&world, OLD, &ROTATE);
        for (name, value) in [("OLD_KEY", old), ("NEW_KEY", new)] {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        said(command.output().unwrap())
    };
    with(None, Some(NEW)).refuses(2, &["OLD_KEY is not set"]);
    with(Some(OLD), Some("short")).refuses(2, &["NEW_KEY is too short", "found: 5 bytes"]);
    with(Some(OLD), Some(OLD)).refuses(2, &["hold the same key"]);
    with(Some("somebody else's key, long enough"), Some(NEW)).refuses(2, &["OLD_KEY is not the key of this lake"]);
    run(&world, OLD, &["maintain", "--rotate-key"]).refuses(2, &["--new-key VARIABLE"]);
    run(&world, OLD, &["maintain", "--new-key", "X"]).refuses(2, &["--rotate-key"]);
    let other = beside(&world);
    let text = rotate(&other, &[]).ok().json();
    assert_eq!(text["nothing_to_do"], true, "a lake without pseudonyms");
}

#[test]
fn another_job_under_way_is_waited_for() {
    let world = world();
    nights(&world, OLD, 2..3);
    let go = world.dir.path().join("go");
    let mut night = command(&world, OLD, &["nightly", "--date", &date(3)]);
    night.env("SCOREHOUSE_FAILPOINT", format!("before-commit:tables/pay=hold:{}", go.display()));
    let mut night = night.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    while !world.dir.path().join("go.held").exists() {
        assert!(night.try_wait().unwrap().is_none(), "it ended before it was held");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    rotate(&world, &[]).refuses(75, &["the job ingest of 2024-03-04 is under way"]);
    assert!(!world.lake().join("rotation/under-way.json").exists());
    std::fs::write(&go, "").unwrap();
    assert!(night.wait().unwrap().success());
    rotate(&world, &[]).ok();
}
