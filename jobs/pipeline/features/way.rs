//! How a night's features are computed, and why: from last night's states, or from all rows.

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde_json::Value;

use super::definition::Ready;
use super::difference::{Difference, Moves};
use super::state;
use crate::engine::pit::Night;
use crate::error::Result;
use crate::lake::Snapshot;
use crate::pipeline::job::{Job, Pins, end_of};
use crate::pipeline::progress::thousands;

/// A difference of more than one row in so many is not worth following.
const WORTH: u64 = 2;

/// The way, and the reason as a sentence without a full stop.
#[derive(Debug)]
pub struct Way {
    pub kind: Kind,
    pub why: String,
    /// Whether tonight's states replace those there are.
    pub keeps_state: bool,
}

#[derive(Debug)]
pub enum Kind {
    Snapshot,
    Incremental(Box<Incremental>),
}

/// What an incremental night starts from.
#[derive(Debug)]
pub struct Incremental {
    pub states: Snapshot,
    pub night: Night,
    /// One per table of events.
    pub differences: BTreeMap<String, Difference>,
    /// States that the definition has need of and that were not saved: of new or changed features.
    pub missing: Vec<String>,
}

impl Way {
    fn snapshot(why: impl Into<String>, keeps_state: bool) -> Way {
        Way { kind: Kind::Snapshot, why: why.into(), keeps_state }
    }

    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Snapshot => "snapshot",
            Kind::Incremental(_) => "incremental",
        }
    }
}

/// Chooses, from what the logs of the tables say; no data file is opened. `expected` rows are added to the difference:
/// none in a night, and in a plan those of steps that come before.
pub async fn choose(job: &Job, path: &str, ready: &Ready, pins: &Pins, expected: u64) -> Result<Way> {
    let Some(states) = job.lake.snapshot(&state::path(path)).await? else {
        return Ok(Way::snapshot("there is no state of an earlier night", true));
    };
    let info = states.commit_info().await?;
    let date = info.get("logical_date").and_then(Value::as_str).and_then(|date| date.parse::<NaiveDate>().ok());
    let Some(date) = date else {
        return Ok(Way::snapshot("the state does not say of which night it is", true));
    };
    if date > job.date {
        return Ok(Way::snapshot(format!("the state is of a later night, {date}"), false));
    }
    if job.full {
        return Ok(Way::snapshot("--full was given", true));
    }
    let (saved, wanted) = (states.schema(), ready.compiled.states());
    let missing: Vec<String> = wanted.iter().filter(|name| saved.field_with_name(name).is_err()).cloned().collect();
    if missing.len() == wanted.len() {
        return Ok(Way::snapshot("the definition has nothing in common with the state", true));
    }
    let night = Night { before: end_of(date), as_of: job.as_of() };
    let mut differences = BTreeMap::new();
    for (table, event_times) in ready.tables() {
        let version = info.get("inputs").and_then(|inputs| inputs.get(table)).and_then(Value::as_u64);
        let before = match version {
            Some(version) => job.lake.snapshot_at(&format!("tables/{table}"), version).await?,
            None => None,
        };
        let Some(before) = before else {
            return Ok(Way::snapshot(format!("the version of {table} that the state was made from is gone"), true));
        };
        let moves = Moves { night, windows: ready.compiled.windows(), event_times: &event_times };
        differences.insert(table.to_string(), Difference::between(&before, pins.get(table)?, &moves));
    }
    let rows = differences.values().map(|difference| difference.rows).sum::<u64>() + expected;
    let reached: u64 = differences.values().map(|difference| difference.reached_rows).sum();
    let mut why = format!("{} rows came, went or may have moved since {date}", thousands(rows));
    if rows * WORTH > reached {
        return Ok(Way::snapshot(format!("{why}, of {} that the windows reach", thousands(reached)), true));
    }
    if !missing.is_empty() {
        why += &format!("; {} of {} states are new", missing.len(), wanted.len());
    }
    let incremental = Incremental { states, night, differences, missing };
    Ok(Way { kind: Kind::Incremental(Box::new(incremental)), why, keeps_state: true })
}
