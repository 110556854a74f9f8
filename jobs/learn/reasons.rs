//! Why a score is what it is: the groups of inputs that raised the risk most, as stable codes.
//!
//! A model's contributions say, row by row, how far each input moved the raw margin from its mean (SHAP values:
//! S. Lundberg and S.-I. Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017). Correlated inputs
//! share one effect in ways that mean nothing by themselves, so they are summed by declared group, which is exact, as
//! contributions add. A reason is a group whose sum is adverse, that is above zero: it raised the probability of the
//! bad outcome. The largest come first, equal ones in the order of the definition. Protected inputs are never a
//! reason: what they contribute is in the score and in no group.

use crate::error::{Error, Result};

/// A declared group of inputs, in the order of the definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasonGroup {
    /// Stable over versions, e.g. `R01`.
    pub code: String,
    /// What the customer is told.
    pub sentence: String,
}

/// Which group each feature of a model belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reasons {
    groups: Vec<ReasonGroup>,
    /// By feature; `None` for protected ones.
    group_of: Vec<Option<usize>>,
    count: usize,
}

impl Reasons {
    /// Assigns every feature: `protected` first, then the first group that `holds` it (group number, feature).
    ///
    /// `count` is how many reasons a row gets at most. `Definition` error where a feature is neither protected nor in
    /// a group, a group holds nothing that can be a reason, or a code is used twice.
    pub fn new(
        features: &[String],
        groups: Vec<ReasonGroup>,
        holds: impl Fn(usize, &str) -> bool,
        protected: impl Fn(&str) -> bool,
        count: usize,
    ) -> Result<Reasons> {
        for (at, group) in groups.iter().enumerate() {
            if groups[..at].iter().any(|before| before.code == group.code) {
                return Err(Error::definition(format!(
                    "reason code `{}` is used twice; codes must differ",
                    group.code
                )));
            }
        }
        let mut group_of = Vec::with_capacity(features.len());
        for feature in features {
            let group = (0..groups.len()).find(|group| holds(*group, feature));
            if group.is_none() && !protected(feature) {
                return Err(Error::definition(format!(
                    "input `{feature}` is in no reason group: add it to the `inputs` of one under `reasons.groups`, or \
                     to `reasons.protected`"
                )));
            }
            group_of.push(group.filter(|_| !protected(feature)));
        }
        for (at, group) in groups.iter().enumerate() {
            if !group_of.contains(&Some(at)) {
                return Err(Error::definition(format!(
                    "reason `{}` can never be given: none of the model's inputs is in its group first, unprotected",
                    group.code
                )));
            }
        }
        Ok(Reasons { groups, group_of, count })
    }

    pub fn groups(&self) -> &[ReasonGroup] {
        &self.groups
    }

    /// The adverse groups of one row, the largest first, at most `count`; numbers into [`Reasons::groups`].
    ///
    /// `contributions` has one value per feature on the raw margin, without the expected value. `Internal` error
    /// where it has another length or a value is NaN.
    pub fn of_row(&self, contributions: &[f64]) -> Result<Vec<usize>> {
        if contributions.len() != self.group_of.len() {
            return Err(Error::internal(format!(
                "{} contributions of {} features",
                contributions.len(),
                self.group_of.len()
            )));
        }
        let mut sums = vec![0.0; self.groups.len()];
        for (feature, (group, value)) in self.group_of.iter().zip(contributions).enumerate() {
            if value.is_nan() {
                return Err(Error::internal(format!("the contribution of feature {feature} is NaN")));
            }
            if let Some(group) = group {
                sums[*group] += value;
            }
        }
        let mut adverse: Vec<usize> = (0..sums.len()).filter(|group| sums[*group] > 0.0).collect();
        adverse.sort_by(|a, b| sums[*b].total_cmp(&sums[*a])); // Stable: equal sums stay in the groups' order.
        adverse.truncate(self.count);
        Ok(adverse)
    }

    /// The reasons of every row of row-major `contributions` (rows × features).
    pub fn of_rows(&self, contributions: &[f64]) -> Result<Vec<Vec<usize>>> {
        let width = self.group_of.len();
        if width == 0 || !contributions.len().is_multiple_of(width) {
            return Err(Error::internal(format!("{} contributions of {width} features", contributions.len())));
        }
        contributions.chunks_exact(width).map(|row| self.of_row(row)).collect()
    }

