//! The `audits` table: what every audit found, night by night, and how tonight compares with the nights before.
//!
//! What the audits of a table found is committed before the table, also where one of them failed, as the same unit of
//! work: a run that is killed in between does not find it twice. Trends read it back: a night's number is held to the
//! median of those that earlier nights measured and committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int64Type, Schema, SchemaRef};
use chrono::NaiveDate;
use serde_json::Map;

use super::instants;
use super::job::Job;
use crate::define::Table;
use crate::define::table::{Audit, AuditCheck};
use crate::define::trend::{Severity, Trend};
use crate::engine::plan::audits::{Audited, into_error};
use crate::engine::plan::measures::measured;
use crate::error::Result;
use crate::lake::{Replace, TableSpec, Unit, documented};

pub const TABLE: &str = "audits";

/// What this run's audits found, and what those of earlier nights measured.
pub struct Ledger<'a> {
    job: &'a Job,
    past: BTreeMap<(String, String), BTreeMap<NaiveDate, f64>>,
    new: Vec<Entry>,
}

/// One audit of one table.
#[derive(Debug, Clone)]
struct Entry {
    table: String,
    audit: String,
    severity: Severity,
    status: &'static str,
    bad: Option<u64>,
    value: Option<f64>,
    expected: Option<String>,
}

