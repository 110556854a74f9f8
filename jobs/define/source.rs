//! `sql/sources.yaml`: what raw event types there are, and the contract their files must keep.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, de};

use super::diagnostic::Diagnostic;
use super::expectation::{Freshness, Short, Volume};
use super::format::{self, Compression, Format, RawCsv, RawFormat};
use super::map::Map;
use super::schema::either;
use super::types::{DataType, OneOrMany, is_name, reserved};
use super::yaml::Origin;

/// What stands for `{date}` where there is none: Hive's name.
pub const NULL_DATE: &str = "__HIVE_DEFAULT_PARTITION__";

/// A raw event type, validated.
#[derive(Debug, Clone, Serialize)]
pub struct Source {
    pub name: String,
    pub description: String,
    /// Pattern below the raw root; `{date}` is the day of delivery.
    pub location: String,
    pub format: Format,
    pub columns: Map<Column>,
    /// `None`: reference data without event time.
    pub event_time: Option<String>,
    /// Identifies a row; empty if nothing does.
    pub key: Vec<String>,
    /// Total order of rows with equal event time.
    pub tie_breaker: Vec<String>,
    pub first_load: FirstLoad,
    /// Which of several rows with one key counts in a night.
    pub duplicates: Duplicates,
    /// What becomes of a load with a file that cannot be read.
    pub unreadable: Unreadable,
    /// Share of the rows read above which a run fails.
    pub max_bad_share: f64,
    pub allow_null_event_time: bool,
    /// True: that there are no files at all is no error.
    pub optional: bool,
    pub freshness: Option<Freshness>,
    pub volume: Option<Volume>,
    #[serde(skip)]
    pub origin: Origin,
}

/// A column of a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SourceColumn")]
pub struct Column {
    /// Its type.
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// Whether it may be null; where it may not, a row with a null in it goes to quarantine.
    #[serde(default)]
    pub nullable: bool,
    /// What it means: the column's comment in the lake.
    #[serde(default)]
    pub doc: Option<String>,
    /// What it is measured in, such as `PLN`; features that keep it say so.
    #[serde(default)]
    pub unit: Option<String>,
    /// Of personal data: what becomes of it.
    #[serde(default)]
    pub pii: Option<Pii>,
    /// SQL over the raw columns, computed at ingest before PII is dropped.
    #[serde(default)]
    pub derive: Option<String>,
}

/// What becomes of a column with personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pii {
    /// It stays out of the lake; `derive` sees it before.
    Drop,
    /// HMAC-SHA-256 of its text, with one stable key.
    Pseudonymise,
    /// It is kept, and whatever is computed from it has to say what it is.
    Keep,
}

/// Of rows with one key that come in one night, in the order of the files' days, their paths, and within the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Duplicates {
    /// The last one counts.
    #[default]
    Last,
    /// The first one counts.
    First,
    /// Two that differ fail the run.
    Fail,
}

/// A file that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unreadable {
    /// Fails the run, and nothing of its source is loaded.
    #[default]
    Fail,
    /// Is recorded and warned of; the other files are loaded.
    Skip,
}

/// Whether the first load of a source is history (each file's day is its night) or news of the night that loads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FirstLoad {
    /// It is history: each file's own day counts as its night.
    #[default]
    ByDay,
    /// It is news of the night that loads it.
    AtRun,
}

/// Raw event types, and the contract that their files must keep.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Sources")]
pub struct RawSources {
    /// By name, `[a-z][a-z0-9_]*`; each becomes the table `tables/NAME`.
    pub sources: Map<RawSource>,
}

