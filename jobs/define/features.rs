//! `features/NAME.yaml`: a feature group, expanded into one [`Feature`] per output column.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use super::diagnostic::Diagnostic;
use super::map::Map;
use super::types::{Duration, OneOrMany, is_name, snake};
use super::yaml::Origin;

/// Which rows a decision at as_of may have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// What the lake knew: `event_time < as_of` and `known_from <= as_of < known_until`.
    #[default]
    Known,
    /// What a live system sees: `event_time < as_of`, latest versions.
    EventTime,
}

/// Rows of whom, from which table, up to when: what groups and sequences have in common.
#[derive(Debug, Clone, Serialize)]
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
#[derive(Debug, Clone, Serialize)]
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
#[derive(Debug, Clone, Serialize)]
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
    /// Where it was written.
    #[serde(skip)]
    pub path: String,
}

/// Semantics of each: docs/reference/definitions.md.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Function {
    Count,
    CountDistinct,
    Sum,
    Mean,
    Min,
    Max,
    Stddev,
    First,
    Last,
    Share { value: String },
    TimeSinceFirst { unit: TimeUnit },
    TimeSinceLast { unit: TimeUnit },
}

impl Function {
    /// True if the result depends on the order of rows with equal event time.
    pub fn needs_order(&self) -> bool {
        matches!(self, Function::First | Function::Last)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Serialize)]
pub struct Derived {
    pub name: String,
    pub expression: String,
    pub doc: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fn {
    Count,
    CountDistinct,
    Sum,
    Mean,
    Min,
    Max,
    Stddev,
    First,
    Last,
    Share,
    TimeSinceFirst,
    TimeSinceLast,
}

impl Fn {
    fn name(self) -> &'static str {
        match self {
            Fn::Count => "count",
            Fn::CountDistinct => "count_distinct",
            Fn::Sum => "sum",
            Fn::Mean => "mean",
            Fn::Min => "min",
            Fn::Max => "max",
            Fn::Stddev => "stddev",
            Fn::First => "first",
            Fn::Last => "last",
            Fn::Share => "share",
            Fn::TimeSinceFirst => "time_since_first",
            Fn::TimeSinceLast => "time_since_last",
        }
    }

