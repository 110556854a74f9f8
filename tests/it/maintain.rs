//! Upkeep: no night can tell that files were packed, and what is young enough can be read as it was.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use arrow::array::RecordBatch;
use scorehouse::define::profile::Profile;
use scorehouse::engine::session::{Session, SessionOptions};
use scorehouse::lake::Lake;

use crate::agree::run::block_on;
use crate::incremental::project::{all, copied, date, deliver, features, night, pay, tables, world};
use crate::support::{Said, World, asked};

/// Ten days of a source without a key, some of them late, so that its days are of several files.
fn begun() -> World {
    let world = world();
    let sources = std::fs::read_to_string(world.project.join("sql/sources.yaml")).unwrap();
    world.write("sql/sources.yaml", &sources.replace("    key: [id]\n", ""));
    for day in 0..10 {
        today(&world, day);
    }
    tables(&world, &date(9));
    features(&world, &date(9), &[]).ok();
    for day in 10..13 {
        today(&world, day);
        night(&world, &date(day));
    }
    world
}

/// Payments of today and late ones of three days ago.
fn today(world: &World, day: i128) {
    let rows = |of: i128| {
        let at = |hour: &str| format!("{}T{hour}:00:00Z", date(of));
        [
            pay(&format!("a{day}-{of}"), "u1", &at("10"), 70 + day),
            pay(&format!("b{day}-{of}"), "u2", &at("11"), 90 + of),
        ]
    };
    deliver(world, &format!("day={}/a.parquet", date(day)), &[rows(day), rows(day - 3)].concat());
}

fn maintain(world: &World, more: &[&str]) -> Said {
    let project = world.project.display().to_string();
    world.run(&[&["maintain", "--date", "2024-03-01", "--project", &project, "--json"], more].concat())
}

/// `maintain` with a retention of its own.
fn keeping(world: &World, retention: &str) -> Said {
    let profile = world.dir.path().join("profile.yaml");
    std::fs::write(&profile, format!("lake: lake\nraw: raw\nreplay_retention: {retention}\n")).unwrap();
    maintain(world, &["--profile", profile.to_str().unwrap()])
}

fn of<'a>(said: &'a serde_json::Value, table: &str) -> &'a serde_json::Value {
    said["tables"].as_array().unwrap().iter().find(|t| t["table"] == table).unwrap()
}

fn open(world: &World) -> Lake {
    Lake::open(world.lake().to_str().unwrap(), Default::default()).unwrap()
}

/// All rows of a version, as they are stored, in an order of their own; `None` if it is gone.
fn rows_at(world: &World, table: &str, version: u64) -> Option<Vec<String>> {
    block_on(async {
        let snapshot = open(world).snapshot_at(table, version).await.unwrap()?;
        let session = Session::new(&SessionOptions::default()).unwrap();
        let batches = session.context().read_table(snapshot.provider().unwrap()).unwrap().collect().await.unwrap();
        let text = arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
        let mut lines: Vec<String> = text.lines().map(String::from).collect();
        lines.sort();
        Some(lines)
    })
}

/// What every table holds, but for what differs between any two runs.
fn contents(world: &World) -> BTreeMap<String, RecordBatch> {
    let mut found = BTreeMap::new();
    for (table, order) in [
        ("tables.pay", "id, _known_from"),
        ("tables.payments", "id, _known_from"),
        ("tables.large", "id, _known_from"),
        ("tables.people", "user_id, _known_from"),
        ("features.pays", "logical_date, user_id"),
        ("sequences.trail", "logical_date, user_id"),
        ("sequences.mixed", "logical_date, user_id"),
    ] {
        let lake = world.lake().display().to_string();
        let profile = Profile::parse("profile", &format!("lake: {lake}\nraw: {lake}\n")).unwrap();
        let sql = format!("select * from {table} order by {order}");
        found.insert(table.to_string(), asked(&profile, &sql));
    }
    found
}

