//! Features and sequences by their definition and nothing else: what everything fast is held to.
//!
//! For every spine row it looks at every row of the table, asks whether that row counts ([`Verdict`]), and applies the
//! function to the values of those that do. No order is exploited, and nothing is carried from one window or one spine
//! row to the next. Sums are made of integers as long as they need to be; SQL expressions are left to DataFusion. It
//! shares no code with [`super::pit`], whose documentation says what both compute.
//!
//! Slow by intention: tests hold the operator to it, `verify --sample` stored tables, and `why` explains values by its
//! verdicts.

mod derived;
mod exact;
mod function;
mod history;
mod lists;

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{cast, concat, concat_batches};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::prelude::DataFrame;

pub use history::{History, OPEN, Row, Selection, Verdict};
pub use lists::sequences;

use super::pit::{AS_OF, ROW};
use super::session::Session;
use crate::define::FeatureGroup;
use crate::define::features::Feature;
use crate::define::types::timestamp;
use crate::error::{Context, Error, Result};

/// The features of every spine row, with the arguments and the result of [`super::pit::features`], in memory.
///
/// # Errors
/// Data: an overflow of a sum, or an expression that cannot be computed.
pub async fn features(
    session: &Session,
    group: &FeatureGroup,
    event_time: &str,
    tie_breaker: &[String],
    events: DataFrame,
    spine: DataFrame,
) -> Result<RecordBatch> {
    let texts = group.features.iter().flat_map(|feature| feature.of.iter().chain(&feature.filter)).cloned();
    let history = History::read(&group.history, event_time, tie_breaker, texts.collect(), events).await?;
    let asks = asks(&history, &group.history.entity, spine).await?;
    let mut result = Table::new(&group.history.entity, &history, &asks)?;
    for feature in &group.features {
        let selection = Selection::of(feature, &history);
        let of = selection.value.map_or(DataType::Null, |index| history.types[index].clone());
        let mut column = Vec::new();
        for ask in &asks {
            let rows = history.counted(&ask.entity, ask.as_of, &selection);
            let value = function::apply(&feature.function, &rows, ask.as_of, &of);
            column.push(value.with_context(|| format!("{}: {}", ask.text(&group.history.entity), feature.name))?);
        }
        result.push(&feature.name, &function::result_type(&feature.function, &of), &column)?;
    }
    derived::append(session, group, &mut result)?;
    let hidden = |name: &String| group.features.iter().any(|feature| feature.hidden && feature.name == *name);
    result.without(hidden)
}

impl Selection {
    /// The rows that a feature is about.
    pub fn of(feature: &Feature, history: &History) -> Selection {
        Selection {
            window: feature.window.map(|window| window.micros()),
            condition: feature.filter.as_deref().and_then(|sql| history.index(sql)),
            value: feature.of.as_deref().and_then(|sql| history.index(sql)),
            wants_value: true,
            wants_finite: feature.function.is_arithmetic(),
        }
    }
}

/// A spine row.
struct Ask {
    entity: Vec<ScalarValue>,
    as_of: i64,
    row: i64,
}

impl Ask {
    fn text(&self, names: &[String]) -> String {
        let keys = names.iter().zip(&self.entity).map(|(name, value)| format!("{name} = {value}"));
        keys.collect::<Vec<_>>().join(", ")
    }
}

/// The spine, in the order of results: entity, as_of, row.
async fn asks(history: &History, entity: &[String], spine: DataFrame) -> Result<Vec<Ask>> {
    let spine = collected(spine).await?;
    let column = |name: &str, data_type: &DataType| scalars(&as_type(named(&spine, name)?, data_type)?);
    let keys: Vec<Vec<ScalarValue>> =
        entity.iter().zip(&history.keys).map(|(name, data_type)| column(name, data_type)).collect::<Result<_>>()?;
    let (as_of, row) = (column(AS_OF, &timestamp())?, column(ROW, &DataType::Int64)?);
    let mut asks = Vec::new();
    for index in 0..spine.num_rows() {
        let entity = keys.iter().map(|key| key[index].clone()).collect();
        asks.push(Ask { entity, as_of: micros(&as_of[index]).unwrap_or(0), row: micros(&row[index]).unwrap_or(0) });
    }
    asks.sort_by(|a, b| order_all(&a.entity, &b.entity).then((a.as_of, a.row).cmp(&(b.as_of, b.row))));
    Ok(asks)
}

