//! The `why` job: where a feature's value comes from, row by row.
//!
//! The value is the operator's, or the query's. Which rows of a table count, and why the others do not, is the naive
//! evaluator's word, which tests hold to be the same. What a query makes of its rows only the query can say; of it, as
//! of a row that a decision looks up, the rows are shown that could be seen.

mod decision;
mod evidence;
mod group;
mod query;

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::DataFrame;
use serde::Serialize;

use super::instants;
use super::job::{Job, instant, quoted};
use super::rotation;
use crate::define::map::Map;
use crate::define::{Diagnostic, Project};
use crate::engine::pit;
use crate::engine::session::Session;
use crate::error::{Error, Result};
pub use evidence::{Evidence, Line};

/// A feature's value, and what it is made of.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// `group.feature`
    pub feature: String,
    pub doc: String,
    pub entity: Map<String>,
    pub as_of: String,
    /// As text; `None` is null.
    pub value: Option<String>,
    #[serde(flatten)]
    pub because: Because,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    Evidence(Evidence),
    /// An expression over columns; `lookups` are the rows among which those that are looked up were found.
    Derived {
        expression: String,
        inputs: Vec<Input>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        lookups: Vec<Evidence>,
    },
    /// A query, with the rows about the entity that it could see, and tables that have none of those.
    Query {
        file: String,
        tables: Vec<Evidence>,
        others: Vec<String>,
    },
}

/// A column that a derived one is computed from.
#[derive(Debug, Serialize)]
pub struct Input {
    pub name: String,
    pub value: Option<String>,
    pub doc: String,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// `group.feature`
    pub name: &'a str,
    /// A value per key column, or all of them in one, with commas.
    pub entity: &'a [String],
    /// Microseconds; `None`: the end of the night, or the decision's own instant.
    pub as_of: Option<i64>,
    /// Rows shown of each kind.
    pub limit: usize,
}

/// Explains a feature of an entity at an instant, with what the night knew.
///
/// # Errors
/// Definition: an unknown feature, an entity of other keys, an instant after the night.
pub async fn run(job: &Job, question: Question<'_>) -> Result<Answer> {
    rotation::refuse(&job.lake).await?;
    if let Some(asked) = question.as_of.filter(|asked| *asked > job.as_of()) {
        let (asked, night) = (instants::text(asked), instants::text(job.as_of()));
        let help = "give a later --date: what is known later is not known tonight";
        return Err(Error::definition(format!("{asked} lies after the night, which ends at {night}\n  help: {help}")));
    }
    let Some((name, feature)) = question.name.split_once('.') else {
        return Err(Error::definition(format!("`{}` names no feature\n  expected: GROUP.FEATURE", question.name)));
    };
    let project = &job.project;
    if let Some(found) = project.groups.get(name) {
        group::explain(job, question, found, feature).await
    } else if let Some(found) = project.sql_features.get(name) {
        query::explain(job, question, found, feature).await
    } else if let Some(found) = project.attributes.get(name) {
        decision::explain(job, question, found, feature).await
    } else {
        Err(nothing(project, question.name, name))
    }
}

fn nothing(project: &Project, asked: &str, name: &str) -> Error {
    if let Some(sequence) = project.sequences.get(name) {
        let key = sequence.history.entity.first().map_or("", String::as_str);
        let help = format!("scorehouse query \"select * from sequences.{name} where {key} = '…'\" shows its events");
        return Error::definition(format!("{name} is a sequence, and why explains features\n  help: {help}"));
    }
    let names = project.groups.keys().chain(project.sql_features.keys()).chain(project.attributes.keys());
    unknown(asked, format!("there are no features called `{name}`"), name, names.map(String::as_str))
}

/// Nothing is called that; the names that there are.
fn unknown<'a>(asked: &str, message: String, found: &str, names: impl Iterator<Item = &'a str>) -> Error {
    Error::definition(Diagnostic::new(asked, (0, 0), message).expected_one_of(found, names).to_string())
}

/// Key columns with their values.
pub(super) type Keys = Vec<(String, ScalarValue)>;

/// The entity's key columns with the given values, in the table's types.
pub(super) fn keys(table: &DataFrame, entity: &[String], values: &[String]) -> Result<Keys> {
    let values: Vec<&str> = match values {
        [together] if entity.len() > 1 => together.split(',').map(str::trim).collect(),
        values => values.iter().map(String::as_str).collect(),
    };
    if values.len() != entity.len() {
        let (given, keys) = (values.len(), entity.join(", "));
        return Err(Error::definition(format!("{given} values for the entity\n  expected: --entity with {keys}")));
    }
    let mut keys = Vec::new();
    for (name, value) in entity.iter().zip(values) {
        let data_type = table.schema().field_with_unqualified_name(name)?.data_type().clone();
        let key = ScalarValue::Utf8(Some(value.to_string())).cast_to(&data_type).ok().filter(|key| !key.is_null());
        let wrong = || Error::definition(format!("`{value}` is no {name}\n  expected: {data_type}"));
        keys.push((name.clone(), key.ok_or_else(wrong)?));
    }
    Ok(keys)
}

/// The rows of a table about these keys.
pub(super) fn about(table: DataFrame, keys: &Keys) -> Result<DataFrame> {
    let condition = keys.iter().map(|(name, value)| Expr::from(quoted(name)).eq(lit(value.clone())));
    Ok(table.filter(condition.reduce(Expr::and).unwrap_or(lit(true)))?)
}

/// A spine of one row.
fn spine(session: &Session, keys: &Keys, as_of: i64) -> Result<DataFrame> {
    let mut spine: Vec<Expr> = keys.iter().map(|(name, value)| lit(value.clone()).alias(name)).collect();
    spine.extend([instant(as_of).alias(pit::AS_OF), lit(0_i64).alias(pit::ROW)]);
    Ok(session.context().read_empty()?.select(spine)?)
}

pub(super) fn named(keys: &Keys) -> Result<Map<String>> {
    let mut entity = Map::default();
    for (name, value) in keys {
        entity.insert(name.clone(), text(value)?.unwrap_or_default());
    }
    Ok(entity)
}

fn value(one: &RecordBatch, column: &str) -> Result<Option<String>> {
    let array = one.column_by_name(column).ok_or_else(|| Error::internal(format!("no column {column}")))?;
    text(&ScalarValue::try_from_array(array, 0)?)
}

fn text(value: &ScalarValue) -> Result<Option<String>> {
    if value.is_null() {
        return Ok(None);
    }
    Ok(Some(array_value_to_string(&value.to_array()?, 0)?))
}
