//! Models against the types of their inputs, and against what their heads take.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::logical_expr::ExprSchemable;

use super::super::vectors;
use crate::define::inputs::{self, Input, glob};
use crate::define::model::{AssertCase, EncodingKind, SpineKind};
use crate::define::types::type_name;
use crate::define::{Diagnostic, Model, Project};
use crate::engine::plan::Catalog;
use crate::engine::session::Session;
use crate::error::Result;
use crate::learn::matrix::Class;
use crate::learn::params::Params;

/// What is wrong with a model, given the columns of every definition of features.
pub fn check(
    session: &Session,
    project: &Project,
    catalog: &Catalog,
    features: &[(String, SchemaRef)],
    model: &Model,
) -> Result<Vec<Diagnostic>> {
    let known = known(project, catalog, features, model);
    let schema = vectors::qualified(&Schema::new(known.clone()))?;
    let names: Vec<&str> = known.iter().map(|field| field.name().as_str()).collect();
    let mut out = Vec::new();
    let rows = Rows { session, schema: &schema, names: &names, model };
    for (name, expression) in &model.segments {
        rows.condition(&format!("segments.{name}"), &format!("segment {name}"), expression, &mut out)?;
    }
    for (name, expression) in model.fairness.iter().flat_map(|fairness| &fairness.groups) {
        rows.expression(&format!("fairness.groups.{name}"), &format!("group {name}"), expression, &mut out)?;
    }
    for (index, assert) in model.gate.asserts.iter().enumerate() {
        if let AssertCase::Rows { condition, .. } = &assert.case {
            let path = format!("gate.asserts.{index}.where");
            rows.condition(&path, &format!("assert `{}`", assert.name), condition, &mut out)?;
        }
    }
    // Patterns that name nothing have been said to.
    if let Ok(chosen) = inputs::resolve(project, model) {
        let chosen: Vec<String> = chosen.iter().map(Input::name).collect();
        let inputs = Inputs { known: &known, chosen: &chosen, model };
        inputs.encodings(&mut out);
        inputs.monotone(&mut out);
        inputs.reasons(&mut out);
    }
    parameters(model, &mut out)?;
    Ok(out)
}

/// Every column that a model's expressions may name, as `group.feature`.
fn known(project: &Project, catalog: &Catalog, features: &[(String, SchemaRef)], model: &Model) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    for (group, schema) in features {
        fields.extend(schema.fields().iter().map(|f| f.as_ref().clone().with_name(format!("{group}.{}", f.name()))));
    }
    if let SpineKind::Events { table, attributes, .. } = &model.spine.kind
        && let Some(schema) = catalog.relation_schema(table)
    {
        let known = attributes.iter().filter_map(|name| schema.field_with_name(name).ok());
        fields.extend(known.map(|f| f.clone().with_name(format!("spine.{}", f.name()))));
    }
    let inputs: Vec<String> = inputs::candidates(project, model).iter().map(Input::name).collect();
    fields.retain(|field| inputs.contains(field.name()));
    fields
}

/// Expressions over features and spine attributes.
struct Rows<'a> {
    session: &'a Session,
    schema: &'a DFSchema,
    names: &'a [&'a str],
    model: &'a Model,
}

impl Rows<'_> {
    fn condition(&self, path: &str, what: &str, text: &str, out: &mut Vec<Diagnostic>) -> Result<()> {
        if let Some(found) = self.expression(path, what, text, out)?.filter(|found| *found != DataType::Boolean) {
            let diagnostic = self.model.origin.at(path, format!("{what} is no condition"));
            out.push(diagnostic.found(found.to_string()).expected("a boolean expression"));
        }
        Ok(())
    }

    /// The type of an expression; none where it has been said to be wrong.
    fn expression(&self, path: &str, what: &str, text: &str, out: &mut Vec<Diagnostic>) -> Result<Option<DataType>> {
        match self.session.context().parse_sql_expr(text, self.schema) {
            Ok(expr) => Ok(Some(expr.get_type(self.schema)?)),
            Err(error) => {
                let message = format!("{what} cannot be read: {}", first_line(&error.strip_backtrace()));
                let known = |name: &String| self.names.contains(&name.as_str());
                let unknown = quoted_names(&message).into_iter().find(|n| n.contains('.') && !known(n));
                let diagnostic = self.model.origin.at(path, message);
                out.push(match unknown {
                    Some(unknown) => diagnostic.expected_one_of(&unknown, self.names.iter().copied()),
                    None => diagnostic.found(text),
                });
                Ok(None)
            }
        }
    }
}

