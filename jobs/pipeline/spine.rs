//! A model's training spine: its decisions, who has a label, and what the label is.
//!
//! A row exists only once its label is known: `as_of + horizon + delay <= D+1 00:00Z`. Rows are sorted by (entity, as_of,
//! key), sampled with the seed where there are more than `max_rows`, and numbered; everything after works on numbers.
//! Where the horizon starts at a later event, the row's anchor, that event may be as late as `within` says before the
//! label is known, and a row without one has no label. What the label is, is in [`super::label`].

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::{cast, filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Float64Type, TimestampMicrosecondType};
use chrono::NaiveDate;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, SortExpr};
use datafusion::prelude::DataFrame;
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;

use super::job::{Job, Pins, end_of, instant, quoted};
use super::{label, vectors};
use crate::define::Model;
use crate::define::model::{Label, Scoring, SpineKind, Weight};
use crate::define::types::{DAY, timestamp};
use crate::engine::physical;
use crate::engine::session::Session;
use crate::error::{Context, Error, Result};

/// Decisions with their labels: entity…, as_of, key…, attributes… in `rows`, and a label for each.
#[derive(Debug)]
pub struct Spine {
    pub rows: RecordBatch,
    pub labels: Vec<bool>,
    /// How much each row counts, where the definition says so.
    pub weights: Option<Vec<f64>>,
    /// Where the definition infers what became of refused rows: which were not refused. Only their labels are true.
    pub accepted: Option<Vec<bool>>,
}

/// Lake tables a model's spine and label read.
pub fn tables(model: &Model) -> Vec<String> {
    let mut tables = vec![match &model.spine.kind {
        SpineKind::Events { table, .. } => table.clone(),
        SpineKind::Grid { population, .. } => population.clone(),
    }];
    if let Label::Outcome { table, anchor, .. } = &model.label {
        tables.push(table.clone());
        tables.extend(anchor.as_ref().map(|anchor| anchor.table.clone()));
    }
    tables
}

/// The training spine as of tonight.
///
/// # Errors
/// `Data` where no row's label is known yet, a label or weight is none.
pub async fn training(job: &Job, model: &Model, pins: &Pins) -> Result<Spine> {
    let session = job.session()?;
    let known = job.as_of() - model.label.known_after();
    let mut frame = decisions(job, &session, model, pins)?.filter(as_of().lt_eq(instant(known)))?;
    let labelled = match &model.label {
        Label::Outcome { eligible: Some(eligible), .. } => Some(frame.parse_sql_expr(eligible)?),
        Label::Column { column, .. } => Some(Expr::from(quoted(column)).is_not_null()),
        _ => None,
    };
    if let Some(labelled) = labelled {
        // Who was refused has no label, and is not to be left out for it.
        frame = match &model.reject_inference {
            Some(reject) => {
                let accepted = frame.parse_sql_expr(&reject.accepted)?;
                frame.filter(labelled.or(accepted.is_not_true()))?
            }
            None => frame.filter(labelled)?,
        };
    }
    let rows = collect_sorted(frame, model).await?;
    if rows.num_rows() == 0 {
        return Err(nobody(job, &session, model, pins).await?);
    }
    let rows = sampled(rows, model.spine.max_rows, model.spine.seed)?;
    let accepted = match &model.reject_inference {
        Some(reject) => Some(flags(&session, &rows, &reject.accepted).context("reject_inference.accepted")?),
        None => None,
    };
    let (rows, accepted, labels) = label::labelled(job, &session, model, pins, rows, accepted).await?;
    let weights = model.weight.as_ref().map(|weight| weights(&session, model, &rows, weight)).transpose()?;
    Ok(Spine { rows, labels, weights, accepted })
}

