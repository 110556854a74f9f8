//! Whose rows a model learns from and scores, and when the label of a row is true.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::define::diagnostic::Diagnostic;
use crate::define::types::{Duration, OneOrMany};
use crate::define::yaml::Origin;

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
    /// 1 if such a row falls in [start, start + horizon), where start is as_of, or the anchor's event.
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
        anchor: Option<Box<Anchor>>,
    },
    /// A column of the spine's own table.
    Column { column: String, known_after: Duration },
}

/// The first event of a table at or after as_of, within so long: the horizon starts there. A row without one has no
/// label.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// The table of the event.
    pub table: String,
    /// The column that says when it happened; without it, the table's own.
    pub event_time: Option<String>,
    /// Spine key columns that the event must carry too.
    #[serde(default, rename = "match")]
    pub matching: OneOrMany,
    /// SQL over the table's columns: which rows count.
    #[serde(rename = "where")]
    pub filter: Option<String>,
    /// So long after as_of, at the latest.
    pub within: Duration,
}

impl Label {
    /// How long after as_of the label of a row is known at the latest, in microseconds.
    pub fn known_after(&self) -> i64 {
        match self {
            Label::Outcome { horizon, delay, anchor, .. } => {
                horizon.micros() + delay.micros() + anchor.as_ref().map_or(0, |anchor| anchor.within.micros())
            }
            Label::Column { known_after, .. } => known_after.micros(),
        }
    }
}

/// How much each training row counts: SQL over the spine row, such as the inverse of a propensity.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Weight {
    /// SQL over the spine row.
    pub column: String,
    /// Larger weights are cut to this one.
    pub max: Option<f64>,
}

/// Whom a night scores.
#[derive(Debug, Clone, Serialize)]
pub enum Scoring {
    /// Every row of a table, at the night's as_of.
    Population(String),
    /// The decisions of the event spine in the last so long.
    Applications(Duration),
}

/// The rows to learn from: those of `table`, or everybody of `population` every so often.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Spine")]
pub(super) struct RawSpine {
    /// A table whose rows are decisions.
    table: Option<String>,
    /// The column of `table` that says when the decision is taken; without it, its event time.
    as_of: Option<String>,
    /// Columns beside entity and as_of that identify a row.
    #[serde(default)]
    key: OneOrMany,
    /// Columns of `table` that the model may read, as `spine.NAME`.
    #[serde(default)]
    attributes: Vec<String>,
    /// Of a grid: the step between its dates.
    every: Option<Duration>,
    /// Of a grid: how far back its dates go.
    history: Option<Duration>,
    /// In place of `table`, for a grid: the table that says who exists.
    population: Option<String>,
    /// SQL over the spine row: which rows count.
    #[serde(rename = "where")]
    filter: Option<String>,
    /// More rows than this are sampled down.
    max_rows: Option<usize>,
    /// Of the sample.
    #[schemars(extend("default" = 1))]
    seed: Option<u64>,
}

/// What is predicted: whether a row of `table` follows within the horizon, or a `column` of the spine.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Label")]
pub(super) struct RawLabel {
    /// The table of outcomes: 1 if such a row falls within the horizon, else 0.
    table: Option<String>,
    /// The column that says when an outcome happened; without it, the table's own.
    event_time: Option<String>,
    /// SQL over the table's columns: which outcomes count.
    #[serde(rename = "where")]
    filter: Option<String>,
    /// Spine key columns that the outcome must carry too.
    #[serde(default, rename = "match")]
    matching: OneOrMany,
    /// How long after as_of, or the anchor, an outcome counts.
    horizon: Option<Duration>,
    /// How long after the horizon the truth is trusted.
    #[schemars(extend("default" = Duration::days(0)))]
    delay: Option<Duration>,
    /// SQL over the spine row: which rows have a label at all.
    eligible: Option<String>,
    /// The event at which the horizon starts; without it, as_of.
    anchor: Option<Anchor>,
    /// In place of `table`: the spine's column that holds the label.
    column: Option<String>,
    /// Of `column`: how long after as_of it is known.
    known_after: Option<Duration>,
}

/// Whom a night scores: a population, or applications.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Scoring")]
pub(super) struct RawScoring {
    /// The table of whom to score, at the night's as_of.
    population: Option<String>,
    /// In place of `population`: score the decisions of the last so long.
    applications: Option<Duration>,
}

pub(super) fn spine(raw: RawSpine, origin: &Origin, out: &mut Vec<Diagnostic>) -> Option<Spine> {
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

pub(super) fn label(raw: RawLabel, origin: &Origin, out: &mut Vec<Diagnostic>) -> Option<Label> {
    match (raw.table, raw.column, raw.horizon, raw.known_after) {
        (Some(table), None, Some(horizon), None) if horizon.micros() > 0 => {
            if raw.anchor.as_ref().is_some_and(|anchor| anchor.within.micros() == 0) {
                let d = origin.at("label.anchor.within", "no event lies within no time");
                out.push(d.found("0").expected("how long after as_of the anchor may be, such as 30d"));
            }
            Some(Label::Outcome {
                table,
                event_time: raw.event_time,
                filter: raw.filter,
                matching: raw.matching.0,
                horizon,
                delay: raw.delay.unwrap_or(Duration::days(0)),
                eligible: raw.eligible,
                anchor: raw.anchor.map(Box::new),
            })
        }
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

pub(super) fn weight(weight: Option<&Weight>, origin: &Origin, out: &mut Vec<Diagnostic>) {
    if let Some(max) = weight.and_then(|weight| weight.max)
        && !(max > 0.0 && max.is_finite())
    {
        out.push(origin.at("weight.max", "a bound of weights").found(max.to_string()).expected("a positive number"));
    }
}

pub(super) fn scoring(
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
