//! The curves that a report draws of one set of rows: ROC, precision–recall, reliability, lift and score histogram.
//!
//! Each is a short list of plain points, whatever the number of rows, small enough to be stored with the model and
//! drawn later. Thinning keeps true points of the full curve and never invents one.

use serde::{Deserialize, Serialize};

use super::metrics::{CALIBRATION_BINS, equal_mass_bin};
use super::ranked::{Ranked, Step, check_weights};
use crate::error::{Error, Result};

/// Points of a curve at most.
pub const POINTS: usize = 200;

/// Parts of equal mass in [`lift`].
pub const DECILES: usize = 10;

/// Of the rows with `score >= threshold`: which share of either class they are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RocPoint {
    /// The lowest score that is called positive; `None` for the origin, where nothing is.
    pub threshold: Option<f64>,
    pub false_positive_rate: f64,
    pub true_positive_rate: f64,
}

/// Of the rows with `score >= threshold`: how many of the positives they hold, and how pure they are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PrecisionRecallPoint {
    pub threshold: f64,
    pub recall: f64,
    pub precision: f64,
}

/// One bin of equal mass of the reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Weight of its rows.
    pub mass: f64,
    pub mean_probability: f64,
    /// Share of positives, with the 95 % interval of E. B. Wilson, "Probable Inference", JASA 1927.
    pub observed: f64,
    pub low: f64,
    pub high: f64,
}

/// A tenth of the mass, the highest scores first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LiftBin {
    /// From 1.
    pub decile: u32,
    /// Share of positives.
    pub rate: f64,
    /// `rate` over the base rate.
    pub lift: f64,
    /// Share of all positives in this decile and those above it.
    pub captured: f64,
}

/// Weight of either class whose score lies in `[from, to)`; the last bin includes `to`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HistogramBin {
    pub from: f64,
    pub to: f64,
    pub positives: f64,
    pub negatives: f64,
}

/// The ROC curve from (0, 0) to (1, 1); empty where a class is missing.
pub fn roc(ranked: &Ranked) -> Vec<RocPoint> {
    let Some(totals) = Totals::of(ranked.steps()).two_classes() else { return Vec::new() };
    let mut out = vec![RocPoint { threshold: None, false_positive_rate: 0.0, true_positive_rate: 0.0 }];
    let along = |c: &Cumulated| c.positives / totals.positives + c.negatives / totals.negatives;
    out.extend(thin(&cumulated(ranked.steps()), POINTS - 1, along).map(|c| RocPoint {
        threshold: Some(c.score),
        false_positive_rate: c.negatives / totals.negatives,
        true_positive_rate: c.positives / totals.positives,
    }));
    out
}

/// Precision at each threshold where recall grows, the highest threshold first; empty where a class is missing.
pub fn precision_recall(ranked: &Ranked) -> Vec<PrecisionRecallPoint> {
    let Some(totals) = Totals::of(ranked.steps()).two_classes() else { return Vec::new() };
    let grown: Vec<Cumulated> = cumulated(ranked.steps()).into_iter().filter(|c| c.grown).collect();
    thin(&grown, POINTS, |c| c.positives / totals.positives)
        .map(|c| PrecisionRecallPoint {
            threshold: c.score,
            recall: c.positives / totals.positives,
            precision: c.positives / (c.positives + c.negatives),
        })
        .collect()
}

/// Predicted against observed in bins of equal mass, the lowest first; the bins of `Metrics::calibration_error`. Bins
/// that ties leave empty are left out.
pub fn reliability(ranked: &Ranked) -> Vec<ReliabilityBin> {
    let mass = Totals::of(ranked.steps()).mass();
    let mut bins = [(0.0, 0.0, 0.0); CALIBRATION_BINS];
    let mut above = 0.0;
    for step in ranked.steps().iter().filter(|step| step.mass() > 0.0) {
        let group = step.mass();
        let bin = &mut bins[equal_mass_bin(mass - above - group, group, mass, CALIBRATION_BINS)];
        *bin = (bin.0 + group, bin.1 + step.positives, bin.2 + group * step.score);
        above += group;
    }
    let drawn = |&(mass, positives, scores): &(f64, f64, f64)| {
        let (low, high) = wilson(positives / mass, mass);
        ReliabilityBin { mass, mean_probability: scores / mass, observed: positives / mass, low, high }
    };
    bins.iter().filter(|bin| bin.0 > 0.0).map(drawn).collect()
}

