//! Metrics by part and segment: as values, as JSON and as rows of a table.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Builder, RecordBatch, StringBuilder, UInt64Builder};
use arrow::datatypes::{DataType, Field, Schema};
use serde::{Deserialize, Serialize};

use super::metrics::Metrics;
use crate::error::{Error, Result};

/// The segment of every row.
pub const ALL: &str = "all";

/// Metrics of the rows of one part (`train`, `valid`, `test`, `out_of_fold`) that lie in one segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    pub part: String,
    pub segment: String,
    pub rows: u64,
    pub positives: u64,
    pub metrics: Metrics,
    /// Sample standard deviation over the seeds of a cross-validation; `None` below two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Metrics>,
    /// The interval of each metric, drawn by entity; of rows out of sample only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<Metrics>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<Metrics>,
}

/// A named set of rows: one flag per row of the training set.
pub type Segment = (String, Vec<bool>);

/// Evaluates predictions: `probabilities[i]` belongs to row `rows[i]`; labels and segments are by row.
///
/// One evaluation for `all` rows, then one per segment; a segment without rows has no metrics.
pub fn evaluate(
    part: &str,
    rows: &[usize],
    probabilities: &[f64],
    labels: &[bool],
    segments: &[Segment],
    threshold: f64,
) -> Result<Vec<Evaluation>> {
    if rows.len() != probabilities.len() {
        return Err(Error::internal(format!("{} rows, {} probabilities", rows.len(), probabilities.len())));
    }
    let of = |segment: &str, inside: &dyn Fn(usize) -> bool| -> Result<Evaluation> {
        let chosen = || rows.iter().zip(probabilities).filter(|(row, _)| inside(**row));
        let labels: Vec<bool> = chosen().map(|(row, _)| labels[*row]).collect();
        let probabilities: Vec<f64> = chosen().map(|(_, p)| *p).collect();
        Ok(Evaluation {
            part: part.to_string(),
            segment: segment.to_string(),
            rows: labels.len() as u64,
            positives: labels.iter().filter(|l| **l).count() as u64,
            metrics: Metrics::of(&labels, &probabilities, threshold)?,
            spread: None,
            low: None,
            high: None,
        })
    };
    let mut out = vec![of(ALL, &|_| true)?];
    for (name, flags) in segments {
        out.push(of(name, &|row| flags[row])?);
    }
    Ok(out)
}

/// The same evaluations made once per seed, as one: means, with the standard deviation beside them.
pub fn over_seeds(per_seed: &[Vec<Evaluation>]) -> Vec<Evaluation> {
    let Some(first) = per_seed.first() else { return Vec::new() };
    let combined = |index: usize, one: &Evaluation| {
        let each = || per_seed.iter().filter_map(|seed| seed.get(index));
        let sets: Vec<Metrics> = each().map(|e| e.metrics).collect();
        let bound = |of: fn(&Evaluation) -> Option<Metrics>| {
            let bounds: Option<Vec<Metrics>> = each().map(of).collect();
            bounds.map(|bounds| Metrics::combine(&bounds, mean))
        };
        Evaluation {
            metrics: Metrics::combine(&sets, mean),
            spread: (sets.len() > 1).then(|| Metrics::combine(&sets, deviation)),
            low: bound(|e| e.low),
            high: bound(|e| e.high),
            ..one.clone()
        }
    };
    first.iter().enumerate().map(|(index, one)| combined(index, one)).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let centre = mean(values);
    (values.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0)).sqrt()
}

/// The columns of [`to_batch`]: one row per part, segment and metric, so that a new metric is no new column.
pub fn table_schema() -> Schema {
    Schema::new(vec![
        Field::new("part", DataType::Utf8, false),
        Field::new("segment", DataType::Utf8, false),
        Field::new("rows", DataType::UInt64, false),
        Field::new("positives", DataType::UInt64, false),
        Field::new("metric", DataType::Utf8, false),
        Field::new("value", DataType::Float64, true),
        Field::new("spread", DataType::Float64, true),
    ])
}

/// Evaluations as a table; undefined metrics are null.
pub fn to_batch(evaluations: &[Evaluation]) -> Result<RecordBatch> {
    let mut texts = [StringBuilder::new(), StringBuilder::new(), StringBuilder::new()];
    let mut counts = [UInt64Builder::new(), UInt64Builder::new()];
    let mut values = [Float64Builder::new(), Float64Builder::new()];
    for evaluation in evaluations {
        let spread = evaluation.spread.unwrap_or_default();
        for ((metric, value), (_, spread)) in evaluation.metrics.entries().into_iter().zip(spread.entries()) {
            texts[0].append_value(&evaluation.part);
            texts[1].append_value(&evaluation.segment);
            texts[2].append_value(metric);
            counts[0].append_value(evaluation.rows);
            counts[1].append_value(evaluation.positives);
            values[0].append_option(value);
            values[1].append_option(spread);
        }
    }
    let [mut part, mut segment, mut metric] = texts;
    let [mut rows, mut positives] = counts;
    let [mut value, mut spread] = values;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(part.finish()),
        Arc::new(segment.finish()),
        Arc::new(rows.finish()),
        Arc::new(positives.finish()),
        Arc::new(metric.finish()),
        Arc::new(value.finish()),
        Arc::new(spread.finish()),
    ];
    Ok(RecordBatch::try_new(Arc::new(table_schema()), columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Array;

    fn evaluations() -> Vec<Evaluation> {
        let segments = [("odd".to_string(), vec![false, true, false, true]), ("none".to_string(), vec![false; 4])];
        evaluate("test", &[0, 1, 3], &[0.1, 0.9, 0.2], &[false, true, true, false], &segments, 0.5).unwrap()
    }

    #[test]
    fn segments_take_their_rows_of_the_part_only() {
        let got = evaluations();
        let counts: Vec<_> = got.iter().map(|e| (e.segment.as_str(), e.rows, e.positives)).collect();
        assert_eq!(counts, [("all", 3, 1), ("odd", 2, 1), ("none", 0, 0)]);
        assert_eq!(got[0].metrics.roc_auc, Some(1.0));
        assert_eq!(got[2].metrics, Metrics::default());
    }

    #[test]
    fn json_and_rows_hold_the_same() {
        let all = evaluations();
        let json = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Evaluation>>(&json).unwrap().len(), 3);
        let batch = to_batch(&all).unwrap();
        assert_eq!(batch.num_rows(), 3 * all[0].metrics.entries().len());
        assert_eq!(batch.column_by_name("value").unwrap().null_count(), 10, "the segment without rows");
        assert_eq!(to_batch(&[]).unwrap().num_rows(), 0);
    }

    #[test]
    fn seeds_give_a_mean_and_a_spread() {
        let seed = |auc| {
            let mut all = evaluations();
            all[0].metrics.roc_auc = Some(auc);
            all
        };
        let got = over_seeds(&[seed(0.6), seed(0.8)]);
        assert!((got[0].metrics.roc_auc.unwrap() - 0.7).abs() < 1e-12);
        assert!((got[0].spread.unwrap().roc_auc.unwrap() - 0.02f64.sqrt()).abs() < 1e-12);
        assert!(over_seeds(&[seed(0.6)])[0].spread.is_none());
        assert!(over_seeds(&[]).is_empty());
    }
}
