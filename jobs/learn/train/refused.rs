//! What rows without an outcome, since they were refused, add to training: see [`super::super::reject`].
//!
//! The chance of acceptance, and the risk of who was refused, are said by logistic regressions on the model's own
//! inputs, fitted on the same rows as the model.

use std::collections::BTreeMap;

use super::super::heads::dense::sigmoid;
use super::super::heads::{self, Sample, Task};
use super::super::inputs::{Inputs, Texts};
use super::super::params::Params;
use super::super::reject::{self, Applications, Inferred};
use super::Fitter;
use crate::define::model::{Encodings, HeadKind, RejectKind};
use crate::error::{Error, Result};

/// Bands of augmentation and parcelling.
const BANDS: usize = 10;

/// No row speaks for more than so many.
const MOST: f64 = 20.0;

/// Rows to train on: a row may come twice, with either label.
pub(super) struct Learnable {
    pub rows: Vec<usize>,
    pub labels: Vec<bool>,
    /// Beside the classes' weights; `None` weighs every row 1.
    pub weights: Option<Vec<f64>>,
}

impl Fitter<'_> {
    /// What `rows` are to training: as they are, unless some of them were refused.
    pub(super) fn learnable(&self, rows: &[usize]) -> Result<Learnable> {
        let request = self.request;
        let own = |row: usize| request.weights.map_or(1.0, |weights| weights[row]);
        let told = self.told(rows);
        let kind = request.reject.map_or(RejectKind::None, |reject| reject.kind);
        if told.len() == rows.len() || kind == RejectKind::None {
            return Ok(Learnable {
                labels: told.iter().map(|row| request.labels[*row]).collect(),
                weights: request.weights.map(|_| told.iter().map(|row| own(*row)).collect()),
                rows: told,
            });
        }
        let accepted = request.accepted.ok_or_else(|| Error::internal("refused rows without flags"))?;
        let of = |flags: &[bool]| -> Vec<bool> { rows.iter().map(|row| flags[*row]).collect() };
        let (flags, bad) = (of(accepted), of(request.labels));
        let applications = Applications { accepted: &flags, bad: &bad };
        let factor = request.reject.and_then(|reject| reject.factor).unwrap_or(1.0);
        let inferred: Vec<Inferred> = match kind {
            RejectKind::None => Vec::new(),
            RejectKind::Augmentation => {
                reject::augmentation(&applications, &self.logistic(rows, rows, accepted)?, BANDS)?
            }
            RejectKind::InversePropensity => {
                reject::inverse_propensity(&applications, &self.logistic(rows, rows, accepted)?, MOST)?
            }
            RejectKind::Parcelling => {
                let risk = self.logistic(&told, rows, request.labels)?;
                reject::parcelling(&applications, &risk, BANDS, factor, u64::from(request.seed))?
            }
            RejectKind::Fuzzy => reject::fuzzy(&applications, &self.logistic(&told, rows, request.labels)?, factor)?,
        };
        Ok(Learnable {
            rows: inferred.iter().map(|inferred| rows[inferred.row]).collect(),
            labels: inferred.iter().map(|inferred| inferred.bad).collect(),
            weights: Some(inferred.iter().map(|inferred| inferred.weight * own(rows[inferred.row])).collect()),
        })
    }

    /// Probabilities of `asked` that `flags` are set, by a logistic regression on `rows`.
    fn logistic(&self, rows: &[usize], asked: &[usize], flags: &[bool]) -> Result<Vec<f64>> {
        let request = self.request;
        // Columns of single values: a mean of labels would know whose label tells.
        let encodings = Encodings::default();
        let texts = Texts { encodings: &encodings, native: false };
        let inputs = Inputs::fit(request.matrix, rows, texts, self.outcomes())?;
        let labels: Vec<bool> = rows.iter().map(|row| flags[*row]).collect();
        let train = Sample { view: inputs.view(request.matrix, rows)?, labels: &labels, weights: None };
        let monotone = vec![0; inputs.features.len()];
        let (rounds, threads) = (1000, request.threads);
        let task = Task { train, stop: None, rounds, patience: None, seed: 0, threads, monotone: &monotone };
        let params = Params::check(HeadKind::Logistic, &BTreeMap::new())?;
        let learned = heads::head(HeadKind::Logistic, &params).learn(&task, &mut |_, _| true)?;
        let model = learned.body.load(&inputs.features, learned.rounds, threads)?;
        let margins = model.margins(&inputs.view(request.matrix, asked)?)?;
        Ok(margins.into_iter().map(sigmoid).collect())
    }
}
