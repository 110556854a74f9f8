//! The types of a project: a schema for every source and table, and an analysed plan for every query.

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::logical_expr::{Expr, LogicalPlan};
use indexmap::IndexMap;
use std::fmt;

use super::compile;
use super::planner::{Planner, context};
use super::relation::Relation;
use crate::define::diagnostic::Diagnostic;
use crate::define::{Project, Table};
use crate::engine::session;
use crate::error::{Error, Result};

/// Relations by name, in dependency order. A table whose query does not plan is absent.
pub struct Catalog {
    pub(super) planner: Planner,
    pub(super) relations: IndexMap<String, Relation>,
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Catalog").field("relations", &self.relations).finish_non_exhaustive()
    }
}

impl Catalog {
    /// Plans every query against declared schemas, without data. The diagnostics are everything that is wrong with
    /// types and columns; what follows from another's failure is left out.
    pub fn compile(project: &Project) -> (Catalog, Vec<Diagnostic>) {
        let mut catalog = Catalog { planner: Planner::new(context().state()), relations: IndexMap::new() };
        let mut out = Vec::new();
        compile::compile(&mut catalog, project, &mut out);
        (catalog, out)
    }

    /// Declared or output columns and `event_date`: what queries, features and models may name.
    pub fn relation_schema(&self, name: &str) -> Option<SchemaRef> {
        self.relations.get(name).map(|relation| relation.schema.clone())
    }

    /// The schema on disk: [`Catalog::relation_schema`] with `_known_from` and `_known_until`.
    pub fn storage_schema(&self, name: &str) -> Option<SchemaRef> {
        self.relations.get(name).map(Relation::storage_schema)
    }

    pub fn relation(&self, name: &str) -> Option<&Relation> {
        self.relations.get(name)
    }

    /// An expression over a row of a relation: its plan and its type. The diagnostics carry no place; see
    /// [`Catalog::check_expression`] for those that do.
    pub fn expression(&self, relation: &str, text: &str) -> Result<(Expr, DataType)> {
        self.planner.expression(relation, text).map_err(session::error)
    }

    /// The type of an expression over a row of a relation; `None` after having said what is wrong, at `place`.
    /// A relation that failed to compile gives `None` in silence: its own diagnostics have said why.
    pub fn check_expression(
        &self,
        relation: &str,
        text: &str,
        place: (&crate::define::yaml::Origin, &str),
        what: &str,
        out: &mut Vec<Diagnostic>,
    ) -> Option<DataType> {
        self.relations.get(relation)?;
        match self.planner.expression(relation, text) {
            Ok((_, data_type)) => Some(data_type),
            Err(error) => {
                let faults = super::fault::faults(&error);
                out.extend(faults.into_iter().map(|fault| fault.in_yaml(place.0, place.1, what)));
                None
            }
        }
    }

    /// The analysed plan of a table's query.
    pub(super) fn plan(&self, table: &Table) -> Result<&LogicalPlan> {
        let plan = self.relations.get(&table.name).and_then(|relation| relation.plan.as_ref());
        plan.ok_or_else(|| Error::definition(format!("table {} has no plan: its query does not compile", table.name)))
    }
}
