//! `models/experiments/NAME.yaml`: one model, several ways, on identical rows.
//!
//! An experiment names a model and variants of it. A variant is the model's definition with some of its keys replaced,
//! whole: `head`, `inputs`, `exclude`, `encode`, `monotone`, `validation`, `calibration`, `reject_inference`. What
//! `common` replaces is replaced in all of them first. `model: other` starts a variant from another model's definition,
//! which must learn from the same rows: the same spine, label and weights.
//!
//! What a variant comes to is a [`Model`], validated like any other, whose diagnostics stand at the lines of the
//! variant. Keys that tell how a model lives on (`gate`, `monitoring`, `reasons`, `fairness`, `search`) are left out; so
//! are constraints and encodings that the variant's head cannot take and that only the model asks for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_yaml::{Mapping, Value};

use super::diagnostic::Diagnostic;
use super::map::Map;
use super::model::{Calibration, Direction, Encodings, Gate, Head, HeadKind, Model, RawModel, RawValidation};
use super::model::{RejectInference, RejectKind};
use super::types::is_name;
use super::yaml::{self, Origin};

#[derive(Debug, Clone, Serialize)]
pub struct Experiment {
    pub name: String,
    pub description: String,
    /// Whose rows all variants learn from; its segments are those that are compared.
    pub rows: Model,
    /// In the order in which they are shown.
    pub variants: Map<Model>,
    pub metrics: Vec<Measure>,
    /// A variant is trained once with each, and what is said of it is the mean. The seed of the model's head by default.
    pub seeds: Vec<u64>,
    /// Of the bootstrap.
    pub repetitions: u32,
    pub confidence: f64,
    /// What counts as called positive in F1; the bound of the model's first decision where none is given.
    pub threshold: Option<f64>,
    /// Share of the rows with the lowest risk among which the default rate is compared.
    pub acceptance_rate: Option<f64>,
    #[serde(skip)]
    pub origin: Origin,
}

/// What variants are compared on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    RocAuc,
    AveragePrecision,
    F1,
    Ks,
    Brier,
    LogLoss,
    CalibrationError,
    #[serde(rename = "lift_10")]
    Lift10,
}

impl Measure {
    pub fn name(self) -> &'static str {
        match self {
            Measure::RocAuc => "roc_auc",
            Measure::AveragePrecision => "average_precision",
            Measure::F1 => "f1",
            Measure::Ks => "ks",
            Measure::Brier => "brier",
            Measure::LogLoss => "log_loss",
            Measure::CalibrationError => "calibration_error",
            Measure::Lift10 => "lift_10",
        }
    }
}

/// Variants of one model, trained on identical rows and compared.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Experiment")]
pub struct RawExperiment {
    /// Its name, `[a-z][a-z0-9_]*`.
    pub experiment: String,
    /// What it asks.
    #[serde(default)]
    description: String,
    /// The model whose rows all variants learn from.
    model: String,
    /// Keys that every variant replaces, unless it says otherwise itself.
    common: Option<RawVariant>,
    /// Name → the keys of the model that it replaces; at least two.
    variants: Map<Option<RawVariant>>,
    /// What variants are compared by.
    #[serde(default = "metrics")]
    metrics: Vec<Measure>,
    /// Segments of the model to compare in, and `all`; without it, every one.
    segments: Option<Vec<String>>,
    /// Each variant is trained once with each; without it, with the seed of the model's head.
    seeds: Option<Vec<u64>>,
    /// How often the bootstrap draws, for the intervals.
    #[serde(default = "repetitions")]
    repetitions: u32,
    /// Of the intervals.
    #[serde(default = "confidence")]
    confidence: f64,
    /// From which probability on f1 calls a row positive; without it, the bound of the model's first decision.
    threshold: Option<f64>,
    /// The share of the rows that is accepted, the least risky first.
    acceptance_rate: Option<f64>,
}

fn metrics() -> Vec<Measure> {
    vec![Measure::RocAuc, Measure::AveragePrecision, Measure::F1]
}

fn repetitions() -> u32 {
    500
}

fn confidence() -> f64 {
    0.95
}

