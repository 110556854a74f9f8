//! In what form raw files come: Parquet, Avro, CSV or JSON lines, and how text is compressed.
//!
//! Parquet and Avro say what they hold, and compress inside; text says nothing, so its options are declared.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::diagnostic::Diagnostic;
use super::types::OneOrMany;
use super::yaml::Origin;

/// The form of a source's files, validated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Parquet,
    Avro,
    Csv {
        csv: Csv,
        compression: Option<Compression>,
    },
    /// One JSON object per line.
    Ndjson {
        compression: Option<Compression>,
    },
}

impl Format {
    /// As people write it.
    pub fn name(&self) -> &'static str {
        match self {
            Format::Parquet => "Parquet",
            Format::Avro => "Avro",
            Format::Csv { .. } => "CSV",
            Format::Ndjson { .. } => "NDJSON",
        }
    }

    /// Text has no types: every value is what its text says.
    pub fn is_text(&self) -> bool {
        matches!(self, Format::Csv { .. } | Format::Ndjson { .. })
    }

    /// Texts that stand for no value.
    pub fn nulls(&self) -> &[String] {
        match self {
            Format::Csv { csv, .. } => &csv.nulls,
            _ => &[],
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Csv {
    /// The first line names the columns; without it they come in the order of their declaration.
    pub header: bool,
    pub delimiter: u8,
    pub quote: u8,
    pub nulls: Vec<String>,
}

/// How text files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    None,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

impl Compression {
    /// What the ending of a file's name says.
    pub fn of(path: &str) -> Compression {
        match path.rsplit_once('.').map(|(_, ending)| ending) {
            Some("gz") => Compression::Gzip,
            Some("bz2") => Compression::Bzip2,
            Some("xz") => Compression::Xz,
            Some("zst") => Compression::Zstd,
            _ => Compression::None,
        }
    }
}

/// The form of a source's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Format")]
pub enum RawFormat {
    /// Apache Parquet.
    #[default]
    Parquet,
    /// Files of Avro objects, the schema in front.
    Avro,
    /// Lines of fields with a delimiter between them.
    Csv,
    /// One JSON object per line.
    Ndjson,
}

/// How CSV files are written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Csv")]
pub struct RawCsv {
    /// Whether the first line names the columns; without it they come in the order of their declaration.
    #[serde(default = "yes")]
    header: bool,
    /// The ASCII character between fields.
    #[serde(default = "comma")]
    #[schemars(length(min = 1, max = 1))]
    delimiter: String,
    /// The ASCII character around fields that hold a delimiter.
    #[serde(default = "quote")]
    #[schemars(length(min = 1, max = 1))]
    quote: String,
    /// The texts that mean null.
    #[schemars(extend("default" = [""]))]
    nulls: Option<OneOrMany>,
}

fn yes() -> bool {
    true
}

fn comma() -> String {
    ",".into()
}

fn quote() -> String {
    "\"".into()
}

/// The three keys of a source as one form.
pub fn validate(
    format: RawFormat,
    csv: Option<RawCsv>,
    compression: Option<Compression>,
    (origin, path): (&Origin, &str),
    out: &mut Vec<Diagnostic>,
) -> Format {
    if csv.is_some() && format != RawFormat::Csv {
        let d = origin.at(&format!("{path}.csv"), "options of CSV files for files that are none");
        out.push(d.expected("`format: csv`, or no `csv`"));
    }
    if compression.is_some() && matches!(format, RawFormat::Parquet | RawFormat::Avro) {
        let d = origin.at(&format!("{path}.compression"), "`compression` is of text files");
        out.push(d.help("leave it out: Parquet and Avro files say how they are compressed inside"));
    }
    match format {
        RawFormat::Parquet => Format::Parquet,
        RawFormat::Avro => Format::Avro,
        RawFormat::Ndjson => Format::Ndjson { compression },
        RawFormat::Csv => {
            let raw = csv.unwrap_or(RawCsv { header: true, delimiter: comma(), quote: quote(), nulls: None });
            let mut byte = |key: &str, text: &str| match text.as_bytes() {
                [byte] if byte.is_ascii() && !b"\r\n".contains(byte) => *byte,
                _ => {
                    let d = origin.at(&format!("{path}.csv.{key}"), format!("`{key}` is not one character"));
                    out.push(d.found(format!("{text:?}")).expected("one ASCII character, such as \";\" or \"\\t\""));
                    0
                }
            };
            let (delimiter, quote) = (byte("delimiter", &raw.delimiter), byte("quote", &raw.quote));
            if delimiter == quote && delimiter != 0 {
                out.push(origin.at(&format!("{path}.csv"), "`delimiter` and `quote` are one character"));
            }
            let nulls = raw.nulls.map_or_else(|| vec![String::new()], |nulls| nulls.0);
            Format::Csv { csv: Csv { header: raw.header, delimiter, quote, nulls }, compression }
        }
    }
}
