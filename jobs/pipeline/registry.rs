//! The registry: which model versions there are, and which of them is the champion.
//!
//! `registry` is an append-only Delta table of events (trained, refused, promoted); the champion of a model is the one
//! promoted last. A night for an earlier date sees the champion of that date.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Date32Type, Schema, SchemaRef};
use chrono::NaiveDate;
use datafusion::prelude::col;

use super::job::{Job, fingerprint};
use crate::error::Result;
use crate::lake::{Replace, TableSpec, Unit, documented};

/// What happened to a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub model: String,
    pub version: String,
    pub logical_date: NaiveDate,
    /// `trained`, `refused`, `promoted` or `erased`.
    pub event: String,
    /// Fingerprint of what the version was trained from.
    pub inputs: String,
    /// Test metrics as JSON.
    pub metrics: String,
    pub note: String,
}

impl Event {
    fn key(&self) -> String {
        format!("registry:{}:{}:{}:{}", self.model, self.version, self.logical_date, self.event)
    }
}

fn schema() -> SchemaRef {
    let text = |name: &str, doc: &str| documented(name, DataType::Utf8, false, doc);
    Arc::new(Schema::new(vec![
        text("model", "The model's name."),
        text("version", "The version; its artifact is models/<model>/<version>/."),
        documented("logical_date", DataType::Date32, false, "The night."),
        text("event", "trained, refused, promoted or erased."),
        text("inputs", "Fingerprint of definition and data versions."),
        text("metrics", "Metrics out of sample, as JSON."),
        text("note", "Why."),
    ]))
}

/// All events of a model up to a date, in the order in which they happened.
pub async fn events(job: &Job, model: &str) -> Result<Vec<Event>> {
    let Some(snapshot) = job.lake.snapshot("registry").await? else { return Ok(Vec::new()) };
    let session = job.session()?;
    let frame = session.context().read_table(snapshot.provider()?)?;
    let rows = frame.filter(col("model").eq(datafusion::prelude::lit(model)))?.collect().await?;
    let mut events: Vec<Event> = rows.iter().flat_map(read).collect();
    events.retain(|event| event.logical_date <= job.date);
    let rank = |event: &str| ["trained", "refused", "promoted", ERASED].iter().position(|e| *e == event);
    events.sort_by(|a, b| {
        (a.logical_date, rank(&a.event), &a.version).cmp(&(b.logical_date, rank(&b.event), &b.version))
    });
    Ok(events)
}

/// The event of a version whose artifact is gone, because it named an erased entity.
pub const ERASED: &str = "erased";

/// The version promoted last that still has its artifact.
pub fn champion(events: &[Event]) -> Option<&Event> {
    let is_erased = |event: &Event| events.iter().any(|e| e.event == ERASED && e.version == event.version);
    events.iter().rev().find(|event| event.event == "promoted" && !is_erased(event))
}

/// Appends events in one commit: a version that may be promoted is never seen trained only. Those that are there
/// already are not doubled.
pub async fn append(job: &Job, new: &[Event]) -> Result<()> {
    let spec = TableSpec {
        name: "registry".into(),
        description: "Every model version and what became of it.".into(),
        schema: schema(),
        partition_by: None,
        no_statistics: Vec::new(),
    };
    let Some(last) = new.last() else { return Ok(()) };
    let mut writer = job.lake.writer(&spec).await?;
    for event in new {
        writer.write(&batch(event)?).await?;
    }
    let unit = Unit { key: last.key(), fingerprint: fingerprint(&[&last.inputs, &last.metrics]) };
    writer.commit(Replace::Nothing, &unit, Default::default()).await?;
    Ok(())
}

fn batch(event: &Event) -> Result<RecordBatch> {
    let text = |value: &str| Arc::new(StringArray::from(vec![value.to_string()])) as ArrayRef;
    let columns = vec![
        text(&event.model),
        text(&event.version),
        Arc::new(Date32Array::from(vec![event.logical_date.to_epoch_days()])) as ArrayRef,
        text(&event.event),
        text(&event.inputs),
        text(&event.metrics),
        text(&event.note),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

fn read(batch: &RecordBatch) -> Vec<Event> {
    let text = |index: usize, row: usize| batch.column(index).as_string::<i32>().value(row).to_string();
    (0..batch.num_rows())
        .map(|row| Event {
            model: text(0, row),
            version: text(1, row),
            logical_date: NaiveDate::from_epoch_days(batch.column(2).as_primitive::<Date32Type>().value(row))
                .unwrap_or_default(),
            event: text(3, row),
            inputs: text(4, row),
            metrics: text(5, row),
            note: text(6, row),
        })
        .collect()
}
