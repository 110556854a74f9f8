//! The `monitor` job: has the world moved since the champion was trained, and were its scores right?
//!
//! | what | of | against |
//! |---|---|---|
//! | `psi`, `missing` | every input, and the score | the version's baseline: who was scored when it was trained |
//! | `population` | how many are scored | the champion's first night |
//! | `base_rate` | decisions whose outcome is known since | the training rows |
//! | `auc_drop`, `calibration_error` | what was scored when they were decided | the version's test rows |
//!
//! `monitoring/<model>` has a row per night and measure, with the change that thresholds are held to. It is written after
//! the scores: what warns is logged, and what fails ends the job with exit code 3, the scores being there all the same.

pub mod baseline;
mod drift;
mod measure;
mod outcome;

pub use measure::{Measure, Status};

use std::collections::BTreeSet;

use datafusion::prelude::{col, lit};
use serde_json::json;

use super::artifacts::{self, Version};
use super::job::{Job, Pins, Written, definition_text, fingerprint};
use super::registry::{self, History};
use super::{features, population, score, spine};
use crate::define::Model;
use crate::error::{Context, Error, Result};
use crate::lake::{Replace, Snapshot, TableSpec, Unit};

pub async fn run(job: &Job) -> Result<Vec<Written>> {
    let mut written = Vec::new();
    let mut failed = Vec::new();
    for model in job.project.models.values().filter(|m| job.selected(&m.name)) {
        let (line, failures) = one(job, model).await.with_context(|| format!("model {}", model.name))?;
        job.ledger.wrote(&line);
        written.push(line);
        failed.extend(failures);
    }
    if failed.is_empty() {
        return Ok(written);
    }
    let help = "the scores are written; look at what was delivered, or train again";
    Err(Error::data(format!("monitoring failed: {}\n  help: {help}", failed.join("; "))))
}

/// Measures one model; the line of the result, and what failed in words.
async fn one(job: &Job, model: &Model) -> Result<(Written, Vec<String>)> {
    let path = format!("monitoring/{}", model.name);
    let history = registry::history(job, &model.name).await?;
    let Some(champion) = history.aliases().champion else {
        return Ok((Written::unchanged(path, "no champion", None), Vec::new()));
    };
    let Some((scores, _)) = score::of_night(job, model).await? else {
        return Ok((Written::unchanged(path, "no scores of this night", None), Vec::new()));
    };
    let version = artifacts::load(job, model, &champion).await.context("the champion cannot be watched")?;
    let pins = pin(job, model, &version).await?;
    let definition = definition_text(model)?;
    let (scored, read) = (scores.content(), pins.contents());
    let parts = [&definition, &champion, &scored, &read].map(String::as_str);
    let unit = Unit { key: format!("monitor:{}:{}", model.name, job.date), fingerprint: fingerprint(&parts) };
    if let Some(existing) = job.lake.snapshot(&path).await?
        && existing.committed(&unit.key).await? == Some(unit.fingerprint)
    {
        let failed = measure::failures(job, &existing, &model.name).await?;
        return Ok((Written::unchanged(path, "unchanged", Some(existing.version())), failed));
    }
    let step = job.progress.step(&path);
    let watch = Watch { job, model, version, history, scores, pins };
    let measures = watch.measures().await?;
    let batch = measure::batch(job, &champion, &measures)?;
    let spec = TableSpec {
        name: path.clone(),
        description: format!("What moved since the champion of {} was trained, night by night.", model.name),
        schema: batch.schema(),
        partition_by: Some("logical_date".into()),
        no_statistics: Vec::new(),
    };
    let mut writer = job.lake.writer(&spec).await?;
    writer.write(&batch).await?;
    let info = job.commit_info("monitor", &definition, &watch.pins);
    let outcome = writer.commit(Replace::Partitions([job.date.to_string()].into()), &unit, info).await?;
    let said = |status| measures.iter().filter(move |measure| measure.status == status);
    for measure in said(Status::Warn) {
        tracing::warn!(model = model.name, "{}", measure.sentence());
    }
    let (warned, failed) = (said(Status::Warn).count(), said(Status::Fail).count());
    step.done(&format!("{} measures, {warned} warn, {failed} fail", measures.len()));
    let mut line = Written::new(path, &outcome, 0.0).detail("warn", warned).detail("fail", json!(failed));
    if warned + failed > 0 {
        line.status = format!("{}: {warned} warn, {failed} fail", line.status);
    }
    let failures = said(Status::Fail).map(|measure| format!("{}: {}", model.name, measure.sentence()));
    Ok((line, failures.collect()))
}

/// Tonight's features, and the tables that outcomes are read from.
async fn pin(job: &Job, model: &Model, version: &Version) -> Result<Pins> {
    let mut pins = population::pin(job, model, &version.inputs).await?;
    let names: BTreeSet<String> = spine::tables(model).into_iter().collect();
    pins.0.extend(job.pin(names.iter().map(String::as_str)).await?.0);
    Ok(pins)
}

/// Everything that is looked at.
struct Watch<'a> {
    job: &'a Job,
    model: &'a Model,
    version: Version,
    history: History,
    scores: Snapshot,
    pins: Pins,
}

impl Watch<'_> {
    async fn measures(&self) -> Result<Vec<Measure>> {
        let mut measures = self.drift().await?;
        measures.push(self.population());
        measures.extend(self.outcomes().await?);
        Ok(measures)
    }

    /// How many are scored, against the first night of this champion that the table has.
    fn population(&self) -> Measure {
        let since = self
            .history
            .events
            .iter()
            .rev()
            .find(|event| event.version == self.version.name && event.alias.as_deref() == Some("champion"));
        let since = since.map_or(self.job.date, |event| event.logical_date).to_string();
        let rows = self.scores.partition_rows();
        let tonight = rows.get(&self.job.date.to_string()).copied().unwrap_or(0);
        let first = rows.range(since..).next().map_or(tonight, |(_, rows)| *rows);
        let change = (tonight as f64 - first as f64).abs() / (first as f64).max(1.0);
        let level = &self.model.monitoring.population;
        Measure::of("population", "rows", (Some(tonight as f64), Some(first as f64)), Some(change), level)
    }

    /// Tonight's probabilities.
    async fn probabilities(&self) -> Result<Vec<f64>> {
        let session = self.job.session()?;
        let night = features::stored(&session, &self.scores, self.job.date)?;
        let night = night.filter(col("model_version").eq(lit(self.version.name.as_str())))?;
        let mut all = Vec::new();
        for batch in night.select_columns(&["probability"])?.collect().await? {
            let column = arrow::array::AsArray::as_primitive::<arrow::datatypes::Float64Type>(batch.column(0));
            all.extend(column.iter().flatten());
        }
        Ok(all)
    }
}
