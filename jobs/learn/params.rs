//! The parameters of a head that a definition may set, checked before training.
//!
//! Heads of trees take LightGBM's. LightGBM itself takes any key: it ignores what it does not know, accepts several spellings of one parameter and
//! lets the last one win. Here a parameter has one name, LightGBM's canonical one; an alias, an unknown name and a
//! parameter that the definition language has its own key for, or that the kind of head fixes, are refused with what to
//! write instead. The other heads have few parameters, listed here.
//! The canonical names and aliases come from the library (`LGBM_DumpParamAliases`), so they cannot go stale.

use std::collections::BTreeMap;

use serde_json::Value;

use super::heads::dense::Shape;
use super::lightgbm;
use crate::define::model::HeadKind;
use crate::error::{Error, Result};

/// What a parameter accepts. Bounds are LightGBM's own (docs/Parameters.rst).
enum Accepts {
    Bool,
    /// Inclusive bounds.
    Int(i64, i64),
    /// `lower < x` where the flag is set, else `lower <= x`; and `x <= upper`.
    Float(f64, bool, f64),
    OneOf(&'static [&'static str]),
    /// A list of whole numbers, or one: widths of layers.
    Widths,
}

const COUNT: i64 = i32::MAX as i64;
const INF: f64 = f64::INFINITY;

/// Everything about how trees grow that does not interfere with what this module promises (determinism, early
/// stopping that can cut the model at its best round, one probability per row).
const TUNABLE: &[(&str, Accepts)] = &[
    ("bagging_fraction", Accepts::Float(0.0, true, 1.0)),
    ("bagging_freq", Accepts::Int(0, COUNT)),
    ("bin_construct_sample_cnt", Accepts::Int(1, COUNT)),
    ("boost_from_average", Accepts::Bool),
    // Not dart: it rescales earlier trees in later rounds, so a model cut at its best round is not that round's model.
    ("boosting", Accepts::OneOf(&["gbdt", "rf"])),
    ("cat_l2", Accepts::Float(0.0, false, INF)),
    ("cat_smooth", Accepts::Float(0.0, false, INF)),
    ("data_sample_strategy", Accepts::OneOf(&["bagging", "goss"])),
    ("enable_bundle", Accepts::Bool),
    ("extra_trees", Accepts::Bool),
    ("feature_fraction", Accepts::Float(0.0, true, 1.0)),
    ("feature_fraction_bynode", Accepts::Float(0.0, true, 1.0)),
    ("feature_pre_filter", Accepts::Bool),
    ("is_enable_sparse", Accepts::Bool),
    ("lambda_l1", Accepts::Float(0.0, false, INF)),
    ("lambda_l2", Accepts::Float(0.0, false, INF)),
    ("learning_rate", Accepts::Float(0.0, true, INF)),
    ("max_bin", Accepts::Int(2, 65535)),
    ("max_cat_threshold", Accepts::Int(1, COUNT)),
    ("max_cat_to_onehot", Accepts::Int(1, COUNT)),
    ("max_delta_step", Accepts::Float(-INF, false, INF)),
    ("max_depth", Accepts::Int(-1, COUNT)),
    ("min_data_in_bin", Accepts::Int(1, COUNT)),
    ("min_data_in_leaf", Accepts::Int(0, COUNT)),
    ("min_data_per_group", Accepts::Int(1, COUNT)),
    ("min_gain_to_split", Accepts::Float(0.0, false, INF)),
    ("min_sum_hessian_in_leaf", Accepts::Float(0.0, false, INF)),
    ("neg_bagging_fraction", Accepts::Float(0.0, true, 1.0)),
    ("num_leaves", Accepts::Int(2, 131_072)),
    ("other_rate", Accepts::Float(0.0, false, 1.0)),
    ("path_smooth", Accepts::Float(0.0, false, INF)),
    ("pos_bagging_fraction", Accepts::Float(0.0, true, 1.0)),
    ("top_rate", Accepts::Float(0.0, false, 1.0)),
    ("use_missing", Accepts::Bool),
    ("zero_as_missing", Accepts::Bool),
];

/// Of logistic regression and the linear SVM; `C` and `penalty` as in scikit-learn.
const LINEAR: &[(&str, Accepts)] = &[
    ("C", Accepts::Float(0.0, true, INF)),
    ("penalty", Accepts::OneOf(&["l2", "l1"])),
    ("tol", Accepts::Float(0.0, true, 1.0)),
    ("transform", Accepts::OneOf(&Shape::NAMES)),
];

