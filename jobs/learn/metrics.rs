//! How good a probability is: ranking (ROC AUC, average precision, KS, lift) and accuracy (Brier, log loss, F1,
//! calibration error).
//!
//! Definitions are scikit-learn's where it has one, ties and row weights included: a weight acts as that many copies
//! of its row. All of them are functions of the weight of either class at each distinct score, so scores are sorted
//! once ([`super::ranked`]); without weights the ranking metrics use exact counts and do not depend on row order.

use serde::{Deserialize, Serialize};

use super::ranked::{Ranked, Step};
use crate::error::Result;

/// Bins of equal mass in [`Metrics::calibration_error`] and in the reliability curve.
pub const CALIBRATION_BINS: usize = 10;

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
    /// Expected calibration error: Σ (mass of bin / mass) · |base rate of bin − mean probability of bin| over ten bins
    /// of equal mass (M. P. Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI
    /// 2015, with the equal-mass bins of K. Nguyen and B. O'Connor, EMNLP 2015). Tied probabilities are never parted:
    /// they lie in the bin that holds the middle of their mass.
    pub calibration_error: Option<f64>,
    /// Share of positives in the tenth of the mass with the highest scores, over the base rate. Of the rows tied at
    /// the border the part that fits is taken, both classes alike: the mean over all orders of the tied.
    pub lift_10: Option<f64>,
}

/// A metric by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    BaseRate,
    MeanProbability,
    RocAuc,
    AveragePrecision,
    Ks,
    Brier,
    LogLoss,
    F1,
    CalibrationError,
    #[serde(rename = "lift_10")]
    Lift10,
}

impl Metric {
    pub const ALL: [Metric; 10] = [
        Metric::BaseRate,
        Metric::MeanProbability,
        Metric::RocAuc,
        Metric::AveragePrecision,
        Metric::Ks,
        Metric::Brier,
        Metric::LogLoss,
        Metric::F1,
        Metric::CalibrationError,
        Metric::Lift10,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Metric::BaseRate => "base_rate",
            Metric::MeanProbability => "mean_probability",
            Metric::RocAuc => "roc_auc",
            Metric::AveragePrecision => "average_precision",
            Metric::Ks => "ks",
            Metric::Brier => "brier",
            Metric::LogLoss => "log_loss",
            Metric::F1 => "f1",
            Metric::CalibrationError => "calibration_error",
            Metric::Lift10 => "lift_10",
        }
    }

    /// The metric of that name.
    pub fn named(name: &str) -> Option<Metric> {
        Metric::ALL.into_iter().find(|metric| metric.name() == name)
    }

    /// Whether more is better; `None` for what describes the rows rather than the model.
    pub fn higher_is_better(self) -> Option<bool> {
        match self {
            Metric::BaseRate | Metric::MeanProbability => None,
            Metric::RocAuc | Metric::AveragePrecision | Metric::Ks | Metric::F1 | Metric::Lift10 => Some(true),
            Metric::Brier | Metric::LogLoss | Metric::CalibrationError => Some(false),
        }
    }
}

impl Metrics {
    /// Metrics of `probabilities` (any finite numbers for the ranking ones) against `labels`, row by row.
    ///
    /// `Internal` error where lengths differ or a probability is NaN: both are bugs of the caller.
    pub fn of(labels: &[bool], probabilities: &[f64], threshold: f64) -> Result<Metrics> {
        Self::weighted(labels, probabilities, None, threshold)
    }

    /// The same with a weight per row; rows of weight 0 do not exist. `Data` error where a weight is negative,
    /// infinite or NaN.
    pub fn weighted(
        labels: &[bool],
        probabilities: &[f64],
        weights: Option<&[f64]>,
        threshold: f64,
    ) -> Result<Metrics> {
        Ok(Self::of_ranked(&Ranked::new(labels, probabilities, weights)?, threshold))
    }

    /// The same of rows that are sorted and weighed already: one pass over the distinct scores.
    pub fn of_ranked(ranked: &Ranked, threshold: f64) -> Metrics {
        let mut walk = Walk::new(ranked.steps(), threshold);
        if walk.mass() == 0.0 {
            return Metrics::default();
        }
        for step in ranked.steps() {
            walk.take(step);
        }
        walk.metrics()
    }

    pub fn get(&self, metric: Metric) -> Option<f64> {
        match metric {
            Metric::BaseRate => self.base_rate,
            Metric::MeanProbability => self.mean_probability,
            Metric::RocAuc => self.roc_auc,
            Metric::AveragePrecision => self.average_precision,
            Metric::Ks => self.ks,
            Metric::Brier => self.brier,
            Metric::LogLoss => self.log_loss,
            Metric::F1 => self.f1,
            Metric::CalibrationError => self.calibration_error,
            Metric::Lift10 => self.lift_10,
        }
    }

