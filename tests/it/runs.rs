//! The `runs` table tells of every run what it read, what it wrote and how it ended, also of one that could not.

use serde_json::Value;

use crate::support::{World, said};
use crate::torture::nights::{NIGHTLY, date};

const NIGHT: usize = 2;

/// The lake after two nights; the third comes.
fn world() -> World {
    let world = World { project: NIGHTLY.project(), ..World::with(&[]) };
    std::fs::rename(NIGHTLY.lake(NIGHT).path().join("lake"), world.lake()).unwrap();
    world
}

fn run(world: &World, failpoint: &str) -> crate::support::Said {
    let mut command = NIGHTLY.command(NIGHT, &world.lake());
    if !failpoint.is_empty() {
        command.env("SCOREHOUSE_FAILPOINT", failpoint);
    }
    said(command.output().unwrap())
}

fn tonight(world: &World) -> Vec<Value> {
    world.query(&format!("select * from runs where logical_date = '{}' order by started_at", date(NIGHT)))
}

fn json(row: &Value, column: &str) -> Value {
    serde_json::from_str(row[column].as_str().unwrap()).unwrap()
}

fn tables(row: &Value) -> Vec<String> {
    json(row, "outputs").as_array().unwrap().iter().map(|line| line["table"].as_str().unwrap().to_string()).collect()
}

#[test]
fn a_run_tells_what_it_read_and_what_it_wrote() {
    let world = world();
    assert_eq!(run(&world, "").code, 0);
    let rows = tonight(&world);
    let jobs: Vec<&str> = rows.iter().map(|row| row["job"].as_str().unwrap()).collect();
    assert_eq!(jobs, ["ingest", "tables", "features", "train", "gate", "score", "monitor", "report"]);
    let [_, tables_row, features, train, _, score, _, _] = &rows[..] else { panic!("{rows:#?}") };
    assert_eq!(tables(tables_row), ["tables/payments", "tables/people"]);
    assert_eq!(json(features, "inputs").as_object().unwrap().keys().collect::<Vec<_>>(), ["payments", "people"]);
    // What it learns from, and whom it will score.
    let read = json(train, "inputs");
    assert_eq!(read.as_object().unwrap().keys().collect::<Vec<_>>(), ["features/pays", "payments", "people"]);
    let read = json(score, "inputs");
    let wrote = json(features, "outputs");
    let version = wrote.as_array().unwrap().iter().find(|line| line["table"] == "features/pays").unwrap();
    assert_eq!(read["features/pays"], version["version"], "the version of this night");
    for row in &rows {
        assert_eq!((row["status"].as_str(), row["exit_code"].as_u64()), (Some("ok"), Some(0)));
        assert!(row["seconds"].as_f64().unwrap() > 0.0 && row["peak_memory"].as_u64().unwrap() > 1 << 20);
    }
}

#[test]
fn a_run_that_fails_tells_what_it_had_done() {
    let world = world();
    run(&world, "before-commit:sequences/trail=error").refuses(75, &["sequence trail", "SCOREHOUSE_FAILPOINT"]);
    let rows = tonight(&world);
    let failed = rows.last().unwrap();
    assert_eq!((failed["job"].as_str(), failed["status"].as_str()), (Some("features"), Some("failed")));
    assert_eq!(failed["exit_code"], 75);
    assert!(failed["error"].as_str().unwrap().contains("sequence trail"));
    assert_eq!(tables(failed), ["features/pays"]);
    assert!(failed["rows"].as_u64().unwrap() > 0);
    assert!(json(failed, "inputs")["payments"].is_u64());
}

#[test]
fn a_run_that_is_killed_is_told_of_by_the_next() {
    let world = world();
    assert_eq!(run(&world, "before-commit:features/pays=kill").code, -1);
    let rows = tonight(&world);
    assert_eq!(rows.len(), 2, "nobody has told of it yet: {rows:#?}");
    assert_eq!(run(&world, "").code, 0);
    let rows = tonight(&world);
    let lost: Vec<&Value> = rows.iter().filter(|row| row["status"] == "lost").collect();
    assert_eq!(lost.len(), 1, "{rows:#?}");
    assert_eq!((lost[0]["job"].as_str(), lost[0]["exit_code"].as_u64()), (Some("features"), Some(137)));
    assert_eq!(lost[0]["run_id"], rows[0]["run_id"]);
    assert_eq!(run(&world, "").code, 0);
    let lost = "select count(*) as n from runs where status = 'lost'";
    assert_eq!(world.query(lost)[0]["n"], 1, "it is told once");
}
