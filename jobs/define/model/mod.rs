//! `models/NAME.yaml`: what a model learns from, when a label is true, how it is validated, what it must prove before
//! it is promoted, and what its scores decide.
//!
//! | file | keys |
//! |---|---|
//! | `spine` | `spine`, `label`, `weight`, `scoring`: whose rows, when they are true, and who is scored |
//! | `encode` | `encode`, `monotone`: how inputs become numbers, and which way they may push |
//! | `head` | `head`, `search`: what learns, and which of its parameters are looked for |
//! | `validation` | `validation`, `calibration`: which rows train, stop, calibrate and test |
//! | `decisions` | `score`, `decisions`, `reasons`: what a probability means, decides and is explained by |
//! | `gate` | `gate`, `monitoring`: what a candidate must reach, and what a live model must keep |
//! | `practice` | `reject_inference`, `fairness`: who was refused before, and who is treated alike |
//!
//! Each part is parsed with unknown keys denied and validated once; what is of the wrong kind, contradicts itself or
//! cannot be met by any data is a diagnostic at its line.

mod decisions;
mod encode;
mod gate;
mod head;
mod practice;
mod spine;
mod validation;

pub use decisions::{Decision, Reason, Reasons, ScoreScale};
pub use encode::{Direction, Encoding, EncodingKind, Encodings};
pub use gate::{Assert, AssertCase, Checks, Floors, Gate, Level, Limit, Monitoring};
pub use head::{ClassWeight, Head, HeadKind, Range, Scale, Search, SearchMetric};
pub use practice::{Fairness, RejectInference, RejectKind};
pub use spine::{Anchor, Label, Scoring, Spine, SpineKind, Weight};
pub use validation::{Calibration, CalibrationKind, RawValidation, TestPart, Validation};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::diagnostic::Diagnostic;
use super::map::Map;
use super::personal::Class;
use super::profile::Bytes;
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
    pub weight: Option<Weight>,
    /// `group.feature` patterns, `*` matching anything.
    pub inputs: Vec<String>,
    pub exclude: Vec<String>,
    pub encode: Encodings,
    /// `group.feature` → the direction in which it may push the probability.
    pub monotone: Map<Direction>,
    pub head: Head,
    pub search: Option<Search>,
    pub validation: Validation,
    pub calibration: Calibration,
    /// Name → SQL over features, written `group.feature`.
    pub segments: Map<String>,
    pub score: ScoreScale,
    pub decisions: Vec<Decision>,
    pub reasons: Option<Reasons>,
    pub fairness: Option<Fairness>,
    pub reject_inference: Option<RejectInference>,
    pub scoring: Scoring,
    pub gate: Gate,
    pub monitoring: Monitoring,
    /// What the files of an artifact may weigh together, in bytes.
    pub max_size: u64,
    pub retrain: Duration,
    /// The definition as written, kept in the artifact.
    #[serde(skip)]
    pub text: String,
    #[serde(skip)]
    pub origin: Origin,
}

/// An artifact larger than this fails training, unless a definition says otherwise.
const MAX_SIZE: u64 = 64 << 20;

const RETRAIN: Duration = Duration::days(7);

