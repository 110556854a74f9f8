//! From what a model says to a probability that comes true: Platt scaling and isotonic regression.
//!
//! A calibrator is fitted on rows that neither training nor test saw, kept in the artifact, and replayed when scoring.
//! Both kinds are monotone, so ranking metrics change at most by new ties, and neither ever says 0 or 1.
//!
//! **Platt**: p = 1 / (1 + exp(a · margin + b)), a ≤ 0, by maximum likelihood. The targets are smoothed, (N₊ + 1) /
//! (N₊ + 2) for positives and 1 / (N₋ + 2) for negatives, so that separable rows do not drive `a` to infinity
//! (J. Platt, "Probabilistic Outputs for Support Vector Machines", 1999). Minimised by Newton's method with
//! backtracking, in the form that does not cancel (H.-T. Lin, C.-J. Lin, R. Weng, "A Note on Platt's Probabilistic
//! Outputs for Support Vector Machines", Machine Learning 68, 2007). Equals scikit-learn's sigmoid calibration.
//!
//! **Isotonic**: the nondecreasing function of the probability with the least squared error, by pooling adjacent
//! violators, tied probabilities pooled first (M. Ayer et al., 1955; B. Zadrozny and C. Elkan, KDD 2002). Linear
//! between its knots, constant beyond them. Values are kept between Platt's two targets: a stretch of rows without a
//! positive is no proof that there never will be one. Equals scikit-learn's `IsotonicRegression` with these two as
//! `y_min` and `y_max`, and `out_of_bounds="clip"`.
//!
//! Where the hold-out rows rank the wrong way round, or are all scored alike, the best nondecreasing function is a
//! constant, and both kinds give it: the base rate, of the smoothed targets for Platt.

use serde::{Deserialize, Serialize};

use super::exact;
use super::ranked::check_weights;
use crate::error::{Error, Result};

/// Probabilities stay this far from 0 and 1, as in the log loss.
const EDGE: f64 = f64::EPSILON;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The model's own probability.
    #[default]
    None,
    Platt,
    Isotonic,
}

/// Hold-out rows: what the model says of each, and what came true.
#[derive(Debug, Clone, Copy)]
pub struct HoldOut<'a> {
    /// Raw scores (log odds for trees and linear heads); finite.
    pub margins: &'a [f64],
    /// The model's probabilities of the same rows.
    pub probabilities: &'a [f64],
    pub labels: &'a [bool],
    /// Finite and at least 0; `None` weighs every row 1.
    pub weights: Option<&'a [f64]>,
}

/// A fitted calibration. In JSON: `"none"`, `{"platt": {…}}` or `{"isotonic": {…}}`, numbers as exact text.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub enum Calibrator {
    #[default]
    None,
    /// p = 1 / (1 + exp(a · margin + b)), a ≤ 0.
    Platt { a: f64, b: f64 },
    /// Knots: `x` increasing probabilities, `y` nondecreasing ones inside (0, 1).
    Isotonic { x: Vec<f64>, y: Vec<f64> },
}

impl Calibrator {
    /// Fits on hold-out rows. `Data` error where their weighted rows are not of both classes or a weight is not one;
    /// `Internal` error where lengths differ or a score is not finite.
    pub fn fit(kind: Kind, rows: &HoldOut<'_>) -> Result<Calibrator> {
        if kind == Kind::None {
            return Ok(Calibrator::None);
        }
        let targets = Targets::of(rows)?;
        Ok(match kind {
            Kind::None => Calibrator::None,
            Kind::Platt => platt(rows, &targets),
            Kind::Isotonic => isotonic(rows, &targets),
        })
    }

    pub fn kind(&self) -> Kind {
        match self {
            Calibrator::None => Kind::None,
            Calibrator::Platt { .. } => Kind::Platt,
            Calibrator::Isotonic { .. } => Kind::Isotonic,
        }
    }

    /// The calibrated probability of one row, nondecreasing in its score. NaN stays NaN.
    pub fn apply(&self, margin: f64, probability: f64) -> f64 {
        match self {
            Calibrator::None => probability,
            Calibrator::Platt { a, b } => sigmoid(-(a * margin + b)).clamp(EDGE, 1.0 - EDGE),
            Calibrator::Isotonic { x, y } => interpolate(x, y, probability),
        }
    }
}