const MLP: &[(&str, Accepts)] = &[
    ("batch_size", Accepts::Int(1, COUNT)),
    ("hidden", Accepts::Widths),
    ("learning_rate", Accepts::Float(0.0, true, INF)),
    ("transform", Accepts::OneOf(&Shape::NAMES)),
    ("weight_decay", Accepts::Float(0.0, false, INF)),
];

/// What the kind of a head of trees says already.
const FOREST: &[(&str, &str)] = &[
    ("boosting", "a forest averages its trees"),
    ("data_sample_strategy", "the trees of a forest see random rows: see `bagging_fraction`"),
    ("extra_trees", "write `kind: extra_trees`, or `kind: random_forest`"),
    ("learning_rate", "a forest averages its trees, all of the same weight"),
    ("other_rate", "the trees of a forest see random rows: see `bagging_fraction`"),
    ("top_rate", "the trees of a forest see random rows: see `bagging_fraction`"),
];
const TREE: &[(&str, &str)] = &[("boosting", "there is one tree"), ("learning_rate", "a single tree counts in full")];

/// Parameters that have another place, and which.
const OWNED: &[(&str, &str)] = &[
    ("bagging_seed", "it follows from the head's `seed`"),
    ("categorical_feature", "it follows from the class of the inputs"),
    ("data_random_seed", "it follows from the head's `seed`"),
    ("deterministic", "it is always true"),
    ("drop_seed", "it follows from the head's `seed`"),
    ("early_stopping_min_delta", "any improvement counts"),
    ("early_stopping_round", "write `early_stopping` in the head"),
    ("extra_seed", "it follows from the head's `seed`"),
    ("feature_fraction_seed", "it follows from the head's `seed`"),
    ("force_col_wise", "row-wise histograms are always used, for equal results on any number of threads"),
    ("force_row_wise", "it is always true, for equal results on any number of threads"),
    ("is_unbalance", "write `class_weight: balanced` in the head"),
    ("metric", "training stops on the log loss of the validation rows; all metrics are reported"),
    ("num_class", "the label has two classes"),
    ("num_iterations", "write `rounds` in the head"),
    ("num_threads", "the profile says how many threads a job uses"),
    ("objective", "the label has two classes: it is always `binary`"),
    ("objective_seed", "it follows from the head's `seed`"),
    ("scale_pos_weight", "write `class_weight: balanced` in the head"),
    ("seed", "write `seed` in the head"),
    ("verbosity", "LightGBM's messages go to the log"),
];

/// Checked tuning parameters: canonical names with their values as LightGBM reads them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Params(BTreeMap<String, String>);

impl Params {
    /// Checks names, types and ranges of `given`. All problems are reported at once, as one `Definition` error.
    pub fn check(kind: HeadKind, given: &BTreeMap<String, Value>) -> Result<Params> {
        let aliases = if kind.is_trees() { lightgbm::parameter_aliases()? } else { BTreeMap::new() };
        let mut values = BTreeMap::new();
        let mut problems = Vec::new();
        for (name, value) in given {
            let checked = match kind {
                HeadKind::Logistic | HeadKind::LinearSvm => own(kind, LINEAR, name, value),
                HeadKind::Mlp => own(kind, MLP, name, value),
                trees => fixed(trees, name).and_then(|()| check_one(name, value, &aliases)),
            };
            match checked {
                Ok(text) => {
                    values.insert(name.clone(), text);
                }
                Err(problem) => problems.push(problem),
            }
        }
        if problems.is_empty() { Ok(Params(values)) } else { Err(Error::definition(problems.join("\n"))) }
    }

