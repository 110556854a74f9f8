//! Logistic regression and the linear support vector machine: a weight per column, found by L-BFGS.
//!
//! Both minimise, over weights w and an intercept b that is not penalised,
//!
//! ```text
//! ½ ‖w‖² + C · Σ sᵢ · loss(yᵢ · (w·xᵢ + b))         y = ±1, s: the row's weight
//! logistic:   loss(m) = ln(1 + exp(−m))             margin: the log odds
//! linear_svm: loss(m) = max(0, 1 − m)²              margin: the signed distance, in units of the margin's half width
//! ```
//!
//! which are scikit-learn's `LogisticRegression(C=…)` and `LinearSVC(C=…)` on the same columns, the latter with an
//! intercept that is not shrunk (C. Cortes and V. Vapnik, "Support-Vector Networks", 1995; squared hinge: R.-E. Fan et
//! al., "LIBLINEAR", 2008). With `penalty: l1` it is ‖w‖₁ in place of ½ ‖w‖²: of columns that say much the same, most
//! get no weight at all. What is minimised then shrinks the intercept, too, as LIBLINEAR does; so the intercept is found
//! once more, given the weights, without a penalty. The minimum is unique, so there is nothing to stop early and no
//! seed to matter. A column's contribution to a row is w·(x − mean).

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::super::exact;
use super::super::matrix::View;
use super::super::threads;
use super::dense::{Dense, Shape, Standard, sigmoid, softplus};
use super::minimise::{self, Smooth};
use super::{Body, Head, Learned, Margins, Params, Task, Watch};
use crate::error::Result;

/// A linear model of standardised columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    inputs: Standard,
    /// Per column.
    #[serde(with = "exact::many")]
    weights: Vec<f64>,
    #[serde(with = "exact::one")]
    intercept: f64,
}

impl Linear {
    /// Number of features, or what is wrong with what was read.
    pub fn check(&self) -> Result<usize, String> {
        let features = self.inputs.check()?;
        if self.weights.len() != self.inputs.width() {
            return Err(format!("has {} weights for {} columns", self.weights.len(), self.inputs.width()));
        }
        match self.weights.iter().chain([&self.intercept]).all(|w| w.is_finite()) {
            true => Ok(features),
            false => Err("holds weights that are no numbers".into()),
        }
    }
}

impl Margins for Linear {
    fn margins(&self, view: &View) -> Result<Vec<f64>> {
        let mut out = Vec::with_capacity(view.len());
        self.inputs.for_each_block(view, |_, block| {
            out.extend(
                block.chunks_exact(self.weights.len().max(1)).map(|row| margin(row, &self.weights, self.intercept)),
            );
            Ok(())
        })?;
        Ok(out)
    }

    fn contributions(&self, view: &View, f: &mut dyn FnMut(usize, &[f64]) -> Result<()>) -> Result<()> {
        let width = view.features().len() + 1;
        let mut out = Vec::new();
        self.inputs.for_each_block(view, |first, block| {
            out.clear();
            for row in block.chunks_exact(self.weights.len().max(1)) {
                let at = out.len();
                out.resize(at + width, 0.0);
                for (column, (number, weight)) in row.iter().zip(&self.weights).enumerate() {
                    out[at + self.inputs.feature(column)] += number * weight;
                }
                out[at + width - 1] = self.intercept;
            }
            f(first, &out)
        })
    }
}

fn margin(row: &[f64], weights: &[f64], intercept: f64) -> f64 {
    intercept + row.iter().zip(weights).map(|(number, weight)| number * weight).sum::<f64>()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    Logistic,
    SquaredHinge,
}

impl Loss {
    /// The loss of a signed margin, and its derivative.
    fn at(self, margin: f64) -> (f64, f64) {
        match self {
            Loss::Logistic => (softplus(-margin), -sigmoid(-margin)),
            Loss::SquaredHinge => {
                let short = (1.0 - margin).max(0.0);
                (short * short, -2.0 * short)
            }
        }
    }
}

pub(super) struct Learner<'a> {
    pub loss: Loss,
    pub params: &'a Params,
}