/// Why there is nothing to learn from.
async fn nobody(job: &Job, session: &Session, model: &Model, pins: &Pins) -> Result<Error> {
    let all = collect_sorted(decisions(job, session, model, pins)?, model).await?;
    let days = |micros: i64| micros as f64 / DAY as f64;
    let Some(first) = instants(&all, "as_of")?.into_iter().min() else {
        return Ok(Error::data("the spine has no rows\n  help: check its table and `where`"));
    };
    let known_after = model.label.known_after();
    let history = job.as_of() - first;
    Ok(Error::data(match history < known_after {
        true => format!(
            "no label is known yet: one takes {:.1} days (horizon, delay and anchor), and the first of {} decisions \
             is {:.1} days old\n  help: a shorter horizon, or more history",
            days(known_after),
            all.num_rows(),
            days(history)
        ),
        false => format!("none of {} decisions has a label\n  help: check the label's `eligible`", all.num_rows()),
    }))
}

/// SQL over the rows of a spine.
fn evaluate(session: &Session, rows: &RecordBatch, text: &str) -> Result<arrow::array::ArrayRef> {
    let context = session.context();
    let schema = DFSchema::try_from(rows.schema().as_ref().clone())?;
    let expr = context.parse_sql_expr(text, &schema)?;
    Ok(physical::compile(context, expr, &schema)?.evaluate(rows)?.into_array(rows.num_rows())?)
}

/// A condition over the rows of a spine; null is false.
fn flags(session: &Session, rows: &RecordBatch, text: &str) -> Result<Vec<bool>> {
    let values = cast(&evaluate(session, rows, text)?, &DataType::Boolean)?;
    Ok(values.as_boolean().iter().map(|flag| flag == Some(true)).collect())
}

/// What each row counts.
fn weights(session: &Session, model: &Model, rows: &RecordBatch, weight: &Weight) -> Result<Vec<f64>> {
    let values = cast(&evaluate(session, rows, &weight.column).context("weight.column")?, &DataType::Float64)?;
    let values = values.as_primitive::<Float64Type>();
    let of = |row: usize| -> Result<f64> {
        let value = values.is_valid(row).then(|| values.value(row));
        match value {
            Some(value) if value >= 0.0 && value.is_finite() => Ok(weight.max.map_or(value, |max| value.min(max))),
            _ => {
                let entity = entity_texts(&rows.slice(row, 1), &model.entity)?.concat();
                let found = value.map_or("null".to_string(), |value| value.to_string());
                Err(Error::data(format!(
                    "the weight of a decision of {entity} is {found}, expected a finite number of at least 0\n  help: \
                     correct `weight.column` ({}), or leave such rows out by `spine.where`",
                    weight.column
                )))
            }
        }
    };
    let all: Vec<f64> = (0..rows.num_rows()).map(of).collect::<Result<_>>()?;
    match all.iter().any(|weight| *weight > 0.0) {
        true => Ok(all),
        false => Err(Error::data(format!("all {} rows have a weight of 0 ({})", all.len(), weight.column))),
    }
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

pub(super) fn as_of() -> Expr {
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
    let mut columns: Vec<String> = model.entity.clone();
    columns.extend(job.project.event_time(table).map(str::to_string));
    if matches!(model.spine.kind, SpineKind::Grid { .. }) {
        columns.extend(mentioned(&frame, model)?);
    }
    let mut seen: Vec<&String> = Vec::new();
    for column in &columns {
        if !seen.contains(&column) {
            seen.push(column);
        }
    }
    let columns: Vec<Expr> = seen.into_iter().map(|name| Expr::from(quoted(name))).collect();
    Ok(frame.select(columns)?.distinct()?)
}

/// Columns of a spine row that its label and weight look at.
fn mentioned(frame: &DataFrame, model: &Model) -> Result<Vec<String>> {
    let eligible = match &model.label {
        Label::Outcome { eligible, .. } => eligible.as_ref(),
        Label::Column { .. } => None,
    };
    let texts = [
        eligible,
        model.weight.as_ref().map(|weight| &weight.column),
        model.reject_inference.as_ref().map(|reject| &reject.accepted),
    ];
    let mut names = Vec::new();
    for text in texts.into_iter().flatten() {
        names.extend(frame.parse_sql_expr(text)?.column_refs().iter().map(|column| column.name.clone()));
    }
    if let Label::Column { column, .. } = &model.label {
        names.push(column.clone());
    }
    names.sort_unstable();
    Ok(names)
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
