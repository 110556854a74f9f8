//! Rows to a model with honest metrics: split, learn, calibrate, predict what the model did not see.
//!
//! **By time**: trained on `train`, stopped on `valid`, measured on `test`; the model that is measured is the model
//! that ships. **Rolling origin**: that several times over, each test part predicted by a model of what was known before
//! it; metrics are those of all test parts together, and what ships is the last part's model. **Cross-validation**: per
//! seed and fold, a model of the other folds predicts the fold; metrics are those of the out-of-fold predictions,
//! averaged over seeds. What ships is one model on all rows with the mean number of rounds.
//!
//! Where rows to stop by are not a part of their own, entities held out of the training rows find the number of rounds,
//! and a model of that many is then trained on all of them. Where a definition calibrates, further entities are held out
//! of training and stopping both; under cross-validation the out-of-fold predictions calibrate, those of a fold by a
//! calibrator of the others, so that what is reported was always predicted by what had not seen it.
//!
//! | file | what |
//! |---|---|
//! | `one` | one model on given rows |
//! | `refused` | what rows without an outcome, since they were refused, add to training |
//! | `validate` | which rows those are, and what their models say of the others |
//! | `report` | what is told of it: metrics with intervals, curves, importances, warnings |
//! | `trial` | quick models for a search: trained on the training part, measured on the rows that stop |
//!
//! Same inputs and seed give the same bytes on any number of threads.

mod one;
mod refused;
mod report;
#[cfg(test)]
mod tests;
mod trial;
mod validate;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use report::{CalibrationReport, Contribution, Curves, Importance, Report};
pub use trial::{Prepared, Trial};

use super::baseline::Baseline;
use super::calibrate::Calibrator;
use super::evaluate::Segment;
use super::heads::Body;
use super::inputs::Outcomes;
use super::matrix::{Feature, Matrix};
use super::params::Params;
use super::prior::{ClassWeight, Prior};
use super::split::Validation;
use crate::define::map::Map;
use crate::define::model::{Calibration, Direction, Encodings, HeadKind, RejectInference};
use crate::error::{Error, Result};

/// Everything that a training depends on. Cheap to copy: several heads or definitions can be fitted to one matrix.
#[derive(Clone)]
pub struct FitRequest<'a> {
    /// The inputs of the model, a row per (entity, as_of).
    pub matrix: &'a Matrix,
    /// Per row.
    pub labels: &'a [bool],
    /// Per row; what is held out together, and drawn together by the bootstrap.
    pub entities: &'a [String],
    /// Per row, UTC microseconds.
    pub as_of: &'a [i64],
    /// Per row, how much it counts in training, finite and at least 0; `None` counts every row 1.
    pub weights: Option<&'a [f64]>,
    /// Per row, whether it was accepted, so that its label tells; `None` accepts all. The others take part in training
    /// as `reject` says, and in no metric.
    pub accepted: Option<&'a [bool]>,
    pub reject: Option<&'a RejectInference>,
    pub validation: Validation,
    /// Horizon + delay, microseconds: how long after as_of a label is known.
    pub embargo: i64,
    pub head: HeadKind,
    /// The head's own parameters, see [`Params`].
    pub params: &'a BTreeMap<String, Value>,
    pub class_weight: ClassWeight,
    /// Trees, or passes over the rows, at most.
    pub rounds: u32,
    /// Rounds without improvement before training stops; `None` trains all rounds.
    pub early_stopping: Option<u32>,
    pub seed: u32,
    /// 0 takes as many as OpenMP offers.
    pub threads: usize,
    /// How texts become numbers.
    pub encode: &'a Encodings,
    /// Column → which way it may push.
    pub monotone: &'a Map<Direction>,
    pub calibration: &'a Calibration,
    /// Rows by name, beside `all`; a flag per row.
    pub segments: &'a [Segment],
    /// What counts as called positive in F1.
    pub threshold: f64,
}

/// Which model predicted a row, as far as the row is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Train,
    Valid,
    Calibration,
    Test,
    OutOfFold,
}

impl Part {
    pub fn name(self) -> &'static str {
        match self {
            Part::Train => "train",
            Part::Valid => "valid",
            Part::Calibration => "calibration",
            Part::Test => "test",
            Part::OutOfFold => "out_of_fold",
        }
    }

    /// Whether neither the model nor its number of rounds nor its calibrator has seen the rows.
    pub fn is_out_of_sample(self) -> bool {
        matches!(self, Part::Test | Part::OutOfFold)
    }
}

