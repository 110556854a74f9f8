//! A table's audits, over the rows about to be committed: one bad row and nothing is.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlan, TableSource, col};
use datafusion::prelude::SessionContext;

use super::catalog::Catalog;
use super::relation::{KNOWN_FROM, KNOWN_UNTIL};
use super::scalars::row_text;
use crate::define::diagnostic::Diagnostic;
use crate::define::table::{AuditCheck, Materialized};
use crate::define::{Table, sql};
use crate::error::{Context, Error, Result};

/// How many bad rows a failure shows.
const SAMPLES: usize = 3;

/// Relations beside the table itself that its audits read.
pub fn relations(table: &Table) -> Vec<String> {
    let mut names = Vec::new();
    for audit in &table.audits {
        match &audit.check {
            AuditCheck::Relationships { to_table, .. } => names.push(to_table.clone()),
            AuditCheck::Query(query) => names.extend(sql::inputs("", query).unwrap_or_default()),
            _ => {}
        }
    }
    names.retain(|name| name != "this" && *name != table.name);
    names.sort();
    names.dedup();
    names
}

/// Runs every audit; a failure says where the audit was written, how many rows are bad, and shows a few.
///
/// `rows` is what is about to be committed, materialised: every audit reads it again. `others` are the relations that
/// [`relations`] names; of all of them, and of `rows`, current versions are seen. Beside what the table declares, its
/// event time must not be null (a row without one belongs to no day) and its key must be unique and not null.
///
/// # Errors
/// Of kind `Internal` if a relation is missing or a query fails. Bad rows are no error here: see [`into_error`].
pub async fn run(
    ctx: &SessionContext,
    catalog: &Catalog,
    table: &Table,
    rows: Arc<dyn TableProvider>,
    others: &HashMap<String, Arc<dyn TableProvider>>,
) -> Result<Vec<Diagnostic>> {
    let mut sources: HashMap<String, Arc<dyn TableSource>> = HashMap::new();
    for (name, provider) in others {
        sources.insert(name.clone(), current(ctx, provider)?);
    }
    let this = current(ctx, &rows)?;
    sources.insert(table.name.clone(), this.clone());
    sources.insert("this".into(), this);
    if let Some(missing) = relations(table).iter().find(|name| !sources.contains_key(*name)) {
        return Err(Error::internal(format!("an audit of {} reads {missing}, which was not given", table.name)));
    }
    let planner = catalog.planner.over(sources);
    let frame = |query: &str| -> Result<DataFrame> {
        let plan: LogicalPlan = planner.plan(query)?;
        Ok(DataFrame::new(ctx.state(), plan))
    };
    let mut failures = Vec::new();
    for check in checks(table) {
        let doing = || format!("the audit {} of {}", check.name, table.name);
        let failure = match &check.bad {
            Bad::Rows(query) => bad_rows(frame(query).with_context(doing)?).await.with_context(doing)?,
            Bad::Count { min, max } => {
                let rows = frame("select 1 from this").with_context(doing)?.count().await? as u64;
                let too_many = max.is_some_and(|max| rows > max);
                (rows < *min || too_many).then(|| (format!("{rows} rows"), expected_count(*min, *max)))
            }
        };
        if let Some((found, expected)) = failure {
            let message = format!("audit {} of {} fails", check.name, table.name);
            failures.push(table.origin.at(&check.path, message).found(found).expected(expected));
        }
    }
    Ok(failures)
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
    bad: Bad,
}

enum Bad {
    /// A query that returns them.
    Rows(String),
    Count { min: u64, max: Option<u64> },
}