    fn is_time_since(self) -> bool {
        matches!(self, Fn::TimeSinceFirst | Fn::TimeSinceLast)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawGroup {
    pub group: String,
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
    aggregations: Vec<RawAggregation>,
    #[serde(default)]
    derived: Map<String>,
    #[serde(default)]
    docs: Map<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAggregation {
    of: Option<String>,
    #[serde(rename = "fn")]
    function: OneOrManyFn,
    #[serde(default)]
    over: Vec<Duration>,
    #[serde(rename = "where")]
    filter: Option<String>,
    #[serde(rename = "as")]
    alias: Option<String>,
    unit: Option<TimeUnit>,
    #[serde(default)]
    values: Vec<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(from = "OneOrMany")]
struct OneOrManyFn(Vec<String>);

impl From<OneOrMany> for OneOrManyFn {
    fn from(names: OneOrMany) -> Self {
        OneOrManyFn(names.0)
    }
}

const FUNCTIONS: [&str; 12] = [
    "count",
    "count_distinct",
    "sum",
    "mean",
    "min",
    "max",
    "stddev",
    "first",
    "last",
    "share",
    "time_since_first",
    "time_since_last",
];

impl FeatureGroup {
    pub fn validate(raw: RawGroup, origin: &Origin, out: &mut Vec<Diagnostic>) -> FeatureGroup {
        let mut docs = raw.docs;
        let mut features = Vec::new();
        for (index, aggregation) in raw.aggregations.into_iter().enumerate() {
            expand(&format!("aggregations.{index}"), aggregation, origin, &mut features, out);
        }
        let derived: Vec<Derived> = raw
            .derived
            .into_iter()
            .map(|(name, expression)| Derived { doc: format!("= {expression}"), name, expression })
            .collect();
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
        self.features.iter().map(|f| f.name.as_str()).chain(self.derived.iter().map(|d| d.name.as_str()))
    }

    fn check_names(&self, out: &mut Vec<Diagnostic>) {
        let mut seen: HashSet<&str> = HashSet::new();
        let written = self.features.iter().map(|f| (f.name.as_str(), f.path.clone()));
        let derived = self.derived.iter().map(|d| (d.name.as_str(), format!("derived.{}", d.name)));
        for (name, path) in written.chain(derived) {
            if !is_name(name) {
                out.push(self.origin.at(&path, format!("`{name}` is not a name")).expected("[a-z][a-z0-9_]*"));
            }
            if !seen.insert(name) {
                let message = format!("group {} has two features `{name}`", self.name);
                out.push(self.origin.at(&path, message).help("give one of them another name with `as`"));
            }
        }
        if !is_name(&self.name) {
            out.push(self.origin.at("group", format!("`{}` is not a name", self.name)).expected("[a-z][a-z0-9_]*"));
        }
    }
}

/// One written aggregation → one feature per function, category and window.
fn expand(path: &str, raw: RawAggregation, origin: &Origin, features: &mut Vec<Feature>, out: &mut Vec<Diagnostic>) {
    let functions = functions(path, &raw, origin, out);
    for window in &raw.over {
        if window.micros() == 0 {
            let d = origin.at(&format!("{path}.over"), "a window of no length holds nothing");
            out.push(d.found(window.to_string()).expected("a positive duration, such as 30d"));
        }
    }
    let several = functions.len() > 1;
    for function in functions {
        let Some(base) = base_name(path, &raw, function, several, origin, out) else { continue };
        let windows: Vec<Option<Duration>> =
            if raw.over.is_empty() { vec![None] } else { raw.over.iter().copied().map(Some).collect() };
        for (function, base) in variants(path, &raw, function, &base, origin, out) {
            for window in &windows {
                features.push(Feature {
                    name: window.map_or(base.clone(), |w| format!("{base}_{w}")),
                    doc: describe(&function, &raw, *window),
                    function: function.clone(),
                    of: raw.of.clone(),
                    filter: raw.filter.clone(),
                    window: *window,
                    path: path.to_string(),
                });
            }
        }
    }
}

fn functions(path: &str, raw: &RawAggregation, origin: &Origin, out: &mut Vec<Diagnostic>) -> Vec<Fn> {
    let mut functions = Vec::new();
    for name in &raw.function.0 {
        let value = Value::String(name.clone());
        match serde_yaml::from_value::<Fn>(value) {
            Ok(function) => functions.push(function),
            Err(_) => {
                let d = origin.at(&format!("{path}.fn"), format!("unknown function `{name}`"));
                out.push(d.expected_one_of(name, FUNCTIONS));
            }
        }
    }
    for function in &functions {
        let name = function.name();
        let needs_of = !matches!(function, Fn::Count) && !function.is_time_since();
        if needs_of && raw.of.is_none() {
            out.push(origin.at(path, format!("`{name}` of what?")).expected("`of: <column or SQL expression>`"));
        }
        if matches!(function, Fn::Share) == raw.values.is_empty() {
            let expected = if raw.values.is_empty() {
                "`values: [...]` with `fn: share`"
            } else {
                "`values` with `fn: share` only"
            };
            out.push(origin.at(path, format!("`{name}` and `values` do not fit")).expected(expected));
        }
        if raw.unit.is_some() && !function.is_time_since() {
            out.push(
                origin
                    .at(&format!("{path}.unit"), format!("`{name}` has no unit"))
                    .expected("`unit` with time_since_*"),
            );
        }
    }
    functions
}

/// The name before the window's suffix.
fn base_name(
    path: &str,
    raw: &RawAggregation,
    function: Fn,
    several: bool,
    origin: &Origin,
    out: &mut Vec<Diagnostic>,
) -> Option<String> {
    let name = function.name();
    match (&raw.alias, &raw.of) {
        (Some(alias), _) if several => Some(format!("{alias}_{name}")),
        (Some(alias), _) if function == Fn::Share => Some(format!("{alias}_share")),
        (Some(alias), _) => Some(alias.clone()),
        (None, Some(column)) if is_name(column) => Some(match function {
            f if f.is_time_since() => name.to_string(),
            _ => format!("{column}_{name}"),
        }),
        (None, Some(expression)) => {
            let d = origin.at(&format!("{path}.of"), "an expression gives no name").found(expression.clone());
            out.push(d.expected("`as: <name>` beside it"));
            None
        }
        (None, None) => Some(name.to_string()),
    }
}

fn variants(
    path: &str,
    raw: &RawAggregation,
    function: Fn,
    base: &str,
    origin: &Origin,
    out: &mut Vec<Diagnostic>,
) -> Vec<(Function, String)> {
    let unit = raw.unit.unwrap_or(TimeUnit::Days);
    let single = match function {
        Fn::Count => Function::Count,
        Fn::CountDistinct => Function::CountDistinct,
        Fn::Sum => Function::Sum,
        Fn::Mean => Function::Mean,
        Fn::Min => Function::Min,
        Fn::Max => Function::Max,
        Fn::Stddev => Function::Stddev,
        Fn::First => Function::First,
        Fn::Last => Function::Last,
        Fn::TimeSinceFirst => Function::TimeSinceFirst { unit },
        Fn::TimeSinceLast => Function::TimeSinceLast { unit },
        Fn::Share => {
            return raw.values.iter().filter_map(|value| share(path, value, base, origin, out)).collect();
        }
    };
    vec![(single, base.to_string())]
}

fn share(
    path: &str,
    value: &Value,
    base: &str,
    origin: &Origin,
    out: &mut Vec<Diagnostic>,
) -> Option<(Function, String)> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        _ => {
            out.push(origin.at(&format!("{path}.values"), "a category is a scalar").expected("text, number or bool"));
            return None;
        }
    };
    Some((Function::Share { value: text.clone() }, format!("{base}_{}", snake(&text))))
}

fn describe(function: &Function, raw: &RawAggregation, window: Option<Duration>) -> String {
    let of = raw.of.as_deref().unwrap_or("rows");
    let what = match function {
        Function::Count if raw.of.is_none() => "Number of rows".to_string(),
        Function::Count => format!("Number of rows where {of} is not null"),
        Function::CountDistinct => format!("Number of distinct {of}"),
        Function::Sum => format!("Sum of {of}"),
        Function::Mean => format!("Mean of {of}"),
        Function::Min => format!("Least {of}"),
        Function::Max => format!("Greatest {of}"),
        Function::Stddev => format!("Sample standard deviation of {of}"),
        Function::First => format!("Earliest {of}"),
        Function::Last => format!("Latest {of}"),
        Function::Share { value } => format!("Share of rows with {of} = {value}"),
        Function::TimeSinceFirst { unit } => format!("{} from the first row to as_of", capital(unit.name())),
        Function::TimeSinceLast { unit } => format!("{} from the last row to as_of", capital(unit.name())),
    };
    let filter = raw.filter.as_ref().map(|f| format!(", where {f}")).unwrap_or_default();
    let span = window.map_or(", over all history".to_string(), |w| format!(", over the last {w}"));
    format!("{what}{filter}{span}.")
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().collect::<String>() + chars.as_str()).unwrap_or_default()
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