/// What learns, from which rows, what it must prove, and what its scores decide.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Model")]
pub struct RawModel {
    /// Its name, `[a-z][a-z0-9_]*`.
    pub model: String,
    /// What it predicts.
    #[serde(default)]
    description: String,
    /// The column that names whom it scores, or several.
    entity: OneOrMany,
    /// The rows that it learns from: a table's, or everybody every so often.
    spine: spine::RawSpine,
    /// What it predicts: whether a row of a table follows, or a column of the spine.
    label: spine::RawLabel,
    /// How much each training row counts; without it, all the same.
    weight: Option<Weight>,
    /// What it learns from: `group.feature` patterns, `*` matching anything.
    inputs: Vec<String>,
    /// Patterns of inputs to leave out again.
    #[serde(default)]
    exclude: Vec<String>,
    /// How texts become numbers.
    #[serde(default)]
    encode: Encodings,
    /// `group.feature` → the direction in which it may push the probability.
    #[serde(default)]
    monotone: Map<Direction>,
    /// What learns.
    head: Head,
    /// Parameters of the head to look for.
    search: Option<Search>,
    /// Which rows train, stop training and test.
    validation: validation::RawValidation,
    /// How margins become probabilities.
    #[schemars(extend("default" = Calibration::default()))]
    calibration: Option<Calibration>,
    /// Name → SQL over features: rows whose metrics are shown apart.
    #[serde(default)]
    segments: Map<String>,
    /// The scale of scores.
    #[schemars(extend("default" = { "from": 100, "to": 0 }))]
    score: Option<decisions::RawScale>,
    /// Actions by probability, the bounds rising; the last has none.
    decisions: Vec<Decision>,
    /// What explains a score.
    reasons: Option<Reasons>,
    /// Groups of entities whose actions are compared.
    fairness: Option<Fairness>,
    /// How rows that were refused take part in training.
    reject_inference: Option<RejectInference>,
    /// Whom a night scores; without it, the decisions of the last day, or the population of a grid.
    scoring: Option<spine::RawScoring>,
    /// What a candidate must reach before it is promoted.
    #[schemars(extend("default" = Gate::default()))]
    gate: Option<Gate>,
    /// What is measured every night, and what is too much.
    #[schemars(extend("default" = Monitoring::default()))]
    monitoring: Option<Monitoring>,
    /// What the files of an artifact may weigh together.
    #[schemars(extend("default" = "64MiB"))]
    max_size: Option<Bytes>,
    /// How old a version gets before another is trained.
    #[schemars(extend("default" = RETRAIN))]
    retrain: Option<Duration>,
    /// Column of personal data → what it is.
    #[serde(default)]
    pub pii: Map<Class>,
}

impl Model {
    pub fn validate(raw: RawModel, text: &str, origin: &Origin, out: &mut Vec<Diagnostic>) -> Option<Model> {
        let before = out.len();
        if !is_name(&raw.model) {
            out.push(origin.at("model", format!("`{}` is not a name", raw.model)).expected("[a-z][a-z0-9_]*"));
        }
        let spine = spine::spine(raw.spine, origin, out);
        let label = spine::label(raw.label, origin, out);
        spine::weight(raw.weight.as_ref(), origin, out);
        let scoring = spine::scoring(raw.scoring, spine.as_ref(), origin, out);
        head::check(&raw.head, raw.search.as_ref(), origin, out);
        encode::check(&raw.encode, &raw.monotone, raw.head.kind, origin, out);
        let validation = validation::validation(raw.validation, origin, out);
        let calibration = raw.calibration.unwrap_or_default();
        validation::calibration(&calibration, raw.head.kind, origin, out);
        let score = decisions::scale(raw.score, origin, out);
        decisions::decisions(&raw.decisions, origin, out);
        decisions::reasons(raw.reasons.as_ref(), raw.head.kind, origin, out);
        practice::check(raw.fairness.as_ref(), raw.reject_inference.as_ref(), origin, out);
        let gate = raw.gate.unwrap_or_default();
        gate::check(&gate, &raw.decisions, raw.fairness.is_some(), origin, out);
        let monitoring = raw.monitoring.unwrap_or_default();
        gate::monitoring(&monitoring, origin, out);
        if out.len() > before {
            return None;
        }
        Some(Model {
            name: raw.model,
            description: raw.description,
            entity: raw.entity.0,
            spine: spine?,
            label: label?,
            weight: raw.weight,
            inputs: raw.inputs,
            exclude: raw.exclude,
            encode: raw.encode,
            monotone: raw.monotone,
            head: raw.head,
            search: raw.search,
            validation: validation?,
            calibration,
            segments: raw.segments,
            score: score?,
            decisions: raw.decisions,
            reasons: raw.reasons,
            fairness: raw.fairness,
            reject_inference: raw.reject_inference,
            scoring: scoring?,
            gate,
            monitoring,
            max_size: raw.max_size.map_or(MAX_SIZE, |size| size.0 as u64),
            retrain: raw.retrain.unwrap_or(RETRAIN),
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

#[cfg(test)]
mod tests;
