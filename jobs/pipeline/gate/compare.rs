//! All checks of a candidate, in the order in which they are shown.

use std::collections::BTreeMap;

use super::check::{Check, Difference, Found};
use super::rows::distinct;
use super::{Judging, fairness};
use crate::define::model::Limit;
use crate::error::Result;
use crate::learn::agreement::spearman;
use crate::learn::bootstrap::{Differences, Plan, Sample, paired_differences};
use crate::learn::metrics::{Metric, Metrics};
use crate::learn::stability::psi;
use crate::pipeline::artifacts::Version;
use crate::pipeline::score::rows::Policy;

/// Draws of the bootstrap, and their seed: the same rows give the same verdict.
const REPETITIONS: u32 = 1000;
const SEED: u64 = 1;
/// Bins of the PSI of scores, and how many people make it more than chance: without any drift it is about
/// (bins − 1) · 2 / people.
const BINS: usize = 10;
const PEOPLE: usize = 200;

pub fn checks(judging: &Judging<'_>) -> Result<Vec<Check>> {
    let policy = Policy::of(judging.model)?;
    let mut checks = floors(judging);
    checks.extend(constant(judging));
    for (name, limit) in judging.model.gate.checks.named() {
        checks.extend(match name {
            "coverage" => coverage(judging, &limit),
            _ if judging.champion.is_none() => Vec::new(),
            "rank_agreement" => rank_agreement(judging, &limit)?,
            "action_changes" => action_changes(judging, &policy, &limit),
            "psi" => psi_of_scores(judging, &limit)?,
            "anchor" => anchor(judging, &limit)?,
            "demographic_parity" | "equal_opportunity" => fairness::checks(judging, &policy, name, &limit)?,
            metric => of_rows(judging, metric, &limit)?,
        });
    }
    let live = judging.tonight.champion.as_ref().map(|live| live.probability.as_slice());
    checks.extend(judging.tonight.asserts.checks(&policy, &judging.tonight.candidate.probability, live));
    Ok(checks)
}

/// What any version must reach out of sample.
fn floors(judging: &Judging<'_>) -> Vec<Check> {
    let floors = &judging.model.gate.floors;
    let metrics: serde_json::Value = serde_json::from_str(&judging.trained.metrics).unwrap_or_default();
    let declared = [("roc_auc", floors.roc_auc), ("average_precision", floors.average_precision), ("ks", floors.ks)];
    let mut checks = Vec::new();
    for (name, floor) in declared {
        let Some(floor) = floor else { continue };
        // A metric that the test rows do not define reaches nothing.
        let candidate = metrics.get(name).and_then(serde_json::Value::as_f64).unwrap_or(f64::NAN);
        let limit = Limit { min: Some(floor), ..Limit::default() };
        let note = "out of sample".to_string();
        let mut made = Check::made(
            format!("floor.{name}"),
            &limit,
            &Found { candidate: Some(candidate), note, ..Found::default() },
        );
        made.iter_mut().for_each(|check| check.candidate = check.candidate.filter(|value| !value.is_nan()));
        checks.extend(made);
    }
    checks
}

/// A model that says the same of everybody decides nothing.
fn constant(judging: &Judging<'_>) -> Vec<Check> {
    let people = judging.tonight.rows.num_rows();
    let limit = Limit { min: Some(2.0), ..Limit::default() };
    if people < 2 && judging.rows.labels.len() < 2 {
        return Check::skipped("distinct_scores", &limit, "there are no two rows to tell apart");
    }
    let tonight = &judging.tonight;
    let candidate = distinct(&tonight.candidate.probability).max(judging.rows.distinct);
    let champion = tonight.champion.as_ref().map(|live| distinct(&live.probability) as f64);
    let note =
        if candidate < 2 { "it says the same of everybody: its inputs tell nothing about the label" } else { "" };
    let found = Found { candidate: Some(candidate as f64), champion, difference: None, note: note.into() };
    Check::made("distinct_scores", &limit, &found)
}

fn coverage(judging: &Judging<'_>, limit: &Limit) -> Vec<Check> {
    let people = judging.tonight.rows.num_rows();
    if people == 0 {
        return Check::skipped("coverage", limit, "nobody is scored tonight");
    }
    let share = judging.tonight.covered as f64 / people as f64;
    let note = "share of people of whom at least one input is known".to_string();
    Check::made("coverage", limit, &Found { candidate: Some(share), note, ..Found::default() })
}

/// A metric of rows whose outcome is known, with a paired bootstrap of the difference by entity.
fn of_rows(judging: &Judging<'_>, name: &str, limit: &Limit) -> Result<Vec<Check>> {
    let rows = &judging.rows;
    let (Some(metric), Some(champion)) = (Metric::named(name), &rows.champion) else {
        return Ok(Check::skipped(name, limit, &rows.lacks));
    };
    if !rows.lacks.is_empty() {
        return Ok(Check::skipped(name, limit, &rows.lacks));
    }
    paired(judging, name, metric, champion, limit)
}

fn anchor(judging: &Judging<'_>, limit: &Limit) -> Result<Vec<Check>> {
    let (rows, name) = (&judging.rows, "anchor");
    match &rows.anchor.scores {
        _ if !rows.lacks.is_empty() => Ok(Check::skipped(name, limit, &rows.lacks)),
        None => Ok(Check::skipped(name, limit, &rows.anchor.lacks)),
        Some(scores) => paired(judging, name, Metric::AveragePrecision, scores, limit),
    }
}

