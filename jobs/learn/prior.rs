//! Class weights, and the way back from what a weighted model says to a probability.
//!
//! A model trained with weights w₁ on positives and w₀ on negatives learns odds that are r = w₁ / w₀ times the true
//! ones, since a weight acts as that many copies of the row. So the probability is
//!
//! ```text
//! p = q / (q + (1 − q) · r)          q: what the model says
//! ```
//!
//! Source: C. Elkan, "The Foundations of Cost-Sensitive Learning", IJCAI 2001, theorem 2 (change of base rate), with
//! the training base rate b and the weighted one b′ = w₁b / (w₁b + w₀(1 − b)); also A. Dal Pozzolo et al.,
//! "Calibrating Probability with Undersampling", 2015, equation 4. Thresholds and scores then mean probabilities
//! whether or not classes were weighted.

use serde::{Deserialize, Serialize};

/// How much a row of either class weighs in training.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeight {
    #[default]
    None,
    /// Both classes weigh the same in sum: n / (2 nₖ), as in scikit-learn.
    Balanced,
}

/// Class weights with the counts they follow from. Kept as counts, so that reading them back loses no digit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prior {
    pub class_weight: ClassWeight,
    /// Of the rows that the model was trained on.
    pub positives: u64,
    pub negatives: u64,
}

impl Prior {
    pub fn of(class_weight: ClassWeight, labels: &[bool]) -> Prior {
        let positives = labels.iter().filter(|label| **label).count() as u64;
        Prior { class_weight, positives, negatives: labels.len() as u64 - positives }
    }

    /// A weight per label; `None` where all are 1.
    pub fn weights(&self, labels: &[bool]) -> Option<Vec<f32>> {
        let (positive, negative) = self.class_weights()?;
        Some(labels.iter().map(|label| if *label { positive } else { negative }).collect())
    }

    /// The probability behind what the weighted model says.
    pub fn correct(&self, model_says: f64) -> f64 {
        match self.class_weights() {
            None => model_says,
            Some((positive, negative)) => {
                let ratio = f64::from(positive) / f64::from(negative);
                model_says / (model_says + (1.0 - model_says) * ratio)
            }
        }
    }

    fn class_weights(&self) -> Option<(f32, f32)> {
        if self.class_weight == ClassWeight::None || self.positives == 0 || self.negatives == 0 {
            return None;
        }
        let half = (self.positives + self.negatives) as f64 / 2.0;
        Some(((half / self.positives as f64) as f32, (half / self.negatives as f64) as f32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn balanced_weights_are_those_of_scikit_learn() {
        // compute_class_weight("balanced", classes=[0, 1], y=[0, 0, 0, 1]) == [0.6667, 2.0]
        let labels = [false, false, false, true];
        let prior = Prior::of(ClassWeight::Balanced, &labels);
        assert_eq!(prior.weights(&labels).unwrap(), [2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 2.0]);
        assert_eq!(Prior::of(ClassWeight::None, &labels).weights(&labels), None);
    }

    proptest! {
        #[test]
        fn a_model_that_learned_the_weighted_rate_gives_the_true_one_back(p in 1u64..500, n in 1u64..500) {
            let prior = Prior { class_weight: ClassWeight::Balanced, positives: p, negatives: n };
            // Balanced weights make the weighted base rate one half.
            let rate = p as f64 / (p + n) as f64;
            prop_assert!((prior.correct(0.5) - rate).abs() < 1e-6);
            prop_assert_eq!((prior.correct(0.0), prior.correct(1.0)), (0.0, 1.0));
            prop_assert_eq!(Prior { class_weight: ClassWeight::None, ..prior }.correct(0.3), 0.3);
        }
    }
}