/// A raw event type.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Source")]
pub struct RawSource {
    /// What a row is: the table's comment in the lake.
    #[serde(default)]
    description: String,
    /// Pattern below the raw root, such as `payment/day={date}/*.parquet`: `{date}` is the day of delivery, at most once;
    /// `*` and `**` are globs.
    #[schemars(length(min = 1))]
    location: String,
    /// The form of the files.
    #[serde(default)]
    format: RawFormat,
    /// How CSV files are written.
    csv: Option<RawCsv>,
    /// Of text files; without it, what the ending of a file's name says.
    compression: Option<Compression>,
    /// The column, a timestamp, that says when a row happened. Every source has one, or is `static`.
    event_time: Option<String>,
    /// Whether it is reference data without event time, versioned by load.
    #[serde(default, rename = "static")]
    is_static: bool,
    /// The columns that identify a row: a row that comes again with the same key is a duplicate or a correction.
    #[serde(default)]
    key: OneOrMany,
    /// The columns that order rows of equal event time; without it, those of `key`.
    tie_breaker: Option<OneOrMany>,
    /// Whether the first load is history, or news of the night that loads it.
    #[serde(default)]
    first_load: FirstLoad,
    /// Which of a night's rows with one key counts.
    #[serde(default)]
    duplicates: Duplicates,
    /// What becomes of a load with a file that cannot be read.
    #[serde(default)]
    unreadable: Unreadable,
    /// Share of the rows read that may go to quarantine; above it the run fails.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1))]
    max_bad_share: f64,
    /// Whether rows without an event time go to quarantine without counting as bad.
    #[serde(default)]
    allow_null_event_time: bool,
    /// Whether it is no error that there are no files at all.
    #[serde(default)]
    optional: bool,
    /// How old the newest event may be at the night's end: a duration, which warns, or a map of its parts.
    freshness: Option<Short<Freshness>>,
    /// How many rows the night's day must have, as a share of the usual: a number, which warns, or a map of its parts.
    volume: Option<Short<Volume>>,
    /// Every column that is read, by name: its type, or a map with the key `type`.
    columns: Map<ColumnText>,
}

/// `amount: decimal(18,2)` or `amount: {type: decimal(18,2), …}`.
#[derive(Debug)]
struct ColumnText(Column);

impl<'de> Deserialize<'de> for ColumnText {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> de::Visitor<'de> for Visit {
            type Value = ColumnText;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a type, or a map with the key `type`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ColumnText, E> {
                let data_type = DataType::try_from(text.to_string()).map_err(E::custom)?;
                Ok(ColumnText(Column { data_type, nullable: false, doc: None, unit: None, pii: None, derive: None }))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<ColumnText, A::Error> {
                Column::deserialize(de::value::MapAccessDeserializer::new(map)).map(ColumnText)
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

impl JsonSchema for ColumnText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ColumnText".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        either([generator.subschema_for::<DataType>(), generator.subschema_for::<Column>()])
    }
}

impl Source {
    /// Columns of `tables/<source>`: everything but what is dropped.
    pub fn table_columns(&self) -> impl Iterator<Item = (&String, &Column)> {
        self.columns.iter().filter(|(_, column)| column.pii != Some(Pii::Drop))
    }

    /// Columns that a raw file must have.
    pub fn raw_columns(&self) -> impl Iterator<Item = (&String, &Column)> {
        self.columns.iter().filter(|(_, column)| column.derive.is_none())
    }

    pub fn validate(name: &str, raw: RawSource, origin: &Origin, out: &mut Vec<Diagnostic>) -> Source {
        let path = format!("sources.{name}");
        let columns: Map<Column> = raw.columns.into_iter().map(|(n, c)| (n, c.0)).collect();
        let tie_breaker = raw.tie_breaker.unwrap_or_else(|| raw.key.clone());
        let format = format::validate(raw.format, raw.csv, raw.compression, (origin, &path), out);
        let source = Source {
            name: name.to_string(),
            description: raw.description,
            location: raw.location,
            format,
            columns,
            event_time: raw.event_time,
            key: raw.key.0,
            tie_breaker: tie_breaker.0,
            first_load: raw.first_load,
            duplicates: raw.duplicates,
            unreadable: raw.unreadable,
            max_bad_share: raw.max_bad_share,
            allow_null_event_time: raw.allow_null_event_time,
            optional: raw.optional,
            freshness: raw.freshness.map(|short| short.0),
            volume: raw.volume.map(|short| short.0),
            origin: origin.clone(),
        };
        source.check(&path, raw.is_static, out);
        source
    }

