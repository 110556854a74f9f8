//! Models against the schemas of the tables they name: entity, spine, label and the expressions over their rows.

use arrow::datatypes::{DataType, Schema, SchemaRef};

use super::catalog::Catalog;
use crate::define::diagnostic::Diagnostic;
use crate::define::inputs;
use crate::define::model::{Anchor, Label, Scoring, SpineKind};
use crate::define::types::timestamp;
use crate::define::types::type_name;
use crate::define::{Model, Project};

/// Says what is wrong. Tables that do not compile are passed over: their own diagnostics have said why.
pub fn check(catalog: &Catalog, project: &Project, model: &Model, out: &mut Vec<Diagnostic>) {
    let checks = Checks { catalog, project, model };
    checks.spine(out);
    checks.label(out);
    checks.practice(out);
    checks.inputs(out);
    if let Scoring::Population(table) = &model.scoring
        && let Some(schema) = catalog.relation_schema(table)
    {
        checks.columns(&schema, table, &model.entity, "entity", out);
    }
}

struct Checks<'a> {
    catalog: &'a Catalog,
    project: &'a Project,
    model: &'a Model,
}

impl Checks<'_> {
    /// The relation whose rows the spine is made of.
    fn spine_table(&self) -> &str {
        match &self.model.spine.kind {
            SpineKind::Events { table, .. } => table,
            SpineKind::Grid { population, .. } => population,
        }
    }

    fn spine(&self, out: &mut Vec<Diagnostic>) {
        let table = self.spine_table();
        let Some(schema) = self.catalog.relation_schema(table) else { return };
        self.columns(&schema, table, &self.model.entity, "entity", out);
        if let Some(filter) = &self.model.spine.filter {
            self.condition(table, filter, "spine.where", out);
        }
        if let SpineKind::Events { as_of, key, attributes, .. } = &self.model.spine.kind {
            self.columns(&schema, table, key, "spine.key", out);
            self.columns(&schema, table, attributes, "spine.attributes", out);
            self.instant(&schema, table, as_of.as_deref(), "spine.as_of", out);
        }
    }

    fn label(&self, out: &mut Vec<Diagnostic>) {
        let spine = self.spine_table();
        match &self.model.label {
            Label::Column { column, .. } => {
                let Some(schema) = self.catalog.relation_schema(spine) else { return };
                self.columns(&schema, spine, std::slice::from_ref(column), "label.column", out);
                if let Ok(field) = schema.field_with_name(column)
                    && !matches!(field.data_type(), DataType::Boolean | DataType::Int32 | DataType::Int64)
                {
                    let d = self.model.origin.at("label.column", format!("label `{column}` is neither true nor false"));
                    out.push(d.found(type_name(field.data_type())).expected("bool, or an integer of 0 and 1"));
                }
            }
            Label::Outcome { table, event_time, filter, matching, eligible, anchor, .. } => {
                anchor.iter().for_each(|anchor| self.anchor(spine, anchor, out));
                if let Some(eligible) = eligible {
                    self.condition(spine, eligible, "label.eligible", out);
                }
                let Some(schema) = self.catalog.relation_schema(table) else { return };
                self.columns(&schema, table, matching, "label.match", out);
                if matching.is_empty() {
                    self.columns(&schema, table, &self.model.entity, "entity", out);
                }
                self.instant(&schema, table, event_time.as_deref(), "label.event_time", out);
                if let Some(filter) = filter {
                    self.condition(table, filter, "label.where", out);
                }
                if let Some(spine_schema) = self.catalog.relation_schema(spine) {
                    let both = matching.iter().map(|column| (column, "label.match"));
                    for (column, path) in both.chain(self.model.entity.iter().map(|column| (column, "entity"))) {
                        self.same_type((spine, &spine_schema), (table, &schema), column, path, out);
                    }
                }
            }
        }
    }

    /// The event that the horizon starts at.
    fn anchor(&self, spine: &str, anchor: &Anchor, out: &mut Vec<Diagnostic>) {
        let table = &anchor.table;
        let Some(schema) = self.catalog.relation_schema(table) else { return };
        self.columns(&schema, table, &anchor.matching.0, "label.anchor.match", out);
        self.columns(&schema, table, &self.model.entity, "entity", out);
        self.instant(&schema, table, anchor.event_time.as_deref(), "label.anchor.event_time", out);
        if anchor.event_time.is_none() && self.project.event_time(table).is_none() {
            let d = self.model.origin.at("label.anchor.table", format!("{table} has no event time"));
            out.push(d.expected("`event_time`, a column of type timestamp"));
        }
        if let Some(filter) = &anchor.filter {
            self.condition(table, filter, "label.anchor.where", out);
        }
        if let Some(spine_schema) = self.catalog.relation_schema(spine) {
            let both = anchor.matching.0.iter().map(|column| (column, "label.anchor.match"));
            for (column, path) in both.chain(self.model.entity.iter().map(|column| (column, "entity"))) {
                self.columns(&spine_schema, spine, std::slice::from_ref(column), path, out);
                self.same_type((spine, &spine_schema), (table, &schema), column, path, out);
            }
        }
    }

    /// Expressions over the spine row: what it weighs, and whether it was accepted.
    fn practice(&self, out: &mut Vec<Diagnostic>) {
        let spine = self.spine_table();
        if let Some(weight) = &self.model.weight {
            let place = (&self.model.origin, "weight.column");
            let what = format!("over a row of {spine}");
            let found = self.catalog.check_expression(spine, &weight.column, place, &what, out);
            if let Some(found) = found.filter(|found| !found.is_numeric()) {
                let d = self.model.origin.at("weight.column", "a weight is a number");
                let found = format!("{}, which is of type {}", weight.column, type_name(&found));
                out.push(d.found(found).expected("a number of at least 0"));
            }
        }
        if let Some(reject) = &self.model.reject_inference {
            self.condition(spine, &reject.accepted, "reject_inference.accepted", out);
        }
    }

    /// A decision finds the features of its entities by columns of one type.
    fn inputs(&self, out: &mut Vec<Diagnostic>) {
        let spine = self.spine_table();
        let Some(ours) = self.catalog.relation_schema(spine) else { return };
        let inputs = inputs::resolve(self.project, self.model).unwrap_or_default();
        for input in inputs {
            let Some(group) = self.project.groups.get(&input.group) else { continue };
            let Some(theirs) = self.catalog.relation_schema(&group.history.table) else { continue };
            for column in &group.history.entity {
                self.same_type((spine, &ours), (&group.history.table, &theirs), column, "inputs", out);
            }
        }
    }

    fn columns(&self, schema: &Schema, table: &str, columns: &[String], path: &str, out: &mut Vec<Diagnostic>) {
        for column in columns.iter().filter(|column| schema.field_with_name(column).is_err()) {
            let message = format!("`{path}` of model {} names no column of {table}", self.model.name);
            let names = schema.fields().iter().map(|field| field.name().as_str());
            out.push(self.model.origin.at(path, message).expected_one_of(column, names));
        }
    }

    /// A column that must be an instant; `None` is the table's own event time.
    fn instant(&self, schema: &Schema, table: &str, column: Option<&str>, path: &str, out: &mut Vec<Diagnostic>) {
        let Some(column) = column.or_else(|| self.project.event_time(table)) else { return };
        match schema.field_with_name(column) {
            Ok(field) if *field.data_type() == timestamp() => {}
            Ok(field) => {
                let d = self.model.origin.at(path, format!("`{column}` of {table} is no instant"));
                out.push(d.found(type_name(field.data_type())).expected("timestamp"));
            }
            // The table's own event time is checked with the table.
            Err(_) if self.project.event_time(table) == Some(column) => {}
            Err(_) => self.columns(schema, table, &[column.to_string()], path, out),
        }
    }

    fn condition(&self, table: &str, text: &str, path: &str, out: &mut Vec<Diagnostic>) {
        let place = (&self.model.origin, path);
        let found = self.catalog.check_expression(table, text, place, &format!("over a row of {table}"), out);
        if let Some(data_type) = found.filter(|data_type| *data_type != DataType::Boolean) {
            let d = self.model.origin.at(path, format!("`{path}` is no condition"));
            out.push(d.found(format!("{text}, which is of type {}", type_name(&data_type))).expected("true or false"));
        }
    }

    fn same_type(
        &self,
        (spine, left): (&str, &SchemaRef),
        (table, right): (&str, &SchemaRef),
        column: &str,
        path: &str,
        out: &mut Vec<Diagnostic>,
    ) {
        let (Ok(left), Ok(right)) = (left.field_with_name(column), right.field_with_name(column)) else { return };
        if left.data_type() != right.data_type() {
            let message = format!("`{column}` of {spine} and of {table} are of different types");
            let d = self.model.origin.at(path, message);
            out.push(d.found(type_name(right.data_type())).expected(type_name(left.data_type())));
        }
    }
}
