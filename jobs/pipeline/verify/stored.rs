//! The stored tables of a night against the naive evaluator, bit for bit.

use arrow::array::RecordBatch;
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::DataFrame;
use serde::Serialize;

use super::difference::{Difference, differences};
use super::sample;
use super::subject::clocks;
use crate::define::features::History;
use crate::engine::naive;
use crate::engine::session::Session;
use crate::error::{Context, Error, Result};
use crate::pipeline::features;
use crate::pipeline::job::{Job, instant};

/// What was compared, and every column that differs.
#[derive(Debug, Serialize)]
pub struct Compared {
    pub table: String,
    pub entities: usize,
    pub columns: usize,
    pub mismatches: Vec<Mismatch>,
}

/// The first entity of a column whose stored value is another one.
#[derive(Debug, Serialize)]
pub struct Mismatch {
    pub entity: String,
    #[serde(flatten)]
    pub difference: Difference,
}

/// Computes the night's features of a few entities naively, and compares them with what is stored.
pub async fn compare(job: &Job, entities: usize, seed: u64) -> Result<Vec<Compared>> {
    let mut compared = Vec::new();
    for group in job.project.groups.values().filter(|group| job.selected(&group.name)) {
        let path = format!("features/{}", group.name);
        let step = job.progress.step(&path);
        let night = Night::load(job, &path, &group.history, entities, seed).await.with_context(|| path.clone())?;
        let (time, ties) = clocks(&job.project, &group.history)?;
        let truth = naive::features(&night.session, group, time, ties, night.events()?, night.spine()?).await;
        compared.push(night.compare(&truth.with_context(|| path)?)?);
        step.done("compared");
    }
    for sequence in job.project.sequences.values().filter(|sequence| job.selected(&sequence.name)) {
        let path = format!("sequences/{}", sequence.name);
        let step = job.progress.step(&path);
        let night = Night::load(job, &path, &sequence.history, entities, seed).await.with_context(|| path.clone())?;
        let (time, ties) = clocks(&job.project, &sequence.history)?;
        let truth = naive::sequences(sequence, time, ties, night.events()?, night.spine()?).await;
        compared.push(night.compare(&truth.with_context(|| path)?)?);
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
    let help = format!("run `scorehouse features --date {}` again; what then still differs is our mistake", job.date);
    (!lines.is_empty()).then(|| Error::internal(format!("{}\n  help: {help}", lines.join("\n"))))
}

/// A few entities of a stored night, with the rows they come from.
struct Night {
    path: String,
    session: Session,
    entity: Vec<String>,
    as_of: i64,
    people: RecordBatch,
    rows: RecordBatch,
    stored: RecordBatch,
}

impl Night {
    async fn load(job: &Job, path: &str, history: &History, entities: usize, seed: u64) -> Result<Night> {
        let session = job.session()?;
        let missing = || {
            let help = format!("run `scorehouse features --date {}` first", job.date);
            Error::data(format!("the night {} is not stored\n  help: {help}", job.date))
        };
        let snapshot = job.lake.snapshot(path).await?.ok_or_else(missing)?;
        let pins = job.pin([history.table.as_str(), history.entities.as_str()]).await?;
        let people = sample::people(job, &session, &pins, history, entities, seed).await?;
        let about = |frame| sample::rows_about(&session, &people, &history.entity, frame);
        let rows = sample::collect(about(pins.frame(&session, &history.table, job.as_of())?)?).await?;
        let order = sample::keys(&history.entity).into_iter().map(|key| key.sort(true, true)).collect();
        let stored = about(features::stored(&session, &snapshot, job.date)?)?.sort(order)?;
        let stored = sample::collect(stored).await?;
        if stored.num_rows() != people.num_rows() {
            let (there, all) = (stored.num_rows(), people.num_rows());
            return Err(missing().context(format!("{there} of {all} entities are there")));
        }
        let entity = history.entity.clone();
        Ok(Night { path: path.to_string(), session, entity, as_of: job.as_of(), people, rows, stored })
    }

    fn events(&self) -> Result<DataFrame> {
        Ok(self.session.context().read_batch(self.rows.clone())?)
    }

    fn spine(&self) -> Result<DataFrame> {
        let mut columns: Vec<Expr> = sample::keys(&self.entity);
        columns.extend([instant(self.as_of).alias("as_of"), lit(0_i64).alias("_row")]);
        Ok(self.session.context().read_batch(self.people.clone())?.select(columns)?)
    }

    /// Both sides are in the order of entities.
    fn compare(self, truth: &RecordBatch) -> Result<Compared> {
        let kept: Vec<usize> = (0..truth.num_columns()).filter(|&i| truth.schema().field(i).name() != "_row").collect();
        let truth = truth.project(&kept)?;
        let names = sample::names(&truth, &self.entity)?;
        let differences = differences(&truth, &self.stored)?;
        let mismatch = |difference: Difference| Mismatch { entity: names[difference.row].clone(), difference };
        Ok(Compared {
            table: self.path,
            entities: truth.num_rows(),
            columns: truth.num_columns() - self.entity.len() - 1,
            mismatches: differences.into_iter().map(mismatch).collect(),
        })
    }
}
