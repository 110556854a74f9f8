//! What a version saw when it was trained, binned: what later nights are compared with. It lies in the artifact, so that
//! no training row is needed for it.
//!
//! Where a population is scored, it is that population in the night of training, since who is scored every night is
//! seldom who made a decision; where applications are scored, it is the training rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Float64Type};
use serde::{Deserialize, Serialize};

use crate::define::Model;
use crate::define::inputs::Input;
use crate::define::model::Scoring;
use crate::error::{Error, Kind, Result};
use crate::learn::stability::{BINS, CATEGORIES, Reference, Stability};
use crate::pipeline::job::Job;
use crate::pipeline::{population, spine, vectors};

/// The file of an artifact that holds it.
pub const FILE: &str = "population.json";
/// Rows that describe a population well enough.
const SAMPLE: usize = 50_000;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// `population` or `training rows`.
    pub of: String,
    pub rows: u64,
    /// Share of the training rows' labels that are true.
    pub base_rate: f64,
    /// By input.
    pub inputs: BTreeMap<String, Reference>,
    pub score: Reference,
}

impl Baseline {
    pub fn read(bytes: &[u8]) -> Result<Baseline> {
        serde_json::from_slice(bytes).map_err(|e| Error::data(format!("`{FILE}` cannot be read ({e})")).caused_by(e))
    }

    pub fn bytes(&self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec_pretty(self)?)
    }

    pub fn new(of: &str, vectors: &RecordBatch, inputs: &[Input], scores: &[f64], labels: &[bool]) -> Result<Baseline> {
        let mut references = BTreeMap::new();
        for input in inputs {
            let name = input.name();
            let column = vectors.column_by_name(&name).ok_or_else(|| Error::internal(format!("no column {name}")))?;
            references.insert(name, Values::of(column)?.reference()?);
        }
        let positives = labels.iter().filter(|label| **label).count();
        Ok(Baseline {
            of: of.to_string(),
            rows: vectors.num_rows() as u64,
            base_rate: positives as f64 / labels.len().max(1) as f64,
            inputs: references,
            score: Reference::numeric(scores, BINS)?,
        })
    }
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

/// A column as distributions see it.
pub enum Values {
    Numbers(Vec<f64>),
    Texts(ArrayRef),
    /// Lists and maps: whether there is one.
    Present(Vec<bool>),
}

impl Values {
    pub fn of(column: &ArrayRef) -> Result<Values> {
        let numeric = column.data_type().is_numeric() || *column.data_type() == DataType::Boolean;
        if numeric {
            let numbers = match column.data_type() {
                DataType::Boolean => cast(&cast(column, &DataType::Int8)?, &DataType::Float64)?,
                _ => cast(column, &DataType::Float64)?,
            };
            let numbers = numbers.as_primitive::<Float64Type>().iter();
            return Ok(Values::Numbers(numbers.map(|number| number.unwrap_or(f64::NAN)).collect()));
        }
        match column.data_type() {
            DataType::Utf8 => Ok(Values::Texts(Arc::clone(column))),
            DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(_, _) => {
                Ok(Values::Texts(cast(column, &DataType::Utf8)?))
            }
            _ => Ok(Values::Present((0..column.len()).map(|row| column.is_valid(row)).collect())),
        }
    }

    fn reference(&self) -> Result<Reference> {
        match self {
            Values::Numbers(numbers) => Reference::numeric(numbers, BINS),
            Values::Texts(texts) => Ok(Reference::categorical(texts.as_string::<i32>().iter(), CATEGORIES)),
            Values::Present(present) => Ok(Reference::categorical(marks(present), CATEGORIES)),
        }
    }

    pub fn compare(&self, reference: &Reference) -> Result<Stability> {
        match self {
            Values::Numbers(numbers) => reference.compare_numbers(numbers),
            Values::Texts(texts) => reference.compare_categories(texts.as_string::<i32>().iter()),
            Values::Present(present) => reference.compare_categories(marks(present)),
        }
    }
}

fn marks(present: &[bool]) -> impl Iterator<Item = Option<&'static str>> + '_ {
    present.iter().map(|present| present.then_some("present"))
}