/// 1 / (1 + exp(−z)) without overflow.
fn sigmoid(z: f64) -> f64 {
    if z >= 0.0 {
        1.0 / (1.0 + (-z).exp())
    } else {
        let e = z.exp();
        e / (1.0 + e)
    }
}

/// Piecewise linear through the knots, constant beyond them. Every operation is monotone, so their result is.
fn interpolate(x: &[f64], y: &[f64], at: f64) -> f64 {
    if at.is_nan() {
        return at;
    }
    let right = x.partition_point(|knot| *knot <= at);
    match right {
        0 => y[0],
        r if r == x.len() => y[r - 1],
        r => {
            let share = (at - x[r - 1]) / (x[r] - x[r - 1]);
            (y[r - 1] + share * (y[r] - y[r - 1])).min(y[r])
        }
    }
}

/// Platt's smoothed targets and the weight of either class.
struct Targets {
    positive: f64,
    negative: f64,
    positives: f64,
    negatives: f64,
}

impl Targets {
    fn of(rows: &HoldOut<'_>) -> Result<Targets> {
        let n = rows.labels.len();
        if rows.margins.len() != n || rows.probabilities.len() != n {
            return Err(Error::internal(format!(
                "calibration of {n} labels, {} margins and {} probabilities",
                rows.margins.len(),
                rows.probabilities.len()
            )));
        }
        if let Some(row) = (0..n).find(|row| !rows.margins[*row].is_finite() || !rows.probabilities[*row].is_finite()) {
            return Err(Error::internal(format!("calibration: the score of row {row} is not finite")));
        }
        if let Some(weights) = rows.weights {
            check_weights(weights, n)?;
        }
        let sum = |class: bool| (0..n).filter(|row| rows.labels[*row] == class).map(|row| rows.weight(row)).sum();
        let (positives, negatives): (f64, f64) = (sum(true), sum(false));
        if positives <= 0.0 || negatives <= 0.0 {
            let found = match (positives > 0.0, negatives > 0.0) {
                (true, false) => "only positive ones",
                (false, true) => "only negative ones",
                _ => "none",
            };
            return Err(Error::data(format!(
                "calibration needs hold-out rows of both labels; its {n} rows have {found}: hold out more rows \
                 (`calibration.hold_out`), or say `calibration: {{kind: none}}`"
            )));
        }
        Ok(Targets {
            positive: (positives + 1.0) / (positives + 2.0),
            negative: 1.0 / (negatives + 2.0),
            positives,
            negatives,
        })
    }

    fn target(&self, label: bool) -> f64 {
        if label { self.positive } else { self.negative }
    }

    fn mass(&self) -> f64 {
        self.positives + self.negatives
    }
}

impl HoldOut<'_> {
    fn weight(&self, row: usize) -> f64 {
        self.weights.map_or(1.0, |weights| weights[row])
    }
}

fn platt(rows: &HoldOut<'_>, targets: &Targets) -> Calibrator {
    let mass = targets.mass();
    let weighted = |f: &dyn Fn(f64) -> f64| -> f64 {
        rows.margins.iter().enumerate().map(|(row, m)| rows.weight(row) * f(*m)).sum::<f64>() / mass
    };
    // Newton's method does not mind scale, but its stopping rule and its ridge do.
    let centre = weighted(&|m| m);
    let scale = weighted(&|m| (m - centre).powi(2)).sqrt();
    let base = (targets.positives * targets.positive + targets.negatives * targets.negative) / mass;
    let constant = Calibrator::Platt { a: 0.0, b: ((1.0 - base) / base).ln() };
    if !scale.is_finite() || scale <= 1e-12 * centre.abs() {
        return constant;
    }
    let standard: Vec<f64> = rows.margins.iter().map(|m| (m - centre) / scale).collect();
    let (a, b) = newton(rows, targets, &standard);
    if a >= 0.0 {
        // The likelihood is concave: if its maximum lies beyond a = 0, the best of a ≤ 0 lies at 0.
        return constant;
    }
    Calibrator::Platt { a: a / scale, b: b - a * centre / scale }
}

