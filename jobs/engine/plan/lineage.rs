//! Column lineage of queries and expressions: what each output column is computed from, and what decides on the rows.
//!
//! Read off the analysed plan from the scans upwards, so that aliases, stars, unions and casts are resolved by the
//! planner that will run the query. Subqueries are turned into joins first, as they are when the table is built.

use std::collections::BTreeSet;

use arrow::datatypes::Schema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DataFusionError, JoinType, plan_err};
use datafusion::logical_expr::expr::{AggregateFunctionParams, Sort, WindowFunctionParams};
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Aggregate, Distinct, DistinctOn, Expr, Join, LogicalPlan};

use super::catalog::Catalog;
use super::known::without_subqueries;
use super::relation::{EVENT_DATE, KNOWN_FROM, KNOWN_UNTIL};
use super::sql_features;
use crate::define::lineage::{Place, Through};
use crate::define::sql_features::SPINE;
use crate::define::{SqlFeatures, Table};
use crate::engine::session;
use crate::error::{Error, Result};

/// Places, and through what each is used.
pub type Uses = BTreeSet<(Through, Place)>;

/// Where a table comes from.
#[derive(Debug)]
pub struct Lineage {
    /// Per output column: what its value is computed from.
    pub columns: Vec<(String, Uses)>,
    /// What decides which rows there are.
    pub rows: Uses,
}

/// The place of a source's or table's column.
pub fn column(relation: &str, column: &str) -> Place {
    Place::column(format!("tables/{relation}"), column)
}

/// The rows of a source or table.
pub fn rows(relation: &str) -> Place {
    Place::rows(format!("tables/{relation}"))
}

impl Catalog {
    /// Of a table that compiles.
    pub fn lineage(&self, table: &Table) -> Result<Lineage> {
        let plan = without_subqueries(self, self.plan(table)?).map_err(session::error)?;
        let output = walk(&plan).map_err(session::error)?;
        let mut columns = Vec::new();
        for field in self.relation_schema(&table.name).iter().flat_map(|schema| schema.fields()) {
            let uses = match &table.event_time {
                Some(time) if field.name() == EVENT_DATE => [(Through::Value, column(&table.name, time))].into(),
                _ => output.find(&Column::new_unqualified(field.name())).cloned().unwrap_or_default(),
            };
            columns.push((field.name().clone(), uses));
        }
        Ok(Lineage { columns, rows: output.rows })
    }

    /// Of SQL-defined features that compile. The spine is whoever exists, at an instant that comes from nowhere; when
    /// versions were known is for the lake to say.
    pub fn query_lineage(&self, features: &SqlFeatures) -> Result<Lineage> {
        let spine = sql_features::spine(self, features);
        let plan = spine.and_then(|spine| sql_features::plan(self, features, &spine));
        let plan = plan.ok_or_else(|| Error::internal(format!("a table of {} has no schema", features.name)))?;
        let plan = plan.and_then(|plan| without_subqueries(self, &plan)).map_err(session::error)?;
        let output = walk(&plan).map_err(session::error)?;
        let real = |uses: &Uses| -> Uses {
            uses.iter().filter_map(|(through, place)| Some((*through, real(features, place)?))).collect()
        };
        let of = |name: &String| output.find(&Column::new_unqualified(name)).map(real).unwrap_or_default();
        let columns = features.columns.keys().map(|name| (name.clone(), of(name))).collect();
        Ok(Lineage { columns, rows: real(&output.rows) })
    }

    /// The columns that an expression over one row names; `place` says where each of them is.
    pub fn uses(&self, text: &str, schema: &Schema, place: impl Fn(&str) -> Place) -> Result<Uses> {
        let schema = DFSchema::try_from(schema.clone()).map_err(session::error)?;
        self.uses_of(text, &schema, |column| [(Through::Value, place(&column.name))].into())
    }

    /// As [`Catalog::uses`], where columns come from elsewhere themselves.
    pub fn uses_of(&self, text: &str, schema: &DFSchema, find: impl Fn(&Column) -> Uses) -> Result<Uses> {
        let expr = self.planner.state().create_logical_expr(text, schema).map_err(session::error)?;
        let mut uses = Uses::new();
        collect(&expr, Through::Value, &|column| Some(find(column)), &mut uses).map_err(session::error)?;
        Ok(uses)
    }
}

