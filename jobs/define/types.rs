//! The small words of the definition language: names, durations, data types. Each is checked once, when it is parsed,
//! and cannot be wrong afterwards.

use std::fmt;

use arrow::datatypes::{DataType as Arrow, TimeUnit};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::diagnostic::Diagnostic;
use super::schema::text;
use super::yaml::Origin;

/// Microseconds in a day.
pub const DAY: i64 = 86_400_000_000;

/// `[a-z][a-z0-9_]*`: the name of a table, group, column or feature.
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// Tables that Scorehouse keeps about its own work, at the lake's root: a query knows them by these names.
pub const OWN_TABLES: [&str; 6] = ["runs", "manifest", "registry", "audits", "erasures", "suppressions"];

/// A source or table must not be called as a table of ours.
pub fn reserved(name: &str, origin: &Origin, path: &str, out: &mut Vec<Diagnostic>) {
    if OWN_TABLES.contains(&name) {
        let d = origin.at(path, format!("`{name}` is a table of Scorehouse's own"));
        out.push(d.help(format!("give it another name: {} are taken", OWN_TABLES.join(", "))));
    }
}

/// A free text as part of a name: `Credit Card` → `credit_card`.
pub fn snake(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars() {
        match c {
            c if c.is_ascii_alphanumeric() => name.push(c.to_ascii_lowercase()),
            _ if name.ends_with('_') || name.is_empty() => {}
            _ => name.push('_'),
        }
    }
    name.trim_end_matches('_').to_string()
}

/// A length of time: `15m`, `36h`, `30d`, `4w`. Never negative; exact in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Duration {
    amount: u32,
    unit: char,
}

impl Duration {
    pub const fn days(amount: u32) -> Self {
        Duration { amount, unit: 'd' }
    }

    pub fn micros(self) -> i64 {
        let unit = match self.unit {
            's' => 1_000_000,
            'm' => 60_000_000,
            'h' => 3_600_000_000,
            'w' => 7 * DAY,
            _ => DAY,
        };
        i64::from(self.amount) * unit
    }

    /// Whole days, rounded up: how many daily partitions it reaches over.
    pub fn ceil_days(self) -> i64 {
        (self.micros() + DAY - 1) / DAY
    }
}

impl TryFrom<String> for Duration {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("invalid duration `{text}`, expected a whole number and s, m, h, d or w, such as 30d");
        let unit = text.chars().last().filter(|c| "smhdw".contains(*c)).ok_or_else(wrong)?;
        let amount = text[..text.len() - 1].parse().map_err(|_| wrong())?;
        Ok(Duration { amount, unit })
    }
}

impl From<Duration> for String {
    fn from(d: Duration) -> String {
        d.to_string()
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.amount, self.unit)
    }
}

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DataType {
    String,
    Int32,
    Int64,
    Float64,
    Bool,
    Date,
    /// UTC microseconds.
    Timestamp,
    /// Precision and scale.
    Decimal(u8, i8),
    /// Text that is JSON; of a raw file also a struct, list or map.
    Json,
}

impl DataType {
    pub fn arrow(self) -> Arrow {
        match self {
            DataType::String | DataType::Json => Arrow::Utf8,
            DataType::Int32 => Arrow::Int32,
            DataType::Int64 => Arrow::Int64,
            DataType::Float64 => Arrow::Float64,
            DataType::Bool => Arrow::Boolean,
            DataType::Date => Arrow::Date32,
            DataType::Timestamp => timestamp(),
            DataType::Decimal(precision, scale) => Arrow::Decimal128(precision, scale),
        }
    }
}

/// An Arrow type as definitions write it; as Arrow does where they cannot.
pub fn type_name(data_type: &Arrow) -> String {
    match data_type {
        Arrow::Utf8 => "string".into(),
        Arrow::Int32 => "int32".into(),
        Arrow::Int64 => "int64".into(),
        Arrow::Float64 => "float64".into(),
        Arrow::Boolean => "bool".into(),
        Arrow::Date32 => "date".into(),
        Arrow::Timestamp(_, _) => "timestamp".into(),
        Arrow::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        other => other.to_string(),
    }
}

