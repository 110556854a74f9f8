//! The `train` job: spine × features → a model version, its artifact, its place in the registry.
//!
//! A version is due when the model has no champion, or `retrain` has passed since the champion was trained. The first
//! version must reach the declared floors out of sample; one that does becomes champion in one commit, one that does
//! not is kept, marked refused, and the job ends with the gate's exit code.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use chrono::NaiveDate;
use serde_json::{Value, json};

use super::job::{Job, Pins, Written, definition_text, digest, hex};
use super::learning::{self, Learning};
use super::registry::{self, Event};
use super::spine::{self, Spine};
use super::{fingerprints, vectors};
use crate::define::{FeatureGroup, Model};
use crate::error::{Context, Error, Kind, Result};
use crate::lake::{Replace, TableSpec, Unit};
use crate::learn::artifact::Artifact;
use crate::learn::metrics::Metrics;
use crate::learn::train::{self, Fitted};

pub async fn run(job: &Job) -> Result<Vec<Written>> {
    let mut written = Vec::new();
    let mut refused: Option<Error> = None;
    for model in job.project.models.values().filter(|m| job.selected(&m.name)) {
        match one(job, model).await.with_context(|| format!("model {}", model.name)) {
            Ok(line) => {
                job.ledger.wrote(&line);
                written.push(line);
            }
            Err(error) if error.kind() == Kind::Gate => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    refused.map_or(Ok(written), Err)
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
    let events = registry::events(job, &model.name).await?;
    let champion = registry::champion(&events);
    if let Due::No(why) = due(model, champion, job.date) {
        return Ok(Written::unchanged(path, format!("not due: {why}"), None));
    }
    let (inputs, columns) = vectors::columns(job, model)?;
    let mut names = spine::tables(model);
    names.extend(vectors::tables(job, &columns));
    let pins = job.pin(names.iter().map(String::as_str)).await?;
    let source = inputs_fingerprint(job, model, &pins)?;
    if let Some(done) = events.iter().rev().find(|e| e.logical_date == job.date && e.inputs == source) {
        if done.event == "refused" {
            return Err(Error::new(Kind::Gate, done.note.clone()));
        }
        return Ok(Written::unchanged(format!("{path}/{}", done.version), "unchanged", None));
    }
    let spine = spine::training(job, model, &pins).await?;
    let vectors = vectors::assemble(job, &pins, &columns, &spine.rows).await?;
    let segments = vectors::segments(job, model, &vectors)?;
    let names: Vec<String> = inputs.iter().map(|input| input.name()).collect();
    let step = job.progress.step(format!("train {}", model.name));
    let learning = Learning::new(model, &spine, &vectors, &names, segments, job.threads())?;
    let fitted = fit(learning, model).await?;
    let artifact = Artifact::new(&fitted, &model.text, &fingerprints::together(&job.project, &inputs)?);
    let files = artifact.to_files()?;
    let bytes = weighed(model, &files)?;
    let version = version(job, &files);
    store_training_set(job, model, &version, &spine, &vectors, &fitted).await?;
    job.lake.put_files(&format!("{path}/{version}"), files).await?;
    let metrics = out_of_sample(&fitted)?;
    register(job, model, &version, &source, metrics, champion).await?;
    step.done(&summary(metrics));
    let details: Vec<(&str, Value)> = metrics.entries().into_iter().map(|(k, v)| (k, json!(v))).collect();
    let mut line = Written::unchanged(format!("{path}/{version}"), "written", None);
    line.rows = spine.rows.num_rows() as u64;
    line.bytes = bytes;
    for (name, value) in details {
        line = line.detail(name, value);
    }
    Ok(line.detail("warnings", json!(fitted.report.warnings)))
}

/// Everything a version follows from: definitions, input versions.
fn inputs_fingerprint(job: &Job, model: &Model, pins: &Pins) -> Result<String> {
    let mut parts = vec![definition_text(model)?, pins.contents()];
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

/// The bytes of an artifact, which the definition bounds: what is too large fails here, not in the night's scoring.
fn weighed(model: &Model, files: &[(String, Vec<u8>)]) -> Result<u64> {
    let bytes: u64 = files.iter().map(|(_, b)| b.len() as u64).sum();
    if bytes <= model.max_size {
        return Ok(bytes);
    }
    Err(Error::definition(format!(
        "the artifact has {bytes} bytes, more than its `max_size` of {}\n  help: fewer or smaller trees (`rounds`, \
         `num_leaves`), fewer values per text (`encode`), or a larger `max_size`",
        model.max_size
    )))
}

/// The night and the content: the same bytes get the same name. `schema.json` holds the checksums of all other files.
fn version(job: &Job, files: &[(String, Vec<u8>)]) -> String {
    let schema = files.iter().find(|(name, _)| name == "schema.json").map(|(_, bytes)| String::from_utf8_lossy(bytes));
    let hash = hex(&digest(&[&schema.unwrap_or_default()]));
    format!("{}-{}", job.date, &hash[..8])
}

async fn fit(learning: Learning, model: &Model) -> Result<Fitted> {
    let (model, params) = (model.clone(), learning::params(model)?);
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

/// Records the version, and promotes it if it may be.
async fn register(
    job: &Job,
    model: &Model,
    version: &str,
    inputs: &str,
    metrics: &Metrics,
    champion: Option<&Event>,
) -> Result<()> {
    let entries: serde_json::Map<String, Value> =
        metrics.entries().into_iter().map(|(name, value)| (name.to_string(), json!(value))).collect();
    let event = |event: &str, note: &str| Event {
        model: model.name.clone(),
        version: version.to_string(),
        logical_date: job.date,
        event: event.into(),
        inputs: inputs.to_string(),
        metrics: Value::Object(entries.clone()).to_string(),
        note: note.into(),
    };
    let floors = [
        ("roc_auc", model.gate.floors.roc_auc),
        ("average_precision", model.gate.floors.average_precision),
        ("ks", model.gate.floors.ks),
    ];
    let mut below = Vec::new();
    for (name, floor) in floors {
        let Some(floor) = floor else { continue };
        let reached = metrics.entries().into_iter().find(|(n, _)| *n == name).and_then(|(_, v)| v);
        if !reached.is_some_and(|value| value >= floor) {
            let reached = reached.map_or("none".to_string(), |v| format!("{v:.4}"));
            below.push(format!("{name} {reached} is below its floor {floor}"));
        }
    }
    if below.is_empty() {
        let why =
            if champion.is_some() { "reaches the floors; retrained" } else { "reaches the floors; first champion" };
        return registry::append(job, &[event("trained", ""), event("promoted", why)]).await;
    }
    let note = format!("version {version} is refused: {}", below.join(", "));
    registry::append(job, &[event("trained", ""), event("refused", &note)]).await?;
    Err(Error::new(Kind::Gate, note))
}

/// Keeps what a version was trained from: spine, label, part, inputs (`group__feature`), out-of-sample probability.
async fn store_training_set(
    job: &Job,
    model: &Model,
    version: &str,
    spine: &Spine,
    vectors: &RecordBatch,
    fitted: &Fitted,
) -> Result<()> {
    let rows = spine.rows.num_rows();
    let mut parts: Vec<Option<&str>> = vec![None; rows];
    let mut probabilities: Vec<Option<f64>> = vec![None; rows];
    for prediction in &fitted.predictions {
        parts[prediction.row] = Some(prediction.part.name());
        probabilities[prediction.row] = Some(prediction.probability);
    }
    let mut fields: Vec<Field> = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    let identity =
        model.entity.iter().map(String::as_str).chain(["as_of"]).chain(model.spine_key().iter().map(String::as_str));
    for name in identity {
        let index = spine.rows.schema().index_of(name)?;
        if fields.iter().all(|f| f.name() != name) {
            fields.push(spine.rows.schema().field(index).clone());
            columns.push(spine.rows.column(index).clone());
        }
    }
    fields.push(Field::new("label", DataType::Boolean, false));
    columns.push(Arc::new(BooleanArray::from(spine.labels.clone())));
    fields.push(Field::new("part", DataType::Utf8, true));
    columns.push(Arc::new(StringArray::from(parts)));
    fields.push(Field::new("probability", DataType::Float64, true));
    columns.push(Arc::new(arrow::array::Float64Array::from(probabilities)));
    for (index, field) in vectors.schema().fields().iter().enumerate() {
        fields.push(field.as_ref().clone().with_name(field.name().replace('.', "__")));
        columns.push(vectors.column(index).clone());
    }
    fields.push(Field::new("model_version", DataType::Utf8, false));
    columns.push(Arc::new(StringArray::from(vec![version; rows])));
    let schema = Arc::new(Schema::new(fields));
    let spec = TableSpec {
        name: format!("training_sets/{}", model.name),
        description: format!("What the last version of {} was trained from.", model.name),
        schema: schema.clone(),
        partition_by: None,
        no_statistics: job.project.identifying("training_sets", &schema),
    };
    let mut writer = job.lake.writer(&spec).await?;
    writer.write(&RecordBatch::try_new(schema, columns)?).await?;
    let unit = Unit { key: format!("train:{}:{}", model.name, version), fingerprint: 1 };
    writer.commit(Replace::All, &unit, Default::default()).await?;
    Ok(())
}
