//! What learns, and which of its parameters are looked for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use crate::define::diagnostic::Diagnostic;
use crate::define::map::Map;
use crate::define::yaml::Origin;

/// What learns, and how.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// What learns.
    pub kind: HeadKind,
    /// By the names of the head's own library; checked by the learner.
    #[serde(default)]
    #[schemars(with = "Map<serde_json::Value>")]
    pub params: Map<Value>,
    /// Whether both classes weigh alike in training.
    #[serde(default)]
    pub class_weight: ClassWeight,
    /// Trees, or passes over the rows, at most.
    #[serde(default = "default_rounds")]
    pub rounds: u32,
    /// Rounds without a better result on the validation rows, after which training stops.
    #[serde(default = "default_early_stopping")]
    pub early_stopping: u32,
    /// Of everything that is drawn in training.
    #[serde(default = "default_seed")]
    pub seed: u64,
}

fn default_rounds() -> u32 {
    1000
}

fn default_early_stopping() -> u32 {
    50
}

fn default_seed() -> u64 {
    1
}

/// A learner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeadKind {
    /// Gradient boosted trees.
    Lightgbm,
    /// Trees of random rows and inputs, averaged.
    RandomForest,
    /// The same with random thresholds.
    ExtraTrees,
    /// A single tree.
    Tree,
    /// Logistic regression.
    Logistic,
    /// A linear support vector machine, which needs `calibration`.
    LinearSvm,
    /// A multilayer perceptron.
    Mlp,
}

impl HeadKind {
    /// Whether it is made of trees: these take missing values and categories as they are, and monotone constraints.
    pub fn is_trees(self) -> bool {
        matches!(self, HeadKind::Lightgbm | HeadKind::RandomForest | HeadKind::ExtraTrees | HeadKind::Tree)
    }

    /// Whether its margin is a sum of contributions of its inputs.
    pub fn explains(self) -> bool {
        self != HeadKind::Mlp
    }

    pub fn name(self) -> &'static str {
        match self {
            HeadKind::Lightgbm => "lightgbm",
            HeadKind::RandomForest => "random_forest",
            HeadKind::ExtraTrees => "extra_trees",
            HeadKind::Tree => "tree",
            HeadKind::Logistic => "logistic",
            HeadKind::LinearSvm => "linear_svm",
            HeadKind::Mlp => "mlp",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClassWeight {
    /// Rows weigh what `weight` says.
    #[default]
    None,
    /// Both classes weigh the same together.
    Balanced,
}

/// Hyperparameters to look for, within bounds.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// How many sets of parameters are tried.
    pub trials: u32,
    /// Of what is tried.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// What the best trial is best by.
    #[serde(default)]
    pub metric: SearchMetric,
    /// Whether a trial that falls behind the median of its likes is stopped early.
    #[serde(default = "yes")]
    pub prune: bool,
    /// Parameter of the head → where to look.
    pub space: Map<Range>,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SearchMetric {
    RocAuc,
    #[default]
    AveragePrecision,
    LogLoss,
}

/// Where to look for one parameter: between two numbers, whole if both are, or among choices.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SearchRange")]
pub struct Range {
    /// The least value.
    #[schemars(with = "Option<f64>")]
    pub from: Option<Value>,
    /// The largest value.
    #[schemars(with = "Option<f64>")]
    pub to: Option<Value>,
    /// How values between the two are drawn.
    #[serde(default)]
    pub scale: Scale,
    /// In place of `from` and `to`: the values to try.
    #[serde(default)]
    #[schemars(with = "Vec<serde_json::Value>")]
    pub choices: Vec<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Evenly.
    #[default]
    Linear,
    /// Evenly by magnitude.
    Log,
}

const MAX_TRIALS: u32 = 10_000;

pub(super) fn check(head: &Head, search: Option<&Search>, origin: &Origin, out: &mut Vec<Diagnostic>) {
    if head.rounds == 0 {
        out.push(origin.at("head.rounds", "no rounds, no model").found("0").expected("a positive number"));
    }
    let Some(search) = search else { return };
    if search.trials == 0 || search.trials > MAX_TRIALS {
        let d = origin.at("search.trials", "a search is bounded").found(search.trials.to_string());
        out.push(d.expected(format!("1 to {MAX_TRIALS}")));
    }
    if search.space.is_empty() {
        out.push(origin.at("search.space", "a search of nothing").expected("at least one parameter of the head"));
    }
    for (name, range) in &search.space {
        let path = format!("search.space.{name}");
        if head.params.contains_key(name) {
            let d = origin.at(&path, format!("`{name}` is both fixed and looked for"));
            out.push(d.help("take it out of `head.params`, or out of `search.space`"));
        }
        if let Err(expected) = range.check() {
            out.push(origin.at(&path, format!("where to look for `{name}` is not clear")).expected(expected));
        }
    }
}

impl Range {
    fn check(&self) -> Result<(), &'static str> {
        let number = |value: &Option<Value>| value.as_ref().and_then(Value::as_f64);
        match (number(&self.from), number(&self.to), self.choices.as_slice()) {
            (Some(from), Some(to), []) if from < to => match self.scale {
                Scale::Log if from <= 0.0 => Err("a lower bound above 0 on a log scale"),
                _ => Ok(()),
            },
            (None, None, [_, _, ..]) if self.from.is_none() && self.to.is_none() => Ok(()),
            _ => Err("`from` below `to`, or at least two `choices`"),
        }
    }
}
