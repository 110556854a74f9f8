//! SQL text → analysed logical plan, synchronously and without a registry.
//!
//! `SessionContext::sql` looks tables up in catalogs that are asynchronous and shared; here the relations in reach are
//! a plain map, so that a project of twenty tables, or a hundred `given`/`expect` cases, plan in milliseconds. Types
//! are final: the analyzer has run, so a query that type-checks here runs.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::empty::EmptyTable;
use datafusion::common::config::{ConfigOptions, Dialect};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, TableReference, plan_datafusion_err, plan_err};
use datafusion::datasource::provider_as_source;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion::logical_expr::{
    AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, LogicalPlanBuilder, ScalarUDF, TableSource, WindowUDF,
};
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::extract_equijoin_predicate::ExtractEquijoinPredicate;
use datafusion::optimizer::replace_distinct_aggregate::ReplaceDistinctWithAggregate;
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::scalar_subquery_to_join::ScalarSubqueryToJoin;
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};

use crate::engine::json;

/// A context of our dialect, for what needs no settings of its own: planning, and cases of a few rows.
pub fn context() -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(1).with_information_schema(false);
    let options = config.options_mut();
    options.sql_parser.dialect = Dialect::PostgreSQL;
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.collect_spans = true;
    options.execution.time_zone = Some("UTC".into());
    options.optimizer.max_passes = 1;
    let mut state = SessionStateBuilder::new().with_config(config).with_default_features();
    // Only what a query needs to run at all: a few rows are not worth the time of making their plan fast.
    state = state.with_optimizer_rules(vec![
        Arc::new(RewriteSetComparison::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
    ]);
    let mut state = state.build();
    if let Err(error) = json::register(&mut state) {
        // Queries that need them then say that there is no such function.
        tracing::error!(%error, "no functions for JSON");
    }
    SessionContext::new_with_state(state)
}

/// Plans queries and expressions over a map of relations.
#[derive(Clone)]
pub struct Planner {
    state: SessionState,
    sources: HashMap<String, Arc<dyn TableSource>>,
}

impl Planner {
    pub fn new(state: SessionState) -> Self {
        Planner { state, sources: HashMap::new() }
    }

    pub fn state(&self) -> &SessionState {
        &self.state
    }

    /// The same functions and options over other relations.
    pub fn over(&self, sources: HashMap<String, Arc<dyn TableSource>>) -> Self {
        Planner { state: self.state.clone(), sources }
    }

    pub fn add(&mut self, name: &str, source: Arc<dyn TableSource>) {
        self.sources.insert(name.to_string(), source);
    }

    /// A relation of which only the schema is known.
    pub fn add_schema(&mut self, name: &str, schema: SchemaRef) {
        self.add(name, provider_as_source(Arc::new(EmptyTable::new(schema))));
    }

    /// The analysed plan of one query.
    pub fn plan(&self, sql: &str) -> Result<LogicalPlan> {
        let dialect = self.state.config_options().sql_parser.dialect;
        let statement = self.state.sql_to_statement(sql, &dialect)?;
        let plan = SqlToRel::new_with_options(self, self.parser_options()).statement_to_plan(statement)?;
        self.analyse(plan)
    }

    /// An expression over one row of a relation, with its type. Aggregates, windows and subqueries are refused.
    pub fn expression(&self, relation: &str, text: &str) -> Result<(Expr, DataType)> {
        let source = self.get_table_source(TableReference::bare(relation))?;
        let scan = LogicalPlanBuilder::scan(relation, source, None)?.build()?;
        let dialect = self.state.config_options().sql_parser.dialect;
        let parsed = self.state.sql_to_expr_with_alias(text, &dialect)?;
        let expr = SqlToRel::new_with_options(self, self.parser_options()).sql_to_expr_with_alias(
            parsed,
            scan.schema(),
            &mut PlannerContext::new(),
        )?;
        over_one_row(&expr)?;
        let plan = self.analyse(LogicalPlanBuilder::from(scan).project([expr])?.build()?)?;
        match &plan {
            LogicalPlan::Projection(p) if p.expr.len() == 1 => {
                Ok((p.expr[0].clone(), plan.schema().field(0).data_type().clone()))
            }
            _ => plan_err!("`{text}` is more than one expression"),
        }
    }

    fn analyse(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        self.state.analyzer().execute_and_check(plan, self.state.config_options(), |_, _| {})
    }

    fn parser_options(&self) -> ParserOptions {
        let options = &self.state.config_options().sql_parser;
        ParserOptions {
            parse_float_as_decimal: options.parse_float_as_decimal,
            enable_ident_normalization: options.enable_ident_normalization,
            enable_options_value_normalization: options.enable_options_value_normalization,
            support_varchar_with_length: options.support_varchar_with_length,
            map_string_types_to_utf8view: options.map_string_types_to_utf8view,
            collect_spans: options.collect_spans,
            default_null_ordering: options.default_null_ordering.as_str().into(),
        }
    }
}

fn over_one_row(expr: &Expr) -> Result<()> {
    expr.apply(|e| match e {
        Expr::AggregateFunction(f) => plan_err!("`{}` aggregates, where one row is looked at", f.func.name()),
        Expr::WindowFunction(_) => plan_err!("a window function, where one row is looked at"),
        Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => {
            plan_err!("a subquery, where one row is looked at")
        }
        _ => Ok(TreeNodeRecursion::Continue),
    })?;
    Ok(())
}

impl ContextProvider for Planner {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let found = name.schema().is_none().then(|| self.sources.get(name.table())).flatten();
        found.cloned().ok_or_else(|| plan_datafusion_err!("there is no table `{name}`"))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        None
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.state.scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
