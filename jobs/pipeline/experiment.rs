//! The `experiment` job: variants of a model on identical rows, compared.
//!
//! Spine and feature vectors are computed once, for all inputs of all variants. Every variant is trained and validated
//! on them as `train` would, once per seed; what the models say of the rows that none of them saw is compared by
//! [`crate::learn::comparison`]. Nothing is registered, and nothing of it is ever live.
//!
//! A night's comparison is one unit of work of `experiments/<name>`: with the same definitions and data it is read back
//! from there instead of made again.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::job::{Job, Pins, Written, definition_text};
use super::learning::{self, Learning};
use super::{spine, train, vectors};
use crate::clock;
use crate::define::inputs::{self, Input};
use crate::define::{Experiment, Model, diagnostic};
use crate::error::{Context, Error, Result};
use crate::lake::{Outcome, Unit};
use crate::learn::bootstrap::Plan;
use crate::learn::comparison::{self, Contender};
use crate::learn::metrics::Metric;
use crate::learn::train::Fitted;

mod page;
pub mod table;

pub use table::Row;

/// What came of an experiment.
#[derive(Debug, Serialize)]
pub struct Comparison {
    pub experiment: String,
    pub description: String,
    pub model: String,
    pub date: String,
    pub seeds: Vec<u64>,
    pub repetitions: u32,
    pub confidence: f64,
    /// What counts as called positive in F1.
    pub threshold: f64,
    pub acceptance_rate: Option<f64>,
    /// Segment by segment, variant by variant, metric by metric.
    pub rows: Vec<Row>,
}

/// Runs an experiment, or reads what it came to tonight.
pub async fn run(job: &Job, name: &str) -> Result<(Comparison, Vec<Written>)> {
    let started = clock::instant();
    let experiment = named(job, name)?;
    let all = columns(job, experiment)?;
    let mut names = spine::tables(&experiment.rows);
    names.extend(vectors::tables(job, &all));
    let pins = job.pin(names.iter().map(String::as_str)).await?;
    let source = train::inputs_fingerprint(job, experiment, &pins)?;
    let unit = job.unit("experiment", &experiment.name, &source, &Pins::default());
    if let Some((rows, version)) = table::stored(job, experiment, &unit).await? {
        let line = Written::unchanged(table::name(experiment), "unchanged", Some(version));
        return shown(job, comparison(job, experiment, rows), line).await;
    }
    let rows = made(job, experiment, &pins, &all).await.with_context(|| format!("experiment {name}"))?;
    let outcome = store(job, experiment, &pins, &rows, &unit).await?;
    let line = Written::new(table::name(experiment), &outcome, started.elapsed().as_secs_f64());
    job.ledger.wrote(&line);
    shown(job, comparison(job, experiment, rows), line).await
}

/// With its page, which follows from the rows alone.
async fn shown(job: &Job, comparison: Comparison, line: Written) -> Result<(Comparison, Vec<Written>)> {
    let pages = page::put(job, &comparison).await?;
    pages.iter().for_each(|page| job.ledger.wrote(page));
    Ok((comparison, [vec![line], pages].concat()))
}

fn named<'a>(job: &'a Job, name: &str) -> Result<&'a Experiment> {
    job.project.experiments.get(name).ok_or_else(|| {
        let known: Vec<&str> = job.project.experiments.keys().map(String::as_str).collect();
        let help = diagnostic::did_you_mean(name, known.iter().copied());
        let there = match known.is_empty() {
            true => "a file models/experiments/NAME.yaml".to_string(),
            false => format!("one of {}", known.join(", ")),
        };
        Error::definition(format!("there is no experiment `{name}`\n  expected: {there}{help}"))
    })
}

fn comparison(job: &Job, experiment: &Experiment, rows: Vec<Row>) -> Comparison {
    Comparison {
        experiment: experiment.name.clone(),
        description: experiment.description.clone(),
        model: experiment.rows.name.clone(),
        date: job.date.to_string(),
        seeds: experiment.seeds.clone(),
        repetitions: experiment.repetitions,
        confidence: experiment.confidence,
        threshold: threshold(experiment),
        acceptance_rate: experiment.acceptance_rate,
        rows,
    }
}

fn threshold(experiment: &Experiment) -> f64 {
    let decided = experiment.rows.decisions.first().and_then(|decision| decision.below);
    experiment.threshold.or(decided).unwrap_or(0.5)
}

async fn store(job: &Job, experiment: &Experiment, pins: &Pins, rows: &[Row], unit: &Unit) -> Result<Outcome> {
    let info = job.commit_info("experiment", &definition_text(experiment)?, pins);
    table::store(job, experiment, rows, unit, info).await
}

/// The inputs of all variants, and what segments look at besides.
fn columns(job: &Job, experiment: &Experiment) -> Result<Vec<Input>> {
    let (_, mut all) = vectors::columns(job, &experiment.rows)?;
    for variant in experiment.variants.values() {
        for input in chosen(job, variant)? {
            if !all.contains(&input) {
                all.push(input);
            }
        }
    }
    Ok(all)
}

