//! The `score` job: the champion's probability, score, decision and reasons for everybody, or for the last applications.
//!
//! ```text
//! champion's artifact ─┐
//! tonight's features ──┴─ batch by batch ─ scores/<model>, tonight's partition ─ scores_current/<model>, what moved
//! ```
//!
//! `scores/<model>` is partitioned by `logical_date`; a night replaces its own partition. Nobody is dropped: rows out
//! equal rows asked for, and who lacks inputs is scored and says how many. Without a champion every row says
//! `no_champion` and decides nothing. Memory follows the number of rows, not that of their features: vectors come and
//! go in batches, and rows are written in slices.

pub mod current;
pub mod rows;

use serde_json::json;

pub use rows::{NO_CHAMPION, Scored, scored};

use super::artifacts::{self, Predictions, Version};
use super::job::{Job, Pins, Written, definition_text};
use super::progress::thousands;
use super::registry;
use super::{fingerprints, population, spine};
use crate::define::Model;
use crate::define::inputs::Input;
use crate::define::model::Scoring;
use crate::error::{Context, Error, Result};
use crate::lake::{Outcome, Replace, Snapshot, TableSpec, Unit};

/// Rows that are made and written at a time.
const SLICE: usize = 64 << 10;

pub async fn run(job: &Job) -> Result<Vec<Written>> {
    let mut written = Vec::new();
    for model in job.project.models.values().filter(|m| job.selected(&m.name)) {
        let doing = || format!("model {}", model.name);
        let line = one(job, model).await.with_context(doing)?;
        job.ledger.wrote(&line);
        written.push(line);
        if let Some(line) = current::merge(job, model).await.with_context(doing)? {
            job.ledger.wrote(&line);
            written.push(line);
        }
    }
    Ok(written)
}

/// Scores one model.
pub async fn one(job: &Job, model: &Model) -> Result<Written> {
    let path = format!("scores/{}", model.name);
    let step = job.progress.step(&path);
    let champion = registry::history(job, &model.name).await?.aliases().champion;
    let champion = match &champion {
        Some(version) => Some(artifacts::load(job, model, version).await.context("the champion cannot score")?),
        None => None,
    };
    let inputs = champion.as_ref().map(|champion| champion.inputs.clone()).unwrap_or_default();
    let version = champion.as_ref().map_or(NO_CHAMPION, |champion| champion.name.as_str());
    let pins = population::pin(job, model, &inputs).await?;
    let definition = definition(job, model, version, &inputs)?;
    let unit = job.unit("score", &model.name, &definition, &pins);
    if let Some(existing) = job.lake.snapshot(&path).await?
        && existing.committed(&unit.key).await? == Some(unit.fingerprint)
    {
        step.done("unchanged");
        return Ok(Written::unchanged(path, "unchanged", Some(existing.version())));
    }
    let outcome = write(job, model, champion.as_ref(), &pins, &definition, &unit).await?;
    let written = Written::new(path, &outcome, step.seconds()).detail("model_version", version);
    step.done(&format!("{} rows by {version}", thousands(written.rows)));
    Ok(written)
}

async fn write(
    job: &Job,
    model: &Model,
    champion: Option<&Version>,
    pins: &Pins,
    definition: &str,
    unit: &Unit,
) -> Result<Outcome> {
    let rows = spine::scoring(job, model, pins).await?;
    let said = match champion {
        Some(champion) => Some(predict(job, model, champion, pins, &rows).await?),
        None => None,
    };
    let feature_version = champion.map(|champion| feature_version(job, &champion.inputs)).transpose()?;
    let version = champion.map_or(NO_CHAMPION, |champion| champion.name.as_str());
    let by = Scored { model_version: version, feature_version: feature_version.as_deref() };
    let (name, schema) = (format!("scores/{}", model.name), scored(job, model, &rows.slice(0, 0), None, &by)?.schema());
    let spec = TableSpec {
        no_statistics: job.project.identifying(&name, &schema),
        name,
        description: format!("Scores and decisions of model {}, a row per decision and night.", model.name),
        schema,
        partition_by: Some("logical_date".into()),
    };
    let mut writer = job.lake.writer(&spec).await?;
    for from in (0..rows.num_rows()).step_by(SLICE) {
        let count = SLICE.min(rows.num_rows() - from);
        let said = said.as_ref().map(|said| said.slice(from, count));
        writer.write(&scored(job, model, &rows.slice(from, count), said.as_ref(), &by)?).await?;
    }
    let mut info = job.commit_info("score", definition, pins);
    info.insert("model_version".into(), json!(version));
    let outcome = writer.commit(Replace::Partitions([job.date.to_string()].into()), unit, info).await?;
    if let Outcome::Committed { rows: written, .. } = outcome
        && written != rows.num_rows() as u64
    {
        let asked = rows.num_rows();
        return Err(Error::internal(format!("{asked} rows were to be scored and {written} were written")));
    }
    Ok(outcome)
}

/// What a version says of rows of tonight's population.
pub async fn predict(
    job: &Job,
    model: &Model,
    version: &Version,
    pins: &Pins,
    rows: &arrow::array::RecordBatch,
) -> Result<Predictions> {
    let scorer = version.scorer(job.threads())?;
    let mut said = Predictions::sized(rows.num_rows(), version.explainer.is_some());
    population::each(job, model, pins, &version.inputs, rows, |vectors, numbers| {
        said.put(version.explain(&scorer, vectors)?, numbers);
        Ok(())
    })
    .await?;
    Ok(said)
}

/// What the features that a model reads are defined by, in a word.
pub(super) fn feature_version(job: &Job, inputs: &[Input]) -> Result<String> {
    fingerprints::together(&job.project, inputs)
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

/// The scores of a night, if there are any, and whether a later night has some.
pub async fn of_night(job: &Job, model: &Model) -> Result<Option<(Snapshot, bool)>> {
    let Some(snapshot) = job.lake.snapshot(&format!("scores/{}", model.name)).await? else { return Ok(None) };
    let nights = snapshot.partitions();
    let tonight = job.date.to_string();
    let later = nights.keys().any(|night| *night > tonight);
    Ok(nights.contains_key(&tonight).then_some((snapshot, later)))
}
