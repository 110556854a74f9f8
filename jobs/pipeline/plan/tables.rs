//! SQL tables in a plan: the days that changed already, those that will, and what computing them reads.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use chrono::NaiveDate;
use serde_json::json;

use super::expected::{Change, Expected, Size, of_days, whole};
use super::{Line, Way, memory};
use crate::define::Table;
use crate::define::table::Materialized;
use crate::error::Result;
use crate::lake::Snapshot;
use crate::pipeline::job::{Job, Pins};
use crate::pipeline::tables::{Scope, UNCHANGED, decide, widened};

/// Plans a table, and notes what it will have changed.
pub async fn plan(job: &Job, table: &Table, expected: &mut Expected) -> Result<Line> {
    let path = format!("tables/{}", table.name);
    let schema = job.catalog.storage_schema(&table.name).unwrap_or_else(|| Arc::new(Schema::empty()));
    let types: Vec<DataType> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
    let limit = job.profile.memory_limit.map(|limit| limit.0 as u64);
    let memory = |rows: u64| memory::table(rows, memory::width(&types), limit);
    let columns = types.len();
    let mut pins = Pins::default();
    for input in &table.inputs {
        match job.lake.snapshot(&format!("tables/{input}")).await? {
            Some(snapshot) => pins.0.insert(input.clone(), snapshot),
            None => {
                expected.change(&table.name, Change { days: None, new: Size::default() });
                let why = format!("{input} is not in the lake yet");
                return Ok(Line::new("tables", path, Way::All, why).write(None, columns));
            }
        };
    }
    let decision = decide(job, table, &pins).await?;
    let (scope, why) = with_expected(job, table, decision.scope, expected);
    let existing = decision.existing.as_ref();
    Ok(match scope {
        Scope::Nothing(why) => Line::new("tables", path, Way::Unchanged, why),
        Scope::All(_) => {
            let read = pins.0.iter().map(|(name, input)| whole(input) + expected.added(name)).sum();
            expected.change(&table.name, Change { days: None, new: Size::default() });
            let rows = existing.map(Snapshot::rows);
            let line = Line::new("tables", path, Way::All, why).read(read).write(rows, columns);
            Line { peak_memory: rows.map(memory), ..line }
        }
        Scope::Days(days) => {
            let read = pins.0.iter().map(|(name, input)| of_days(input, &around(table, &days)) + expected.added(name));
            let held = existing.map_or(Size::default(), |existing| of_days(existing, &days));
            let new = existing.map_or(Size::default(), |existing| unseen(existing, &days));
            let line = Line::new("tables", path, Way::Days, why).read(read.sum::<Size>() + held);
            expected.change(&table.name, Change { days: Some(days.clone()), new });
            let texts: Vec<String> = days.iter().map(ToString::to_string).collect();
            let rows = held.rows + new.rows;
            let line = line.write(Some(rows), columns).detail("days", json!(texts));
            Line { peak_memory: Some(memory(rows)), ..line }
        }
    })
}

/// What changed already, and what will have changed by then; and why.
fn with_expected(job: &Job, table: &Table, scope: Scope, expected: &Expected) -> (Scope, String) {
    let changing = table.inputs.iter().filter_map(|input| Some((input, expected.of(input)?)));
    let names: Vec<&str> = changing.clone().map(|(input, _)| input.as_str()).collect();
    let mut days: Option<BTreeSet<NaiveDate>> = Some(BTreeSet::new());
    for (_, change) in changing {
        days = days.zip(change.days.as_ref()).map(|(a, b)| &a | b);
    }
    let because = format!("{} will have changed", names.join(", "));
    let incremental = table.materialized == Materialized::Incremental;
    match (scope, days) {
        (Scope::All(why), _) => (Scope::All(why), why.to_string()),
        (Scope::Nothing(why), _) if why != UNCHANGED => (Scope::Nothing(why), String::new()),
        (Scope::Nothing(_), _) if names.is_empty() => (Scope::Nothing(super::UNCHANGED.into()), String::new()),
        (_, days) if !names.is_empty() && (days.is_none() || !incremental) => (Scope::All(""), because),
        (scope, days) => {
            let mut all = widened(table, &days.unwrap_or_default(), job.date);
            let mut why = if names.is_empty() { String::new() } else { format!("; {because}") };
            if let Scope::Days(changed) = scope {
                all.extend(changed);
            }
            why = format!("{} of its days{why}", all.len());
            (Scope::Days(all), why)
        }
    }
}

/// The days of inputs that some days of the table are computed from.
fn around(table: &Table, days: &BTreeSet<NaiveDate>) -> BTreeSet<NaiveDate> {
    let (back, ahead) = (table.lookback.ceil_days(), table.lookahead.ceil_days());
    days.iter().flat_map(|day| (-back..=ahead).map(|by| *day + chrono::TimeDelta::days(by))).collect()
}

/// Days that the table does not have yet, at the mean of those that it has.
fn unseen(existing: &Snapshot, days: &BTreeSet<NaiveDate>) -> Size {
    let there = existing.partition_rows();
    let missing = days.iter().filter(|day| !there.contains_key(&day.to_string())).count() as u64;
    let each = |all: u64| all * missing / (there.len() as u64).max(1);
    Size { rows: each(existing.rows()), bytes: each(existing.bytes()) }
}
