//! `scores_current`: one row each, only what moved is written, and the change feed says exactly what moved.

use std::collections::BTreeMap;
use std::path::Path;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value};

use super::world::{FIRST, GOOD, PEOPLE, SECOND, THIRD, model, world};
use crate::support::World;

type Rows = BTreeMap<String, Map<String, Value>>;

/// What is current, without when it was scored, by entity.
fn current(world: &World) -> Rows {
    by_user(world.query("select * from scores_current.again"))
}

fn scores(world: &World, date: &str) -> Rows {
    by_user(world.query(&format!("select * from scores.again where logical_date = '{date}'")))
}

fn by_user(rows: Vec<Value>) -> Rows {
    let count = rows.len();
    let keyed = rows.into_iter().map(|row| {
        let mut row = row.as_object().unwrap().clone();
        ["as_of", "logical_date"].iter().for_each(|when| drop(row.remove(*when)));
        (row["user_id"].as_str().unwrap().to_string(), row)
    });
    let rows: Rows = keyed.collect();
    assert_eq!(rows.len(), count, "one row each");
    rows
}

fn log(world: &World) -> Vec<Vec<Value>> {
    let dir = world.lake().join("scores_current/again/_delta_log");
    let mut paths: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "json"));
    paths.sort();
    let actions = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    paths.iter().map(actions).collect()
}

/// Users by what a commit says became of them.
fn changes(world: &World, commit: &[Value]) -> BTreeMap<String, Vec<String>> {
    let mut changes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in commit.iter().filter_map(|action| action["cdc"]["path"].as_str()) {
        for (user, kind) in cells(&world.lake().join("scores_current/again").join(path)) {
            changes.entry(kind).or_default().push(user);
        }
    }
    changes.values_mut().for_each(|users| users.sort());
    changes
}

fn cells(path: &Path) -> Vec<(String, String)> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path).unwrap()).unwrap().build().unwrap();
    let mut cells = Vec::new();
    for batch in reader.map(Result::unwrap) {
        let text = |name: &str| {
            let column = arrow::array::AsArray::as_string::<i32>(batch.column_by_name(name).unwrap()).clone();
            (0..column.len()).map(|row| column.value(row).to_string()).collect::<Vec<_>>()
        };
        use arrow::array::Array as _;
        cells.extend(text("user_id").into_iter().zip(text("_change_type")));
    }
    cells
}

#[test]
fn the_feed_says_what_moved_and_nothing_else() {
    let world = world();
    let first = current(&world);
    assert_eq!(first.len(), PEOPLE);
    assert_eq!(first, scores(&world, FIRST));
    let created = log(&world);
    let configuration = created[0].iter().find(|action| action["metaData"].is_object()).unwrap();
    assert_eq!(configuration["metaData"]["configuration"]["delta.enableChangeDataFeed"], "true");
    assert!(created.iter().flatten().all(|action| action["cdc"].is_null()), "files that only come say it themselves");

    // Somebody is no longer one of those who are scored.
    let text = model(GOOD, &[], "").replace("history: 14d}", "history: 14d, where: \"user_id <> 'u007'\"}");
    world.write("models/again.yaml", &text);
    world.job("score", SECOND).ok();
    let second = current(&world);
    assert_eq!(second, scores(&world, SECOND));
    let commits = log(&world);
    assert_eq!(commits.len(), created.len() + 1);
    let said = changes(&world, commits.last().unwrap());
    let moved: Vec<String> =
        second.iter().filter(|(user, row)| first[*user] != **row).map(|(user, _)| user.clone()).collect();
    assert!(!moved.is_empty() && moved.len() < PEOPLE, "{} moved", moved.len());
    assert_eq!(said["update_preimage"], moved);
    assert_eq!(said["update_postimage"], moved);
    assert_eq!(said["delete"], ["u007"]);
    assert!(!said.contains_key("insert"));
    // Who did not move keeps the night from which it is so.
    let nights = world.query("select logical_date, count(*) as n from scores_current.again group by 1 order by 1");
    assert_eq!(nights[1]["n"].as_u64(), Some(moved.len() as u64), "{nights:?}");

    // Back again, and nothing twice.
    world.write("models/again.yaml", &model(GOOD, &[], ""));
    world.job("score", THIRD).ok();
    assert_eq!(changes(&world, log(&world).last().unwrap())["insert"], ["u007"]);
    assert_eq!(current(&world), scores(&world, THIRD));
    let versions = world.versions();
    world.job("score", THIRD).ok();
    assert_eq!(world.versions(), versions);
    // An earlier night that is run again does not take it back.
    let said = world.job("score", SECOND).ok();
    assert_eq!(said.line("scores_current/again")["status"], "of a later night");
    assert_eq!(current(&world), scores(&world, THIRD));
}

