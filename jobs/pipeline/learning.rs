//! What is learned from, and how: one spine and one matrix, for as many models as are wanted.
//!
//! `train` fits one; a comparison fits several heads or definitions to identical rows, and a search many parameters.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use serde_json::Value;

use super::spine::{self, Spine};
use crate::define::Model;
use crate::define::model::{ClassWeight, TestPart, Validation as Declared};
use crate::error::Result;
use crate::learn::evaluate::{ALL, Segment};
use crate::learn::matrix::Matrix;
use crate::learn::prior;
use crate::learn::split::{TestStart, Validation};
use crate::learn::train::FitRequest;

/// Rows with their inputs. Owns all of it, so that it may go to another thread.
pub struct Learning {
    pub matrix: Matrix,
    pub labels: Vec<bool>,
    pub entities: Vec<String>,
    /// UTC microseconds.
    pub as_of: Vec<i64>,
    pub weights: Option<Vec<f64>>,
    pub accepted: Option<Vec<bool>>,
    pub segments: Vec<Segment>,
    pub threads: usize,
}

impl Learning {
    /// The rows of a spine with the columns `inputs` of their vectors; `segments` as [`super::vectors::segments`] gives
    /// them.
    pub fn new(
        model: &Model,
        spine: &Spine,
        vectors: &RecordBatch,
        inputs: &[String],
        segments: Vec<Segment>,
        threads: usize,
    ) -> Result<Learning> {
        Ok(Learning {
            matrix: Matrix::from_batches(&vectors.schema(), std::slice::from_ref(vectors), inputs)?,
            labels: spine.labels.clone(),
            entities: spine::entity_texts(&spine.rows, &model.entity)?,
            as_of: spine::instants(&spine.rows, "as_of")?,
            weights: spine.weights.clone(),
            accepted: spine.accepted.clone(),
            segments: segments.into_iter().filter(|(name, _)| name != ALL).collect(),
            threads,
        })
    }

    /// These rows, learned as a definition says, with `params` for its head's.
    pub fn request<'a>(&'a self, model: &'a Model, params: &'a BTreeMap<String, Value>) -> FitRequest<'a> {
        FitRequest {
            matrix: &self.matrix,
            labels: &self.labels,
            entities: &self.entities,
            as_of: &self.as_of,
            weights: self.weights.as_deref(),
            accepted: self.accepted.as_deref(),
            reject: model.reject_inference.as_ref(),
            validation: validation(&model.validation),
            embargo: model.label.known_after(),
            head: model.head.kind,
            params,
            class_weight: match model.head.class_weight {
                ClassWeight::None => prior::ClassWeight::None,
                ClassWeight::Balanced => prior::ClassWeight::Balanced,
            },
            rounds: model.head.rounds,
            early_stopping: (model.head.early_stopping > 0).then_some(model.head.early_stopping),
            seed: u32::try_from(model.head.seed).unwrap_or(u32::MAX),
            threads: self.threads,
            encode: &model.encode,
            monotone: &model.monotone,
            calibration: &model.calibration,
            segments: &self.segments,
            threshold: model.decisions.first().and_then(|d| d.below).unwrap_or(0.5),
        }
    }
}

/// The parameters of a definition's head.
pub fn params(model: &Model) -> Result<BTreeMap<String, Value>> {
    let of = |(name, value): (&String, &serde_yaml::Value)| Ok((name.clone(), serde_json::to_value(value)?));
    model.head.params.iter().map(of).collect()
}

fn validation(declared: &Declared) -> Validation {
    match declared {
        Declared::Time { test, valid } => Validation::Time {
            test: match test {
                TestPart::Last(length) => TestStart::Last(length.micros()),
                TestPart::From(date) => TestStart::From(super::job::end_of(*date) - crate::define::types::DAY),
            },
            valid: valid.map(|v| v.micros()),
        },
        Declared::RollingOrigin { folds, test } => Validation::RollingOrigin { folds: *folds, test: test.micros() },
        Declared::CrossValidation { folds, seeds } => {
            Validation::CrossValidation { folds: *folds, seeds: seeds.clone() }
        }
    }
}
