//! The `train` job: spine × features → a model version, its artifact, its place in the registry.
//!
//! A version is due when the model has no champion, or `retrain` has passed since the champion was trained. It becomes
//! the model's candidate, and nothing else: whether it replaces the champion is for the gate to say.

use std::sync::Arc;

use chrono::NaiveDate;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::job::{Job, Pins, Written, definition_text, digest, hex};
use super::learning::Learning;
use super::monitor::baseline;
use super::registry::{self, Event, Happened, History};
use super::{artifacts, fingerprints, mlflow, search, spine, training_set, vectors};
use crate::define::inputs::{Input, candidates};
use crate::define::model::Validation as Declared;
use crate::define::{FeatureGroup, Model};
use crate::error::{Context, Error, Result};
use crate::learn::artifact::Artifact;
use crate::learn::metrics::Metrics;
use crate::learn::scorer::Scorer;
use crate::learn::search::Params;
use crate::learn::train::{self, Fitted};

pub async fn run(job: &Job) -> Result<Vec<Written>> {
    let mut written = Vec::new();
    for model in job.project.models.values().filter(|m| job.selected(&m.name)) {
        let line = one(job, model).await.with_context(|| format!("model {}", model.name))?;
        job.ledger.wrote(&line);
        written.push(line);
    }
    Ok(written)
}

/// Whether a model is to be trained, and why.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    Yes(String),
    No(String),
}

pub fn due(model: &Model, champion: Option<&Event>, date: NaiveDate) -> Due {
    let Some(champion) = champion else { return Due::Yes("there is no champion".into()) };
    if champion.logical_date == date {
        return Due::Yes(format!("{} is of this night, and follows its inputs", champion.version));
    }
    let (age, every) = ((date - champion.logical_date).num_days(), model.retrain.ceil_days());
    let why = format!("{} is {age} of {every} days old", champion.version);
    if age < every { Due::No(why) } else { Due::Yes(why) }
}

/// Trains one model if it is due.
pub async fn one(job: &Job, model: &Model) -> Result<Written> {
    let path = format!("models/{}", model.name);
    let history = registry::history(job, &model.name).await?;
    if let Due::No(why) = due(model, history.champion(), job.date) {
        return Ok(Written::unchanged(path, format!("not due: {why}"), None));
    }
    let (inputs, mut columns) = vectors::columns(job, model)?;
    artifacts::check_reasons(model, &inputs)?;
    let mut names = spine::tables(model);
    names.extend(vectors::tables(job, &columns));
    let mut pins = job.pin(names.iter().map(String::as_str)).await?;
    let source = inputs_fingerprint(job, model, &pins)?;
    let is_done = |event: &&Event| event.happened == Happened::Trained && event.logical_date == job.date;
    if let Some(done) = history.events.iter().rev().filter(is_done).find(|event| event.inputs == source) {
        return Ok(Written::unchanged(format!("{path}/{}", done.version), "unchanged", None));
    }
    // Of what others read a version is not made: a night whose gate has promoted it trains it no second time.
    vectors::extend(&mut columns, inputs_of_others(job, model, &history).await?);
    let others = vectors::tables(job, &columns);
    pins.0
        .extend(job.pin(others.iter().map(String::as_str).filter(|name| !names.contains(&name.to_string()))).await?.0);
    let spine = spine::training(job, model, &pins).await?;
    let vectors = vectors::assemble(job, &pins, &columns, &spine.rows).await?;
    let segments = vectors::segments(job, model, &vectors)?;
    let names: Vec<String> = inputs.iter().map(|input| input.name()).collect();
    let step = job.progress.step(format!("train {}", model.name));
    let learning = Arc::new(Learning::new(model, &spine, &vectors, &names, segments, job.threads())?);
    let (params, found) = search::parameters(job, model, &learning, &source).await?;
    let mut fitted = fit(learning, model, params).await?;
    fitted.report.search = found;
    let files = files(job, model, &inputs, &fitted).await?;
    let version = version(job, &files);
    training_set::store(job, model, &version, &spine, &vectors, &fitted).await?;
    let bytes: u64 = files.iter().map(|(_, b)| b.len() as u64).sum();
    job.lake.put_files(&format!("{path}/{version}"), files).await?;
    let metrics = out_of_sample(&fitted)?;
    let until = trained_until(job, model, &spine::instants(&spine.rows, "as_of")?, &fitted);
    register(job, model, &version, &source, metrics, until).await?;
    step.done(&summary(metrics));
    let mut line = Written::unchanged(format!("{path}/{version}"), "written", None);
    line.rows = spine.rows.num_rows() as u64;
    line.bytes = bytes;
    for (name, value) in metrics.entries() {
        line = line.detail(name, json!(value));
    }
    Ok(line.detail("warnings", json!(fitted.report.warnings)))
}

/// What the champion and the anchor read, as far as it is still defined: the gate scores them on the same rows.
async fn inputs_of_others(job: &Job, model: &Model, history: &History) -> Result<Vec<Input>> {
    let aliases = history.aliases();
    let known = candidates(&job.project, model);
    let mut inputs = Vec::new();
    for version in aliases.champion.iter().chain(&aliases.anchor) {
        // What is wrong with an artifact is the gate's to say.
        let Ok(Some(files)) = artifacts::files(job, &model.name, version).await else { continue };
        let Ok(artifact) = Artifact::from_files(&files) else { continue };
        vectors::extend(&mut inputs, artifacts::inputs(&artifact).into_iter().filter(|input| known.contains(input)));
    }
    Ok(inputs)
}

