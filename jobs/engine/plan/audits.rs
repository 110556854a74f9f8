//! A table's audits, over the rows about to be committed: one bad row and nothing is.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use datafusion::common::Column;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, TableSource};
use datafusion::prelude::SessionContext;

use super::planner::Planner;
use super::relation::{KNOWN_FROM, KNOWN_UNTIL};
use super::scalars::row_text;
use crate::define::Table;
use crate::define::diagnostic::Diagnostic;
use crate::define::table::{AuditCheck, Materialized};
use crate::define::trend::Severity;
use crate::engine::session::error;
use crate::error::{Context, Error, Result};

/// How many bad rows a failure shows.
const SAMPLES: usize = 3;

/// What an audit found.
#[derive(Debug, Clone)]
pub struct Audited {
    pub name: String,
    pub severity: Severity,
    /// Rows that broke it.
    pub bad: Option<u64>,
    /// What it measured.
    pub value: Option<f64>,
    /// What was expected, if it failed.
    pub expected: Option<String>,
    pub failure: Option<Diagnostic>,
}

/// Runs every audit that looks at rows; a failure says where the audit was written, how many rows are bad, and shows a few.
///
/// `rows` are what is about to be committed, in all versions; audits see the current ones. `others` are the relations
/// that [`Table::audited_against`] names. Beside what the table declares, its key must be unique and not null, and the event time of
/// an incremental table not null (a row without one belongs to no day).
///
/// All audits that look at one row at a time share one pass over `rows`; each of the others takes its own.
///
/// # Errors
/// Of kind `Internal` if a relation is missing; what a query fails with. Bad rows are no error here: see [`into_error`].
pub async fn run(
    ctx: &SessionContext,
    table: &Table,
    rows: DataFrame,
    others: &HashMap<String, DataFrame>,
) -> Result<Vec<Audited>> {
    let mut planner = Planner::new(ctx.state());
    for (name, frame) in others {
        planner.add(name, current(frame)?);
    }
    if let Some(missing) = table.audited_against().iter().find(|name| !others.contains_key(*name)) {
        return Err(Error::internal(format!("an audit of {} reads {missing}, which was not given", table.name)));
    }
    let this = current(&rows)?;
    planner.add(&table.name, this.clone());
    planner.add("this", this);
    let frame =
        |query: &str| -> Result<DataFrame> { Ok(DataFrame::new(ctx.state(), planner.plan(query).map_err(error)?)) };
    let checks = checks(table);
    let counts = count(&frame, &checks).await.with_context(|| format!("the audits of {}", table.name))?;
    let mut audited = Vec::new();
    for (check, counted) in checks.iter().zip(counts) {
        let doing = || format!("the audit {} of {}", check.name, table.name);
        let failure = match (&check.bad, counted) {
            (Bad::Count { min, max }, Some(rows)) => {
                let wrong = rows < *min || max.is_some_and(|max| rows > max);
                wrong.then(|| (0, format!("{rows} rows"), expected_count(*min, *max)))
            }
            (_, Some(0)) => None,
            (Bad::Where(condition), known) => {
                let query = format!("select * from this where {condition}");
                bad_rows(frame(&query).with_context(doing)?, known).await.with_context(doing)?
            }
            (Bad::Rows(query), known) => {
                bad_rows(frame(query).with_context(doing)?, known).await.with_context(doing)?
            }
            (Bad::Count { .. }, None) => None,
        };
        let bad = Some(failure.as_ref().map_or(0, |(bad, ..)| *bad));
        let value = counted.filter(|_| matches!(check.bad, Bad::Count { .. })).map(|rows| rows as f64);
        let expected = failure.as_ref().map(|(.., expected)| expected.clone());
        let failure = failure.map(|(_, found, expected)| {
            let message = format!("audit {} of {} fails", check.name, table.name);
            table.origin.at(&check.path, message).found(found).expected(expected)
        });
        audited.push(Audited { name: check.name.clone(), severity: check.severity, bad, value, expected, failure });
    }
    Ok(audited)
}

/// In one pass: how many rows there are, and how many are bad; `None` for audits that take a query of their own.
async fn count(frame: &impl Fn(&str) -> Result<DataFrame>, checks: &[Check]) -> Result<Vec<Option<u64>>> {
    let columns: Vec<Option<String>> = checks
        .iter()
        .map(|check| match &check.bad {
            Bad::Where(condition) => Some(format!("count(*) filter (where {condition})")),
            Bad::Count { .. } => Some("count(*)".into()),
            Bad::Rows(_) => None,
        })
        .collect();
    let named = |(i, column): (usize, &String)| format!("{column} as c{i}");
    let list: Vec<String> = columns.iter().flatten().enumerate().map(named).collect();
    if list.is_empty() {
        return Ok(vec![None; checks.len()]);
    }
    let query = format!("select {} from this", list.join(", "));
    let batches = frame(&query)?.collect().await.map_err(error)?;
    let mut counted = Vec::new();
    for batch in batches.iter().filter(|batch| batch.num_rows() > 0) {
        counted.extend(batch.columns().iter().map(|column| column.as_primitive::<Int64Type>().value(0) as u64));
    }
    let mut counted = counted.into_iter();
    Ok(columns.iter().map(|column| column.as_ref().and_then(|_| counted.next())).collect())
}

