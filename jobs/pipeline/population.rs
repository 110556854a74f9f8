//! Whom tonight scores, with the inputs asked for, batch by batch: as many rows in memory as a batch has, whether there
//! are a thousand or a million people.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;
use futures::StreamExt;

use super::job::{Job, Pins};
use super::{spine, vectors};
use crate::define::Model;
use crate::define::inputs::Input;
use crate::define::model::Scoring;
use crate::error::{Error, Result};

/// Rows of a batch where vectors are computed rather than read.
const BATCH: usize = 8192;

/// Pins whom to score and what by: the stored features of tonight, or the tables that features of a decision are
/// computed from.
pub async fn pin(job: &Job, model: &Model, inputs: &[Input]) -> Result<Pins> {
    let mut names = match &model.scoring {
        Scoring::Population(table) => vec![table.clone()],
        Scoring::Applications(_) => spine::tables(model),
    };
    if matches!(model.scoring, Scoring::Applications(_)) {
        names.extend(vectors::tables(job, inputs));
    }
    let mut pins = job.pin(names.iter().map(String::as_str)).await?;
    if matches!(model.scoring, Scoring::Population(_)) && !inputs.is_empty() {
        pins.0.extend(vectors::pin_stored(job, inputs).await?.0);
    }
    Ok(pins)
}

/// Gives `see` every row of `rows` once, as vectors of the inputs and the numbers of the rows.
///
/// # Errors
/// Those of `see`; `Internal` if a row came twice, or not at all.
pub async fn each(
    job: &Job,
    model: &Model,
    pins: &Pins,
    inputs: &[Input],
    rows: &RecordBatch,
    mut see: impl FnMut(&RecordBatch, &[u64]) -> Result<()>,
) -> Result<()> {
    let mut seen = vec![false; rows.num_rows()];
    let mut take = |vectors: &RecordBatch, numbers: &[u64]| {
        for number in numbers {
            match seen.get_mut(*number as usize) {
                Some(seen) if !*seen => *seen = true,
                _ => return Err(Error::internal(format!("row {number} of whom to score came twice"))),
            }
        }
        tokio::task::block_in_place(|| see(vectors, numbers))
    };
    if let Scoring::Applications(_) = &model.scoring {
        let vectors = vectors::assemble(job, pins, inputs, rows).await?;
        for from in (0..rows.num_rows()).step_by(BATCH) {
            let count = BATCH.min(rows.num_rows() - from);
            let numbers: Vec<u64> = (from as u64..(from + count) as u64).collect();
            take(&vectors.slice(from, count), &numbers)?;
        }
    } else {
        let mut stream = vectors::stored_stream(job, pins, inputs, model, rows).await?;
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            let last = batch.num_columns() - 1;
            let numbers = arrow::compute::cast(batch.column(last), &arrow::datatypes::DataType::UInt64)?;
            let vectors = batch.project(&(0..last).collect::<Vec<_>>())?;
            take(&vectors, numbers.as_primitive::<UInt64Type>().values())?;
        }
    }
    let lost = seen.iter().filter(|seen| !**seen).count();
    if lost > 0 {
        return Err(Error::internal(format!("{lost} of {} rows to score have no vector", rows.num_rows())));
    }
    Ok(())
}
