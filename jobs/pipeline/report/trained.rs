//! What an artifact says of its version: metrics by segment, importances, what it was made of.
//!
//! Its files are read as far as they say something to the page, not as a whole: versions of other days had fewer keys,
//! and a page of them is still a page.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::pipeline::job::Job;
use crate::pipeline::progress::{bytes, thousands};
use crate::report::page::{
    Calibration, Contribution, Contributions, Fact, Importance, Importances, Measured, Part, Provenance, Quality,
    Reliability, ReliabilityBin, Section, Segment,
};

/// Metrics of the table, in this order; others are kept in the artifact.
const METRICS: [&str; 9] = [
    "roc_auc",
    "average_precision",
    "ks",
    "lift_10",
    "brier",
    "log_loss",
    "f1",
    "calibration_error",
    "mean_probability",
];

/// Features shown.
const FEATURES: usize = 20;

/// An artifact's files, as far as a page shows them.
#[derive(Debug, Default)]
pub struct Trained {
    pub report: Report,
    schema: Schema,
    environment: BTreeMap<String, String>,
    definition: Option<String>,
    bytes: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Report {
    parts: Vec<RowsOfPart>,
    bootstrap: Option<Plan>,
    evaluations: Vec<Evaluation>,
    calibration: Option<Calibrated>,
    importances: Vec<Gain>,
    contributions: Vec<Moved>,
    warnings: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct RowsOfPart {
    part: String,
    rows: u64,
    positives: u64,
    first_as_of: Option<i64>,
    last_as_of: Option<i64>,
}

type Metrics = BTreeMap<String, Option<f64>>;

#[derive(Debug, Deserialize)]
struct Evaluation {
    part: String,
    segment: String,
    rows: u64,
    positives: u64,
    metrics: Metrics,
    #[serde(default)]
    spread: Option<Metrics>,
    /// Ends of the intervals, drawn by entity.
    #[serde(default)]
    low: Option<Metrics>,
    #[serde(default)]
    high: Option<Metrics>,
}

/// How intervals were drawn.
#[derive(Debug, Deserialize)]
struct Plan {
    repetitions: u64,
    confidence: f64,
}

/// What calibration did to rows out of sample.
#[derive(Debug, Deserialize)]
struct Calibrated {
    kind: String,
    error_before: Option<f64>,
    error_after: Option<f64>,
    before: Vec<Bin>,
    after: Vec<Bin>,
}

#[derive(Debug, Deserialize)]
struct Bin {
    mass: f64,
    mean_probability: f64,
    observed: f64,
    low: f64,
    high: f64,
}

/// How an input moves margins.
#[derive(Debug, Deserialize)]
struct Moved {
    feature: String,
    mean_absolute: f64,
    mean: f64,
}

#[derive(Debug, Deserialize)]
struct Gain {
    feature: String,
    gain: f64,
    #[serde(default)]
    split: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Schema {
    kind: String,
    best_iteration: Option<u64>,
    features: Vec<Input>,
}

#[derive(Debug, Deserialize)]
struct Input {
    class: String,
}

impl Trained {
    /// The artifact of a version; `None` if it is gone.
    ///
    /// # Errors
    /// `Data` if a file of it was damaged.
    pub async fn of(job: &Job, model: &str, version: &str) -> Result<Option<Trained>> {
        let dir = format!("models/{model}/{version}");
        let Some(files) = job.lake.get_files(&dir).await? else { return Ok(None) };
        let text = |name: &str| files.get(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        Ok(Some(Trained {
            report: parsed(&dir, "metrics.json", text("metrics.json"))?,
            schema: parsed(&dir, "schema.json", text("schema.json"))?,
            environment: parsed(&dir, "environment.json", text("environment.json"))?,
            definition: text("definition.yaml"),
            bytes: files.values().map(|bytes| bytes.len() as u64).sum(),
        }))
    }

    /// The part of the rows that the version did not train on.
    fn out_of_sample(&self) -> Option<&str> {
        let has = |part: &&str| self.report.evaluations.iter().any(|e| e.part == *part);
        ["test", "out_of_fold"].into_iter().find(has)
    }

    pub fn quality(&self) -> Section<Quality> {
        let Some(part) = self.out_of_sample() else {
            return Section::absent("This version has no metrics out of sample.");
        };
        let evaluations: Vec<&Evaluation> = self.report.evaluations.iter().filter(|e| e.part == part).collect();
        let measured = |name: &&str| evaluations.iter().any(|e| e.metrics.get(*name).is_some_and(Option::is_some));
        let metrics: Vec<String> = METRICS.into_iter().filter(measured).map(str::to_string).collect();
        let segment = |evaluation: &&Evaluation| Segment {
            name: evaluation.segment.clone(),
            rows: evaluation.rows,
            positives: evaluation.positives,
            values: metrics.iter().map(|metric| evaluation.measured(metric)).collect(),
        };
        Section::Shown(Quality {
            part: part.replace('_', " "),
            intervals: evaluations
                .first()
                .map_or_else(String::new, |evaluation| self.report.interval_words(evaluation)),
            segments: evaluations.iter().map(segment).collect(),
            parts: self.report.parts.iter().map(RowsOfPart::shown).collect(),
            metrics,
        })
    }

    /// A metric of all rows out of sample.
    pub fn overall(&self, metric: &str) -> Option<Measured> {
        let part = self.out_of_sample()?;
        let all = self.report.evaluations.iter().find(|e| e.part == part && e.segment == "all")?;
        Some(all.measured(metric)).filter(|measured| measured.value.is_some())
    }

    /// Reliability before and after calibration, as the training measured it.
    pub fn calibration(&self) -> Option<Calibration> {
        let found = self.report.calibration.as_ref()?;
        let line = |name: &str, error: Option<f64>, bins: &[Bin]| Reliability {
            name: name.to_string(),
            error,
            bins: bins.iter().map(Bin::shown).collect(),
        };
        let mut lines = vec![line("Before calibration", found.error_before, &found.before)];
        match found.kind.as_str() {
            "none" => "Probabilities".clone_into(&mut lines[0].name),
            _ => lines.push(line("After calibration", found.error_after, &found.after)),
        }
        let rows = format!("rows out of sample ({})", self.out_of_sample().unwrap_or("none").replace('_', " "));
        Some(Calibration { rows, kind: found.kind.clone(), lines })
    }

    /// How far each input moves margins; single rows are not kept with a version.
    pub fn contributions(&self) -> Section<Contributions> {
        let moved = &self.report.contributions;
        if moved.is_empty() {
            return Section::absent("This version does not say what its inputs contributed.");
        }
        let contribution = |moved: &Moved| Contribution {
            feature: moved.feature.clone(),
            mean_absolute: moved.mean_absolute,
            mean: moved.mean,
            points: Vec::new(),
        };
        let features = moved.iter().take(FEATURES).map(contribution).collect();
        Section::Shown(Contributions { rows: "rows out of sample".into(), features })
    }

    pub fn importances(&self, champion: Option<&Trained>) -> Section<Importances> {
        let shares = self.gains();
        if shares.is_empty() {
            return Section::absent("This kind of model has no importances.");
        }
        let theirs: Option<BTreeMap<&str, f64>> = champion.map(|champion| champion.gains().into_iter().collect());
        let importance = |(gain, (feature, share)): (&Gain, &(&str, f64))| Importance {
            feature: feature.to_string(),
            share: *share,
            splits: gain.split,
            champion: theirs.as_ref().map(|theirs| theirs.get(feature).copied().unwrap_or(0.0)),
        };
        let features = self.report.importances.iter().zip(&shares).take(FEATURES).map(importance).collect();
        Section::Shown(Importances { features, more: shares.len().saturating_sub(FEATURES) as u64 })
    }

    /// Each feature's share of the gain.
    fn gains(&self) -> Vec<(&str, f64)> {
        let all: f64 = self.report.importances.iter().map(|gain| gain.gain).sum();
        let all = if all > 0.0 { all } else { 1.0 };
        self.report.importances.iter().map(|gain| (gain.feature.as_str(), gain.gain / all)).collect()
    }

    pub fn provenance(&self, version: &str) -> Provenance {
        let count = |class: &str| self.schema.features.iter().filter(|input| input.class == class).count();
        let mut classes: Vec<String> = Vec::new();
        for class in ["numeric", "time", "categorical", "share"] {
            match count(class) {
                0 => {}
                some => classes.push(format!("{some} {class}")),
            }
        }
        let of = |name: &str| self.environment.get(name).map_or("", String::as_str);
        let trees = self.schema.best_iteration.map_or_else(String::new, |trees| format!("{trees} iterations"));
        let facts = vec![
            Fact::new("Version shown", version, ""),
            Fact::new("Kind", self.schema.kind.as_str(), trees),
            Fact::new("Inputs", self.schema.features.len().to_string(), classes.join(", ")),
            Fact::new("Size", bytes(self.bytes), "all files of the artifact"),
            Fact::new(
                "Made with",
                format!("Scorehouse {}, LightGBM {}", of("scorehouse"), of("lightgbm")),
                format!("{} {}", of("os"), of("arch")),
            ),
        ];
        let (warnings, definition) = (self.report.warnings.clone(), self.definition.clone());
        Provenance { facts, warnings, history: Vec::new(), definition }
    }
}

impl Evaluation {
    fn measured(&self, metric: &str) -> Measured {
        let of = |metrics: &Metrics| metrics.get(metric).copied().flatten();
        let value = of(&self.metrics);
        if let (Some(low), Some(high)) = (&self.low, &self.high) {
            return Measured { value, low: of(low), high: of(high) };
        }
        let spread = self.spread.as_ref().and_then(of);
        let end = |sign: f64| value.zip(spread).map(|(value, spread)| value + sign * spread);
        Measured { value, low: end(-1.0), high: end(1.0) }
    }
}

impl Report {
    fn interval_words(&self, evaluation: &Evaluation) -> String {
        match (&evaluation.low, &evaluation.spread, &self.bootstrap) {
            (Some(_), _, Some(plan)) => {
                let draws = thousands(plan.repetitions);
                format!("{}%, by bootstrap over entities, {draws} draws", plan.confidence * 100.0)
            }
            (Some(_), _, None) => "by bootstrap over entities".to_string(),
            (None, Some(_), _) => "one standard deviation over the seeds of the cross-validation".to_string(),
            (None, None, _) => String::new(),
        }
    }
}

impl Bin {
    fn shown(&self) -> ReliabilityBin {
        let rows = self.mass.round() as u64;
        let Bin { mean_probability: predicted, observed, low, high, .. } = *self;
        ReliabilityBin { predicted, observed, low, high, rows }
    }
}

impl RowsOfPart {
    fn shown(&self) -> Part {
        let date = |micros: Option<i64>| {
            micros.and_then(DateTime::from_timestamp_micros).map_or_else(String::new, |at| at.date_naive().to_string())
        };
        Part {
            name: self.part.replace('_', " "),
            rows: self.rows,
            positives: self.positives,
            from: date(self.first_as_of),
            to: date(self.last_as_of),
        }
    }
}

fn parsed<T: DeserializeOwned + Default>(dir: &str, name: &str, text: Option<String>) -> Result<T> {
    let Some(text) = text else { return Ok(T::default()) };
    let wrong = |e| Error::data(format!("{dir}/{name} is not what a training writes: {e}")).caused_by(e);
    serde_json::from_str(&text).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trained(metrics: &str) -> Trained {
        Trained { report: serde_json::from_str(metrics).unwrap(), ..Trained::default() }
    }

    #[test]
    fn artifacts_of_other_days_are_read_as_far_as_they_go() {
        let old = trained(
            r#"{"evaluations": [{"part": "test", "segment": "all", "rows": 10, "positives": 2, "later": 1,
                "metrics": {"roc_auc": 0.7, "ks": null, "unknown": 3}}]}"#,
        );
        let quality = old.quality();
        let quality = quality.shown().unwrap();
        assert_eq!(quality.metrics, ["roc_auc"]);
        assert_eq!(old.overall("roc_auc").unwrap(), Measured { value: Some(0.7), low: None, high: None });
        assert!(old.importances(None).shown().is_none());
        assert!(trained("{}").quality().shown().is_none());
    }

    #[test]
    fn spreads_and_intervals_are_told_apart() {
        let of = |more: &str| {
            trained(&format!(
                r#"{{"evaluations": [{{"part": "out_of_fold", "segment": "all", "rows": 1, "positives": 0,
                    "metrics": {{"roc_auc": 0.7}}, {more}}}]}}"#
            ))
        };
        let spread = of(r#""spread": {"roc_auc": 0.1}"#).overall("roc_auc").unwrap();
        assert!((spread.low.unwrap() - 0.6).abs() < 1e-12);
        let both = of(r#""low": {"roc_auc": 0.65}, "high": {"roc_auc": 0.74}, "spread": {"roc_auc": 0.1}"#);
        assert_eq!(both.overall("roc_auc").unwrap().low, Some(0.65));
        assert!(both.quality().shown().unwrap().intervals.contains("bootstrap"));
    }

    #[test]
    fn calibration_and_contributions_are_those_of_the_training() {
        let bin = r#"{"mass": 20.0, "mean_probability": 0.1, "observed": 0.15, "low": 0.05, "high": 0.3}"#;
        let of = |kind: &str| {
            trained(&format!(
                r#"{{"calibration": {{"kind": "{kind}", "error_before": 0.05, "error_after": 0.01, "before": [{bin}],
                    "after": [{bin}, {bin}]}}, "contributions": [{{"feature": "a", "mean_absolute": 0.5, "mean": -0.1}}]}}"#
            ))
        };
        let found = of("isotonic").calibration().unwrap();
        assert_eq!(
            found.lines.iter().map(|l| (l.error, l.bins.len())).collect::<Vec<_>>(),
            [(Some(0.05), 1), (Some(0.01), 2)]
        );
        assert_eq!(found.lines[1].bins[0].rows, 20);
        assert_eq!(of("none").calibration().unwrap().lines.len(), 1);
        assert_eq!(of("none").contributions().shown().unwrap().features[0].mean, -0.1);
        assert!(trained("{}").calibration().is_none() && trained("{}").contributions().shown().is_none());
    }

    #[test]
    fn importances_are_shares_beside_the_champions() {
        let ours =
            trained(r#"{"importances": [{"feature": "a", "gain": 3, "split": 2}, {"feature": "b", "gain": 1}]}"#);
        let theirs = trained(r#"{"importances": [{"feature": "b", "gain": 5}]}"#);
        let shown = ours.importances(Some(&theirs));
        let features = &shown.shown().unwrap().features;
        assert_eq!((features[0].share, features[0].champion), (0.75, Some(0.0)));
        assert_eq!((features[1].share, features[1].champion), (0.25, Some(1.0)));
    }
}
