//! The `features` job: every entity's features and sequences at the night's as_of.
//!
//! A group's table `features/<group>` is partitioned by `logical_date`; a night replaces its own partition, so that a
//! re-run for a date changes nothing else, and the vector behind every decision is kept.

use std::sync::Arc;

use arrow::array::{Date32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::NaiveDate;
use datafusion::logical_expr::{Expr, col};
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::DataFrame;
use futures::StreamExt;

use super::job::{Job, Pins, Written, definition_text, instant, quoted};
use super::progress::thousands;
use super::{load, sql_features};
use crate::define::diagnostic::into_error;
use crate::define::features::{FeatureGroup, History};
use crate::define::sequence::Sequence;
use crate::define::types::timestamp;
use crate::engine::pit::{self, interleave};
use crate::engine::session::Session;
use crate::error::{Context, Error, Result};
use crate::lake::{Replace, TableSpec, documented};

pub async fn run(job: &Job) -> Result<Vec<Written>> {
    let mut written = Vec::new();
    for group in job.project.groups.values().filter(|g| job.selected(&g.name)) {
        written.push(night(job, Definition::Group(group)).await.with_context(|| format!("group {}", group.name))?);
    }
    for sequence in job.project.sequences.values().filter(|s| job.selected(&s.name)) {
        let result = night(job, Definition::Sequence(sequence)).await;
        written.push(result.with_context(|| format!("sequence {}", sequence.name))?);
    }
    for definition in job.project.sql_features.values().filter(|f| job.selected(&f.name)) {
        let result = sql_features::night(job, definition).await;
        written.push(result.with_context(|| format!("SQL features {}", definition.name))?);
    }
    Ok(written)
}

/// A group or a sequence: both are computed for a spine and stored per night.
#[derive(Debug, Clone, Copy)]
enum Definition<'a> {
    Group(&'a FeatureGroup),
    Sequence(&'a Sequence),
}

impl Definition<'_> {
    fn history(&self) -> &History {
        match self {
            Definition::Group(group) => &group.history,
            Definition::Sequence(sequence) => &sequence.history,
        }
    }

    /// What it is computed from.
    fn tables(&self) -> Vec<&str> {
        let entities = self.history().entities.as_str();
        match self {
            Definition::Group(group) => vec![&group.history.table, entities],
            Definition::Sequence(sequence) => sequence.tables().into_iter().chain([entities]).collect(),
        }
    }

    fn path(&self) -> String {
        match self {
            Definition::Group(group) => format!("features/{}", group.name),
            Definition::Sequence(sequence) => format!("sequences/{}", sequence.name),
        }
    }

    fn description(&self) -> &str {
        match self {
            Definition::Group(group) => &group.description,
            Definition::Sequence(sequence) => &sequence.description,
        }
    }

    fn text(&self) -> Result<String> {
        match self {
            Definition::Group(group) => definition_text(group),
            Definition::Sequence(sequence) => definition_text(sequence),
        }
    }

    /// One column per feature or field.
    fn schema(&self, job: &Job, session: &Session) -> Result<SchemaRef> {
        let schema = match self {
            Definition::Group(group) => load::group_schema(session, &job.project, &job.catalog, group),
            Definition::Sequence(sequence) => load::sequence_schema(session, &job.project, &job.catalog, sequence),
        };
        let schema = schema.ok_or_else(|| Error::internal(format!("no schema of {}", self.history().table)))?;
        schema.map_err(into_error)
    }
}

async fn night(job: &Job, definition: Definition<'_>) -> Result<Written> {
    let history = definition.history();
    let path = definition.path();
    let step = job.progress.step(&path);
    let pins = job.pin(definition.tables()).await?;
    let text = definition.text()?;
    let unit = job.unit("features", &path, &text, &pins);
    if let Some(existing) = job.lake.snapshot(&path).await?
        && existing.committed(&unit.key).await? == Some(unit.fingerprint)
    {
        step.done("unchanged");
        return Ok(Written::unchanged(path, "unchanged", Some(existing.version())));
    }
    let session = job.session()?;
    let spine = everybody(job, &session, &pins, history)?;
    let mut stream = match definition {
        Definition::Group(group) => compute(job, &session, &pins, group, spine).await?,
        Definition::Sequence(sequence) => compute_sequence(job, &session, &pins, sequence, spine).await?,
    };
    let schema = stored_schema(definition.schema(job, &session)?.as_ref(), history);
    let spec = TableSpec {
        name: path.clone(),
        description: definition.description().to_string(),
        schema: schema.clone(),
        partition_by: Some("logical_date".into()),
        no_statistics: history.entity.clone(),
    };
    let mut writer = job.lake.writer(&spec).await?;
    while let Some(batch) = stream.next().await {
        writer.write(&dated(&batch?, &schema, job.date)?).await?;
    }
    let info = job.commit_info("features", &text, &pins);
    let replace = Replace::Partitions([job.date.to_string()].into());
    let outcome = writer.commit(replace, &unit, info).await?;
    let written = Written::new(path, &outcome, step.seconds());
    step.done(&format!("{} entities × {} columns", thousands(written.rows), schema.fields().len() - 2));
    Ok(written)
}

/// The features of a group for a spine of (entity, as_of, _row).
pub async fn compute(
    job: &Job,
    session: &Session,
    pins: &Pins,
    group: &FeatureGroup,
    spine: DataFrame,
) -> Result<SendableRecordBatchStream> {
    let (time, ties, events) = events(job, session, pins, &group.history)?;
    pit::features(session, group, &time, &ties, events, spine).await
}

async fn compute_sequence(
    job: &Job,
    session: &Session,
    pins: &Pins,
    sequence: &Sequence,
    spine: DataFrame,
) -> Result<SendableRecordBatchStream> {
    let Some(interleaved) = &sequence.interleaved else {
        let (time, ties, events) = events(job, session, pins, &sequence.history)?;
        return pit::sequences(session, sequence, &time, &ties, events, spine).await;
    };
    let mut tables = Vec::new();
    let mut sources = Vec::new();
    for strand in &interleaved.strands {
        let table = pins.frame(session, &strand.table, job.as_of())?;
        let source = load::strand_source(&job.project, strand, Arc::new(table.schema().as_arrow().clone()));
        sources.push(source.ok_or_else(|| Error::internal(format!("{} has no event time", strand.table)))?);
        tables.push(table);
    }
    let union = interleave::lower(session, sequence, interleaved, &sources).map_err(into_error)?;
    let (time, ties) = (&union.event_time, &union.tie_breaker);
    pit::sequences(session, &union.sequence, time, ties, union.rows(tables)?, spine).await
}

/// What a history reads: event time column, tie breaker, and all row versions known tonight.
fn events(job: &Job, session: &Session, pins: &Pins, history: &History) -> Result<(String, Vec<String>, DataFrame)> {
    let time = history.event_time.as_deref().or_else(|| job.project.event_time(&history.table));
    let time = time.ok_or_else(|| Error::internal(format!("{} has no event time", history.table)))?;
    let ties = job.project.tie_breaker(&history.table).to_vec();
    Ok((time.to_string(), ties, pins.frame(session, &history.table, job.as_of())?))
}

/// Who exists tonight, each at the night's as_of. `_row` counts from 0 in no particular order.
pub fn everybody(job: &Job, session: &Session, pins: &Pins, history: &History) -> Result<DataFrame> {
    let mut people = pins.current(session, &history.entities, job.as_of())?;
    if let Some(time) = job.project.event_time(&history.entities) {
        people = people.filter(Expr::from(quoted(time)).lt(instant(job.as_of())))?;
    }
    for column in &history.entity {
        people = people.filter(Expr::from(quoted(column)).is_not_null())?;
    }
    let keys: Vec<Expr> = history.entity.iter().map(|column| Expr::from(quoted(column))).collect();
    let people = people.select(keys.clone())?.distinct()?;
    let mut columns = keys;
    columns.push(instant(job.as_of()).alias("as_of"));
    columns.push(datafusion::prelude::lit(0_u64).alias("_row"));
    Ok(people.select(columns)?)
}

/// entity…, as_of, the computed columns, logical_date.
pub(super) fn stored_schema(computed: &Schema, history: &History) -> SchemaRef {
    let mut fields: Vec<Field> = Vec::new();
    for field in computed.fields().iter().filter(|f| history.entity.contains(f.name())) {
        fields.push(documented(field.name(), field.data_type().clone(), false, "The entity."));
    }
    fields.push(documented("as_of", timestamp(), false, "The instant at which the row is what was known."));
    let ours = |name: &String| history.entity.contains(name) || name == "as_of" || name == "_row";
    fields.extend(computed.fields().iter().filter(|f| !ours(f.name())).map(|f| f.as_ref().clone()));
    fields.push(documented("logical_date", DataType::Date32, false, "The night that computed the row."));
    Arc::new(Schema::new(fields))
}

/// The stored columns of a computed batch, with the night's date.
pub(super) fn dated(batch: &RecordBatch, schema: &SchemaRef, date: NaiveDate) -> Result<RecordBatch> {
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        columns.push(match batch.column_by_name(field.name()) {
            Some(column) => column.clone(),
            None => Arc::new(Date32Array::from_value(date.to_epoch_days(), batch.num_rows())),
        });
    }
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

/// The stored rows of a night, with every column.
pub fn stored(session: &Session, snapshot: &crate::lake::Snapshot, date: NaiveDate) -> Result<DataFrame> {
    let night = snapshot.provider_of(&[date.to_string()].into())?;
    let day = datafusion::common::ScalarValue::Date32(Some(date.to_epoch_days()));
    Ok(session.context().read_table(night)?.filter(col("logical_date").eq(datafusion::prelude::lit(day)))?)
}
