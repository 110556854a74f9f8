//! The stored tables of a night against their definitions, computed in another way, bit for bit.
//!
//! Groups and sequences are held to the naive evaluator. Nothing evaluates a query naively; it is run again, for a few
//! entities alone, which finds tables that are older than their query, and queries whose result depends on who else is
//! asked about.

use arrow::array::RecordBatch;
use datafusion::prelude::DataFrame;
use futures::TryStreamExt;
use serde::Serialize;

use super::difference::{Difference, differences};
use super::proof;
use super::sample;
use super::subject::Read;
use crate::define::SqlFeatures;
use crate::define::features::History;
use crate::engine::naive;
use crate::engine::session::Session;
use crate::error::{Context, Error, Result};
use crate::pipeline::features;
use crate::pipeline::features::definition::Definition;
use crate::pipeline::job::{Job, Pins};
use crate::pipeline::{rotation, sql_features, vectors};

/// What was compared, and every column that differs.
#[derive(Debug, Serialize)]
pub struct Compared {
    pub table: String,
    pub against: Against,
    pub entities: usize,
    pub columns: usize,
    pub mismatches: Vec<Mismatch>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    NaiveEvaluation,
    QueryAgain,
}

/// The first entity of a column whose stored value is another one.
#[derive(Debug, Serialize)]
pub struct Mismatch {
    pub entity: String,
    #[serde(flatten)]
    pub difference: Difference,
}

/// Computes the night's features of a few entities, and compares them with what is stored.
pub async fn compare(job: &Job, entities: usize, seed: u64) -> Result<Vec<Compared>> {
    rotation::refuse(&job.lake).await?;
    let mut compared = Vec::new();
    for definition in Definition::all(job) {
        let path = definition.path();
        let step = job.progress.step(&path);
        compared.push(naively(job, definition, entities, seed).await.with_context(|| path)?);
        step.done("compared");
    }
    for definition in job.project.sql_features.values().filter(|features| job.selected(&features.name)) {
        let path = format!("features/{}", definition.name);
        let step = job.progress.step(&path);
        compared.push(again(job, definition, &path, entities, seed).await.with_context(|| path)?);
        step.done("compared");
    }
    Ok(compared)
}

/// Every mismatch in one error; `None` if there is none.
pub fn error(job: &Job, compared: &[Compared]) -> Option<Error> {
    let mut lines = Vec::new();
    for table in compared {
        for Mismatch { entity, difference } in &table.mismatches {
            let Difference { column, expected, found, .. } = difference;
            let line = format!("{}: {column} of {entity}\n  found: {found}\n  expected: {expected}", table.table);
            lines.push(line);
        }
    }
    let fresh = format!("run `scorehouse features --date {}` again", job.date);
    let naive = |table: &Compared| !table.mismatches.is_empty() && table.against == Against::NaiveEvaluation;
    let help = match compared.iter().any(naive) {
        true => format!("{fresh}; what then still differs is our mistake"),
        false => {
            format!("{fresh}; what then still differs depends on the order of rows, or on who else is asked about")
        }
    };
    (!lines.is_empty()).then(|| Error::internal(format!("{}\n  help: {help}", lines.join("\n"))))
}

async fn naively(job: &Job, definition: Definition<'_>, entities: usize, seed: u64) -> Result<Compared> {
    let history = definition.history();
    let night = Night::load(job, (&definition.path(), history, &definition.tables()), entities, seed).await?;
    let session = &night.session;
    let ready = definition.compile(job, session)?;
    let events = ready.events(|table| night.rows(job, table))?;
    let spine = night.spine()?;
    let truth = match (definition, ready.union()) {
        (Definition::Sequence(_), Some(union)) => {
            naive::sequences(&union.sequence, &union.event_time, &union.tie_breaker, events, spine).await?
        }
        (Definition::Sequence(sequence), None) => {
            let (time, ties) = job.project.clocks(history)?;
            naive::sequences(sequence, time, ties, events, spine).await?
        }
        (Definition::Group(group), _) => {
            let (time, ties) = job.project.clocks(history)?;
            naive::features(session, group, time, ties, events, spine).await?
        }
    };
    night.compare(&truth, Against::NaiveEvaluation)
}

async fn again(job: &Job, definition: &SqlFeatures, path: &str, entities: usize, seed: u64) -> Result<Compared> {
    let people = sql_features::population(definition);
    let tables: Vec<&str> = definition.tables().collect();
    let night = Night::load(job, (path, &people, &tables), entities, seed).await?;
    let stream = sql_features::compute(job, &night.session, &night.pins, definition, night.spine()?).await?;
    let schema = stream.schema();
    let truth = vectors::one(schema, &stream.try_collect::<Vec<_>>().await?)?;
    night.compare(&truth, Against::QueryAgain)
}

/// A few entities of a stored night.
struct Night {
    path: String,
    session: Session,
    pins: Pins,
    entity: Vec<String>,
    as_of: i64,
    people: RecordBatch,
    stored: RecordBatch,
}

impl Night {
    async fn load(
        job: &Job,
        (path, history, tables): (&str, &History, &[&str]),
        entities: usize,
        seed: u64,
    ) -> Result<Night> {
        let session = job.session()?;
        let missing = || {
            let help = format!("run `scorehouse features --date {}` first", job.date);
            Error::data(format!("the night {} is not stored\n  help: {help}", job.date))
        };
        let snapshot = job.lake.snapshot(path).await?.ok_or_else(missing)?;
        let pins = job.pin(tables.iter().copied()).await?;
        let people = sample::people(job, &session, &pins, (history, false), entities, seed).await?;
        let order = sample::keys(&history.entity).into_iter().map(|key| key.sort(true, true)).collect();
        let about = Read::new(path, &[], &history.entity).on;
        let stored = features::stored(&session, &snapshot, job.date)?;
        let stored = sample::collect(sample::rows_about(&session, &people, &about, stored)?.sort(order)?).await?;
        if stored.num_rows() != people.num_rows() {
            let (there, all) = (stored.num_rows(), people.num_rows());
            return Err(missing().context(format!("{there} of {all} entities are there")));
        }
        let (path, entity) = (path.to_string(), history.entity.clone());
        Ok(Night { path, session, pins, entity, as_of: job.as_of(), people, stored })
    }

    /// The rows of a table about these entities.
    fn rows(&self, job: &Job, table: &str) -> Result<DataFrame> {
        let about = Read::new(table, &[], &self.entity).on;
        sample::rows_about(&self.session, &self.people, &about, self.pins.frame(&self.session, table, job.as_of())?)
    }

    fn spine(&self) -> Result<DataFrame> {
        let mut spine = proof::spines(&self.people, &[self.as_of])?;
        Ok(self.session.context().read_batch(spine.remove(0))?)
    }

    /// Both sides are in the order of entities.
    fn compare(self, truth: &RecordBatch, against: Against) -> Result<Compared> {
        let kept: Vec<usize> = (0..truth.num_columns()).filter(|&i| truth.schema().field(i).name() != "_row").collect();
        let truth = truth.project(&kept)?;
        let names = sample::names(&truth, &self.entity)?;
        let differences = differences(&truth, &self.stored)?;
        let mismatch = |difference: Difference| Mismatch { entity: names[difference.row].clone(), difference };
        Ok(Compared {
            table: self.path,
            against,
            entities: truth.num_rows(),
            columns: truth.num_columns() - self.entity.len() - 1,
            mismatches: differences.into_iter().map(mismatch).collect(),
        })
    }
}
