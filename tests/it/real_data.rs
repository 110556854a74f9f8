//! Nights on real public data, where it is at hand: two projects of definitions only, against what a competent
//! notebook reaches.
//!
//! The data is not part of this repository; `SCOREHOUSE_REAL_DATA` names its directory (default `../shared/data`).

use std::path::PathBuf;

use crate::support::{World, root, said, scorehouse};

fn data(name: &str) -> Option<PathBuf> {
    let base = std::env::var_os("SCOREHOUSE_REAL_DATA").map_or_else(|| root().join("../shared/data"), PathBuf::from);
    let path = base.join(name);
    if path.is_dir() {
        return Some(path);
    }
    println!("real data {name} is absent: nothing tested");
    None
}

/// Runs a night and gives the out-of-sample ROC AUC of each model on a segment of its rows.
fn night(project: &str, date: &str, segment: &str) -> Option<Vec<(String, f64)>> {
    let raw = data(project)?;
    let world = World::new();
    let project = root().join("tests/projects").join(project);
    let output = scorehouse(&["nightly", "--date", date, "--json"])
        .args(["--project".as_ref(), project.as_os_str(), "--raw".as_ref(), raw.as_os_str()])
        .args(["--lake".as_ref(), world.lake().as_os_str()])
        .output()
        .unwrap();
    said(output).ok();
    let models = std::fs::read_dir(world.lake().join("models")).unwrap().map(|model| {
        let model = model.unwrap();
        let version = std::fs::read_dir(model.path()).unwrap().next().unwrap().unwrap();
        let metrics = std::fs::read_to_string(version.path().join("metrics.json")).unwrap();
        (model.file_name().into_string().unwrap(), out_of_sample(&metrics, segment))
    });
    Some(models.collect())
}

fn out_of_sample(metrics: &str, segment: &str) -> f64 {
    let metrics: serde_json::Value = serde_json::from_str(metrics).unwrap();
    let mut of = metrics["evaluations"].as_array().unwrap().iter().filter(|evaluation| {
        ["test", "out_of_fold"].iter().any(|part| evaluation["part"] == *part) && evaluation["segment"] == segment
    });
    of.next().unwrap()["metrics"]["roc_auc"].as_f64().unwrap()
}

#[test]
fn superlender_reaches_what_was_measured() {
    // The rows of the label file; earlier loans only train.
    reaches("superlender", "2017-08-31", "judged", &[("credit", 0.736)]);
}

#[test]
fn online_retail_reaches_what_was_measured() {
    reaches("online_retail", "2011-12-31", "all", &[("returning", 0.775), ("returning_folds", 0.772)]);
}

/// Floors lie just under `benches/RESULTS.md`; the notebook's are 0.719 and 0.765.
fn reaches(project: &str, date: &str, segment: &str, floors: &[(&str, f64)]) {
    let Some(models) = night(project, date, segment) else { return };
    println!("{project}: {models:?}");
    assert_eq!(models.len(), floors.len(), "{models:?}");
    for (name, floor) in floors {
        let auc = models.iter().find(|(model, _)| model == name).unwrap().1;
        assert!(auc >= *floor, "{name}: expected at least {floor}, found {auc}");
    }
}
