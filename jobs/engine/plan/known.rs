//! A table's query bound to stored inputs, as of a night: its columns, `event_date` and `_known_from`.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::NaiveDate;
use datafusion::catalog::TableProvider;
use datafusion::catalog::empty::EmptyTable;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DataFusionError, ScalarValue};
use datafusion::dataframe::DataFrame;
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection, cast, lit};
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::{Optimizer, OptimizerContext};
use datafusion::prelude::SessionContext;

use super::catalog::Catalog;
use super::day::Reach;
use super::fault::Fault;
use super::relation::{EVENT_DATE, KNOWN_FROM};
use super::rewrite::{Failure, Input, Rewriter, instant, not_local, refuse};
use crate::define::Table;
use crate::define::table::Materialized;
use crate::engine::session;
use crate::error::{Context, Error, Result};

/// First and last day, both included.
pub type Days = (NaiveDate, NaiveDate);

/// Rows of these days, by their partition.
pub fn day_filter(from: NaiveDate, to: NaiveDate) -> Expr {
    let date = |date: NaiveDate| lit(ScalarValue::Date32(Some(date.to_epoch_days())));
    let day = Expr::Column(Column::from_name(EVENT_DATE));
    day.clone().gt_eq(date(from)).and(day.lt_eq(date(to)))
}

/// The rows of a table as of a night: its columns, `event_date` if it has an event time, and `_known_from`, the latest
/// `_known_from` of what each row is made of (design: "Time: three clocks").
///
/// `inputs` are the table's inputs with their `_known_from` and `_known_until`; the query sees the versions current as
/// of `night` (microseconds). `days` restricts an incremental table to those output days; of its dated inputs only the
/// days in reach of them (`lookback`, `lookahead`) are read, by a filter on `event_date` that reaches the provider.
/// Rows without an event time belong to no day and are kept, for the audits to refuse.
///
/// # Errors
/// Of kind `Definition` if the table did not compile, `Internal` if an input is missing.
pub fn build(
    ctx: &SessionContext,
    catalog: &Catalog,
    table: &Table,
    inputs: &HashMap<String, Arc<dyn TableProvider>>,
    night: i64,
    days: Option<Days>,
) -> Result<DataFrame> {
    let inputs = bind(catalog, inputs);
    let plan = plan(catalog, table, &inputs, night, days).map_err(|failure| match failure {
        Failure::Plan(error) => session::error(error),
        refused => {
            let diagnostic = refused.fault().in_sql(&table.sql_file, &table.sql);
            Error::definition(diagnostic.to_string())
        }
    });
    let plan = plan.with_context(|| format!("planning table {}", table.name))?;
    Ok(DataFrame::new(ctx.state(), plan))
}

/// Whether [`build`] would succeed.
pub(super) fn dry_run(catalog: &Catalog, table: &Table) -> std::result::Result<(), Fault> {
    let empty = |name: &String| {
        let schema = catalog.storage_schema(name)?;
        Some((name.clone(), Arc::new(EmptyTable::new(schema)) as Arc<dyn TableProvider>))
    };
    let inputs: HashMap<_, _> = table.inputs.iter().filter_map(empty).collect();
    plan(catalog, table, &bind(catalog, &inputs), 0, None).map(|_| ()).map_err(Failure::fault)
}

fn bind(catalog: &Catalog, inputs: &HashMap<String, Arc<dyn TableProvider>>) -> HashMap<String, Input> {
    let input = |(name, provider): (&String, &Arc<dyn TableProvider>)| {
        let event_time = catalog.relation(name).and_then(|relation| relation.event_time.clone());
        (name.clone(), Input { provider: provider.clone(), event_time })
    };
    inputs.iter().map(input).collect()
}

fn plan(
    catalog: &Catalog,
    table: &Table,
    inputs: &HashMap<String, Input>,
    night: i64,
    days: Option<Days>,
) -> std::result::Result<LogicalPlan, Failure> {
    let query = catalog.plan(table).map_err(|e| DataFusionError::Plan(e.to_string()))?;
    let query = without_subqueries(catalog, query)?;
    let time = table.event_time.as_deref();
    let time_index = time.and_then(|time| query.schema().fields().iter().position(|f| f.name() == time));
    let incremental = table.materialized == Materialized::Incremental && time_index.is_some();
    let reach = incremental.then(|| Reach {
        before: table.lookback.ceil_days() as i32,
        after: table.lookahead.ceil_days() as i32,
        days: days.map(|(from, to)| (from.to_epoch_days(), to.to_epoch_days())),
    });
    let mut rewriter = Rewriter::new(inputs, night, reach);
    let carried = rewriter.rewrite(&query, time_index)?;
    if let (Some(index), true) = (time_index, incremental) {
        match &carried.day {
            Some(day) if day.same[index] => {}
            Some(_) => {
                let help = "pass an input's event time on as it is (or group by it or by event_date)";
                return not_local(
                    &format!("the event time `{}`, which is not that of an input,", time.unwrap_or_default()),
                    help,
                );
            }
            None => return refuse("an incremental table needs an input with days", "say `materialized: full`"),
        }
    }
    finish(catalog, table, &query, carried.plan, Expr::Column(carried.known), night, days)
}

/// The table's columns in their stored types, then ours; only the days asked for.
fn finish(
    catalog: &Catalog,
    table: &Table,
    query: &LogicalPlan,
    plan: LogicalPlan,
    known: Expr,
    night: i64,
    days: Option<Days>,
) -> std::result::Result<LogicalPlan, Failure> {
    let schema = catalog.relation_schema(&table.name);
    let schema = schema.ok_or_else(|| DataFusionError::Internal(format!("no schema of {}", table.name)))?;
    let find = |name: &str| query.schema().columns().into_iter().find(|column| column.name == name).map(Expr::Column);
    let mut exprs = Vec::new();
    for field in schema.fields() {
        let ours = table.event_time.as_deref().filter(|_| field.name() == EVENT_DATE);
        let Some(column) = find(ours.unwrap_or(field.name())) else { continue };
        let is = query.schema().field_with_unqualified_name(field.name()).ok().filter(|_| ours.is_none());
        exprs.push(match is.is_some_and(|f| f.data_type() == field.data_type()) {
            true => column.alias(field.name()),
            false => cast(column, field.data_type().clone()).alias(field.name()),
        });
    }
    exprs.push(coalesce(vec![known, instant(night)]).alias(KNOWN_FROM));
    let plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?);
    let Some((from, to)) = days.filter(|_| table.event_time.is_some()) else { return Ok(plan) };
    let no_day = Expr::Column(Column::from_name(EVENT_DATE)).is_null();
    Ok(LogicalPlanBuilder::from(plan).filter(day_filter(from, to).or(no_day))?.build()?)
}

/// Subqueries in conditions as joins, which is what the rewriting understands.
pub(super) fn without_subqueries(
    catalog: &Catalog,
    plan: &LogicalPlan,
) -> std::result::Result<LogicalPlan, DataFusionError> {
    let mut found = false;
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            let subquery = |e: &Expr| matches!(e, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_));
            found |= expr.exists(|e| Ok(subquery(e)))?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    if !found {
        return Ok(plan.clone());
    }
    let mut options = catalog.planner.state().config_options().as_ref().clone();
    options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    options.optimizer.skip_failed_rules = false;
    let optimizer = Optimizer::with_rules(vec![
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
    ]);
    let config = OptimizerContext::new_with_config_options(Arc::new(options)).without_query_execution_start_time();
    optimizer.optimize(plan.clone(), &config, |_, _| {})
}