/// Ten parts of equal mass; rows tied across a border are parted pro rata, both classes alike. Empty without
/// positives.
pub fn lift(ranked: &Ranked) -> Vec<LiftBin> {
    let totals = Totals::of(ranked.steps());
    if totals.positives <= 0.0 {
        return Vec::new();
    }
    let (mass, parts) = (totals.mass(), DECILES as f64);
    // Positives within the top k tenths, for each k.
    let mut within = [0.0; DECILES + 1];
    let mut above = 0.0;
    for step in ranked.steps().iter().filter(|step| step.mass() > 0.0) {
        for (k, captured) in within.iter_mut().enumerate() {
            let room = mass * k as f64 / parts - above;
            *captured += step.positives * (room / step.mass()).clamp(0.0, 1.0);
        }
        above += step.mass();
    }
    (1..=DECILES)
        .map(|k| {
            let share = (within[k] - within[k - 1]) / totals.positives;
            LiftBin {
                decile: k as u32,
                rate: share * parts * totals.positives / mass,
                lift: share * parts,
                captured: within[k] / totals.positives,
            }
        })
        .collect()
}

/// Scores of either class in `bins` bins of equal width over `range`, which is the scores' own where it is `None`;
/// scores beyond a given range count in its outer bins. Give two histograms one range to compare them.
///
/// `Internal` error where lengths differ, a score is not finite, `bins` is 0 or above [`POINTS`], or a range is empty.
pub fn histogram(
    labels: &[bool],
    scores: &[f64],
    weights: Option<&[f64]>,
    bins: usize,
    range: Option<(f64, f64)>,
) -> Result<Vec<HistogramBin>> {
    if labels.len() != scores.len() || scores.iter().any(|score| !score.is_finite()) || bins == 0 || bins > POINTS {
        return Err(Error::internal(format!("{bins} bins of {} scores and {} labels", scores.len(), labels.len())));
    }
    if let Some(weights) = weights {
        check_weights(weights, labels.len())?;
    }
    if scores.is_empty() && range.is_none() {
        return Ok(Vec::new());
    }
    let own = || scores.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), s| (l.min(*s), h.max(*s)));
    let (from, to) = range.unwrap_or_else(own);
    let width = (to - from) / bins as f64;
    if !(width >= 0.0 && width.is_finite()) || (range.is_some() && width == 0.0) {
        return Err(Error::internal(format!("a histogram from {from} to {to}")));
    }
    // Scores that are all alike are one bin without width.
    let count = if width == 0.0 { 1 } else { bins };
    let edge = |k: usize| if k == count { to } else { from + width * k as f64 };
    let mut out: Vec<HistogramBin> =
        (0..count).map(|k| HistogramBin { from: edge(k), to: edge(k + 1), positives: 0.0, negatives: 0.0 }).collect();
    for (row, (label, score)) in labels.iter().zip(scores).enumerate() {
        let inner = out[1..].partition_point(|bin| bin.from <= *score);
        let weight = weights.map_or(1.0, |weights| weights[row]);
        let bin = &mut out[inner];
        *(if *label { &mut bin.positives } else { &mut bin.negatives }) += weight;
    }
    Ok(out)
}

struct Totals {
    positives: f64,
    negatives: f64,
}

impl Totals {
    fn of(steps: &[Step]) -> Totals {
        let (positives, negatives) = steps.iter().fold((0.0, 0.0), |(p, n), s| (p + s.positives, n + s.negatives));
        Totals { positives, negatives }
    }

    fn mass(&self) -> f64 {
        self.positives + self.negatives
    }

    fn two_classes(self) -> Option<Totals> {
        (self.positives > 0.0 && self.negatives > 0.0).then_some(self)
    }
}

/// What lies at or above a score.
struct Cumulated {
    score: f64,
    positives: f64,
    negatives: f64,
    /// Whether this very score has positives.
    grown: bool,
}

fn cumulated(steps: &[Step]) -> Vec<Cumulated> {
    let (mut positives, mut negatives) = (0.0, 0.0);
    let weighty = steps.iter().filter(|step| step.mass() > 0.0);
    weighty
        .map(|step| {
            positives += step.positives;
            negatives += step.negatives;
            Cumulated { score: step.score, positives, negatives, grown: step.positives > 0.0 }
        })
        .collect()
}

/// At most `most` of the points: the last one in each of so many equal parts of `along`, which does not fall.
fn thin<T>(points: &[T], most: usize, along: impl Fn(&T) -> f64) -> impl Iterator<Item = &T> {
    let total = points.last().map_or(1.0, &along);
    let few = points.len() <= most;
    let part = move |point: &T| ((along(point) / total * most as f64).ceil() as usize).clamp(1, most);
    points.iter().enumerate().filter_map(move |(at, point)| {
        let last = points.get(at + 1).is_none_or(|next| part(next) > part(point));
        (few || last).then_some(point)
    })
}