/// What the table declares, and what its key and event time imply.
fn checks(table: &Table) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut add = |name: &str, path: &str, query: String| {
        checks.push(Check { name: name.into(), path: path.into(), bad: Bad::Rows(query) });
    };
    if let Some(time) = table.event_time.as_ref().filter(|_| table.materialized == Materialized::Incremental) {
        add("event_time is not null", "event_time", not_null(std::slice::from_ref(time)));
    }
    if !table.key.is_empty() {
        add("key is not null", "key", not_null(&table.key));
        add("key is unique", "key", unique(&table.key));
    }
    for audit in &table.audits {
        let query = match &audit.check {
            AuditCheck::NotNull(columns) => not_null(columns),
            AuditCheck::Unique(columns) => unique(columns),
            AuditCheck::AcceptedValues { column, values } => accepted(column, values),
            AuditCheck::Relationships { column, to_table, to_column } => related(column, to_table, to_column),
            AuditCheck::Query(query) => query.trim().trim_end_matches(';').to_string(),
            AuditCheck::RowCount { min, max } => {
                let bad = Bad::Count { min: *min, max: *max };
                checks.push(Check { name: audit.name.clone(), path: audit.path.clone(), bad });
                continue;
            }
        };
        checks.push(Check { name: audit.name.clone(), path: audit.path.clone(), bad: Bad::Rows(query) });
    }
    checks
}

fn not_null(columns: &[String]) -> String {
    let null: Vec<String> = columns.iter().map(|c| format!("{} is null", quoted(c))).collect();
    format!("select * from this where {}", null.join(" or "))
}

fn unique(columns: &[String]) -> String {
    let columns: Vec<String> = columns.iter().map(|c| quoted(c)).collect();
    let list = columns.join(", ");
    format!("select {list}, count(*) as rows from this group by {list} having count(*) > 1")
}

fn accepted(column: &str, values: &[String]) -> String {
    let column = quoted(column);
    let values: Vec<String> = values.iter().map(|v| format!("'{}'", v.replace('\'', "''"))).collect();
    match values.is_empty() {
        true => format!("select * from this where {column} is not null"),
        false => format!("select * from this where cast({column} as varchar) not in ({})", values.join(", ")),
    }
}

fn related(column: &str, to_table: &str, to_column: &str) -> String {
    let (column, to_table, to_column) = (quoted(column), quoted(to_table), quoted(to_column));
    format!(
        "select this.* from this left join (select distinct {to_column} as partner from {to_table}) as there \
         on this.{column} = there.partner where there.partner is null and this.{column} is not null"
    )
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn expected_count(min: u64, max: Option<u64>) -> String {
    match max {
        Some(max) => format!("{min} to {max} rows"),
        None => format!("at least {min} rows"),
    }
}

/// How many bad rows there are and what some look like; `None` if there are none.
async fn bad_rows(frame: DataFrame) -> Result<Option<(String, String)>> {
    let some = frame.clone().limit(0, Some(SAMPLES))?.collect().await?;
    let mut samples = Vec::new();
    for batch in &some {
        let shown: Vec<usize> =
            (0..batch.num_columns()).filter(|i| !batch.schema().field(*i).name().starts_with('_')).collect();
        let batch = batch.project(&shown)?;
        let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        samples.extend((0..batch.num_rows()).map(|row| row_text(&names, batch.columns(), row)));
    }
    if samples.is_empty() {
        return Ok(None);
    }
    let count = if samples.len() < SAMPLES { samples.len() } else { frame.count().await? };
    let plural = if count == 1 { "row" } else { "rows" };
    Ok(Some((format!("{count} bad {plural}, such as\n{}", samples.join("\n")), "none".into())))
}

/// Current versions only, without our own columns.
fn current(ctx: &SessionContext, provider: &Arc<dyn TableProvider>) -> Result<Arc<dyn TableSource>> {
    let schema = provider.schema();
    let mut frame = ctx.read_table(provider.clone())?;
    if schema.index_of(KNOWN_UNTIL).is_ok() {
        frame = frame.filter(col(KNOWN_UNTIL).is_null())?;
    }
    let ours = [KNOWN_FROM, KNOWN_UNTIL];
    let columns: Vec<_> =
        schema.fields().iter().filter(|f| !ours.contains(&f.name().as_str())).map(|f| col(quoted(f.name()))).collect();
    Ok(provider_as_source(frame.select(columns)?.into_view()))
}
