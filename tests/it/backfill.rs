//! A range of nights at once is the nights one after the other; killed at any time, it goes on where it was.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::incremental::project::{Pay, world};
use crate::incremental::project::{date, deliver, pay};
use crate::support::{Said, World, scorehouse};

/// What a night does after the ingest.
const STEPS: usize = 6;

/// Twelve days: payments of the day, late ones, corrections, files delivered again, and a file without anything new.
fn delivered() -> World {
    let world = world();
    for day in 0..12 {
        let date = date(day);
        let mut rows =
            vec![at(&format!("a{day}"), "u1", day, 1000 + day), at(&format!("b{day}"), "u2", day, 9000 - day)];
        if day >= 3 {
            rows.push(at(&format!("late{day}"), "u3", day - 3, 500 + day));
        }
        if day % 4 == 2 {
            // A correction of two days ago: who paid, and how much.
            rows.push(at(&format!("a{}", day - 2), "u2", day - 2, 77));
        }
        deliver(&world, &format!("day={date}/a.parquet"), &rows);
        if day == 7 {
            deliver(&world, &format!("day={date}/again.parquet"), &rows);
        }
    }
    world
}

fn at(id: &str, user: &str, day: i128, amount: i128) -> Pay {
    pay(id, user, &format!("{}T10:00:00Z", date(day)), amount)
}

/// The same raw events, another lake.
fn beside(world: &World) -> World {
    let other = World { dir: tempfile::TempDir::new().unwrap(), project: world.project.clone() };
    crate::incremental::project::copy_dir(&world.raw(), &other.raw());
    other
}

fn nights(world: &World, days: std::ops::Range<i128>) {
    for day in days {
        for job in ["ingest", "tables", "features", "train", "gate", "score", "monitor"] {
            world.job(job, &date(day)).ok();
        }
    }
}

fn arguments(world: &World, from: i128, to: i128) -> Vec<String> {
    let project = world.project.display().to_string();
    ["backfill", "--from", &date(from), "--to", &date(to), "--project", &project, "--json"].map(String::from).to_vec()
}

fn backfill(world: &World, from: i128, to: i128, more: &[&str]) -> Said {
    let arguments = arguments(world, from, to);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
    world.run(&arguments)
}

/// Every row of every table, but for what differs between any two runs.
fn contents(world: &World) -> BTreeMap<&'static str, Vec<Value>> {
    let tables = [
        ("tables.pay", "id, event_date, _known_from"),
        ("tables.payments", "id, event_date, _known_from"),
        ("tables.large", "id, event_date, _known_from"),
        ("tables.people", "user_id, _known_from"),
        ("features.pays", "logical_date, user_id"),
        ("sequences.trail", "logical_date, user_id"),
        ("sequences.recent", "logical_date, user_id"),
        ("sequences.mixed", "logical_date, user_id"),
    ];
    let mut all: BTreeMap<&str, Vec<Value>> =
        tables.into_iter().map(|(t, order)| (t, world.query(&format!("select * from {t} order by {order}")))).collect();
    let files = "select source, path, checksum, night, known_from, rows_read, rows_written, duplicates, quarantined, \
                 status from manifest order by path";
    all.insert("manifest", world.query(files));
    all
}

#[track_caller]
fn same(found: &World, expected: &World) {
    let (found, expected) = (contents(found), contents(expected));
    for (table, rows) in &expected {
        assert!(!rows.is_empty(), "{table} is empty");
        assert_eq!(&found[table], rows, "{table}");
    }
}

fn steps(said: &Said, night: usize) -> usize {
    said.json()["nights"][night]["steps"].as_array().unwrap().len()
}

#[test]
fn a_range_is_its_nights() {
    let world = delivered();
    let one_by_one = beside(&world);
    nights(&one_by_one, 4..12);
    let dry = backfill(&world, 4, 11, &["--dry-run"]).ok();
    assert!(!world.lake().join("tables").exists(), "a dry run writes nothing");
    assert_eq!(dry.json()["nights"].as_array().unwrap().len(), 8);
    assert_eq!(dry.json()["ingest"][0]["files"], 13);
    let said = backfill(&world, 4, 11, &[]).ok();
    assert!((0..8).all(|night| steps(&said, night) == STEPS), "{said:#?}");
    same(&world, &one_by_one);

    let versions = world.versions();
    let again = backfill(&world, 4, 11, &[]).ok();
    assert!((0..8).all(|night| steps(&again, night) == 0), "{again:#?}");
    assert_eq!(world.versions(), versions);

    // What comes late is known from the latest night, whatever the backfill's own.
    for world in [&world, &one_by_one] {
        deliver(world, &format!("day={}/late.parquet", date(5)), &[at("x", "u1", 5, 4444)]);
    }
    backfill(&world, 4, 11, &[]).ok();
    nights(&one_by_one, 4..12);
    same(&world, &one_by_one);
}

