//! `scorehouse plan`: what it says is what the night then does, and saying it opens no data file.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::incremental::project::{GROUP, all, copied, date, deliver, history, night, pay, tables, world};
use crate::lender;
use crate::support::World;

/// The steps by table.
#[track_caller]
fn plan(world: &World, day: i128, more: &[&str]) -> BTreeMap<String, Value> {
    let (project, date) = (world.project.display().to_string(), date(day));
    let said = world.run(&[&["plan", "--date", &date, "--project", &project, "--json"], more].concat()).ok();
    let steps = said.json()["steps"].as_array().unwrap().clone();
    steps.into_iter().map(|step| (step["table"].as_str().unwrap().to_string(), step)).collect()
}

fn says(steps: &BTreeMap<String, Value>, table: &str, way: &str, why: &str) {
    let step = &steps[table];
    assert_eq!((step["way"].as_str(), step["why"].as_str()), (Some(way), Some(why)), "{step:#}");
}

/// A payment of u1 on that day, and one of u2 that is five days late.
fn arrive(world: &World, day: i128) {
    let file = format!("day={}/a.parquet", date(day));
    let now = pay(&format!("a{day}"), "u1", &format!("{}T10:00:00Z", date(day)), 70);
    deliver(world, &file, &[now, pay("late", "u2", &format!("{}T10:00:00Z", date(day - 5)), 7000)]);
}

#[test]
fn an_empty_lake_has_everything_before_it() {
    let world = world();
    arrive(&world, 30);
    let steps = plan(&world, 30, &[]);
    says(&steps, "tables/pay", "files", "1 file is new or changed");
    assert_eq!(steps["tables/pay"]["read"]["rows"], json!(null), "nothing says how many rows a file has");
    says(&steps, "tables/payments", "all", "pay is not in the lake yet");
    says(&steps, "features/pays", "snapshot", "payments is not in the lake yet");
    assert!(world.versions().is_empty(), "a plan writes nothing");
}

#[test]
fn after_a_night_nothing_is_left_to_do() {
    let world = world();
    history(&world);
    let versions = world.versions();
    let steps = plan(&world, 29, &[]);
    assert_eq!(steps.len(), 8);
    says(&steps, "tables/pay", "unchanged", "no file is new");
    for table in ["tables/payments", "tables/people", "features/pays", "sequences/mixed"] {
        says(&steps, table, "unchanged", "inputs and definition are what they were");
    }
    assert_eq!(world.versions(), versions);
}

#[test]
fn a_night_is_foretold_before_its_files_are_read() {
    let world = world();
    history(&world);
    arrive(&world, 30);
    let steps = plan(&world, 30, &[]);
    says(&steps, "tables/pay", "files", "1 file is new or changed");
    // As many rows as earlier files of that size had; a small file has few for its size.
    assert_eq!(steps["tables/pay"]["read"]["rows"], 2);
    says(&steps, "tables/payments", "days", "1 of its days; pay will have changed");
    assert_eq!(steps["tables/payments"]["details"]["days"], json!([date(30)]));
    says(&steps, "tables/people", "all", "it is materialized in full");
    assert_eq!(steps["features/pays"]["way"], "incremental");
    assert_eq!(steps["features/pays"]["write"], json!({"rows": 2, "columns": columns(&world)}));
    all(&night(&world, &date(30)), "incremental");
}

/// Columns of the group as the night counts them.
fn columns(world: &World) -> usize {
    world.query("describe features.pays").len() - 2
}

#[test]
fn what_changed_is_known_to_the_row() {
    let world = world();
    history(&world);
    arrive(&world, 30);
    world.job("ingest", &date(30)).ok();
    let steps = plan(&world, 30, &[]);
    says(&steps, "tables/payments", "days", "2 of its days");
    assert_eq!(steps["tables/payments"]["details"]["days"], json!([date(25), date(30)]));
    // Of the 25th: the row that was there, and the late one. Of the 30th: one.
    assert_eq!(steps["tables/payments"]["read"]["rows"], 3 + 1, "the days' rows of pay, and of the table itself");
    world.job("tables", &date(30)).ok();
    let steps = plan(&world, 30, &[]);
    says(&steps, "tables/payments", "unchanged", "inputs and definition are what they were");
    let went = night(&world, &date(30));
    for (table, way) in went {
        let step = &steps[&table.replace('.', "/")];
        assert_eq!((step["way"].as_str(), step["why"].as_str()), (Some(&*way.way), Some(&*way.why)), "{table}");
        assert_eq!(step["write"]["rows"], way.line["rows"], "{table}");
    }
    // Two files of the 25th, of days 29, 27 and 20 the windows begin, and the 30th is new.
    let group = &steps["features/pays"]["details"];
    assert_eq!(group["difference"]["rows"], 1 + 2 + 1 + 1 + 2 + 1);
    assert_eq!(group["states"]["rows"], 2);
    assert_eq!(group["reached"]["rows"], 60 + 30 + 2);
}

