//! Rows in the order of their scores, sorted once, so that a metric under any row weights costs one pass.
//!
//! Every metric here is a function of how much weight of either class lies at each distinct score. The bootstrap weighs
//! the same rows a thousand times over: it sorts once and fills in new weights in O(rows).

use crate::error::{Error, Result};

/// The rows that share one score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    pub score: f64,
    /// Weight of the rows of either class.
    pub positives: f64,
    pub negatives: f64,
    /// Negative log likelihood of a positive and of a negative at this score, the score kept 2.2e-16 away from 0 and 1.
    pub losses: [f64; 2],
}

impl Step {
    pub fn mass(&self) -> f64 {
        self.positives + self.negatives
    }
}

/// Rows by score, highest first; within a score in their own order. Unweighted sums are exact whatever that order was.
#[derive(Debug, Clone)]
pub struct Ranked {
    order: Vec<u32>,
    /// By position in `order`: 1 for a positive, 0 for a negative.
    positive: Vec<f64>,
    steps: Vec<Step>,
    /// Where each step ends in `order`.
    ends: Vec<usize>,
}

impl Ranked {
    /// Orders rows by `scores` (finite or infinite, not NaN) and weighs them with `weights`, or 1 each.
    ///
    /// `Internal` error where lengths differ or a score is NaN, which are bugs of the caller; `Data` error where a
    /// weight is negative, infinite or NaN, since weights come from data.
    pub fn new(labels: &[bool], scores: &[f64], weights: Option<&[f64]>) -> Result<Ranked> {
        let mut ranked = Self::unweighted(labels, scores)?;
        if let Some(weights) = weights {
            check_weights(weights, labels.len())?;
            let order = std::mem::take(&mut ranked.order);
            ranked.weigh(|position| weights[order[position] as usize]);
            ranked.order = order;
        }
        Ok(ranked)
    }

    fn unweighted(labels: &[bool], scores: &[f64]) -> Result<Ranked> {
        if labels.len() != scores.len() {
            return Err(Error::internal(format!("metrics of {} labels and {} scores", labels.len(), scores.len())));
        }
        if let Some(row) = scores.iter().position(|score| score.is_nan()) {
            return Err(Error::internal(format!("metrics: the score of row {row} is NaN")));
        }
        let rows = u32::try_from(labels.len())
            .map_err(|_| Error::internal(format!("metrics of {} rows; at most {}", labels.len(), u32::MAX)))?;
        // Zero has two signs that are one score.
        let mut keys: Vec<(f64, u32)> = (0..rows).map(|row| (scores[row as usize] + 0.0, row)).collect();
        keys.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let order: Vec<u32> = keys.iter().map(|key| key.1).collect();
        let positive = order.iter().map(|row| f64::from(u8::from(labels[*row as usize]))).collect();
        let (mut steps, mut ends) = (Vec::new(), Vec::new());
        for tied in keys.chunk_by(|a, b| a.0 == b.0) {
            let score = tied[0].0;
            let p = score.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
            steps.push(Step { score, positives: 0.0, negatives: 0.0, losses: [-p.ln(), -(1.0 - p).ln()] });
            ends.push(ends.last().copied().unwrap_or(0) + tied.len());
        }
        let mut ranked = Ranked { order, positive, steps, ends };
        ranked.weigh(|_| 1.0);
        Ok(ranked)
    }

    /// The row at each position, highest score first.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// Distinct scores, highest first.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Gives the row at each *position* of [`Ranked::order`] a new weight.
    pub fn weigh(&mut self, weight: impl Fn(usize) -> f64) {
        let mut start = 0;
        for (step, &end) in self.steps.iter_mut().zip(&self.ends) {
            let (mut positives, mut mass) = (0.0, 0.0);
            for position in start..end {
                let weight = weight(position);
                mass += weight;
                positives += weight * self.positive[position];
            }
            (step.positives, step.negatives) = (positives, mass - positives);
            start = end;
        }
    }
}

/// Refuses weights that are no weights.
pub fn check_weights(weights: &[f64], rows: usize) -> Result<()> {
    if weights.len() != rows {
        return Err(Error::internal(format!("{} weights for {rows} rows", weights.len())));
    }
    match weights.iter().position(|weight| !weight.is_finite() || *weight < 0.0) {
        Some(row) => Err(Error::data(format!(
            "the weight of row {row} is {}; a weight is a finite number of at least 0",
            weights[row]
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_are_one_step_and_zero_has_one_sign() {
        let ranked = Ranked::new(&[true, false, true, false], &[0.0, 0.5, -0.0, 0.5], None).unwrap();
        assert_eq!(ranked.order(), [1, 3, 0, 2]);
        let steps: Vec<_> = ranked.steps().iter().map(|s| (s.score, s.positives, s.negatives)).collect();
        assert_eq!(steps, [(0.5, 0.0, 2.0), (0.0, 2.0, 0.0)]);
    }

    #[test]
    fn weights_go_with_their_rows_and_can_be_replaced() {
        let mut ranked = Ranked::new(&[true, false, true], &[0.1, 0.9, 0.1], Some(&[2.0, 3.0, 0.5])).unwrap();
        let of = |ranked: &Ranked| -> Vec<_> { ranked.steps().iter().map(|s| (s.positives, s.negatives)).collect() };
        assert_eq!(of(&ranked), [(0.0, 3.0), (2.5, 0.0)]);
        ranked.weigh(|position| position as f64);
        assert_eq!(of(&ranked), [(0.0, 0.0), (3.0, 0.0)]);
    }

    #[test]
    fn what_is_no_weight_names_its_row() {
        for bad in [f64::NAN, -1.0, f64::INFINITY] {
            let error = Ranked::new(&[true, false], &[0.1, 0.2], Some(&[1.0, bad])).unwrap_err();
            assert_eq!(error.kind().code(), 3);
            assert!(error.to_string().starts_with("the weight of row 1 is"), "{error}");
        }
        assert_eq!(Ranked::new(&[true], &[0.1], Some(&[])).unwrap_err().kind().code(), 1);
    }
}
