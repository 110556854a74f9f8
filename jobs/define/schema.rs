//! JSON Schema of every kind of file, so that editors complete and check it.
//!
//! The schemas come from the types that parse the files, with their documentation as descriptions: what a parser takes
//! and what a schema says cannot drift apart. Types that are read by hand (a duration, a name or a list of names) say
//! what they take with [`text`] and [`either`]. [`mod@reference`] writes the same for people.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

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

pub mod reference;

/// A kind of file.
pub struct Kind {
    pub name: &'static str,
    /// Where its files lie.
    pub files: &'static str,
    pub what: &'static str,
    of: Of,
}

/// What is in a file of a kind.
enum Of {
    /// One type: as a schema of its own, and as a part of another.
    Type { root: fn() -> Value, part: fn(&mut SchemaGenerator) -> Schema },
    /// That of the first of these kinds whose name it has as a key; of the last, where it has none.
    First(&'static [&'static str]),
}

/// Kinds of which each is of one type.
pub const KINDS: [Kind; 9] = [
    kind::<Profile>("profile", "orchestration/*.yaml", "where a project runs, and with what"),
    kind::<RawSources>("sources", "sql/sources.yaml", "raw event types"),
    kind::<RawTable>("table", "sql/**/NAME.yaml", "a table made by the query beside it"),
    kind::<RawGroup>("group", "features/*.yaml", "functions over windows of a table"),
    kind::<RawSequence>("sequence", "features/*.yaml", "the last events, as lists"),
    kind::<RawSqlFeatures>("sql_features", "features/*.yaml", "features that the query beside it gives"),
    kind::<RawAttributes>("attributes", "features/*.yaml", "what a decision itself says"),
    kind::<RawModel>("model", "models/*.yaml", "what learns, from what, and what it decides"),
    kind::<RawExperiment>("experiment", "models/experiments/*.yaml", "one model, several ways"),
];

/// Whole folders, the kinds in the order in which a project's parser looks for their keys.
pub const FOLDERS: [Kind; 3] = [
    Kind {
        name: "sql",
        files: "sql/**/*.yaml",
        what: "all of sql/: sources or a table",
        of: Of::First(&["sources", "table"]),
    },
    Kind {
        name: "features",
        files: "features/**/*.yaml",
        what: "all of features/: a group, a sequence, SQL features or attributes",
        of: Of::First(&["sql_features", "attributes", "sequence", "group"]),
    },
    Kind {
        name: "models",
        files: "models/**/*.yaml",
        what: "all of models/: a model or an experiment",
        of: Of::First(&["experiment", "model"]),
    },
];

const fn kind<T: JsonSchema>(name: &'static str, files: &'static str, what: &'static str) -> Kind {
    Kind { name, files, what, of: Of::Type { root: root::<T>, part: part::<T> } }
}

/// All of both.
pub fn kinds() -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().chain(&FOLDERS)
}

impl Kind {
    pub fn find(name: &str) -> Result<&'static Kind> {
        kinds().find(|kind| kind.name == name).ok_or_else(|| {
            let names: Vec<&str> = kinds().map(|kind| kind.name).collect();
            let help = did_you_mean(name, names.iter().copied());
            Error::definition(format!(
                "there is no kind of file `{name}`\n  expected: one of {}{help}",
                names.join(", ")
            ))
        })
    }

    /// Its schema, of draft 2020-12.
    pub fn schema(&self) -> Value {
        match self.of {
            Of::Type { root, .. } => root(),
            Of::First(names) => self.folder(names),
        }
    }

    /// As a part of a larger schema, whose definitions then have its own.
    fn part(&self, generator: &mut SchemaGenerator) -> Value {
        match self.of {
            Of::Type { part, .. } => part(generator).to_value(),
            Of::First(_) => Value::Bool(true),
        }
    }

    /// Chosen by `if`, so that what is wrong is said of the kind that was meant, and not of every kind there is.
    fn folder(&self, names: &[&str]) -> Value {
        let mut generator = generator();
        let mut chosen = Value::Bool(true);
        let mut keys = Map::new();
        let last = names.last();
        for kind in names.iter().rev().filter_map(|name| KINDS.iter().find(|kind| kind.name == *name)) {
            let part = kind.part(&mut generator);
            if last == Some(&kind.name) {
                chosen = part;
                continue;
            }
            chosen = json!({ "if": { "required": [kind.name] }, "then": part, "else": chosen });
            // An editor offers them in a file that is still empty.
            keys.insert(kind.name.to_string(), json!({}));
        }
        let mut schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": self.name,
            "description": self.what,
            "type": "object",
            "properties": keys,
            "$defs": generator.take_definitions(true),
        });
        if let (Some(schema), Value::Object(chosen)) = (schema.as_object_mut(), chosen) {
            schema.extend(chosen);
        }
        schema
    }
}

fn generator() -> SchemaGenerator {
    SchemaSettings::draft2020_12().into_generator()
}

fn root<T: JsonSchema>() -> Value {
    generator().into_root_schema_for::<T>().to_value()
}

fn part<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
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
    let listed = |schema: &Value, what: Option<&Value>| -> Vec<(String, String)> {
        let one = schema.get("const").into_iter();
        let all = one.chain(schema.get("enum").and_then(Value::as_array).into_iter().flatten());
        all.map(|word| (text(word), what.map(text).unwrap_or_default())).collect()
    };
    match schema.get("oneOf").and_then(Value::as_array) {
        Some(parts) => parts.iter().flat_map(|part| listed(part, part.get("description"))).collect(),
        // What is said there is said of the choice, not of its words.
        None => listed(schema, None),
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
mod tests;