/// Lin, Lin and Weng's algorithm 1: (a, b) that minimise the cross entropy to the smoothed targets.
fn newton(rows: &HoldOut<'_>, targets: &Targets, margins: &[f64]) -> (f64, f64) {
    const ROUNDS: usize = 100;
    const SHORTEST_STEP: f64 = 1e-10;
    const RIDGE: f64 = 1e-12;
    let small = 1e-13 * targets.mass();
    let objective = |a: f64, b: f64| -> f64 {
        let loss = |row: usize| {
            let (z, target) = (a * margins[row] + b, targets.target(rows.labels[row]));
            rows.weight(row)
                * if z >= 0.0 { target * z + (-z).exp().ln_1p() } else { (target - 1.0) * z + z.exp().ln_1p() }
        };
        (0..margins.len()).map(loss).sum()
    };
    let (mut a, mut b) = (0.0, ((targets.negatives + 1.0) / (targets.positives + 1.0)).ln());
    let mut value = objective(a, b);
    for _ in 0..ROUNDS {
        let (mut h_aa, mut h_ab, mut h_bb, mut g_a, mut g_b) = (RIDGE, 0.0, RIDGE, 0.0, 0.0);
        for (row, &margin) in margins.iter().enumerate() {
            let (p, q) = (sigmoid(-(a * margin + b)), sigmoid(a * margin + b));
            let curve = rows.weight(row) * p * q;
            h_aa += margin * margin * curve;
            h_ab += margin * curve;
            h_bb += curve;
            let slope = rows.weight(row) * (targets.target(rows.labels[row]) - p);
            g_a += margin * slope;
            g_b += slope;
        }
        if g_a.abs() < small && g_b.abs() < small {
            break;
        }
        let determinant = h_aa * h_bb - h_ab * h_ab;
        let (step_a, step_b) = (-(h_bb * g_a - h_ab * g_b) / determinant, -(h_aa * g_b - h_ab * g_a) / determinant);
        let descent = g_a * step_a + g_b * step_b;
        let mut length = 1.0;
        while length >= SHORTEST_STEP {
            let (next_a, next_b) = (a + length * step_a, b + length * step_b);
            let next = objective(next_a, next_b);
            if next < value + 1e-4 * length * descent {
                (a, b, value) = (next_a, next_b, next);
                break;
            }
            length /= 2.0;
        }
        if length < SHORTEST_STEP {
            break; // No shorter step improves: the minimum, as far as floats can tell.
        }
    }
    (a, b)
}

fn isotonic(rows: &HoldOut<'_>, targets: &Targets) -> Calibrator {
    let mut points: Vec<(f64, f64, f64)> = (0..rows.labels.len())
        .map(|row| (rows.probabilities[row] + 0.0, f64::from(u8::from(rows.labels[row])), rows.weight(row)))
        .filter(|point| point.2 > 0.0)
        .collect();
    points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.total_cmp(&b.2)));
    let mut blocks: Vec<Block> = Vec::new();
    for tied in points.chunk_by(|a, b| a.0 == b.0) {
        let (sum, weight) = tied.iter().fold((0.0, 0.0), |(s, w), p| (s + p.1 * p.2, w + p.2));
        let mut block = Block { first: tied[0].0, last: tied[0].0, sum, weight };
        while let Some(before) = blocks.pop_if(|before| before.mean() >= block.mean()) {
            block = Block {
                first: before.first,
                sum: before.sum + block.sum,
                weight: before.weight + block.weight,
                ..block
            };
        }
        blocks.push(block);
    }
    let (mut x, mut y) = (Vec::new(), Vec::new());
    let value = |block: &Block| block.mean().clamp(targets.negative, targets.positive);
    for level in blocks.chunk_by(|a, b| value(a) == value(b)) {
        let (first, last) = (level[0].first, level[level.len() - 1].last);
        for knot in [Some(first), (last > first).then_some(last)].into_iter().flatten() {
            x.push(knot);
            y.push(value(&level[0]));
        }
    }
    Calibrator::Isotonic { x, y }
}

/// Neighbouring rows that get one value.
struct Block {
    first: f64,
    last: f64,
    sum: f64,
    weight: f64,
}

impl Block {
    fn mean(&self) -> f64 {
        self.sum / self.weight
    }
}

