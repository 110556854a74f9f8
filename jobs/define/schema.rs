//! JSON Schema of every kind of file, so that editors complete and check it.
//!
//! The schemas come from the types that parse the files, with their documentation as descriptions: what a parser takes
//! and what a schema says cannot drift apart. Types that are read by hand (a duration, a name or a list of names) say
//! what they take with [`text`] and [`either`].

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::attributes::RawAttributes;
use super::diagnostic::did_you_mean;
use super::experiment::RawExperiment;
use super::features::RawGroup;
use super::model::RawModel;
use super::profile::Profile;
use super::sequence::RawSequence;
use super::source::RawSources;
use super::sql_features::RawSqlFeatures;
use super::table::RawTable;
use crate::error::{Error, Result};

/// A kind of file.
pub struct Kind {
    pub name: &'static str,
    /// Where its files lie.
    pub files: &'static str,
    pub what: &'static str,
    schema: fn() -> Value,
}

pub const KINDS: [Kind; 9] = [
    Kind {
        name: "profile",
        files: "orchestration/*.yaml",
        what: "where a project runs, and with what",
        schema: root::<Profile>,
    },
    Kind { name: "sources", files: "sql/sources.yaml", what: "raw event types", schema: root::<RawSources> },
    Kind {
        name: "table",
        files: "sql/**/NAME.yaml",
        what: "a table made by the query beside it",
        schema: root::<RawTable>,
    },
    Kind {
        name: "group",
        files: "features/*.yaml",
        what: "functions over windows of a table",
        schema: root::<RawGroup>,
    },
    Kind { name: "sequence", files: "features/*.yaml", what: "the last events, as lists", schema: root::<RawSequence> },
    Kind {
        name: "sql_features",
        files: "features/*.yaml",
        what: "features that the query beside it gives",
        schema: root::<RawSqlFeatures>,
    },
    Kind {
        name: "attributes",
        files: "features/*.yaml",
        what: "what a decision itself says",
        schema: root::<RawAttributes>,
    },
    Kind {
        name: "model",
        files: "models/*.yaml",
        what: "what learns, from what, and what it decides",
        schema: root::<RawModel>,
    },
    Kind {
        name: "experiment",
        files: "models/experiments/*.yaml",
        what: "one model, several ways",
        schema: root::<RawExperiment>,
    },
];

impl Kind {
    pub fn find(name: &str) -> Result<&'static Kind> {
        KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| {
            let names = KINDS.map(|kind| kind.name);
            let help = did_you_mean(name, names);
            Error::definition(format!(
                "there is no kind of file `{name}`\n  expected: one of {}{help}",
                names.join(", ")
            ))
        })
    }

    /// Its schema, of draft 2020-12.
    pub fn schema(&self) -> Value {
        (self.schema)()
    }
}

fn root<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}

/// A schema that is written out.
pub fn of(value: Value) -> Schema {
    Schema::try_from(value).unwrap_or_else(|_| Schema::from(true))
}

/// Either of two forms.
pub fn either(forms: [Schema; 2]) -> Schema {
    of(json!({ "anyOf": forms }))
}

/// Of these keys there is exactly one.
pub fn one_of(keys: &[&str]) -> Value {
    keys.iter().map(|key| json!({ "required": [key] })).collect()
}

/// The words of an enumeration, with what each means.
pub fn words(schema: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    let listed = |schema: &Value| -> Vec<(String, String)> {
        let one = schema.get("const").into_iter();
        let all = one.chain(schema.get("enum").and_then(Value::as_array).into_iter().flatten());
        all.map(|word| (text(word), schema.get("description").map(text).unwrap_or_default())).collect()
    };
    match schema.get("oneOf").and_then(Value::as_array) {
        Some(parts) => parts.iter().flat_map(listed).collect(),
        None => listed(schema),
    }
}

/// One of a kind, or a list of them: how a key that takes either is described.
pub struct OneOf<T>(std::marker::PhantomData<T>);

impl<T: JsonSchema> JsonSchema for OneOf<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("OneOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        either([generator.subschema_for::<T>(), generator.subschema_for::<Vec<T>>()])
    }
}

/// A category: a text, a number, or true or false.
pub struct Category;

impl JsonSchema for Category {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Category".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        of(json!({ "type": ["string", "number", "boolean"] }))
    }
}

/// A type that is read from a text by hand.
macro_rules! text {
    ($type:ty, $name:literal, $schema:expr) => {
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $crate::define::schema::of($schema)
            }
        }
    };
}
pub(crate) use text;

#[cfg(test)]
mod tests {
    use super::*;

    fn undescribed(schema: &Value, path: &str, found: &mut Vec<String>) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            let without = |(_, key): &(&String, &Value)| key.get("description").is_none();
            found.extend(properties.iter().filter(without).map(|(name, _)| format!("{path}: {name}")));
        }
        if let Some(parts) = schema.as_object() {
            parts.iter().for_each(|(name, part)| undescribed(part, &format!("{path}.{name}"), found));
        }
        schema.as_array().into_iter().flatten().for_each(|part| undescribed(part, path, found));
    }

    #[test]
    fn every_key_of_every_kind_says_what_it_is() {
        let mut found = Vec::new();
        for kind in &KINDS {
            let schema = kind.schema();
            assert!(schema["properties"].as_object().is_some_and(|keys| !keys.is_empty()), "{}", kind.name);
            undescribed(&schema, kind.name, &mut found);
        }
        assert!(found.is_empty(), "keys without a documentation comment:\n{}", found.join("\n"));
    }
}
