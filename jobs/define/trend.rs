//! Audits that measure: how fresh a table is, and whether a number of it is what it usually is.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::schema::text;
use super::types::Duration;

/// What a failing audit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing of the table is committed, and the job fails.
    #[default]
    Fail,
    /// It is said and stored, and nothing more.
    Warn,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Severity::Fail => "fail",
            Severity::Warn => "warn",
        }
    }
}

/// The newest instant of a column is at most so long before the end of the night.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ColumnFreshness")]
pub struct Freshness {
    /// The column.
    pub column: String,
    /// How long.
    pub within: Duration,
}

/// A measured number is near the median of what earlier nights measured.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trend {
    /// What is measured.
    pub measure: Measure,
    /// How far from the median, as a share of it.
    pub within: Share,
    /// How many of the nights before count.
    #[serde(default = "nights")]
    pub nights: usize,
    /// With fewer of them nothing is said.
    #[serde(default = "at_least")]
    pub at_least: usize,
}

fn nights() -> usize {
    7
}

fn at_least() -> usize {
    3
}

/// `rows`, or a function of a column: `null_share(amount)`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Measure {
    Rows,
    NullShare(String),
    Distinct(String),
    Sum(String),
    Mean(String),
}

impl Measure {
    pub fn column(&self) -> Option<&String> {
        match self {
            Measure::Rows => None,
            Measure::NullShare(column) | Measure::Distinct(column) | Measure::Sum(column) | Measure::Mean(column) => {
                Some(column)
            }
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Measure::Rows => f.write_str("rows"),
            Measure::NullShare(column) => write!(f, "null_share({column})"),
            Measure::Distinct(column) => write!(f, "distinct({column})"),
            Measure::Sum(column) => write!(f, "sum({column})"),
            Measure::Mean(column) => write!(f, "mean({column})"),
        }
    }
}

impl TryFrom<String> for Measure {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || {
            let expected = "rows, null_share(column), distinct(column), sum(column) or mean(column)";
            format!("invalid measure `{text}`, expected {expected}")
        };
        if text == "rows" {
            return Ok(Measure::Rows);
        }
        let (function, column) = text.strip_suffix(')').and_then(|t| t.split_once('(')).ok_or_else(wrong)?;
        let column = column.trim().to_string();
        match function {
            _ if column.is_empty() => Err(wrong()),
            "null_share" => Ok(Measure::NullShare(column)),
            "distinct" => Ok(Measure::Distinct(column)),
            "sum" => Ok(Measure::Sum(column)),
            "mean" => Ok(Measure::Mean(column)),
            _ => Err(wrong()),
        }
    }
}

/// A share such as `50%`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Share(pub f64);

impl TryFrom<String> for Share {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        percent
            .filter(|percent| percent.is_finite() && *percent >= 0.0)
            .map(|percent| Share(percent / 100.0))
            .ok_or_else(|| format!("invalid share `{text}`, expected a percentage such as 50%"))
    }
}

text!(
    Measure,
    "Measured",
    json!({
        "type": "string",
        "pattern": "^(rows|(null_share|distinct|sum|mean)\\(.*[^ ].*\\))$",
        "description": "`rows`, or a function of a column.",
        "examples": ["rows", "null_share(amount)"],
    })
);

text!(
    Share,
    "Percentage",
    json!({
        "type": "string",
        "pattern": "^ *[0-9]*[.]?[0-9]+ *%$",
        "description": "A number, 0 or more, and %.",
        "examples": ["50%"],
    })
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_and_shares_are_read_and_refused() {
        assert_eq!(Measure::try_from("rows".to_string()), Ok(Measure::Rows));
        assert_eq!(Measure::try_from("mean(amount)".to_string()), Ok(Measure::Mean("amount".into())));
        assert!(
            ["mean", "mean()", "median(amount)", "rows()"].iter().all(|m| Measure::try_from(m.to_string()).is_err())
        );
        assert_eq!(Share::try_from("50%".to_string()), Ok(Share(0.5)));
        assert!(["50", "-1%", "x%", "inf%"].iter().all(|s| Share::try_from(s.to_string()).is_err()));
    }
}