/// A result under construction: columns of one length.
struct Table {
    fields: Vec<Field>,
    columns: Vec<ArrayRef>,
}

impl Table {
    /// The columns that every result starts with.
    fn new(entity: &[String], history: &History, asks: &[Ask]) -> Result<Table> {
        let mut table = Table { fields: Vec::new(), columns: Vec::new() };
        for (index, (name, data_type)) in entity.iter().zip(&history.keys).enumerate() {
            let keys: Vec<ScalarValue> = asks.iter().map(|ask| ask.entity[index].clone()).collect();
            table.push(name, data_type, &keys)?;
        }
        let as_of = |ask: &Ask| ScalarValue::TimestampMicrosecond(Some(ask.as_of), Some("UTC".into()));
        table.push(AS_OF, &timestamp(), &asks.iter().map(as_of).collect::<Vec<_>>())?;
        let row = |ask: &Ask| ScalarValue::Int64(Some(ask.row));
        table.push(ROW, &DataType::Int64, &asks.iter().map(row).collect::<Vec<_>>())?;
        Ok(table)
    }

    fn push(&mut self, name: &str, data_type: &DataType, values: &[ScalarValue]) -> Result<()> {
        self.fields.push(Field::new(name, data_type.clone(), true));
        self.columns.push(array(data_type, values)?);
        Ok(())
    }

    fn batch(&self) -> Result<RecordBatch> {
        Ok(RecordBatch::try_new(Arc::new(Schema::new(self.fields.clone())), self.columns.clone())?)
    }

    fn without(&self, hidden: impl Fn(&String) -> bool) -> Result<RecordBatch> {
        let kept: Vec<usize> = (0..self.fields.len()).filter(|&i| !hidden(self.fields[i].name())).collect();
        Ok(self.batch()?.project(&kept)?)
    }
}

/// All rows of a frame in one batch.
async fn collected(frame: DataFrame) -> Result<RecordBatch> {
    let schema = Arc::new(frame.schema().as_arrow().clone());
    Ok(concat_batches(&schema, &frame.collect().await?)?)
}

fn named<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| Error::internal(format!("no column {name}")))
}

fn as_type(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    Ok(cast(array, data_type)?)
}

fn scalars(array: &ArrayRef) -> Result<Vec<ScalarValue>> {
    Ok((0..array.len()).map(|row| ScalarValue::try_from_array(array, row)).collect::<Result<_, _>>()?)
}

fn array(data_type: &DataType, values: &[ScalarValue]) -> Result<ArrayRef> {
    let mut pieces = vec![arrow::array::new_empty_array(data_type)];
    for value in values {
        pieces.push(value.to_array()?);
    }
    Ok(concat(&pieces.iter().map(AsRef::as_ref).collect::<Vec<_>>())?)
}

/// The integer of an instant or of a 64-bit integer.
fn micros(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::TimestampMicrosecond(value, _) | ScalarValue::Int64(value) => *value,
        _ => None,
    }
}

/// Ascending, nulls first; floats in IEEE 754's total order.
fn order(a: &ScalarValue, b: &ScalarValue) -> Ordering {
    match (a, b) {
        (ScalarValue::Float64(Some(a)), ScalarValue::Float64(Some(b))) => a.total_cmp(b),
        _ => b.is_null().cmp(&a.is_null()).then(a.partial_cmp(b).unwrap_or(Ordering::Equal)),
    }
}

fn order_all(a: &[ScalarValue], b: &[ScalarValue]) -> Ordering {
    a.iter().zip(b).map(|(a, b)| order(a, b)).find(|ordering| ordering.is_ne()).unwrap_or(Ordering::Equal)
}
