//! Rewriting a query so that every row carries the instant from which it was known: the latest `_known_from` of what
//! it is made of.
//!
//! | node | a row's known-from |
//! |---|---|
//! | scan | its own; only versions current as of the night are seen |
//! | projection, filter, alias, unnest, union | passed on |
//! | join | the later of both sides; a side that is missing counts for nothing |
//! | semi join (`in`, `exists`) | as the inner join with the distinct keys of the other side |
//! | anti join (`not in`, `not exists`) | the row's own, as of a left join that found nothing |
//! | aggregate, distinct | the latest of the group |
//! | window | the latest of the partition, whatever the frame: later than need be, never earlier |
//!
//! Subqueries are turned into joins first. What cannot be told (`limit`, `distinct on`, recursion, `in` beside `or`)
//! is refused with a reason. A row made of nothing (`values`, an aggregate over no rows) has null here, which becomes
//! the night.
//!
//! The rewriting works on column names: an original expression means the same over the rewritten input, whose schema
//! is the original one followed by the carried columns, under names that no query uses.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DataFusionError, ScalarValue};
use datafusion::datasource::provider_as_source;
use datafusion::functions_aggregate::min_max::{max, max_udaf};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, ExprFunctionExt, Filter, LogicalPlan, LogicalPlanBuilder, Projection, SubqueryAlias,
    TableScan, Union, Unnest, Window, lit,
};

use super::day::{Day, Reach, is_day, origin_of};
use super::fault::{Fault, faults};
use super::relation::{EVENT_DATE, KNOWN_FROM, KNOWN_UNTIL};

/// Why a query cannot be rewritten.
#[derive(Debug)]
pub enum Failure {
    Refused(Fault),
    Plan(DataFusionError),
}

impl From<DataFusionError> for Failure {
    fn from(error: DataFusionError) -> Self {
        Failure::Plan(error)
    }
}

impl Failure {
    pub fn fault(self) -> Fault {
        match self {
            Failure::Refused(fault) => fault,
            Failure::Plan(error) => {
                faults(&error).into_iter().next().unwrap_or_else(|| Fault::new(error.strip_backtrace()))
            }
        }
    }
}

pub fn refuse<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Refused(Fault::new(message).help(help)))
}

/// A stored relation to bind a scan to.
pub struct Input {
    pub provider: Arc<dyn TableProvider>,
    /// Its event time, if it is partitioned by `event_date`.
    pub event_time: Option<String>,
}

/// A rewritten plan: the original columns, then those carried.
pub struct Carried {
    pub plan: LogicalPlan,
    pub known: Column,
    /// Only for incremental tables, and only for rows that have a day.
    pub day: Option<Day>,
}

pub struct Rewriter<'a> {
    pub inputs: &'a HashMap<String, Input>,
    /// Microseconds.
    pub night: i64,
    /// `None` for tables that are rebuilt as a whole.
    pub reach: Option<Reach>,
    next: usize,
}

impl<'a> Rewriter<'a> {
    pub fn new(inputs: &'a HashMap<String, Input>, night: i64, reach: Option<Reach>) -> Self {
        Rewriter { inputs, night, reach, next: 0 }
    }