/// Keys that replace the model's.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Variant")]
struct RawVariant {
    /// Another model to start from, of the same entity, spine, label and weight.
    model: Option<String>,
    /// In place of the model's `head`.
    #[schemars(with = "Option<Head>")]
    head: Option<Value>,
    /// In place of the model's `inputs`.
    #[schemars(with = "Option<Vec<String>>")]
    inputs: Option<Value>,
    /// In place of the model's `exclude`.
    #[schemars(with = "Option<Vec<String>>")]
    exclude: Option<Value>,
    /// In place of the model's `encode`.
    #[schemars(with = "Option<Encodings>")]
    encode: Option<Value>,
    /// In place of the model's `monotone`.
    #[schemars(with = "Option<Map<Direction>>")]
    monotone: Option<Value>,
    /// In place of the model's `validation`.
    #[schemars(with = "Option<RawValidation>")]
    validation: Option<Value>,
    /// In place of the model's `calibration`.
    #[schemars(with = "Option<Calibration>")]
    calibration: Option<Value>,
    /// In place of the model's `reject_inference`.
    #[schemars(with = "Option<RejectInference>")]
    reject_inference: Option<Value>,
}

impl RawVariant {
    fn keys(&self) -> [(&'static str, &Option<Value>); 8] {
        [
            ("head", &self.head),
            ("inputs", &self.inputs),
            ("exclude", &self.exclude),
            ("encode", &self.encode),
            ("monotone", &self.monotone),
            ("validation", &self.validation),
            ("calibration", &self.calibration),
            ("reject_inference", &self.reject_inference),
        ]
    }
}

/// Keys of a model that say how it lives, not what it learns.
const LIFE: [&str; 8] = ["gate", "monitoring", "reasons", "fairness", "search", "retrain", "max_size", "pii"];

const MAX_REPETITIONS: u32 = 100_000;

impl Experiment {
    pub fn validate(
        raw: RawExperiment,
        models: &Map<Model>,
        origin: &Origin,
        out: &mut Vec<Diagnostic>,
    ) -> Option<Experiment> {
        let before = out.len();
        numbers(&raw, origin, out);
        let Some(base) = models.get(&raw.model) else {
            // A model that is wrong itself has been said to be.
            let d = origin.at("model", format!("there is no model `{}`, or it is wrong itself", raw.model));
            out.push(d.expected_one_of(&raw.model, models.keys().map(String::as_str)));
            return None;
        };
        let mut rows = Model { fairness: None, reasons: None, search: None, gate: Gate::default(), ..base.clone() };
        if let Some(segments) = &raw.segments {
            for (index, name) in segments.iter().enumerate().filter(|(_, name)| *name != "all") {
                if !base.segments.contains_key(name) {
                    let d = origin.at(&format!("segments.{index}"), format!("model {} has no such segment", base.name));
                    out.push(
                        d.expected_one_of(name, ["all"].into_iter().chain(base.segments.keys().map(String::as_str))),
                    );
                }
            }
            rows.segments.retain(|name, _| segments.contains(name));
        }
        let common = raw.common.clone().unwrap_or_default();
        let mut variants = Map::default();
        for (name, variant) in &raw.variants {
            let path = format!("variants.{name}");
            if !is_name(name) {
                out.push(origin.at(&path, format!("`{name}` is not a name")).expected("[a-z][a-z0-9_]*"));
            }
            let variant = variant.clone().unwrap_or_default();
            if let Some(made) = made(base, models, (&common, &variant), &origin.below(&path), out) {
                variants.insert(name.clone(), made);
            }
        }
        rows.reject_inference = accepted(base, &variants, origin, out);
        if rows.reject_inference.is_some() && raw.acceptance_rate.is_none() {
            let d = origin.at("variants", "reject inference is compared on the default rate among the accepted too");
            out.push(d.expected("`acceptance_rate`, such as 0.7"));
        }
        if out.len() > before {
            return None;
        }
        Some(Experiment {
            name: raw.experiment,
            description: raw.description,
            rows,
            variants,
            metrics: raw.metrics,
            seeds: raw.seeds.unwrap_or_else(|| vec![base.head.seed]),
            repetitions: raw.repetitions,
            confidence: raw.confidence,
            threshold: raw.threshold,
            acceptance_rate: raw.acceptance_rate,
            origin: origin.clone(),
        })
    }
}

fn numbers(raw: &RawExperiment, origin: &Origin, out: &mut Vec<Diagnostic>) {
    if !is_name(&raw.experiment) {
        out.push(origin.at("experiment", format!("`{}` is not a name", raw.experiment)).expected("[a-z][a-z0-9_]*"));
    }
    if raw.variants.len() < 2 {
        let d = origin.at("variants", "nothing to compare").found(format!("{} variants", raw.variants.len()));
        out.push(d.expected("at least two"));
    }
    if raw.metrics.is_empty() {
        out.push(origin.at("metrics", "nothing to compare by").expected("at least one metric, such as roc_auc"));
    }
    if raw.seeds.as_ref().is_some_and(Vec::is_empty) {
        out.push(origin.at("seeds", "no seed, no training").expected("at least one, such as [1]"));
    }
    if raw.repetitions == 0 || raw.repetitions > MAX_REPETITIONS {
        let d = origin.at("repetitions", "how often the bootstrap draws").found(raw.repetitions.to_string());
        out.push(d.expected(format!("1 to {MAX_REPETITIONS}")));
    }
    let mut share = |path: &str, what: &str, value: Option<f64>, whole: bool| {
        if let Some(value) = value.filter(|v| !(*v > 0.0 && (*v < 1.0 || whole && *v == 1.0))) {
            let expected = if whole { "above 0, at most 1" } else { "above 0 and below 1" };
            out.push(origin.at(path, what).found(value.to_string()).expected(expected));
        }
    };
    share("confidence", "how sure an interval is", Some(raw.confidence), false);
    share("threshold", "from which probability on a row is called positive", raw.threshold, false);
    share("acceptance_rate", "the share that is accepted", raw.acceptance_rate, true);
}

/// The model that a variant comes to.
fn made(
    base: &Model,
    models: &Map<Model>,
    (common, variant): (&RawVariant, &RawVariant),
    origin: &Origin,
    out: &mut Vec<Diagnostic>,
) -> Option<Model> {
    let start = match &variant.model {
        None => base,
        Some(name) => {
            let Some(other) = models.get(name) else {
                let d = origin.at("model", format!("there is no model `{name}`, or it is wrong itself"));
                out.push(d.expected_one_of(name, models.keys().map(String::as_str)));
                return None;
            };
            if !same_rows(base, other) {
                let d = origin.at("model", format!("model {name} does not learn from the rows of model {}", base.name));
                out.push(d.expected("a model with the same entity, spine, label and weight"));
                return None;
            }
            other
        }
    };
    // It was parsed before.
    let mut document: Mapping = serde_yaml::from_str(&start.text).unwrap_or_default();
    LIFE.iter().for_each(|key| {
        document.remove(*key);
    });
    for (key, value) in common.keys().into_iter().chain(variant.keys()) {
        if let Some(value) = value {
            document.insert(key.into(), value.clone());
        }
    }
    let said =
        |key: &str| common.keys().iter().chain(&variant.keys()).any(|(name, value)| *name == key && value.is_some());
    adapt(&mut document, said);
    let raw: RawModel = yaml::shape(Value::Mapping(document), origin, out)?;
    let mut model = Model::validate(raw, &start.text, origin, out)?;
    model.segments = Map::default();
    Some(model)
}

/// Leaves out what the head cannot take, unless the experiment itself asks for it.
fn adapt(document: &mut Mapping, said: impl Fn(&str) -> bool) {
    let kind = document.get("head").and_then(|head| head.get("kind")).cloned().unwrap_or_default();
    let Ok(kind) = serde_yaml::from_value::<HeadKind>(kind) else { return };
    if !said("monotone") && kind != HeadKind::Lightgbm && kind != HeadKind::Tree {
        document.remove("monotone");
    }
    let Some(encode) = document.get_mut("encode").and_then(Value::as_mapping_mut) else { return };
    if said("encode") || kind.is_trees() {
        return;
    }
    if encode.get("default").and_then(Value::as_str) == Some("native") {
        encode.remove("default");
    }
    if let Some(features) = encode.get_mut("features").and_then(Value::as_mapping_mut) {
        features.retain(|_, encoding| encoding.get("kind").and_then(Value::as_str) != Some("native"));
    }
}

fn same_rows(one: &Model, other: &Model) -> bool {
    let rows = |model: &Model| serde_json::to_string(&(&model.entity, &model.spine, &model.label, &model.weight)).ok();
    rows(one) == rows(other)
}

/// Who was accepted, if that matters to the model or to any variant. All have to mean the same by it: their rows are.
fn accepted(
    base: &Model,
    variants: &Map<Model>,
    origin: &Origin,
    out: &mut Vec<Diagnostic>,
) -> Option<RejectInference> {
    let of_variants = variants.iter().map(|(name, model)| (format!("variants.{name}.reject_inference"), model));
    let all = [("model".to_string(), base)].into_iter().chain(of_variants);
    let mut found: Option<&str> = None;
    for (path, model) in all {
        let Some(reject) = &model.reject_inference else { continue };
        let first = *found.get_or_insert(&reject.accepted);
        if first != reject.accepted {
            let d = origin.at(&path, "variants learn from identical rows, so they agree on who was accepted");
            out.push(d.found(&reject.accepted).expected(first));
        }
    }
    found.map(|accepted| RejectInference { kind: RejectKind::None, accepted: accepted.to_string(), factor: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: &str = "model: credit\nentity: user_id\nspine: {table: loans, key: [loan_id]}\n\
        label: {table: outcomes, horizon: 90d, match: [loan_id]}\ninputs: ['p.*']\nhead: {kind: lightgbm}\n\
        monotone: {p.late: increasing}\nencode: {default: native}\n\
        validation: {kind: time, test: 60d, valid: 30d}\nscoring: {population: users}\n\
        segments: {active: p.n > 3, idle: p.n <= 3}\ngate: {floors: {roc_auc: 0.6}}\n\
        decisions: [{action: emi, below: 0.1}, {action: none}]\n";

    fn models() -> Map<Model> {
        let other = MODEL.replace("credit", "other").replace("['p.*']", "['q.*']");
        let younger = MODEL.replace("credit", "younger").replace("90d", "30d");
        let read = |text: &str| {
            let mut out = Vec::new();
            let (raw, origin) = yaml::parse::<RawModel>("m.yaml", text, &mut out).unwrap();
            let model = Model::validate(raw, text, &origin, &mut out).unwrap();
            (model.name.clone(), model)
        };
        [MODEL, &other, &younger].into_iter().map(read).collect()
    }

    fn check(text: &str) -> (Option<Experiment>, Vec<Diagnostic>) {
        let mut out = Vec::new();
        let raw = yaml::parse::<RawExperiment>("e.yaml", text, &mut out);
        let experiment = raw.and_then(|(raw, origin)| Experiment::validate(raw, &models(), &origin, &mut out));
        (experiment, out)
    }

    const GOOD: &str = "experiment: heads
model: credit
common:
  calibration: {kind: platt}
variants:
  own:
  line: {head: {kind: logistic}}
  other:
    model: other
    head: {kind: tree}
  corrected:
    reject_inference: {kind: fuzzy, accepted: granted}
segments: [all, active]
acceptance_rate: 0.7
";

    #[test]
    fn a_variant_is_the_model_with_keys_replaced() {
        let (experiment, out) = check(GOOD);
        assert_eq!(out, []);
        let experiment = experiment.unwrap();
        let kinds: Vec<HeadKind> = experiment.variants.values().map(|model| model.head.kind).collect();
        assert_eq!(kinds, [HeadKind::Lightgbm, HeadKind::Logistic, HeadKind::Tree, HeadKind::Lightgbm]);
        assert!(experiment.variants.values().all(|model| model.calibration.hold_out == 5));
        assert_eq!(experiment.variants["other"].inputs, ["q.*"]);
        assert_eq!(experiment.variants["own"].monotone.len(), 1);
        assert!(experiment.variants["line"].monotone.is_empty(), "what its head cannot take is left out");
        assert_eq!(experiment.rows.segments.keys().collect::<Vec<_>>(), ["active"]);
        let reject = experiment.rows.reject_inference.as_ref().unwrap();
        assert_eq!((reject.kind, reject.accepted.as_str()), (RejectKind::None, "granted"));
    }

    #[test]
    fn what_is_wrong_is_said_at_its_line_with_a_near_name() {
        let cases = [
            ("model: credit", "model: credti", 2, "did you mean `credit`?"),
            ("kind: logistic", "kind: logistc", 7, "did you mean `logistic`?"),
            ("{head: {kind: logistic}}", "{haed: {kind: logistic}}", 7, "did you mean `head`?"),
            ("{kind: tree}", "{kind: tree, rounds: 0}", 10, "no rounds, no model"),
            ("model: other", "model: younger", 9, "does not learn from the rows"),
            ("model: other", "model: othre", 9, "did you mean `other`?"),
            ("active]", "activ]", 13, "did you mean `active`?"),
            ("kind: fuzzy, accepted: granted", "kind: fuzzy, accepted: granted, factor: 0", 12, "likelier"),
            ("acceptance_rate: 0.7", "acceptance_rate: 1.7", 14, "the share that is accepted"),
            ("acceptance_rate: 0.7\n", "", 5, "the default rate among the accepted"),
            ("acceptance_rate: 0.7", "metrics: [auc]", 14, "one of roc_auc"),
            ("acceptance_rate: 0.7", "seeds: []", 14, "no seed"),
            ("acceptance_rate: 0.7", "repetitions: 0", 14, "how often the bootstrap draws"),
            ("own:\n", "own: {reject_inference: {kind: fuzzy, accepted: asked}}\n", 12, "agree on who was accepted"),
        ];
        for (from, to, line, said) in cases {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD, "{from}");
            let (_, out) = check(&text);
            assert!(out.iter().any(|d| d.line == line && d.to_string().contains(said)), "{to}: {out:#?}");
        }
        let (_, out) = check("experiment: one\nmodel: credit\nvariants: {own: }\n");
        assert!(out[0].to_string().contains("nothing to compare"), "{out:#?}");
    }
}
