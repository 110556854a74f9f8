//! The features of several nights at once: one sweep over the rows, for a spine of everybody at every night.
//!
//! A backfill has all rows of all its nights before it computes the first feature, each with the instants between which it
//! was known. So the sweep that computes features at any spine (`history`) gives every night what it would have computed
//! itself, for about the cost of one night from all rows. The commit bears the units of work of all its nights: a night that
//! is run afterwards finds its own done. States are not kept: the last night of a range is left to be run as a night is.

use arrow::array::AsArray;
use arrow::compute::partition;
use arrow::datatypes::TimestampMicrosecondType;
use chrono::NaiveDate;
use datafusion::logical_expr::Expr;
use datafusion::prelude::DataFrame;
use futures::StreamExt;
use serde_json::json;

use super::definition::Definition;
use super::{dated, everybody, read_stream, stored_schema};
use crate::define::types::DAY;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::lake::{Replace, TableSpec, Unit};
use crate::pipeline::fingerprints;
use crate::pipeline::job::{Job, Pins, Written, quoted};

/// Rows of a spine at most: what is computed of them is sorted by night.
const ROWS: u64 = 8_000_000;
/// So many nights at least are worth a sweep over all rows.
const WORTH: usize = 4;

/// What was computed of one definition; nothing where nights one by one cost no more.
pub async fn nights(job: &Job, definition: Definition<'_>, dates: &[NaiveDate]) -> Result<Vec<Written>> {
    let mut written = Vec::new();
    let pins = job.pin(definition.tables()).await?;
    let people = pins.get(&definition.history().entities)?.rows().max(1);
    let at_once = usize::try_from(ROWS / people).unwrap_or(usize::MAX);
    for dates in dates.chunks(at_once.max(1)) {
        let to_do = undone(job, definition, &pins, dates).await?;
        if to_do.len() >= WORTH {
            written.push(some(job, definition, &pins, &to_do).await?);
        }
    }
    Ok(written)
}

/// The nights among these that no run has computed from what there is.
async fn undone(
    job: &Job,
    definition: Definition<'_>,
    pins: &Pins,
    dates: &[NaiveDate],
) -> Result<Vec<(NaiveDate, Unit)>> {
    let existing = job.lake.snapshot(&definition.path()).await?;
    let text = definition.text()?;
    let mut undone = Vec::new();
    for date in dates {
        let unit = at(job, *date).unit("features", &definition.path(), &text, pins);
        let is_done = match &existing {
            Some(existing) => existing.committed(&unit.key).await? == Some(unit.fingerprint),
            None => false,
        };
        if !is_done {
            undone.push((*date, unit));
        }
    }
    Ok(undone)
}

/// One commit of these nights.
async fn some(job: &Job, definition: Definition<'_>, pins: &Pins, to_do: &[(NaiveDate, Unit)]) -> Result<Written> {
    let (history, path) = (definition.history(), definition.path());
    let step = job.progress.step(format!("{path}, {} nights", to_do.len()));
    let last = to_do.last().map_or(job.date, |(date, _)| *date);
    let session = job.session()?;
    let ready = definition.compile(job, &session)?;
    let existing = job.lake.snapshot(&path).await?;
    let of = |column: &str| definition.unit(&job.project, column);
    let schema = stored_schema(ready.compiled.schema().as_ref(), &history.entity, existing.as_ref(), of);
    let spec = TableSpec {
        name: path.clone(),
        description: definition.description().to_string(),
        schema: schema.clone(),
        partition_by: Some("logical_date".into()),
        no_statistics: job.project.identifying(&path, &schema),
    };
    let mut writer = job.lake.writer(&spec).await?;
    let events = ready.events(|table| pins.frame(&session, table, at(job, last).as_of()))?;
    let spine = spine(job, &session, pins, definition, to_do)?;
    let computed = read_stream(&session, ready.compiled.history(events, spine).await?)?;
    let mut stream = computed.sort(by_night(&history.entity))?.execute_stream().await?;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let column = batch.column_by_name("as_of").cloned().ok_or_else(|| Error::internal("a result without as_of"))?;
        for range in partition(std::slice::from_ref(&column))?.ranges() {
            let as_of = column.as_primitive::<TimestampMicrosecondType>().value(range.start);
            let date = i32::try_from(as_of / DAY - 1).ok().and_then(NaiveDate::from_epoch_days);
            let date = date.ok_or_else(|| Error::internal("a night out of range"))?;
            writer.write(&dated(&batch.slice(range.start, range.len()), &schema, date)?).await?;
        }
    }
    let mut info = at(job, last).commit_info("features", &definition.text()?, pins);
    info.insert("columns".into(), fingerprints::value(&fingerprints::definition(definition)?));
    let dates: Vec<String> = to_do.iter().map(|(date, _)| date.to_string()).collect();
    info.insert("nights".into(), json!(dates));
    let units: Vec<Unit> = to_do.iter().map(|(_, unit)| unit.clone()).collect();
    let outcome = writer.commit_units(Replace::Partitions(dates.into_iter().collect()), &units, info).await?;
    let written = Written::new(path, &outcome, step.seconds()).detail("way", "history").detail("nights", to_do.len());
    step.done(&format!("{} rows", written.rows));
    Ok(written)
}

/// Everybody at every night.
fn spine(
    job: &Job,
    session: &Session,
    pins: &Pins,
    definition: Definition<'_>,
    to_do: &[(NaiveDate, Unit)],
) -> Result<DataFrame> {
    let mut all: Option<DataFrame> = None;
    for (date, _) in to_do {
        let people = everybody(&at(job, *date), session, pins, definition.history())?;
        all = Some(match all {
            Some(all) => all.union(people)?,
            None => people,
        });
    }
    all.ok_or_else(|| Error::internal("no nights to compute"))
}

fn by_night(entity: &[String]) -> Vec<datafusion::logical_expr::SortExpr> {
    let names = std::iter::once("as_of").chain(entity.iter().map(String::as_str));
    names.map(|name| Expr::from(quoted(name)).sort(true, true)).collect()
}

fn at(job: &Job, date: NaiveDate) -> Job {
    Job { date, ..job.clone() }
}
