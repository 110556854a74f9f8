//! What the label of a decision is: a column of its own, or whether something happens in a horizon that starts with it,
//! or with a later event, its anchor.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use datafusion::common::ScalarValue;
use datafusion::functions_aggregate::expr_fn::min;
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::{DataFrame, JoinType};

use super::job::{Job, Pins, quoted};
use super::spine::{instants, only, tables};
use crate::define::Model;
use crate::define::model::Label;
use crate::define::types::timestamp;
use crate::engine::session::Session;
use crate::error::{Error, Result};

/// The rows that have a label, or were refused, each with its label; that of a refused row says nothing.
pub async fn labelled(
    job: &Job,
    session: &Session,
    model: &Model,
    pins: &Pins,
    rows: RecordBatch,
    accepted: Option<Vec<bool>>,
) -> Result<(RecordBatch, Option<Vec<bool>>, Vec<bool>)> {
    if let Label::Column { column, .. } = &model.label {
        let labels = of_column(&rows, column, accepted.as_deref())?;
        return Ok((rows, accepted, labels));
    }
    let as_of: Vec<Option<i64>> = instants(&rows, "as_of")?.into_iter().map(Some).collect();
    let starts = match anchors(job, session, model, pins, &rows).await? {
        None => as_of,
        Some(anchors) => anchors,
    };
    let refused = |row: usize| accepted.as_ref().is_some_and(|accepted| !accepted[row]);
    let kept: Vec<bool> = starts.iter().enumerate().map(|(row, start)| start.is_some() || refused(row)).collect();
    let of_kept = |row: &usize| kept[*row];
    let starts: Vec<Option<i64>> = (0..kept.len()).filter(of_kept).map(|row| starts[row]).collect();
    let accepted = accepted.as_ref().map(|accepted| (0..kept.len()).filter(of_kept).map(|row| accepted[row]).collect());
    let rows = only(&rows, kept)?;
    if rows.num_rows() == 0 {
        return Err(Error::data("no decision has an anchor\n  help: check `label.anchor`, its `where` and `within`"));
    }
    let labels = outcomes(job, session, model, pins, &rows, &starts).await?;
    Ok((rows, accepted, labels))
}

fn of_column(rows: &RecordBatch, column: &str, accepted: Option<&[bool]>) -> Result<Vec<bool>> {
    let values = rows.column_by_name(column).ok_or_else(|| Error::internal(format!("no label column {column}")))?;
    let values = cast(values, &DataType::Int64)?;
    let values = values.as_primitive::<Int64Type>();
    let label = |row: usize| match values.is_valid(row).then(|| values.value(row)) {
        Some(0) => Ok(false),
        Some(1) => Ok(true),
        _ if accepted.is_some_and(|accepted| !accepted[row]) => Ok(false),
        Some(other) => Err(Error::data(format!("label column {column} holds {other}, expected 0 or 1"))),
        None => Err(Error::data(format!("label column {column} is null in a row that was accepted"))),
    };
    (0..rows.num_rows()).map(label).collect()
}

/// The rows of `rows` by number, with columns that an event of theirs shares and the instant from which it counts.
fn keys(rows: &RecordBatch, on: &[&str], starts: &[Option<i64>]) -> Result<RecordBatch> {
    let indices: Vec<usize> = on.iter().map(|name| rows.schema().index_of(name)).collect::<Result<_, _>>()?;
    let keys = rows.project(&indices)?;
    let mut fields: Vec<_> = keys.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("_start", timestamp(), true)));
    fields.push(Arc::new(Field::new("_row", DataType::Int64, false)));
    let mut arrays = keys.columns().to_vec();
    arrays.push(cast(&TimestampMicrosecondArray::from(starts.to_vec()).with_timezone("UTC"), &timestamp())?);
    arrays.push(Arc::new(Int64Array::from_iter_values(0..rows.num_rows() as i64)));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

/// Events of a table that follow a row's start within some microseconds: columns `_row`, `_start` and `_time`.
struct Events<'a> {
    table: &'a str,
    time: Option<&'a str>,
    filter: Option<&'a str>,
    matching: &'a [String],
    within: i64,
    /// The table that the start is an event of, which is no event after itself.
    from: &'a str,
}

