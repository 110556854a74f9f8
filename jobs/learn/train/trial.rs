//! Quick models for a search: trained on the training part of the validation, measured on the rows that stop early. No
//! row of a test part is touched, so what is chosen this way is no more likely to shine there by chance.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::params::Params;
use super::super::split::{self, Validation};
use super::one::STOP_EVERY;
use super::{FitRequest, Fitter, two_classes};
use crate::error::{Error, Result};

/// A request whose rows are parted for trials.
pub struct Prepared<'a> {
    fitter: Fitter<'a>,
    train: Vec<usize>,
    stop: Vec<usize>,
}

/// What one set of parameters reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Rounds of the model: with early stopping, those with the least loss.
    pub rounds: u32,
    /// Per row of [`Prepared::rows`]: what the model says, before any calibration.
    pub probabilities: Vec<f64>,
    /// Whether the caller's watch ended it.
    pub pruned: bool,
}

impl<'a> Prepared<'a> {
    /// Parts the rows: the validation part stops, or one in five entities of the training rows; under a rolling origin
    /// those of the first fold, whose training rows come before every test part. Rows that calibrate take no part.
    ///
    /// Errors as [`super::fit`]'s.
    pub fn new(request: &'a FitRequest<'a>) -> Result<Prepared<'a>> {
        let fitter = Fitter::new(request)?;
        let all = || (0..request.matrix.rows()).collect::<Vec<_>>();
        let (train, valid) = match &request.validation {
            Validation::Time { test, valid } => {
                let parts = split::by_time(request.as_of, *test, *valid, request.embargo)?;
                (parts.train, parts.valid)
            }
            Validation::RollingOrigin { folds, test } => {
                let first = split::rolling(request.as_of, *folds, *test, request.embargo)?.into_iter().next();
                (first.ok_or_else(|| Error::internal("a rolling origin without folds"))?.train, Vec::new())
            }
            Validation::CrossValidation { .. } => (all(), Vec::new()),
        };
        let salt = "time";
        let (_, train) = fitter.hold_out(&train, salt);
        let (_, valid) = fitter.hold_out(&valid, salt);
        let (stop, train) = match valid.is_empty() {
            false => (valid, train),
            true => split::hold_out(request.entities, &train, STOP_EVERY, salt),
        };
        let stop = fitter.told(&stop);
        two_classes("the part that a search trains on", request.labels, &fitter.told(&train))?;
        two_classes("the part that a search measures on", request.labels, &stop)?;
        Ok(Prepared { fitter, train, stop })
    }

    /// The rows that trials are measured on.
    pub fn rows(&self) -> &[usize] {
        &self.stop
    }

    /// Rounds that a trial may take at most.
    pub fn rounds(&self) -> u32 {
        self.fitter.request.rounds
    }

    /// The labels of [`Prepared::rows`].
    pub fn labels(&self) -> Vec<bool> {
        self.stop.iter().map(|row| self.fitter.request.labels[*row]).collect()
    }

    /// Trains with `params` in place of the request's. `watch` is told each round's loss on the rows, and ends the
    /// trial by false. `Definition` error for parameters that are wrong.
    pub fn trial(&self, params: &BTreeMap<String, Value>, watch: &mut dyn FnMut(u32, f64) -> bool) -> Result<Trial> {
        let params = Params::check(self.fitter.request.head, params)?;
        params.check_together()?;
        let fitter = Fitter { request: self.fitter.request, params };
        let mut pruned = false;
        let mut watched = |round, loss| {
            let goes_on = watch(round, loss);
            pruned |= !goes_on;
            goes_on
        };
        let one = fitter.train(&self.train, &self.stop, fitter.request.rounds, &mut watched)?;
        let said = fitter.said(&one, &self.stop)?;
        Ok(Trial { rounds: one.learned.rounds, probabilities: said.probabilities, pruned })
    }
}
