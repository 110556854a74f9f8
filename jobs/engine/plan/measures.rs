//! What a table's audits measure, in one pass over the rows about to be committed.

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float64Type;
use chrono::NaiveDate;
use datafusion::dataframe::DataFrame;
use datafusion::prelude::SessionContext;

use super::audits::{current, quoted};
use super::planner::Planner;
use super::relation::EVENT_DATE;
use crate::define::Table;
use crate::define::table::{Audit, AuditCheck, Materialized};
use crate::define::trend::Measure;
use crate::engine::session::error;
use crate::error::{Context, Result};

/// The audits that measure, in the order in which they are declared.
pub fn measured(table: &Table) -> Vec<&Audit> {
    let measures = |check: &AuditCheck| matches!(check, AuditCheck::Freshness(_) | AuditCheck::Trend(_));
    table.audits.iter().filter(|audit| measures(&audit.check)).collect()
}

/// A number per audit of [`measured`]; `None` where there are no values. Freshness is the newest instant in microseconds.
/// A trend of an incremental table is that of one day of its rows, of another table of all its current rows.
pub async fn measure(
    ctx: &SessionContext,
    table: &Table,
    rows: &DataFrame,
    day: NaiveDate,
) -> Result<Vec<Option<f64>>> {
    let audits = measured(table);
    let of_day = match table.materialized {
        Materialized::Incremental => format!("{EVENT_DATE} = date '{day}'"),
        Materialized::Full => "true".to_string(),
    };
    let columns = audits.iter().enumerate().map(|(i, audit)| format!("{} as m{i}", sql(&audit.check, &of_day)));
    let columns: Vec<String> = columns.collect();
    if columns.is_empty() {
        return Ok(Vec::new());
    }
    let mut planner = Planner::new(ctx.state());
    planner.add("this", current(rows)?);
    let plan = planner.plan(&format!("select {} from this", columns.join(", "))).map_err(error);
    let plan = plan.with_context(|| format!("the audits of {}", table.name))?;
    let batches = DataFrame::new(ctx.state(), plan).collect().await.map_err(error)?;
    let row = batches.iter().find(|batch| batch.num_rows() > 0);
    let value = |index: usize| {
        let column = row?.column(index).as_primitive::<Float64Type>();
        column.is_valid(0).then(|| column.value(0))
    };
    Ok((0..audits.len()).map(value).collect())
}

fn sql(check: &AuditCheck, of_day: &str) -> String {
    let measure = match check {
        AuditCheck::Freshness(freshness) => {
            // Nanoseconds since 1970.
            let instants = format!("cast(cast({} as timestamp) as bigint)", quoted(&freshness.column));
            return format!("cast(max({instants}) as double) / 1000");
        }
        AuditCheck::Trend(trend) => &trend.measure,
        _ => return "cast(null as double)".into(),
    };
    match measure {
        Measure::Rows => format!("cast(count(*) filter (where {of_day}) as double)"),
        Measure::NullShare(column) => format!(
            "cast(count(*) filter (where {of_day} and {} is null) as double) / nullif(count(*) filter (where {of_day}), 0)",
            quoted(column)
        ),
        Measure::Distinct(column) => {
            let value = format!("case when {of_day} then {} end", quoted(column));
            format!("cast(count(distinct {value}) as double)")
        }
        Measure::Sum(column) => format!("sum(cast({} as double)) filter (where {of_day})", quoted(column)),
        Measure::Mean(column) => format!("avg(cast({} as double)) filter (where {of_day})", quoted(column)),
    }
}
