//! What groups and sequences have in common: entity, event time, filter and order of a history, and the columns that
//! every result starts with.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Field, Schema};

use crate::define::features::History;
use crate::define::types::type_name;
use crate::define::yaml::Origin;
use crate::define::{Diagnostic, types};
use crate::engine::session::Session;

use super::expression::{Checked, Scope, Typed};
use super::input::Inputs;
use super::{AS_OF, ROW};

/// What groups and sequences have in common: entity, event time, filter and order of their history.
///
/// The tie breaker is carried along only if anything is `ordered` by it.
pub fn start<'a>(
    session: &'a Session,
    history: &History,
    event_time: &str,
    (tie_breaker, ordered): (&[String], bool),
    table: &Schema,
    origin: &'a Origin,
    out: &mut Vec<Diagnostic>,
) -> Option<(Scope<'a>, Inputs)> {
    let keep = |result: Checked<Typed>, out: &mut Vec<Diagnostic>| result.map_err(|d| out.push(*d)).ok();
    let scope =
        Scope::new(session, format!("table {}", history.table), table, origin).map_err(|d| out.push(*d)).ok()?;
    let mut entity = Vec::new();
    for name in &history.entity {
        entity.extend(keep(scope.column(name, "entity"), out).map(|key| (name.clone(), key)));
    }
    let time = keep(time(&scope, event_time, "event_time", origin), out);
    let ties: Vec<Typed> = tie_breaker.iter().filter_map(|name| keep(scope.column(name, "table"), out)).collect();
    let filter = match &history.filter {
        Some(sql) => scope.predicate(sql, "where").map_err(|d| out.push(*d)).ok(),
        None => None,
    };
    let mut inputs = Inputs::new(table, entity, time?, history.visibility);
    inputs.filter = filter;
    inputs.depends_on_order = ordered;
    inputs.ties = ties.into_iter().filter(|_| ordered).map(|tie| inputs.value(tie)).collect();
    (inputs.entity.len() == history.entity.len()).then_some((scope, inputs))
}

/// An event time: an instant or a date.
pub fn time(scope: &Scope, name: &str, path: &str, origin: &Origin) -> Checked<Typed> {
    let time = scope.column(name, path)?;
    match time.data_type {
        DataType::Timestamp(..) | DataType::Date32 => Ok(time),
        other => {
            let d = origin.at(path, format!("`{name}` is no time"));
            Err(Box::new(d.found(type_name(&other)).expected("timestamp or date")))
        }
    }
}

/// The columns that every result starts with.
pub fn head(inputs: &Inputs, table: &Schema) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    for (name, key) in &inputs.entity {
        let doc = table.field_with_name(name).ok().and_then(|f| f.metadata().get("comment")).cloned();
        fields.push(documented(name, key.data_type.clone(), &doc.unwrap_or_else(|| "The entity.".into())));
    }
    fields.push(documented(AS_OF, types::timestamp(), "The instant before which everything happened (UTC)."));
    fields.push(documented(ROW, DataType::Int64, "Number of the row in its spine."));
    fields
}

pub fn documented(name: &str, data_type: DataType, doc: &str) -> Field {
    Field::new(name, data_type, true).with_metadata(HashMap::from([("comment".to_string(), doc.to_string())]))
}

pub fn no_order(origin: &Origin, path: &str, name: &str, table: &str) -> Diagnostic {
    let message =
        format!("`{name}` depends on the order of rows with equal event time, which table {table} leaves open");
    origin.at(path, message).expected(format!("`tie_breaker` or `key` of table {table}"))
}