/// A calibrator as it is written; reading checks what fitting guarantees.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Stored {
    None,
    Platt {
        #[serde(with = "exact::one")]
        a: f64,
        #[serde(with = "exact::one")]
        b: f64,
    },
    Isotonic {
        #[serde(with = "exact::many")]
        x: Vec<f64>,
        #[serde(with = "exact::many")]
        y: Vec<f64>,
    },
}

impl From<Calibrator> for Stored {
    fn from(calibrator: Calibrator) -> Stored {
        match calibrator {
            Calibrator::None => Stored::None,
            Calibrator::Platt { a, b } => Stored::Platt { a, b },
            Calibrator::Isotonic { x, y } => Stored::Isotonic { x, y },
        }
    }
}

impl TryFrom<Stored> for Calibrator {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Calibrator, String> {
        match stored {
            Stored::None => Ok(Calibrator::None),
            Stored::Platt { a, b } if a <= 0.0 && a.is_finite() && b.is_finite() => Ok(Calibrator::Platt { a, b }),
            Stored::Platt { a, b } => Err(format!("platt: a = {a}, b = {b}; a must be at most 0, both finite")),
            Stored::Isotonic { x, y } => {
                let increasing = x.windows(2).all(|pair| pair[0] < pair[1]) && x.iter().all(|x| x.is_finite());
                let inside = y.iter().all(|y| *y > 0.0 && *y < 1.0) && y.is_sorted();
                if x.is_empty() || x.len() != y.len() || !increasing || !inside {
                    return Err(format!(
                        "isotonic: {} and {} knots; x must increase, y must not fall and lie inside (0, 1), one per x",
                        x.len(),
                        y.len()
                    ));
                }
                Ok(Calibrator::Isotonic { x, y })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference::cases;
    use super::*;
    use proptest::prelude::*;

    fn rows<'a>(scores: &'a [f64], labels: &'a [bool], weights: Option<&'a [f64]>) -> HoldOut<'a> {
        HoldOut { margins: scores, probabilities: scores, labels, weights }
    }

    #[test]
    fn isotonic_by_hand() {
        // 0.3 and 0.4 violate the order and are pooled; two rows tie at 0.8. Bounds are 1/5 and 5/6 (3 and 4 rows).
        let scores = [0.1, 0.2, 0.3, 0.4, 0.8, 0.8, 0.9];
        let labels = [false, false, true, false, true, true, true];
        let got = Calibrator::fit(Kind::Isotonic, &rows(&scores, &labels, None)).unwrap();
        let low = 1.0 / 5.0;
        let high = 5.0 / 6.0;
        let expected =
            Calibrator::Isotonic { x: vec![0.1, 0.2, 0.3, 0.4, 0.8, 0.9], y: vec![low, low, 0.5, 0.5, high, high] };
        assert_eq!(got, expected);
        assert_eq!(got.apply(f64::NAN, 0.0), low);
        assert_eq!(got.apply(0.0, 1.0), high);
        assert!((got.apply(0.0, 0.25) - (low + 0.5) / 2.0).abs() < 1e-12);
        assert!((got.apply(0.0, 0.6) - (high + 0.5) / 2.0).abs() < 1e-12);
    }

    #[test]
    fn platt_by_hand() {
        // Symmetric rows: b = 0, and the smoothed targets are met exactly, 3/4 at margin 1: −a = ln 3.
        let got = Calibrator::fit(Kind::Platt, &rows(&[-1.0, -1.0, 1.0, 1.0], &[false, false, true, true], None));
        let Calibrator::Platt { a, b } = got.unwrap() else { panic!() };
        assert!((a + 3.0f64.ln()).abs() < 1e-9 && b.abs() < 1e-9, "{a} {b}");
    }

    #[test]
    fn certain_scores_stay_inside() {
        let steep = Calibrator::Platt { a: -1.0, b: 0.0 };
        assert!(steep.apply(1e6, 1.0) < 1.0 && steep.apply(-1e6, 0.0) > 0.0);
        assert_eq!(Calibrator::None.apply(3.0, 0.25), 0.25);
    }

