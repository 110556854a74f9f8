//! A score once more: from the score to the sources, bit for bit, and a clear word where something is gone.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::small::files;
use crate::support::{Said, World};
use crate::torture::nights::{MODEL, NIGHTLY, date};

/// The night after which everything below is asked: two more have followed it.
const NIGHT: usize = 1;

/// A lake after four nights.
fn world() -> World {
    let world = World { project: NIGHTLY.project(), ..World::with(&[]) };
    std::fs::rename(NIGHTLY.lake(4).path().join("lake"), world.lake()).unwrap();
    world
}

fn replay(world: &World, more: &[&str]) -> Said {
    let (project, date) = (world.project.display().to_string(), date(NIGHT));
    let asked = ["replay", "--model", "again", "--entity", "u3", "--date", &date, "--project", &project, "--json"];
    world.run(&[&asked, more].concat())
}

fn step<'a>(said: &'a Value, table: &str) -> &'a Value {
    said["trail"].as_array().unwrap().iter().find(|step| step["table"] == table).unwrap()
}

/// The data files of a table that its first versions had.
fn data(world: &World, table: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
        for path in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    walk(&world.lake().join(table), &mut found);
    found.retain(|path| path.extension().is_some_and(|e| e == "parquet"));
    found
}

#[test]
fn a_score_is_reproduced_from_what_was_known_then() {
    let world = world();
    let said = replay(&world, &[]).ok().json();
    assert_eq!((&said["reproduced"], said["missing"].as_array().unwrap().len()), (&Value::Bool(true), 0));
    let stored = world.query(&format!(
        "select probability, decision, model_version from scores.again where user_id = 'u3' and logical_date = '{}'",
        date(NIGHT)
    ));
    assert_eq!(said["decisions"][0]["probability"], stored[0]["probability"]);
    assert_eq!(said["decisions"][0]["decision"], stored[0]["decision"]);
    assert_eq!(said["model_version"], stored[0]["model_version"]);
    // Later nights wrote further versions of every table; the score leads to those of its own night.
    let features = &step(&said, "scores/again")["made_from"]["features/pays"];
    assert_eq!(features, &step(&said, "features/pays")["version"]);
    let payments = &step(&said, "features/pays")["made_from"]["payments"];
    assert_eq!(payments, &step(&said, "tables/payments")["version"]);
    assert_eq!(&step(&said, "tables/payments")["made_from"]["pay"], &step(&said, "tables/pay")["version"]);
    let versions = world.versions();
    assert!(payments.as_u64().unwrap() + 1 < versions["tables/payments"] as u64, "{payments} {versions:?}");
    let run = said["run_id"].as_str().unwrap();
    assert_eq!(replay(&world, &["--run", run]).ok().json()["decisions"], said["decisions"]);
    replay(&world, &["--run", "another"]).refuses(3, &["scores/again", "no log entry of score"]);
}

#[test]
fn what_a_vacuum_took_is_named() {
    let world = world();
    let version = step(&replay(&world, &[]).ok().json(), "tables/payments")["version"].as_u64().unwrap();
    for path in data(&world, "tables/payments/event_date=2024-03-03") {
        std::fs::remove_file(path).unwrap();
    }
    let said = replay(&world, &[]).refuses(3, &["cannot be followed back in full", "missing: tables/payments version"]);
    let answer = said.json();
    let missing = answer["missing"][0].as_str().unwrap();
    assert!(missing.contains(&format!("version {version}: its file event_date=2024-03-03/part-")), "{missing}");
    assert_eq!(answer["reproduced"], true, "from the vector that was stored");

    let log = world.lake().join("tables/people/_delta_log");
    std::fs::remove_file(log.join("00000000000000000000.json")).unwrap();
    replay(&world, &[]).refuses(3, &["missing: tables/people version", "its log entries are gone"]);

    let artifact = world.lake().join("models/again");
    std::fs::rename(&artifact, world.lake().join("models/elsewhere")).unwrap();
    let said = replay(&world, &[]).refuses(3, &["the artifact is gone"]);
    assert_eq!(said.json()["reproduced"], false);
}

