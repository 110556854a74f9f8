//! `features/NAME.sql` with its twin `NAME.yaml` (key `sql_features`): features that windows over one table cannot say.
//!
//! The query reads tables of the project, with all versions of their rows, and a relation `spine` of the (entity, as_of)
//! pairs asked for. What was known at as_of is for the query to say; `scorehouse verify` finds one that does not.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::diagnostic::Diagnostic;
use super::map::Map;
use super::personal::Class;
use super::project::find_word;
use super::sql;
use super::table::ColumnDoc;
use super::types::{OneOrMany, is_name};
use super::yaml::Origin;

/// The relation of who is asked about, and when: the entity's columns, `as_of` and `_row`.
pub const SPINE: &str = "spine";

#[derive(Debug, Clone, Serialize)]
pub struct SqlFeatures {
    pub name: String,
    pub description: String,
    /// Columns that name the entity.
    pub entity: Vec<String>,
    /// The table that says who exists.
    pub entities: String,
    /// The query, as written.
    pub sql: String,
    /// Sources and tables that the query reads, beside the spine.
    pub inputs: Vec<String>,
    /// The features: every output column but `_row`.
    pub columns: Map<ColumnDoc>,
    #[serde(skip)]
    pub origin: Origin,
    /// The file of the query.
    #[serde(skip)]
    pub sql_file: String,
}

/// Features that the query in `NAME.sql` beside it gives.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SqlFeatures")]
pub struct RawSqlFeatures {
    /// Their name, `[a-z][a-z0-9_]*`: models know the features as `NAME.FEATURE`.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9_]*$"))]
    sql_features: String,
    /// What they tell: the table's comment in the lake.
    #[serde(default)]
    description: String,
    /// The column that names whom features describe, or several.
    entity: OneOrMany,
    /// The table that says who exists.
    entities: String,
    /// Every output column but `_row`, by name.
    columns: Map<ColumnDoc>,
    /// Feature that is computed from personal data → what it is.
    #[serde(default)]
    pub pii: Map<Class>,
}

impl SqlFeatures {
    /// Joins a query and its twin. What the query gives is checked later, against its plan.
    pub fn validate(
        raw: RawSqlFeatures,
        sql_file: &str,
        text: &str,
        origin: &Origin,
        out: &mut Vec<Diagnostic>,
    ) -> Option<SqlFeatures> {
        let mut inputs = sql::inputs(sql_file, text).map_err(|diagnostic| out.push(*diagnostic)).ok()?;
        if !inputs.iter().any(|input| input == SPINE) {
            let d =
                Diagnostic::new(sql_file, (1, 1), format!("the query of {} does not read the spine", raw.sql_features));
            out.push(d.expected("from spine s …, and s._row among its columns"));
        }
        inputs.retain(|input| input != SPINE);
        if !is_name(&raw.sql_features) {
            let d = origin.at("sql_features", format!("`{}` is not a name", raw.sql_features));
            out.push(d.expected("[a-z][a-z0-9_]*"));
        }
        for (name, column) in &raw.columns {
            let path = format!("columns.{name}");
            if !is_name(name) {
                out.push(origin.at(&path, format!("`{name}` is not a name")).expected("[a-z][a-z0-9_]*"));
            } else if name == "as_of" || raw.entity.0.contains(name) {
                let d = origin.at(&path, format!("`{name}` is a column of the spine, not a feature"));
                out.push(d.help("it is there without being selected: leave it out"));
            } else if column.doc.trim().is_empty() {
                out.push(origin.at(&path, format!("feature `{name}` has no documentation")).expected("`doc`"));
            }
        }
        Some(SqlFeatures {
            name: raw.sql_features,
            description: raw.description,
            entity: raw.entity.0,
            entities: raw.entities,
            sql: text.to_string(),
            inputs,
            columns: raw.columns,
            origin: origin.clone(),
            sql_file: sql_file.to_string(),
        })
    }

    /// Where the query names a column, with a message about it.
    pub fn at(&self, column: &str, message: String) -> Diagnostic {
        let alias = find_word(&self.sql, &format!("as {column}")).map(|(line, at)| (line, at + "as ".len()));
        let named = alias.or_else(|| find_word(&self.sql, column));
        Diagnostic::new(&self.sql_file, named.unwrap_or((1, 1)), message)
    }

    /// Lake tables that it is computed from.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().map(String::as_str).chain([self.entities.as_str()])
    }
}
