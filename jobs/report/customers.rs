//! The table of customers: searched, filtered and sorted in the page, a hundred rows at a time.
//!
//! The rows are data, which the script shows page by page, so that ten thousand of them cost nothing until they are
//! looked at. The first ones are in the markup too: for print, and where no script runs.
//!
//! A customer stands in the data by column and value (`{"user_id":"42"}`): `erase` finds a number by that.

use maud::{Markup, html};
use serde::Serialize;
use serde_json::{Value, json};

use super::format::{count, minus, percent};
use super::html::{data, none, scroll};
use super::page::{Customer, Customers};
use crate::error::Result;

/// Rows of a page.
const PAGE: usize = 100;
/// Rows in the markup.
const STATIC: usize = 50;

/// A column of the table: how the script and the markup show it.
#[derive(Serialize)]
struct Column {
    name: &'static str,
    label: &'static str,
    /// `text`, `number`, `share`, `list`, or `choice`: few values, which one can filter by.
    kind: &'static str,
    #[serde(skip)]
    value: fn(&Customer) -> Value,
}

fn columns(rows: &[Customer]) -> Vec<Column> {
    let all = [
        Column { name: "entity", label: "Customer", kind: "text", value: named },
        Column { name: "key", label: "Decision on", kind: "text", value: |c| json!(c.key) },
        Column { name: "probability", label: "Probability", kind: "share", value: |c| number(c.probability) },
        Column { name: "score", label: "Score", kind: "number", value: |c| number(c.score) },
        Column { name: "live_score", label: "Live score", kind: "number", value: |c| number(c.live_score) },
        Column { name: "difference", label: "Difference", kind: "number", value: |c| number(c.difference) },
        Column { name: "action", label: "Action", kind: "choice", value: |c| json!(c.action) },
        Column { name: "live_action", label: "Live action", kind: "choice", value: |c| json!(c.live_action) },
        Column { name: "limit", label: "Limit", kind: "number", value: |c| number(c.limit) },
        Column { name: "reasons", label: "Reasons", kind: "list", value: |c| json!(c.reasons) },
        Column { name: "missing", label: "Missing inputs", kind: "number", value: |c| json!(c.missing) },
    ];
    let holds = |value: Value| !value.is_null() && value != json!([]) && value != json!("");
    all.into_iter().filter(|column| rows.iter().any(|row| holds((column.value)(row)))).collect()
}

fn named(customer: &Customer) -> Value {
    Value::Object(customer.entity.iter().map(|(column, value)| (column.clone(), json!(value))).collect())
}

/// Rounded to what is shown and sorted by, so that the page stays small.
fn number(value: Option<f64>) -> Value {
    value.filter(|v| v.is_finite()).map_or(Value::Null, |v| json!((v * 1e6).round() / 1e6))
}

pub fn customers(customers: &Customers) -> Result<Markup> {
    let columns = columns(&customers.rows);
    let rows: Vec<Vec<Value>> =
        customers.rows.iter().map(|row| columns.iter().map(|column| (column.value)(row)).collect()).collect();
    let shown = customers.rows.len() as u64;
    let caption = match shown == customers.total {
        true => format!("{} customers, {}", count(shown), customers.order),
        false => format!("{} of {} customers, {}", count(shown), count(customers.total), customers.order),
    };
    Ok(html! {
        div #controls.controls hidden {
            label {
                "Search"
                input #search type="search" placeholder="Customer, action, reason" autocomplete="off"
                    spellcheck="false";
            }
            @for column in columns.iter().filter(|column| column.kind == "choice") {
                label { (column.label) select data-column=(column.name) { option value="" { "all" } } }
            }
            @if columns.iter().any(|column| column.name == "live_action") {
                label.check { input #changed type="checkbox"; "Action changes only" }
            }
            output #found for="search" aria-live="polite" {}
        }
        @if !customers.note.is_empty() { p.note { (customers.note) } }
        @if let Some(file) = &customers.file { p.note { "All of them as " a href=(file) { "CSV" } "." } }
        (scroll("Customers", &table(&caption, &columns, &rows)))
        nav #pages.pages hidden aria-label="Pages of customers" {
            button type="button" data-page="first" { "First" }
            button type="button" data-page="previous" { "Previous" }
            span #page-of {}
            button type="button" data-page="next" { "Next" }
            button type="button" data-page="last" { "Last" }
        }
        @if rows.len() > STATIC {
            p.note.static { "The first " (STATIC) " rows; with a script running, all of them can be searched here." }
        }
        (data("customers-data", &json!({"page": PAGE, "columns": columns, "rows": rows}))?)
    })
}

fn table(caption: &str, columns: &[Column], rows: &[Vec<Value>]) -> Markup {
    html! {
        table #customers-table {
            caption { (caption) }
            thead { tr {
                @for column in columns {
                    th scope="col" class=[is_number(column).then_some("number")] data-column=(column.name) {
                        button.sort type="button" disabled { (column.label) span.arrow aria-hidden="true" {} }
                    }
                }
            } }
            tbody { @for row in rows.iter().take(STATIC) { tr {
                @for (index, (column, value)) in columns.iter().zip(row).enumerate() {
                    @if index == 0 { th scope="row" { (text(column, value)) } }
                    @else {
                        td class=[is_number(column).then_some("number")] {
                            @if value.is_null() { (none()) } @else { (text(column, value)) }
                        }
                    }
                }
            } } }
        }
    }
}

fn is_number(column: &Column) -> bool {
    matches!(column.kind, "number" | "share")
}

/// As the script writes it (`shown` in script.js).
fn text(column: &Column, value: &Value) -> String {
    match (column.kind, value) {
        ("share", value) => value.as_f64().map_or_else(String::new, percent),
        ("number", value) => value
            .as_f64()
            .map_or_else(String::new, |v| minus(&if v.fract() == 0.0 { format!("{v}") } else { format!("{v:.2}") })),
        (_, Value::Object(named)) => named.values().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        (_, Value::Array(items)) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        (_, value) => value.as_str().unwrap_or_default().to_string(),
    }
}