/// What is said of single inputs.
struct Inputs<'a> {
    known: &'a [Field],
    chosen: &'a [String],
    model: &'a Model,
}

impl Inputs<'_> {
    /// The class of an input; none, and a diagnostic, where it is no input.
    fn class(&self, path: &str, name: &str, out: &mut Vec<Diagnostic>) -> Option<(Class, &DataType)> {
        if !self.chosen.iter().any(|chosen| chosen == name) {
            let d = self.model.origin.at(path, format!("`{name}` is no input of model {}", self.model.name));
            out.push(d.expected_one_of(name, self.chosen.iter().map(String::as_str)));
            return None;
        }
        let data_type = self.known.iter().find(|field| field.name() == name)?.data_type();
        Some((Class::of(data_type)?, data_type))
    }

    fn encodings(&self, out: &mut Vec<Diagnostic>) {
        for name in self.model.encode.features.keys() {
            let path = format!("encode.features.{name}");
            if let Some((class, data_type)) = self.class(&path, name, out)
                && class != Class::Categorical
            {
                let d = self.model.origin.at(&path, format!("`{name}` is no text, and a number as it is"));
                out.push(d.found(type_name(data_type)).expected("a feature of type string"));
            }
        }
    }

    fn monotone(&self, out: &mut Vec<Diagnostic>) {
        for name in self.model.monotone.keys() {
            let path = format!("monotone.{name}");
            let Some((class, data_type)) = self.class(&path, name, out) else { continue };
            let encode = &self.model.encode;
            let kind = encode.features.get(name).map(|encoding| encoding.kind).or(encode.default);
            let ordered = match class {
                Class::Numeric | Class::Time => true,
                Class::Categorical => kind == Some(EncodingKind::Target),
                Class::Share => false,
            };
            if !ordered {
                let d = self.model.origin.at(&path, format!("the values of `{name}` have no order"));
                let help = "the smoothed mean of labels has one: `encode: {features: {…: {kind: target}}}`";
                out.push(d.found(type_name(data_type)).expected("a number or an instant").help(help));
            }
        }
    }

    fn reasons(&self, out: &mut Vec<Diagnostic>) {
        let Some(reasons) = &self.model.reasons else { return };
        let groups = reasons.groups.iter().flat_map(|(name, reason)| {
            let path = move |index| format!("reasons.groups.{name}.inputs.{index}");
            reason.inputs.iter().enumerate().map(move |(index, pattern)| (path(index), pattern))
        });
        let protected = reasons.protected.iter().enumerate();
        let protected = protected.map(|(index, pattern)| (format!("reasons.protected.{index}"), pattern));
        for (path, pattern) in groups.chain(protected) {
            if !self.chosen.iter().any(|name| glob(pattern, name)) {
                let d = self.model.origin.at(&path, format!("`{pattern}` is no input of model {}", self.model.name));
                out.push(d.expected_one_of(pattern, self.chosen.iter().map(String::as_str)));
            }
        }
    }
}

/// The head's parameters, fixed and looked for, by the names it knows.
fn parameters(model: &Model, out: &mut Vec<Diagnostic>) -> Result<()> {
    let mut one = |path: String, name: &str, value: &serde_yaml::Value| -> Result<()> {
        let value: serde_json::Value = serde_json::to_value(value)?;
        if let Err(error) = Params::check(model.head.kind, &[(name.to_string(), value)].into()) {
            out.push(model.origin.at(&path, error.to_string()));
        }
        Ok(())
    };
    let mut given = BTreeMap::new();
    for (name, value) in &model.head.params {
        one(format!("head.params.{name}"), name, value)?;
        given.insert(name.clone(), serde_json::to_value(value)?);
    }
    for (name, range) in model.search.iter().flat_map(|search| &search.space) {
        for value in range.from.iter().chain(&range.to).chain(&range.choices) {
            one(format!("search.space.{name}"), name, value)?;
        }
    }
    // What depends on several at once; what a search adds is not known yet.
    if model.search.is_none()
        && let Ok(params) = Params::check(model.head.kind, &given)
        && let Err(error) = params.check_together()
    {
        out.push(model.origin.at("head.params", error.to_string()));
    }
    Ok(())
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_string()
}

/// What stands in an error message as a column: `payments.count`, `"payments"."count"`.
fn quoted_names(message: &str) -> Vec<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_.\"".contains(c);
    message.split(|c| !is_name(c)).map(|word| word.replace('"', "").trim_matches('.').to_string()).collect()
}