/// A place that a query reads, without what is no place: the spine's own columns, and ours.
fn real(features: &SqlFeatures, place: &Place) -> Option<Place> {
    let entities = features.entities.as_str();
    match &place.column {
        Some(name) if name == KNOWN_FROM || name == KNOWN_UNTIL => None,
        Some(name) if *place == column(SPINE, name) => features.entity.contains(name).then(|| column(entities, name)),
        None if *place == rows(SPINE) => Some(rows(entities)),
        _ => Some(place.clone()),
    }
}

/// Where the output of a plan comes from, column by column.
struct Output<'a> {
    schema: &'a DFSchema,
    columns: Vec<Uses>,
    rows: Uses,
}

impl Output<'_> {
    fn find(&self, column: &Column) -> Option<&Uses> {
        self.schema.maybe_index_of_column(column).and_then(|index| self.columns.get(index))
    }

    /// What expressions over this output are computed from, all together.
    fn uses<'e>(&self, exprs: impl IntoIterator<Item = &'e Expr>, through: Through) -> Result<Uses, DataFusionError> {
        let mut uses = Uses::new();
        for expr in exprs {
            collect(expr, through, &|column| self.find(column).cloned(), &mut uses)?;
        }
        Ok(uses)
    }

    /// One column per expression.
    fn each<'e>(&self, exprs: impl IntoIterator<Item = &'e Expr>) -> Result<Vec<Uses>, DataFusionError> {
        exprs.into_iter().map(|expr| self.uses([expr], Through::Value)).collect()
    }
}

fn walk(plan: &LogicalPlan) -> Result<Output<'_>, DataFusionError> {
    let schema = plan.schema().as_ref();
    Ok(match plan {
        LogicalPlan::TableScan(scan) => {
            let relation = scan.table_name.table();
            let value = |name: &String| Uses::from([(Through::Value, column(relation, name))]);
            let columns = schema.fields().iter().map(|field| value(field.name())).collect();
            Output { schema, columns, rows: [(Through::Rows, rows(relation))].into() }
        }
        LogicalPlan::Projection(node) => {
            let input = walk(&node.input)?;
            Output { schema, columns: input.each(&node.expr)?, rows: input.rows }
        }
        LogicalPlan::Filter(node) => {
            let mut output = walk(&node.input)?;
            output.rows.extend(output.uses([&node.predicate], Through::Filter)?);
            output
        }
        LogicalPlan::Window(node) => {
            let mut output = walk(&node.input)?;
            output.columns.extend(output.each(&node.window_expr)?);
            Output { schema, ..output }
        }
        LogicalPlan::SubqueryAlias(node) => Output { schema, ..walk(&node.input)? },
        LogicalPlan::Sort(node) if node.fetch.is_none() => walk(&node.input)?,
        LogicalPlan::Sort(node) => {
            let mut output = walk(&node.input)?;
            output.rows.extend(output.uses(node.expr.iter().map(|sort| &sort.expr), Through::Order)?);
            output
        }
        LogicalPlan::Limit(node) => walk(&node.input)?,
        LogicalPlan::Distinct(Distinct::On(node)) => first_of_each(node)?,
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let mut output = walk(input)?;
            let all = output.columns.iter().flatten();
            output.rows.extend(all.map(|(_, place)| (Through::Group, place.clone())).collect::<Uses>());
            output
        }
        LogicalPlan::Aggregate(node) => aggregate(node)?,
        LogicalPlan::Join(node) => join(node)?,
        LogicalPlan::Union(node) => {
            let mut union = Output { schema, columns: vec![Uses::new(); schema.fields().len()], rows: Uses::new() };
            for input in &node.inputs {
                let branch = walk(input)?;
                union.columns.iter_mut().zip(branch.columns).for_each(|(column, more)| column.extend(more));
                union.rows.extend(branch.rows);
            }
            union
        }
        LogicalPlan::Unnest(node) => {
            let input = walk(&node.input)?;
            let columns = node.dependency_indices.iter().map(|index| input.columns[*index].clone()).collect();
            Output { schema, columns, rows: input.rows }
        }
        LogicalPlan::Values(_) | LogicalPlan::EmptyRelation(_) => {
            Output { schema, columns: vec![Uses::new(); schema.fields().len()], rows: Uses::new() }
        }
        other => anything(other)?,
    })
}

