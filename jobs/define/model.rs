//! `models/NAME.yaml`: what a model learns from, when a label is true, how it is validated, and what its scores decide.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use super::diagnostic::Diagnostic;
use super::map::Map;
use super::personal::Class;
use super::types::{Duration, OneOrMany, is_name};
use super::yaml::Origin;

#[derive(Debug, Clone, Serialize)]
pub struct Model {
    pub name: String,
    pub description: String,
    /// Columns that name the entity.
    pub entity: Vec<String>,
    pub spine: Spine,
    pub label: Label,
    /// `group.feature` patterns, `*` matching anything.
    pub inputs: Vec<String>,
    pub exclude: Vec<String>,
    pub head: Head,
    pub validation: Validation,
    /// Name → SQL over features, written `group.feature`.
    pub segments: Map<String>,
    pub score: ScoreScale,
    pub decisions: Vec<Decision>,
    pub scoring: Scoring,
    pub floors: Floors,
    pub retrain: Duration,
    /// The definition as written, kept in the artifact.
    #[serde(skip)]
    pub text: String,
    #[serde(skip)]
    pub origin: Origin,
}

/// The (entity, as_of) rows a model learns from.
#[derive(Debug, Clone, Serialize)]
pub struct Spine {
    pub kind: SpineKind,
    pub filter: Option<String>,
    /// More rows than this are sampled down, with the seed.
    pub max_rows: Option<usize>,
    pub seed: u64,
}

#[derive(Debug, Clone, Serialize)]
pub enum SpineKind {
    /// A row of a table is a decision.
    Events { table: String, as_of: Option<String>, key: Vec<String>, attributes: Vec<String> },
    /// Everybody, every so often.
    Grid { population: String, every: Duration, history: Duration },
}

#[derive(Debug, Clone, Serialize)]
pub enum Label {
    /// 1 if such a row falls in [as_of, as_of + horizon).
    Outcome {
        table: String,
        event_time: Option<String>,
        filter: Option<String>,
        /// Spine key columns that the outcome must carry too.
        matching: Vec<String>,
        horizon: Duration,
        delay: Duration,
        /// SQL over the spine row.
        eligible: Option<String>,
    },
    /// A column of the spine's own table.
    Column { column: String, known_after: Duration },
}