/// The failures as one error of kind `Data`; `None` if there are none.
pub fn into_error(table: &Table, failures: Vec<Diagnostic>) -> Option<Error> {
    if failures.is_empty() {
        return None;
    }
    let text: Vec<String> = failures.iter().map(ToString::to_string).collect();
    let nothing = format!("nothing of {} was committed", table.name);
    Some(Error::data(format!("{}\n{nothing}", text.join("\n"))))
}

struct Check {
    name: String,
    path: String,
    severity: Severity,
    bad: Bad,
}

enum Bad {
    /// A condition that is true for them.
    Where(String),
    /// A query that returns them.
    Rows(String),
    Count {
        min: u64,
        max: Option<u64>,
    },
}

/// What the table declares, and what its key and event time imply.
fn checks(table: &Table) -> Vec<Check> {
    let implied =
        |name: &str, path: &str, bad| Check { name: name.into(), path: path.into(), severity: Severity::Fail, bad };
    let mut checks = Vec::new();
    if let Some(time) = table.event_time.as_ref().filter(|_| table.materialized == Materialized::Incremental) {
        checks.push(implied("event_time is not null", "event_time", not_null(std::slice::from_ref(time))));
    }
    if !table.key.is_empty() {
        checks.push(implied("key is not null", "key", not_null(&table.key)));
        checks.push(implied("key is unique", "key", unique(&table.key)));
    }
    for audit in &table.audits {
        let bad = match &audit.check {
            AuditCheck::NotNull(columns) => not_null(columns),
            AuditCheck::Unique(columns) => unique(columns),
            AuditCheck::AcceptedValues { column, values } => accepted(column, values),
            AuditCheck::Relationships { column, to_table, to_column } => related(column, to_table, to_column),
            AuditCheck::Query(query) => Bad::Rows(query.clone()),
            AuditCheck::RowCount { min, max } => Bad::Count { min: *min, max: *max },
            // Measured by `measures`, over the table as a whole.
            AuditCheck::Freshness(_) | AuditCheck::Trend(_) => continue,
        };
        checks.push(Check { name: audit.name.clone(), path: audit.path.clone(), severity: audit.severity, bad });
    }
    checks
}

fn not_null(columns: &[String]) -> Bad {
    let null: Vec<String> = columns.iter().map(|c| format!("{} is null", quoted(c))).collect();
    Bad::Where(null.join(" or "))
}

fn unique(columns: &[String]) -> Bad {
    let columns: Vec<String> = columns.iter().map(|c| quoted(c)).collect();
    let list = columns.join(", ");
    Bad::Rows(format!("select {list}, count(*) as rows from this group by {list} having count(*) > 1"))
}

fn accepted(column: &str, values: &[String]) -> Bad {
    let column = quoted(column);
    let values: Vec<String> = values.iter().map(|v| format!("'{}'", v.replace('\'', "''"))).collect();
    Bad::Where(match values.is_empty() {
        true => format!("{column} is not null"),
        false => format!("cast({column} as varchar) not in ({})", values.join(", ")),
    })
}

fn related(column: &str, to_table: &str, to_column: &str) -> Bad {
    let (column, to_table, to_column) = (quoted(column), quoted(to_table), quoted(to_column));
    Bad::Rows(format!(
        "select this.* from this left join (select distinct {to_column} as partner from {to_table}) as there \
         on this.{column} = there.partner where there.partner is null and this.{column} is not null"
    ))
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn expected_count(min: u64, max: Option<u64>) -> String {
    match max {
        Some(max) => format!("{min} to {max} rows"),
        None => format!("at least {min} rows"),
    }
}

/// How many bad rows there are (where that is not `known`) and what some look like; `None` if there are none.
async fn bad_rows(frame: DataFrame, known: Option<u64>) -> Result<Option<(u64, String, String)>> {
    let some = frame.clone().limit(0, Some(SAMPLES)).map_err(error)?.collect().await.map_err(error)?;
    let mut samples = Vec::new();
    for batch in &some {
        let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        samples.extend((0..batch.num_rows()).map(|row| row_text(names.iter().zip(batch.columns()), row)));
    }
    if samples.is_empty() {
        return Ok(None);
    }
    let count = match known {
        Some(count) => count,
        None if samples.len() < SAMPLES => samples.len() as u64,
        None => frame.count().await.map_err(error)? as u64,
    };
    let plural = if count == 1 { "row" } else { "rows" };
    Ok(Some((count, format!("{count} bad {plural}, such as\n{}", samples.join("\n")), "none".into())))
}

/// Current versions only, without our own columns.
pub(super) fn current(frame: &DataFrame) -> Result<Arc<dyn TableSource>> {
    let column = |name: &str| Expr::Column(Column::from_name(name));
    let mut frame = frame.clone();
    if frame.schema().has_column_with_unqualified_name(KNOWN_UNTIL) {
        frame = frame.filter(column(KNOWN_UNTIL).is_null()).map_err(error)?;
    }
    let names: Vec<String> = frame.schema().fields().iter().map(|field| field.name().clone()).collect();
    let theirs = names.iter().filter(|name| *name != KNOWN_FROM && *name != KNOWN_UNTIL).map(|name| column(name));
    Ok(provider_as_source(frame.select(theirs).map_err(error)?.into_view()))
}
