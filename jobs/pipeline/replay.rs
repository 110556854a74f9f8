//! The `replay` job: a score of an earlier night once more, from the versions it was recorded with, bit for bit.
//!
//! ```text
//! scores/<model> ─ commit ─┬─ model version ── artifact
//!                          └─ features, versions ─ commit ── tables, versions ─ commit ── … sources
//! ```
//!
//! The features are computed anew from the tables as they were, held to the vector that was stored, and scored by the
//! artifact. What a vacuum took is named; a vector whose tables are gone is taken as it was stored. Definitions are not
//! stored in the lake: where those of the project are no longer what they were, that is said, and `--project` may name
//! a checkout of that night.

mod trail;

use arrow::array::{Array, AsArray, RecordBatch};
use datafusion::common::ScalarValue;
use serde::Serialize;

pub use trail::Step;
use trail::{Commit, Trail};

use super::artifacts::{self, Explainer, Version};
use super::job::{Job, Pins};
use super::rotation;
use super::score::{self, NO_CHAMPION, Scored};
use super::verify::difference::{Difference, differences};
use super::{features, fingerprints, spine, vectors, why};
use crate::define::inputs::Input;
use crate::define::map::Map;
use crate::define::model::Scoring;
use crate::define::{Diagnostic, Model};
use crate::error::{Error, Result};
use crate::lake::Snapshot;
use crate::learn::artifact::Artifact;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub model: &'a str,
    /// A value per key column, or all of them in one, with commas.
    pub entity: &'a [String],
    /// `None`: the run that scored the night last.
    pub run: Option<&'a str>,
}

/// A score and where it came from.
#[derive(Debug, Serialize)]
pub struct Answer {
    pub model: String,
    pub entity: Map<String>,
    pub run_id: Option<String>,
    pub model_version: String,
    /// As they were stored.
    pub decisions: Vec<Decided>,
    /// Whether they were computed again, bit for bit the same.
    pub reproduced: bool,
    /// What led back to what, from the score on.
    pub trail: Vec<Step>,
    /// What was not there any more.
    pub missing: Vec<String>,
    /// Cells that came out otherwise.
    pub differences: Vec<Difference>,
}

#[derive(Debug, Serialize)]
pub struct Decided {
    pub as_of: String,
    pub probability: Option<f64>,
    pub score: Option<f64>,
    pub decision: String,
}

impl Answer {
    /// # Errors
    /// `Data` if something was missing, the definitions of then among it; otherwise `Internal` if a bit came out
    /// otherwise.
    pub fn verdict(&self) -> Result<()> {
        trail::whole(&self.missing)?;
        match self.differences.first() {
            None => Ok(()),
            Some(Difference { column, expected, found, .. }) => Err(Error::internal(format!(
                "the score is not reproduced: {column} was stored as {found} and comes out as {expected}"
            ))),
        }
    }
}

/// Replays the scores of one entity of the job's night.
///
/// # Errors
/// `Definition` for a model that there is not; `Data` if the entity was not scored. What is missing further back, or
/// differs, is in the answer.
pub async fn run(job: &Job, question: Question<'_>) -> Result<Answer> {
    rotation::refuse(&job.lake).await?;
    let model = job.project.models.get(question.model).ok_or_else(|| unknown(job, question.model))?;
    let mut trail = Trail::new(job);
    let path = format!("scores/{}", model.name);
    let scores = job.lake.snapshot(&path).await?.ok_or_else(|| Error::data(format!("{path} is not in the lake")))?;
    let commit = trail.commit(&scores, &["score"], true, question.run).await?;
    let scores = match (&commit, question.run) {
        (Some(commit), Some(_)) => trail.open(&path, commit.version, Some(&job.date.to_string())).await?,
        _ => Some(scores),
    };
    let (Some(commit), Some(scores)) = (commit, scores) else {
        trail::whole(&trail.missing)?;
        return Err(Error::internal(format!("{path} is neither there nor missing")));
    };
    trail.note(&scores, Some(&commit));
    let (entity, stored) = stored(job, &scores, model, question.entity).await?;
    let version = commit.text("model_version").unwrap_or(NO_CHAMPION).to_string();
    let replayed = again(job, model, &version, &commit, &stored, &mut trail).await?;
    let (reproduced, differences) = match replayed {
        Some((scored, mut differences)) => {
            differences.extend(compared(&scored, &stored)?);
            (differences.is_empty(), differences)
        }
        None => (false, Vec::new()),
    };
    Ok(Answer {
        model: model.name.clone(),
        entity,
        run_id: commit.text("run_id").map(str::to_string),
        model_version: version,
        decisions: decided(&stored)?,
        reproduced,
        trail: trail.steps,
        missing: trail.missing,
        differences,
    })
}

