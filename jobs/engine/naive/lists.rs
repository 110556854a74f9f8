//! Sequences: the last rows that count, as aligned lists.

use std::sync::Arc;

use arrow::array::{ListArray, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::prelude::DataFrame;

use super::history::{History, Row, Selection, Verdict};
use super::{Table, array, asks, order_all};
use crate::define::Sequence;
use crate::define::sequence::FieldValue;
use crate::error::Result;

/// The sequences of every spine row, with the arguments and the result of [`crate::engine::pit::sequences`], in memory.
pub async fn sequences(
    sequence: &Sequence,
    event_time: &str,
    tie_breaker: &[String],
    events: DataFrame,
    spine: DataFrame,
) -> Result<RecordBatch> {
    let texts = sequence.fields.iter().filter_map(|field| match &field.value {
        FieldValue::Of(sql) => Some(sql.clone()),
        _ => None,
    });
    let history = History::read(&sequence.history, event_time, tie_breaker, texts.collect(), events).await?;
    let asks = asks(&history, &sequence.history.entity, spine).await?;
    let mut result = Table::new(&sequence.history.entity, &history, &asks)?;
    for field in &sequence.fields {
        let data_type = match &field.value {
            FieldValue::Of(sql) => history.index(sql).map_or(DataType::Null, |index| history.types[index].clone()),
            _ => DataType::Float64,
        };
        let (mut items, mut lengths) = (Vec::new(), Vec::new());
        for ask in &asks {
            let rows = last(&history, sequence, &ask.entity, ask.as_of);
            lengths.push(rows.len());
            items.extend((0..rows.len()).map(|at| item(&field.value, &history, &rows, at, ask.as_of)));
        }
        let inner = Arc::new(Field::new_list_field(data_type.clone(), true));
        let offsets = OffsetBuffer::from_lengths(lengths);
        let list = ListArray::try_new(inner.clone(), offsets, array(&data_type, &items)?, None)?;
        result.fields.push(Field::new(&field.name, DataType::List(inner), true));
        result.columns.push(Arc::new(list));
    }
    result.batch()
}

/// The last K rows that count, oldest first: by time, tie breaker, known-from, then the fields' values.
fn last<'a>(history: &'a History, sequence: &Sequence, entity: &[ScalarValue], as_of: i64) -> Vec<&'a Row> {
    let selection = Selection { window: sequence.window.map(|window| window.micros()), ..Selection::default() };
    let counts = |row: &&Row| row.entity == entity && history.verdict(row, as_of, &selection) == Verdict::Counts;
    let values = |row: &Row| -> Vec<ScalarValue> {
        let fields = sequence.fields.iter().filter_map(|field| match &field.value {
            FieldValue::Of(sql) => history.index(sql).map(|index| row.values[index].clone()),
            _ => None,
        });
        fields.collect()
    };
    let mut rows: Vec<&Row> = history.rows.iter().filter(counts).collect();
    rows.sort_by(|a, b| {
        let ties = a.time.cmp(&b.time).then_with(|| order_all(&a.ties, &b.ties));
        ties.then(a.known_from.cmp(&b.known_from)).then_with(|| order_all(&values(a), &values(b)))
    });
    rows.split_off(rows.len().saturating_sub(sequence.length))
}

fn item(field: &FieldValue, history: &History, rows: &[&Row], at: usize, as_of: i64) -> ScalarValue {
    let between = |from: i64, to: i64, unit: i64| (i128::from(to) - i128::from(from)) as f64 / unit as f64;
    match field {
        FieldValue::Of(sql) => history.index(sql).map_or(ScalarValue::Null, |index| rows[at].values[index].clone()),
        FieldValue::TimeSince(unit) => ScalarValue::Float64(Some(between(rows[at].time, as_of, unit.micros()))),
        FieldValue::SincePrevious(unit) => {
            let previous = at.checked_sub(1).map(|before| rows[before].time);
            ScalarValue::Float64(previous.map(|time| between(time, rows[at].time, unit.micros())))
        }
    }
}