/// Wilson's score interval at 95 % for a share `p` of `n` rows.
fn wilson(p: f64, n: f64) -> (f64, f64) {
    let z2 = 1.959_963_984_540_054_f64.powi(2);
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = (z2 * (p * (1.0 - p) / n + z2 / (4.0 * n * n))).sqrt() / (1.0 + z2 / n);
    // Rounding must not push a bound past the share itself, at 0 and at 1.
    ((centre - half).max(0.0).min(p), (centre + half).min(1.0).max(p))
}

#[cfg(test)]
mod tests {
    use super::super::metrics::Metrics;
    use super::*;
    use proptest::prelude::*;

    fn ranked(labels: &[bool], scores: &[f64]) -> Ranked {
        Ranked::new(labels, scores, None).unwrap()
    }

    #[test]
    fn roc_and_precision_recall_by_hand() {
        // scikit-learn's own example.
        let ranked = ranked(&[false, false, true, true], &[0.1, 0.4, 0.35, 0.8]);
        let got: Vec<_> = roc(&ranked).iter().map(|p| (p.false_positive_rate, p.true_positive_rate)).collect();
        assert_eq!(got, [(0.0, 0.0), (0.0, 0.5), (0.5, 0.5), (0.5, 1.0), (1.0, 1.0)]);
        let got: Vec<_> = precision_recall(&ranked).iter().map(|p| (p.threshold, p.recall, p.precision)).collect();
        assert_eq!(got, [(0.8, 0.5, 1.0), (0.35, 1.0, 2.0 / 3.0)]);
    }

    #[test]
    fn one_class_has_no_curve() {
        for labels in [[true; 3], [false; 3]] {
            let ranked = ranked(&labels, &[0.1, 0.2, 0.3]);
            assert!(roc(&ranked).is_empty() && precision_recall(&ranked).is_empty());
            assert_eq!(lift(&ranked).is_empty(), !labels[0]);
            assert_eq!(reliability(&ranked).len(), 3);
        }
        let nothing = ranked(&[], &[]);
        assert!(roc(&nothing).is_empty() && reliability(&nothing).is_empty() && lift(&nothing).is_empty());
        assert_eq!(histogram(&[], &[], None, 10, None).unwrap(), []);
    }

    #[test]
    fn lift_by_hand() {
        // Twenty rows, the four positives on top: two per decile.
        let labels: Vec<bool> = (0..20).map(|row| row < 4).collect();
        let scores: Vec<f64> = (0..20).map(|row| 1.0 - f64::from(row) / 20.0).collect();
        let got = lift(&ranked(&labels, &scores));
        let first: Vec<_> = got.iter().take(3).map(|b| (b.decile, b.rate, b.lift, b.captured)).collect();
        assert_eq!(first, [(1, 1.0, 5.0, 0.5), (2, 1.0, 5.0, 1.0), (3, 0.0, 0.0, 1.0)]);
    }

    #[test]
    fn wilson_by_hand() {
        // Of ten, none and five: statsmodels' proportion_confint(method="wilson").
        let (low, high) = wilson(0.0, 10.0);
        assert!(low == 0.0 && (high - 0.277_532_799_862_889_2).abs() < 1e-12, "{high}");
        let (low, high) = wilson(0.5, 10.0);
        assert!((low - 0.236_593_090_512_564_57).abs() < 1e-12 && (high - 0.763_406_909_487_435_4).abs() < 1e-12);
    }

    #[test]
    fn histograms_count_every_row_once() {
        let labels = [true, false, false, true, false];
        let scores = [0.0, 0.25, 0.5, 1.0, 0.9];
        let got = histogram(&labels, &scores, None, 2, None).unwrap();
        let counts: Vec<_> = got.iter().map(|b| (b.from, b.to, b.positives, b.negatives)).collect();
        assert_eq!(counts, [(0.0, 0.5, 1.0, 1.0), (0.5, 1.0, 1.0, 2.0)]);
        let inside = histogram(&labels, &scores, Some(&[2.0; 5]), 2, Some((0.4, 0.6))).unwrap();
        assert_eq!((inside[0].positives, inside[0].negatives, inside[1].positives), (2.0, 2.0, 2.0));
        let alike = histogram(&labels, &[0.3; 5], None, 10, None).unwrap();
        assert_eq!((alike.len(), alike[0].positives, alike[0].negatives), (1, 2.0, 3.0));
        assert!(histogram(&labels, &scores, None, 0, None).is_err());
        assert!(histogram(&labels, &scores, None, 5, Some((1.0, 1.0))).is_err());
        assert!(histogram(&labels, &[0.0, 0.25, f64::NAN, 1.0, 0.9], None, 5, None).is_err());
    }

