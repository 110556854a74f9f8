//! `features/NAME.yaml` with the key `sequence`: the last K events before as_of, as aligned lists.
//!
//! The events are rows of one table, or of several, interleaved in the order in which they happened.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::diagnostic::Diagnostic;
use super::features::{History, TimeUnit, Visibility};
use super::map::Map;
use super::personal::Class;
use super::schema::either;
use super::types::{Duration, OneOrMany, is_name};
use super::yaml::Origin;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sequence {
    pub name: String,
    pub description: String,
    /// Of several tables, its `table` is the sequence's name: what their rows are together.
    pub history: History,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interleaved: Option<Interleaved>,
    /// K: at most so many events, the latest.
    pub length: usize,
    pub window: Option<Duration>,
    pub fields: Vec<Field>,
    #[serde(skip)]
    pub origin: Origin,
}

/// Several tables whose rows are one history.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Interleaved {
    /// Of equal event time, the rows of an earlier table come first.
    pub strands: Vec<Strand>,
    /// Columns that hold the type of the event.
    pub types: Vec<String>,
}

/// One of several tables.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Strand {
    pub table: String,
    /// The type of its events.
    pub kind: String,
    /// `None`: the table's own.
    pub event_time: Option<String>,
    pub filter: Option<String>,
    /// Name → SQL over the table's columns.
    pub fields: Map<String>,
}

/// One list column.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Field {
    pub name: String,
    pub value: FieldValue,
    #[serde(skip)]
    pub path: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum FieldValue {
    /// SQL over the columns of the table, or over the fields of several.
    Of(String),
    /// Time from the previous event of the list; null for its first.
    SincePrevious(TimeUnit),
    /// as_of minus event time.
    TimeSince(TimeUnit),
}

/// A sequence: the last events before as_of, as lists of equal length. Of one table (`table`), or of several, interleaved
/// in the order in which they happened (`events`).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Sequence")]
pub struct RawSequence {
    /// Its name, `[a-z][a-z0-9_]*`.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9_]*$"))]
    pub sequence: String,
    /// What it tells: the table's comment in the lake.
    #[serde(default)]
    description: String,
    /// The column that names whom it describes, or several; a column of every table.
    entity: OneOrMany,
    /// The table that says who exists.
    entities: String,
    /// The table whose rows are the events.
    table: Option<String>,
    /// In place of `table`: several. Of equal event time, the rows of an earlier one come first.
    #[serde(default)]
    events: Vec<RawStrand>,
    /// The column that says when a row happened; without it, the table's own.
    event_time: Option<String>,
    /// Which rows a decision may have seen.
    #[serde(default)]
    visibility: Visibility,
    /// SQL over the table's columns, or the fields of several: which rows count.
    #[serde(rename = "where")]
    filter: Option<String>,
    /// At most so many events, the latest.
    #[schemars(range(min = 1, max = LONGEST))]
    length: usize,
    /// Only events of the last so long; without it, all.
    over: Option<Duration>,
    /// The lists: a column, or a map with `of` or `fn`.
    fields: Vec<FieldText>,
    /// Field that is computed from personal data → what it is.
    #[serde(default)]
    pub pii: Map<Class>,
}

/// More events than this are no sequence.
const LONGEST: usize = 10_000;

/// One of several tables.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Events")]
struct RawStrand {
    /// The table.
    table: String,
    /// The type of its events; without it, the table's name.
    #[serde(rename = "as")]
    kind: Option<String>,
    /// The column that says when a row happened; without it, the table's own.
    event_time: Option<String>,
    /// SQL over this table's columns: which rows count.
    #[serde(rename = "where")]
    filter: Option<String>,
    /// Name → SQL over this table's columns.
    fields: Map<String>,
}

/// One list: `{of: …, as: …}`, or `{fn: since_previous, as: …, unit: …}`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Field")]
struct RawField {
    /// SQL over the columns of the table, or over the fields of several.
    of: Option<String>,
    /// In place of `of`: something of the event itself.
    #[serde(rename = "fn")]
    function: Option<FieldFn>,
    /// Its name; must be there where `of` is an expression.
    #[serde(rename = "as")]
    alias: Option<String>,
    /// Of functions of time: what time is counted in.
    #[schemars(extend("default" = TimeUnit::Days))]
    unit: Option<TimeUnit>,
}

/// Something of an event itself.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "FieldFunction")]
enum FieldFn {
    /// The time since the previous event of the list; null for its first.
    SincePrevious,
    /// as_of minus event time.
    TimeSince,
    /// Which of several tables it is of.
    EventType,
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

impl JsonSchema for FieldText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "FieldText".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        either([generator.subschema_for::<String>(), generator.subschema_for::<RawField>()])
    }
}

