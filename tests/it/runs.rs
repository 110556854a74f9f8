//! The `runs` table tells of every run what it read, what it wrote and how it ended, also of one that could not; and
//! `scorehouse runs` shows it.

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

#[test]
fn the_last_runs_are_shown_and_what_went_wrong_among_them() {
    let world = world();
    run(&world, "before-commit:sequences/trail=error").refuses(75, &[]);
    assert_eq!(run(&world, "before-commit:sequences/trail=kill").code, -1);
    let text = world.run(&["runs"]).ok().stdout;
    let line = |job: &str| text.lines().find(|line| line.starts_with(job)).unwrap_or_default().to_string();
    // Two nights, one that failed, and one of which nobody has told yet.
    assert!(line("ingest ").contains("   4 "), "{text}");
    assert!(line("features ").contains("✗?"), "{text}");
    assert!(line("train ").contains("ok"), "{text}");
    assert!(text.find("ingest").unwrap() < text.find("train").unwrap(), "in the order of a night: {text}");
    let wrong = text.split_once("Not ended well:").unwrap().1;
    assert!(wrong.contains("sequence trail") && wrong.contains("137") && wrong.contains("lost"), "{text}");
    let jobs = world.run(&["runs", "--job", "features", "--last", "2", "--json"]).ok().json()["jobs"].clone();
    let runs = jobs[0]["runs"].as_array().unwrap();
    assert_eq!((jobs.as_array().unwrap().len(), runs.len()), (1, 2));
    assert_eq!((runs[0]["status"].as_str(), runs[0]["exit_code"].as_i64()), (Some("failed"), Some(75)));
    assert_eq!((runs[1]["status"].as_str(), runs[1]["exit_code"].as_i64()), (Some("lost"), Some(137)));
    // Once it is recorded, it is not told twice.
    assert_eq!(run(&world, "").code, 0);
    let text = world.run(&["runs", "--job", "features"]).ok().stdout;
    assert_eq!(text.matches(" 137 ").count(), 2, "among all runs, and among those that went wrong: {text}");
    world.run(&["runs", "--job", "feature"]).refuses(2, &["no run of a job `feature`", "did you mean `features`?"]);
    world.run(&["runs", "--last", "0"]).refuses(2, &["--last"]);
}

#[test]
fn of_an_empty_lake_it_says_what_to_do() {
    let world = World::with(&[]);
    let said = world.run(&["runs"]).ok();
    assert!(said.stdout.starts_with("No run is recorded in file://") && said.stdout.contains("scorehouse nightly"));
    assert_eq!(world.run(&["runs", "--json"]).ok().json()["jobs"], serde_json::json!([]));
}
