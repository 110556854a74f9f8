//! Inputs as the columns of a linear model: standardised, complete, finite.
//!
//! Mean and deviation come from the training rows that have the input. A missing input, or one that is not finite, is
//! its mean; where training rows lacked it, a further column says so, as 1 less the share of rows that lacked it (one
//! column for all features that are read from one column of the lake, since they are missing together). Every column so
//! has mean 0 in training, and a margin is what an average row gets plus what each input adds. All of it is kept with
//! the model and replayed when scoring.
//!
//! A weight says that each further unit adds the same. Amounts and counts add less the more there are already, so a
//! definition may ask for their [`Shape`]: logarithms, and beside them what levels off.

use serde::{Deserialize, Serialize};

use super::super::exact;
use super::super::lightgbm::BLOCK_CELLS;
use super::super::matrix::View;
use super::super::params::Params;
use super::Sample;
use crate::error::{Error, Result};

/// What is made of a number before it is standardised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    #[default]
    None,
    /// sign(x) · ln(1 + |x|).
    Log,
    /// The same; and of it, standardised, the hyperbolic tangent at each of [`BENDS`], as further columns.
    Saturating,
}

/// How soon a column levels off: at some 2 deviations from the mean, and at 1.
const BENDS: [f64; 2] = [1.0, 2.0];

impl Shape {
    pub const NAMES: [&str; 3] = ["none", "log", "saturating"];

    /// What the parameters of a head ask for.
    pub fn of(params: &Params) -> Shape {
        match params.word("transform") {
            Some("log") => Shape::Log,
            Some("saturating") => Shape::Saturating,
            _ => Shape::None,
        }
    }

    fn is_none(&self) -> bool {
        *self == Shape::None
    }

    fn apply(self, number: f64) -> f64 {
        match self {
            Shape::None => number,
            Shape::Log | Shape::Saturating => number.signum() * number.abs().ln_1p(),
        }
    }

    fn bends(self) -> &'static [f64] {
        if self == Shape::Saturating { &BENDS } else { &[] }
    }
}

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
    #[serde(default, skip_serializing_if = "Shape::is_none")]
    shape: Shape,
    /// Mean and deviation of the columns that level off: of all features by the first bend, then by the second.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "exact::many")]
    bent_means: Vec<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "exact::many")]
    bent_scales: Vec<f64>,
}

impl Standard {
    pub fn fit(view: &View, shape: Shape) -> Result<Standard> {
        let features = view.features();
        let width = features.len();
        let (counts, means, scales) = moments(view, |_, number| shape.apply(number))?;
        let (mut bent_means, mut bent_scales) = (Vec::new(), Vec::new());
        for bend in shape.bends() {
            let bent = |index: usize, number| (bend * (shape.apply(number) - means[index]) / scales[index]).tanh();
            let (_, means, scales) = moments(view, bent)?;
            bent_means.extend(means);
            bent_scales.extend(scales);
        }
        let rows = view.len() as u64;
        let first = |index: usize| (0..index).all(|other| features[other].column() != features[index].column());
        let absent: Vec<usize> = (0..width).filter(|i| counts[*i] < rows && counts[*i] > 0 && first(*i)).collect();
        let shares = absent.iter().map(|i| (rows - counts[*i]) as f64 / rows as f64).collect();
        let standard = Standard { means, scales, absent, shares, shape, bent_means, bent_scales };
        standard.check().map_err(|what| Error::data(format!("inputs too large to standardise: {what}")))?;
        Ok(standard)
    }

    /// Number of features, or what is wrong with what was read.
    pub fn check(&self) -> Result<usize, String> {
        let width = self.means.len();
        let bent = self.shape.bends().len() * width;
        let same = self.scales.len() == width && self.shares.len() == self.absent.len();
        if !same || self.bent_means.len() != bent || self.bent_scales.len() != bent {
            return Err("has lists of different lengths".into());
        }
        if self.absent.iter().any(|feature| *feature >= width) {
            return Err(format!("names a feature beyond its {width}"));
        }
        let scales = || self.scales.iter().chain(&self.bent_scales);
        let mut numbers = self.means.iter().chain(&self.shares).chain(&self.bent_means).chain(scales());
        if numbers.any(|n| !n.is_finite()) || scales().any(|scale| *scale <= 0.0) {
            return Err("holds numbers that are none".into());
        }
        Ok(width)
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.means.len() + self.absent.len() + self.bent_means.len()
    }

    /// The feature that a column belongs to.
    pub fn feature(&self, column: usize) -> usize {
        let (features, absent) = (self.means.len(), self.absent.len());
        match column.checked_sub(features) {
            None => column,
            Some(more) if more < absent => self.absent[more],
            Some(more) => (more - absent) % features,
        }
    }

    /// The columns of one row.
    pub fn apply(&self, numbers: &[f64], out: &mut [f64]) {
        let features = self.means.len();
        let (values, more) = out.split_at_mut(features);
        let (absences, bent) = more.split_at_mut(self.absent.len());
        for (index, number) in numbers.iter().enumerate() {
            let standard = (self.shape.apply(*number) - self.means[index]) / self.scales[index];
            values[index] = if standard.is_finite() { standard } else { 0.0 };
            for (number, bend) in self.shape.bends().iter().enumerate() {
                let at = number * features + index;
                let column = ((bend * standard).tanh() - self.bent_means[at]) / self.bent_scales[at];
                bent[at] = if standard.is_finite() { column } else { 0.0 };
            }
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

/// How many rows have each feature; mean and deviation of what is made of its numbers, 1 where that is 0.
fn moments(view: &View, of: impl Fn(usize, f64) -> f64) -> Result<(Vec<u64>, Vec<f64>, Vec<f64>)> {
    let width = view.features().len();
    let (mut counts, mut sums) = (vec![0u64; width], vec![0.0; width]);
    each(view, |column, number| {
        counts[column] += 1;
        sums[column] += of(column, number);
    })?;
    let means: Vec<f64> = sums.iter().zip(&counts).map(|(sum, n)| sum / (*n).max(1) as f64).collect();
    let mut squares = vec![0.0; width];
    each(view, |column, number| squares[column] += (of(column, number) - means[column]).powi(2))?;
    let scale = |(square, n): (f64, &u64)| match (square / (*n).max(1) as f64).sqrt() {
        deviation if deviation > 0.0 && deviation.is_finite() => deviation,
        _ => 1.0,
    };
    let scales = squares.into_iter().zip(&counts).map(scale).collect();
    Ok((counts, means, scales))
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