/// The rows once more, and cells of the vectors that differ from what was stored; `None` where too much is missing.
async fn again(
    job: &Job,
    model: &Model,
    version: &str,
    commit: &Commit,
    stored: &RecordBatch,
    trail: &mut Trail<'_>,
) -> Result<Option<(RecordBatch, Vec<Difference>)>> {
    let artifact = artifact(job, model, version, trail).await?;
    let inputs = artifact.as_ref().map(artifacts::inputs).unwrap_or_default();
    let (recorded, now) = (commit.text("definition"), score::definition(job, model, version, &inputs)?);
    if recorded != Some(now.as_str()) {
        let recorded = recorded.unwrap_or("none");
        trail.lacks(format!("the definition of model {}: {recorded} was recorded, the project has {now}", model.name));
    }
    if artifact.is_none() && version != NO_CHAMPION {
        return Ok(None);
    }
    let Some(found) = vectors_again(job, model, &inputs, commit, stored, trail).await? else { return Ok(None) };
    let predict = |artifact: Artifact| {
        let explainer = Explainer::new(model, &inputs)?;
        let by = Version { name: version.to_string(), artifact, inputs: inputs.clone(), baseline: None, explainer };
        tokio::task::block_in_place(|| by.explain(&by.scorer(job.threads())?, &found.vectors))
    };
    let said = artifact.map(predict).transpose()?;
    // Definitions are compared by themselves; here it is what the row was made by.
    let feature_version = feature_version(stored);
    let by = Scored { model_version: version, feature_version: feature_version.as_deref() };
    let scored = score::scored(job, model, &found.rows, said.as_ref(), &by)?;
    Ok(Some((scored, found.differences)))
}

/// What was computed and is stored otherwise; other definitions may even make other rows.
fn compared(scored: &RecordBatch, stored: &RecordBatch) -> Result<Vec<Difference>> {
    let (expected, found) = (scored.num_rows(), stored.num_rows());
    if expected == found {
        // A night of before has the columns of then.
        let schema = scored.schema();
        let known = |index: &usize| stored.column_by_name(schema.field(*index).name()).is_some();
        let known: Vec<usize> = (0..scored.num_columns()).filter(known).collect();
        return differences(&scored.project(&known)?, stored);
    }
    let (expected, found) = (expected.to_string(), found.to_string());
    Ok(vec![Difference { row: 0, column: "number of rows".into(), expected, found }])
}

/// As it was stored; none of a lake from before there was one.
fn feature_version(stored: &RecordBatch) -> Option<String> {
    let column = stored.column_by_name("feature_version")?.as_string_opt::<i32>()?;
    (column.len() > 0 && column.is_valid(0)).then(|| column.value(0).to_string())
}

/// Decisions and their feature vectors.
struct Found {
    rows: RecordBatch,
    vectors: RecordBatch,
    differences: Vec<Difference>,
}

async fn vectors_again(
    job: &Job,
    model: &Model,
    inputs: &[Input],
    commit: &Commit,
    stored: &RecordBatch,
    trail: &mut Trail<'_>,
) -> Result<Option<Found>> {
    match &model.scoring {
        Scoring::Applications(_) => {
            let Some(pins) = trail.pins(commit).await? else { return Ok(None) };
            let rows = of_entity(spine::scoring(job, model, &pins).await?, stored, model)?;
            let vectors = vectors::assemble(job, &pins, inputs, &rows).await?;
            Ok(Some(Found { rows, vectors, differences: Vec::new() }))
        }
        Scoring::Population(_) => {
            let rows = stored.clone();
            let mut found = Found { vectors: rows.slice(0, rows.num_rows()), rows, differences: Vec::new() };
            if inputs.is_empty() {
                return Ok(Some(found));
            }
            let Some(held) = held(job, commit, inputs, trail).await? else { return Ok(None) };
            found.vectors = vectors::stored(job, &held, inputs, model, &found.rows).await?;
            for (path, snapshot) in &held.0 {
                let of: Vec<Input> = inputs.iter().filter(|i| vectors::stored_path(i) == *path).cloned().collect();
                if let Some(computed) = computed(job, snapshot, &of, &found.rows, trail).await? {
                    found.differences.extend(differences(&computed, &found.vectors)?);
                }
            }
            Ok(Some(found))
        }
    }
}

/// The stored features that the score was computed from, at their versions; `None` where some are gone.
async fn held(job: &Job, commit: &Commit, inputs: &[Input], trail: &mut Trail<'_>) -> Result<Option<Pins>> {
    let (mut held, recorded) = (Pins::default(), commit.inputs());
    let mut whole = true;
    for path in inputs.iter().map(vectors::stored_path) {
        if held.0.contains_key(&path) {
            continue;
        }
        let Some(version) = recorded.get(&path) else {
            trail.lacks(format!("{path}: the score does not say of which version"));
            return Ok(None);
        };
        match trail.open(&path, *version, Some(&job.date.to_string())).await? {
            Some(snapshot) => drop(held.0.insert(path, snapshot)),
            None => whole = false,
        }
    }
    Ok(whole.then_some(held))
}