    /// The value of a parameter that is a number, where it was given.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.0.get(name)?.parse().ok()
    }

    /// The value of a parameter that is a word, where it was given.
    pub fn word(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of a parameter that is a list of widths, where it was given.
    pub fn list(&self, name: &str) -> Option<Vec<usize>> {
        Some(self.0.get(name)?.split(',').filter_map(|width| width.parse().ok()).collect())
    }

    /// Checks what depends on several parameters at once. Apart from [`Params::check`], so that a definition's
    /// parameters can be checked one by one, each with its line.
    pub fn check_together(&self) -> Result<()> {
        if self.0.get("boosting").is_some_and(|b| b == "rf") && !samples_rows(&self.0) {
            return Err(Error::definition(
                "`boosting: rf` needs `bagging_freq` of at least 1 and `bagging_fraction` below 1, or all its trees \
                 are the same",
            ));
        }
        Ok(())
    }

    /// Name and value, in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// The value of a parameter of a head that is not made of trees.
fn own(kind: HeadKind, known: &[(&str, Accepts)], name: &str, value: &Value) -> Result<String, String> {
    match known.iter().find(|(n, _)| *n == name) {
        Some((_, accepts)) => {
            text_of(value, accepts).map_err(|expected| format!("`{name}: {value}`: expected {expected}"))
        }
        None => {
            let names: Vec<&str> = known.iter().map(|(n, _)| *n).collect();
            Err(format!("`{name}` is no parameter of a {} head; it has {}", kind.name(), names.join(", ")))
        }
    }
}

/// Whether a parameter is one that the kind of head says already.
fn fixed(kind: HeadKind, name: &str) -> Result<(), String> {
    let fixed = match kind {
        HeadKind::RandomForest | HeadKind::ExtraTrees => FOREST,
        HeadKind::Tree => TREE,
        _ => &[],
    };
    match fixed.iter().find(|(n, _)| *n == name) {
        Some((_, why)) => Err(format!("`{name}` cannot be set in `params` of a {} head: {why}", kind.name())),
        None => Ok(()),
    }
}

fn samples_rows(values: &BTreeMap<String, String>) -> bool {
    let number = |name: &str| values.get(name).and_then(|v| v.parse::<f64>().ok());
    number("bagging_freq").is_some_and(|n| n >= 1.0) && number("bagging_fraction").is_some_and(|f| f < 1.0)
}

fn check_one(name: &str, value: &Value, aliases: &BTreeMap<String, Vec<String>>) -> Result<String, String> {
    if let Some((_, accepts)) = TUNABLE.iter().find(|(n, _)| *n == name) {
        return text_of(value, accepts).map_err(|expected| format!("`{name}: {value}`: expected {expected}"));
    }
    if let Some((_, instead)) = OWNED.iter().find(|(n, _)| *n == name) {
        return Err(format!("`{name}` cannot be set in `params`: {instead}"));
    }
    if let Some((canonical, _)) = aliases.iter().find(|(_, a)| a.iter().any(|a| a == name)) {
        return Err(match OWNED.iter().find(|(n, _)| n == canonical) {
            Some((_, instead)) => {
                format!("`{name}` (another name of LightGBM's `{canonical}`) cannot be set in `params`: {instead}")
            }
            None if TUNABLE.iter().any(|(n, _)| n == canonical) => {
                format!("`{name}` is another name of `{canonical}`: did you mean `{canonical}`?")
            }
            None => format!("`{name}` (LightGBM's `{canonical}`) cannot be set for a model of two classes"),
        });
    }
    if aliases.contains_key(name) {
        return Err(format!("`{name}` cannot be set: it does not apply to a model of two classes trained in memory"));
    }
    Err(format!("`{name}` is not a LightGBM parameter{}", did_you_mean(name)))
}

fn did_you_mean(name: &str) -> String {
    let near = TUNABLE.iter().map(|(n, _)| (strsim::jaro_winkler(name, n), n)).max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((similarity, near)) if similarity > 0.8 => format!(": did you mean `{near}`?"),
        _ => String::new(),
    }
}