    fn check(&self, path: &str, is_static: bool, out: &mut Vec<Diagnostic>) {
        let origin = &self.origin;
        for name in std::iter::once(&self.name).chain(self.columns.keys()) {
            if !is_name(name) {
                let at = if *name == self.name { path.to_string() } else { format!("{path}.columns.{name}") };
                out.push(origin.at(&at, format!("`{name}` is not a name")).expected("[a-z][a-z0-9_]*"));
            }
        }
        reserved(&self.name, origin, path, out);
        for (key, names) in [("key", &self.key), ("tie_breaker", &self.tie_breaker)] {
            for name in names.iter().filter(|name| !self.columns.contains_key(*name)) {
                let d = origin.at(&format!("{path}.{key}"), format!("`{key}` of {} names no column", self.name));
                out.push(d.expected_one_of(name, self.columns.keys().map(String::as_str)));
            }
        }
        for name in ["event_date", "_known_from", "_known_until"].iter().filter(|n| self.columns.contains_key(**n)) {
            let at = format!("{path}.columns.{name}");
            out.push(origin.at(&at, format!("`{name}` is a column of ours")).help("leave it out: ingest adds it"));
        }
        match (&self.event_time, is_static) {
            (None, false) => out.push(
                origin
                    .at(path, format!("source {} has no event time", self.name))
                    .expected("`event_time` or `static: true`"),
            ),
            (Some(_), true) => {
                out.push(
                    origin
                        .at(path, format!("source {} is static and has an event time", self.name))
                        .expected("one of them"),
                );
            }
            (Some(time), false) => self.check_event_time(time, path, out),
            (None, true) => {}
        }
        self.check_location(path, out);
        self.check_expectations(path, out);
        if !(0.0..=1.0).contains(&self.max_bad_share) {
            let d = origin.at(&format!("{path}.max_bad_share"), "`max_bad_share` is not a share");
            out.push(d.found(self.max_bad_share.to_string()).expected("a number from 0 to 1"));
        }
    }

    /// Whether the location is a pattern below the raw root.
    pub fn has_location(&self) -> bool {
        let mut segments = self.location.split('/');
        let wrong = self.location.is_empty() || segments.any(|s| s.is_empty() || s == "." || s == "..");
        !wrong && self.location.matches("{date}").count() <= 1
    }

    fn check_location(&self, path: &str, out: &mut Vec<Diagnostic>) {
        if !self.has_location() {
            let d = self.origin.at(&format!("{path}.location"), "`location` is no pattern below the raw root");
            let help = "no leading `/`, no `.` or `..`, and `{date}` at most once";
            out.push(d.found(self.location.clone()).expected("such as payment/day={date}/*.parquet").help(help));
        }
    }

    fn check_expectations(&self, path: &str, out: &mut Vec<Diagnostic>) {
        let is_static = self.event_time.is_none();
        for (key, given) in [("freshness", self.freshness.is_some()), ("volume", self.volume.is_some())] {
            if given && is_static {
                let d = self.origin.at(&format!("{path}.{key}"), format!("`{key}` of a source without event time"));
                out.push(d.help("leave it out: reference data have no days"));
            }
        }
        if let Some(volume) = &self.volume {
            volume.validate((&self.origin, path), out);
        }
        if is_static && self.unreadable == Unreadable::Skip && !self.location.contains("{date}") {
            let d = self.origin.at(&format!("{path}.unreadable"), "a load of this source is complete");
            out.push(d.help("leave `unreadable: skip` out: rows of a file that is skipped would count as gone"));
        }
        if self.duplicates != Duplicates::Last && self.key.is_empty() {
            let d = self.origin.at(&format!("{path}.duplicates"), "`duplicates` of a source without `key`");
            out.push(d.expected("a `key`, which says what a duplicate is"));
        }
    }

    fn check_event_time(&self, time: &str, path: &str, out: &mut Vec<Diagnostic>) {
        let at = format!("{path}.event_time");
        match self.columns.get(time) {
            None => out.push(
                self.origin
                    .at(&at, format!("`event_time` of {} names no column", self.name))
                    .expected_one_of(time, self.columns.keys().map(String::as_str)),
            ),
            Some(column) if column.data_type != DataType::Timestamp => out.push(
                self.origin
                    .at(&at, format!("event time `{time}` is no instant"))
                    .found(column.data_type.to_string())
                    .expected("timestamp"),
            ),
            Some(_) => {}
        }
    }
}