#[test]
fn packing_changes_no_row_of_this_night_or_the_next() {
    let world = begun();
    let plain = copied(&world);
    let versions: Vec<_> = (0..=4).map(|version| rows_at(&world, "tables/pay", version)).collect();
    assert!(versions.iter().all(Option::is_some));

    let said = maintain(&world, &[]).ok().json();
    let pay = of(&said, "tables/pay");
    assert!(pay["packed"].as_u64() >= Some(6), "{pay:#}");
    assert!(pay["after"]["files"].as_u64() < pay["before"]["files"].as_u64(), "{pay:#}");
    assert_eq!(pay["removed_files"], 0, "nothing is old enough");
    for (version, rows) in versions.iter().enumerate() {
        assert_eq!(&rows_at(&world, "tables/pay", version as u64), rows, "version {version}");
    }
    assert_eq!(contents(&world), contents(&plain));
    let again = maintain(&world, &[]).ok().json();
    assert_eq!(of(&again, "tables/pay")["packed"], 0, "what is packed stays packed");

    let versions = world.versions();
    tables(&world, &date(12));
    features(&world, &date(12), &[]).ok();
    assert_eq!(world.versions(), versions, "the night was done, and packing is no reason to do it again");

    for world in [&world, &plain] {
        for day in 13..15 {
            today(world, day);
            all(&night(world, &date(day)), "incremental");
        }
    }
    assert_eq!(contents(&world), contents(&plain));
}

#[test]
fn what_is_older_than_the_retention_is_gone_as_a_whole_and_the_rest_is_as_it_was() {
    let world = begun();
    let plain = copied(&world);
    let versions: Vec<_> = (0..=4).map(|version| rows_at(&world, "tables/payments", version)).collect();
    // Versions 0 to 2 are written long ago; so 2 was the newest for a while, and may have been pinned.
    for version in 0..=2 {
        let entry = log_entry(&world, "tables/payments", version);
        let then = SystemTime::now() - Duration::from_secs(500 * 86_400);
        std::fs::File::options().append(true).open(entry).unwrap().set_modified(then).unwrap();
    }
    // A checkpoint at 2 is where the log can be cut.
    block_on(async {
        open(&world).snapshot_at("tables/payments", 2).await.unwrap().unwrap().checkpoint().await.unwrap();
    });
    let said = maintain(&world, &[]).ok().json();
    let payments = of(&said, "tables/payments");
    assert_eq!(payments["readable_from"], 2, "{payments:#}");
    assert_eq!(payments["removed_entries"], 2, "{payments:#}");
    assert!(payments["removed_files"].as_u64() > Some(0), "{payments:#}");
    for (version, rows) in versions.iter().enumerate() {
        let found = rows_at(&world, "tables/payments", version as u64);
        if version < 2 { assert_eq!(found, None) } else { assert_eq!(&found, rows, "version {version}") }
    }
    let said = keeping(&world, "0d").ok().json();
    assert!(of(&said, "tables/payments")["after"]["log_entries"].as_u64() <= Some(1), "{said:#}");
    assert_eq!(of(&said, "tables/pay")["after"]["stored_files"], of(&said, "tables/pay")["after"]["files"]);
    assert_eq!(contents(&world), contents(&plain));
    for world in [&world, &plain] {
        today(world, 13);
        night(world, &date(13));
    }
    assert_eq!(contents(&world), contents(&plain));
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_a_run_would_do() {
    let world = begun();
    let before = files(&world.lake());
    let dry = maintain(&world, &["--dry-run"]).ok().json();
    assert_eq!(files(&world.lake()), before);
    let done = maintain(&world, &[]).ok().json();
    for table in ["tables/pay", "tables/payments", "manifest"] {
        assert_eq!(of(&dry, table)["packed"], of(&done, table)["packed"], "{table}");
        assert_eq!(of(&dry, table)["before"], of(&done, table)["before"], "{table}");
    }
    let runs = world.query("select job, status from runs where job = 'maintain'");
    assert_eq!(runs.len(), 1, "{runs:?}");
}

#[test]
fn files_of_no_version_go_when_they_are_old() {
    let world = begun();
    let old = world.lake().join("tables/pay/part-left-over.parquet");
    let new = world.lake().join("tables/pay/part-being-written.parquet");
    for path in [&old, &new] {
        std::fs::write(path, b"PAR1").unwrap();
    }
    let then = SystemTime::now() - Duration::from_secs(3 * 86_400);
    std::fs::File::options().append(true).open(&old).unwrap().set_modified(then).unwrap();
    maintain(&world, &[]).ok();
    assert!(!old.exists() && new.exists());
}

fn log_entry(world: &World, table: &str, version: u64) -> PathBuf {
    world.lake().join(table).join(format!("_delta_log/{version:020}.json"))
}

/// Every file below a directory.
fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