#[test]
fn a_range_after_nights_that_were_run_follows_them() {
    let world = delivered();
    let one_by_one = beside(&world);
    for world in [&world, &one_by_one] {
        nights(world, 2..5);
    }
    // Of a day before, delivered since.
    for world in [&world, &one_by_one] {
        deliver(world, &format!("day={}/late.parquet", date(3)), &[at("x", "u2", 3, 4444)]);
    }
    nights(&one_by_one, 5..9);
    backfill(&world, 5, 8, &["--parallel", "4"]).ok();
    same(&world, &one_by_one);
    // And the nights after it follow it.
    for world in [&world, &one_by_one] {
        nights(world, 9..11);
    }
    same(&world, &one_by_one);
}

#[test]
fn killed_at_any_time_it_goes_on() {
    let world = delivered();
    let one_by_one = beside(&world);
    nights(&one_by_one, 4..9);
    let whole = beside(&world);
    let clock = std::time::Instant::now();
    backfill(&whole, 4, 8, &[]).ok();
    let seconds = clock.elapsed().as_secs_f64();
    for part in [0.15, 0.3, 0.45, 0.6, 0.75, 0.9] {
        let world = beside(&world);
        let mut command = scorehouse(&arguments(&world, 4, 8).iter().map(String::as_str).collect::<Vec<_>>());
        command.arg("--raw").arg(world.raw()).arg("--lake").arg(world.lake());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_secs_f64(seconds * part));
        child.kill().unwrap();
        child.wait().unwrap();
        backfill(&world, 4, 8, &[]).ok();
        same(&world, &one_by_one);
    }
}

/// What later nights add to tables before an earlier night is trained and scored, that night does not see.
#[test]
fn models_decide_what_they_would_have_decided_night_by_night() {
    let world = delivered();
    let label = "label: {table: payments, where: amount > 50, horizon: 1d}";
    let model = crate::torture::nights::MODEL.replace("label: {table: payments, horizon: 1d}", label);
    world.write("models/again.yaml", &model);
    for day in 0..12 {
        let rows: Vec<Pay> = (0..10)
            .map(|n| at(&format!("m{day}-{n}"), &format!("w{n}"), day, if (n * 3 + day) % 4 < 2 { 2000 } else { 8000 }))
            .collect();
        deliver(&world, &format!("day={}/more.parquet", date(day)), &rows);
    }
    let one_by_one = beside(&world);
    nights(&one_by_one, 4..12);
    backfill(&world, 4, 11, &[]).ok();
    same(&world, &one_by_one);
    for (table, columns) in
        [("scores.again", "logical_date, user_id, probability, score, decision"), ("training_sets.again", "*")]
    {
        let sql = format!("select {columns} from {table} order by 1, 2, 3");
        let (found, expected) = (world.query(&sql), one_by_one.query(&sql));
        assert!(!expected.is_empty(), "{table} is empty");
        let told = |rows: Vec<Value>| -> Vec<Value> {
            let without = |mut row: Value| {
                row.as_object_mut().unwrap().retain(|name, _| !name.contains("version") && name != "run_id");
                row
            };
            rows.into_iter().map(without).collect()
        };
        assert_eq!(told(found), told(expected), "{table}");
    }
    let ways = world.query("select outputs from runs where job = 'features-ahead'");
    assert!(ways.iter().any(|row| row["outputs"].as_str().unwrap().contains("\"nights\":7")), "{ways:#?}");
}

#[test]
fn a_range_that_ends_before_it_begins_is_refused() {
    let world = world();
    backfill(&world, 5, 4, &[]).refuses(2, &["is before the first"]);
    backfill(&world, 4, 5, &["--parallel", "0"]).refuses(2, &["--parallel"]);
}
