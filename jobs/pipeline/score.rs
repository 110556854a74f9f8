//! The `score` job: the champion's probability, score and decision for everybody, or for the last applications.
//!
//! `scores/<model>` is partitioned by `logical_date`; a night replaces its own partition. Nobody is dropped: rows out
//! equal rows asked for. Without a champion every row says `no_champion` and decides nothing.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde_json::json;

use super::job::{Job, Pins, Written, definition_text};
use super::progress::thousands;
use super::registry;
use super::{fingerprints, spine, vectors};
use crate::define::Model;
use crate::define::inputs::Input;
use crate::define::model::{ScoreScale, Scoring};
use crate::define::types::timestamp;
use crate::error::{Context, Error, Result};
use crate::lake::{Replace, TableSpec, documented};
use crate::learn::artifact::Artifact;
use crate::learn::score::{Decisions, Scale};
use crate::learn::scorer::Scorer;

/// What a score says before there is a champion.
pub const NO_CHAMPION: &str = "no_champion";

pub async fn run(job: &Job) -> Result<Vec<Written>> {
    let mut written = Vec::new();
    for model in job.project.models.values().filter(|m| job.selected(&m.name)) {
        let line = one(job, model).await.with_context(|| format!("model {}", model.name))?;
        job.ledger.wrote(&line);
        written.push(line);
    }
    Ok(written)
}

/// Scores one model.
pub async fn one(job: &Job, model: &Model) -> Result<Written> {
    let path = format!("scores/{}", model.name);
    let step = job.progress.step(&path);
    let events = registry::events(job, &model.name).await?;
    let champion = registry::champion(&events);
    let version = champion.map_or(NO_CHAMPION, |event| event.version.as_str());
    let (inputs, _) = vectors::columns(job, model)?;
    let pins = pin(job, model, &inputs, champion.is_some()).await?;
    let definition = definition(job, model, version, &inputs)?;
    let unit = job.unit("score", &model.name, &definition, &pins);
    if let Some(existing) = job.lake.snapshot(&path).await?
        && existing.committed(&unit.key).await? == Some(unit.fingerprint)
    {
        step.done("unchanged");
        return Ok(Written::unchanged(path, "unchanged", Some(existing.version())));
    }
    let rows = spine::scoring(job, model, &pins).await?;
    let probabilities = match champion {
        None => None,
        Some(_) => {
            let dir = format!("models/{}/{version}", model.name);
            let files = job.lake.get_files(&dir).await?.ok_or_else(|| {
                Error::data(format!("the champion's artifact {dir} is gone\n  help: restore it, or train again"))
            })?;
            let files: Vec<(String, Vec<u8>)> = files.into_iter().collect();
            let artifact = Artifact::from_files(&files)?;
            let vectors = match &model.scoring {
                Scoring::Population(_) => vectors::stored(job, &pins, &inputs, model, &rows).await?,
                Scoring::Applications(_) => vectors::assemble(job, &pins, &inputs, &rows).await?,
            };
            Some(predict(artifact, vectors, job.threads()).await?)
        }
    };
    let batch = scored(job, model, &rows, probabilities.as_deref(), version)?;
    let spec = TableSpec {
        name: path.clone(),
        description: format!("Scores and decisions of model {}, a row per decision and night.", model.name),
        schema: batch.schema(),
        partition_by: Some("logical_date".into()),
        no_statistics: job.project.identifying(&path, &batch.schema()),
    };
    let mut writer = job.lake.writer(&spec).await?;
    writer.write(&batch).await?;
    let mut info = job.commit_info("score", &definition, &pins);
    info.insert("model_version".into(), json!(version));
    let outcome = writer.commit(Replace::Partitions([job.date.to_string()].into()), &unit, info).await?;
    let written = Written::new(path, &outcome, step.seconds()).detail("model_version", version);
    step.done(&format!("{} rows by {version}", thousands(written.rows)));
    Ok(written)
}

/// What a score is made by: the model's definition and version; and for decisions, whose features are computed here,
/// the definitions of those.
pub(super) fn definition(job: &Job, model: &Model, version: &str, inputs: &[Input]) -> Result<String> {
    let model_text = definition_text(model)?;
    Ok(match &model.scoring {
        Scoring::Population(_) => format!("{model_text} {version}"),
        Scoring::Applications(_) => {
            format!("{model_text} {version} {}", fingerprints::together(&job.project, inputs)?)
        }
    })
}