#[test]
fn a_score_has_what_a_risk_officer_asks_for() {
    let world = world();
    let row = &scores(&world, FIRST)["u000"];
    let number = |name: &str| row[name].as_f64().unwrap();
    let sigmoid = 1.0 / (1.0 + (-number("margin")).exp());
    assert!((sigmoid - number("uncalibrated")).abs() < 1e-12, "{row:?}");
    assert_eq!(row["probability"], row["uncalibrated"], "not calibrated");
    assert!((number("score") - 100.0 * (1.0 - number("probability"))).abs() < 1e-9);
    let all = world.query(&format!(
        "select decision, min(\"limit\") as low, max(\"limit\") as high, count(\"limit\") as n, max(missing_inputs) as missing, \
         count(feature_version) as versions, count(*) as rows from scores.again where logical_date = '{FIRST}' group by 1 order by 1"
    ));
    assert_eq!(
        (&all[0]["decision"], all[0]["low"].as_f64(), all[0]["high"].as_f64()),
        (&"wait".into(), Some(100.0), Some(100.0))
    );
    assert_eq!((&all[1]["decision"], all[1]["n"].as_u64()), (&"write".into(), Some(0)));
    assert!(all.iter().all(|row| row["versions"] == row["rows"]), "{all:?}");
}

/// An amount of the last day is missing where nobody paid: such people are scored, and flagged.
#[test]
fn who_lacks_inputs_is_scored_and_flagged() {
    let world = world();
    world.write("models/again.yaml", &model("[pays.payments_30d, pays.amount_last_1d]", &[], ""));
    for job in ["train", "gate", "score"] {
        world.job(job, SECOND).ok();
    }
    let rows = world.query(&format!(
        "select missing_inputs as missing, count(*) as n, count(probability) as scored from scores.again \
         where logical_date = '{SECOND}' group by 1 order by 1"
    ));
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows.iter().all(|row| row["n"] == row["scored"]), "{rows:?}");
    assert_eq!(rows.iter().map(|row| row["n"].as_u64().unwrap()).sum::<u64>(), PEOPLE as u64);
    let features = world.query(&format!(
        "select count(*) - count(amount_last_1d) as n from features.pays where logical_date = '{SECOND}'"
    ));
    assert_eq!((&rows[1]["missing"], &rows[1]["n"]), (&1.into(), &features[0]["n"]));
}

/// A night is killed between its scores and what is current.
#[test]
fn a_killed_merge_is_finished_by_the_next_run() {
    let whole = world();
    whole.job("score", SECOND).ok();
    for point in
        ["before-commit:scores_current=kill", "after-commit:scores_current=kill", "after-write:_change_data=kill"]
    {
        let world = world();
        let mut command = crate::support::scorehouse(&["score", "--date", SECOND]);
        command.arg("--project").arg(&world.project).arg("--raw").arg(world.raw()).arg("--lake").arg(world.lake());
        let said = crate::support::said(command.env("SCOREHOUSE_FAILPOINT", point).output().unwrap());
        assert_ne!(said.code, 0, "{point}");
        world.job("score", SECOND).ok();
        assert_eq!(current(&world), current(&whole), "{point}");
        assert_eq!(
            changes(&world, log(&world).last().unwrap()),
            changes(&whole, log(&whole).last().unwrap()),
            "{point}"
        );
    }
}

/// Reasons are of declared groups, never of protected inputs, and come out the same when the score is replayed.
#[test]
fn reasons_are_declared_protected_and_reproduced() {
    let world = world();
    let groups =
        "reasons:\n  count: 2\n  groups:\n    often: {code: R1, sentence: Paid often., inputs: ['pays.payments*']}\n";
    let whole = format!("{groups}    much: {{code: R2, sentence: Paid much., inputs: ['pays.amount*']}}\n");
    world.write("models/again.yaml", &model(GOOD, &[], groups));
    world.job("train", SECOND).refuses(2, &["models/again.yaml", "`pays.amount_sum_30d` is in no reason group"]);
    let given = |text: &str| {
        world.write("models/again.yaml", &model(GOOD, &[], text));
        for job in ["train", "gate", "score"] {
            world.job(job, SECOND).ok();
        }
        let rows = scores(&world, SECOND);
        let codes = |row: &Map<String, Value>| row["reason_codes"].as_array().unwrap().clone();
        assert!(rows.values().all(|row| codes(row).len() == row["reasons"].as_array().unwrap().len()));
        let all: std::collections::BTreeSet<String> =
            rows.values().flat_map(codes).map(|code| code.as_str().unwrap().to_string()).collect();
        let project = world.project.display().to_string();
        let asked =
            ["replay", "--model", "again", "--entity", "u000", "--date", SECOND, "--project", &project, "--json"];
        assert_eq!(world.run(&asked).ok().json()["reproduced"], true);
        all.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(given(&whole), ["R1", "R2"]);
    assert_eq!(given(&format!("{groups}  protected: ['pays.amount*']\n")), ["R1"]);
}
