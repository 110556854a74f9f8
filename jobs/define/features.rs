//! `features/NAME.yaml`: a feature group, expanded into one [`Feature`] per output column.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::aggregation::{self, RawAggregation};
use super::diagnostic::Diagnostic;
use super::map::Map;
use super::personal::Class;
use super::types::{Duration, OneOrMany, is_name};
use super::yaml::Origin;

/// Columns that a group may have at most: an expansion beyond is a mistake, and would drown every reader of the table.
pub const MOST_COLUMNS: usize = 4096;

/// Which rows a decision at as_of may have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// What the lake knew: `event_time < as_of` and `known_from <= as_of < known_until`.
    #[default]
    Known,
    /// What a live system sees: `event_time < as_of`, latest versions.
    EventTime,
}

/// Rows of whom, from which table, up to when: what groups and sequences have in common.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct History {
    /// Columns that name the entity.
    pub entity: Vec<String>,
    /// The table that says who exists.
    pub entities: String,
    pub table: String,
    /// `None`: the table's own.
    pub event_time: Option<String>,
    pub visibility: Visibility,
    pub filter: Option<String>,
}

/// A feature group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FeatureGroup {
    pub name: String,
    pub description: String,
    pub history: History,
    pub features: Vec<Feature>,
    pub derived: Vec<Derived>,
    #[serde(skip)]
    pub origin: Origin,
}

/// One output column: a function over a window.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Feature {
    pub name: String,
    pub function: Function,
    /// SQL over the table's columns.
    pub of: Option<String>,
    /// SQL over the table's columns: which rows count.
    pub filter: Option<String>,
    /// `None`: all history.
    pub window: Option<Duration>,
    pub doc: String,
    /// Computed for a derived column, and kept out of the output.
    pub hidden: bool,
    /// Where it was written.
    #[serde(skip)]
    pub path: String,
}

/// Semantics of each: docs/reference/functions.md.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Function {
    Count,
    CountDistinct,
    /// Distinct values among those whose hash falls into one part of `sample`, times `sample`.
    ApproxCountDistinct {
        sample: u32,
    },
    Sum,
    Mean,
    Min,
    Max,
    Stddev,
    Variance,
    First,
    Last,
    Share {
        value: String,
    },
    /// A map of the share of every value there is; a model takes the `top` values of its training rows for columns.
    Shares {
        top: u32,
    },
    /// The value of that rank by frequency, from 1; ties in the order of values.
    Top {
        rank: u32,
    },
    Entropy,
    ExpWeightedMean {
        half_life: Duration,
    },
    /// 0 to 100, between neighbours by linear interpolation.
    Percentile {
        at: f64,
    },
    MeanGap {
        unit: TimeUnit,
    },
    TimeSinceFirst {
        unit: TimeUnit,
    },
    TimeSinceLast {
        unit: TimeUnit,
    },
}

impl Function {
    /// True if the result depends on the order of rows with equal event time.
    pub fn needs_order(&self) -> bool {
        matches!(self, Function::First | Function::Last)
    }

    /// True if the result has the unit of what it is computed from.
    pub fn keeps_unit(&self) -> bool {
        use Function::*;
        let of_several = matches!(self, Sum | Mean | Stddev | ExpWeightedMean { .. } | Percentile { .. });
        of_several || matches!(self, Min | Max | First | Last | Top { .. })
    }

    /// True if NaN and infinities are null to it.
    pub fn is_arithmetic(&self) -> bool {
        use Function::*;
        matches!(self, Sum | Mean | Min | Max | Stddev | Variance | ExpWeightedMean { .. } | Percentile { .. })
    }
}

/// What a length of time is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnit {
    Minutes,
    Hours,
    Days,
}

impl TimeUnit {
    pub fn micros(self) -> i64 {
        match self {
            TimeUnit::Minutes => 60_000_000,
            TimeUnit::Hours => 3_600_000_000,
            TimeUnit::Days => 86_400_000_000,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            TimeUnit::Minutes => "minutes",
            TimeUnit::Hours => "hours",
            TimeUnit::Days => "days",
        }
    }
}

/// A column computed from the group's other columns.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Derived {
    pub name: String,
    pub expression: String,
    pub doc: String,
    /// Where it was written.
    #[serde(skip)]
    pub path: String,
}

/// A feature group: functions over windows of one table's rows.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Group")]
pub struct RawGroup {
    /// Its name, `[a-z][a-z0-9_]*`: models know its features as `GROUP.FEATURE`.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9_]*$"))]
    pub group: String,
    /// What it tells: the table's comment in the lake.
    #[serde(default)]
    description: String,
    /// The column of the table that names whom features describe, or several.
    entity: OneOrMany,
    /// The table that says who exists.
    entities: String,
    /// The table whose rows are the history.
    table: String,
    /// The column that says when a row happened; without it, the table's own.
    event_time: Option<String>,
    /// Which rows a decision may have seen.
    #[serde(default)]
    visibility: Visibility,
    /// SQL over the table's columns: which rows count in the whole group.
    #[serde(rename = "where")]
    filter: Option<String>,
    /// What is computed.
    aggregations: Vec<RawAggregation>,
    /// Name → SQL over the group's other features.
    #[serde(default)]
    derived: Map<String>,
    /// Feature → its documentation; others are documented from their definition.
    #[serde(default)]
    docs: Map<String>,
    /// Feature that is computed from personal data → what it is.
    #[serde(default)]
    pub pii: Map<Class>,
}

