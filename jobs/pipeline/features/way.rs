//! How a night's features are computed, and why: from last night's states, or from all rows.

use serde_json::Value;

use super::difference::{Difference, Moves};
use super::state;
use crate::define::features::History;
use crate::engine::pit::{Compiled, Night};
use crate::error::Result;
use crate::lake::Snapshot;
use crate::pipeline::job::{Job, Pins, end_of};

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
    /// The event table as the states saw it.
    pub before: Snapshot,
    pub night: Night,
    pub difference: Difference,
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

/// Chooses, from what the logs of the tables say; no data file is opened.
pub async fn choose(job: &Job, path: &str, history: &History, compiled: &Compiled, pins: &Pins) -> Result<Way> {
    let Some(states) = job.lake.snapshot(&state::path(path)).await? else {
        return Ok(Way::snapshot("there is no state of an earlier night", true));
    };
    let info = states.commit_info().await?;
    let text = |key: &str| info.get(key).and_then(Value::as_str);
    let Some(date) = text("logical_date").and_then(|date| date.parse::<chrono::NaiveDate>().ok()) else {
        return Ok(Way::snapshot("the state does not say of which night it is", true));
    };
    if date > job.date {
        return Ok(Way::snapshot(format!("the state is of a later night, {date}"), false));
    }
    if job.full {
        return Ok(Way::snapshot("--full was given", true));
    }
    let saved = states.schema();
    let missing: Vec<String> =
        compiled.states().iter().filter(|name| saved.field_with_name(name).is_err()).cloned().collect();
    if missing.len() == compiled.states().len() {
        return Ok(Way::snapshot("the definition has nothing in common with the state", true));
    }
    let version = info.get("inputs").and_then(|inputs| inputs.get(&history.table)).and_then(Value::as_u64);
    let before = match version {
        Some(version) => job.lake.snapshot_at(&format!("tables/{}", history.table), version).await?,
        None => None,
    };
    let Some(before) = before else {
        let why = format!("the version of {} that the state was computed from is gone", history.table);
        return Ok(Way::snapshot(why, true));
    };
    let night = Night { before: end_of(date), as_of: job.as_of() };
    let event_time = job.project.time_of(history).unwrap_or_default();
    let moves = Moves { night, windows: compiled.windows(), event_time };
    let difference = Difference::between(&before, pins.get(&history.table)?, &moves);
    if difference.rows * WORTH > difference.reached_rows {
        let why = format!(
            "{} rows came, went or moved since {date}, of {} that the windows reach",
            difference.rows, difference.reached_rows
        );
        return Ok(Way::snapshot(why, true));
    }
    let mut why = format!("{} rows came, went or moved since {date}", difference.rows);
    if !missing.is_empty() {
        why += &format!("; {} of {} states are new", missing.len(), compiled.states().len());
    }
    let incremental = Incremental { states, before, night, difference, missing };
    Ok(Way { kind: Kind::Incremental(Box::new(incremental)), why, keeps_state: true })
}
