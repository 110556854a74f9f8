//! The `features` job: every entity's features and sequences at the night's as_of.
//!
//! A group's table `features/<group>` is partitioned by `logical_date`; a night replaces its own partition, so that a
//! re-run for a date changes nothing else, and the vector behind every decision is kept. Beside it lies the state that
//! the next night starts from ([`state`]); whether a night uses it is chosen from the tables' logs ([`way`]), and the
//! result is the same either way.
//!
//! The state is committed before the features: a crash in between leaves tonight's state, from which the next run
//! computes tonight's features. The other way round that run would find the features done, and the state lost.

pub mod ahead;
pub mod definition;
mod difference;
pub mod state;
mod stored;
pub mod way;

use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use chrono::NaiveDate;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::{JoinType, ScalarValue};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, lit};
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::{EmptyRecordBatchStream, SendableRecordBatchStream};
use datafusion::prelude::DataFrame;
use futures::StreamExt;

use definition::{Definition, Ready};
pub use stored::stored;
pub(super) use stored::{dated, schema as stored_schema};

use super::job::{Job, Pins, Written, instant, quoted};
use super::progress::thousands;
use super::{fingerprints, sql_features};
use crate::define::features::{FeatureGroup, History};
use crate::engine::pit::{self, SIDE, Side};
use crate::engine::session::Session;
use crate::error::{Context, Error, Result};
use crate::lake::{Replace, TableSpec, Unit, Writer};

pub async fn run(job: &Job) -> Result<Vec<Written>> {
    let mut written = Vec::new();
    for definition in Definition::all(job) {
        let result = night(job, definition).await;
        let line = result.with_context(|| format!("{} {}", definition.kind(), definition.name()))?;
        job.ledger.wrote(&line);
        written.push(line);
    }
    for definition in job.project.sql_features.values().filter(|f| job.selected(&f.name)) {
        let result = sql_features::night(job, definition).await;
        let line = result.with_context(|| format!("SQL features {}", definition.name))?;
        job.ledger.wrote(&line);
        written.push(line);
    }
    Ok(written)
}

async fn night(job: &Job, definition: Definition<'_>) -> Result<Written> {
    let history = definition.history();
    let path = definition.path();
    let step = job.progress.step(&path);
    let pins = job.pin(definition.tables()).await?;
    let text = definition.text()?;
    // What is asked for in full is computed and committed, even if it was before.
    let salt = if job.full { job.run_id.as_str() } else { "" };
    let unit = job.unit("features", &path, &format!("{text}{salt}"), &pins);
    let existing = job.lake.snapshot(&path).await?;
    if let Some(existing) = &existing
        && existing.committed(&unit.key).await? == Some(unit.fingerprint)
        && !job.full
    {
        step.done("unchanged");
        return Ok(Written::unchanged(path, "unchanged", Some(existing.version())));
    }
    let session = job.session()?;
    let ready = definition.compile(job, &session)?;
    let compiled = &ready.compiled;
    let way = way::choose(job, &path, &ready, &pins, 0).await?;
    let of = |column: &str| definition.unit(&job.project, column);
    let schema = stored_schema(compiled.schema().as_ref(), &history.entity, existing.as_ref(), of);
    let spec = TableSpec {
        name: path.clone(),
        description: definition.description().to_string(),
        schema: schema.clone(),
        partition_by: Some("logical_date".into()),
        no_statistics: job.project.identifying(&path, &schema),
    };
    let state_spec = state::spec(&path, compiled.schema().as_ref(), &history.entity, compiled.states());
    let mut writing = Writing {
        answers: job.lake.writer(&spec).await?,
        states: job.lake.writer(&state_spec).await?,
        schema: schema.clone(),
        state_schema: state_spec.schema.clone(),
        date: job.date,
        lost: Vec::new(),
    };
    let source = Source { job, session: &session, pins: &pins, history, ready: &ready };
    writing.all(source.start(&way).await?).await?;
    let lost = writing.take_lost(&history.entity)?;
    let rebuilt = lost.as_ref().map_or(0, RecordBatch::num_rows);
    if let Some(lost) = lost {
        writing.all(source.rebuild(lost).await?).await?;
    }
    let mut info = job.commit_info("features", &text, &pins);
    info.insert("columns".into(), fingerprints::value(&fingerprints::definition(definition)?));
    let replace = Replace::Partitions([job.date.to_string()].into());
    if way.keeps_state {
        let unit = Unit { key: format!("state:{}", unit.key), fingerprint: unit.fingerprint };
        writing.states.commit(Replace::All, &unit, info.clone()).await?;
    }
    let outcome = writing.answers.commit(replace, &unit, info).await?;
    let nameless = source.nameless().await?;
    let mut written = Written::new(path, &outcome, step.seconds()).detail("way", way.name()).detail("why", way.why);
    let mut done = format!("{} entities × {} columns", thousands(written.rows), schema.fields().len() - 2);
    if rebuilt > 0 {
        written = written.detail("rebuilt", rebuilt);
    }
    if nameless > 0 {
        written = written.detail("null_entities", nameless);
        done += &format!(", {} events of no entity left out", thousands(nameless));
    }
    step.done(&done);
    Ok(written)
}

/// The night's two tables while they are written.
struct Writing {
    answers: Writer,
    states: Writer,
    schema: SchemaRef,
    state_schema: SchemaRef,
    date: NaiveDate,
    /// Entities that must be computed from their rows.
    lost: Vec<RecordBatch>,
}