fn paired(judging: &Judging<'_>, name: &str, metric: Metric, other: &[f64], limit: &Limit) -> Result<Vec<Check>> {
    let rows = &judging.rows;
    let threshold = judging.model.decisions.first().and_then(|decision| decision.below).unwrap_or(0.5);
    let of = |scores: &[f64]| Ok::<_, crate::error::Error>(Metrics::of(&rows.labels, scores, threshold)?.get(metric));
    let clusters = rows.clusters();
    let sample = Sample { labels: &rows.labels, weights: None, clusters: &clusters, threshold };
    let plan = Plan { repetitions: REPETITIONS, seed: SEED, confidence: limit.confidence.unwrap_or(0.95) };
    let differences: Differences = paired_differences(&sample, &rows.candidate, other, plan, judging.job.threads())?;
    let difference = differences.of(metric).map(|d| Difference { low: d.low, high: d.high });
    let note = format!("{} rows younger than what either was trained on", rows.labels.len());
    let found = Found { candidate: of(&rows.candidate)?, champion: of(other)?, difference, note };
    Ok(Check::made(name, limit, &found))
}

/// Spearman's correlation of what inputs contribute, over the inputs of both; what one does not read counts nothing.
fn rank_agreement(judging: &Judging<'_>, limit: &Limit) -> Result<Vec<Check>> {
    let Some(champion) = &judging.champion else { return Ok(Vec::new()) };
    let (ours, live) = (importances(&judging.candidate), importances(champion));
    let names: Vec<&String> = ours.keys().chain(live.keys().filter(|name| !ours.contains_key(*name))).collect();
    let values = |of: &BTreeMap<String, f64>| names.iter().map(|name| of.get(*name).copied().unwrap_or(0.0)).collect();
    let (a, b): (Vec<f64>, Vec<f64>) = (values(&ours), values(&live));
    let candidate = spearman(&a, &b)?;
    let only = |one: &BTreeMap<String, f64>, other: &BTreeMap<String, f64>| {
        one.keys().filter(|name| !other.contains_key(*name)).count()
    };
    let note = match (only(&ours, &live), only(&live, &ours)) {
        _ if candidate.is_none() => "one of them reads nothing, or everything alike".to_string(),
        (0, 0) => String::new(),
        (more, fewer) => {
            format!("trained on other columns: {more} that the champion lacks, without {fewer} of its own")
        }
    };
    Ok(Check::made("rank_agreement", limit, &Found { candidate, note, ..Found::default() }))
}

/// By input: shares and categories of one column count together.
fn importances(version: &Version) -> BTreeMap<String, f64> {
    let mut by_column: BTreeMap<String, f64> = BTreeMap::new();
    for input in &version.inputs {
        by_column.insert(input.name(), 0.0);
    }
    let column = |name: &str| version.artifact.features.iter().find(|f| f.name == name).map(|f| f.column().to_string());
    for importance in &version.artifact.report.importances {
        let name = column(&importance.feature).unwrap_or_else(|| importance.feature.clone());
        *by_column.entry(name).or_default() += importance.gain;
    }
    by_column
}

fn action_changes(judging: &Judging<'_>, policy: &Policy, limit: &Limit) -> Vec<Check> {
    let (ours, Some(live)) = (&judging.tonight.candidate, &judging.tonight.champion) else { return Vec::new() };
    let people = ours.probability.len();
    if people == 0 {
        return Check::skipped("action_changes", limit, "nobody is scored tonight");
    }
    let pairs = ours.probability.iter().zip(&live.probability);
    let changed = pairs.filter(|(a, b)| policy.action(**a) != policy.action(**b)).count();
    let note = format!("{changed} of {people} people would get another action");
    let found = Found { candidate: Some(changed as f64 / people as f64), note, ..Found::default() };
    Check::made("action_changes", limit, &found)
}

/// Of the probabilities before calibration: an isotonic curve has steps, and other steps are no other people. Heads of
/// two kinds mean different things by theirs, and are compared by what calibration makes of them.
fn psi_of_scores(judging: &Judging<'_>, limit: &Limit) -> Result<Vec<Check>> {
    let (ours, Some(live)) = (&judging.tonight.candidate, &judging.tonight.champion) else { return Ok(Vec::new()) };
    let people = ours.probability.len();
    if people < PEOPLE {
        let why = format!("{people} people tonight, at least {PEOPLE} were expected");
        return Ok(Check::skipped("psi", limit, &why));
    }
    let head = |version: &Version| version.artifact.head;
    let alike = judging.champion.as_ref().is_some_and(|champion| head(champion) == head(&judging.candidate));
    let (ours, live, note) = match alike {
        true => (&ours.uncalibrated, &live.uncalibrated, "of probabilities before calibration"),
        false => (&ours.probability, &live.probability, "of calibrated probabilities: the heads differ"),
    };
    let candidate = Some(psi(live, ours, BINS)?);
    Ok(Check::made("psi", limit, &Found { candidate, note: note.into(), ..Found::default() }))
}
