//! A model's training spine: its decisions, who has a label, and what the label is.
//!
//! A row exists only once its label is known: `as_of + horizon + delay <= D+1 00:00Z`. Rows are sorted by (entity, as_of,
//! key), sampled with the seed where there are more than `max_rows`, and numbered; everything after works on numbers.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::{cast, filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use chrono::NaiveDate;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, SortExpr, lit};
use datafusion::prelude::{DataFrame, JoinType};
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;

use super::job::{Job, Pins, end_of, instant, quoted};
use super::vectors;
use crate::define::Model;
use crate::define::model::{Label, Scoring, SpineKind};
use crate::define::types::{DAY, timestamp};
use crate::engine::session::Session;
use crate::error::{Error, Result};

/// Decisions with their labels: entity…, as_of, key…, attributes… in `rows`, and a label for each.
#[derive(Debug)]
pub struct Spine {
    pub rows: RecordBatch,
    pub labels: Vec<bool>,
}

/// Lake tables a model's spine and label read.
pub fn tables(model: &Model) -> Vec<String> {
    let mut tables = vec![match &model.spine.kind {
        SpineKind::Events { table, .. } => table.clone(),
        SpineKind::Grid { population, .. } => population.clone(),
    }];
    if let Label::Outcome { table, .. } = &model.label {
        tables.push(table.clone());
    }
    tables
}

/// The training spine as of tonight.
pub async fn training(job: &Job, model: &Model, pins: &Pins) -> Result<Spine> {
    let session = job.session()?;
    let known = job.as_of() - model.label.known_after();
    let decisions = decisions(job, &session, model, pins)?.filter(as_of().lt_eq(instant(known)))?;
    let decisions = match &model.label {
        Label::Outcome { eligible: Some(eligible), .. } => {
            let condition = decisions.parse_sql_expr(eligible)?;
            decisions.filter(condition)?
        }
        Label::Column { column, .. } => decisions.filter(Expr::from(quoted(column)).is_not_null())?,
        _ => decisions,
    };
    let rows = collect_sorted(decisions, model).await?;
    let rows = sampled(rows, model.spine.max_rows, model.spine.seed)?;
    let labels = match &model.label {
        Label::Column { column, .. } => column_labels(&rows, column)?,
        Label::Outcome { .. } => outcome_labels(job, &session, model, pins, &rows).await?,
    };
    Ok(Spine { rows, labels })
}

/// Whom tonight scores: the population at the night's as_of, or the decisions of the last days.
pub async fn scoring(job: &Job, model: &Model, pins: &Pins) -> Result<RecordBatch> {
    let session = job.session()?;
    let frame = match &model.scoring {
        Scoring::Applications(window) => {
            let from = job.as_of() - window.micros();
            let frame = decisions(job, &session, model, pins)?;
            frame.filter(as_of().gt_eq(instant(from)).and(as_of().lt(instant(job.as_of()))))?
        }
        Scoring::Population(table) => {
            let people = population(job, &session, model, pins, table)?;
            people.with_column("as_of", instant(job.as_of()))?
        }
    };
    collect_sorted(frame, model).await
}

fn as_of() -> Expr {
    Expr::from(quoted("as_of"))
}