/// Whom to score, and what they are scored by: the stored features of tonight, or tables that features of a decision
/// are computed from.
async fn pin(job: &Job, model: &Model, inputs: &[Input], champion: bool) -> Result<Pins> {
    let mut names = match &model.scoring {
        Scoring::Population(table) => vec![table.clone()],
        Scoring::Applications(_) => spine::tables(model),
    };
    if matches!(model.scoring, Scoring::Applications(_)) {
        names.extend(vectors::tables(job, inputs));
    }
    let mut pins = job.pin(names.iter().map(String::as_str)).await?;
    if champion && matches!(model.scoring, Scoring::Population(_)) {
        pins.0.extend(vectors::pin_stored(job, inputs).await?.0);
    }
    Ok(pins)
}

pub(super) async fn predict(artifact: Artifact, vectors: RecordBatch, threads: usize) -> Result<Vec<f64>> {
    let task = tokio::task::spawn_blocking(move || Scorer::new(&artifact, threads)?.score(&vectors));
    task.await.map_err(|e| Error::internal(format!("scoring did not end: {e}")))?
}

/// entity…, as_of, key…, probability, score, decision, model_version, logical_date.
pub(super) fn scored(
    job: &Job,
    model: &Model,
    rows: &RecordBatch,
    probabilities: Option<&[f64]>,
    version: &str,
) -> Result<RecordBatch> {
    let count = rows.num_rows();
    if probabilities.is_some_and(|p| p.len() != count) {
        return Err(Error::internal(format!("{count} rows to score and another number of scores")));
    }
    let scale = match model.score {
        ScoreScale::Linear { from, to } => Scale::new(from, to)?,
        ScoreScale::Points { points, at_odds, double_odds } => Scale::Points { points, at_odds, double_odds },
    };
    let decisions = Decisions::new(model.decisions.iter().map(|d| (d.action.clone(), d.below)).collect())?;
    let (mut fields, mut columns) = identity(model, rows)?;
    let mut push = |name: &str, data_type: DataType, nullable: bool, doc: &str, column: ArrayRef| {
        fields.push(documented(name, data_type, nullable, doc));
        columns.push(column);
    };
    let each = |f: &dyn Fn(f64) -> f64| -> ArrayRef {
        match probabilities {
            Some(p) => Arc::new(p.iter().map(|p| Some(f(*p))).collect::<Float64Array>()),
            None => Arc::new(Float64Array::new_null(count)),
        }
    };
    let decided: StringArray = match probabilities {
        Some(p) => p.iter().map(|p| Some(decisions.decide(*p))).collect(),
        None => StringArray::from(vec![NO_CHAMPION; count]),
    };
    let what = if model.description.is_empty() { &model.name } else { &model.description };
    push("probability", DataType::Float64, true, &format!("Probability: {what}"), each(&|p| p));
    push("score", DataType::Float64, true, "The probability on the declared scale.", each(&|p| scale.score(p)));
    push("decision", DataType::Utf8, false, "The action taken.", Arc::new(decided));
    let versions = Arc::new(StringArray::from(vec![version; count]));
    push("model_version", DataType::Utf8, false, "The artifact is models/<model>/<version>/.", versions);
    let dates = Arc::new(Date32Array::from_value(job.date.to_epoch_days(), count));
    push("logical_date", DataType::Date32, false, "The night that scored.", dates);
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    Ok(RecordBatch::try_new(schema, columns)?)
}

fn identity(model: &Model, rows: &RecordBatch) -> Result<(Vec<Field>, Vec<ArrayRef>)> {
    let mut fields: Vec<Field> = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    let key: &[String] = if matches!(model.scoring, Scoring::Applications(_)) { model.spine_key() } else { &[] };
    for name in model.entity.iter().map(String::as_str).chain(["as_of"]).chain(key.iter().map(String::as_str)) {
        if fields.iter().any(|f| f.name() == name) {
            continue;
        }
        let doc = match name {
            "as_of" => "The instant of the decision; nothing younger was used.",
            name if model.entity.iter().any(|e| e == name) => "The entity.",
            _ => "Identifies the decision.",
        };
        let column = rows.column_by_name(name).ok_or_else(|| Error::internal(format!("no column {name}")))?;
        let data_type = if name == "as_of" { timestamp() } else { column.data_type().clone() };
        let nullable = name != "as_of" && column.null_count() > 0;
        columns.push(arrow::compute::cast(column, &data_type)?);
        fields.push(documented(name, data_type, nullable, doc));
    }
    Ok((fields, columns))
}