/// The features of one definition computed anew from the tables that its stored version was made from; `None` where
/// those, or the definition, are not there any more.
async fn computed(
    job: &Job,
    snapshot: &Snapshot,
    inputs: &[Input],
    rows: &RecordBatch,
    trail: &mut Trail<'_>,
) -> Result<Option<RecordBatch>> {
    let commit = trail.commit(snapshot, &["features"], true, None).await?;
    trail.note(snapshot, commit.as_ref());
    let Some(commit) = commit else { return Ok(None) };
    let name = snapshot.table().rsplit('/').next().unwrap_or_default();
    let now = fingerprints::named(&job.project, name)?;
    let mut same = Vec::new();
    for input in inputs {
        let recorded = commit.info.get("columns").and_then(|columns| columns.get(&input.feature)?.as_str());
        match now.get(&input.feature) {
            Some(now) if Some(now.as_str()) == recorded => same.push(input.clone()),
            now => {
                let (recorded, now) = (recorded.unwrap_or("none"), now.map_or("none", String::as_str));
                trail.lacks(format!(
                    "the definition of {}: fingerprint {recorded} was recorded, the project has {now}",
                    input.name()
                ));
            }
        }
    }
    match trail.pins(&commit).await? {
        Some(pins) if !same.is_empty() => Ok(Some(vectors::assemble(job, &pins, &same, rows).await?)),
        _ => Ok(None),
    }
}

async fn artifact(job: &Job, model: &Model, version: &str, trail: &mut Trail<'_>) -> Result<Option<Artifact>> {
    if version == NO_CHAMPION {
        return Ok(None);
    }
    let dir = format!("models/{}/{version}", model.name);
    match artifacts::files(job, &model.name, version).await? {
        Some(files) => Ok(Some(Artifact::from_files(&files)?)),
        None => {
            trail.lacks(format!("{dir}: the artifact is gone"));
            Ok(None)
        }
    }
}

/// The entity's rows of the night, in the order in which they are scored.
async fn stored(job: &Job, scores: &Snapshot, model: &Model, entity: &[String]) -> Result<(Map<String>, RecordBatch)> {
    let session = job.session()?;
    let night = features::stored(&session, scores, job.date)?;
    let keys = why::keys(&night, &model.entity, entity)?;
    let schema = std::sync::Arc::new(night.schema().as_arrow().clone());
    let order = ["as_of"].into_iter().chain(model.spine_key().iter().map(String::as_str));
    let order = order.filter(|name| schema.field_with_name(name).is_ok());
    let order = order.map(|name| datafusion::prelude::Expr::from(super::job::quoted(name)).sort(true, true)).collect();
    let rows = why::about(night, &keys)?.sort(order)?.collect().await?;
    let rows = vectors::one(schema, &rows)?;
    let entity = why::named(&keys)?;
    if rows.num_rows() == 0 {
        let asked: Vec<String> = entity.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let (table, date, asked) = (scores.table(), job.date, asked.join(", "));
        return Err(Error::data(format!("{table} has no score of {asked} in the night of {date}")));
    }
    Ok((entity, rows))
}

/// Of decisions, those of the entity of the stored rows.
fn of_entity(decisions: RecordBatch, stored: &RecordBatch, model: &Model) -> Result<RecordBatch> {
    let asked = spine::entity_texts(&stored.slice(0, 1), &model.entity)?;
    let texts = spine::entity_texts(&decisions, &model.entity)?;
    spine::only(&decisions, texts.iter().map(|text| asked.contains(text)).collect())
}

fn decided(rows: &RecordBatch) -> Result<Vec<Decided>> {
    let column = |name: &str| rows.column_by_name(name).ok_or_else(|| Error::internal(format!("scores lack {name}")));
    let number = |name: &str, row: usize| match ScalarValue::try_from_array(column(name)?, row)? {
        ScalarValue::Float64(value) => Ok::<_, Error>(value),
        other => Err(Error::internal(format!("{name} is {other}"))),
    };
    let instants = spine::instants(rows, "as_of")?;
    let decision = |row: usize| {
        Ok(Decided {
            as_of: super::instants::text(instants[row]),
            probability: number("probability", row)?,
            score: number("score", row)?,
            decision: column("decision")?.as_string::<i32>().value(row).to_string(),
        })
    };
    (0..rows.num_rows()).map(decision).collect()
}

fn unknown(job: &Job, asked: &str) -> Error {
    let names = job.project.models.keys().map(String::as_str);
    let message = format!("there is no model called `{asked}`");
    Error::definition(Diagnostic::new("--model", (0, 0), message).expected_one_of(asked, names).to_string())
}
