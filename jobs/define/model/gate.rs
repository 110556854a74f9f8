//! What a candidate must reach before it replaces the champion, and what a live model must keep.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::decisions::Decision;
use crate::define::diagnostic::Diagnostic;
use crate::define::map::Map;
use crate::define::yaml::Origin;

/// What a candidate is held to before it replaces the champion.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Test metrics that any version must reach.
    #[serde(default)]
    pub floors: Floors,
    /// Bounds against the champion.
    #[serde(default)]
    pub checks: Checks,
    /// Cases that must get a given action.
    #[serde(default)]
    pub asserts: Vec<Assert>,
}

/// Test metrics that any version must reach; the first has nothing else to be held to.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Floors {
    /// Area under the ROC curve, at least.
    pub roc_auc: Option<f64>,
    /// Average precision, at least.
    pub average_precision: Option<f64>,
    /// Kolmogorov-Smirnov distance of the two classes' scores, at least.
    pub ks: Option<f64>,
}

/// Checks against the champion, on the same rows by the same code.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Checks {
    /// Average precision on the test rows.
    pub average_precision: Limit,
    /// Area under the ROC curve on the test rows; without it, not checked.
    pub roc_auc: Option<Limit>,
    /// How far probabilities lie from the shares that came true.
    pub calibration_error: Limit,
    /// Spearman's rank correlation of the importances.
    pub rank_agreement: Limit,
    /// Share of entities that would get another action.
    pub action_changes: Limit,
    /// Population stability index of the scores.
    pub psi: Limit,
    /// Share of entities that get a score from at least one input that is not missing.
    pub coverage: Limit,
    /// The gap between groups in the share that is favoured; without it, not checked.
    pub demographic_parity: Option<Limit>,
    /// The same gap among rows whose outcome was good; without it, not checked.
    pub equal_opportunity: Option<Limit>,
    /// Average precision against the frozen anchor.
    pub anchor: Limit,
}

impl Default for Checks {
    fn default() -> Self {
        Checks {
            average_precision: Limit { min_change: Some(-0.01), ..Limit::default() },
            roc_auc: None,
            calibration_error: Limit { max: Some(0.05), max_change: Some(0.02), ..Limit::default() },
            rank_agreement: Limit { min: Some(0.3), ..Limit::default() },
            action_changes: Limit { max: Some(0.25), ..Limit::default() },
            psi: Limit { max: Some(0.25), ..Limit::default() },
            coverage: Limit { min: Some(0.95), ..Limit::default() },
            demographic_parity: None,
            equal_opportunity: None,
            anchor: Limit { min_change: Some(-0.03), ..Limit::default() },
        }
    }
}

/// Bounds of a value, and of its difference from the champion's. For metrics of rows the difference's bound holds for
/// the pessimistic end of a paired bootstrap interval, not for the point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// The value is at least this.
    pub min: Option<f64>,
    /// The value is at most this.
    pub max: Option<f64>,
    /// The value less the champion's is at least this.
    pub min_change: Option<f64>,
    /// The value less the champion's is at most this.
    pub max_change: Option<f64>,
    /// Of the interval.
    #[schemars(extend("default" = 0.95))]
    pub confidence: Option<f64>,
}

/// A named case that must get a given action.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "RawAssert")]
#[schemars(with = "RawAssert")]
pub struct Assert {
    pub name: String,
    pub case: AssertCase,
    pub action: String,
}

/// Who: an entity, or all rows that a condition over inputs holds for, of which a share must get the action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum AssertCase {
    /// One text per column of the model's entity, joined by `/` where there are several.
    Entity(String),
    Rows {
        condition: String,
        share: f64,
    },
}

/// A named case that must get a given action: an entity, or a share of the rows of a condition.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawAssert {
    /// What the case is called.
    name: String,
    /// Whom it is about: one text per column of the model's entity, joined by `/` where there are several.
    entity: Option<String>,
    /// In place of `entity`: a condition over inputs.
    #[serde(rename = "where")]
    condition: Option<String>,
    /// The share of the rows of `where` that must get the action.
    #[schemars(extend("default" = 1))]
    share: Option<f64>,
    /// The action that it must get.
    action: String,
}

impl TryFrom<RawAssert> for Assert {
    type Error = String;

    fn try_from(raw: RawAssert) -> Result<Assert, String> {
        let case = match (raw.entity, raw.condition, raw.share) {
            (Some(entity), None, None) => AssertCase::Entity(entity),
            (None, Some(condition), share) => AssertCase::Rows { condition, share: share.unwrap_or(1.0) },
            _ => {
                return Err(format!(
                    "assert `{}` names nobody, expected `entity`, or `where` and perhaps `share`",
                    raw.name
                ));
            }
        };
        Ok(Assert { name: raw.name, case, action: raw.action })
    }
}