    /// Metrics from a function of the metric.
    pub fn from_fn(f: impl Fn(Metric) -> Option<f64>) -> Metrics {
        Metrics {
            base_rate: f(Metric::BaseRate),
            mean_probability: f(Metric::MeanProbability),
            roc_auc: f(Metric::RocAuc),
            average_precision: f(Metric::AveragePrecision),
            ks: f(Metric::Ks),
            brier: f(Metric::Brier),
            log_loss: f(Metric::LogLoss),
            f1: f(Metric::F1),
            calibration_error: f(Metric::CalibrationError),
            lift_10: f(Metric::Lift10),
        }
    }

    /// Name and value of every metric, for tables.
    pub fn entries(&self) -> [(&'static str, Option<f64>); 10] {
        Metric::ALL.map(|metric| (metric.name(), self.get(metric)))
    }

    /// Combines each metric over several sets; `None` where any of them lacks it.
    pub fn combine(sets: &[Metrics], f: impl Fn(&[f64]) -> f64) -> Metrics {
        Metrics::from_fn(|metric| {
            let values: Option<Vec<f64>> = sets.iter().map(|set| set.get(metric)).collect();
            values.filter(|v| !v.is_empty()).map(|v| f(&v))
        })
    }
}

/// The bin, of `bins` bins of equal mass counted from the lowest score, that holds the middle of a tied group.
pub(super) fn equal_mass_bin(below: f64, group: f64, mass: f64, bins: usize) -> usize {
    let bin = (2.0 * below + group) * bins as f64 / (2.0 * mass);
    (bin as usize).min(bins - 1)
}

/// What has been seen of the steps, from the highest score down.
struct Walk {
    positives: f64,
    negatives: f64,
    threshold: f64,
    /// Weight of either class above the current step.
    above: [f64; 2],
    scores: f64,
    wins: f64,
    precision: f64,
    ks: f64,
    squares: f64,
    losses: f64,
    hits: f64,
    called: f64,
    /// Per calibration bin, labels minus probabilities.
    gaps: [f64; CALIBRATION_BINS],
    captured: f64,
}

impl Walk {
    fn new(steps: &[Step], threshold: f64) -> Walk {
        let (positives, negatives) = steps.iter().fold((0.0, 0.0), |(p, n), s| (p + s.positives, n + s.negatives));
        Walk {
            positives,
            negatives,
            threshold,
            above: [0.0; 2],
            scores: 0.0,
            wins: 0.0,
            precision: 0.0,
            ks: 0.0,
            squares: 0.0,
            losses: 0.0,
            hits: 0.0,
            called: 0.0,
            gaps: [0.0; CALIBRATION_BINS],
            captured: 0.0,
        }
    }

    fn mass(&self) -> f64 {
        self.positives + self.negatives
    }

    #[inline]
    fn take(&mut self, step: &Step) {
        let (p, n, group) = (step.positives, step.negatives, step.mass());
        if group <= 0.0 {
            return;
        }
        let above = self.above[0] + self.above[1];
        let mass = self.mass();
        // Mann–Whitney's U, in halves: exact for counts.
        self.wins += n * (2.0 * self.above[0] + p);
        self.above[0] += p;
        self.above[1] += n;
        self.precision += p * (self.above[0] / (above + group));
        self.ks = self.ks.max((self.above[0] * self.negatives - self.above[1] * self.positives).abs());
        let score = step.score;
        self.scores += group * score;
        self.squares += p * (1.0 - score) * (1.0 - score) + n * score * score;
        self.losses += p * step.losses[0] + n * step.losses[1];
        if score >= self.threshold {
            self.hits += p;
            self.called += group;
        }
        self.gaps[equal_mass_bin(mass - above - group, group, mass, CALIBRATION_BINS)] += p - group * score;
        let tenth = mass / 10.0;
        if above < tenth {
            self.captured += p * ((tenth - above) / group).min(1.0);
        }
    }

