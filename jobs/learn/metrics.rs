//! How good a probability is: ranking (ROC AUC, average precision, KS) and accuracy (Brier, log loss, F1).
//!
//! Definitions are scikit-learn's, ties included. All of them are functions of the label counts at each distinct
//! score, so scores are sorted once; ranking metrics use exact integer counts and do not depend on row order.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Metrics of a set of rows; `None` where the rows do not define it (no rows, or one class where two are needed).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Share of positive labels.
    pub base_rate: Option<f64>,
    /// Mean probability; beside the base rate it shows bias.
    pub mean_probability: Option<f64>,
    /// Probability that a random positive scores above a random negative, ties counting one half.
    pub roc_auc: Option<f64>,
    /// Σ (Rₙ − Rₙ₋₁) Pₙ over the distinct scores, from the highest (`sklearn.metrics.average_precision_score`).
    pub average_precision: Option<f64>,
    /// Kolmogorov–Smirnov: the largest distance between the two classes' score distributions.
    pub ks: Option<f64>,
    /// Mean squared difference between probability and label.
    pub brier: Option<f64>,
    /// Mean negative log likelihood, probabilities kept 2.2e-16 away from 0 and 1.
    pub log_loss: Option<f64>,
    /// Harmonic mean of precision and recall when `probability >= threshold` is called positive.
    pub f1: Option<f64>,
}

impl Metrics {
    /// Metrics of `probabilities` (any finite numbers for the ranking ones) against `labels`, row by row.
    ///
    /// `Internal` error where lengths differ or a probability is NaN: both are bugs of the caller.
    pub fn of(labels: &[bool], probabilities: &[f64], threshold: f64) -> Result<Metrics> {
        if labels.len() != probabilities.len() {
            return Err(Error::internal(format!(
                "metrics of {} labels and {} probabilities",
                labels.len(),
                probabilities.len()
            )));
        }
        if let Some(row) = probabilities.iter().position(|p| p.is_nan()) {
            return Err(Error::internal(format!("metrics: the probability of row {row} is NaN")));
        }
        if labels.is_empty() {
            return Ok(Metrics::default());
        }
        let n = labels.len() as f64;
        let mean = |f: fn(f64, bool) -> f64| Some(pairs(labels, probabilities).map(|(l, p)| f(p, l)).sum::<f64>() / n);
        let steps = Steps::of(labels, probabilities);
        Ok(Metrics {
            base_rate: Some(steps.positives as f64 / n),
            mean_probability: mean(|p, _| p),
            roc_auc: steps.roc_auc(),
            average_precision: steps.average_precision(),
            ks: steps.ks(),
            brier: mean(|p, label| (p - f64::from(u8::from(label))).powi(2)),
            log_loss: mean(|p, label| {
                let p = p.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
                -(if label { p } else { 1.0 - p }).ln()
            }),
            f1: f1(labels, probabilities, threshold),
        })
    }

    /// Name and value of every metric, for tables.
    pub fn entries(&self) -> [(&'static str, Option<f64>); 8] {
        [
            ("base_rate", self.base_rate),
            ("mean_probability", self.mean_probability),
            ("roc_auc", self.roc_auc),
            ("average_precision", self.average_precision),
            ("ks", self.ks),
            ("brier", self.brier),
            ("log_loss", self.log_loss),
            ("f1", self.f1),
        ]
    }

    /// Combines each metric over several sets; `None` where any of them lacks it.
    pub fn combine(sets: &[Metrics], f: impl Fn(&[f64]) -> f64) -> Metrics {
        let over = |get: fn(&Metrics) -> Option<f64>| {
            let values: Option<Vec<f64>> = sets.iter().map(get).collect();
            values.filter(|v| !v.is_empty()).map(|v| f(&v))
        };
        Metrics {
            base_rate: over(|m| m.base_rate),
            mean_probability: over(|m| m.mean_probability),
            roc_auc: over(|m| m.roc_auc),
            average_precision: over(|m| m.average_precision),
            ks: over(|m| m.ks),
            brier: over(|m| m.brier),
            log_loss: over(|m| m.log_loss),
            f1: over(|m| m.f1),
        }
    }
}

fn pairs<'a>(labels: &'a [bool], scores: &'a [f64]) -> impl Iterator<Item = (bool, f64)> + 'a {
    labels.iter().copied().zip(scores.iter().copied())
}

/// Positives and negatives at each distinct score, highest score first.
struct Steps {
    counts: Vec<(u64, u64)>,
    positives: u64,
    negatives: u64,
}

impl Steps {
    fn of(labels: &[bool], scores: &[f64]) -> Steps {
        // Zero has two signs that are one score.
        let mut rows: Vec<(f64, bool)> = pairs(labels, scores).map(|(label, score)| (score + 0.0, label)).collect();
        rows.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let counts: Vec<(u64, u64)> = rows
            .chunk_by(|a, b| a.0 == b.0)
            .map(|tied| {
                let positives = tied.iter().filter(|(_, label)| *label).count() as u64;
                (positives, tied.len() as u64 - positives)
            })
            .collect();
        let positives = counts.iter().map(|c| c.0).sum();
        let negatives = counts.iter().map(|c| c.1).sum();
        Steps { counts, positives, negatives }
    }