/// What is measured every night, and what is too much.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Monitoring {
    /// Of scores and inputs, against the training rows.
    pub psi: Level,
    /// How much larger the share of missing values of an input is than in training.
    pub missing: Level,
    /// Change of the number of entities scored, as a share of the champion's first night.
    pub population: Level,
    /// Change of the share of labels that are true, as a share of the training rows'.
    pub base_rate: Level,
    /// By how much the ROC AUC of past scores, once their labels are known, lies below that of the test rows.
    pub auc_drop: Level,
    /// Calibration error of past scores.
    pub calibration_error: Level,
}

impl Default for Monitoring {
    fn default() -> Self {
        let warn = |warn: f64| Level { warn: Some(warn), fail: None };
        Monitoring {
            psi: warn(0.25),
            missing: warn(0.10),
            population: warn(0.50),
            base_rate: warn(0.50),
            auc_drop: warn(0.05),
            calibration_error: warn(0.05),
        }
    }
}

/// From where on a measured value is told of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// A larger value is a warning.
    pub warn: Option<f64>,
    /// A larger value is a failure.
    pub fail: Option<f64>,
}

pub(super) fn check(gate: &Gate, decisions: &[Decision], fairness: bool, origin: &Origin, out: &mut Vec<Diagnostic>) {
    let actions = || decisions.iter().map(|decision| decision.action.as_str());
    for (index, assert) in gate.asserts.iter().enumerate() {
        let path = |key: &str| format!("gate.asserts.{index}.{key}");
        if !actions().any(|action| action == assert.action) {
            let d =
                origin.at(&path("action"), format!("assert `{}` expects an action that is never taken", assert.name));
            out.push(d.expected_one_of(&assert.action, actions()));
        }
        if let AssertCase::Rows { share, .. } = assert.case
            && !(share > 0.0 && share <= 1.0)
        {
            let d = origin.at(&path("share"), "how many of the rows must get the action").found(share.to_string());
            out.push(d.expected("a share above 0, at most 1"));
        }
    }
    for (name, limit) in gate.checks.named() {
        let path = format!("gate.checks.{name}");
        if limit == Limit::default() {
            out.push(origin.at(&path, "a check without a threshold").expected("min, max, min_change or max_change"));
        }
        if limit.confidence.is_some_and(|c| !(c > 0.0 && c < 1.0)) {
            out.push(origin.at(&path, "a confidence").expected("above 0 and below 1, such as 0.95"));
        }
        if let (Some(min), Some(max)) = (limit.min, limit.max)
            && min > max
        {
            out.push(origin.at(&path, "`min` lies above `max`").found(format!("{min} and {max}")));
        }
        if ["demographic_parity", "equal_opportunity"].contains(&name) && !fairness {
            let d = origin.at(&path, "there are no groups to compare");
            out.push(d.expected("`fairness: {groups: {…}}` in the model"));
        }
    }
}

impl Checks {
    /// Those that are made, by name.
    pub fn named(&self) -> Vec<(&'static str, Limit)> {
        let all = [
            ("average_precision", Some(self.average_precision)),
            ("roc_auc", self.roc_auc),
            ("calibration_error", Some(self.calibration_error)),
            ("rank_agreement", Some(self.rank_agreement)),
            ("action_changes", Some(self.action_changes)),
            ("psi", Some(self.psi)),
            ("coverage", Some(self.coverage)),
            ("demographic_parity", self.demographic_parity),
            ("equal_opportunity", self.equal_opportunity),
            ("anchor", Some(self.anchor)),
        ];
        all.into_iter().filter_map(|(name, limit)| Some((name, limit?))).collect()
    }
}

pub(super) fn monitoring(monitoring: &Monitoring, origin: &Origin, out: &mut Vec<Diagnostic>) {
    let levels: Map<Level> = [
        ("psi", monitoring.psi),
        ("missing", monitoring.missing),
        ("population", monitoring.population),
        ("base_rate", monitoring.base_rate),
        ("auc_drop", monitoring.auc_drop),
        ("calibration_error", monitoring.calibration_error),
    ]
    .into_iter()
    .map(|(name, level)| (name.to_string(), level))
    .collect();
    for (name, level) in &levels {
        let path = format!("monitoring.{name}");
        if [level.warn, level.fail].into_iter().flatten().any(|bound| !(bound >= 0.0 && bound.is_finite())) {
            out.push(origin.at(&path, "a threshold of monitoring").expected("0 or more"));
        }
        if let (Some(warn), Some(fail)) = (level.warn, level.fail)
            && warn > fail
        {
            let d = origin.at(&path, "it fails before it warns").found(format!("warn {warn}, fail {fail}"));
            out.push(d.expected("`warn` at most `fail`"));
        }
    }
}