fn chosen(job: &Job, variant: &Model) -> Result<Vec<Input>> {
    inputs::resolve(&job.project, variant).map_err(diagnostic::into_error)
}

/// Trains all variants and compares them.
async fn made(job: &Job, experiment: &Experiment, pins: &Pins, all: &[Input]) -> Result<Vec<Row>> {
    let spine = spine::training(job, &experiment.rows, pins).await?;
    let vectors = vectors::assemble(job, pins, all, &spine.rows).await?;
    let segments = vectors::segments(job, &experiment.rows, &vectors)?;
    let mut trained = Vec::new();
    let mut last: Option<(Vec<String>, Arc<Learning>)> = None;
    for (name, variant) in &experiment.variants {
        let names: Vec<String> = chosen(job, variant)?.iter().map(Input::name).collect();
        // Variants that differ in their heads only share one matrix.
        let learning = match last.take() {
            Some((of, learning)) if of == names => learning,
            _ => Arc::new(Learning::new(variant, &spine, &vectors, &names, Vec::new(), job.threads())?),
        };
        let step = job.progress.step(format!("variant {name}"));
        let said = each_seed(experiment, variant, &learning).await.with_context(|| format!("variant {name}"))?;
        step.done(&format!("{} of {} inputs", variant.head.kind.name(), names.len()));
        trained.push((name.clone(), variant.head.kind.name(), names.len() as u32, said));
        last = Some((names, learning));
    }
    let Some((_, learning)) = last else { return Err(Error::internal("an experiment without variants")) };
    let step = job.progress.step("compare");
    let (experiment, learned) = (experiment.clone(), learning);
    let task = tokio::task::spawn_blocking(move || compare(&experiment, &learned, &segments, trained));
    let rows = task.await.map_err(|e| Error::internal(format!("a comparison did not end: {e}")))??;
    step.done(&format!("{} rows out of sample", rows.first().map_or(0, |row| row.rows)));
    Ok(rows)
}

/// What a variant says of each row that it did not see, per seed.
type Says = Vec<BTreeMap<usize, f64>>;

async fn each_seed(experiment: &Experiment, variant: &Model, learning: &Arc<Learning>) -> Result<Says> {
    let mut said = Vec::new();
    for seed in &experiment.seeds {
        let mut variant = variant.clone();
        variant.head.seed = *seed;
        let params = learning::params(&variant)?;
        said.push(out_of_sample(&train::fit(Arc::clone(learning), &variant, params).await?));
    }
    Ok(said)
}

fn out_of_sample(fitted: &Fitted) -> BTreeMap<usize, f64> {
    let out = fitted.predictions.iter().filter(|prediction| prediction.part.is_out_of_sample());
    out.map(|prediction| (prediction.row, prediction.probability)).collect()
}

/// Name, kind of head, number of inputs, what it says.
type Trained = (String, &'static str, u32, Says);

/// Compares on the rows that no variant saw: all of them where they are validated alike.
fn compare(
    experiment: &Experiment,
    learning: &Learning,
    segments: &[(String, Vec<bool>)],
    trained: Vec<Trained>,
) -> Result<Vec<Row>> {
    let in_all = |row: &usize| trained.iter().all(|(.., says)| says.iter().all(|said| said.contains_key(row)));
    let rows: Vec<usize> = (0..learning.labels.len()).filter(in_all).collect();
    if rows.is_empty() {
        return Err(Error::data("no row is out of sample for all variants\n  help: validate them alike"));
    }
    let labels: Vec<bool> = rows.iter().map(|row| learning.labels[*row]).collect();
    let entities: Vec<String> = rows.iter().map(|row| learning.entities[*row].clone()).collect();
    let here = |flags: &[bool]| rows.iter().map(|row| flags[*row]).collect::<Vec<bool>>();
    let segments: Vec<_> = segments.iter().map(|(name, flags)| (name.clone(), here(flags))).collect();
    let metrics: Vec<Metric> = experiment.metrics.iter().filter_map(|measure| Metric::named(measure.name())).collect();
    let contenders: Vec<Contender> = trained
        .iter()
        .map(|(name, .., says)| Contender {
            name: name.clone(),
            scores: says.iter().map(|said| rows.iter().map(|row| said[row]).collect()).collect(),
        })
        .collect();
    let seed = experiment.seeds.first().copied().unwrap_or(1);
    let cells = comparison::compare(
        &comparison::Rows {
            labels: &labels,
            entities: &entities,
            segments: &segments,
            metrics: &metrics,
            threshold: threshold(experiment),
            acceptance_rate: experiment.acceptance_rate,
            plan: Plan { repetitions: experiment.repetitions, seed, confidence: experiment.confidence },
            threads: learning.threads,
        },
        &contenders,
    )?;
    let row = |cell: comparison::Cell| {
        let (name, head, inputs, _) = &trained[cell.contender];
        let over = cell.lead.as_ref().map(|lead| trained[lead.over].0.clone());
        Row::new(&experiment.rows.name, name, (*head, *inputs), cell, over)
    };
    Ok(cells.into_iter().map(row).collect())
}