#[test]
fn it_reads_logs_only() {
    let world = world();
    history(&world);
    arrive(&world, 30);
    tables(&world, &date(30));
    arrive(&world, 31);
    let blind = copied(&world);
    for folder in ["tables", "features", "sequences"] {
        empty(&blind.lake().join(folder));
    }
    copied_raw(&world, &blind);
    assert_eq!(plan(&blind, 31, &[]), plan(&world, 31, &[]));
}

/// Takes the content from all data files.
fn empty(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "_delta_log") {
            empty(&path);
        } else if path.extension().is_some_and(|extension| extension == "parquet") {
            std::fs::write(&path, "").unwrap();
        }
    }
}

/// The same raw files with other content of the same size; those that were ingested keep their times.
fn copied_raw(from: &World, to: &World) {
    crate::incremental::project::copy_dir(&from.raw(), &to.raw());
    for (path, original) in files(&to.raw()).into_iter().zip(files(&from.raw())) {
        std::fs::write(&path, vec![0; std::fs::metadata(&original).unwrap().len() as usize]).unwrap();
        let time = std::fs::metadata(&original).unwrap().modified().unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn definitions_that_changed_are_named_as_the_reason() {
    let world = world();
    history(&world);
    world.write("features/pays.yaml", &GROUP.replace("table: payments\n", "table: payments\nwhere: amount > 20\n"));
    world.write(
        "sql/marts/large.sql",
        "select id, user_id, paid_at, amount, method, weight from pay where amount > 60\n",
    );
    let steps = plan(&world, 29, &[]);
    says(&steps, "tables/large", "all", "its definition changed");
    says(&steps, "features/pays", "snapshot", "the definition has nothing in common with the state");
    assert_eq!(steps["sequences/mixed"]["way"], "snapshot", "all of a table that it reads will be other rows");
    assert_eq!(steps["sequences/trail"]["way"], "unchanged");
    let selected = plan(&world, 30, &["--select", "tr*"]);
    assert_eq!(selected.keys().collect::<Vec<_>>(), ["sequences/trail"]);
    says(&plan(&world, 29, &["--full"]), "sequences/trail", "snapshot", "--full was given");
}

#[test]
fn models_are_due_or_not() {
    let world = lender::world();
    lender::march(&world);
    lender::crowd(&world);
    let why = |date: &str| {
        let project = world.project.display().to_string();
        let said = world.run(&["plan", "--date", date, "--project", &project, "--select", "default", "--json"]).ok();
        let steps = said.json()["steps"].clone();
        (steps[0]["way"].as_str().unwrap().to_string(), steps[0]["why"].as_str().unwrap().to_string())
    };
    assert_eq!(why("2024-04-30"), ("due".into(), "there is no champion".into()));
    lender::night(&world, "2024-04-30");
    lender::live(&world, "default", "2024-04-30");
    let (way, text) = why("2024-05-01");
    assert_eq!(way, "not_due");
    assert!(text.ends_with("is 1 of 7 days old"), "{text}");
    assert_eq!(why("2024-05-07").0, "due");
}

#[test]
fn people_read_a_table() {
    let world = world();
    history(&world);
    let project = world.project.display().to_string();
    let said = world.run(&["plan", "--date", &date(30), "--project", &project]).ok();
    let line = said.stdout.lines().find(|line| line.starts_with("features/pays")).unwrap();
    let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(cells[..2], ["features/pays", "incremental"]);
    assert_eq!(cells[4], "2", "{line}");
    assert_eq!(cells[7], "4 rows came, went or may have moved since 2024-03-02");
    assert!(said.stdout.lines().next().unwrap().ends_with("memory  why"), "{}", said.stdout);
}
