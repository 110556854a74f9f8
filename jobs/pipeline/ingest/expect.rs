//! Whether a source has delivered what is expected of it by the end of a night: rows new enough, and as many as usual.
//!
//! Looks at what is in the table after the load, so that a run that is repeated finds the same.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::AsArray;
use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};
use chrono::{DateTime, Days, NaiveDate};
use datafusion::functions_aggregate::expr_fn::{count, max};
use datafusion::prelude::{DataFrame, col, lit};
use serde::Serialize;

use super::Night;
use crate::define::Source;
use crate::define::expectation::{Freshness, Otherwise, Volume};
use crate::engine::plan::{EVENT_DATE, KNOWN_UNTIL};
use crate::error::{Error, Result};
use crate::lake::Snapshot;
use crate::pipeline::job::{end_of, instant, quoted};

/// Days with rows below which nobody knows what is usual.
const LEAST_DAYS: usize = 3;

/// What a check found, as it stands in the run record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// `freshness` or `volume`.
    pub check: &'static str,
    /// `ok`, `warn` or `fail`.
    pub status: &'static str,
    pub found: String,
    pub expected: String,
}

impl Checked {
    fn new(check: &'static str, met: bool, otherwise: Otherwise, found: String, expected: String) -> Checked {
        let status = match (met, otherwise) {
            (true, _) => "ok",
            (false, Otherwise::Warn) => "warn",
            (false, Otherwise::Fail) => "fail",
        };
        Checked { check, status, found, expected }
    }

    pub fn text(&self) -> String {
        format!("{}: {}, expected {}", self.check, self.found, self.expected)
    }
}

/// Every check that the source declares.
pub(super) async fn check(night: &Night<'_>, source: &Source) -> Result<Vec<Checked>> {
    let mut checked = Vec::new();
    let Some(time) = &source.event_time else { return Ok(checked) };
    if source.freshness.is_none() && source.volume.is_none() {
        return Ok(checked);
    }
    let Some(table) = night.lake.snapshot(&format!("tables/{}", source.name)).await? else { return Ok(checked) };
    let table = Table { night, table, days: BTreeSet::new() }.with_days();
    if let Some(freshness) = &source.freshness {
        checked.push(table.freshness(freshness, time).await?);
    }
    if let Some(volume) = &source.volume {
        checked.extend(table.volume(volume).await?);
    }
    Ok(checked)
}

/// # Errors
/// `Data` if a check failed that must not.
pub(super) fn outcome(checked: &[Checked]) -> Result<()> {
    let failed: Vec<&Checked> = checked.iter().filter(|checked| checked.status == "fail").collect();
    if failed.is_empty() {
        return Ok(());
    }
    let texts: Vec<String> = failed
        .iter()
        .map(|c| format!("{} is not as declared\n  found: {}\n  expected: {}", c.check, c.found, c.expected))
        .collect();
    Err(Error::data(format!(
        "{}\n  help: deliver what is missing and run this job again; what was delivered is loaded",
        texts.join("\n")
    )))
}

struct Table<'a> {
    night: &'a Night<'a>,
    table: Snapshot,
    /// Days up to the night that have rows.
    days: BTreeSet<NaiveDate>,
}

impl Table<'_> {
    fn with_days(mut self) -> Self {
        let days = self.table.partition_rows().into_keys().filter_map(|day| day.parse().ok());
        self.days = days.filter(|day| *day <= self.night.date).collect();
        self
    }

    /// The current rows of some days.
    fn rows(&self, days: impl Iterator<Item = NaiveDate>) -> Result<DataFrame> {
        let provider = self.table.provider_of(&days.map(|day| day.to_string()).collect())?;
        Ok(self.night.session.context().read_table(provider)?.filter(col(KNOWN_UNTIL).is_null())?)
    }

    async fn freshness(&self, freshness: &Freshness, time: &str) -> Result<Checked> {
        let end = end_of(self.night.date);
        let mut newest = None;
        // The rows of the last day may all have been corrected away.
        for day in self.days.iter().rev() {
            let rows = self.rows([*day].into_iter())?.filter(col(quoted(time)).lt(instant(end)))?;
            let found = rows.aggregate(Vec::new(), vec![max(col(quoted(time)))])?.collect().await?;
            newest = found.iter().find_map(|b| b.column(0).as_primitive::<TimestampMicrosecondType>().iter().next()?);
            if newest.is_some() {
                break;
            }
        }
        let met = newest.is_some_and(|newest| end - newest <= freshness.within.micros());
        let found = match newest.and_then(DateTime::from_timestamp_micros) {
            Some(newest) => format!("the newest event is of {}", newest.format("%Y-%m-%dT%H:%M:%S%.fZ")),
            None => "there is no event".to_string(),
        };
        let night = self.night.date;
        let expected = format!("one within {} before the end of {night}", freshness.within);
        Ok(Checked::new("freshness", met, freshness.otherwise, found, expected))
    }

    /// `None` while there are too few days to compare with. A day between them without rows counts as one.
    async fn volume(&self, volume: &Volume) -> Result<Option<Checked>> {
        let date = self.night.date;
        let first = date.checked_sub_days(Days::new(u64::from(volume.days))).unwrap_or(NaiveDate::MIN);
        let Some(first) = self.days.first().map(|day| first.max(*day)) else { return Ok(None) };
        let counts = self.counts(first).await?;
        let of = |day: NaiveDate| counts.get(&day).copied().unwrap_or_default();
        let mut before: Vec<i64> = first.iter_days().take_while(|day| *day < date).map(of).collect();
        if before.len() < LEAST_DAYS {
            return Ok(None);
        }
        before.sort_unstable();
        let middle = before.len() / 2;
        let median = (before[middle] + before[(before.len() - 1) / 2]) as f64 / 2.0;
        let (rows, days) = (of(date), before.len());
        let most = volume.at_most.map(|most| most * median);
        let met = rows as f64 >= volume.at_least * median && most.is_none_or(|most| rows as f64 <= most);
        let bound = most.map_or(String::new(), |most| format!(" and at most {most}"));
        let expected = format!(
            "at least {}{bound}, for {median} is the median of the {days} days before it",
            volume.at_least * median
        );
        Ok(Some(Checked::new("volume", met, volume.otherwise, format!("{rows} rows of {date}"), expected)))
    }

    /// The current rows of each day from `first` to the night.
    async fn counts(&self, first: NaiveDate) -> Result<BTreeMap<NaiveDate, i64>> {
        let days = self.days.iter().copied().filter(|day| *day >= first);
        let rows = self.rows(days)?.aggregate(vec![col(EVENT_DATE)], vec![count(lit(1_i64))])?;
        let mut counts = BTreeMap::new();
        for batch in rows.collect().await? {
            let days = batch.column(0).as_primitive::<Date32Type>();
            let rows = batch.column(1).as_primitive::<Int64Type>();
            for (day, rows) in days.iter().flatten().zip(rows.values()) {
                counts.extend(NaiveDate::from_epoch_days(day).map(|day| (day, *rows)));
            }
        }
        Ok(counts)
    }
}