impl Sequence {
    pub fn validate(raw: RawSequence, origin: &Origin, out: &mut Vec<Diagnostic>) -> Sequence {
        if raw.length == 0 || raw.length > LONGEST {
            let d = origin.at("length", "a sequence holds at least one event and at most 10000");
            out.push(d.found(raw.length.to_string()).expected("1 to 10000"));
        }
        if !is_name(&raw.sequence) {
            out.push(origin.at("sequence", format!("`{}` is not a name", raw.sequence)).expected("[a-z][a-z0-9_]*"));
        }
        let types: Vec<String> = raw.fields.iter().filter_map(|FieldText(field)| field.event_type()).collect();
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
        let interleaved = match (&raw.table, raw.events.is_empty()) {
            (Some(_), true) if !types.is_empty() => {
                let d = origin.at("fields", "events of one table are of one type: `event_type` tells nothing");
                out.push(d.help("`events`, in place of `table`, interleaves several"));
                None
            }
            (Some(_), true) => None,
            (None, false) => {
                if raw.event_time.is_some() {
                    let d = origin.at("event_time", "several tables have an event time each");
                    out.push(d.expected("`event_time` in the entries of `events`"));
                }
                Some(interleaved(raw.events, types, &raw.entity.0, origin, out))
            }
            _ => {
                let d = origin.at("table", "a sequence is of one table, or interleaves several");
                out.push(d.expected("either `table` or `events`"));
                None
            }
        };
        Sequence {
            history: History {
                entity: raw.entity.0,
                entities: raw.entities,
                table: raw.table.unwrap_or_else(|| raw.sequence.clone()),
                event_time: raw.event_time,
                visibility: raw.visibility,
                filter: raw.filter,
            },
            name: raw.sequence,
            description: raw.description,
            interleaved,
            length: raw.length,
            window: raw.over,
            fields,
            origin: origin.clone(),
        }
    }

    /// Tables whose rows are its events.
    pub fn tables(&self) -> Vec<&str> {
        match &self.interleaved {
            Some(interleaved) => interleaved.strands.iter().map(|strand| strand.table.as_str()).collect(),
            None => vec![&self.history.table],
        }
    }
}

/// Names of types and fields must be told apart, from each other and from the entity's columns.
fn interleaved(
    raw: Vec<RawStrand>,
    types: Vec<String>,
    entity: &[String],
    origin: &Origin,
    out: &mut Vec<Diagnostic>,
) -> Interleaved {
    let mut strands: Vec<Strand> = Vec::new();
    for (index, strand) in raw.into_iter().enumerate() {
        let kind = strand.kind.unwrap_or_else(|| strand.table.clone());
        if strands.iter().any(|other| other.kind == kind) {
            let d = origin.at(&format!("events.{index}"), format!("two tables give events of type `{kind}`"));
            out.push(d.help("give one of them another with `as`"));
        }
        for name in strand.fields.keys() {
            let path = format!("events.{index}.fields.{name}");
            if !is_name(name) {
                out.push(origin.at(&path, format!("`{name}` is not a name")).expected("[a-z][a-z0-9_]*"));
            } else if types.contains(name) || entity.contains(name) {
                let what = if types.contains(name) { "the type of the event" } else { "a column of the entity" };
                out.push(origin.at(&path, format!("`{name}` is {what}")).help("call the field something else"));
            }
        }
        let (table, event_time, filter, fields) = (strand.table, strand.event_time, strand.filter, strand.fields);
        strands.push(Strand { table, kind, event_time, filter, fields });
    }
    Interleaved { strands, types }
}

impl RawField {
    /// The column's name, if it holds the type of the event.
    fn event_type(&self) -> Option<String> {
        self.alias.clone().filter(|_| matches!(self.function, Some(FieldFn::EventType)))
    }
}

fn validate_field(raw: RawField, path: &str) -> Result<Field, &'static str> {
    let unit = raw.unit.unwrap_or(TimeUnit::Days);
    let value = match (raw.of, raw.function) {
        (Some(of), None) if raw.unit.is_none() => FieldValue::Of(of),
        (None, Some(FieldFn::SincePrevious)) => FieldValue::SincePrevious(unit),
        (None, Some(FieldFn::TimeSince)) => FieldValue::TimeSince(unit),
        // A column like any other, of the rows of all tables together.
        (None, Some(FieldFn::EventType)) if raw.unit.is_none() => match &raw.alias {
            Some(name) => FieldValue::Of(name.clone()),
            None => return Err("`as: <name>`"),
        },
        _ => return Err("either `of`, or `fn` (with `unit`)"),
    };
    let name = match (raw.alias, &value) {
        (Some(alias), _) if is_name(&alias) => alias,
        (None, FieldValue::Of(column)) if is_name(column) => column.clone(),
        _ => return Err("`as: <name>`"),
    };
    Ok(Field { name, value, path: path.to_string() })
}