/// The value as LightGBM reads it, or what was expected.
fn text_of(value: &Value, accepts: &Accepts) -> Result<String, String> {
    match accepts {
        Accepts::Bool => value.as_bool().map(|b| b.to_string()).ok_or_else(|| "true or false".to_string()),
        Accepts::Int(lower, upper) => match value.as_i64() {
            Some(n) if (*lower..=*upper).contains(&n) => Ok(n.to_string()),
            _ => Err(format!("an integer from {lower} to {upper}")),
        },
        Accepts::Float(lower, open, upper) => match value.as_f64() {
            Some(x) if x.is_finite() && x <= *upper && (x > *lower || (!open && x == *lower)) => Ok(x.to_string()),
            _ => Err(match (*lower == -INF, *upper == INF) {
                (true, _) => "a number".to_string(),
                (_, true) => format!("a number {} {lower}", if *open { "above" } else { "from" }),
                _ => format!("a number {} {lower}, at most {upper}", if *open { "above" } else { "from" }),
            }),
        },
        Accepts::Widths => {
            let list = value.as_array().map_or_else(|| vec![value.clone()], Clone::clone);
            let widths: Vec<u64> = list.iter().filter_map(Value::as_u64).filter(|n| (1..=4096).contains(n)).collect();
            let texts: Vec<String> = widths.iter().map(ToString::to_string).collect();
            match !list.is_empty() && list.len() <= 8 && widths.len() == list.len() {
                true => Ok(texts.join(",")),
                false => Err("a list of at most 8 widths from 1 to 4096, such as [64, 32]".to_string()),
            }
        }
        Accepts::OneOf(names) => match value.as_str() {
            Some(text) if names.contains(&text) => Ok(text.to_string()),
            _ => Err(format!("one of {}", names.join(", "))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(given: Value) -> Result<Params> {
        Params::check(HeadKind::Lightgbm, &serde_json::from_value(given).unwrap())
    }

    #[test]
    fn each_kind_has_parameters_of_its_own() {
        let said = |kind, given: Value| match Params::check(kind, &serde_json::from_value(given).unwrap()) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        assert_eq!(said(HeadKind::Logistic, json!({"C": 0.1, "tol": 1e-9})), "");
        assert!(
            said(HeadKind::Logistic, json!({"num_leaves": 3}))
                .contains("no parameter of a logistic head; it has C, penalty, tol, transform")
        );
        assert!(said(HeadKind::LinearSvm, json!({"C": 0})).contains("expected a number above 0"));
        assert_eq!(said(HeadKind::Mlp, json!({"hidden": [8, 4], "learning_rate": 0.01})), "");
        assert_eq!(said(HeadKind::Mlp, json!({"hidden": 8})), "");
        for wrong in [json!([]), json!([0]), json!(["8"]), json!([8.5])] {
            assert!(said(HeadKind::Mlp, json!({"hidden": wrong})).contains("a list of at most 8 widths"));
        }
        assert!(said(HeadKind::RandomForest, json!({"learning_rate": 0.1})).contains("a forest averages its trees"));
        assert!(said(HeadKind::ExtraTrees, json!({"extra_trees": false})).contains("write `kind: extra_trees`"));
        assert!(said(HeadKind::Tree, json!({"learning_rate": 0.1})).contains("counts in full"));
        assert_eq!(said(HeadKind::Tree, json!({"num_leaves": 8})), "");
    }

    fn message(given: Value) -> String {
        let error = check(given).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Definition);
        error.to_string()
    }

    #[test]
    fn canonical_names_pass_with_their_values() {
        let params = check(json!({"learning_rate": 0.05, "num_leaves": 31, "extra_trees": true})).unwrap();
        let got: Vec<_> = params.iter().collect();
        assert_eq!(got, [("extra_trees", "true"), ("learning_rate", "0.05"), ("num_leaves", "31")]);
    }

    #[test]
    fn aliases_are_refused_with_the_canonical_name() {
        assert_eq!(
            message(json!({"eta": 0.1})),
            "`eta` is another name of `learning_rate`: did you mean `learning_rate`?"
        );
        assert!(message(json!({"reg_alpha": 0.1})).contains("did you mean `lambda_l1`?"));
    }

    #[test]
    fn what_the_definition_owns_is_refused_with_its_place() {
        assert!(
            message(json!({"n_estimators": 10}))
                .contains("`num_iterations`) cannot be set in `params`: write `rounds`")
        );
        for (name, instead) in OWNED {
            let text = message(json!({*name: 1}));
            assert!(text.contains(instead), "{text}");
        }
    }

    #[test]
    fn unknown_names_get_a_near_one_and_all_problems_come_at_once() {
        let text = message(json!({"learning_rat": 0.1, "num_leaves": 1, "zzz": 1, "device_type": "gpu"}));
        assert!(text.contains("`learning_rat` is not a LightGBM parameter: did you mean `learning_rate`?"), "{text}");
        assert!(text.contains("`num_leaves: 1`: expected an integer from 2 to 131072"), "{text}");
        assert!(text.contains("`zzz` is not a LightGBM parameter"), "{text}");
        assert!(text.contains("`device_type` cannot be set"), "{text}");
    }

    #[test]
    fn types_and_ranges_are_checked() {
        assert!(message(json!({"learning_rate": 0})).contains("expected a number above 0"));
        assert!(message(json!({"bagging_fraction": 1.5})).contains("expected a number above 0, at most 1"));
        assert!(message(json!({"num_leaves": "31"})).contains("expected an integer"));
        assert!(message(json!({"boosting": "dart"})).contains("expected one of gbdt, rf"));
        let alone = check(json!({"boosting": "rf"})).unwrap().check_together().unwrap_err();
        assert!(alone.to_string().contains("needs `bagging_freq`"));
        let forest = check(json!({"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6})).unwrap();
        assert!(forest.check_together().is_ok());
    }

    #[test]
    fn every_name_we_list_is_one_that_lightgbm_knows() {
        let known = lightgbm::parameter_aliases().unwrap();
        assert!(known.len() > 100);
        for name in TUNABLE.iter().map(|(n, _)| n).chain(OWNED.iter().map(|(n, _)| n)) {
            assert!(known.contains_key(*name), "{name}");
        }
    }
}
