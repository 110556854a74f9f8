//! What a source is expected to deliver by the end of a night: rows that are new enough, and as many as usual.
//!
//! ```yaml
//! freshness: {within: 36h, otherwise: fail}             # or 36h, which warns
//! volume: {at_least: 0.2, at_most: 5, days: 28, otherwise: fail}   # or 0.2, which warns
//! ```

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize};
use serde_yaml::Value;

use super::diagnostic::Diagnostic;
use super::schema::either;
use super::types::Duration;
use super::yaml::Origin;

/// What becomes of a night that does not meet an expectation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Otherwise {
    /// It is said, and nothing more.
    #[default]
    Warn,
    /// The run ends with exit code 3; what was delivered stays loaded.
    Fail,
}

/// The newest event is at most so old at the night's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SourceFreshness")]
pub struct Freshness {
    /// How old.
    pub within: Duration,
    /// What becomes of a night without such an event.
    #[serde(default)]
    pub otherwise: Otherwise,
}

/// The night's day has at least such a share of the rows that a day usually has: of the median of the days before it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// The least share.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1))]
    pub at_least: f64,
    /// The largest share; without it, any.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub at_most: Option<f64>,
    /// How many days before it are looked at.
    #[serde(default = "four_weeks")]
    #[schemars(range(min = 3))]
    pub days: u32,
    /// What becomes of a night with fewer rows, or more.
    #[serde(default)]
    pub otherwise: Otherwise,
}

fn four_weeks() -> u32 {
    28
}

/// A value that can be written short, or as a map of its parts.
#[derive(Debug)]
pub struct Short<T>(pub T);

impl<'de> Deserialize<'de> for Short<Freshness> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        short(deserializer, |within| Freshness { within, otherwise: Otherwise::Warn })
    }
}

impl<'de> Deserialize<'de> for Short<Volume> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let volume = |at_least| Volume { at_least, at_most: None, days: four_weeks(), otherwise: Otherwise::Warn };
        short(deserializer, volume)
    }
}

impl JsonSchema for Short<Freshness> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ShortFreshness".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        either([generator.subschema_for::<Duration>(), generator.subschema_for::<Freshness>()])
    }
}

impl JsonSchema for Short<Volume> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ShortVolume".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        either([generator.subschema_for::<f64>(), generator.subschema_for::<Volume>()])
    }
}

/// A map is the whole; anything else its first part.
fn short<'de, D, T, S>(deserializer: D, whole: impl Fn(S) -> T) -> Result<Short<T>, D::Error>
where
    D: Deserializer<'de>,
    T: serde::de::DeserializeOwned,
    S: serde::de::DeserializeOwned,
{
    use serde::de::Error;
    let value = Value::deserialize(deserializer)?;
    let read = match value {
        Value::Mapping(_) => serde_yaml::from_value(value),
        part => serde_yaml::from_value(part).map(whole),
    };
    read.map(Short).map_err(|e| D::Error::custom(e.to_string()))
}

impl Volume {
    pub fn validate(&self, (origin, path): (&Origin, &str), out: &mut Vec<Diagnostic>) {
        let at = format!("{path}.volume");
        if !(0.0..=1.0).contains(&self.at_least) || self.at_most.is_some_and(|most| most.is_nan() || most < 1.0) {
            let found = format!("at_least: {}, at_most: {:?}", self.at_least, self.at_most);
            let d = origin.at(&at, "`volume` is not a range around the usual").found(found);
            out.push(d.expected("at_least from 0 to 1, at_most 1 or more"));
        }
        if self.days < 3 {
            let d = origin.at(&at, "too few days to say what is usual").found(self.days.to_string());
            out.push(d.expected("3 days or more"));
        }
    }
}
