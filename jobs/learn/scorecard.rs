//! Scorecard points: a probability on the scale that credit departments read.
//!
//! points = offset + factor · ln(odds), odds = (1 − p) / p of good to bad, p the probability of the bad outcome. The
//! scale is fixed by two numbers of points: `points` at `at_odds` to 1, and `double_odds` more each time the odds
//! double, so factor = double_odds / ln 2 and offset = points − factor · ln(at_odds) (N. Siddiqi, "Credit Risk
//! Scorecards", 2006, chapter 6).

use crate::error::{Error, Result};

/// Probabilities are kept this far from 0 and 1, where the log odds have no value: odds of up to 2⁵² to 1.
const EDGE: f64 = f64::EPSILON;

/// A scale of scorecard points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Points {
    points: f64,
    at_odds: f64,
    double_odds: f64,
}

impl Points {
    /// `points` at good to bad odds of `at_odds` to 1, `double_odds` more points when the odds double. `Definition`
    /// error where a number is not finite, `at_odds` is not above 0, or `double_odds` is not.
    pub fn new(points: f64, at_odds: f64, double_odds: f64) -> Result<Points> {
        let positive = |value: f64| value > 0.0 && value.is_finite();
        if !points.is_finite() || !positive(at_odds) || !positive(double_odds) {
            return Err(Error::definition(format!(
                "scorecard points of {points} at odds {at_odds}, {double_odds} more to double the odds; expected \
                 numbers such as {{points: 600, at_odds: 50, double_odds: 20}}, odds and their doubling above 0"
            )));
        }
        Ok(Points { points, at_odds, double_odds })
    }

    /// The points of a probability of the bad outcome, in [0, 1]: fewer the likelier it is, finite at 0 and 1. NaN
    /// stays NaN.
    pub fn points(&self, bad: f64) -> f64 {
        let p = bad.clamp(EDGE, 1.0 - EDGE);
        // ln_1p keeps the digits that 1 − p loses for small p.
        self.points + self.factor() * ((-p).ln_1p() - p.ln() - self.at_odds.ln())
    }

    /// The probability of the bad outcome that has so many points, in (0, 1).
    pub fn probability(&self, points: f64) -> f64 {
        let log_odds = (points - self.points) / self.factor() + self.at_odds.ln();
        if log_odds > 0.0 {
            let inverse = (-log_odds).exp();
            inverse / (1.0 + inverse)
        } else {
            1.0 / (1.0 + log_odds.exp())
        }
    }

    fn factor(&self) -> f64 {
        self.double_odds / std::f64::consts::LN_2
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn siddiqis_example() {
        // 600 points at 50:1, 20 points to double the odds: factor 28.8539, offset 487.123.
        let scale = Points::new(600.0, 50.0, 20.0).unwrap();
        assert!((scale.factor() - 28.8539).abs() < 1e-4);
        let at = |good: f64| scale.points(1.0 / (1.0 + good));
        assert!((at(50.0) - 600.0).abs() < 1e-9);
        assert!((at(100.0) - 620.0).abs() < 1e-9);
        assert!((at(1.0) - 487.123).abs() < 1e-3);
    }

    #[test]
    fn certainty_has_points_too() {
        let scale = Points::new(600.0, 50.0, 20.0).unwrap();
        let (best, worst) = (scale.points(0.0), scale.points(1.0));
        assert!(best.is_finite() && worst.is_finite() && best > 1500.0 && worst < -500.0, "{best} {worst}");
        assert!(scale.probability(f64::MAX) >= 0.0 && scale.probability(f64::MIN) <= 1.0);
        assert!(scale.points(f64::NAN).is_nan());
    }

    #[test]
    fn what_is_no_scale_is_refused() {
        for (points, odds, double) in
            [(f64::NAN, 1.0, 1.0), (600.0, 0.0, 20.0), (600.0, 50.0, -20.0), (600.0, 50.0, 0.0)]
        {
            assert_eq!(Points::new(points, odds, double).unwrap_err().kind().code(), 2);
        }
    }

    proptest! {
        #[test]
        fn points_and_probability_are_inverse_and_monotone(
            p in 1e-12f64..1.0, q in 1e-12f64..1.0,
            points in -500.0f64..900.0, odds in 0.1f64..200.0, double in 1.0f64..80.0,
        ) {
            let scale = Points::new(points, odds, double).unwrap();
            let back = scale.probability(scale.points(p));
            prop_assert!((back - p).abs() <= 1e-9 * p, "{p} {back}");
            prop_assert!(scale.points(p.min(q)) >= scale.points(p.max(q)));
        }
    }
}