    fn metrics(&self) -> Metrics {
        let (positives, negatives, mass) = (self.positives, self.negatives, self.mass());
        let two_classes = |value: f64| (positives > 0.0 && negatives > 0.0).then_some(value);
        Metrics {
            base_rate: Some(positives / mass),
            mean_probability: Some(self.scores / mass),
            roc_auc: two_classes(self.wins / 2.0 / (positives * negatives)),
            average_precision: two_classes(self.precision / positives),
            ks: two_classes(self.ks / (positives * negatives)),
            brier: Some(self.squares / mass),
            log_loss: Some(self.losses / mass),
            f1: (positives > 0.0).then_some(2.0 * self.hits / (positives + self.called)),
            calibration_error: Some(self.gaps.iter().map(|gap| gap.abs()).sum::<f64>() / mass),
            lift_10: (positives > 0.0).then_some(self.captured * 10.0 / positives),
        }
    }
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
        weights: Option<Vec<f64>>,
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
        assert!(cases.len() >= 10 && cases.iter().filter(|case| case.weights.is_some()).count() >= 3);
        for case in cases {
            let labels: Vec<bool> = case.labels.iter().map(|l| *l == 1).collect();
            let got = Metrics::weighted(&labels, &case.probabilities, case.weights.as_deref(), case.threshold).unwrap();
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
        assert_eq!(one_class.lift_10, None);
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

    #[test]
    fn a_metric_and_its_name_are_one() {
        let numbered = Metrics::from_fn(|metric| Some(metric as usize as f64));
        for metric in Metric::ALL {
            assert_eq!(Metric::named(metric.name()), Some(metric));
            assert_eq!(serde_json::to_value(metric).unwrap(), metric.name());
            assert_eq!(serde_json::to_value(numbered).unwrap()[metric.name()], metric as usize as f64);
            assert_eq!(numbered.get(metric), Some(metric as usize as f64));
        }
        assert_eq!(Metric::named("auc"), None);
    }

    #[test]
    fn metrics_written_before_a_metric_was_known_lack_it() {
        let old: Metrics = serde_json::from_str(r#"{"roc_auc": 0.7, "f1": null}"#).unwrap();
        assert_eq!(old, Metrics { roc_auc: Some(0.7), ..Metrics::default() });
    }

    #[test]
    fn calibration_error_by_hand() {
        // Twenty rows in bins of two: eight bins say what is, one says 0.1 where 0.5 is, one 0.9 where 0.5 is.
        let (mut labels, mut probabilities) = (vec![false; 8], (0..8).map(|i| f64::from(i) * 1e-9).collect::<Vec<_>>());
        labels.extend([true, false, true, false]);
        probabilities.extend([0.1, 0.1, 0.9, 0.9]);
        labels.extend([true; 8]);
        probabilities.extend((0..8).map(|i| 1.0 - f64::from(7 - i) * 1e-9));
        let got = Metrics::of(&labels, &probabilities, 0.5).unwrap().calibration_error.unwrap();
        assert!((got - 2.0 * 0.1 * 0.4).abs() < 1e-8, "{got}");
        // All tied: one bin, whose error is the bias.
        let tied = Metrics::of(&[true, false, false, false], &[0.4; 4], 0.5).unwrap();
        assert!((tied.calibration_error.unwrap() - 0.15).abs() < 1e-15);
    }

    #[test]
    fn lift_by_hand() {
        // The top tenth of twenty rows is the first row and one of the four tied behind it, of which half are positive.
        let mut labels = vec![true, true, true, false, false];
        labels.extend([false; 15]);
        let mut scores = vec![0.9, 0.8, 0.8, 0.8, 0.8];
        scores.extend([0.1; 15]);
        let got = Metrics::of(&labels, &scores, 0.5).unwrap().lift_10.unwrap();
        assert!((got - (1.5 / 2.0) / (3.0 / 20.0)).abs() < 1e-12, "{got}");
    }

    /// The definitions, pair by pair and threshold by threshold.
    fn naive(labels: &[bool], scores: &[f64]) -> (Option<f64>, Option<f64>, Option<f64>) {
        let class = |c: bool| -> Vec<f64> {
            labels.iter().zip(scores).filter(|(label, _)| **label == c).map(|(_, score)| *score).collect()
        };
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
        fn a_weight_is_that_many_copies(rows in proptest::collection::vec((any::<bool>(), 0u8..12, 0u8..4), 0..60)) {
            let score = |s: u8| f64::from(s) / 11.0;
            let labels: Vec<bool> = rows.iter().map(|r| r.0).collect();
            let scores: Vec<f64> = rows.iter().map(|r| score(r.1)).collect();
            let weights: Vec<f64> = rows.iter().map(|r| f64::from(r.2)).collect();
            let copies: Vec<(bool, f64)> =
                rows.iter().flat_map(|r| std::iter::repeat_n((r.0, score(r.1)), r.2.into())).collect();
            let (copied, at): (Vec<bool>, Vec<f64>) = copies.into_iter().unzip();
            let weighted = Metrics::weighted(&labels, &scores, Some(&weights), 0.5).unwrap();
            let repeated = Metrics::of(&copied, &at, 0.5).unwrap();
            for ((name, a), (_, b)) in weighted.entries().into_iter().zip(repeated.entries()) {
                prop_assert!(close(a, b), "{name}: {a:?} {b:?}");
            }
        }

        #[test]
        fn ranking_ignores_monotone_maps_and_row_order(rows in proptest::collection::vec((any::<bool>(), 0u8..9), 2..60)) {
            let of = |rows: &[(bool, u8)], f: fn(f64) -> f64| {
                let labels: Vec<bool> = rows.iter().map(|r| r.0).collect();
                let scores: Vec<f64> = rows.iter().map(|r| f(f64::from(r.1))).collect();
                let m = Metrics::of(&labels, &scores, 0.5).unwrap();
                (m.roc_auc, m.average_precision, m.ks, m.lift_10)
            };
            let mut reversed = rows.clone();
            reversed.reverse();
            prop_assert_eq!(of(&rows, |s| s), of(&reversed, |s| s.exp()));
        }
    }
}