    #[test]
    fn one_class_is_an_error_and_says_what_to_do() {
        for (label, found) in [(true, "only positive"), (false, "only negative")] {
            let error = Calibrator::fit(Kind::Platt, &rows(&[0.1, 0.2], &[label; 2], None)).unwrap_err();
            assert_eq!(error.kind().code(), 3);
            assert!(error.to_string().contains(found) && error.to_string().contains("hold_out"), "{error}");
        }
        assert!(Calibrator::fit(Kind::Isotonic, &rows(&[], &[], None)).is_err());
        let unweighted = Calibrator::fit(Kind::Isotonic, &rows(&[0.1, 0.2], &[true, false], Some(&[0.0, 1.0])));
        assert!(unweighted.unwrap_err().to_string().contains("only negative"));
        assert!(Calibrator::fit(Kind::Platt, &rows(&[f64::NAN, 0.1], &[true, false], None)).is_err());
        assert_eq!(Calibrator::fit(Kind::None, &rows(&[], &[], None)).unwrap(), Calibrator::None);
    }

    #[test]
    fn what_ranks_nothing_or_backwards_becomes_the_smoothed_base_rate() {
        let labels = [true, false, false, false];
        // Targets 2/3 and 1/5, mean (2/3 + 3/5) / 4.
        let base = (2.0 / 3.0 + 0.6) / 4.0;
        for scores in [[0.3; 4], [0.1, 0.5, 0.6, 0.7]] {
            let platt = Calibrator::fit(Kind::Platt, &rows(&scores, &labels, None)).unwrap();
            assert!((platt.apply(0.9, 0.0) - base).abs() < 1e-12, "{platt:?}");
            let isotonic = Calibrator::fit(Kind::Isotonic, &rows(&scores, &labels, None)).unwrap();
            assert_eq!(isotonic.apply(0.0, 0.9), 0.25);
            assert_eq!(isotonic.apply(0.0, 0.0), 0.25);
        }
    }

    #[test]
    fn what_is_stored_comes_back_and_what_is_broken_does_not() {
        let isotonic = Calibrator::Isotonic { x: vec![0.1, 0.30000000000000004], y: vec![1.0 / 3.0, 0.7] };
        for one in [Calibrator::None, Calibrator::Platt { a: -1.0 / 3.0, b: 1e-300 }, isotonic] {
            let json = serde_json::to_string(&one).unwrap();
            assert_eq!(serde_json::from_str::<Calibrator>(&json).unwrap(), one, "{json}");
        }
        for broken in [
            r#"{"platt": {"a": "1", "b": "0"}}"#,
            r#"{"platt": {"a": "-1", "b": "NaN"}}"#,
            r#"{"platt": {"a": "-1", "b": "0", "c": "0"}}"#,
            r#"{"isotonic": {"x": [], "y": []}}"#,
            r#"{"isotonic": {"x": ["0.1", "0.1"], "y": ["0.1", "0.2"]}}"#,
            r#"{"isotonic": {"x": ["0.1", "0.2"], "y": ["0.2", "0.1"]}}"#,
            r#"{"isotonic": {"x": ["0.1"], "y": ["1"]}}"#,
            r#"{"beta": {}}"#,
        ] {
            assert!(serde_json::from_str::<Calibrator>(broken).is_err(), "{broken}");
        }
    }

    #[derive(Deserialize)]
    struct Case {
        scores: Vec<f64>,
        labels: Vec<u8>,
        weights: Option<Vec<f64>>,
        ask: Vec<f64>,
        said: Vec<f64>,
    }

    #[test]
    fn equal_scikit_learn() {
        // Its sigmoid ends its search a little before the minimum; its isotonic regression is exact.
        for (kind, section, tolerance) in [(Kind::Isotonic, "isotonic", 1e-12), (Kind::Platt, "platt", 1e-5)] {
            for case in cases::<Case>(section) {
                let labels: Vec<bool> = case.labels.iter().map(|label| *label == 1).collect();
                let held = rows(&case.scores, &labels, case.weights.as_deref());
                let got = Calibrator::fit(kind, &held).unwrap();
                for (ask, said) in case.ask.iter().zip(&case.said) {
                    let got = got.apply(*ask, *ask);
                    assert!((got - said).abs() < tolerance, "{section} at {ask}: {got}, scikit-learn says {said}");
                }
            }
        }
    }

