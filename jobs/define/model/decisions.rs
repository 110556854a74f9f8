//! What a probability means on a scale, what it decides, and what explains it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::head::HeadKind;
use crate::define::diagnostic::Diagnostic;
use crate::define::map::Map;
use crate::define::yaml::Origin;

/// The score of a probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum ScoreScale {
    /// Straight from the score at probability 0 to the score at probability 1.
    Linear { from: f64, to: f64 },
    /// Scorecard points: `points` at odds of `at_odds` good to one bad, and `double_odds` more for each doubling.
    Points { points: f64, at_odds: f64, double_odds: f64 },
}

/// What a probability is on the scale of scores: a line between two ends, or points of a scorecard.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ScoreScale")]
pub(super) struct RawScale {
    /// The score at probability 0.
    from: Option<f64>,
    /// The score at probability 1.
    to: Option<f64>,
    /// In place of `from` and `to`: the points at odds of `at_odds`.
    points: Option<f64>,
    /// Good to one bad, where the score is `points`.
    at_odds: Option<f64>,
    /// How many points more each doubling of the odds is worth.
    double_odds: Option<f64>,
}

/// An action, and the probability below which it is taken; the last has no bound.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// The action's name.
    pub action: String,
    /// The probability below which it is taken; the last decision has none.
    pub below: Option<f64>,
    /// How much may be lent, or sold on delivery, in this band.
    pub limit: Option<f64>,
}

/// Why a probability is as high as it is.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reasons {
    /// At most so many reasons for each score.
    #[serde(default = "four")]
    pub count: usize,
    /// Inputs that say the same together, by name.
    pub groups: Map<Reason>,
    /// Patterns of inputs that are never given as a reason.
    #[serde(default)]
    pub protected: Vec<String>,
}

fn four() -> usize {
    4
}

/// Inputs that say the same together.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Stable, as downstream systems store it.
    pub code: String,
    /// What it says to a person.
    pub sentence: String,
    /// `group.feature` patterns; the first group that matches an input has it.
    pub inputs: Vec<String>,
}

const EXPECTED: &str = "`from` and `to`, or `points`, `at_odds` and `double_odds`";

pub(super) fn scale(raw: Option<RawScale>, origin: &Origin, out: &mut Vec<Diagnostic>) -> Option<ScoreScale> {
    let Some(raw) = raw else { return Some(ScoreScale::Linear { from: 100.0, to: 0.0 }) };
    let found = match raw {
        RawScale { from: Some(from), to: Some(to), points: None, at_odds: None, double_odds: None } => {
            (from.is_finite() && to.is_finite() && from != to).then_some(ScoreScale::Linear { from, to })
        }
        RawScale { from: None, to: None, points: Some(points), at_odds: Some(at_odds), double_odds: Some(d) } => {
            let sound = points.is_finite() && at_odds > 0.0 && at_odds.is_finite() && d > 0.0 && d.is_finite();
            sound.then_some(ScoreScale::Points { points, at_odds, double_odds: d })
        }
        _ => None,
    };
    if found.is_none() {
        let help = "the two ends differ; odds and points to double them are above 0";
        out.push(origin.at("score", "this is no scale").expected(EXPECTED).help(help));
    }
    found
}

pub(super) fn decisions(decisions: &[Decision], origin: &Origin, out: &mut Vec<Diagnostic>) {
    let mut lower = 0.0;
    for (index, decision) in decisions.iter().enumerate() {
        let path = format!("decisions.{index}");
        let last = index + 1 == decisions.len();
        match decision.below {
            None if !last => out.push(origin.at(&path, "only the last decision has no bound").expected("`below`")),
            Some(_) if last => {
                let d = origin.at(&path, "the last decision takes what is left");
                out.push(d.expected("no `below`").help("add a decision without a bound after it"));
            }
            Some(bound) if !(bound > lower && bound < 1.0) => {
                let d = origin.at(&path, "the bounds of decisions rise").found(bound.to_string());
                out.push(d.expected(format!("a probability above {lower} and below 1")));
            }
            Some(bound) => lower = bound,
            None => {}
        }
        if let Some(limit) = decision.limit.filter(|limit| !(*limit >= 0.0 && limit.is_finite())) {
            let d = origin.at(&format!("{path}.limit"), "the limit of a band").found(limit.to_string());
            out.push(d.expected("0 or more"));
        }
    }
    if decisions.is_empty() {
        out.push(origin.at("decisions", "a score without a decision").expected("at least one action"));
    }
}

pub(super) fn reasons(reasons: Option<&Reasons>, head: HeadKind, origin: &Origin, out: &mut Vec<Diagnostic>) {
    let Some(reasons) = reasons else { return };
    if !head.explains() {
        let d = origin.at("reasons", format!("a {} head does not say what its inputs contribute", head.name()));
        out.push(d.expected("a head of trees, logistic or linear_svm"));
    }
    if reasons.count == 0 || reasons.groups.is_empty() {
        out.push(origin.at("reasons", "no reason can be given").expected("a positive `count` and at least one group"));
    }
    let codes: Vec<&str> = reasons.groups.values().map(|reason| reason.code.as_str()).collect();
    for (index, (name, reason)) in reasons.groups.iter().enumerate() {
        if codes[..index].contains(&reason.code.as_str()) {
            let d = origin.at(&format!("reasons.groups.{name}.code"), "a code stands for one reason");
            out.push(d.found(&reason.code).expected("a code that no other group has"));
        }
    }
}