    /// The codes of the groups that [`Reasons::of_row`] gives.
    pub fn codes(&self, groups: &[usize]) -> Vec<&str> {
        groups.iter().map(|group| self.groups[*group].code.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FEATURES: [&str; 5] = ["pay.a", "pay.b", "age", "shop.a", "shop.b"];

    fn made(names: &[&str], holds: impl Fn(usize, &str) -> bool, count: usize) -> Result<Reasons> {
        let features: Vec<String> = FEATURES.iter().map(|f| f.to_string()).collect();
        let groups = names.iter().map(|n| ReasonGroup { code: n.to_string(), sentence: format!("Of {n}.") }).collect();
        Reasons::new(&features, groups, holds, |feature| feature == "age", count)
    }

    fn by_prefix(group: usize, feature: &str) -> bool {
        feature.starts_with(["pay", "shop"][group])
    }

    #[test]
    fn groups_are_summed_and_protected_inputs_are_silent() {
        let reasons = made(&["R01", "R02"], by_prefix, 4).unwrap();
        let of = |row: [f64; 5]| reasons.codes(&reasons.of_row(&row).unwrap()).join(" ");
        assert_eq!(of([0.3, -0.1, 9.0, 0.5, 0.0]), "R02 R01");
        // One large adverse input, outweighed within its group, is no reason.
        assert_eq!(of([2.0, -2.5, 1.0, 0.1, 0.0]), "R02");
        assert_eq!(of([-1.0, 0.0, 5.0, -0.1, 0.0]), "", "nothing adverse but what is protected");
        assert_eq!(of([0.2, 0.0, 0.0, 0.1, 0.1]), "R01 R02", "equal sums in the order of the groups");
        assert_eq!(reasons.groups()[1].sentence, "Of R02.");
        let rows = reasons.of_rows(&[0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]).unwrap();
        assert_eq!(rows, [[1], [0]]);
    }

    #[test]
    fn a_group_that_names_a_protected_input_does_not_get_it() {
        let reasons = made(&["R01", "R02"], |group, feature| by_prefix(group, feature) || feature == "age", 4).unwrap();
        assert_eq!(reasons.of_row(&[0.0, 0.0, 3.0, 0.0, 0.1]).unwrap(), [1]);
    }

    #[test]
    fn wrong_groups_are_refused() {
        let refused = |names: &[&str], holds: fn(usize, &str) -> bool| made(names, holds, 4).unwrap_err().to_string();
        assert!(refused(&["R01"], |_, f| f.starts_with("pay")).contains("`shop.a` is in no reason group"));
        assert!(refused(&["R01", "R01"], by_prefix).contains("`R01` is used twice"));
        assert!(refused(&["R01", "R02"], |group, _| group == 0).contains("`R02` can never be given"));
        let reasons = made(&["R01", "R02"], by_prefix, 4).unwrap();
        assert!(reasons.of_row(&[0.0]).is_err() && reasons.of_rows(&[0.0; 6]).is_err());
        assert!(reasons.of_row(&[0.0, 0.0, 0.0, f64::NAN, 0.0]).is_err());
    }

    proptest! {
        #[test]
        fn no_group_left_out_is_worse(row in proptest::collection::vec(-3i8..4, 5), count in 0usize..4) {
            let holds = |group: usize, feature: &str| match group {
                0 => feature == "pay.a",
                1 => feature.starts_with("shop"),
                _ => feature == "pay.b",
            };
            let reasons = made(&["A", "B", "C"], holds, count).unwrap();
            let row: Vec<f64> = row.iter().map(|v| f64::from(*v)).collect();
            let sums = [row[0], row[3] + row[4], row[1]];
            let got = reasons.of_row(&row).unwrap();
            prop_assert_eq!(got.len(), count.min(sums.iter().filter(|s| **s > 0.0).count()));
            prop_assert!(got.windows(2).all(|p| sums[p[0]] > sums[p[1]] || sums[p[0]] == sums[p[1]] && p[0] < p[1]));
            let least = got.iter().map(|g| sums[*g]).fold(f64::INFINITY, f64::min);
            prop_assert!(got.len() < count || (0..3).all(|g| got.contains(&g) || sums[g] <= least));
        }
    }
}
