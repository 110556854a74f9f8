//! Inputs as the columns of a linear model: standardised, complete, finite.
//!
//! Mean and deviation come from the training rows that have the input. A missing input, or one that is not finite, is
//! its mean; where training rows lacked it, a further column says so, as 1 less the share of rows that lacked it (one
//! column for all features that are read from one column of the lake, since they are missing together). Every column so
//! has mean 0 in training, and a margin is what an average row gets plus what each input adds. All of it is kept with
//! the model and replayed when scoring.

use serde::{Deserialize, Serialize};

use super::super::exact;
use super::super::lightgbm::BLOCK_CELLS;
use super::super::matrix::View;
use super::Sample;
use crate::error::{Error, Result};

/// From numbers of features to columns. Fitted once, on training rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standard {
    /// Per feature.
    #[serde(with = "exact::many")]
    means: Vec<f64>,
    /// Per feature: standard deviation, 1 where it is 0.
    #[serde(with = "exact::many")]
    scales: Vec<f64>,
    /// Features whose absence is a column of its own.
    absent: Vec<usize>,
    /// Per such column: the share of training rows that lack it.
    #[serde(with = "exact::many")]
    shares: Vec<f64>,
}

impl Standard {
    pub fn fit(view: &View) -> Result<Standard> {
        let features = view.features();
        let width = features.len();
        let (mut counts, mut sums) = (vec![0u64; width], vec![0.0; width]);
        each(view, |column, number| {
            counts[column] += 1;
            sums[column] += number;
        })?;
        let means: Vec<f64> = sums.iter().zip(&counts).map(|(sum, n)| sum / (*n).max(1) as f64).collect();
        let mut squares = vec![0.0; width];
        each(view, |column, number| squares[column] += (number - means[column]).powi(2))?;
        let scale = |(square, n): (f64, &u64)| match (square / (*n).max(1) as f64).sqrt() {
            deviation if deviation > 0.0 && deviation.is_finite() => deviation,
            _ => 1.0,
        };
        let scales = squares.into_iter().zip(&counts).map(scale).collect();
        let rows = view.len() as u64;
        let first = |index: usize| (0..index).all(|other| features[other].column() != features[index].column());
        let absent: Vec<usize> = (0..width).filter(|i| counts[*i] < rows && counts[*i] > 0 && first(*i)).collect();
        let shares = absent.iter().map(|i| (rows - counts[*i]) as f64 / rows as f64).collect();
        let standard = Standard { means, scales, absent, shares };
        standard.check().map_err(|what| Error::data(format!("inputs too large to standardise: {what}")))?;
        Ok(standard)
    }

    /// Number of features, or what is wrong with what was read.
    pub fn check(&self) -> Result<usize, String> {
        let width = self.means.len();
        if self.scales.len() != width || self.shares.len() != self.absent.len() {
            return Err("has lists of different lengths".into());
        }
        if self.absent.iter().any(|feature| *feature >= width) {
            return Err(format!("names a feature beyond its {width}"));
        }
        let numbers = || self.means.iter().chain(&self.scales).chain(&self.shares);
        if numbers().any(|n| !n.is_finite()) || self.scales.iter().any(|scale| *scale <= 0.0) {
            return Err("holds numbers that are none".into());
        }
        Ok(width)
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.means.len() + self.absent.len()
    }

    /// The feature that a column belongs to.
    pub fn feature(&self, column: usize) -> usize {
        column.checked_sub(self.means.len()).map_or(column, |absent| self.absent[absent])
    }

    /// The columns of one row.
    pub fn apply(&self, numbers: &[f64], out: &mut [f64]) {
        let (values, absences) = out.split_at_mut(self.means.len());
        for (index, number) in numbers.iter().enumerate() {
            let standard = (number - self.means[index]) / self.scales[index];
            values[index] = if standard.is_finite() { standard } else { 0.0 };
        }
        for ((out, feature), share) in absences.iter_mut().zip(&self.absent).zip(&self.shares) {
            *out = f64::from(u8::from(!numbers[*feature].is_finite())) - share;
        }
    }

    /// The columns of every row of a view, a block of rows at a time, with the position of the first.
    pub fn for_each_block(&self, view: &View, mut f: impl FnMut(usize, &[f64]) -> Result<()>) -> Result<()> {
        let (features, width) = (self.means.len().max(1), self.width());
        let mut columns = Vec::new();
        view.for_each_block(BLOCK_CELLS, |first, block| {
            columns.clear();
            columns.resize(block.len() / features * width, 0.0);
            for (numbers, out) in block.chunks_exact(features).zip(columns.chunks_exact_mut(width)) {
                self.apply(numbers, out);
            }
            f(first, &columns)
        })
    }
}

/// Every number that is one, with its feature.
fn each(view: &View, mut f: impl FnMut(usize, f64)) -> Result<()> {
    let width = view.features().len().max(1);
    view.for_each_block(BLOCK_CELLS, |_, block| {
        for row in block.chunks_exact(width) {
            row.iter()
                .enumerate()
                .filter(|(_, number)| number.is_finite())
                .for_each(|(index, number)| f(index, *number));
        }
        Ok(())
    })
}

/// Rows to learn from as columns, in memory: training goes over them many times. 8 bytes a number.
pub struct Dense {
    pub width: usize,
    /// Row-major.
    pub numbers: Vec<f64>,
    /// 1 or 0.
    pub labels: Vec<f64>,
    pub weights: Vec<f64>,
}

impl Dense {
    /// `Data` error where no row weighs anything.
    pub fn of(sample: &Sample, standard: &Standard) -> Result<Dense> {
        let rows = sample.view.len();
        if sample.labels.len() != rows || sample.weights.is_some_and(|weights| weights.len() != rows) {
            return Err(Error::internal(format!("{rows} rows and {} labels", sample.labels.len())));
        }
        let mut numbers = Vec::with_capacity(rows * standard.width());
        standard.for_each_block(&sample.view, |_, block| {
            numbers.extend_from_slice(block);
            Ok(())
        })?;
        let weights: Vec<f64> = (0..rows).map(|row| sample.weight(row)).collect();
        if weights.iter().sum::<f64>() <= 0.0 {
            return Err(Error::data(format!("{rows} rows that weigh nothing together")));
        }
        let labels = sample.labels.iter().map(|label| f64::from(u8::from(*label))).collect();
        Ok(Dense { width: standard.width(), numbers, labels, weights })
    }

    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    pub fn row(&self, row: usize) -> &[f64] {
        &self.numbers[row * self.width..(row + 1) * self.width]
    }
}

/// ln(1 + exp(z)) without overflow.
pub fn softplus(z: f64) -> f64 {
    z.max(0.0) + (-z.abs()).exp().ln_1p()
}

/// 1 / (1 + exp(−z)) without overflow.
pub fn sigmoid(z: f64) -> f64 {
    if z >= 0.0 { 1.0 / (1.0 + (-z).exp()) } else { z.exp() / (1.0 + z.exp()) }
}
