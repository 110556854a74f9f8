//! A measure of a night, what it is held to, and the rows of `monitoring/<model>`.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Array, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Float64Type, Schema};
use datafusion::prelude::{col, lit};

use crate::define::model::Level;
use crate::error::Result;
use crate::lake::{Snapshot, documented};
use crate::pipeline::features;
use crate::pipeline::job::Job;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Ok,
    Warn,
    Fail,
    /// There is too little to say.
    Skipped,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Fail => "fail",
            Status::Skipped => "skipped",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Measure {
    pub what: &'static str,
    pub subject: String,
    pub value: Option<f64>,
    pub baseline: Option<f64>,
    /// What thresholds are held to.
    pub change: Option<f64>,
    pub level: Level,
    pub status: Status,
    pub note: String,
}

impl Measure {
    pub fn of(
        what: &'static str,
        subject: impl Into<String>,
        (value, baseline): (Option<f64>, Option<f64>),
        change: Option<f64>,
        level: &Level,
    ) -> Measure {
        let reaches = |bound: Option<f64>| change.zip(bound).is_some_and(|(change, bound)| change > bound);
        let status = match change {
            None => Status::Skipped,
            Some(_) if reaches(level.fail) => Status::Fail,
            Some(_) if reaches(level.warn) => Status::Warn,
            Some(_) => Status::Ok,
        };
        Measure { what, subject: subject.into(), value, baseline, change, level: *level, status, note: String::new() }
    }

    /// One that cannot be taken.
    pub fn skipped(what: &'static str, subject: impl Into<String>, level: &Level, why: impl Into<String>) -> Measure {
        Measure { note: why.into(), ..Measure::of(what, subject, (None, None), None, level) }
    }

    pub fn sentence(&self) -> String {
        sentence(
            self.what,
            &self.subject,
            self.change,
            self.level.fail.filter(|_| self.status == Status::Fail).or(self.level.warn),
        )
    }
}

fn sentence(what: &str, subject: &str, change: Option<f64>, bound: Option<f64>) -> String {
    let number = |value: Option<f64>| value.map_or("none".to_string(), |value| format!("{value:.4}"));
    format!(
        "{what} of {subject} is {}, at most {} was expected",
        number(change),
        bound.map_or("nothing".into(), |b| b.to_string())
    )
}

pub fn batch(job: &Job, version: &str, measures: &[Measure]) -> Result<RecordBatch> {
    let rows = measures.len();
    let text = |get: &dyn Fn(&Measure) -> String| -> ArrayRef {
        Arc::new(measures.iter().map(|measure| Some(get(measure))).collect::<StringArray>())
    };
    let number = |get: &dyn Fn(&Measure) -> Option<f64>| -> ArrayRef {
        Arc::new(measures.iter().map(get).collect::<Float64Array>())
    };
    let (texts, numbers) = (DataType::Utf8, DataType::Float64);
    let columns: Vec<(_, ArrayRef)> = vec![
        (
            documented("logical_date", DataType::Date32, false, "The night."),
            Arc::new(Date32Array::from_value(job.date.to_epoch_days(), rows)),
        ),
        (
            documented("model_version", texts.clone(), false, "The champion."),
            Arc::new(StringArray::from(vec![version; rows])),
        ),
        (
            documented(
                "what",
                texts.clone(),
                false,
                "psi, missing, population, base_rate, auc_drop or calibration_error.",
            ),
            text(&|m| m.what.into()),
        ),
        (documented("subject", texts.clone(), false, "An input, or score, rows, label."), text(&|m| m.subject.clone())),
        (documented("value", numbers.clone(), true, "Tonight."), number(&|m| m.value)),
        (documented("baseline", numbers.clone(), true, "What it is compared with."), number(&|m| m.baseline)),
        (documented("change", numbers.clone(), true, "What thresholds are held to."), number(&|m| m.change)),
        (documented("warn", numbers.clone(), true, "Above it, it warns."), number(&|m| m.level.warn)),
        (documented("fail", numbers, true, "Above it, it fails."), number(&|m| m.level.fail)),
        (documented("status", texts.clone(), false, "ok, warn, fail or skipped."), text(&|m| m.status.name().into())),
        (documented("note", texts, false, "Why it could not be taken."), text(&|m| m.note.clone())),
    ];
    let (fields, columns): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// What failed in a night that was measured before.
pub async fn failures(job: &Job, snapshot: &Snapshot, model: &str) -> Result<Vec<String>> {
    let session = job.session()?;
    let night = features::stored(&session, snapshot, job.date)?.filter(col("status").eq(lit("fail")))?;
    let mut failures = Vec::new();
    for batch in night.select_columns(&["what", "subject", "change", "fail"])?.collect().await? {
        let (whats, subjects) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
        let (changes, bounds) =
            (batch.column(2).as_primitive::<Float64Type>(), batch.column(3).as_primitive::<Float64Type>());
        for row in 0..batch.num_rows() {
            let said =
                sentence(whats.value(row), subjects.value(row), Some(changes.value(row)), Some(bounds.value(row)));
            failures.push(format!("{model}: {said}"));
        }
    }
    failures.sort();
    Ok(failures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_above_a_threshold_is_said() {
        let level = Level { warn: Some(0.1), fail: Some(0.25) };
        let status = |change| Measure::of("psi", "score", (change, None), change, &level).status;
        let found = [status(Some(0.1)), status(Some(0.11)), status(Some(0.26)), status(None)];
        assert_eq!(found, [Status::Ok, Status::Warn, Status::Fail, Status::Skipped]);
        let none = Level { warn: None, fail: None };
        assert_eq!(Measure::of("psi", "score", (None, None), Some(9.0), &none).status, Status::Ok);
        let failed = Measure::of("psi", "score", (Some(0.3), None), Some(0.3), &level);
        assert_eq!(failed.sentence(), "psi of score is 0.3000, at most 0.25 was expected");
    }
}
