//! `features/NAME.yaml` with the key `attributes`: features over what a decision itself says.
//!
//! An application knows its amount, its currency and its first due date before anything has happened. Such features
//! have no window and no history: each is an expression over the row of the spine, its as_of, and rows of other tables
//! looked up as of that instant.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::diagnostic::Diagnostic;
use super::features::Derived;
use super::map::Map;
use super::personal::Class;
use super::schema::either;
use super::sql_features::SPINE;
use super::types::{OneOrMany, is_name};
use super::yaml::Origin;

#[derive(Debug, Clone, Serialize)]
pub struct Attributes {
    pub name: String,
    pub description: String,
    /// The table whose rows are the decisions. A model reads these features if it is the model's spine.
    pub spine: String,
    /// By the name that expressions know them by.
    pub lookups: Map<Lookup>,
    pub features: Vec<Derived>,
    #[serde(skip)]
    pub origin: Origin,
}

/// The latest row of a table that was known at as_of, by columns of the decision.
#[derive(Debug, Clone, Serialize)]
pub struct Lookup {
    pub table: String,
    /// Column of the table, column of the spine.
    pub on: Vec<(String, String)>,
    /// `None`: the table's own; of a table without one, whatever version was known.
    pub event_time: Option<String>,
}

/// Attributes: features of what a decision itself says.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Attributes")]
pub struct RawAttributes {
    /// Their name, `[a-z][a-z0-9_]*`: models know the features as `NAME.FEATURE`.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9_]*$"))]
    attributes: String,
    /// What they tell.
    #[serde(default)]
    description: String,
    /// The table whose rows are the decisions.
    spine: String,
    /// Rows of other tables as of the decision, by the name that expressions know them by.
    #[serde(default)]
    lookups: Map<RawLookup>,
    /// Name → SQL over the spine's columns, `as_of`, and columns of lookups as `LOOKUP.COLUMN`.
    #[schemars(extend("minProperties" = 1))]
    features: Map<String>,
    /// Feature → its documentation; others are documented from their definition.
    #[serde(default)]
    docs: Map<String>,
    /// Feature that is computed from personal data → what it is.
    #[serde(default)]
    pub pii: Map<Class>,
}

/// The latest row of a table that was known at as_of, by columns of the decision.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Lookup")]
struct RawLookup {
    /// The table.
    table: String,
    /// By what a row is found: a column of both, several, or a map from columns of the table to columns of the spine.
    on: On,
    /// The column that says when a row happened; without it, the table's own.
    event_time: Option<String>,
}

/// `on: currency`, `on: [bank, card_type]`, or `on: {code: bank}` where the table calls a column something else.
#[derive(Debug)]
struct On(Vec<(String, String)>);

impl<'de> Deserialize<'de> for On {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Columns;
        impl<'de> serde::de::Visitor<'de> for Columns {
            type Value = On;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a column, a list of columns, or a map from columns of the table to columns of the spine")
            }

            fn visit_str<E>(self, column: &str) -> Result<On, E> {
                Ok(On(vec![(column.to_string(), column.to_string())]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<On, A::Error> {
                let mut columns = Vec::new();
                while let Some(column) = seq.next_element::<String>()? {
                    columns.push((column.clone(), column));
                }
                Ok(On(columns))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<On, A::Error> {
                let mut columns = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    columns.push(pair);
                }
                Ok(On(columns))
            }
        }
        deserializer.deserialize_any(Columns)
    }
}

impl JsonSchema for On {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "On".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        either([generator.subschema_for::<OneOrMany>(), generator.subschema_for::<Map<String>>()])
    }
}

impl Attributes {
    pub fn validate(raw: RawAttributes, origin: &Origin, out: &mut Vec<Diagnostic>) -> Attributes {
        let mut name = |path: &str, name: &str| {
            if !is_name(name) {
                out.push(origin.at(path, format!("`{name}` is not a name")).expected("[a-z][a-z0-9_]*"));
            }
        };
        name("attributes", &raw.attributes);
        raw.lookups.keys().for_each(|alias| name(&format!("lookups.{alias}"), alias));
        raw.features.keys().for_each(|feature| name(&format!("features.{feature}"), feature));
        for (alias, lookup) in &raw.lookups {
            let path = format!("lookups.{alias}");
            if alias == SPINE {
                out.push(origin.at(&path, "`spine` is the decision itself").help("give the lookup another name"));
            }
            if lookup.on.0.is_empty() {
                out.push(origin.at(&path, "a lookup by nothing").expected("`on`: the columns that a row is found by"));
            }
        }
        for feature in raw.docs.keys().filter(|feature| !raw.features.contains_key(*feature)) {
            let d = origin.at(&format!("docs.{feature}"), format!("{} has no feature `{feature}`", raw.attributes));
            out.push(d.expected_one_of(feature, raw.features.keys().map(String::as_str)));
        }
        if raw.features.is_empty() {
            out.push(origin.at("features", format!("{} has no features", raw.attributes)).expected("at least one"));
        }
        let mut docs = raw.docs;
        let feature = |(name, expression): (String, String)| Derived {
            doc: docs.shift_remove(&name).unwrap_or_else(|| format!("= {expression}")),
            path: format!("features.{name}"),
            name,
            expression,
        };
        let features = raw.features.into_iter().map(feature).collect();
        let lookup = |(alias, raw): (String, RawLookup)| {
            (alias, Lookup { table: raw.table, on: raw.on.0, event_time: raw.event_time })
        };
        Attributes {
            name: raw.attributes,
            description: raw.description,
            spine: raw.spine,
            lookups: raw.lookups.into_iter().map(lookup).collect(),
            features,
            origin: origin.clone(),
        }
    }

    /// Tables that rows are looked up in.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        self.lookups.values().map(|lookup| lookup.table.as_str())
    }
}
