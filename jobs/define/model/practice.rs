//! What credit practice asks of a model beside being right: who was refused before, and who is treated alike.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::define::diagnostic::Diagnostic;
use crate::define::map::Map;
use crate::define::yaml::Origin;

/// Groups of entities whose actions are compared.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fairness {
    /// Name → SQL over features or the spine row, whose values are the groups.
    pub groups: Map<String>,
    /// The action that is worth having; the first decision's where none is given.
    pub favourable: Option<String>,
    /// Smaller groups are shown and not compared.
    #[serde(default = "default_min_rows")]
    pub min_rows: usize,
}

fn default_min_rows() -> usize {
    100
}

/// How rows that were refused, and so have no label, take part in training.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RejectInference {
    /// The way in which refused rows take part.
    pub kind: RejectKind,
    /// SQL over the spine row: true where the decision was to accept, and the label tells.
    pub accepted: String,
    /// Of parcelling: how many times likelier a refused row is to be bad than an accepted one of the same band.
    #[schemars(extend("default" = 1))]
    pub factor: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RejectKind {
    /// They take no part.
    None,
    /// The accepted of a band of the acceptance score stand for all of it.
    Augmentation,
    /// They are bad as often as the accepted of their risk band, times `factor`.
    Parcelling,
    /// They come twice, as bad and as good, weighted.
    Fuzzy,
    /// An accepted row weighs the inverse of the probability that it was accepted.
    InversePropensity,
}

pub(super) fn check(
    fairness: Option<&Fairness>,
    reject: Option<&RejectInference>,
    origin: &Origin,
    out: &mut Vec<Diagnostic>,
) {
    if fairness.is_some_and(|fairness| fairness.groups.is_empty()) {
        out.push(origin.at("fairness.groups", "nobody to compare").expected("a name and SQL whose values are groups"));
    }
    if let Some(factor) = reject.and_then(|reject| reject.factor)
        && !(factor > 0.0 && factor.is_finite())
    {
        let d = origin.at("reject_inference.factor", "how much likelier a refused row is to be bad");
        out.push(d.found(factor.to_string()).expected("a positive number, such as 1.5"));
    }
}
