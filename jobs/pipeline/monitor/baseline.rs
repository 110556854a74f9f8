//! Who was scored when a version was trained, binned: what later nights are compared with. It lies in the artifact, so
//! that no row of then is needed for it.
//!
//! Where a population is scored, it is that population in the night of training, since who is scored every night is
//! seldom who made a decision; where applications are scored, the training rows, which every artifact has.

use arrow::array::{RecordBatch, UInt64Array};
use arrow::compute::take_record_batch;

use crate::define::Model;
use crate::define::inputs::Input;
use crate::define::model::Scoring;
use crate::error::{Error, Kind, Result};
use crate::learn::artifact::Artifact;
use crate::learn::baseline::Baseline;
use crate::learn::matrix::Matrix;
use crate::learn::scorer::Scorer;
use crate::learn::stability::{BINS, Reference};
use crate::pipeline::job::Job;
use crate::pipeline::{population, spine, vectors};

/// The file of an artifact that holds it.
pub const FILE: &str = "population.json";
/// Rows that describe a population well enough.
const SAMPLE: usize = 50_000;

pub fn read(bytes: &[u8]) -> Result<Baseline> {
    serde_json::from_slice(bytes).map_err(|e| Error::data(format!("`{FILE}` cannot be read ({e})")).caused_by(e))
}

/// The people of a night as a version sees them. The base rate is that of the training rows: of people nobody knows it.
pub fn of_population(artifact: &Artifact, people: &RecordBatch, scorer: &Scorer, threads: usize) -> Result<Baseline> {
    let matrix = Matrix::from_batches(&people.schema(), std::slice::from_ref(people), scorer.feature_names())?;
    let rows: Vec<usize> = (0..people.num_rows()).collect();
    let mut baseline = Baseline::of(&matrix, &artifact.features, &rows, artifact.baseline.base_rate, threads)?;
    baseline.probabilities = Some(Reference::numeric(&scorer.score(people)?, BINS)?);
    Ok(baseline)
}

/// Those whom a version is to be compared on later; `None` where training rows stand for them.
///
/// # Errors
/// Of storage; that tonight's features are not in the lake yet is none.
pub async fn sample(job: &Job, model: &Model, inputs: &[Input]) -> Result<Option<RecordBatch>> {
    if matches!(model.scoring, Scoring::Applications(_)) {
        return Ok(None);
    }
    let pins = match population::pin(job, model, inputs).await {
        Err(error) if error.kind() == Kind::Data => return Ok(None),
        pins => pins?,
    };
    let rows = spine::scoring(job, model, &pins).await?;
    if rows.num_rows() == 0 {
        return Ok(None);
    }
    let step = rows.num_rows().div_ceil(SAMPLE).max(1);
    let chosen = UInt64Array::from_iter_values((0..rows.num_rows() as u64).step_by(step));
    let rows = take_record_batch(&rows, &chosen)?;
    Ok(Some(vectors::stored(job, &pins, inputs, model, &rows).await?))
}
