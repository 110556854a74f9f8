//! Curves of the rows that a version was measured on: ROC, precision and recall, reliability, lift, distribution.
//!
//! They are computed from what the training kept, row by row, so that they and the metrics beside them are of the same
//! rows. They are kept for as long as the table's history is: of a version from before it there are metrics and no
//! curves.

use super::decided::{bounds, upper};
use crate::define::Model;
use crate::error::Result;
use crate::learn::curves;
use crate::learn::metrics::Metrics;
use crate::learn::ranked::Ranked;
use crate::pipeline::progress::thousands;
use crate::pipeline::training_set::TrainingSet;
use crate::report::page::{
    Calibration, Curves, Decile, Distribution, Layer, Lift, Line, Reliability, ReliabilityBin, Section,
};

/// Bins of a histogram.
const BINS: usize = 40;
/// Parts that no training saw.
const PARTS: [&str; 2] = ["test", "out_of_fold"];

/// Out-of-sample rows of a version.
pub struct Measured {
    labels: Vec<bool>,
    probabilities: Vec<f64>,
    ranked: Ranked,
    metrics: Metrics,
    /// What they are, in words.
    words: String,
}

impl Measured {
    /// `None` where all rows have one outcome.
    pub fn of(set: &TrainingSet) -> Result<Option<Measured>> {
        let mut part = "";
        let (mut labels, mut probabilities) = (Vec::new(), Vec::new());
        for (row, _) in out_of_sample(set).iter().enumerate().filter(|(_, is_measured)| **is_measured) {
            labels.push(set.labels[row]);
            probabilities.extend(set.out_of_sample[row]);
            part = set.parts[row].as_deref().unwrap_or_default();
        }
        if !(labels.contains(&true) && labels.contains(&false)) {
            return Ok(None);
        }
        let words = format!("{} {} rows", thousands(labels.len() as u64), part.replace('_', "-"));
        let ranked = Ranked::new(&labels, &probabilities, None)?;
        let metrics = Metrics::of_ranked(&ranked, 0.5);
        Ok(Some(Measured { labels, probabilities, ranked, metrics, words }))
    }

    pub fn curves(&self) -> Section<Curves> {
        let note =
            |name: &str, value: Option<f64>| value.map_or_else(String::new, |value| format!("{name} {value:.4}"));
        let roc = curves::roc(&self.ranked).iter().map(|p| (p.false_positive_rate, p.true_positive_rate)).collect();
        let precision = curves::precision_recall(&self.ranked).iter().map(|p| (p.recall, p.precision)).collect();
        let line = |note: String, points| vec![Line { name: "This version".into(), note, points }];
        Section::Shown(Curves {
            rows: self.words.clone(),
            roc: line(note("AUC", self.metrics.roc_auc), roc),
            precision_recall: line(note("AP", self.metrics.average_precision), precision),
            base_rate: self.base_rate(),
        })
    }

    /// Of versions that say nothing about it themselves: those were not calibrated.
    pub fn calibration(&self) -> Calibration {
        let lines = vec![reliability("Probabilities", &self.ranked)];
        Calibration { rows: self.words.clone(), kind: "none".into(), lines }
    }

    pub fn lift(&self) -> Section<Lift> {
        let rows = self.labels.len() as f64 / curves::DECILES as f64;
        let decile = |bin: &curves::LiftBin| Decile {
            rows: rows.round() as u64,
            positives: (bin.rate * rows).round() as u64,
            rate: bin.rate,
            lift: bin.lift,
            captured: bin.captured,
        };
        let deciles = curves::lift(&self.ranked).iter().map(decile).collect();
        Section::Shown(Lift { rows: self.words.clone(), base_rate: self.base_rate(), deciles })
    }

    pub fn distribution(&self, model: &Model) -> Result<Distribution> {
        let highest = self.probabilities.iter().copied().fold(0.0, f64::max);
        let range = Some((0.0, upper(model, highest)));
        let bins = curves::histogram(&self.labels, &self.probabilities, None, BINS, range)?;
        let counts = |of: fn(&curves::HistogramBin) -> f64| bins.iter().map(|bin| of(bin).round() as u64).collect();
        Ok(Distribution {
            rows: self.words.clone(),
            edges: bins.first().map(|bin| bin.from).into_iter().chain(bins.iter().map(|bin| bin.to)).collect(),
            layers: vec![
                Layer { name: "Outcome 0".into(), counts: counts(|bin| bin.negatives) },
                Layer { name: "Outcome 1".into(), counts: counts(|bin| bin.positives) },
            ],
            bounds: bounds(model),
        })
    }

    fn base_rate(&self) -> f64 {
        self.metrics.base_rate.unwrap_or_default()
    }
}

/// Rows that no training saw.
pub fn out_of_sample(set: &TrainingSet) -> Vec<bool> {
    let is_part = |part: &Option<String>| part.as_deref().is_some_and(|part| PARTS.contains(&part));
    set.parts.iter().zip(&set.out_of_sample).map(|(part, said)| is_part(part) && said.is_some()).collect()
}

fn reliability(name: &str, ranked: &Ranked) -> Reliability {
    Reliability {
        name: name.to_string(),
        error: Metrics::of_ranked(ranked, 0.5).calibration_error,
        bins: bins(&curves::reliability(ranked)),
    }
}

/// Bins of a reliability curve, to be drawn.
pub fn bins(found: &[curves::ReliabilityBin]) -> Vec<ReliabilityBin> {
    let bin = |bin: &curves::ReliabilityBin| ReliabilityBin {
        predicted: bin.mean_probability,
        observed: bin.observed,
        low: bin.low,
        high: bin.high,
        rows: bin.mass.round() as u64,
    };
    found.iter().map(bin).collect()
}
