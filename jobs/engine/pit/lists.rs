//! A sequence and its table's schema → what its kernel runs, or everything that does not fit.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::define::features::TimeUnit;
use crate::define::sequence::{Field as SequenceField, FieldValue};
use crate::define::{Diagnostic, Sequence};
use crate::engine::session::Session;

use super::compile;
use super::expression::{Checked, Scope};
use super::history::{documented, head, no_order, start};
use super::input::Inputs;

/// A sequence, ready to run.
pub struct Lists {
    pub inputs: Inputs,
    pub length: usize,
    /// Microseconds.
    pub window: Option<i64>,
    pub fields: Vec<ListField>,
    pub schema: SchemaRef,
    /// Names what a saved state is a state of.
    pub state: String,
}

#[derive(Debug, Clone)]
pub enum ListField {
    Value { index: usize, data_type: DataType },
    SincePrevious(TimeUnit),
    TimeSince(TimeUnit),
}

pub fn sequence(
    session: &Session,
    sequence: &Sequence,
    event_time: &str,
    tie_breaker: &[String],
    table: &Schema,
) -> Result<Lists, Vec<Diagnostic>> {
    let mut out = Vec::new();
    let started = start(session, &sequence.history, event_time, (tie_breaker, true), table, &sequence.origin, &mut out);
    let Some((scope, mut inputs)) = started else { return Err(out) };
    if inputs.ties.is_empty() {
        out.push(no_order(&sequence.origin, "table", &sequence.name, &sequence.history.table));
    }
    let mut list_fields = Vec::new();
    let mut fields = head(&inputs, table);
    for field in &sequence.fields {
        match list_field(field, &scope, &mut inputs) {
            Ok((list_field, data_type)) => {
                let list = DataType::List(Arc::new(Field::new_list_field(data_type, true)));
                fields.push(documented(&field.name, list, &list_doc(field, table)));
                list_fields.push(list_field);
            }
            Err(diagnostic) => out.push(*diagnostic),
        }
    }
    if !out.is_empty() {
        return Err(out);
    }
    let window = sequence.window.map(|w| w.micros());
    let state = compile::state_name(&format!(
        "{:?} {:?} {inputs:?} {} {window:?} {list_fields:?}",
        sequence.history, sequence.interleaved, sequence.length
    ));
    let schema = Arc::new(Schema::new(fields));
    Ok(Lists { inputs, length: sequence.length, window, fields: list_fields, schema, state })
}

fn list_field(field: &SequenceField, scope: &Scope, inputs: &mut Inputs) -> Checked<(ListField, DataType)> {
    Ok(match &field.value {
        FieldValue::Of(sql) => {
            let typed = scope.compile(sql, &field.path)?;
            let data_type = typed.data_type.clone();
            let index = inputs.value(typed);
            inputs.ordered.extend(Some(index).filter(|i| !inputs.ordered.contains(i)));
            (ListField::Value { index, data_type: data_type.clone() }, data_type)
        }
        FieldValue::SincePrevious(unit) => (ListField::SincePrevious(*unit), DataType::Float64),
        FieldValue::TimeSince(unit) => (ListField::TimeSince(*unit), DataType::Float64),
    })
}

fn list_doc(field: &SequenceField, table: &Schema) -> String {
    match &field.value {
        FieldValue::Of(sql) => {
            let column = table.field_with_name(sql).ok();
            let doc = column.and_then(|c| c.metadata().get("comment")).filter(|doc| !doc.is_empty());
            doc.map_or_else(|| format!("{sql}, oldest event first."), |doc| format!("{doc} Oldest event first."))
        }
        FieldValue::SincePrevious(unit) => {
            format!("{} since the previous event of the list, null for its first; oldest event first.", capital(*unit))
        }
        FieldValue::TimeSince(unit) => format!("{} from the event to as_of; oldest event first.", capital(*unit)),
    }
}

fn capital(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Minutes => "Minutes",
        TimeUnit::Hours => "Hours",
        TimeUnit::Days => "Days",
    }
}