/// What a model that was not trained on a row says of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutOfSample {
    pub row: usize,
    pub part: Part,
    pub margin: f64,
    /// Before calibration.
    pub uncalibrated: f64,
    /// What is decided on.
    pub probability: f64,
}

/// A trained model with what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    pub head: HeadKind,
    pub body: Body,
    /// Trees, or passes over the rows.
    pub best_iteration: u32,
    pub features: Vec<Feature>,
    pub prior: Prior,
    pub calibrator: Calibrator,
    pub report: Report,
    pub curves: Curves,
    pub baseline: Baseline,
    /// In row order.
    pub predictions: Vec<OutOfSample>,
}

/// Trains and validates a model. Takes LightGBM from time to time; call it from a blocking thread.
///
/// Errors: `Definition` for parameters and settings that are wrong; `Data` where rows or classes are too few for the
/// validation, with counts, and for weights that are none.
pub fn fit(request: &FitRequest) -> Result<Fitted> {
    let fitter = Fitter::new(request)?;
    match &request.validation {
        Validation::Time { test, valid } => fitter.by_time(*test, *valid),
        Validation::RollingOrigin { folds, test } => fitter.rolling_origin(*folds, *test),
        Validation::CrossValidation { folds, seeds } => fitter.cross_validate(*folds, seeds),
    }
}

/// A request that was found sound.
struct Fitter<'a> {
    request: &'a FitRequest<'a>,
    params: Params,
}

impl<'a> Fitter<'a> {
    fn new(request: &'a FitRequest<'a>) -> Result<Fitter<'a>> {
        check(request)?;
        let params = Params::check(request.head, request.params)?;
        params.check_together()?;
        Ok(Fitter { request, params })
    }

    /// Those of `rows` whose label tells.
    fn told(&self, rows: &[usize]) -> Vec<usize> {
        let told = |row: &&usize| self.request.accepted.is_none_or(|accepted| accepted[**row]);
        rows.iter().filter(told).copied().collect()
    }

    fn outcomes(&self) -> Outcomes<'a> {
        let FitRequest { labels, as_of, embargo, weights, .. } = *self.request;
        Outcomes { labels, as_of, known_after: embargo, weights }
    }
}

fn check(request: &FitRequest) -> Result<()> {
    let rows = request.matrix.rows();
    let weights = request.weights.map_or(rows, <[f64]>::len);
    let accepted = request.accepted.map_or(rows, <[bool]>::len);
    for (what, length) in [
        ("labels", request.labels.len()),
        ("entities", request.entities.len()),
        ("as_of", request.as_of.len()),
        ("weights", weights),
        ("flags of acceptance", accepted),
    ] {
        if length != rows {
            return Err(Error::internal(format!("{rows} rows of features, {length} {what}")));
        }
    }
    if let Some((name, flags)) = request.segments.iter().find(|(_, flags)| flags.len() != rows) {
        return Err(Error::internal(format!("{rows} rows of features, {} flags of segment `{name}`", flags.len())));
    }
    if request.matrix.width() == 0 {
        return Err(Error::definition("the model has no inputs"));
    }
    if request.rounds == 0 || request.early_stopping == Some(0) {
        return Err(Error::definition("`rounds` and `early_stopping` must be at least 1"));
    }
    if i32::try_from(request.seed).is_err() || i32::try_from(request.rounds).is_err() {
        return Err(Error::definition(format!("`seed` and `rounds` must be at most {}", i32::MAX)));
    }
    if let Some(row) = request.weights.and_then(|w| w.iter().position(|w| !w.is_finite() || *w < 0.0)) {
        return Err(Error::data(format!(
            "the weight of a row of {} is not a finite number of at least 0",
            request.entities[row]
        )));
    }
    let told: Vec<usize> = (0..rows).filter(|row| request.accepted.is_none_or(|accepted| accepted[*row])).collect();
    two_classes("the training set", request.labels, &told)
}

fn two_classes(what: &str, labels: &[bool], rows: &[usize]) -> Result<()> {
    let positives = rows.iter().filter(|row| labels[**row]).count();
    let negatives = rows.len() - positives;
    if positives > 0 && negatives > 0 {
        return Ok(());
    }
    Err(Error::data(format!(
        "{what} has one class only: {positives} positive and {negatives} negative labels; check the label's `where`, \
         horizon and `eligible`, and whether the history is long enough"
    )))
}
