//! From a probability to a score and to what the business does.

use super::scorecard::Points;
use crate::error::{Error, Result};

/// A scale of scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// The score at probability 0 and at probability 1.
    Linear {
        from: f64,
        to: f64,
    },
    Points(Points),
}

impl Scale {
    /// `Definition` error unless both ends are finite and differ.
    pub fn new(from: f64, to: f64) -> Result<Self> {
        if from.is_finite() && to.is_finite() && from != to {
            Ok(Scale::Linear { from, to })
        } else {
            Err(Error::definition(format!("score from {from} to {to}: expected two different finite numbers")))
        }
    }

    /// The score of a probability in [0, 1].
    pub fn score(&self, probability: f64) -> f64 {
        match *self {
            // This form gives both ends exactly.
            Scale::Linear { from, to } => from * (1.0 - probability) + to * probability,
            Scale::Points(points) => points.points(probability),
        }
    }
}

/// Actions in bands of probability: the first whose bound lies above the probability, else the last.
#[derive(Debug, Clone, PartialEq)]
pub struct Decisions {
    bounded: Vec<(String, f64)>,
    otherwise: String,
}

impl Decisions {
    /// Actions with their `below`. `Definition` error unless there is at least one, every one but the last has a
    /// bound in (0, 1], the bounds increase strictly, and the last has none.
    pub fn new(actions: Vec<(String, Option<f64>)>) -> Result<Self> {
        let mut actions = actions;
        let (otherwise, bound) =
            actions.pop().ok_or_else(|| Error::definition("decisions: expected at least one action"))?;
        if let Some(bound) = bound {
            return Err(Error::definition(format!(
                "decisions: the last action `{otherwise}` has `below: {bound}`; leave it out, or a probability above \
                 it has no action"
            )));
        }
        let mut bounded: Vec<(String, f64)> = Vec::with_capacity(actions.len());
        for (action, bound) in actions {
            let Some(bound) = bound else {
                return Err(Error::definition(format!(
                    "decisions: `{action}` has no `below`, so the actions after it are never taken; only the last may \
                     go without"
                )));
            };
            if !(bound > 0.0 && bound <= 1.0) {
                return Err(Error::definition(format!(
                    "decisions: `{action}` has `below: {bound}`; expected a probability above 0, at most 1"
                )));
            }
            if let Some((earlier, lower)) = bounded.last().filter(|(_, lower)| bound <= *lower) {
                return Err(Error::definition(format!(
                    "decisions: `{action}` has `below: {bound}` after `{earlier}` with `below: {lower}`; bounds must \
                     increase, or `{action}` is never taken"
                )));
            }
            bounded.push((action, bound));
        }
        Ok(Decisions { bounded, otherwise })
    }

    /// The action for a probability.
    pub fn decide(&self, probability: f64) -> &str {
        self.bounded.iter().find(|(_, below)| probability < *below).map_or(&self.otherwise, |(action, _)| action)
    }

    /// The bound of the first action: where the decision first changes. `None` with a single action.
    pub fn first_bound(&self) -> Option<f64> {
        self.bounded.first().map(|(_, below)| *below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decisions(actions: &[(&str, Option<f64>)]) -> Result<Decisions> {
        Decisions::new(actions.iter().map(|(action, below)| (action.to_string(), *below)).collect())
    }

    #[test]
    fn the_ends_of_the_scale_are_exact() {
        let scale = Scale::new(100.0, 0.0).unwrap();
        assert_eq!([scale.score(0.0), scale.score(0.25), scale.score(1.0)], [100.0, 75.0, 0.0]);
        assert!(Scale::new(1.0, 1.0).is_err());
        assert!(Scale::new(f64::NAN, 1.0).is_err());
    }

    #[test]
    fn a_probability_at_a_bound_belongs_to_the_next_band() {
        let bands = decisions(&[("allow", Some(0.1)), ("review", Some(0.5)), ("prevent", None)]).unwrap();
        let taken: Vec<_> = [0.0, 0.0999, 0.1, 0.4999, 0.5, 1.0].map(|p| bands.decide(p)).into();
        assert_eq!(taken, ["allow", "allow", "review", "review", "prevent", "prevent"]);
        assert_eq!(bands.first_bound(), Some(0.1));
    }

    #[test]
    fn bad_bounds_say_what_is_wrong() {
        let message = |actions: &[(&str, Option<f64>)]| decisions(actions).unwrap_err().to_string();
        assert!(message(&[]).contains("at least one action"));
        assert!(message(&[("a", Some(0.5))]).contains("the last action `a` has `below: 0.5`"));
        assert!(message(&[("a", None), ("b", None)]).contains("`a` has no `below`"));
        assert!(message(&[("a", Some(0.5)), ("b", Some(0.5)), ("c", None)]).contains("bounds must increase"));
        assert!(message(&[("a", Some(1.5)), ("b", None)]).contains("above 0, at most 1"));
        assert!(message(&[("a", Some(f64::NAN)), ("b", None)]).contains("above 0, at most 1"));
    }

    proptest! {
        #[test]
        fn every_probability_has_exactly_the_action_of_its_band(
            mut bounds in proptest::collection::btree_set(1u32..1000, 0..6), p in 0u32..=1000,
        ) {
            bounds.insert(1000);
            let bounds: Vec<f64> = bounds.into_iter().map(|b| f64::from(b) / 1000.0).collect();
            let mut actions: Vec<_> = bounds.iter().map(|b| (format!("below {b}"), Some(*b))).collect();
            actions.push(("rest".to_string(), None));
            let p = f64::from(p) / 1000.0;
            let expected = bounds.iter().filter(|b| p >= **b).count();
            let all: Vec<String> = actions.iter().map(|(a, _)| a.clone()).collect();
            let bands = Decisions::new(actions).unwrap();
            prop_assert_eq!(bands.decide(p), &all[expected]);
        }
    }
}