    /// `wanted` is the output column that gives the table its event time, where it comes from this plan.
    pub fn rewrite(&mut self, plan: &LogicalPlan, wanted: Option<usize>) -> Result<Carried, Failure> {
        if has_subquery(plan)? {
            let help = "write a join, or `in`/`exists` alone (not beside `or`, in `case` or in the select list)";
            return refuse("a subquery here leaves open when a row became known", help);
        }
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan, wanted),
            LogicalPlan::Projection(node) => self.projection(node, wanted),
            LogicalPlan::Filter(node) => {
                let input = self.rewrite(&node.input, wanted)?;
                let plan = LogicalPlan::Filter(Filter::try_new(node.predicate.clone(), Arc::new(input.plan))?);
                Ok(Carried { plan, ..input })
            }
            LogicalPlan::SubqueryAlias(node) => self.alias(node, wanted),
            LogicalPlan::Join(node) => self.join(node, wanted),
            LogicalPlan::Aggregate(node) => self.aggregate(node, wanted),
            LogicalPlan::Distinct(Distinct::All(input)) => self.distinct(input, wanted),
            LogicalPlan::Window(node) => self.window(plan, node, wanted),
            LogicalPlan::Union(node) => self.union(plan, node, wanted),
            LogicalPlan::Unnest(node) => self.unnest(node, wanted),
            // A table has no order: sorting is left out.
            LogicalPlan::Sort(node) if node.fetch.is_none() => self.rewrite(&node.input, wanted),
            LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => {
                let columns = columns(plan);
                self.carry(plan.clone(), columns, null_instant(), None)
            }
            LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => refuse(
                "`limit` keeps rows by what other rows there are",
                "filter by row_number() over (partition by …)",
            ),
            LogicalPlan::Distinct(Distinct::On(_)) => refuse(
                "`distinct on` keeps rows by what other rows there are",
                "filter by row_number() over (partition by … order by …) = 1",
            ),
            other => refuse(
                format!("a table's query cannot contain {}", other.display()),
                "write it with joins, aggregates, windows and unions",
            ),
        }
    }

    /// Columns as given, then known-from and day under fresh names.
    pub(super) fn carry(
        &mut self,
        plan: LogicalPlan,
        mut columns: Vec<Expr>,
        known: Expr,
        day: Option<(Expr, Vec<bool>, bool)>,
    ) -> Result<Carried, Failure> {
        let known_name = self.fresh("known");
        columns.push(known.alias(&known_name));
        let day = day.map(|(expr, same, drives)| {
            let name = self.fresh("day");
            columns.push(expr.alias(&name));
            Day { column: Column::from_name(name), same, drives }
        });
        let plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?);
        Ok(Carried { plan, known: Column::from_name(known_name), day })
    }

    pub(super) fn fresh(&mut self, what: &str) -> String {
        self.next += 1;
        format!("__{what}_{}", self.next)
    }

    /// The stored rows current as of the night, on the days in reach, under the names of the original scan.
    fn scan(&mut self, scan: &TableScan, wanted: Option<usize>) -> Result<Carried, Failure> {
        let name = scan.table_name.table();
        let Some(input) = self.inputs.get(name) else {
            return Err(DataFusionError::Plan(format!("no rows were given for the input {name}")).into());
        };
        let at = |column: &str| Expr::Column(Column::new(Some(scan.table_name.clone()), column));
        let night = instant(self.night);
        let known = at(KNOWN_FROM).lt_eq(night.clone());
        let current = at(KNOWN_UNTIL).is_null().or(night.lt(at(KNOWN_UNTIL)));
        let source = provider_as_source(input.provider.clone());
        let mut rows = LogicalPlanBuilder::scan(scan.table_name.clone(), source.clone(), None)?;
        let same: Vec<bool> = scan
            .projected_schema
            .fields()
            .iter()
            .map(|f| input.event_time.as_ref() == Some(f.name()) || f.name() == EVENT_DATE)
            .collect();
        let drives = wanted.is_some_and(|i| same.get(i).copied().unwrap_or(false));
        let dated = input.event_time.is_some();
        if let Some((from, to)) = self.reach.filter(|_| dated).and_then(|reach| reach.of_input(drives)) {
            let date = |days| lit(ScalarValue::Date32(Some(days)));
            rows = rows.filter(at(EVENT_DATE).gt_eq(date(from)).and(at(EVENT_DATE).lt_eq(date(to))))?;
        }
        let plan = rows.filter(known.and(current))?.build()?;
        let stored = source.schema();
        let mut columns = Vec::new();
        for (qualifier, field) in scan.projected_schema.iter() {
            let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
            let as_declared = stored.field_with_name(field.name()).is_ok_and(|f| f.data_type() == field.data_type());
            columns.push(match as_declared {
                true => column,
                false => datafusion::logical_expr::cast(column, field.data_type().clone())
                    .alias_qualified(qualifier.cloned(), field.name()),
            });
        }
        let day = (self.reach.is_some() && dated).then(|| (at(EVENT_DATE), same, drives));
        self.carry(plan, columns, at(KNOWN_FROM), day)
    }

    fn projection(&mut self, node: &Projection, wanted: Option<usize>) -> Result<Carried, Failure> {
        let from = wanted.and_then(|i| node.expr.get(i)).and_then(|expr| origin_of(expr, &node.input));
        let input = self.rewrite(&node.input, from)?;
        let schema = node.input.schema();
        let day = input.day.map(|day| {
            let same = node.expr.iter().map(|expr| is_day(expr, schema, &day.same)).collect();
            (Expr::Column(day.column), same, day.drives)
        });
        self.carry(input.plan, node.expr.clone(), Expr::Column(input.known), day)
    }

    fn alias(&mut self, node: &SubqueryAlias, wanted: Option<usize>) -> Result<Carried, Failure> {
        let input = self.rewrite(&node.input, wanted)?;
        let requalify = |column: Column| Column::new(Some(node.alias.clone()), column.name);
        let plan = SubqueryAlias::try_new(Arc::new(input.plan), node.alias.clone())?;
        let day = input.day.map(|day| Day { column: requalify(day.column), ..day });
        Ok(Carried { plan: LogicalPlan::SubqueryAlias(plan), known: requalify(input.known), day })
    }

    fn aggregate(&mut self, node: &Aggregate, wanted: Option<usize>) -> Result<Carried, Failure> {
        let from = wanted.and_then(|i| node.group_expr.get(i)).and_then(|expr| origin_of(expr, &node.input));
        let input = self.rewrite(&node.input, from)?;
        let known = self.fresh("known");
        let mut aggregates = node.aggr_expr.clone();
        aggregates.push(max(Expr::Column(input.known)).alias(&known));
        let mut carried_day = None;
        if let Some(day) = input.day {
            let mut same: Vec<bool> =
                node.group_expr.iter().map(|expr| is_day(expr, node.input.schema(), &day.same)).collect();
            if !same.contains(&true) {
                return not_local("an aggregate over many days", "group by event_date");
            }
            same.resize(node.schema.fields().len(), false);
            let column = self.fresh("day");
            aggregates.push(max(Expr::Column(day.column)).alias(&column));
            carried_day = Some(Day { column: Column::from_name(column), same, drives: day.drives });
        }
        let plan = Aggregate::try_new(Arc::new(input.plan), node.group_expr.clone(), aggregates)?;
        Ok(Carried { plan: LogicalPlan::Aggregate(plan), known: Column::from_name(known), day: carried_day })
    }

    fn distinct(&mut self, input: &LogicalPlan, wanted: Option<usize>) -> Result<Carried, Failure> {
        let groups = columns(input);
        let known = self.fresh("known");
        let carried = self.rewrite(input, wanted)?;
        let mut aggregates = vec![max(Expr::Column(carried.known)).alias(&known)];
        let mut day = None;
        if let Some(of_input) = carried.day {
            if !of_input.same.contains(&true) {
                return not_local("`distinct` (or `union`) over rows of many days", "select event_date too");
            }
            let column = self.fresh("day");
            aggregates.push(max(Expr::Column(of_input.column)).alias(&column));
            day = Some(Day { column: Column::from_name(column), ..of_input });
        }
        let plan = Aggregate::try_new(Arc::new(carried.plan), groups, aggregates)?;
        Ok(Carried { plan: LogicalPlan::Aggregate(plan), known: Column::from_name(known), day })
    }

    fn window(&mut self, plan: &LogicalPlan, node: &Window, wanted: Option<usize>) -> Result<Carried, Failure> {
        let width = node.input.schema().fields().len();
        let input = self.rewrite(&node.input, wanted.filter(|i| *i < width))?;
        let mut partitions: Vec<Vec<Expr>> = Vec::new();
        for expr in &node.window_expr {
            expr.apply(|e| {
                if let Expr::WindowFunction(f) = e
                    && !partitions.contains(&f.params.partition_by)
                {
                    partitions.push(f.params.partition_by.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        if let Some(day) = &input.day {
            let local = |by: &Vec<Expr>| by.iter().any(|expr| is_day(expr, node.input.schema(), &day.same));
            if !partitions.iter().all(local) {
                return not_local("a window over many days", "partition by event_date too");
            }
        }
        let mut windowed = LogicalPlan::Window(Window::try_new(node.window_expr.clone(), Arc::new(input.plan))?);
        let mut known = Vec::new();
        for by in partitions {
            let name = self.fresh("known");
            let latest = Expr::from(WindowFunction::new(max_udaf(), vec![Expr::Column(input.known.clone())]));
            let latest = latest.partition_by(by).build()?.alias(&name);
            windowed = LogicalPlan::Window(Window::try_new(vec![latest], Arc::new(windowed))?);
            known.push(Expr::Column(Column::from_name(name)));
        }
        let day = input.day.map(|mut day| {
            day.same.resize(plan.schema().fields().len(), false);
            (Expr::Column(day.column), day.same, day.drives)
        });
        self.carry(windowed, columns(plan), latest_of(known), day)
    }

    fn union(&mut self, plan: &LogicalPlan, node: &Union, wanted: Option<usize>) -> Result<Carried, Failure> {
        let (known, day_name) = (self.fresh("known"), self.fresh("day"));
        let mut branches = Vec::new();
        let mut day: Option<Day> = None;
        for branch in &node.inputs {
            let carried = self.rewrite(branch, wanted)?;
            let mut exprs = columns(branch);
            exprs.push(Expr::Column(carried.known).alias(&known));
            if self.reach.is_some() {
                let Some(of_branch) = carried.day else {
                    return not_local(
                        "a union with rows that have no day",
                        "give every part of the union an event_date",
                    );
                };
                exprs.push(Expr::Column(of_branch.column).alias(&day_name));
                let same = match day.take() {
                    Some(before) => before.same.iter().zip(&of_branch.same).map(|(a, b)| *a && *b).collect(),
                    None => of_branch.same,
                };
                day = Some(Day { column: Column::from_name(&day_name), same, drives: of_branch.drives });
            }
            branches.push(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(carried.plan))?)));
        }
        let union = LogicalPlan::Union(Union::try_new(branches)?);
        debug_assert_eq!(union.schema().fields().len(), plan.schema().fields().len() + 1 + usize::from(day.is_some()));
        Ok(Carried { plan: union, known: Column::from_name(known), day })
    }

    fn unnest(&mut self, node: &Unnest, wanted: Option<usize>) -> Result<Carried, Failure> {
        let kept = |i: usize| {
            let from = *node.dependency_indices.get(i)?;
            let opened = node.list_type_columns.iter().any(|(list, _)| *list == from);
            (!opened && !node.struct_type_columns.contains(&from)).then_some(from)
        };
        let input = self.rewrite(&node.input, wanted.and_then(kept))?;
        let width = node.schema.fields().len();
        let plan = Unnest::try_new(Arc::new(input.plan), node.exec_columns.clone(), node.options.clone())?;
        let day = input.day.map(|day| Day {
            same: (0..width)
                .map(|i| kept(i).is_some_and(|from| day.same.get(from).copied().unwrap_or(false)))
                .collect(),
            ..day
        });
        Ok(Carried { plan: LogicalPlan::Unnest(plan), known: input.known, day })
    }
}

/// An incremental table's query that is not local to a date.
pub fn not_local<T>(what: &str, help: &str) -> Result<T, Failure> {
    refuse(
        format!("{what} is not local to a date, but the table is incremental"),
        format!("{help}, or say `materialized: full`"),
    )
}

/// The columns of a plan, by their full names.
pub(super) fn columns(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema().columns().into_iter().map(Expr::Column).collect()
}

/// The latest of several instants; nulls count for nothing.
pub(super) fn latest_of(mut instants: Vec<Expr>) -> Expr {
    match instants.len() {
        0 => null_instant(),
        1 => instants.remove(0),
        _ => datafusion::functions::core::expr_fn::greatest(instants),
    }
}

pub fn instant(micros: i64) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())))
}

fn null_instant() -> Expr {
    lit(ScalarValue::TimestampMicrosecond(None, Some("UTC".into())))
}

fn has_subquery(plan: &LogicalPlan) -> Result<bool, DataFusionError> {
    let mut found = false;
    plan.apply_expressions(|expr| {
        expr.apply(|e| {
            found |= matches!(
                e,
                Expr::Exists(_)
                    | Expr::InSubquery(_)
                    | Expr::ScalarSubquery(_)
                    | Expr::SetComparison(_)
                    | Expr::OuterReferenceColumn(_, _)
            );
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}
