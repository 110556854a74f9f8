//! Which rows train, stop the training, calibrate and test.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::head::HeadKind;
use crate::define::diagnostic::Diagnostic;
use crate::define::types::Duration;
use crate::define::yaml::Origin;

#[derive(Debug, Clone, Serialize)]
pub enum Validation {
    /// The last `test`, before it `valid`, with an embargo between the parts; without `valid`, training stops on
    /// entities held out among the training rows.
    Time { test: TestPart, valid: Option<Duration> },
    /// `folds` test parts of length `test`, one after the other up to the last row; each is predicted by a model that
    /// was trained on what was known before it. What ships is the last one's model.
    RollingOrigin { folds: u32, test: Duration },
    /// Grouped by entity.
    CrossValidation { folds: u32, seeds: Vec<u64> },
}

#[derive(Debug, Clone, Serialize)]
pub enum TestPart {
    Last(Duration),
    From(NaiveDate),
}

/// How what the model says becomes a probability.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// How margins become probabilities.
    pub kind: CalibrationKind,
    /// One entity in so many of the training period is seen by neither training nor test, and calibrates.
    #[serde(default = "default_hold_out")]
    pub hold_out: u32,
}

impl Default for Calibration {
    fn default() -> Self {
        Calibration { kind: CalibrationKind::None, hold_out: default_hold_out() }
    }
}

fn default_hold_out() -> u32 {
    5
}

/// How margins become probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CalibrationKind {
    /// A logistic curve over the margin.
    Platt,
    /// A rising step function.
    Isotonic,
    /// Nothing: the margin's own probability.
    None,
}

/// Which rows train, stop training and test.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Validation")]
pub struct RawValidation {
    /// How rows are split.
    #[serde(default)]
    kind: ValidationKind,
    /// How long each test part is.
    test: Option<Duration>,
    /// In place of `test`: the first day of the test part.
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    test_from: Option<NaiveDate>,
    /// How long the part before the test is that stops training; without it, entities held out stop it.
    valid: Option<Duration>,
    /// How many parts, at least 2; without it, 4 of a rolling origin and 5 of cross-validation.
    folds: Option<u32>,
    /// Of cross-validation: each splits the rows once.
    #[schemars(extend("default" = [1]))]
    seeds: Option<Vec<u64>>,
}

/// How rows are split; in time, nothing can leak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ValidationKind {
    /// The last rows test, earlier ones train.
    #[default]
    Time,
    /// Several test parts, one after the other.
    RollingOrigin,
    /// In folds of entities, whenever their rows are.
    CrossValidation,
}

pub(super) fn validation(raw: RawValidation, origin: &Origin, out: &mut Vec<Diagnostic>) -> Option<Validation> {
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
        ValidationKind::RollingOrigin => match (raw.test, raw.folds.unwrap_or(4)) {
            (Some(test), folds)
                if folds >= 2
                    && test.micros() > 0
                    && raw.test_from.is_none()
                    && raw.valid.is_none()
                    && raw.seeds.is_none() =>
            {
                Some(Validation::RollingOrigin { folds, test })
            }
            _ => {
                out.push(wrong("`folds` of at least 2 and a positive `test`, nothing else"));
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

pub(super) fn calibration(calibration: &Calibration, head: HeadKind, origin: &Origin, out: &mut Vec<Diagnostic>) {
    if calibration.hold_out < 2 {
        let d = origin.at("calibration.hold_out", "one entity in how many calibrates");
        out.push(d.found(calibration.hold_out.to_string()).expected("2 or more"));
    }
    if head == HeadKind::LinearSvm && calibration.kind == CalibrationKind::None {
        let d = origin.at("calibration", "the margin of a linear_svm head is no probability");
        out.push(d.found("none").expected("platt or isotonic"));
    }
}