impl Label {
    /// How long after as_of the label of a row is known.
    pub fn known_after(&self) -> i64 {
        match self {
            Label::Outcome { horizon, delay, .. } => horizon.micros() + delay.micros(),
            Label::Column { known_after, .. } => known_after.micros(),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    pub kind: HeadKind,
    /// LightGBM's canonical names; checked by the learner.
    #[serde(default)]
    pub params: Map<Value>,
    #[serde(default)]
    pub class_weight: ClassWeight,
    #[serde(default = "default_rounds")]
    pub rounds: u32,
    #[serde(default = "default_early_stopping")]
    pub early_stopping: u32,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadKind {
    Lightgbm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassWeight {
    #[default]
    None,
    Balanced,
}

#[derive(Debug, Clone, Serialize)]
pub enum Validation {
    /// The last `test`, before it `valid`, with an embargo between the parts; without `valid`, training stops on
    /// entities held out among the training rows.
    Time { test: TestPart, valid: Option<Duration> },
    /// Grouped by entity.
    CrossValidation { folds: u32, seeds: Vec<u64> },
}

#[derive(Debug, Clone, Serialize)]
pub enum TestPart {
    Last(Duration),
    From(NaiveDate),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreScale {
    /// The score at probability 0.
    pub from: f64,
    /// The score at probability 1.
    pub to: f64,
}

/// An action and the probability below which it is taken; the last has no bound.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    pub action: String,
    pub below: Option<f64>,
}

/// Whom a night scores.
#[derive(Debug, Clone, Serialize)]
pub enum Scoring {
    /// Every row of a table, at the night's as_of.
    Population(String),
    /// The decisions of the event spine in the last so long.
    Applications(Duration),
}

/// Test metrics a first candidate must reach.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floors {
    pub roc_auc: Option<f64>,
    pub average_precision: Option<f64>,
    pub ks: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawModel {
    pub model: String,
    #[serde(default)]
    description: String,
    entity: OneOrMany,
    spine: RawSpine,
    label: RawLabel,
    inputs: Vec<String>,
    #[serde(default)]
    exclude: Vec<String>,
    head: Head,
    validation: RawValidation,
    #[serde(default)]
    segments: Map<String>,
    score: Option<ScoreScale>,
    decisions: Vec<Decision>,
    scoring: Option<RawScoring>,
    gate: Option<RawGate>,
    retrain: Option<Duration>,
    #[serde(default)]
    pub pii: Map<Class>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSpine {
    table: Option<String>,
    as_of: Option<String>,
    #[serde(default)]
    key: OneOrMany,
    #[serde(default)]
    attributes: Vec<String>,
    every: Option<Duration>,
    history: Option<Duration>,
    population: Option<String>,
    #[serde(rename = "where")]
    filter: Option<String>,
    max_rows: Option<usize>,
    seed: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLabel {
    table: Option<String>,
    event_time: Option<String>,
    #[serde(rename = "where")]
    filter: Option<String>,
    #[serde(default, rename = "match")]
    matching: OneOrMany,
    horizon: Option<Duration>,
    delay: Option<Duration>,
    eligible: Option<String>,
    column: Option<String>,
    known_after: Option<Duration>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawValidation {
    kind: ValidationKind,
    test: Option<Duration>,
    test_from: Option<NaiveDate>,
    valid: Option<Duration>,
    folds: Option<u32>,
    seeds: Option<Vec<u64>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ValidationKind {
    Time,
    CrossValidation,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScoring {
    population: Option<String>,
    applications: Option<Duration>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGate {
    #[serde(default)]
    floors: Floors,
}

impl Model {
    pub fn validate(raw: RawModel, text: &str, origin: &Origin, out: &mut Vec<Diagnostic>) -> Option<Model> {
        let before = out.len();
        if !is_name(&raw.model) {
            out.push(origin.at("model", format!("`{}` is not a name", raw.model)).expected("[a-z][a-z0-9_]*"));
        }
        let spine = spine(raw.spine, origin, out);
        let label = label(raw.label, origin, out);
        let validation = validation(raw.validation, origin, out);
        let scoring = scoring(raw.scoring, spine.as_ref(), origin, out);
        decisions(&raw.decisions, origin, out);
        let head = raw.head;
        if head.rounds == 0 {
            out.push(origin.at("head.rounds", "no rounds, no model").found("0").expected("a positive number"));
        }
        if out.len() > before {
            return None;
        }
        Some(Model {
            name: raw.model,
            description: raw.description,
            entity: raw.entity.0,
            spine: spine?,
            label: label?,
            inputs: raw.inputs,
            exclude: raw.exclude,
            head,
            validation: validation?,
            segments: raw.segments,
            score: raw.score.unwrap_or(ScoreScale { from: 100.0, to: 0.0 }),
            decisions: raw.decisions,
            scoring: scoring?,
            floors: raw.gate.map(|g| g.floors).unwrap_or_default(),
            retrain: raw.retrain.unwrap_or(Duration::days(7)),
            text: text.to_string(),
            origin: origin.clone(),
        })
    }

    /// Attributes of the spine row, inputs as `spine.<name>`.
    pub fn attributes(&self) -> &[String] {
        match &self.spine.kind {
            SpineKind::Events { attributes, .. } => attributes,
            SpineKind::Grid { .. } => &[],
        }
    }

    /// Columns beside entity and as_of that identify a spine row.
    pub fn spine_key(&self) -> &[String] {
        match &self.spine.kind {
            SpineKind::Events { key, .. } => key,
            SpineKind::Grid { .. } => &[],
        }
    }
}

fn spine(raw: RawSpine, origin: &Origin, out: &mut Vec<Diagnostic>) -> Option<Spine> {
    let kind = match (raw.table, raw.population) {
        (Some(table), None) if raw.every.is_none() && raw.history.is_none() => {
            SpineKind::Events { table, as_of: raw.as_of, key: raw.key.0, attributes: raw.attributes }
        }
        (None, Some(population)) if raw.attributes.is_empty() && raw.as_of.is_none() => {
            match (raw.every, raw.history) {
                (Some(every), Some(history)) if every.micros() > 0 => SpineKind::Grid { population, every, history },
                _ => {
                    out.push(origin.at("spine", "a grid lacks its dates").expected("a positive `every` and `history`"));
                    return None;
                }
            }
        }
        _ => {
            let expected = "`table` (with as_of, key, attributes), or `population` with `every` and `history`";
            out.push(origin.at("spine", "a spine is a table of decisions or a grid, not both").expected(expected));
            return None;
        }
    };
    Some(Spine { kind, filter: raw.filter, max_rows: raw.max_rows, seed: raw.seed.unwrap_or(1) })
}

fn label(raw: RawLabel, origin: &Origin, out: &mut Vec<Diagnostic>) -> Option<Label> {
    match (raw.table, raw.column, raw.horizon, raw.known_after) {
        (Some(table), None, Some(horizon), None) if horizon.micros() > 0 => Some(Label::Outcome {
            table,
            event_time: raw.event_time,
            filter: raw.filter,
            matching: raw.matching.0,
            horizon,
            delay: raw.delay.unwrap_or(Duration::days(0)),
            eligible: raw.eligible,
        }),
        (None, Some(column), None, Some(known_after)) => Some(Label::Column { column, known_after }),
        _ => {
            let expected = "`table` with a positive `horizon`, or `column` with `known_after`";
            out.push(
                origin.at("label", "a label is an outcome in a horizon or a column of the spine").expected(expected),
            );
            None
        }
    }
}

fn validation(raw: RawValidation, origin: &Origin, out: &mut Vec<Diagnostic>) -> Option<Validation> {
    let wrong = |expected: &str| origin.at("validation", "this validation is not complete").expected(expected);
    match raw.kind {
        ValidationKind::Time => match (raw.test, raw.test_from, raw.valid, raw.folds, raw.seeds) {
            (Some(test), None, valid, None, None) => Some(Validation::Time { test: TestPart::Last(test), valid }),
            (None, Some(from), valid, None, None) => Some(Validation::Time { test: TestPart::From(from), valid }),
            _ => {
                out.push(wrong("`test` or `test_from`, and perhaps `valid`"));
                None
            }
        },
        ValidationKind::CrossValidation => {
            let folds = raw.folds.unwrap_or(5);
            let seeds = raw.seeds.unwrap_or_else(|| vec![1]);
            if folds < 2 || seeds.is_empty() || raw.test.is_some() || raw.test_from.is_some() || raw.valid.is_some() {
                out.push(wrong("`folds` of at least 2 and `seeds`, nothing else"));
                return None;
            }
            Some(Validation::CrossValidation { folds, seeds })
        }
    }
}

fn scoring(
    raw: Option<RawScoring>,
    spine: Option<&Spine>,
    origin: &Origin,
    out: &mut Vec<Diagnostic>,
) -> Option<Scoring> {
    let spine = spine?;
    let given = raw.map(|r| (r.population, r.applications));
    match (given, &spine.kind) {
        (None, SpineKind::Grid { population, .. }) => Some(Scoring::Population(population.clone())),
        (None, SpineKind::Events { .. }) => Some(Scoring::Applications(Duration::days(1))),
        (Some((None, Some(window))), SpineKind::Events { .. }) => Some(Scoring::Applications(window)),
        (Some((Some(table), None)), SpineKind::Events { attributes, .. }) if attributes.is_empty() => {
            Some(Scoring::Population(table))
        }
        (Some((Some(table), None)), SpineKind::Grid { .. }) => Some(Scoring::Population(table)),
        (Some((Some(_), None)), SpineKind::Events { .. }) => {
            let d = origin.at("scoring", "a model with spine attributes cannot score a population");
            out.push(d.help("a population has no attributes: score `applications`, or drop `spine.attributes`"));
            None
        }
        _ => {
            let expected = "`population: <table>`, or `applications: <duration>` with a table as spine";
            out.push(origin.at("scoring", "whom to score is not clear").expected(expected));
            None
        }
    }
}

fn decisions(decisions: &[Decision], origin: &Origin, out: &mut Vec<Diagnostic>) {
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
    }
    if decisions.is_empty() {
        out.push(origin.at("decisions", "a score without a decision").expected("at least one action"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::define::yaml;

    const GOOD: &str = "model: credit\nentity: user_id\nspine: {table: loans, key: [loan_id]}\n\
        label: {table: outcomes, horizon: 90d, match: [loan_id]}\ninputs: ['p.*']\nhead: {kind: lightgbm}\n\
        validation: {kind: time, test: 60d, valid: 30d}\nscoring: {population: users}\n\
        decisions: [{action: emi, below: 0.1}, {action: none}]\n";

    fn check(text: &str) -> Vec<Diagnostic> {
        let mut out = Vec::new();
        if let Some((raw, origin)) = yaml::parse::<RawModel>("m.yaml", text, &mut out) {
            Model::validate(raw, text, &origin, &mut out);
        }
        out
    }

    #[test]
    fn a_complete_model_is_accepted() {
        assert_eq!(check(GOOD), []);
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_its_line() {
        let cases = [
            ("spine: {table: loans, key: [loan_id]}", "spine: {table: loans, population: users}", 3),
            ("horizon: 90d, ", "", 4),
            ("test: 60d, valid: 30d", "valid: 30d", 7),
            ("kind: lightgbm", "kind: lightgmb", 6),
            ("below: 0.1", "below: 1.5", 9),
            ("{action: none}", "{action: none, below: 0.5}", 9),
            ("key: [loan_id]", "attributes: [amount]", 8),
        ];
        for (from, to, line) in cases {
            let out = check(&GOOD.replace(from, to));
            assert!(out.iter().any(|d| d.line == line), "{to}: {out:#?}");
        }
    }
}
