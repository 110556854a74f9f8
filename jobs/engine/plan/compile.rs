//! Compiling a project: schemas of sources, then every table in dependency order, then models.

use arrow::datatypes::Field;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};

use super::catalog::Catalog;
use super::fault::{Fault, faults, two_columns};
use super::known;
use super::relation::{EVENT_DATE, KNOWN_FROM, KNOWN_UNTIL, Relation, normalise};
use super::{models, twin};
use crate::define::diagnostic::Diagnostic;
use crate::define::types::is_name;
use crate::define::{Project, Table};

/// Fills the catalog. A table that cannot be planned is left out, and its readers are passed over in silence.
pub fn compile(catalog: &mut Catalog, project: &Project, out: &mut Vec<Diagnostic>) {
    for (name, source) in &project.sources {
        add(catalog, name, Relation::of_source(source));
    }
    for (name, table) in &project.tables {
        if !table.inputs.iter().all(|input| catalog.relations.contains_key(input)) {
            continue;
        }
        let Some((plan, output)) = plan(catalog, table, out) else { continue };
        add(catalog, name, Relation::of_table(table, plan, output));
        twin::check(catalog, table, out);
        if let Err(fault) = known::dry_run(catalog, table) {
            out.push(fault.in_sql(&table.sql_file, &table.sql));
        }
    }
    // Audits may look at tables that come later in the order.
    for table in project.tables.values().filter(|table| catalog.relations.contains_key(&table.name)) {
        twin::check_audits(catalog, project, table, out);
    }
    for model in project.models.values() {
        models::check(catalog, project, model, out);
    }
}

fn add(catalog: &mut Catalog, name: &str, relation: Relation) {
    catalog.planner.add_schema(name, relation.schema.clone());
    catalog.relations.insert(name.to_string(), relation);
}

/// The analysed plan and the fields of its output; `None` after having said what is wrong.
fn plan(catalog: &Catalog, table: &Table, out: &mut Vec<Diagnostic>) -> Option<(LogicalPlan, Vec<Field>)> {
    let before = out.len();
    let plan = match catalog.planner.plan(&table.sql) {
        Ok(plan) => plan,
        Err(error) => {
            out.extend(faults(&error).into_iter().map(|fault| fault.in_sql(&table.sql_file, &table.sql)));
            return None;
        }
    };
    let mut say = |fault: Fault| out.push(fault.in_sql(&table.sql_file, &table.sql));
    for name in impure(&plan) {
        let fault = Fault::new(format!("`{name}()` gives another result at every run")).word(&name);
        say(fault.help("a table is a function of its inputs; take the time from an event"));
    }
    let mut fields: Vec<Field> = Vec::new();
    for field in plan.schema().fields() {
        let name = field.name();
        if fields.iter().any(|other| other.name() == name) {
            say(two_columns(name));
        } else if !is_name(name) && name != KNOWN_FROM && name != KNOWN_UNTIL {
            let fault = Fault::new(format!("an output column is called `{name}`"));
            say(fault.help("give it a name of the form [a-z][a-z0-9_]*, with `as`"));
        } else if name == KNOWN_FROM || name == KNOWN_UNTIL {
            say(Fault::new(format!("`{name}` is a column of ours")).word(name).help("leave it out: it is added"));
        }
        match normalise(field.data_type()) {
            Ok(data_type) => fields.push(Field::new(name, data_type, field.is_nullable())),
            Err(help) => {
                let fault = Fault::new(format!("column `{name}` has a type that is not stored: {}", field.data_type()));
                say(fault.word(name).help(help));
            }
        }
    }
    if fields.iter().all(|field| field.name() == EVENT_DATE) && out.len() == before {
        out.push(Fault::new("the query has no columns of its own").in_sql(&table.sql_file, &table.sql));
    }
    (out.len() == before).then_some((plan, fields))
}

/// Functions whose result depends on more than their arguments.
pub(super) fn impure(plan: &LogicalPlan) -> Vec<String> {
    let mut names = Vec::new();
    let mut look = |node: &LogicalPlan| {
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                if let Expr::ScalarFunction(f) = e
                    && f.func.signature().volatility != Volatility::Immutable
                {
                    names.push(f.func.name().to_string());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    };
    // The walk itself cannot fail: neither closure returns an error.
    let _ = plan.apply_with_subqueries(&mut look);
    names.sort();
    names.dedup();
    names
}