fn first_of_each(node: &DistinctOn) -> Result<Output<'_>, DataFusionError> {
    let input = walk(&node.input)?;
    let mut rows = input.uses(&node.on_expr, Through::Group)?;
    rows.extend(input.uses(node.sort_expr.iter().flatten().map(|sort| &sort.expr), Through::Order)?);
    let columns = input.each(&node.select_expr)?;
    rows.extend(input.rows);
    Ok(Output { schema: &node.schema, columns, rows })
}

/// Whatever else there is: every column may come from all of them.
fn anything(node: &LogicalPlan) -> Result<Output<'_>, DataFusionError> {
    let (mut values, mut rows) = (Uses::new(), Uses::new());
    for input in node.inputs() {
        let input = walk(input)?;
        values.extend(input.columns.into_iter().flatten());
        rows.extend(input.rows);
    }
    let schema = node.schema().as_ref();
    Ok(Output { schema, columns: vec![values; schema.fields().len()], rows })
}

fn aggregate(node: &Aggregate) -> Result<Output<'_>, DataFusionError> {
    let input = walk(&node.input)?;
    let groups = grouping_set_to_exprlist(&node.group_expr)?;
    let mut columns = input.each(groups.iter().copied())?;
    let mut rows = input.uses(groups, Through::Group)?;
    // Grouping sets add a column that says which of them a row belongs to.
    columns.resize(node.schema.fields().len() - node.aggr_expr.len(), rows.clone());
    columns.extend(input.each(&node.aggr_expr)?);
    rows.extend(input.rows);
    Ok(Output { schema: &node.schema, columns, rows })
}

fn join(node: &Join) -> Result<Output<'_>, DataFusionError> {
    let (left, right) = (walk(&node.left)?, walk(&node.right)?);
    let mut keys = left.uses(node.on.iter().map(|(left, _)| left), Through::Join)?;
    keys.extend(right.uses(node.on.iter().map(|(_, right)| right), Through::Join)?);
    if let Some(filter) = &node.filter {
        let either = |column: &Column| left.find(column).or_else(|| right.find(column)).cloned();
        collect(filter, Through::Join, &either, &mut keys)?;
    }
    let mut columns = match node.join_type {
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => [left.columns, right.columns].concat(),
        JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left.columns,
        JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right.columns,
    };
    // The mark of a mark join, last, says whether there was a partner.
    columns.resize(node.schema.fields().len(), keys.clone());
    keys.extend(left.rows);
    keys.extend(right.rows);
    Ok(Output { schema: &node.schema, columns, rows: keys })
}

/// Adds the places that an expression's columns come from.
fn collect(
    expr: &Expr,
    through: Through,
    find: &dyn Fn(&Column) -> Option<Uses>,
    out: &mut Uses,
) -> Result<(), DataFusionError> {
    let mut all = |exprs: &mut dyn Iterator<Item = &Expr>, inner: Through| {
        for expr in exprs {
            collect(expr, through.over(inner), find, out)?;
        }
        Ok(())
    };
    match expr {
        Expr::Column(column) => {
            let Some(uses) = find(column) else { return plan_err!("no column {}", column.flat_name()) };
            out.extend(uses.into_iter().map(|(inner, place)| (through.over(inner), place)));
            Ok(())
        }
        Expr::Case(case) => {
            let (when, then): (Vec<_>, Vec<_>) = case.when_then_expr.iter().map(|(w, t)| (w, t)).unzip();
            all(&mut case.expr.iter().chain(when).map(AsRef::as_ref), Through::Condition)?;
            all(&mut then.into_iter().chain(&case.else_expr).map(AsRef::as_ref), Through::Value)
        }
        Expr::AggregateFunction(function) => {
            let AggregateFunctionParams { args, filter, order_by, .. } = &function.params;
            all(&mut args.iter(), Through::Value)?;
            all(&mut filter.iter().map(AsRef::as_ref), Through::Filter)?;
            all(&mut order_by.iter().map(|Sort { expr, .. }| expr), Through::Order)
        }
        Expr::WindowFunction(function) => {
            let WindowFunctionParams { args, partition_by, order_by, filter, .. } = &function.params;
            all(&mut args.iter(), Through::Value)?;
            all(&mut filter.iter().map(AsRef::as_ref), Through::Filter)?;
            all(&mut partition_by.iter(), Through::Group)?;
            all(&mut order_by.iter().map(|Sort { expr, .. }| expr), Through::Order)
        }
        other => {
            other.apply_children(|child| {
                collect(child, through, find, out)?;
                Ok(TreeNodeRecursion::Continue)
            })?;
            Ok(())
        }
    }
}
