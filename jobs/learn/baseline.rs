//! What a model was trained on, in brief: the distribution of each input and of its probabilities, kept with the model
//! so that every later night can be compared with it without a training row.

use arrow::array::RecordBatch;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::exact;
use super::matrix::{Class, Feature, Matrix};
use super::stability::{BINS, CATEGORIES, Reference, Stability};
use super::threads;
use crate::error::{Error, Result};

/// Distributions in the training rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// How many the distributions are of.
    pub rows: u64,
    /// Share of labels that are true, of all.
    #[serde(with = "exact::one")]
    pub base_rate: f64,
    /// Of rows out of sample: what is decided on.
    pub probabilities: Option<Reference>,
    pub inputs: Vec<Input>,
}

/// The distribution of one input: of a column, or of the share of one value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    pub feature: String,
    pub class: Class,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    pub reference: Reference,
}

impl Input {
    fn feature(&self, arrow_type: &str) -> Feature {
        Feature {
            name: self.feature.clone(),
            class: self.class,
            arrow_type: arrow_type.to_string(),
            vocabulary: None,
            value: self.value.clone(),
            target: None,
        }
    }

    /// Whether it has one value only, or none.
    pub fn is_constant(&self) -> bool {
        let of =
            |counts: &mut dyn Iterator<Item = u64>, nulls: u64| counts.chain([nulls]).filter(|n| *n > 0).count() < 2;
        match &self.reference {
            Reference::Numeric { counts, nulls, .. } => of(&mut counts.iter().copied(), *nulls),
            Reference::Categorical { counts, other, nulls } => {
                of(&mut counts.values().copied().chain([*other]), *nulls)
            }
        }
    }
}

impl Baseline {
    /// The inputs in `rows` of the matrix; of columns of shares, the values that `features` know.
    pub fn of(
        matrix: &Matrix,
        features: &[Feature],
        rows: &[usize],
        base_rate: f64,
        threads: usize,
    ) -> Result<Baseline> {
        let columns: Vec<(&str, Class)> = matrix.columns().collect();
        let of = |(column, (name, class)): (usize, (&str, Class))| -> Result<Vec<Input>> {
            let input = |feature: &str, value: Option<&String>, reference| Input {
                feature: feature.to_string(),
                class,
                value: value.cloned(),
                reference,
            };
            let numeric = |feature: &Feature| Reference::numeric(&numbers(matrix, feature, rows)?, BINS);
            match class {
                Class::Categorical => Ok(vec![input(name, None, texts(matrix, column, rows))]),
                Class::Numeric | Class::Time => Ok(vec![input(name, None, numeric(&matrix.plain(column))?)]),
                Class::Share => {
                    let chosen = features.iter().filter(|f| f.class == Class::Share && f.column() == name);
                    chosen.map(|f| Ok(input(&f.name, f.value.as_ref(), numeric(f)?))).collect()
                }
            }
        };
        let inputs: Vec<Vec<Input>> =
            threads::on(threads, || columns.into_par_iter().enumerate().map(of).collect::<Result<_>>())??;
        let inputs = inputs.into_iter().flatten().collect();
        Ok(Baseline { rows: rows.len() as u64, base_rate, probabilities: None, inputs })
    }

    /// How far each input of a batch lies from it. `Definition` error where a column is missing or of another class.
    pub fn compare(&self, batch: &RecordBatch) -> Result<Vec<(String, Stability)>> {
        let mut names: Vec<String> = self.inputs.iter().map(|input| input.feature("").column().to_string()).collect();
        names.dedup();
        let matrix = Matrix::from_batches(&batch.schema(), std::slice::from_ref(batch), &names)?;
        let rows: Vec<usize> = (0..matrix.rows()).collect();
        let compared = |input: &Input| -> Result<(String, Stability)> {
            let stability = match input.class {
                Class::Categorical => {
                    let column = names.iter().position(|name| *name == input.feature);
                    let column = column.ok_or_else(|| Error::internal(format!("no column {}", input.feature)))?;
                    input.reference.compare_categories(matrix.texts(column))?
                }
                _ => input.reference.compare_numbers(&numbers(&matrix, &input.feature("as in training"), &rows)?)?,
            };
            Ok((input.feature.clone(), stability))
        };
        self.inputs.iter().map(compared).collect()
    }
}

/// One feature of some rows, NaN where missing.
fn numbers(matrix: &Matrix, feature: &Feature, rows: &[usize]) -> Result<Vec<f64>> {
    let mut out = Vec::with_capacity(rows.len());
    matrix.view(std::slice::from_ref(feature), rows)?.for_each_block(usize::MAX, |_, block| {
        out.extend_from_slice(block);
        Ok(())
    })?;
    Ok(out)
}

fn texts(matrix: &Matrix, column: usize, rows: &[usize]) -> Reference {
    let all: Vec<Option<&str>> = matrix.texts(column).collect();
    Reference::categorical(rows.iter().map(|row| all[*row]), CATEGORIES)
}