    fn two_classes(&self) -> Option<(f64, f64)> {
        (self.positives > 0 && self.negatives > 0).then_some((self.positives as f64, self.negatives as f64))
    }

    /// Mann–Whitney's U over the number of pairs; U is counted in halves, exactly.
    fn roc_auc(&self) -> Option<f64> {
        let (positives, negatives) = self.two_classes()?;
        let (mut below, mut halves) = (self.negatives, 0u128);
        for &(p, n) in &self.counts {
            below -= n;
            halves += u128::from(p) * (2 * u128::from(below) + u128::from(n));
        }
        Some(halves as f64 / 2.0 / (positives * negatives))
    }

    fn average_precision(&self) -> Option<f64> {
        let (positives, _) = self.two_classes()?;
        let (mut hits, mut taken, mut sum) = (0u64, 0u64, 0.0);
        for &(p, n) in &self.counts {
            hits += p;
            taken += p + n;
            sum += p as f64 / positives * (hits as f64 / taken as f64);
        }
        Some(sum)
    }

    fn ks(&self) -> Option<f64> {
        let (positives, negatives) = self.two_classes()?;
        let (mut p, mut n, mut largest) = (0u64, 0u64, 0.0f64);
        for step in &self.counts {
            p += step.0;
            n += step.1;
            largest = largest.max((p as f64 / positives - n as f64 / negatives).abs());
        }
        Some(largest)
    }
}

fn f1(labels: &[bool], probabilities: &[f64], threshold: f64) -> Option<f64> {
    let (mut hits, mut called, mut positives) = (0u64, 0u64, 0u64);
    for (label, p) in pairs(labels, probabilities) {
        positives += u64::from(label);
        called += u64::from(p >= threshold);
        hits += u64::from(label && p >= threshold);
    }
    (positives > 0).then(|| 2.0 * hits as f64 / (positives + called) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Values of scikit-learn on fixed rows, written by tests/interop/learn/sklearn_metrics.py.
    const REFERENCE: &str = include_str!("../../tests/interop/learn/metrics.json");

    #[derive(Deserialize)]
    struct Case {
        name: String,
        labels: Vec<u8>,
        probabilities: Vec<f64>,
        threshold: f64,
        expected: Metrics,
    }

    fn close(a: Option<f64>, b: Option<f64>) -> bool {
        match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-12 * (1.0 + b.abs()),
            (a, b) => a == b,
        }
    }

    #[test]
    fn equal_scikit_learn() {
        let cases: Vec<Case> = serde_json::from_str(REFERENCE).unwrap();
        assert!(cases.len() >= 6);
        for case in cases {
            let labels: Vec<bool> = case.labels.iter().map(|l| *l == 1).collect();
            let got = Metrics::of(&labels, &case.probabilities, case.threshold).unwrap();
            for ((name, got), (_, expected)) in got.entries().into_iter().zip(case.expected.entries()) {
                assert!(close(got, expected), "{}: {name} is {got:?}, scikit-learn says {expected:?}", case.name);
            }
        }
    }

    #[test]
    fn what_the_rows_do_not_define_is_none() {
        assert_eq!(Metrics::of(&[], &[], 0.5).unwrap(), Metrics::default());
        let one_class = Metrics::of(&[false, false], &[0.1, 0.2], 0.5).unwrap();
        assert_eq!([one_class.roc_auc, one_class.average_precision, one_class.ks, one_class.f1], [None; 4]);
        assert_eq!(one_class.base_rate, Some(0.0));
        assert!(one_class.brier.is_some() && one_class.log_loss.is_some());
    }

    #[test]
    fn wrong_calls_are_errors() {
        assert!(Metrics::of(&[true], &[], 0.5).is_err());
        assert!(Metrics::of(&[true], &[f64::NAN], 0.5).unwrap_err().to_string().contains("row 0 is NaN"));
    }

    #[test]
    fn combining_needs_every_set() {
        let set = |auc| Metrics { roc_auc: auc, ..Metrics::default() };
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        assert_eq!(Metrics::combine(&[set(Some(0.5)), set(Some(0.7))], mean).roc_auc, Some(0.6));
        assert_eq!(Metrics::combine(&[set(Some(0.5)), set(None)], mean).roc_auc, None);
        assert_eq!(Metrics::combine(&[], mean), Metrics::default());
    }

    /// The definitions, pair by pair and threshold by threshold.
    fn naive(labels: &[bool], scores: &[f64]) -> (Option<f64>, Option<f64>, Option<f64>) {
        let class = |c: bool| -> Vec<f64> { pairs(labels, scores).filter(|(l, _)| *l == c).map(|(_, s)| s).collect() };
        let (pos, neg) = (class(true), class(false));
        if pos.is_empty() || neg.is_empty() {
            return (None, None, None);
        }
        let share = |of: &[f64], t: f64| of.iter().filter(|s| **s >= t).count() as f64 / of.len() as f64;
        let mut wins = 0.0;
        for p in &pos {
            for n in &neg {
                wins += if p > n {
                    1.0
                } else if p == n {
                    0.5
                } else {
                    0.0
                };
            }
        }
        let mut thresholds = scores.to_vec();
        thresholds.sort_by(|a, b| b.total_cmp(a));
        thresholds.dedup();
        let (mut ap, mut recall, mut ks) = (0.0, 0.0, 0.0f64);
        for t in thresholds {
            let hits = pos.iter().filter(|s| **s >= t).count() as f64;
            let taken = scores.iter().filter(|s| **s >= t).count() as f64;
            ap += (share(&pos, t) - recall) * (hits / taken);
            recall = share(&pos, t);
            ks = ks.max((share(&pos, t) - share(&neg, t)).abs());
        }
        (Some(wins / (pos.len() * neg.len()) as f64), Some(ap), Some(ks))
    }

    proptest! {
        #[test]
        fn equal_the_definitions(rows in proptest::collection::vec((any::<bool>(), 0u8..12), 0..80)) {
            let labels: Vec<bool> = rows.iter().map(|r| r.0).collect();
            let scores: Vec<f64> = rows.iter().map(|r| f64::from(r.1) / 11.0).collect();
            let got = Metrics::of(&labels, &scores, 0.5).unwrap();
            let (auc, ap, ks) = naive(&labels, &scores);
            prop_assert!(close(got.roc_auc, auc), "{:?} {:?}", got.roc_auc, auc);
            prop_assert!(close(got.average_precision, ap), "{:?} {:?}", got.average_precision, ap);
            prop_assert!(close(got.ks, ks), "{:?} {:?}", got.ks, ks);
        }

        #[test]
        fn ranking_ignores_monotone_maps_and_row_order(rows in proptest::collection::vec((any::<bool>(), 0u8..9), 2..60)) {
            let of = |rows: &[(bool, u8)], f: fn(f64) -> f64| {
                let labels: Vec<bool> = rows.iter().map(|r| r.0).collect();
                let scores: Vec<f64> = rows.iter().map(|r| f(f64::from(r.1))).collect();
                let m = Metrics::of(&labels, &scores, 0.5).unwrap();
                (m.roc_auc, m.average_precision, m.ks)
            };
            let mut reversed = rows.clone();
            reversed.reverse();
            prop_assert_eq!(of(&rows, |s| s), of(&reversed, |s| s.exp()));
        }
    }
}
