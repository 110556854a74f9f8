//! A table's YAML twin against what its query really gives: key, times, docs and audits must name output columns.

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::catalog::empty::EmptyTable;
use datafusion::datasource::provider_as_source;
use std::sync::Arc;

use super::catalog::Catalog;
use super::fault::faults;
use super::relation::EVENT_DATE;
use crate::define::diagnostic::Diagnostic;
use crate::define::table::{Audit, AuditCheck};
use crate::define::trend::Measure;
use crate::define::types::timestamp;
use crate::define::types::type_name;
use crate::define::{Project, Table};

/// Checks names and docs.
pub fn check(catalog: &Catalog, table: &Table, out: &mut Vec<Diagnostic>) {
    let Some(schema) = catalog.relation_schema(&table.name) else { return };
    known_columns(table, &schema, "key", &table.key, out);
    if table.tie_breaker != table.key {
        known_columns(table, &schema, "tie_breaker", &table.tie_breaker, out);
    }
    if let Some(time) = &table.event_time {
        known_columns(table, &schema, "event_time", std::slice::from_ref(time), out);
        if let Ok(field) = schema.field_with_name(time)
            && *field.data_type() != timestamp()
        {
            let d = table.origin.at("event_time", format!("event time `{time}` is no instant"));
            let d = d.found(type_name(field.data_type())).expected("timestamp");
            out.push(d.help(format!("in the query: cast({time} as timestamp) as {time}")));
        }
    }
    check_docs(table, &schema, out);
}

fn check_docs(table: &Table, schema: &Schema, out: &mut Vec<Diagnostic>) {
    for name in table.columns.keys().filter(|name| schema.field_with_name(name).is_err()) {
        let d = table
            .origin
            .at(&format!("columns.{name}"), format!("`columns` of {} names no column of its query", table.name));
        out.push(d.expected_one_of(name, schema.fields().iter().map(|f| f.name().as_str())));
    }
    let undocumented: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .filter(|name| *name != EVENT_DATE && table.columns.get(*name).is_none_or(|c| c.doc.trim().is_empty()))
        .collect();
    if !undocumented.is_empty() {
        let plural = if undocumented.len() == 1 { "a column" } else { "columns" };
        let d = table.origin.at("columns", format!("{} has {plural} without documentation", table.name));
        out.push(d.found(undocumented.join(", ")).expected("an entry with `doc` for every output column"));
    }
}

/// Checks that audits name columns and relations that there are, and that their queries plan.
pub fn check_audits(catalog: &Catalog, project: &Project, table: &Table, out: &mut Vec<Diagnostic>) {
    let Some(schema) = catalog.relation_schema(&table.name) else { return };
    for audit in &table.audits {
        let path = |key: &str| format!("{}.{key}", audit.path);
        let one = std::slice::from_ref;
        match &audit.check {
            AuditCheck::NotNull(columns) => known_columns(table, &schema, &path("not_null"), columns, out),
            AuditCheck::Unique(columns) => known_columns(table, &schema, &path("unique"), columns, out),
            AuditCheck::AcceptedValues { column, .. } => {
                known_columns(table, &schema, &path("accepted_values.column"), one(column), out);
            }
            AuditCheck::Relationships { column, to_table, to_column } => {
                known_columns(table, &schema, &path("relationships.column"), one(column), out);
                let to = (to_table.as_str(), to_column.as_str());
                check_relationship(catalog, project, table, (&schema, column), to, &path("relationships.to"), out);
            }
            AuditCheck::RowCount { .. } => {}
            AuditCheck::Query(sql) => check_query(catalog, table, audit, sql, out),
            AuditCheck::Freshness(freshness) => {
                known_columns(table, &schema, &path("freshness.column"), one(&freshness.column), out);
                let instant = |field: &Field| matches!(field.data_type(), DataType::Timestamp(..) | DataType::Date32);
                if let Ok(field) = schema.field_with_name(&freshness.column)
                    && !instant(field)
                {
                    let d = table.origin.at(&path("freshness.column"), format!("`{}` is no instant", field.name()));
                    out.push(d.found(type_name(field.data_type())).expected("a timestamp or a date"));
                }
            }
            AuditCheck::Trend(trend) => check_measure(table, &schema, &path("trend.measure"), &trend.measure, out),
        }
    }
}

fn check_relationship(
    catalog: &Catalog,
    project: &Project,
    table: &Table,
    (schema, column): (&Schema, &str),
    (to_table, to_column): (&str, &str),
    path: &str,
    out: &mut Vec<Diagnostic>,
) {
    let Some(other) = catalog.relation_schema(to_table) else {
        if project.relations().all(|name| name != to_table) {
            let d = table.origin.at(path, format!("there is no table `{to_table}`"));
            out.push(d.expected_one_of(to_table, project.relations()));
        }
        return;
    };
    let Ok(there) = other.field_with_name(to_column) else {
        let d = table.origin.at(path, format!("`{to_column}` is no column of {to_table}"));
        out.push(d.expected_one_of(to_column, other.fields().iter().map(|f| f.name().as_str())));
        return;
    };
    if let Ok(here) = schema.field_with_name(column)
        && here.data_type() != there.data_type()
    {
        let d = table.origin.at(path, format!("`{column}` and `{to_table}.{to_column}` are of different types"));
        out.push(d.found(type_name(there.data_type())).expected(type_name(here.data_type())));
    }
}

fn check_measure(table: &Table, schema: &Schema, path: &str, measure: &Measure, out: &mut Vec<Diagnostic>) {
    let Some(column) = measure.column() else { return };
    known_columns(table, schema, path, std::slice::from_ref(column), out);
    if let Ok(field) = schema.field_with_name(column)
        && matches!(measure, Measure::Sum(_) | Measure::Mean(_))
        && !field.data_type().is_numeric()
    {
        let d = table.origin.at(path, format!("`{column}` is no number"));
        out.push(d.found(type_name(field.data_type())).expected("a column of numbers"));
    }
}

fn check_query(catalog: &Catalog, table: &Table, audit: &Audit, sql: &str, out: &mut Vec<Diagnostic>) {
    let Some(schema) = catalog.relation_schema(&table.name) else { return };
    let mut planner = catalog.planner.clone();
    planner.add("this", provider_as_source(Arc::new(EmptyTable::new(schema))));
    if let Err(error) = planner.plan(sql) {
        let path = format!("{}.query", audit.path);
        let what = format!("the query of the audit {}", audit.name);
        out.extend(faults(&error).into_iter().map(|fault| fault.in_yaml(&table.origin, &path, &what)));
    }
}

fn known_columns(table: &Table, schema: &Schema, path: &str, columns: &[String], out: &mut Vec<Diagnostic>) {
    let key = path.rsplit('.').find(|part| *part != "column").unwrap_or(path);
    for column in columns.iter().filter(|column| schema.field_with_name(column).is_err()) {
        let d = table.origin.at(path, format!("`{key}` of {} names no column of its query", table.name));
        out.push(d.expected_one_of(column, schema.fields().iter().map(|f| f.name().as_str())));
    }
}
