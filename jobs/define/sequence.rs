//! `features/NAME.yaml` with the key `sequence`: the last K events before as_of, as aligned lists.

use serde::{Deserialize, Serialize};

use super::diagnostic::Diagnostic;
use super::features::{History, TimeUnit, Visibility};
use super::types::{Duration, OneOrMany, is_name};
use super::yaml::Origin;

#[derive(Debug, Clone, Serialize)]
pub struct Sequence {
    pub name: String,
    pub description: String,
    pub history: History,
    /// K: at most so many events, the latest.
    pub length: usize,
    pub window: Option<Duration>,
    pub fields: Vec<Field>,
    #[serde(skip)]
    pub origin: Origin,
}

/// One list column.
#[derive(Debug, Clone, Serialize)]
pub struct Field {
    pub name: String,
    pub value: FieldValue,
    #[serde(skip)]
    pub path: String,
}

#[derive(Debug, Clone, Serialize)]
pub enum FieldValue {
    /// SQL over the table's columns.
    Of(String),
    /// Time from the previous event of the list; null for its first.
    SincePrevious(TimeUnit),
    /// as_of minus event time.
    TimeSince(TimeUnit),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSequence {
    pub sequence: String,
    #[serde(default)]
    description: String,
    entity: OneOrMany,
    entities: String,
    table: String,
    event_time: Option<String>,
    #[serde(default)]
    visibility: Visibility,
    #[serde(rename = "where")]
    filter: Option<String>,
    length: usize,
    over: Option<Duration>,
    fields: Vec<FieldText>,
}

/// `amount`, or `{of: …, as: …}`, or `{fn: since_previous, as: …, unit: …}`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawField {
    of: Option<String>,
    #[serde(rename = "fn")]
    function: Option<FieldFn>,
    #[serde(rename = "as")]
    alias: Option<String>,
    unit: Option<TimeUnit>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FieldFn {
    SincePrevious,
    TimeSince,
}

#[derive(Debug)]
struct FieldText(RawField);

impl<'de> Deserialize<'de> for FieldText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> serde::de::Visitor<'de> for Visit {
            type Value = FieldText;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a column, or a map with `of` or `fn`")
            }

            fn visit_str<E>(self, column: &str) -> Result<FieldText, E> {
                Ok(FieldText(RawField { of: Some(column.to_string()), ..RawField::default() }))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<FieldText, A::Error> {
                RawField::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(FieldText)
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

impl Sequence {
    pub fn validate(raw: RawSequence, origin: &Origin, out: &mut Vec<Diagnostic>) -> Sequence {
        if raw.length == 0 || raw.length > 10_000 {
            let d = origin.at("length", "a sequence holds at least one event and at most 10000");
            out.push(d.found(raw.length.to_string()).expected("1 to 10000"));
        }
        for (key, name) in [("sequence", &raw.sequence)] {
            if !is_name(name) {
                out.push(origin.at(key, format!("`{name}` is not a name")).expected("[a-z][a-z0-9_]*"));
            }
        }
        let mut fields: Vec<Field> = Vec::new();
        for (index, FieldText(field)) in raw.fields.into_iter().enumerate() {
            let path = format!("fields.{index}");
            match validate_field(field, &path) {
                Ok(field) if fields.iter().any(|f| f.name == field.name) => {
                    out.push(origin.at(&path, format!("sequence {} has two fields `{}`", raw.sequence, field.name)));
                }
                Ok(field) => fields.push(field),
                Err(expected) => out.push(origin.at(&path, "this field is not complete").expected(expected)),
            }
        }
        Sequence {
            name: raw.sequence,
            description: raw.description,
            history: History {
                entity: raw.entity.0,
                entities: raw.entities,
                table: raw.table,
                event_time: raw.event_time,
                visibility: raw.visibility,
                filter: raw.filter,
            },
            length: raw.length,
            window: raw.over,
            fields,
            origin: origin.clone(),
        }
    }
}

fn validate_field(raw: RawField, path: &str) -> Result<Field, &'static str> {
    let unit = raw.unit.unwrap_or(TimeUnit::Days);
    let value = match (raw.of, raw.function) {
        (Some(of), None) if raw.unit.is_none() => FieldValue::Of(of),
        (None, Some(FieldFn::SincePrevious)) => FieldValue::SincePrevious(unit),
        (None, Some(FieldFn::TimeSince)) => FieldValue::TimeSince(unit),
        _ => return Err("either `of`, or `fn` (with `unit`)"),
    };
    let name = match (raw.alias, &value) {
        (Some(alias), _) if is_name(&alias) => alias,
        (None, FieldValue::Of(column)) if is_name(column) => column.clone(),
        _ => return Err("`as: <name>`"),
    };
    Ok(Field { name, value, path: path.to_string() })
}