#[test]
fn a_score_that_comes_out_otherwise_is_an_internal_error() {
    let world = world();
    let said = replay(&world, &[]).ok().json();
    // Another version's files under the name of the one that scored.
    let ours = world.lake().join("models/again").join(said["model_version"].as_str().unwrap());
    let all = std::fs::read_dir(world.lake().join("models/again")).unwrap().map(|entry| entry.unwrap().path());
    let other = all.into_iter().find(|path| *path != ours).unwrap();
    std::fs::remove_dir_all(&ours).unwrap();
    std::fs::rename(other, &ours).unwrap();
    let wrong = replay(&world, &[]).refuses(1, &["the score is not reproduced"]).json();
    assert_eq!((&said["reproduced"], &wrong["reproduced"]), (&Value::Bool(true), &Value::Bool(false)));
}

#[test]
fn definitions_that_are_not_those_of_the_night_are_named() {
    let mut world = world();
    let before = world.project.clone();
    world.project = world.dir.path().join("changed");
    for (path, text) in files() {
        let text =
            text.replace("fn: [sum, mean, max, last], over: [1d, 30d]}", "fn: [mean, max, last], over: [1d, 30d]}");
        world.write(
            path,
            &text.replace("derived:", "  - {of: amount + 1, as: amount_sum, fn: sum, over: [1d, 30d]}\nderived:"),
        );
    }
    world.write("models/again.yaml", MODEL);
    let sources = std::fs::read_to_string(before.join("sql/sources.yaml")).unwrap();
    world.write("sql/sources.yaml", &sources);
    // The column that became another is named; the score is made from the others, and from what was stored of this one and of what follows it.
    let said = replay(&world, &[]).refuses(3, &["missing: the definition of pays.amount_sum_30d: fingerprint"]);
    let answer = said.json();
    assert_eq!((&answer["reproduced"], answer["missing"].as_array().unwrap().len()), (&Value::Bool(true), 3));
}

#[test]
fn questions_without_an_answer_say_what_could_be_asked() {
    let world = world();
    let ask = |model: &str, entity: &str, date: &str| {
        let project = world.project.display().to_string();
        world.run(&["replay", "--model", model, "--entity", entity, "--date", date, "--project", &project])
    };
    ask("agian", "u3", &date(NIGHT)).refuses(2, &["there is no model called `agian`", "again"]);
    ask("again", "nobody", &date(NIGHT)).refuses(3, &["has no score of user_id = nobody"]);
    ask("again", "u3", "2023-01-01").refuses(3, &["no log entry of score of 2023-01-01"]);
    let said = ask("again", "u3", &date(NIGHT)).ok();
    assert!(said.stdout.contains("Computed again: the same, bit for bit."), "{}", said.stdout);
}

/// The thresholds of today decide otherwise: that is said of the definition, and nothing is called a mistake.
#[test]
fn a_model_that_decides_otherwise_today_is_named() {
    let mut world = world();
    let before = world.project.clone();
    world.project = world.dir.path().join("changed");
    for (path, text) in files() {
        world.write(path, text);
    }
    world.write("sql/sources.yaml", &std::fs::read_to_string(before.join("sql/sources.yaml")).unwrap());
    world.write("models/again.yaml", &MODEL.replace("below: 0.5", "below: 0.999").replace("wait", "trust"));
    let said = replay(&world, &[]).refuses(3, &["missing: the definition of model again"]);
    assert_eq!(said.json()["reproduced"], false);
}

/// Decisions on applications are computed from tables, with attributes of their own.
#[test]
fn a_decision_on_an_application_is_reproduced() {
    let world = crate::lender::world();
    crate::lender::march(&world);
    crate::lender::crowd(&world);
    let date = "2024-04-20";
    crate::lender::applications(
        &world,
        date,
        &[("l9", "u1", Some("de1"), Some("credit"), "2024-04-20T10:00:00Z", 12_000, "EUR", None)],
    );
    crate::lender::night(&world, date);
    crate::lender::live(&world, "default", date);
    world.job("score", date).ok();
    let project = world.project.display().to_string();
    let asked = ["replay", "--model", "default", "--entity", "u1", "--date", date, "--project", &project, "--json"];
    let said = world.run(&asked).ok().json();
    assert_eq!((&said["reproduced"], said["decisions"].as_array().unwrap().len()), (&Value::Bool(true), 1));
    assert!(step(&said, "tables/application")["version"].as_u64().is_some());
}
