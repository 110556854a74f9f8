//! Everything a page shows, as plain values: no lake, no learner, no text that is markup already.
//!
//! Shares and probabilities are between 0 and 1. Metric names are those of the tables (`roc_auc`); pages write them
//! out. Dates are texts, `YYYY-MM-DD`. Everything is shown in the order in which it stands here.

use serde::{Deserialize, Serialize};

/// A part of a page: there, or the sentence that says why it is not.
#[derive(Debug, Clone, PartialEq)]
pub enum Section<T> {
    Shown(T),
    Absent(String),
}

impl<T> Section<T> {
    pub fn absent(why: impl Into<String>) -> Self {
        Section::Absent(why.into())
    }

    pub fn shown(&self) -> Option<&T> {
        match self {
            Section::Shown(content) => Some(content),
            Section::Absent(_) => None,
        }
    }
}

/// One model in one night.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub name: String,
    pub description: String,
    /// The night.
    pub date: String,
    pub verdict: Verdict,
    /// The strip below the title: what one wants to know first.
    pub facts: Vec<Fact>,
    pub gate: Section<Gate>,
    pub quality: Section<Quality>,
    pub curves: Section<Curves>,
    pub calibration: Section<Calibration>,
    pub distributions: Section<Vec<Distribution>>,
    pub lift: Section<Lift>,
    pub importances: Section<Importances>,
    pub contributions: Section<Contributions>,
    pub monitoring: Section<Monitoring>,
    pub fairness: Section<Fairness>,
    pub decisions: Section<Decisions>,
    pub actions: Section<ActionChanges>,
    pub customers: Section<Customers>,
    pub provenance: Provenance,
}

/// What became of the version that the page is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Promoted,
    Refused,
    /// Promoted although it failed checks; the note has the reason.
    Forced,
    /// Nothing was trained tonight: the champion is what it was.
    Kept,
    /// No version has been promoted yet, or none is left.
    NoChampion,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    /// The version that was decided on, and the one that scores.
    pub candidate: Option<String>,
    pub champion: Option<String>,
    /// Why, in a sentence.
    pub note: String,
}

/// A labelled value, ready to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    pub label: String,
    pub value: String,
    /// Below it, small: an interval, a unit, a comparison.
    pub note: String,
}

impl Fact {
    pub fn new(label: impl Into<String>, value: impl Into<String>, note: impl Into<String>) -> Self {
        Fact { label: label.into(), value: value.into(), note: note.into() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Pass,
    Warn,
    Fail,
    Skipped,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    pub checks: Vec<Check>,
}

/// One check of the gate.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    pub metric: String,
    pub candidate: Option<f64>,
    pub champion: Option<f64>,
    pub threshold: Option<f64>,
    /// What the threshold bounds, such as `at least` or `at most`.
    pub direction: String,
    /// Interval of what the threshold bounds.
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub status: Status,
    pub note: String,
}

/// A number with the interval in which it lies.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Measured {
    pub value: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
}

/// Variants of a model on identical rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    pub name: String,
    pub description: String,
    pub date: String,
    pub facts: Vec<Fact>,
    pub segments: Vec<Compared>,
}

/// The variants on the rows of one segment.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    pub segment: String,
    pub rows: u64,
    pub positives: u64,
    pub metrics: Vec<String>,
    pub variants: Vec<Variant>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    pub name: String,
    pub head: String,
    pub inputs: u64,
    /// One per metric.
    pub cells: Vec<(Measured, Mark)>,
}

/// Whether a variant is the best by a metric.
#[derive(Debug, Clone, PartialEq)]
pub enum Mark {
    None,
    /// Though not by more than noise; how it compares with the second.
    Best(String),
    BestByMoreThanNoise(String),
}

/// How good the model is, out of sample, by segment.
#[derive(Debug, Clone, PartialEq)]
pub struct Quality {
    /// Which rows: `test`, `out of fold`.
    pub part: String,
    /// What the intervals are; empty where there are none.
    pub intervals: String,
    pub metrics: Vec<String>,
    pub segments: Vec<Segment>,
    /// The metrics of other parts, for comparison.
    pub parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    pub name: String,
    pub rows: u64,
    pub positives: u64,
    /// In the order of `metrics`.
    pub values: Vec<Measured>,
}

/// The rows that one part of the split has.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub name: String,
    pub rows: u64,
    pub positives: u64,
    pub from: String,
    pub to: String,
}

