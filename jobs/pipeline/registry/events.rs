//! The rows of the registry.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Date32Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use chrono::NaiveDate;
use datafusion::prelude::{col, lit};
use serde::Serialize;

use crate::define::types::timestamp;
use crate::error::{Error, Result};
use crate::lake::{Snapshot, TableSpec, documented};
use crate::pipeline::job::Job;

pub const TABLE: &str = "registry";

/// What happened to a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    #[default]
    Trained,
    /// By the gate.
    Refused,
    Promoted,
    /// Another was promoted, or it was rolled back from.
    Demoted,
    Anchored,
    /// It is the champion again.
    RolledBack,
    /// Its artifact is gone, because it named an erased entity.
    Erased,
}

/// In the order in which they happen within a night of a registry that has no sequence yet.
const ALL: [Happened; 7] = [
    Happened::Trained,
    Happened::Refused,
    Happened::Promoted,
    Happened::Demoted,
    Happened::Anchored,
    Happened::RolledBack,
    Happened::Erased,
];

impl Happened {
    pub fn name(self) -> &'static str {
        match self {
            Happened::Trained => "trained",
            Happened::Refused => "refused",
            Happened::Promoted => "promoted",
            Happened::Demoted => "demoted",
            Happened::Anchored => "anchored",
            Happened::RolledBack => "rolled_back",
            Happened::Erased => "erased",
        }
    }

    /// The alias that a version holds from this event on.
    pub fn alias(self) -> Option<&'static str> {
        match self {
            Happened::Trained => Some("candidate"),
            Happened::Promoted | Happened::RolledBack => Some("champion"),
            Happened::Demoted => Some("previous"),
            Happened::Anchored => Some("anchor"),
            Happened::Refused | Happened::Erased => None,
        }
    }

    fn named(name: &str) -> Result<Happened> {
        let found = ALL.into_iter().find(|happened| happened.name() == name);
        found
            .ok_or_else(|| Error::data(format!("the registry has an event `{name}`, which this version does not know")))
    }
}

/// What happened to a version in a night.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    pub model: String,
    pub version: String,
    pub logical_date: NaiveDate,
    /// Counts up per model; none in rows from before there was one.
    pub sequence: Option<i64>,
    #[serde(rename = "event")]
    pub happened: Happened,
    /// What the version holds from here on.
    pub alias: Option<String>,
    /// Fingerprint of what the version was trained from.
    pub inputs: String,
    /// Metrics out of sample as JSON.
    pub metrics: String,
    /// When the last label was known that the version learned from, in microseconds.
    pub trained_until: Option<i64>,
    pub note: String,
}

impl Default for Event {
    fn default() -> Self {
        Event {
            model: String::new(),
            version: String::new(),
            logical_date: NaiveDate::default(),
            sequence: None,
            happened: Happened::Trained,
            alias: None,
            inputs: String::new(),
            metrics: "{}".into(),
            trained_until: None,
            note: String::new(),
        }
    }
}

impl Event {
    /// Events in the order in which they happened.
    pub fn order(&self) -> (NaiveDate, i64, Option<usize>) {
        let rank = ALL.iter().position(|happened| *happened == self.happened);
        (self.logical_date, self.sequence.unwrap_or(0), rank.filter(|_| self.sequence.is_none()))
    }
}

pub fn spec() -> TableSpec {
    TableSpec {
        name: TABLE.into(),
        description: "Every model version and what became of it.".into(),
        schema: schema(),
        partition_by: None,
        no_statistics: Vec::new(),
    }
}

fn schema() -> SchemaRef {
    let text = |name: &str, doc: &str| documented(name, DataType::Utf8, false, doc);
    let until = "When the last label was known that the version learned from.";
    Arc::new(Schema::new(vec![
        text("model", "The model's name."),
        text("version", "The version; its artifact is models/<model>/<version>/."),
        documented("logical_date", DataType::Date32, false, "The night from which it counts."),
        text("event", "trained, refused, promoted, demoted, anchored, rolled_back or erased."),
        text("inputs", "Fingerprint of definition and data versions."),
        text("metrics", "Metrics out of sample, as JSON."),
        text("note", "Why; begins with `forced:` where the gate did not allow a promotion."),
        documented("sequence", DataType::Int64, true, "Counts the events of a model."),
        documented("alias", DataType::Utf8, true, "candidate, champion, previous or anchor: held from this event on."),
        documented("trained_until", timestamp(), true, until),
    ]))
}

pub fn batch(events: &[Event]) -> Result<RecordBatch> {
    let text = |get: &dyn Fn(&Event) -> &str| Arc::new(events.iter().map(|e| Some(get(e))).collect::<StringArray>());
    let until: TimestampMicrosecondArray = events.iter().map(|event| event.trained_until).collect();
    let columns: Vec<ArrayRef> = vec![
        text(&|e| &e.model),
        text(&|e| &e.version),
        Arc::new(Date32Array::from_iter_values(events.iter().map(|e| e.logical_date.to_epoch_days()))),
        text(&|e| e.happened.name()),
        text(&|e| &e.inputs),
        text(&|e| &e.metrics),
        text(&|e| &e.note),
        Arc::new(events.iter().map(|event| event.sequence).collect::<Int64Array>()),
        Arc::new(events.iter().map(|event| event.alias.as_deref()).collect::<StringArray>()),
        Arc::new(until.with_timezone("UTC")),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

/// All events of a model, in any order.
pub async fn read(job: &Job, snapshot: &Snapshot, model: &str) -> Result<Vec<Event>> {
    let session = job.session()?;
    let frame = session.context().read_table(snapshot.provider()?)?;
    let mut events = Vec::new();
    for batch in frame.filter(col("model").eq(lit(model)))?.collect().await? {
        for row in 0..batch.num_rows() {
            events.push(event(&batch, row)?);
        }
    }
    Ok(events)
}

fn event(batch: &RecordBatch, row: usize) -> Result<Event> {
    let text = |name: &str| {
        let column = batch.column_by_name(name)?.as_string_opt::<i32>()?;
        column.is_valid(row).then(|| column.value(row).to_string())
    };
    let needed = |name: &str| text(name).ok_or_else(|| Error::data(format!("the registry lacks its column {name}")));
    let date = batch.column_by_name("logical_date").and_then(|column| column.as_primitive_opt::<Date32Type>());
    let sequence = batch.column_by_name("sequence").and_then(|column| column.as_primitive_opt::<Int64Type>());
    let until = batch.column_by_name("trained_until");
    let until = until.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    Ok(Event {
        model: needed("model")?,
        version: needed("version")?,
        logical_date: date.and_then(|date| NaiveDate::from_epoch_days(date.value(row))).unwrap_or_default(),
        sequence: sequence.filter(|column| column.is_valid(row)).map(|column| column.value(row)),
        happened: Happened::named(&needed("event")?)?,
        alias: text("alias"),
        inputs: needed("inputs")?,
        metrics: needed("metrics")?,
        trained_until: until.filter(|column| column.is_valid(row)).map(|column| column.value(row)),
        note: needed("note")?,
    })
}