/// Entity, as_of, key, attributes (and the label column, if it is one) of every decision there is.
fn decisions(job: &Job, session: &Session, model: &Model, pins: &Pins) -> Result<DataFrame> {
    match &model.spine.kind {
        SpineKind::Events { table, as_of, key, attributes } => {
            let time = as_of.as_deref().or_else(|| job.project.event_time(table));
            let time = time.ok_or_else(|| Error::internal(format!("spine {table} has no time")))?;
            let mut frame = pins.current(session, table, job.as_of())?;
            if let Some(filter) = &model.spine.filter {
                let condition = frame.parse_sql_expr(filter)?;
                frame = frame.filter(condition)?;
            }
            for column in model.entity.iter().map(String::as_str).chain([time]) {
                frame = frame.filter(Expr::from(quoted(column)).is_not_null())?;
            }
            // The whole row stays in reach, so that `eligible` and the label column can be read from it.
            let present: Vec<String> = frame.schema().fields().iter().map(|f| f.name().clone()).collect();
            let kept = present.iter().filter(|name| !name.starts_with('_') && *name != "as_of");
            let mut columns: Vec<Expr> = kept.map(|name| Expr::from(quoted(name))).collect();
            debug_assert!(key.iter().chain(attributes).all(|name| present.contains(name)));
            columns.push(Expr::from(quoted(time)).alias("as_of"));
            Ok(frame.select(columns)?)
        }
        SpineKind::Grid { population: table, every, history } => {
            let people = population(job, session, model, pins, table)?;
            let time = job.project.event_time(table).map(str::to_string);
            let mut at = job.as_of() - model.label.known_after();
            let first = at - history.micros();
            let mut grid: Option<DataFrame> = None;
            while at > first {
                let mut now = people.clone().with_column("as_of", instant(at))?;
                if let Some(time) = &time {
                    now = now.filter(Expr::from(quoted(time)).lt(instant(at)))?;
                }
                grid = Some(match grid {
                    None => now,
                    Some(grid) => grid.union(now)?,
                });
                at -= every.micros();
            }
            grid.ok_or_else(|| Error::internal("a grid without dates"))
        }
    }
}

/// The rows of a population table: existing tonight, satisfying the spine's condition.
fn population(job: &Job, session: &Session, model: &Model, pins: &Pins, table: &str) -> Result<DataFrame> {
    let mut frame = pins.current(session, table, job.as_of())?;
    if let (SpineKind::Grid { .. }, Some(filter)) = (&model.spine.kind, &model.spine.filter) {
        let condition = frame.parse_sql_expr(filter)?;
        frame = frame.filter(condition)?;
    }
    if let Some(time) = job.project.event_time(table) {
        frame = frame.filter(Expr::from(quoted(time)).lt(instant(job.as_of())))?;
    }
    for column in &model.entity {
        frame = frame.filter(Expr::from(quoted(column)).is_not_null())?;
    }
    let mut columns: Vec<Expr> = model.entity.iter().map(|name| Expr::from(quoted(name))).collect();
    columns.extend(job.project.event_time(table).map(|time| Expr::from(quoted(time))));
    Ok(frame.select(columns)?.distinct()?)
}

async fn collect_sorted(frame: DataFrame, model: &Model) -> Result<RecordBatch> {
    let names =
        model.entity.iter().map(String::as_str).chain(["as_of"]).chain(model.spine_key().iter().map(String::as_str));
    let present: Vec<String> = frame.schema().fields().iter().map(|f| f.name().clone()).collect();
    let order: Vec<SortExpr> =
        names.filter(|n| present.iter().any(|p| p == n)).map(|n| Expr::from(quoted(n)).sort(true, true)).collect();
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let batches = frame.sort(order)?.collect().await?;
    vectors::one(schema, &batches)
}

/// At most `max_rows`, chosen by the seed, in the same order.
fn sampled(rows: RecordBatch, max_rows: Option<usize>, seed: u64) -> Result<RecordBatch> {
    let Some(max) = max_rows.filter(|max| *max < rows.num_rows()) else { return Ok(rows) };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut chosen: Vec<i64> = sample(&mut rng, rows.num_rows(), max).into_iter().map(|i| i as i64).collect();
    chosen.sort_unstable();
    Ok(take_record_batch(&rows, &Int64Array::from(chosen))?)
}

fn column_labels(rows: &RecordBatch, column: &str) -> Result<Vec<bool>> {
    let values = rows.column_by_name(column).ok_or_else(|| Error::internal(format!("no label column {column}")))?;
    let values = cast(values, &DataType::Int64)?;
    values
        .as_primitive::<Int64Type>()
        .values()
        .iter()
        .map(|value| match value {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Error::data(format!("label column {column} holds {other}, expected 0 or 1"))),
        })
        .collect()
}