impl FeatureGroup {
    pub fn validate(raw: RawGroup, origin: &Origin, out: &mut Vec<Diagnostic>) -> FeatureGroup {
        let mut docs = raw.docs;
        let mut features = Vec::new();
        let mut derived = Vec::new();
        for (index, aggregation) in raw.aggregations.into_iter().enumerate() {
            aggregation::expand(
                &format!("aggregations.{index}"),
                aggregation,
                origin,
                &mut features,
                &mut derived,
                out,
            );
        }
        for (name, expression) in raw.derived {
            let path = format!("derived.{name}");
            derived.push(Derived { doc: format!("= {expression}"), name, expression, path });
        }
        let mut group = FeatureGroup {
            name: raw.group,
            description: raw.description,
            history: History {
                entity: raw.entity.0,
                entities: raw.entities,
                table: raw.table,
                event_time: raw.event_time,
                visibility: raw.visibility,
                filter: raw.filter,
            },
            features,
            derived,
            origin: origin.clone(),
        };
        for feature in &mut group.features {
            if let Some(doc) = docs.shift_remove(&feature.name) {
                feature.doc = doc;
            }
        }
        for derived in &mut group.derived {
            if let Some(doc) = docs.shift_remove(&derived.name) {
                derived.doc = doc;
            }
        }
        for name in docs.keys() {
            let d = origin.at(&format!("docs.{name}"), format!("group {} has no feature `{name}`", group.name));
            out.push(d.expected_one_of(name, group.names()));
        }
        group.check_names(out);
        group
    }

    /// The group's output columns, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let features = self.features.iter().filter(|f| !f.hidden).map(|f| f.name.as_str());
        features.chain(self.derived.iter().map(|d| d.name.as_str()))
    }

    fn check_names(&self, out: &mut Vec<Diagnostic>) {
        let mut seen: HashSet<&str> = HashSet::new();
        let written = self.features.iter().map(|f| (f.name.as_str(), f.path.clone()));
        let derived = self.derived.iter().map(|d| (d.name.as_str(), d.path.clone()));
        for (name, path) in written.chain(derived) {
            if !is_name(name) {
                out.push(self.origin.at(&path, format!("`{name}` is not a name")).expected("[a-z][a-z0-9_]*"));
            }
            if !seen.insert(name) {
                let message = format!("group {} has two features `{name}`", self.name);
                let help = "give one of them another name with `as`; ask for one of two alike categories by `where`";
                out.push(self.origin.at(&path, message).help(help));
            }
        }
        let columns = self.names().count();
        if columns > MOST_COLUMNS {
            let d = self.origin.at("aggregations", format!("group {} has {columns} columns", self.name));
            let help = "name fewer `values`, or let a model choose: `fn: share` with `top`";
            out.push(d.expected(format!("at most {MOST_COLUMNS}")).help(help));
        }
        if !is_name(&self.name) {
            out.push(self.origin.at("group", format!("`{}` is not a name", self.name)).expected("[a-z][a-z0-9_]*"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::define::yaml;

    fn group(text: &str) -> (Option<FeatureGroup>, Vec<Diagnostic>) {
        let head = "group: g\nentity: user_id\nentities: users\ntable: t\n";
        let mut out = Vec::new();
        let group = yaml::parse::<RawGroup>("g.yaml", &format!("{head}{text}"), &mut out)
            .map(|(raw, origin)| FeatureGroup::validate(raw, &origin, &mut out));
        (group, out)
    }

    #[test]
    fn names_follow_the_documented_rule() {
        let (group, out) = group(
            "aggregations:\n\
             - {of: amount, fn: [sum, mean], over: [7d, 30d]}\n\
             - {fn: count, over: [7d]}\n\
             - {fn: count, as: orders}\n\
             - {of: method, fn: share, values: [Credit Card], over: [90d]}\n\
             - {fn: time_since_last, unit: hours}\n\
             - {of: a / b, as: rate, fn: mean, over: [1d]}\n\
             derived: {x: amount_sum_7d / 2}\n",
        );
        assert_eq!(out, []);
        let expected = [
            "amount_sum_7d",
            "amount_sum_30d",
            "amount_mean_7d",
            "amount_mean_30d",
            "count_7d",
            "orders",
            "method_share_credit_card_90d",
            "time_since_last",
            "rate_1d",
            "x",
        ];
        assert_eq!(group.unwrap().names().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_does_not_fit_is_said_with_its_line() {
        let (_, out) = group(
            "aggregations:\n\
             - {of: amount, fn: [sun], over: [7d]}\n\
             - {fn: sum, over: [0d]}\n\
             - {of: a + b, fn: mean}\n\
             - {of: amount, fn: share, over: [7d]}\n\
             - {of: amount, fn: max, over: [7d]}\n\
             - {of: amount, fn: max, over: [7d]}\n",
        );
        let lines: Vec<usize> = out.iter().map(|d| d.line).collect();
        assert_eq!(lines, [6, 7, 7, 8, 9, 11], "{out:#?}");
        assert_eq!(out[0].help.as_deref(), Some("did you mean `sum`?"));
    }
}