impl Events<'_> {
    fn after(
        &self,
        (job, session): (&Job, &Session),
        model: &Model,
        pins: &Pins,
        (rows, starts): (&RecordBatch, &[Option<i64>]),
    ) -> Result<DataFrame> {
        let time = self.time.or_else(|| job.project.event_time(self.table));
        let time = time.ok_or_else(|| Error::internal(format!("label table {} has no time", self.table)))?;
        let mut events = pins.current(session, self.table, job.as_of())?;
        if let Some(filter) = self.filter {
            let condition = events.parse_sql_expr(filter)?;
            events = events.filter(condition)?;
        }
        let on: Vec<&str> = model.entity.iter().chain(self.matching).map(String::as_str).collect();
        let renamed: Vec<String> = on.iter().map(|name| format!("event_{name}")).collect();
        let mut columns: Vec<Expr> =
            on.iter().zip(&renamed).map(|(name, new)| Expr::from(quoted(name)).alias(new)).collect();
        columns.push(Expr::from(quoted(time)).alias("_time"));
        let events = events.select(columns)?;
        let renamed: Vec<&str> = renamed.iter().map(String::as_str).collect();
        let (event, start) = (Expr::from(quoted("_time")), Expr::from(quoted("_start")));
        let follows = match self.from == self.table {
            true => event.clone().gt(start.clone()),
            false => event.clone().gt_eq(start.clone()),
        };
        let length = lit(ScalarValue::DurationMicrosecond(Some(self.within)));
        let keys = session.context().read_batch(keys(rows, &on, starts)?)?;
        Ok(keys.join(events, JoinType::Inner, &on, &renamed, None)?.filter(follows.and((event - start).lt(length)))?)
    }
}

/// When the anchor of each row happened; none where the label has no anchor.
async fn anchors(
    job: &Job,
    session: &Session,
    model: &Model,
    pins: &Pins,
    rows: &RecordBatch,
) -> Result<Option<Vec<Option<i64>>>> {
    let Label::Outcome { anchor: Some(anchor), .. } = &model.label else { return Ok(None) };
    let spine = &tables(model)[0];
    let events = Events {
        table: &anchor.table,
        time: anchor.event_time.as_deref(),
        filter: anchor.filter.as_deref(),
        matching: &anchor.matching.0,
        within: anchor.within.micros(),
        from: spine,
    };
    let starts: Vec<Option<i64>> = instants(rows, "as_of")?.into_iter().map(Some).collect();
    let found = events.after((job, session), model, pins, (rows, &starts))?;
    let first = min(Expr::from(quoted("_time"))).alias("_first");
    let found = found.aggregate(vec![Expr::from(quoted("_row"))], vec![first])?.collect().await?;
    let mut anchors = vec![None; rows.num_rows()];
    for batch in found {
        let times = instants(&batch, "_first")?;
        for (row, time) in batch.column(0).as_primitive::<Int64Type>().values().iter().zip(times) {
            anchors[*row as usize] = Some(time);
        }
    }
    Ok(Some(anchors))
}

/// 1 where an outcome of the same entity (and key) falls into [start, start + horizon).
async fn outcomes(
    job: &Job,
    session: &Session,
    model: &Model,
    pins: &Pins,
    rows: &RecordBatch,
    starts: &[Option<i64>],
) -> Result<Vec<bool>> {
    let Label::Outcome { table, event_time, filter, matching, horizon, anchor, .. } = &model.label else {
        return Err(Error::internal("not an outcome label"));
    };
    let spine = &tables(model)[0];
    let events = Events {
        table,
        time: event_time.as_deref(),
        filter: filter.as_deref(),
        matching,
        within: horizon.micros(),
        from: anchor.as_ref().map_or(spine, |anchor| &anchor.table),
    };
    let hits = events.after((job, session), model, pins, (rows, starts))?;
    let hits = hits.select_columns(&["_row"])?.distinct()?.collect().await?;
    let mut labels = vec![false; rows.num_rows()];
    for batch in hits {
        for row in batch.column(0).as_primitive::<Int64Type>().values() {
            labels[*row as usize] = true;
        }
    }
    Ok(labels)
}
