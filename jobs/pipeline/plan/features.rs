//! Features and sequences in a plan: which way, how much came or went, and how much memory that takes.

use serde_json::json;

use super::expected::{Expected, Size, whole};
use super::memory::{self, Held};
use super::{Line, Way};
use crate::define::SqlFeatures;
use crate::error::{Context, Result};
use crate::lake::{Snapshot, Unit};
use crate::pipeline::features::definition::Definition;
use crate::pipeline::features::{state, way};
use crate::pipeline::job::{Job, Pins, definition_text};
use crate::pipeline::sql_features;

const JOB: &str = "features";

pub async fn plan(job: &Job, expected: &Expected) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for definition in Definition::all(job) {
        let line = one(job, definition, expected).await;
        lines.push(line.with_context(|| format!("{} {}", definition.kind(), definition.name()))?);
    }
    for definition in job.project.sql_features.values() {
        let line = sql(job, definition, expected).await;
        lines.push(line.with_context(|| format!("SQL features {}", definition.name))?);
    }
    Ok(lines)
}

async fn one(job: &Job, definition: Definition<'_>, expected: &Expected) -> Result<Line> {
    let path = definition.path();
    let pins = match pinned(job, definition.tables()).await? {
        Ok(pins) => pins,
        Err(missing) => return Ok(Line::new(JOB, path, Way::Snapshot, missing)),
    };
    let stored = job.lake.snapshot(&path).await?;
    let unit = job.unit(JOB, &path, &definition.text()?, &pins);
    if !job.full && is_done(stored.as_ref(), &unit, &pins, expected).await? {
        return Ok(Line::new(JOB, path, Way::Unchanged, super::UNCHANGED));
    }
    let ready = definition.compile(job, &job.session()?)?;
    let (mut events, mut coming) = (Size::default(), Size::default());
    for (table, _) in ready.tables() {
        let now = pins.get(table)?;
        events += whole(now) + expected.added(table);
        coming += expected.difference(table, now);
    }
    let chosen = way::choose(job, &path, &ready, &pins, coming.rows).await?;
    let people = people(&pins, &definition.history().entities, expected)?;
    let columns = ready.compiled.schema().fields().len() - 2;
    let features = match stored.as_ref().and_then(latest) {
        Some(latest) => latest.bytes * people / latest.rows.max(1),
        None => memory::written(people, columns as u64, definition.length()),
    };
    let states = job.lake.snapshot(&state::path(&path)).await?.as_ref().map(whole);
    let states = states.unwrap_or(Size { rows: people, bytes: features });
    let mut held = Held {
        rows: events.rows,
        width: memory::width(&ready.compiled.read()),
        people,
        packed: features + states.bytes,
        limit: job.profile.memory_limit.map(|limit| limit.0 as u64),
    };
    let line = match &chosen.kind {
        way::Kind::Snapshot => Line::new(JOB, path, Way::Snapshot, chosen.why).read(events),
        way::Kind::Incremental(from) => {
            let all = || from.differences.values();
            let difference = all().map(|d| Size { rows: d.rows, bytes: d.bytes }).sum::<Size>() + coming;
            let reached: Size = all().map(|d| Size { rows: d.reached_rows, bytes: d.reached_bytes }).sum();
            // The states of new features come from all rows of the night before.
            let before = if from.missing.is_empty() { Size::default() } else { events };
            held.rows = difference.rows.max(before.rows);
            held.packed += states.bytes;
            Line::new(JOB, path, Way::Incremental, chosen.why)
                .read(difference + before + states)
                .detail("difference", json!(difference))
                .detail("reached", json!(reached))
                .detail("states", json!(states))
        }
    };
    Ok(Line { peak_memory: Some(held.peak()), ..line.write(Some(people), columns) })
}

/// A query says nothing about which of its rows may have changed.
async fn sql(job: &Job, definition: &SqlFeatures, expected: &Expected) -> Result<Line> {
    let path = format!("features/{}", definition.name);
    let pins = match pinned(job, definition.tables().collect()).await? {
        Ok(pins) => pins,
        Err(missing) => return Ok(Line::new(JOB, path, Way::Snapshot, missing)),
    };
    let unit = job.unit(JOB, &path, &definition_text(definition)?, &pins);
    if is_done(job.lake.snapshot(&path).await?.as_ref(), &unit, &pins, expected).await? {
        return Ok(Line::new(JOB, path, Way::Unchanged, super::UNCHANGED));
    }
    let read = pins.0.iter().map(|(table, snapshot)| whole(snapshot) + expected.added(table)).sum();
    let people = people(&pins, &definition.entities, expected)?;
    let line = Line::new(JOB, path, Way::Snapshot, sql_features::WHY_ALL);
    Ok(line.read(read).write(Some(people), definition.entity.len() + definition.columns.len()))
}

/// The tables as they are, or which of them is not there.
async fn pinned(job: &Job, tables: Vec<&str>) -> Result<Result<Pins, String>> {
    let mut pins = Pins::default();
    for table in tables {
        match job.lake.snapshot(&format!("tables/{table}")).await? {
            Some(snapshot) => pins.0.insert(table.to_string(), snapshot),
            None => return Ok(Err(format!("{table} is not in the lake yet"))),
        };
    }
    Ok(Ok(pins))
}

/// Whether this was computed from these inputs, and they will stay as they are.
async fn is_done(stored: Option<&Snapshot>, unit: &Unit, pins: &Pins, expected: &Expected) -> Result<bool> {
    let Some(stored) = stored else { return Ok(false) };
    let stays = pins.0.keys().all(|table| expected.of(table).is_none());
    Ok(stays && stored.committed(&unit.key).await? == Some(unit.fingerprint))
}

/// Entities: the open versions of their table's rows.
fn people(pins: &Pins, table: &str, expected: &Expected) -> Result<u64> {
    let open = pins.get(table)?.bounds(&["_known_until"]);
    let open: u64 = open.iter().map(|file| file.nulls[0].or(file.rows).unwrap_or(0)).sum();
    Ok(open + expected.added(table).rows)
}

/// What the newest night took.
fn latest(stored: &Snapshot) -> Option<Size> {
    let (night, rows) = stored.partition_rows().pop_last()?;
    Some(Size { rows, bytes: stored.partition_bytes().get(&night).copied().unwrap_or(0) })
}