impl Head for Learner<'_> {
    fn learn(&self, task: &Task, watch: &mut Watch) -> Result<Learned> {
        let inputs = Standard::fit(&task.train.view, Shape::of(self.params))?;
        let rows = Dense::of(&task.train, &inputs)?;
        let is_l1 = self.params.word("penalty") == Some("l1");
        let total: f64 = rows.weights.iter().sum();
        let penalty = 1.0 / (self.params.number("C").unwrap_or(1.0) * total);
        let (l1, l2) = if is_l1 { (penalty, 0.0) } else { (0.0, penalty) };
        let objective = Objective { loss: self.loss, l2, total, rows: &rows };
        // Where weights come to rest at zero, OWL-QN takes twice the steps for digits that no probability shows.
        let tolerance = self.params.number("tol").unwrap_or(if is_l1 { 1e-5 } else { 1e-8 });
        let start = vec![0.0; rows.width + 1];
        let (found, rounds) = threads::on(task.threads, || -> Result<_> {
            let (mut found, rounds) = minimise::lbfgs(&objective, start, l1, task.rounds, tolerance)?;
            if is_l1 {
                let given = Given { objective: &objective, weights: &found[..rows.width] };
                let (intercept, _) = minimise::lbfgs(&given, vec![found[rows.width]], 0.0, task.rounds, tolerance)?;
                found[rows.width] = intercept[0];
            }
            Ok((found, rounds))
        })??;
        let (weights, intercept) = (found[..rows.width].to_vec(), found[rows.width]);
        let mut importances = vec![(0.0, 0.0); inputs.check().unwrap_or(0)];
        for (column, weight) in weights.iter().enumerate() {
            let (matters, used) = &mut importances[inputs.feature(column)];
            *matters += weight.abs();
            *used = if *matters > 0.0 { 1.0 } else { 0.0 };
        }
        let body = Linear { inputs, weights, intercept };
        if let Some(stop) = &task.stop {
            let margins = body.margins(&stop.view)?;
            let loss = margins.iter().enumerate().map(|(row, margin)| {
                let sign = if stop.labels[row] { 1.0 } else { -1.0 };
                stop.weight(row) * self.loss.at(sign * margin).0
            });
            let total: f64 = (0..margins.len()).map(|row| stop.weight(row)).sum();
            watch(rounds, loss.sum::<f64>() / total);
        }
        Ok(Learned { body: Body::Linear(body), rounds, importances })
    }
}

/// Rows whose sums one thread makes at a time. Sums are added up in row order, so that the number of threads, which
/// decides who makes which, leaves no trace.
const CHUNK: usize = 2048;

/// The function to minimise, over C · Σ s so that its gradient has the same scale for any number of rows.
struct Objective<'a> {
    loss: Loss,
    /// 1 / (C · Σ s), or 0 where the penalty is another.
    l2: f64,
    total: f64,
    rows: &'a Dense,
}

impl Smooth for Objective<'_> {
    fn value_and_gradient(&self, at: &[f64]) -> (f64, Vec<f64>) {
        let width = self.rows.width;
        let weights = &at[..width];
        let chunks = self.rows.rows().div_ceil(CHUNK);
        let parts: Vec<_> = (0..chunks).into_par_iter().map(|chunk| self.part(chunk, at)).collect();
        let mut value = weights.iter().map(|w| w * w).sum::<f64>() / 2.0 * self.l2;
        let mut gradient: Vec<f64> = weights.iter().map(|w| w * self.l2).chain([0.0]).collect();
        for (loss, part) in parts {
            value += loss / self.total;
            gradient.iter_mut().zip(part).for_each(|(sum, part)| *sum += part / self.total);
        }
        (value, gradient)
    }
}

/// The same as a function of the intercept alone.
struct Given<'a> {
    objective: &'a Objective<'a>,
    weights: &'a [f64],
}

impl Smooth for Given<'_> {
    fn value_and_gradient(&self, at: &[f64]) -> (f64, Vec<f64>) {
        let (value, gradient) = self.objective.value_and_gradient(&[self.weights, at].concat());
        (value, gradient[self.weights.len()..].to_vec())
    }
}

impl Objective<'_> {
    fn part(&self, chunk: usize, at: &[f64]) -> (f64, Vec<f64>) {
        let width = self.rows.width;
        let mut sum = 0.0;
        let mut gradient = vec![0.0; width + 1];
        for row in chunk * CHUNK..((chunk + 1) * CHUNK).min(self.rows.rows()) {
            let numbers = self.rows.row(row);
            let sign = 2.0 * self.rows.labels[row] - 1.0;
            let (loss, slope) = self.loss.at(sign * margin(numbers, &at[..width], at[width]));
            sum += self.rows.weights[row] * loss;
            let slope = self.rows.weights[row] * slope * sign;
            gradient.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += slope * number);
            gradient[width] += slope;
        }
        (sum, gradient)
    }
}
