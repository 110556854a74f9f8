//! Two hundred and forty people, of whom every other one pays nearly every day: whether somebody pays within a day is
//! easily learned from how often they paid, and not at all from how much.

use std::path::Path;
use std::sync::LazyLock;

use serde_json::Value;
use tempfile::TempDir;

use crate::small::{Pay, batch, files, write};
use crate::support::{Said, World};
use crate::torture::nights::copy;

pub const PEOPLE: usize = 240;
/// The night of the first champion, and the two after it.
pub const FIRST: &str = "2024-03-20";
pub const SECOND: &str = "2024-03-21";
pub const THIRD: &str = "2024-03-22";

/// Checks that nothing fails, for those that are not the subject.
pub const LOOSE: [(&str, &str); 7] = [
    ("average_precision", "{min_change: -1}"),
    ("calibration_error", "{max: 1}"),
    ("rank_agreement", "{min: -1}"),
    ("action_changes", "{max: 1}"),
    ("psi", "{max: 1000}"),
    ("coverage", "{min: 0}"),
    ("anchor", "{min_change: -1}"),
];

/// A model: its inputs, the checks that differ from [`LOOSE`], and whatever else it declares.
pub fn model(inputs: &str, checks: &[(&str, &str)], more: &str) -> String {
    let mut all: Vec<(&str, &str)> = LOOSE.to_vec();
    for (name, limit) in checks {
        all.retain(|(known, _)| known != name);
        all.push((name, limit));
    }
    let checks: Vec<String> = all.iter().map(|(name, limit)| format!("    {name}: {limit}\n")).collect();
    let gate = if more.contains("gate:") { "" } else { "gate:\n" };
    format!(
        "model: again\n\
         description: Whether somebody pays within a day.\n\
         entity: user_id\n\
         spine: {{population: people, every: 1d, history: 14d}}\n\
         label: {{table: payments, horizon: 1d}}\n\
         inputs: {inputs}\n\
         head: {{kind: lightgbm, rounds: 30, early_stopping: 0, params: {{min_data_in_leaf: 20, num_leaves: 7}}}}\n\
         validation: {{kind: time, test: 4d}}\n\
         decisions: [{{action: wait, below: 0.5, limit: 100}}, {{action: write}}]\n\
         retrain: 1d\n\
         {more}{gate}  checks:\n{}",
        checks.concat()
    )
}

/// How often somebody pays tells; how much they paid does not.
pub const GOOD: &str = "[pays.payments_30d, pays.payments_1d, pays.amount_sum_30d]";
pub const NOISE: &str = "[pays.amount_last_30d]";

/// After the first night, and all before training of the second and third. Nobody writes into it.
static BASE: LazyLock<TempDir> = LazyLock::new(|| {
    let world = World::with(&files());
    world.write("models/again.yaml", &model(GOOD, &[], ""));
    deliver(&world);
    for job in ["ingest", "tables", "features", "train"] {
        world.job(job, FIRST).ok();
    }
    world.job("gate", FIRST).ok();
    world.job("score", FIRST).ok();
    for date in [SECOND, THIRD] {
        for job in ["ingest", "tables", "features"] {
            world.job(job, date).ok();
        }
    }
    world.dir
});

/// A world of a test's own: a champion of the first night, and the features of three.
pub fn world() -> World {
    let dir = TempDir::new().unwrap();
    copy(BASE.path(), dir.path());
    World { project: dir.path().join("project"), dir }
}

/// One with nothing but raw files.
pub fn fresh() -> World {
    let world = World::with(&files());
    deliver(&world);
    world
}

fn deliver(world: &World) {
    for day in 0..22_usize {
        let date = format!("2024-03-{:02}", day + 1);
        let rows: Vec<(String, String, String, i128)> = (0..PEOPLE)
            .filter(|user| (user * 7919 + day * 104_729) % 100 < if user % 2 == 0 { 85 } else { 12 })
            .map(|user| {
                let at = format!("{date}T{:02}:30:00Z", user % 24);
                let amount = 100 + ((user * 31 + day * 17) * 48_271 % 9973) as i128;
                (format!("p{day}-{user}"), format!("u{user:03}"), at, amount)
            })
            .collect();
        let rows: Vec<Pay> = rows.iter().map(|r| (r.0.as_str(), Some(r.1.as_str()), Some(r.2.as_str()), r.3)).collect();
        let path = world.raw().join("pay").join(format!("day={date}/a.parquet"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        write(&path, &batch(&rows));
    }
}

pub fn train(world: &World, date: &str) {
    world.job("train", date).ok();
}

pub fn gate(world: &World, date: &str) -> Said {
    world.job("gate", date)
}

/// The one verdict of a gate.
pub fn verdict(said: &Said) -> Value {
    let gates = said.json()["gates"].as_array().unwrap().clone();
    assert_eq!(gates.len(), 1, "{said:#?}");
    gates[0].clone()
}

/// The checks of a status, by metric.
pub fn checks(verdict: &Value, status: &str) -> Vec<String> {
    let all = verdict["checks"].as_array().unwrap().iter().filter(|check| check["status"] == status);
    all.map(|check| check["metric"].as_str().unwrap().to_string()).collect()
}

pub fn models(world: &World, arguments: &[&str]) -> Said {
    let project = world.project.display().to_string();
    world.run(&[&["models"], arguments, &["--project", &project, "--json"]].concat())
}

/// The versions by alias, as `models list` says: champion, previous, candidate, anchor.
pub fn aliases(world: &World) -> [Option<String>; 4] {
    let listed = models(world, &["list"]).ok().json();
    ["champion", "previous", "candidate", "anchor"].map(|alias| {
        let all = listed.as_array().unwrap().iter();
        let mut held = all.filter(|l| l["aliases"].as_array().unwrap().iter().any(|held| held == alias));
        let version = held.next().map(|listed| listed["version"].as_str().unwrap().to_string());
        assert!(held.next().is_none(), "two versions are {alias}");
        version
    })
}

pub fn champion(world: &World) -> String {
    aliases(world)[0].clone().unwrap()
}

/// Below the lake.
pub fn lake_file(world: &World, name: &str) -> String {
    std::fs::read_to_string(world.lake().join(name)).unwrap()
}

pub fn artifact(world: &World, version: &str) -> std::path::PathBuf {
    world.lake().join("models/again").join(version)
}

pub fn overwrite(path: &Path, change: impl Fn(String) -> String) {
    let text = std::fs::read_to_string(path).unwrap();
    let changed = change(text.clone());
    assert_ne!(text, changed, "{}", path.display());
    std::fs::write(path, changed).unwrap();
}