/// Everything a version follows from: definitions, input versions.
pub fn inputs_fingerprint<T: Serialize>(job: &Job, definition: &T, pins: &Pins) -> Result<String> {
    let mut parts = vec![definition_text(definition)?, pins.contents()];
    let groups: Vec<&FeatureGroup> = job.project.groups.values().collect();
    for group in groups {
        parts.push(definition_text(group)?);
    }
    for features in job.project.sql_features.values() {
        parts.push(definition_text(features)?);
    }
    for attributes in job.project.attributes.values() {
        parts.push(definition_text(attributes)?);
    }
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    Ok(hex(&digest(&parts)))
}

/// The night and the content: the same bytes get the same name.
fn version(job: &Job, files: &[(String, Vec<u8>)]) -> String {
    let text = |name: &str| files.iter().find(|(n, _)| n == name).map(|(_, b)| hex(&Sha256::digest(b)));
    let parts = ["schema.json", baseline::FILE].map(|name| text(name).unwrap_or_default());
    // The schema holds the checksums of all the other files that the model is made of.
    format!("{}-{}", job.date, &hex(&digest(&[&parts[0], &parts[1]]))[..8])
}

/// A model on rows, with these parameters of its head. On a thread of its own.
pub async fn fit(learning: Arc<Learning>, model: &Model, params: Params) -> Result<Fitted> {
    let model = model.clone();
    let task = tokio::task::spawn_blocking(move || train::fit(&learning.request(&model, &params)));
    task.await.map_err(|e| Error::internal(format!("training did not end: {e}")))?
}

/// Metrics of all rows that the model, or its likes in cross-validation, did not train on.
fn out_of_sample(fitted: &Fitted) -> Result<&Metrics> {
    let found = fitted.report.out_of_sample().map(|evaluation| &evaluation.metrics);
    found.ok_or_else(|| Error::internal("training reported no metrics out of sample"))
}

fn summary(metrics: &Metrics) -> String {
    let shown = metrics
        .entries()
        .into_iter()
        .filter(|(name, _)| ["roc_auc", "average_precision", "ks", "brier"].contains(name));
    let parts: Vec<String> = shown.filter_map(|(name, value)| value.map(|v| format!("{name} {v:.4}"))).collect();
    parts.join("  ")
}

/// Records the version as the model's candidate, once.
async fn register(
    job: &Job,
    model: &Model,
    version: &str,
    inputs: &str,
    metrics: &Metrics,
    trained_until: i64,
) -> Result<()> {
    let entries: serde_json::Map<String, Value> =
        metrics.entries().into_iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
    let trained = Event {
        version: version.to_string(),
        happened: Happened::Trained,
        alias: Happened::Trained.alias().map(str::to_string),
        inputs: inputs.to_string(),
        metrics: Value::Object(entries).to_string(),
        trained_until: Some(trained_until),
        ..Event::default()
    };
    let unless_known = |history: &History| {
        let known = history.trained(version).is_some_and(|event| event.inputs == inputs);
        Ok(if known { Vec::new() } else { vec![trained] })
    };
    registry::record(job, &model.name, unless_known).await?;
    Ok(())
}

/// When the last label was known that the model which ships learned from: under a split by time it is before the last
/// test part, because of the embargo.
fn trained_until(job: &Job, model: &Model, as_of: &[i64], fitted: &Fitted) -> i64 {
    let tests = fitted.predictions.iter().filter(|prediction| prediction.part.name() == "test");
    let tests: Vec<i64> = tests.map(|prediction| as_of[prediction.row]).collect();
    let last = as_of.iter().max().map_or(job.as_of(), |last| last.saturating_add(model.label.known_after()));
    let all = last.min(job.as_of());
    match &model.validation {
        Declared::Time { .. } => tests.iter().min().copied().unwrap_or(all),
        Declared::RollingOrigin { test, .. } => tests.iter().max().map_or(all, |last| last + 1 - test.micros()),
        Declared::CrossValidation { .. } => all,
    }
}

/// The artifact's files, with what later nights are compared with.
///
/// # Errors
/// `Definition` if they weigh more than the model may.
async fn files(job: &Job, model: &Model, inputs: &[Input], fitted: &Fitted) -> Result<Vec<(String, Vec<u8>)>> {
    let artifact = Artifact::new(fitted, &model.text, &fingerprints::together(&job.project, inputs)?);
    let mut files = mlflow::files(&artifact);
    files.extend(artifact.to_files()?);
    if let Some(people) = baseline::sample(job, model, inputs).await? {
        let scorer = Scorer::new(&artifact, job.threads())?;
        let population =
            tokio::task::block_in_place(|| baseline::of_population(&artifact, &people, &scorer, job.threads()))?;
        files.push((baseline::FILE.to_string(), serde_json::to_vec_pretty(&population)?));
    }
    let bytes: u64 = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    if bytes > model.max_size {
        let message = format!("the artifact of model {} is too large", model.name);
        let diagnostic = model.origin.at("max_size", message).found(format!("{bytes} bytes"));
        let diagnostic = diagnostic.expected(format!("at most {}, its `max_size`", model.max_size));
        let help = "fewer or smaller trees (`rounds`, `num_leaves`), fewer values per text (`encode`), or a larger \
                    `max_size`";
        return Err(Error::definition(diagnostic.help(help).to_string()));
    }
    Ok(files)
}