    /// Area under a curve by trapezoids.
    fn area(points: &[RocPoint]) -> f64 {
        let pairs = points.windows(2);
        pairs
            .map(|p| {
                (p[1].false_positive_rate - p[0].false_positive_rate)
                    * (p[1].true_positive_rate + p[0].true_positive_rate)
                    / 2.0
            })
            .sum()
    }

    #[test]
    fn long_curves_are_thinned_to_true_points_and_hardly_move() {
        let labels: Vec<bool> = (0..5000u32).map(|row| row.wrapping_mul(2_654_435_761) % 5000 < 5000 - row).collect();
        let scores: Vec<f64> = (0..5000).map(|row| 1.0 - f64::from(row) / 5000.0).collect();
        let ranked = ranked(&labels, &scores);
        let (curve, precision) = (roc(&ranked), precision_recall(&ranked));
        assert!(curve.len() <= POINTS && curve.len() > POINTS / 2, "{}", curve.len());
        assert!(precision.len() <= POINTS && precision.len() > POINTS / 2);
        assert_eq!((curve.last().unwrap().false_positive_rate, curve.last().unwrap().true_positive_rate), (1.0, 1.0));
        assert_eq!(precision.last().unwrap().recall, 1.0);
        let metrics = Metrics::of(&labels, &scores, 0.5).unwrap();
        assert!((area(&curve) - metrics.roc_auc.unwrap()).abs() < 2e-3);
        for point in &precision {
            let called = scores.iter().zip(&labels).filter(|(score, _)| **score >= point.threshold);
            let (all, hits) =
                called.fold((0.0, 0.0), |(all, hits), (_, l)| (all + 1.0, hits + f64::from(u8::from(*l))));
            assert!((point.precision - hits / all).abs() < 1e-12);
        }
    }

    proptest! {
        #[test]
        fn curves_say_what_the_metrics_say(
            rows in proptest::collection::vec((any::<bool>(), 0u8..15, 0u8..3), 1..120),
        ) {
            let labels: Vec<bool> = rows.iter().map(|r| r.0).collect();
            let scores: Vec<f64> = rows.iter().map(|r| f64::from(r.1) / 14.0).collect();
            let weights: Vec<f64> = rows.iter().map(|r| f64::from(r.2)).collect();
            let ranked = Ranked::new(&labels, &scores, Some(&weights)).unwrap();
            let metrics = Metrics::of_ranked(&ranked, 0.5);
            if let Some(auc) = metrics.roc_auc {
                let curve = roc(&ranked);
                prop_assert!((area(&curve) - auc).abs() < 1e-12);
                let ks = curve.iter().map(|p| (p.true_positive_rate - p.false_positive_rate).abs()).fold(0.0, f64::max);
                prop_assert!((ks - metrics.ks.unwrap()).abs() < 1e-12);
                let mut before = 0.0;
                let mut average = 0.0;
                for point in precision_recall(&ranked) {
                    average += (point.recall - before) * point.precision;
                    before = point.recall;
                }
                prop_assert!((average - metrics.average_precision.unwrap()).abs() < 1e-12);
            }
            let mass: f64 = weights.iter().sum();
            let bins = reliability(&ranked);
            let error: f64 = bins.iter().map(|b| b.mass / mass * (b.observed - b.mean_probability).abs()).sum();
            if let Some(expected) = metrics.calibration_error {
                prop_assert!((error - expected).abs() < 1e-12);
            }
            prop_assert!(bins.iter().all(|b| b.low <= b.observed && b.observed <= b.high));
            prop_assert!(bins.windows(2).all(|b| b[0].mean_probability < b[1].mean_probability));
            if let Some(expected) = metrics.lift_10 {
                let deciles = lift(&ranked);
                prop_assert!((deciles[0].lift - expected).abs() < 1e-9);
                prop_assert!((deciles[DECILES - 1].captured - 1.0).abs() < 1e-12);
                let mean = deciles.iter().map(|d| d.rate).sum::<f64>() / DECILES as f64;
                prop_assert!((mean - metrics.base_rate.unwrap()).abs() < 1e-9);
            }
            let drawn = histogram(&labels, &scores, Some(&weights), 7, None).unwrap();
            prop_assert_eq!(drawn.iter().map(|b| b.positives + b.negatives).sum::<f64>(), mass);
        }
    }
}