/// A line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub name: String,
    /// What it comes to, such as the area below it.
    pub note: String,
    pub points: Vec<(f64, f64)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Curves {
    /// Of which rows.
    pub rows: String,
    /// (false positive rate, true positive rate).
    pub roc: Vec<Line>,
    /// (recall, precision).
    pub precision_recall: Vec<Line>,
    pub base_rate: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    pub rows: String,
    /// `platt`, `isotonic`, `none`.
    pub kind: String,
    /// Before and after, or one of them.
    pub lines: Vec<Reliability>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Reliability {
    pub name: String,
    pub error: Option<f64>,
    pub bins: Vec<ReliabilityBin>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReliabilityBin {
    pub predicted: f64,
    pub observed: f64,
    /// The interval of what was observed.
    pub low: f64,
    pub high: f64,
    pub rows: u64,
}

/// How the probabilities lie.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    pub rows: String,
    /// One more than there are bins, rising.
    pub edges: Vec<f64>,
    /// Rows per bin, by outcome or all together.
    pub layers: Vec<Layer>,
    /// Where one action ends and the next begins.
    pub bounds: Vec<Bound>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    pub name: String,
    pub counts: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    pub at: f64,
    /// The action below it.
    pub action: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Lift {
    pub rows: String,
    pub base_rate: f64,
    /// From the highest probabilities to the lowest.
    pub deciles: Vec<Decile>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decile {
    pub rows: u64,
    pub positives: u64,
    pub rate: f64,
    /// The rate over the base rate.
    pub lift: f64,
    /// Share of all positives in this decile and those above.
    pub captured: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Importances {
    /// By gain, largest first.
    pub features: Vec<Importance>,
    /// How many there are beyond these.
    pub more: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Importance {
    pub feature: String,
    /// Share of all gain.
    pub share: f64,
    pub splits: f64,
    /// Share of the champion's gain.
    pub champion: Option<f64>,
}

/// SHAP values of a sample of rows, on the raw margin.
#[derive(Debug, Clone, PartialEq)]
pub struct Contributions {
    pub rows: String,
    pub features: Vec<Contribution>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Contribution {
    pub feature: String,
    pub mean_absolute: f64,
    /// Which way it moves these rows against those of training.
    pub mean: f64,
    /// Of a sample of rows, where there is one: a row's contribution, and where its value lies among the others' (0
    /// lowest, 1 highest; none for a category or a missing value).
    pub points: Vec<(f64, Option<f64>)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Monitoring {
    /// The last night's, the worst first.
    pub measures: Vec<Measure>,
    /// Over the nights.
    pub series: Vec<Series>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    pub what: String,
    pub subject: String,
    pub value: Option<f64>,
    pub baseline: Option<f64>,
    /// What the thresholds are held to.
    pub change: Option<f64>,
    pub warn: Option<f64>,
    pub fail: Option<f64>,
    pub status: Status,
    pub note: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub what: String,
    pub subject: String,
    pub warn: Option<f64>,
    pub fail: Option<f64>,
    /// (date, value), in order.
    pub points: Vec<(String, f64)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Fairness {
    pub attributes: Vec<Attribute>,
}

/// One declared grouping.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute {
    pub name: String,
    /// Largest differences between two groups, by name of the measure.
    pub differences: Vec<(String, Option<f64>)>,
    pub groups: Vec<Group>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub name: String,
    pub rows: u64,
    /// Whether it has rows enough to be compared.
    pub compared: bool,
    /// Share that gets the favourable action.
    pub favourable: Option<f64>,
    /// Measured rows whose outcome was good.
    pub good: u64,
    /// The share among those.
    pub favourable_among_good: Option<f64>,
}

/// What the night decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Decisions {
    pub version: String,
    pub actions: Vec<Action>,
    /// Reason codes with their sentences and how many scores name them.
    pub reasons: Vec<Reason>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    pub action: String,
    pub count: u64,
    pub mean_probability: Option<f64>,
    pub mean_score: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    pub code: String,
    pub sentence: String,
    pub count: u64,
}

/// Who would get another action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionChanges {
    pub actions: Vec<String>,
    /// `counts[live][candidate]`, in the order of `actions`.
    pub counts: Vec<Vec<u64>>,
}

/// The table of customers. Columns that no row has a value for are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Customers {
    pub rows: Vec<Customer>,
    /// How many there are; more than `rows` where not all are shown.
    pub total: u64,
    /// In which order they come.
    pub order: String,
    /// Whose score and action each column has.
    pub note: String,
    /// A file with all of them, beside the page.
    pub file: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Customer {
    /// Columns that name the customer, with their values.
    pub entity: Vec<(String, String)>,
    /// What else names the decision, such as a loan.
    pub key: Option<String>,
    pub probability: Option<f64>,
    pub score: Option<f64>,
    pub live_score: Option<f64>,
    pub difference: Option<f64>,
    pub action: String,
    pub live_action: Option<String>,
    pub limit: Option<f64>,
    pub reasons: Vec<String>,
    pub missing: Option<u64>,
}

/// What the model was made of.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Provenance {
    pub facts: Vec<Fact>,
    pub warnings: Vec<String>,
    /// Versions and what became of them, the newest first: date, version, event, note.
    pub history: Vec<[String; 4]>,
    /// The definition as it was trained from.
    pub definition: Option<String>,
}

/// The index: a row per model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Index {
    pub models: Vec<Summary>,
    /// The last nights with a report, the newest first: model and date; each links to its page.
    pub nights: Vec<(String, Vec<String>)>,
}

/// What the index says of a model, and what lies beside each page for machines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub model: String,
    pub description: String,
    pub date: String,
    pub outcome: Outcome,
    pub note: String,
    pub candidate: Option<String>,
    pub champion: Option<String>,
    pub roc_auc: Option<f64>,
    pub average_precision: Option<f64>,
    /// Checks of the gate that failed, of how many.
    pub failed: u64,
    pub checks: u64,
    /// Measures of the monitoring that warn or fail.
    pub warnings: u64,
    /// Scores of the night.
    pub scored: u64,
}