impl Writing {
    async fn all(&mut self, mut results: SendableRecordBatchStream) -> Result<()> {
        while let Some(batch) = results.next().await {
            let parts = state::parts(&batch?, &self.state_schema)?;
            self.answers.write(&dated(&parts.answers, &self.schema, self.date)?).await?;
            self.states.write(&parts.states).await?;
            if parts.lost.num_rows() > 0 {
                self.lost.push(parts.lost);
            }
        }
        Ok(())
    }

    /// The keys of entities to compute from their rows.
    fn take_lost(&mut self, entity: &[String]) -> Result<Option<RecordBatch>> {
        let lost = std::mem::take(&mut self.lost);
        let Some(first) = lost.first() else { return Ok(None) };
        let indices: Vec<usize> = entity.iter().map(|name| first.schema().index_of(name)).collect::<Result<_, _>>()?;
        Ok(Some(concat_batches(&first.schema(), &lost)?.project(&indices)?))
    }
}

/// What a night's results are computed from.
struct Source<'a> {
    job: &'a Job,
    session: &'a Session,
    pins: &'a Pins,
    history: &'a History,
    ready: &'a Ready,
}

impl Source<'_> {
    async fn start(&self, way: &way::Way) -> Result<SendableRecordBatchStream> {
        let as_of = self.job.as_of();
        let compiled = &self.ready.compiled;
        let spine = everybody(self.job, self.session, self.pins, self.history)?;
        let way::Kind::Incremental(from) = &way.kind else {
            return compiled.snapshot(self.events(as_of)?, spine, as_of).await;
        };
        let of = |table: &str| {
            from.differences.get(table).ok_or_else(|| Error::internal(format!("no difference of {table}")))
        };
        let side = |side: Side| -> Result<DataFrame> {
            let rows = self.ready.events(|table| of(table)?.side(self.session, side))?;
            Ok(rows.with_column(SIDE, lit(ScalarValue::Int8(Some(side as i8))))?)
        };
        let difference = side(Side::New)?.union(side(Side::Both)?)?.union(side(Side::Gone)?)?;
        let saved = self.session.context().read_table(from.states.provider()?)?;
        let saved = match compiled.only(&from.missing) {
            None => saved,
            Some(missing) => {
                // New features: their states of the night before, from the rows of the night before.
                let rows = self.ready.events(|table| of(table)?.before(self.session))?;
                let nobody = spine.clone().limit(0, Some(0))?;
                let states = missing.snapshot(rows, nobody, from.night.before).await?;
                let states = read_stream(self.session, states)?;
                state::beside(saved, states, &self.history.entity, compiled.states())?
            }
        };
        compiled.step(saved, spine, difference, from.night).await
    }

    /// The results of some entities, from their rows.
    async fn rebuild(&self, lost: RecordBatch) -> Result<SendableRecordBatchStream> {
        let as_of = self.job.as_of();
        let names: Vec<&str> = self.history.entity.iter().map(String::as_str).collect();
        let lost = self.session.context().read_batch(lost)?;
        let only = |frame: DataFrame| -> Result<DataFrame> {
            Ok(frame.join(lost.clone(), JoinType::LeftSemi, &names, &names, None)?)
        };
        let spine = everybody(self.job, self.session, self.pins, self.history)?;
        self.ready.compiled.snapshot(only(self.events(as_of)?)?, only(spine)?, as_of).await
    }

    fn events(&self, as_of: i64) -> Result<DataFrame> {
        self.ready.events(|table| self.pins.frame(self.session, table, as_of))
    }

    /// How many events belong to nobody, because their entity is null.
    async fn nameless(&self) -> Result<u64> {
        let names: Vec<&str> = self.history.entity.iter().map(String::as_str).collect();
        let mut nameless = 0;
        for (table, _) in self.ready.tables() {
            let files = self.pins.get(table)?.bounds(&names);
            if files.iter().all(|file| file.nulls.iter().all(|nulls| *nulls == Some(0))) {
                continue;
            }
            let null = names.iter().map(|name| Expr::from(quoted(name)).is_null()).reduce(Expr::or);
            let events = self.pins.current(self.session, table, self.job.as_of())?;
            nameless += events.filter(null.unwrap_or_else(|| lit(false)))?.count().await? as u64;
        }
        Ok(nameless)
    }
}

/// A stream as a relation, read once.
fn read_stream(session: &Session, stream: SendableRecordBatchStream) -> Result<DataFrame> {
    let partition = OneStream { schema: stream.schema(), stream: Mutex::new(Some(stream)) };
    let table = StreamingTable::try_new(partition.schema.clone(), vec![Arc::new(partition)])?;
    Ok(session.context().read_table(Arc::new(table))?)
}

struct OneStream {
    schema: SchemaRef,
    stream: Mutex<Option<SendableRecordBatchStream>>,
}

impl std::fmt::Debug for OneStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OneStream")
    }
}

impl PartitionStream for OneStream {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let stream = self.stream.lock().ok().and_then(|mut stream| stream.take());
        stream.unwrap_or_else(|| Box::pin(EmptyRecordBatchStream::new(self.schema.clone())))
    }
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

/// What a history reads: event time column, tie breaker, and all row versions known tonight.
fn events(job: &Job, session: &Session, pins: &Pins, history: &History) -> Result<(String, Vec<String>, DataFrame)> {
    let time =
        job.project.time_of(history).ok_or_else(|| Error::internal(format!("{} has no event time", history.table)))?;
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
