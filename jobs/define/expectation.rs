//! What a source is expected to deliver by the end of a night: rows that are new enough, and as many as usual.
//!
//! ```yaml
//! freshness: {within: 36h, otherwise: fail}             # or 36h, which warns
//! volume: {at_least: 0.2, at_most: 5, days: 28, otherwise: fail}   # or 0.2, which warns
//! ```

use serde::{Deserialize, Deserializer, Serialize};
use serde_yaml::Value;

use super::diagnostic::Diagnostic;
use super::types::Duration;
use super::yaml::Origin;

/// What becomes of a night that does not meet an expectation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Otherwise {
    #[default]
    Warn,
    Fail,
}

/// The newest event is at most so old at the night's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Freshness {
    pub within: Duration,
    #[serde(default)]
    pub otherwise: Otherwise,
}

/// The night's day has at least such a share of the rows that a day usually has: of the median of the days before it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    #[serde(default)]
    pub at_least: f64,
    #[serde(default)]
    pub at_most: Option<f64>,
    /// How many days before it are looked at.
    #[serde(default = "four_weeks")]
    pub days: u32,
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
