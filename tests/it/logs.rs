//! Logs as JSON say whose they are on every line, and whatever fails says so in the last line.

use serde_json::Value;

use crate::small;
use crate::support::{Said, World, said, scorehouse};
use crate::torture::nights::NIGHTLY;

fn world() -> World {
    let world = World { project: NIGHTLY.project(), ..World::with(&[]) };
    std::fs::rename(NIGHTLY.lake(1).path().join("lake"), world.lake()).unwrap();
    world
}

fn night(world: &World, failpoint: &str) -> Said {
    let mut command = NIGHTLY.command(1, &world.lake());
    if !failpoint.is_empty() {
        command.env("SCOREHOUSE_FAILPOINT", failpoint);
    }
    said(command.args(["--log-format", "json"]).output().unwrap())
}

/// Every line of stderr.
#[track_caller]
fn lines(said: &Said) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}\n{}", said.stderr));
    let lines: Vec<Value> = said.stderr.lines().map(parse).collect();
    assert!(!lines.is_empty());
    for line in said.stderr.lines() {
        assert_eq!(line.matches("\"run_id\":").count(), 1, "{line}");
    }
    lines
}

#[test]
fn every_line_of_a_log_as_json_has_the_id_of_its_run() {
    let world = world();
    assert_eq!(night(&world, "before-commit:features/pays=kill").code, -1);
    let said = night(&world, "");
    let lines = lines(&said);
    let id = said.json()["run_id"].clone();
    assert!(lines.len() > 5 && lines.iter().all(|line| line["run_id"] == id), "{}", said.stderr);
    assert!(lines.iter().all(|line| line["level"].is_string() && line["message"].is_string()), "{}", said.stderr);
    // That of another run has a name of its own.
    let lost = lines.iter().find(|line| line["lost_run"].is_string()).expect("the run that was killed is told of");
    assert_ne!(lost["lost_run"], id);
    let rows = world.query("select distinct run_id from runs where status = 'ok' and job = 'report'");
    assert!(rows.iter().any(|row| row["run_id"] == id), "{rows:?}");
}

#[test]
fn a_failure_is_the_last_line_as_json_too() {
    let world = world();
    let said = night(&world, "before-commit:features/pays=error").refuses(75, &[]);
    let lines = lines(&said);
    let last = lines.last().unwrap();
    assert_eq!((&last["level"], &last["exit_code"], &last["kind"]), (&"ERROR".into(), &75.into(), &"temporary".into()));
    assert!(last["message"].as_str().unwrap().contains("features"), "{last}");
    assert_eq!(last["run_id"], lines[0]["run_id"]);
}

#[test]
fn whatever_fails_says_so_in_one_last_line() {
    let world = small::world();
    let project = world.project.display().to_string();
    world.write("features/pays.yaml", "group: 7\nentity: [\n");
    let last = |said: &Said| said.stderr.lines().last().unwrap_or_default().to_string();
    for (arguments, says) in [
        (vec!["check", "--project", &project], "pays.yaml"),
        (vec!["query", "select * from nothing"], "no table `nothing`"),
        (vec!["ingest", "--date", "yesterday"], "yesterday"),
        (vec!["ingest", "--no-such-flag"], "--no-such-flag"),
    ] {
        let said = world.run(&arguments).refuses(2, &[]);
        let last = last(&said);
        assert!(last.starts_with("scorehouse: ") && last.contains("error: ") && last.contains(says), "{}", said.stderr);
        assert!(said.stderr.lines().count() == 1 || last.contains("exit code 2"), "{}", said.stderr);
    }
    let said = said(scorehouse(&[]).output().unwrap()).refuses(2, &["Usage"]);
    assert_eq!(last(&said), "scorehouse: exit code 2: error: no job was named");
    let help = crate::support::said(scorehouse(&["--help"]).output().unwrap()).ok();
    assert_eq!(help.stderr, "");
}