impl<'a> Ledger<'a> {
    /// Reads what earlier nights measured, if any table compares itself with them.
    pub async fn open(job: &'a Job) -> Result<Ledger<'a>> {
        let mut ledger = Ledger { job, past: BTreeMap::new(), new: Vec::new() };
        let mut audits = job.project.tables.values().filter(|t| job.selected(&t.name)).flat_map(|t| &t.audits);
        if audits.any(|audit| matches!(audit.check, AuditCheck::Trend(_))) {
            ledger.past = past(job).await?;
        }
        Ok(ledger)
    }

    /// Notes what the audits of some rows of a table found.
    ///
    /// # Errors
    /// `Data` if one fails that is to fail the job.
    pub fn note(&mut self, table: &Table, audited: Vec<Audited>) -> Result<()> {
        let mut failures = Vec::new();
        for one in audited {
            let status = match (&one.failure, one.severity) {
                (None, _) => "pass",
                (Some(_), severity) => severity.name(),
            };
            match (one.failure, one.severity) {
                (Some(failure), Severity::Fail) => failures.push(failure),
                (Some(failure), Severity::Warn) => tracing::warn!(table = table.name, "{failure}"),
                (None, _) => {}
            }
            let severity = one.severity;
            let entry = Entry {
                table: table.name.clone(),
                audit: one.name,
                severity,
                status,
                bad: one.bad,
                value: one.value,
                expected: one.expected,
            };
            match self
                .new
                .iter_mut()
                .find(|e| e.table == entry.table && e.audit == entry.audit && entry.value.is_none())
            {
                // Another run of days of the same table.
                Some(earlier) => {
                    earlier.bad = earlier.bad.zip(entry.bad).map(|(a, b)| a + b);
                    earlier.status = if entry.status == "pass" { earlier.status } else { entry.status };
                }
                None => self.new.push(entry),
            }
        }
        into_error(table, failures).map_or(Ok(()), Err)
    }

    /// Judges what was measured of a table, and notes it.
    ///
    /// # Errors
    /// As [`Self::note`].
    pub fn judge(&mut self, table: &Table, values: &[Option<f64>]) -> Result<()> {
        let is_known =
            |audit: &Audit, value: &Option<f64>| value.is_some() || !matches!(audit.check, AuditCheck::Trend(_));
        let known = measured(table).into_iter().zip(values).filter(|(audit, value)| is_known(audit, value));
        let judged: Vec<Audited> = known.map(|(audit, value)| self.judged(table, audit, *value)).collect();
        self.note(table, judged)
    }

    /// The audits of a table that only warn, and did.
    pub fn warnings(&self, table: &Table) -> Vec<String> {
        let of = self.new.iter().filter(|entry| entry.table == table.name && entry.status == "warn");
        of.map(|entry| entry.audit.clone()).collect()
    }

    /// Appends what was noted since the last time, as found in a unit of work; nothing if nothing was.
    pub async fn commit(&mut self, of: &Unit) -> Result<()> {
        if self.new.is_empty() {
            return Ok(());
        }
        let spec = TableSpec {
            name: TABLE.into(),
            description: "What every audit of every table found, by night.".into(),
            schema: schema(),
            partition_by: None,
            no_statistics: Vec::new(),
        };
        let mut writer = self.job.lake.writer(&spec).await?;
        let version = writer.base().version() + 1;
        writer.write(&self.batch(version)?).await?;
        self.new.clear();
        let unit = Unit { key: format!("{TABLE}:{}:{}", self.job.date, of.key), fingerprint: of.fingerprint };
        writer.commit(Replace::Nothing, &unit, Map::new()).await?;
        Ok(())
    }

    fn judged(&self, table: &Table, audit: &Audit, value: Option<f64>) -> Audited {
        let fault = match (&audit.check, value) {
            (AuditCheck::Freshness(freshness), value) => {
                let oldest = self.job.as_of().saturating_sub(freshness.within.micros());
                let expected = format!("nothing older than {}", instants::text(oldest));
                let found = value.map_or("no rows".to_string(), |at| {
                    format!("the newest is of {}", instants::text(at.round() as i64))
                });
                (value.is_none_or(|at| at < oldest as f64)).then_some((found, expected))
            }
            (AuditCheck::Trend(trend), Some(value)) => self.off_trend(table, audit, trend, value),
            _ => None,
        };
        let expected = fault.as_ref().map(|(_, expected)| expected.clone());
        let failure = fault.map(|(found, expected)| {
            let message = format!("audit {} of {} fails", audit.name, table.name);
            table.origin.at(&audit.path, message).found(found).expected(expected)
        });
        Audited { name: audit.name.clone(), severity: audit.severity, bad: None, value, expected, failure }
    }

    /// What was found and expected, if that is too far apart.
    fn off_trend(&self, table: &Table, audit: &Audit, trend: &Trend, value: f64) -> Option<(String, String)> {
        let past = self.past.get(&(table.name.clone(), audit.name.clone()))?;
        let before = past.iter().rev().filter(|(date, _)| **date < self.job.date).take(trend.nights);
        let before: Vec<f64> = before.map(|(_, value)| *value).collect();
        if before.len() < trend.at_least.max(1) {
            return None;
        }
        let (median, nights) = (median(before.clone()), before.len());
        let off = (value - median).abs() > trend.within.0 * median.abs();
        let (low, high) = (median - trend.within.0 * median.abs(), median + trend.within.0 * median.abs());
        off.then(|| {
            (format!("{value}"), format!("{low} to {high}: the median of the {nights} nights before is {median}"))
        })
    }

    fn batch(&self, version: u64) -> Result<RecordBatch> {
        let n = self.new.len();
        let text = |of: &dyn Fn(&Entry) -> Option<String>| {
            Arc::new(self.new.iter().map(of).collect::<StringArray>()) as ArrayRef
        };
        let columns = vec![
            Arc::new(Date32Array::from(vec![self.job.date.to_epoch_days(); n])) as ArrayRef,
            text(&|e| Some(e.table.clone())),
            text(&|e| Some(e.audit.clone())),
            text(&|e| Some(e.severity.name().into())),
            text(&|e| Some(e.status.into())),
            Arc::new(self.new.iter().map(|e| e.bad.and_then(|bad| i64::try_from(bad).ok())).collect::<Int64Array>()),
            Arc::new(self.new.iter().map(|e| e.value).collect::<Float64Array>()),
            text(&|e| e.expected.clone()),
            text(&|_| Some(self.job.run_id.clone())),
            Arc::new(Int64Array::from(vec![version as i64; n])),
        ];
        Ok(RecordBatch::try_new(schema(), columns)?)
    }
}

/// What was measured and not refused, by table and audit: the last of each night.
async fn past(job: &Job) -> Result<BTreeMap<(String, String), BTreeMap<NaiveDate, f64>>> {
    let Some(snapshot) = job.lake.snapshot(TABLE).await? else { return Ok(BTreeMap::new()) };
    let session = job.session()?;
    let mut found: Vec<(i64, String, String, NaiveDate, f64)> = Vec::new();
    for batch in session.context().read_table(snapshot.provider()?)?.collect().await? {
        let text = |index: usize| batch.column(index).as_string::<i32>();
        let values = batch.column(6).as_primitive::<Float64Type>();
        for row in (0..batch.num_rows()).filter(|row| values.is_valid(*row) && text(4).value(*row) != "fail") {
            let date = NaiveDate::from_epoch_days(batch.column(0).as_primitive::<Date32Type>().value(row));
            let at = batch.column(9).as_primitive::<Int64Type>().value(row);
            let names = (text(1).value(row).to_string(), text(2).value(row).to_string());
            found.push((at, names.0, names.1, date.unwrap_or_default(), values.value(row)));
        }
    }
    found.sort_by_key(|found| found.0);
    let mut past: BTreeMap<(String, String), BTreeMap<NaiveDate, f64>> = BTreeMap::new();
    for (_, table, audit, date, value) in found {
        past.entry((table, audit)).or_default().insert(date, value);
    }
    Ok(past)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

fn schema() -> SchemaRef {
    let field = |name: &str, data_type: DataType, doc: &str| {
        documented(name, data_type, ["bad_rows", "value", "expected"].contains(&name), doc)
    };
    Arc::new(Schema::new(vec![
        field("logical_date", DataType::Date32, "The night."),
        field("table", DataType::Utf8, "The table that was about to be committed."),
        field("audit", DataType::Utf8, "Its name, or what it checks."),
        field("severity", DataType::Utf8, "fail or warn: what it does when it fails."),
        field("status", DataType::Utf8, "pass, or what it did: fail (nothing was committed) or warn."),
        field("bad_rows", DataType::Int64, "Rows that broke it; null for what is measured."),
        field("value", DataType::Float64, "What was measured; of freshness the newest instant, in microseconds."),
        field("expected", DataType::Utf8, "What was expected, where it failed."),
        field("run_id", DataType::Utf8, "The run, as in runs."),
        field(
            "sequence",
            DataType::Int64,
            "Counts the commits: of two findings of one night the greater is the later.",
        ),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!([median(vec![3.0]), median(vec![9.0, 1.0]), median(vec![9.0, 1.0, 2.0])], [3.0, 5.0, 2.0]);
    }
}