/// The Arrow type of every instant in Scorehouse.
pub fn timestamp() -> Arrow {
    Arrow::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

impl TryFrom<String> for DataType {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let decimal = || {
            let (precision, scale) = text.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
            let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
            ((1..=38).contains(&precision) && (0..=precision as i8).contains(&scale))
                .then_some(DataType::Decimal(precision, scale))
        };
        Ok(match text.as_str() {
            "string" => DataType::String,
            "int32" => DataType::Int32,
            "int64" => DataType::Int64,
            "float64" => DataType::Float64,
            "bool" => DataType::Bool,
            "date" => DataType::Date,
            "timestamp" => DataType::Timestamp,
            "json" => DataType::Json,
            _ => decimal().ok_or_else(|| {
                let names =
                    ["string", "int32", "int64", "float64", "bool", "date", "timestamp", "decimal(p,s)", "json"];
                let near = super::diagnostic::nearest(&text, names).map(|n| format!("; did you mean `{n}`?"));
                format!("unknown type `{text}`, expected one of {}{}", names.join(", "), near.unwrap_or_default())
            })?,
        })
    }
}

impl From<DataType> for String {
    fn from(t: DataType) -> String {
        t.to_string()
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataType::String => f.write_str("string"),
            DataType::Int32 => f.write_str("int32"),
            DataType::Int64 => f.write_str("int64"),
            DataType::Float64 => f.write_str("float64"),
            DataType::Bool => f.write_str("bool"),
            DataType::Date => f.write_str("date"),
            DataType::Timestamp => f.write_str("timestamp"),
            DataType::Json => f.write_str("json"),
            DataType::Decimal(precision, scale) => write!(f, "decimal({precision},{scale})"),
        }
    }
}

/// A text, or a list of texts: `entity: user_id` and `entity: [bank, card_type]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct OneOrMany(pub Vec<String>);

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a name or a list of names")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany(vec![text.to_string()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<OneOrMany, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = seq.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMany(texts))
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

/// A number, or a list of numbers: `at: 50` and `at: [25, 50, 75]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Numbers(pub Vec<f64>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Numbers;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number or a list of numbers")
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Numbers, E> {
                Ok(Numbers(vec![number]))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Numbers, E> {
                self.visit_f64(number as f64)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Numbers, E> {
                self.visit_f64(number as f64)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Numbers, A::Error> {
                let mut numbers = Vec::new();
                while let Some(number) = seq.next_element()? {
                    numbers.push(number);
                }
                Ok(Numbers(numbers))
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

text!(
    Duration,
    "Duration",
    json!({
        "type": "string",
        "pattern": "^[0-9]{1,10}[smhdw]$",
        "description": "A whole number and s, m, h, d or w.",
        "examples": ["30d", "36h"],
    })
);

text!(
    DataType,
    "DataType",
    json!({
        "description": "The type of a column: `string`, `int32`, `int64`, `float64`, `bool`, `date`, `timestamp`, `json`, or `decimal(precision,scale)`.",
        "anyOf": [
            { "enum": ["string", "int32", "int64", "float64", "bool", "date", "timestamp", "json"] },
            { "type": "string", "pattern": "^decimal\\( *[0-9]+ *, *[0-9]+ *\\)$" },
        ],
        "examples": ["string", "decimal(18,2)"],
    })
);

text!(
    OneOrMany,
    "OneOrMany",
    json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
);
text!(
    Numbers,
    "Numbers",
    json!({ "anyOf": [{ "type": "number" }, { "type": "array", "items": { "type": "number" } }] })
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact() {
        assert_eq!(Duration::try_from("30d".to_string()).unwrap().micros(), 30 * DAY);
        assert_eq!(Duration::try_from("36h".to_string()).unwrap().ceil_days(), 2);
        for wrong in ["", "d", "-1d", "3", "1.5d", "4 d", "3y", "5é"] {
            assert!(Duration::try_from(wrong.to_string()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn types_print_as_they_parse() {
        for text in ["string", "int32", "int64", "float64", "bool", "date", "timestamp", "decimal(18,2)", "json"] {
            assert_eq!(DataType::try_from(text.to_string()).unwrap().to_string(), text);
        }
        assert!(DataType::try_from("decimal(39,2)".to_string()).is_err());
        assert!(DataType::try_from("sting".to_string()).unwrap_err().contains("did you mean `string`"));
    }

    #[test]
    fn free_text_becomes_a_name() {
        assert_eq!(snake("Credit Card"), "credit_card");
        assert_eq!(snake("  3-D / Secure "), "3_d_secure");
    }
}
