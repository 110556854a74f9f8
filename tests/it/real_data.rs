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

/// Runs a night and gives the out-of-sample ROC AUC of each model.
fn night(project: &str, date: &str) -> Option<Vec<(String, f64)>> {
    let raw = data(project)?;
    let world = World::new();
    let project = root().join("tests/projects").join(project);
    let output = scorehouse(&["nightly", "--date", date, "--json"])
        .args(["--project".as_ref(), project.as_os_str(), "--raw".as_ref(), raw.as_os_str()])
        .args(["--lake".as_ref(), world.lake().as_os_str()])
        .output()
        .unwrap();
    let night = said(output).ok().json();
    let trained = night["outputs"].as_array().unwrap().iter().filter(|line| line["details"]["roc_auc"].is_number());
    Some(
        trained
            .map(|line| (line["table"].as_str().unwrap().to_string(), line["details"]["roc_auc"].as_f64().unwrap()))
            .collect(),
    )
}

#[test]
fn superlender_reaches_the_notebook() {
    let Some(models) = night("superlender", "2017-08-31") else { return };
    println!("superlender: {models:?}, notebook 0.719");
    assert!(!models.is_empty());
    assert!(models.iter().all(|(_, auc)| *auc >= 0.719), "{models:?}");
}

#[test]
fn online_retail_reaches_the_notebook() {
    let Some(models) = night("online_retail", "2011-12-31") else { return };
    println!("online_retail: {models:?}, notebook 0.765");
    assert!(!models.is_empty());
    assert!(models.iter().all(|(_, auc)| *auc >= 0.765), "{models:?}");
}