/// 1 where an outcome of the same entity (and key) falls into [as_of, as_of + horizon).
async fn outcome_labels(
    job: &Job,
    session: &Session,
    model: &Model,
    pins: &Pins,
    rows: &RecordBatch,
) -> Result<Vec<bool>> {
    let Label::Outcome { table, event_time, filter, matching, horizon, .. } = &model.label else {
        return Err(Error::internal("not an outcome label"));
    };
    let time = event_time.as_deref().or_else(|| job.project.event_time(table));
    let time = time.ok_or_else(|| Error::internal(format!("label table {table} has no time")))?;
    let mut outcomes = pins.current(session, table, job.as_of())?;
    if let Some(filter) = filter {
        let condition = outcomes.parse_sql_expr(filter)?;
        outcomes = outcomes.filter(condition)?;
    }
    let on: Vec<&str> = model.entity.iter().chain(matching).map(String::as_str).collect();
    let renamed: Vec<String> = on.iter().map(|name| format!("outcome_{name}")).collect();
    let mut columns: Vec<Expr> =
        on.iter().zip(&renamed).map(|(name, new)| Expr::from(quoted(name)).alias(new)).collect();
    columns.push(Expr::from(quoted(time)).alias("outcome_time"));
    let outcomes = outcomes.select(columns)?;
    let mut spine: Vec<&str> = on.clone();
    spine.push("as_of");
    let indices: Vec<usize> = spine.iter().map(|name| rows.schema().index_of(name)).collect::<Result<_, _>>()?;
    let keys = rows.project(&indices)?;
    let number = Int64Array::from_iter_values(0..rows.num_rows() as i64);
    let mut fields: Vec<_> = keys.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(arrow::datatypes::Field::new("_row", DataType::Int64, false)));
    let mut arrays = keys.columns().to_vec();
    arrays.push(Arc::new(number));
    let keys = RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), arrays)?;
    let renamed: Vec<&str> = renamed.iter().map(String::as_str).collect();
    let length = lit(ScalarValue::DurationMicrosecond(Some(horizon.micros())));
    let outcome = Expr::from(quoted("outcome_time"));
    // The decision's own event is no outcome of itself.
    let own = tables(model)[0] == *table;
    let from = if own { outcome.clone().gt(as_of()) } else { outcome.clone().gt_eq(as_of()) };
    let hits = session
        .context()
        .read_batch(keys)?
        .join(outcomes, JoinType::Inner, &on, &renamed, None)?
        .filter(from.and((outcome - as_of()).lt(length)))?
        .select_columns(&["_row"])?
        .distinct()?
        .collect()
        .await?;
    let mut labels = vec![false; rows.num_rows()];
    for batch in hits {
        for row in batch.column(0).as_primitive::<Int64Type>().values() {
            labels[*row as usize] = true;
        }
    }
    Ok(labels)
}

/// A column of instants, in microseconds.
pub fn instants(rows: &RecordBatch, column: &str) -> Result<Vec<i64>> {
    let values = rows.column_by_name(column).ok_or_else(|| Error::internal(format!("no column {column}")))?;
    let values = cast(values, &timestamp())?;
    Ok(values.as_primitive::<TimestampMicrosecondType>().values().to_vec())
}

/// The entity of each row as one text.
pub fn entity_texts(rows: &RecordBatch, entity: &[String]) -> Result<Vec<String>> {
    let mut texts = vec![String::new(); rows.num_rows()];
    for name in entity {
        let values = rows.column_by_name(name).ok_or_else(|| Error::internal(format!("no column {name}")))?;
        let values = cast(values, &DataType::Utf8)?;
        let values: &StringArray = values.as_string();
        for (text, value) in texts.iter_mut().zip(values) {
            if !text.is_empty() {
                text.push('\u{1f}');
            }
            text.push_str(value.unwrap_or_default());
        }
    }
    Ok(texts)
}

/// Rows of a batch where the mask is true.
pub fn only(rows: &RecordBatch, mask: Vec<bool>) -> Result<RecordBatch> {
    Ok(filter_record_batch(rows, &BooleanArray::from(mask))?)
}

/// A date from microseconds.
pub fn date_of(micros: i64) -> Option<NaiveDate> {
    let days = i32::try_from(micros.div_euclid(DAY)).ok()?;
    let date = NaiveDate::from_epoch_days(days)?;
    (end_of(date) > micros).then_some(date)
}