    /// Isotonic regression by its max-min formula: at xᵢ, the largest over l ≤ i of the smallest over r ≥ i mean of
    /// rows l..r (R. Barlow et al., 1972).
    fn max_min(points: &[(f64, f64, f64)]) -> Vec<f64> {
        let n = points.len();
        let mean = |l: usize, r: usize| {
            let (s, w) = points[l..=r].iter().fold((0.0, 0.0), |(s, w), p| (s + p.1 * p.2, w + p.2));
            s / w
        };
        let at = |i: usize| {
            (0..=i).map(|l| (i..n).map(|r| mean(l, r)).fold(f64::INFINITY, f64::min)).fold(f64::NEG_INFINITY, f64::max)
        };
        (0..n).map(at).collect()
    }

    proptest! {
        #[test]
        fn isotonic_equals_the_max_min_formula(
            rows in proptest::collection::vec((0u8..20, any::<bool>(), 1u8..4), 2..40),
            ask in proptest::collection::vec(0.0f64..1.0, 2..20),
        ) {
            let scores: Vec<f64> = rows.iter().map(|r| f64::from(r.0) / 19.0).collect();
            let labels: Vec<bool> = rows.iter().map(|r| r.1).collect();
            let weights: Vec<f64> = rows.iter().map(|r| f64::from(r.2)).collect();
            prop_assume!(labels.iter().any(|l| *l) && labels.iter().any(|l| !*l));
            let held = HoldOut { margins: &scores, probabilities: &scores, labels: &labels, weights: Some(&weights) };
            let got = Calibrator::fit(Kind::Isotonic, &held).unwrap();
            let targets = Targets::of(&held).unwrap();
            let mut points: Vec<(f64, f64, f64)> = Vec::new();
            for x in 0..20 {
                let tied: Vec<_> = rows.iter().filter(|r| r.0 == x).collect();
                let weight: f64 = tied.iter().map(|r| f64::from(r.2)).sum();
                let hits: f64 = tied.iter().filter(|r| r.1).map(|r| f64::from(r.2)).sum();
                if weight > 0.0 {
                    points.push((f64::from(x) / 19.0, hits / weight, weight));
                }
            }
            for (point, expected) in points.iter().zip(max_min(&points)) {
                let expected = expected.clamp(targets.negative, targets.positive);
                prop_assert!((got.apply(0.0, point.0) - expected).abs() < 1e-12);
            }
            let mut ask = ask;
            ask.sort_by(f64::total_cmp);
            let said: Vec<f64> = ask.iter().map(|p| got.apply(0.0, *p)).collect();
            prop_assert!(said.is_sorted() && said.iter().all(|p| *p > 0.0 && *p < 1.0));
        }

        #[test]
        fn platt_is_where_the_likelihood_is_flat_and_is_monotone(
            rows in proptest::collection::vec((-300i32..300, any::<bool>(), 0u8..4), 3..60),
        ) {
            let margins: Vec<f64> = rows.iter().map(|r| f64::from(r.0) / 50.0 + f64::from(u8::from(r.1))).collect();
            let labels: Vec<bool> = rows.iter().map(|r| r.1).collect();
            let weights: Vec<f64> = rows.iter().map(|r| f64::from(r.2)).collect();
            let held = HoldOut { margins: &margins, probabilities: &margins, labels: &labels, weights: Some(&weights) };
            let Ok(targets) = Targets::of(&held) else { return Ok(()) };
            let got = Calibrator::fit(Kind::Platt, &held).unwrap();
            let Calibrator::Platt { a, .. } = got else { panic!() };
            prop_assert!(a <= 0.0);
            let (mut g_a, mut g_b) = (0.0, 0.0);
            for row in 0..rows.len() {
                let slope = weights[row] * (targets.target(labels[row]) - got.apply(margins[row], 0.0));
                g_a += margins[row] * slope;
                g_b += slope;
            }
            let flat = 1e-7 * targets.mass();
            prop_assert!(g_b.abs() < flat, "{g_b}");
            // At the border a = 0 the likelihood may still rise beyond it, and only there.
            prop_assert!(if a < 0.0 { g_a.abs() < flat } else { g_a < flat }, "{a} {g_a}");
        }
    }
}
