//! One entry of `aggregations:` → one [`Feature`] per function, category and window.
//!
//! What is written is short, what it means is spelled out here once: everything after works on single features.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_yaml::Value;

use super::diagnostic::Diagnostic;
use super::features::{Derived, Feature, Function, MOST_COLUMNS, TimeUnit};
use super::schema::{Category, OneOf};
use super::types::{Duration, Numbers, OneOrMany, is_name, snake};
use super::yaml::Origin;

/// One function or several, over one window or several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Aggregation")]
pub struct RawAggregation {
    /// A column of the table, or SQL over its columns; `count` and functions of time need none.
    of: Option<String>,
    /// The function, or several.
    #[serde(rename = "fn")]
    #[schemars(with = "OneOf<Fn>")]
    functions: OneOrMany,
    /// The windows; without them, all history.
    #[serde(default)]
    over: Vec<Duration>,
    /// SQL over the table's columns: which rows count.
    #[serde(rename = "where")]
    filter: Option<String>,
    /// The name, to which function, category and window are added; must be there where `of` is an expression.
    #[serde(rename = "as")]
    alias: Option<String>,
    /// Of `mean_gap`, `time_since_first` and `time_since_last`: what time is counted in.
    #[schemars(extend("default" = TimeUnit::Days))]
    unit: Option<TimeUnit>,
    /// Of `share`: the categories that get a column each.
    #[serde(default)]
    #[schemars(with = "Vec<Category>")]
    values: Vec<Value>,
    /// Of `share`: how many categories a model chooses. Of `top_k`: how many ranks.
    #[schemars(range(min = 1, max = MOST_COLUMNS))]
    top: Option<u32>,
    /// Of `percentile`: which, from 0 to 100.
    at: Option<Numbers>,
    /// Of `exp_weighted_mean`: how much older than the newest row weighs half.
    half_life: Option<Duration>,
    /// Of `approx_count_distinct`: one value in so many is counted.
    #[schemars(range(min = 1), extend("default" = SAMPLE))]
    sample: Option<u32>,
    /// Of `ratio`: the divisor, a column or SQL over the table's columns.
    to: Option<String>,
    /// The same for every category of a column.
    by: Option<RawBy>,
}

/// The same aggregation for every category of a column.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "By")]
struct RawBy {
    /// The column, or SQL over the table's columns.
    of: String,
    /// The categories.
    #[schemars(with = "Vec<Category>", length(min = 1))]
    values: Vec<Value>,
}

/// What is computed of the rows of a window. `docs/reference/functions.md` has an example of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "snake_case", rename = "Function")]
enum Fn {
    /// How many rows.
    Count,
    /// How many different values.
    CountDistinct,
    /// How many different values, about.
    ApproxCountDistinct,
    /// The sum, exact and rounded once.
    Sum,
    /// The sum divided by how many values there are.
    Mean,
    /// The least value.
    Min,
    /// The largest value.
    Max,
    /// The sample's standard deviation.
    Stddev,
    /// The sample's variance.
    Variance,
    /// The value of the earliest row.
    First,
    /// The value of the latest row.
    Last,
    /// How large a part of the rows has a value.
    Share,
    /// The most frequent values.
    TopK,
    /// The sum of one column divided by that of another.
    Ratio,
    /// How evenly rows are spread over values.
    Entropy,
    /// The mean, in which older rows weigh less.
    ExpWeightedMean,
    /// The value below which a part of the rows lies.
    Percentile,
    /// The mean time between neighbouring rows.
    MeanGap,
    /// The time since the earliest row.
    TimeSinceFirst,
    /// The time since the latest row.
    TimeSinceLast,
}

const FUNCTIONS: [(&str, Fn); 20] = [
    ("count", Fn::Count),
    ("count_distinct", Fn::CountDistinct),
    ("approx_count_distinct", Fn::ApproxCountDistinct),
    ("sum", Fn::Sum),
    ("mean", Fn::Mean),
    ("min", Fn::Min),
    ("max", Fn::Max),
    ("stddev", Fn::Stddev),
    ("variance", Fn::Variance),
    ("first", Fn::First),
    ("last", Fn::Last),
    ("share", Fn::Share),
    ("top_k", Fn::TopK),
    ("ratio", Fn::Ratio),
    ("entropy", Fn::Entropy),
    ("exp_weighted_mean", Fn::ExpWeightedMean),
    ("percentile", Fn::Percentile),
    ("mean_gap", Fn::MeanGap),
    ("time_since_first", Fn::TimeSinceFirst),
    ("time_since_last", Fn::TimeSinceLast),
];

impl Fn {
    fn name(self) -> &'static str {
        FUNCTIONS.iter().find(|(_, function)| *function == self).map_or("", |(name, _)| *name)
    }

    /// True if it is about the times of rows, and takes `unit`.
    fn is_of_time(self) -> bool {
        matches!(self, Fn::MeanGap | Fn::TimeSinceFirst | Fn::TimeSinceLast)
    }

    /// The keys of its own: (key, whether it must be there).
    fn keys(self) -> &'static [(&'static str, bool)] {
        match self {
            Fn::Share => &[("values", false), ("top", false)],
            Fn::TopK => &[("top", true)],
            Fn::Percentile => &[("at", true)],
            Fn::ExpWeightedMean => &[("half_life", true)],
            Fn::ApproxCountDistinct => &[("sample", false)],
            Fn::Ratio => &[("to", true)],
            Fn::MeanGap | Fn::TimeSinceFirst | Fn::TimeSinceLast => &[("unit", false)],
            _ => &[],
        }
    }
}

/// The functions of the language, as `fn` takes them.
pub fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|(name, _)| *name)
}

/// Distinct values are counted among one hash in so many, unless said otherwise.
const SAMPLE: u32 = 16;

pub fn expand(
    path: &str,
    raw: RawAggregation,
    origin: &Origin,
    features: &mut Vec<Feature>,
    derived: &mut Vec<Derived>,
    out: &mut Vec<Diagnostic>,
) {
    let expansion = Expansion { path, raw: &raw, origin };
    let functions = expansion.functions(out);
    for window in &raw.over {
        if window.micros() == 0 {
            let d = origin.at(&format!("{path}.over"), "a window of no length holds nothing");
            out.push(d.found(window.to_string()).expected("a positive duration, such as 30d"));
        }
    }
    let several = functions.len() > 1;
    let Some(categories) = expansion.categories(out) else { return };
    for function in functions {
        let Some(base) = expansion.base_name(function, several, out) else { continue };
        for (suffix, filter) in &categories {
            for (function, base) in expansion.variants(function, &format!("{base}{suffix}"), out) {
                for window in expansion.windows() {
                    let filter = and(raw.filter.as_deref(), filter.as_deref());
                    expansion.push(function.clone(), &base, window, filter, features, derived);
                }
            }
        }
    }
}

/// A function with its arguments; a ratio becomes two sums and their quotient.
#[derive(Debug, Clone)]
enum Variant {
    Plain(Function),
    Ratio { to: String },
}

/// One written aggregation, and where it stands.
struct Expansion<'a> {
    path: &'a str,
    raw: &'a RawAggregation,
    origin: &'a Origin,
}

impl Expansion<'_> {
    fn at(&self, key: &str, message: impl Into<String>) -> Diagnostic {
        self.origin.at(&format!("{}.{key}", self.path), message)
    }

    fn functions(&self, out: &mut Vec<Diagnostic>) -> Vec<Fn> {
        let mut functions = Vec::new();
        for name in &self.raw.functions.0 {
            match FUNCTIONS.iter().find(|(known, _)| known == name) {
                Some((_, function)) => functions.push(*function),
                None => {
                    let d = self.at("fn", format!("unknown function `{name}`"));
                    out.push(d.expected_one_of(name, FUNCTIONS.map(|(name, _)| name)));
                }
            }
        }
        if self.raw.functions.0.is_empty() {
            out.push(self.at("fn", "no function").found("[]").expected("one of them, or several, such as [sum, mean]"));
        }
        // One that is not complete is left out, so that its fault is not reported a second time by what reads it.
        functions.retain(|function| {
            let before = out.len();
            self.check(*function, out);
            out.len() == before
        });
        functions
    }

    /// Every key a function needs is there, and none that it has no use for.
    fn check(&self, function: Fn, out: &mut Vec<Diagnostic>) {
        let (raw, name) = (self.raw, function.name());
        if raw.of.is_none() && function != Fn::Count && !function.is_of_time() {
            let d = self.origin.at(self.path, format!("`{name}` of what?"));
            out.push(d.expected("`of: <column or SQL expression>`"));
        }
        let given = [
            ("values", !raw.values.is_empty()),
            ("top", raw.top.is_some()),
            ("at", raw.at.is_some()),
            ("half_life", raw.half_life.is_some()),
            ("sample", raw.sample.is_some()),
            ("to", raw.to.is_some()),
            ("unit", raw.unit.is_some()),
        ];
        for (key, given) in given {
            match (given, function.keys().iter().find(|(own, _)| *own == key)) {
                (true, None) => {
                    let takers = FUNCTIONS.iter().filter(|(_, f)| f.keys().iter().any(|(own, _)| *own == key));
                    let takers: Vec<&str> = takers.map(|(name, _)| *name).collect();
                    let d = self.at(key, format!("`{name}` takes no `{key}`"));
                    out.push(d.help(format!("leave it out here; it belongs to {}", takers.join(", "))));
                }
                (false, Some((_, true))) => {
                    let d = self.origin.at(self.path, format!("`{name}` needs `{key}`"));
                    out.push(d.expected(example(key)));
                }
                _ => {}
            }
        }
        if function == Fn::Share && raw.values.is_empty() == raw.top.is_none() {
            let d = self.origin.at(self.path, "`share` of which values?");
            out.push(d.expected("either `values: [...]`, or `top: 10` to let a model choose among its training rows"));
        }
        if raw.top.is_some_and(|top| top == 0 || top as usize > MOST_COLUMNS) {
            let d = self.at("top", "`top` is no number of columns").found(raw.top.unwrap_or(0).to_string());
            out.push(d.expected(format!("1 to {MOST_COLUMNS}")));
        }
        if raw.sample == Some(0) {
            out.push(self.at("sample", "one value in none is counted").expected("1 or more, such as `sample: 16`"));
        }
        if raw.half_life.is_some_and(|half_life| half_life.micros() == 0) {
            out.push(self.at("half_life", "weights that halve at once").expected("a positive duration, such as 30d"));
        }
        if raw.at.is_some() && self.percentiles().is_empty() {
            out.push(self.at("at", "no percentile").found("[]").expected(example("at")));
        }
        for at in self.percentiles().iter().filter(|at| !(0.0..=100.0).contains(*at)) {
            out.push(self.at("at", "no percentile").found(at.to_string()).expected("0 to 100"));
        }
    }

    fn windows(&self) -> Vec<Option<Duration>> {
        match self.raw.over.as_slice() {
            [] => vec![None],
            windows => windows.iter().copied().map(Some).collect(),
        }
    }

    fn percentiles(&self) -> &[f64] {
        self.raw.at.as_ref().map_or(&[], |at| &at.0)
    }

    /// Suffix of the name and condition of each category of `by`; one without both where there is no `by`.
    fn categories(&self, out: &mut Vec<Diagnostic>) -> Option<Vec<(String, Option<String>)>> {
        let Some(by) = &self.raw.by else { return Some(vec![(String::new(), None)]) };
        if by.values.is_empty() {
            out.push(self.at("by", "no categories").expected("`by: {of: <column>, values: [...]}`"));
        }
        if !self.fits(by.values.len(), "by", out) {
            return None;
        }
        let category = |value: &Value, out: &mut Vec<Diagnostic>| {
            let (text, name) = self.category("by", value, out)?;
            let literal = if value.is_string() { format!("'{}'", text.replace('\'', "''")) } else { text };
            Some((format!("_{name}"), Some(format!("({}) = {literal}", by.of))))
        };
        Some(by.values.iter().filter_map(|value| category(value, out)).collect())
    }

    /// A category as text and as part of a name.
    fn category(&self, key: &str, value: &Value, out: &mut Vec<Diagnostic>) -> Option<(String, String)> {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            _ => {
                out.push(self.at(key, "a category is a scalar").expected("text, number or bool"));
                return None;
            }
        };
        let name = snake(&text);
        if name.is_empty() {
            let d = self.at(key, format!("the category `{text}` gives no name")).expected("letters a to z, or digits");
            out.push(d.help("ask for it by `where`, and name it with `as`"));
        }
        (!name.is_empty()).then_some((text, name))
    }

    /// Refuses an expansion that would explode, before it does.
    fn fits(&self, values: usize, key: &str, out: &mut Vec<Diagnostic>) -> bool {
        let columns = values * self.windows().len() * self.raw.functions.0.len();
        if columns > MOST_COLUMNS {
            let message = format!("{values} categories would make {columns} columns");
            let help = "name those that matter; `fn: share` with `top` lets a model choose";
            out.push(self.at(key, message).expected(format!("at most {MOST_COLUMNS}")).help(help));
        }
        columns <= MOST_COLUMNS
    }

    /// The name before category and window.
    fn base_name(&self, function: Fn, several: bool, out: &mut Vec<Diagnostic>) -> Option<String> {
        let name = function.name();
        match (&self.raw.alias, &self.raw.of) {
            (Some(alias), _) if several => Some(format!("{alias}_{name}")),
            (Some(alias), _) if function == Fn::Share => Some(format!("{alias}_share")),
            (Some(alias), _) => Some(alias.clone()),
            (None, Some(column)) if is_name(column) => Some(match function {
                f if f.is_of_time() => name.to_string(),
                Fn::TopK | Fn::Percentile => column.clone(),
                _ => format!("{column}_{name}"),
            }),
            (None, Some(expression)) => {
                let d = self.at("of", "an expression gives no name").found(expression.clone());
                out.push(d.expected("`as: <name>` beside it"));
                None
            }
            (None, None) => Some(name.to_string()),
        }
    }

    fn variants(&self, function: Fn, base: &str, out: &mut Vec<Diagnostic>) -> Vec<(Variant, String)> {
        let unit = self.raw.unit.unwrap_or(TimeUnit::Days);
        let plain = |function: Function, name: String| (Variant::Plain(function), name);
        let single = match function {
            Fn::Count => Function::Count,
            Fn::CountDistinct => Function::CountDistinct,
            Fn::ApproxCountDistinct => Function::ApproxCountDistinct { sample: self.raw.sample.unwrap_or(SAMPLE) },
            Fn::Sum => Function::Sum,
            Fn::Mean => Function::Mean,
            Fn::Min => Function::Min,
            Fn::Max => Function::Max,
            Fn::Stddev => Function::Stddev,
            Fn::Variance => Function::Variance,
            Fn::First => Function::First,
            Fn::Last => Function::Last,
            Fn::Entropy => Function::Entropy,
            Fn::MeanGap => Function::MeanGap { unit },
            Fn::TimeSinceFirst => Function::TimeSinceFirst { unit },
            Fn::TimeSinceLast => Function::TimeSinceLast { unit },
            Fn::ExpWeightedMean => match self.raw.half_life {
                Some(half_life) => Function::ExpWeightedMean { half_life },
                None => return Vec::new(),
            },
            Fn::Ratio => {
                let to = self.raw.to.clone().unwrap_or_default();
                return vec![(Variant::Ratio { to }, base.to_string())];
            }
            Fn::Percentile => {
                let name = |at: f64| format!("{base}_p{}", at.to_string().replace('.', "_"));
                return self.percentiles().iter().map(|&at| plain(Function::Percentile { at }, name(at))).collect();
            }
            Fn::TopK => {
                let ranks = 1..=self.raw.top.unwrap_or(0).min(MOST_COLUMNS as u32);
                return ranks.map(|rank| plain(Function::Top { rank }, format!("{base}_top_{rank}"))).collect();
            }
            Fn::Share => match self.raw.top {
                Some(top) => Function::Shares { top },
                None if !self.fits(self.raw.values.len(), "values", out) => return Vec::new(),
                None => {
                    let shares = self.raw.values.iter().filter_map(|value| self.share(value, base, out));
                    return shares.map(|(function, name)| plain(function, name)).collect();
                }
            },
        };
        vec![plain(single, base.to_string())]
    }

    fn share(&self, value: &Value, base: &str, out: &mut Vec<Diagnostic>) -> Option<(Function, String)> {
        let (value, name) = self.category("values", value, out)?;
        Some((Function::Share { value }, format!("{base}_{name}")))
    }

    fn push(
        &self,
        variant: Variant,
        base: &str,
        window: Option<Duration>,
        filter: Option<String>,
        features: &mut Vec<Feature>,
        derived: &mut Vec<Derived>,
    ) {
        let name = window.map_or(base.to_string(), |w| format!("{base}_{w}"));
        let path = self.path.to_string();
        let feature = |name: String, function: Function, of: Option<String>, filter: Option<String>| Feature {
            doc: describe(&function, of.as_deref(), filter.as_deref(), window),
            name,
            function,
            of,
            filter,
            window,
            hidden: false,
            path: path.clone(),
        };
        match variant {
            Variant::Plain(function) => features.push(feature(name, function, self.raw.of.clone(), filter)),
            Variant::Ratio { to } => {
                let of = self.raw.of.clone().unwrap_or_default();
                let (above, below) = (format!("{name}__of"), format!("{name}__to"));
                let doc = describe_ratio(&of, &to, filter.as_deref(), window);
                for (name, of, other) in [(&above, &of, &to), (&below, &to, &of)] {
                    let both = and(filter.as_deref(), Some(&format!("({other}) is not null")));
                    let sum = feature(name.clone(), Function::Sum, Some(of.clone()), both);
                    features.push(Feature { hidden: true, ..sum });
                }
                derived.push(Derived { expression: format!("{above} / {below}"), name, doc, path: path.clone() });
            }
        }
    }
}

fn and(a: Option<&str>, b: Option<&str>) -> Option<String> {
    match (a, b) {
        (Some(a), Some(b)) => Some(format!("({a}) and {b}")),
        (one, other) => one.or(other).map(str::to_string),
    }
}

fn example(key: &str) -> &'static str {
    match key {
        "top" => "`top: 3`",
        "at" => "`at: 50`, or several: `at: [25, 50, 75]`",
        "half_life" => "`half_life: 30d`",
        "to" => "`to: <column or SQL expression>`",
        _ => "the key",
    }
}

fn describe(function: &Function, of: Option<&str>, filter: Option<&str>, window: Option<Duration>) -> String {
    let counted = of.is_none();
    let of = of.unwrap_or("rows");
    let what = match function {
        Function::Count if counted => "Number of rows".to_string(),
        Function::Count => format!("Number of rows where {of} is not null"),
        Function::CountDistinct => format!("Number of distinct {of}"),
        Function::ApproxCountDistinct { sample } => {
            format!("Number of distinct {of}, estimated from one value in {sample}")
        }
        Function::Sum => format!("Sum of {of}"),
        Function::Mean => format!("Mean of {of}"),
        Function::Min => format!("Least {of}"),
        Function::Max => format!("Greatest {of}"),
        Function::Stddev => format!("Sample standard deviation of {of}"),
        Function::Variance => format!("Sample variance of {of}"),
        Function::First => format!("Earliest {of}"),
        Function::Last => format!("Latest {of}"),
        Function::Share { value } => format!("Share of rows with {of} = {value}"),
        Function::Shares { .. } => format!("Share of rows of each {of}"),
        Function::Top { rank: 1 } => format!("Most frequent {of}"),
        Function::Top { rank } => format!("{of} of rank {rank} by frequency"),
        Function::Entropy => format!("Entropy of {of}, in nats"),
        Function::ExpWeightedMean { half_life } => {
            format!("Mean of {of}, with weights that halve every {half_life} before the newest")
        }
        Function::Percentile { at } => format!("Percentile {at} of {of}"),
        Function::MeanGap { unit } => format!("Mean {} between consecutive rows", unit.name()),
        Function::TimeSinceFirst { unit } => format!("{} from the first row to as_of", capital(unit.name())),
        Function::TimeSinceLast { unit } => format!("{} from the last row to as_of", capital(unit.name())),
    };
    sentence(&what, filter, window)
}

fn describe_ratio(of: &str, to: &str, filter: Option<&str>, window: Option<Duration>) -> String {
    sentence(&format!("Sum of {of} over sum of {to}, of rows that have both"), filter, window)
}

fn sentence(what: &str, filter: Option<&str>, window: Option<Duration>) -> String {
    let filter = filter.map(|f| format!(", where {f}")).unwrap_or_default();
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

    /// Features and derived columns of one aggregation, and what is wrong with it.
    fn expanded(text: &str) -> (Vec<Feature>, Vec<Derived>, Vec<Diagnostic>) {
        let (mut features, mut derived, mut out) = (Vec::new(), Vec::new(), Vec::new());
        let (raw, origin) = yaml::parse::<RawAggregation>("g.yaml", text, &mut out).unwrap();
        expand("", raw, &origin, &mut features, &mut derived, &mut out);
        (features, derived, out)
    }

    fn names(text: &str) -> Vec<String> {
        let (features, derived, out) = expanded(text);
        assert_eq!(out, [], "{text}");
        let shown = features.into_iter().filter(|f| !f.hidden).map(|f| f.name);
        shown.chain(derived.into_iter().map(|d| d.name)).collect()
    }

    fn message(text: &str) -> String {
        let (features, _, out) = expanded(text);
        assert!(features.is_empty(), "{text}: what is wrong is not expanded: {features:?}");
        out.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn functions_are_called_in_the_schema_as_they_are_parsed() {
        let schema = schemars::SchemaGenerator::default().into_root_schema_for::<Fn>().to_value();
        let mut said: Vec<String> = crate::define::schema::words(&schema).into_iter().map(|(word, _)| word).collect();
        let mut parsed: Vec<String> = super::names().map(str::to_string).collect();
        said.sort();
        parsed.sort();
        assert_eq!(said, parsed);
    }

    #[test]
    fn names_say_function_category_and_window() {
        let expected: [(&str, &[&str]); 15] = [
            ("{fn: count}", &["count"]),
            ("{fn: count, over: [1d, 36h]}", &["count_1d", "count_36h"]),
            ("{of: a, fn: sum, over: [7d]}", &["a_sum_7d"]),
            ("{of: a, fn: sum, as: total, over: [7d]}", &["total_7d"]),
            ("{of: a, fn: [sum, mean], as: total}", &["total_sum", "total_mean"]),
            ("{of: a, fn: percentile, at: [5, 99.5], over: [7d]}", &["a_p5_7d", "a_p99_5_7d"]),
            ("{of: a, fn: top_k, top: 2, as: best}", &["best_top_1", "best_top_2"]),
            ("{of: a, fn: share, values: [X y, 3, true]}", &["a_share_x_y", "a_share_3", "a_share_true"]),
            ("{of: a, fn: share, top: 9, over: [7d]}", &["a_share_7d"]),
            ("{of: a, fn: ratio, to: b, over: [7d]}", &["a_ratio_7d"]),
            ("{of: a, fn: exp_weighted_mean, half_life: 3d}", &["a_exp_weighted_mean"]),
            ("{of: a, fn: [approx_count_distinct, entropy]}", &["a_approx_count_distinct", "a_entropy"]),
            ("{of: a, fn: [mean_gap, time_since_last]}", &["mean_gap", "time_since_last"]),
            ("{of: a, fn: sum, by: {of: m, values: [X y, 2]}, over: [7d]}", &["a_sum_x_y_7d", "a_sum_2_7d"]),
            ("{of: a, fn: percentile, at: 50, by: {of: m, values: [x]}, over: [7d]}", &["a_x_p50_7d"]),
        ];
        for (text, expected) in expected {
            assert_eq!(names(text), expected, "{text}");
        }
    }

    #[test]
    fn a_category_is_one_more_condition() {
        let (features, _, out) = expanded("{fn: count, where: a or b, by: {of: \"c || d\", values: [it's, 1, true]}}");
        assert_eq!(out, []);
        let filters: Vec<_> = features.iter().filter_map(|f| f.filter.as_deref()).collect();
        assert_eq!(
            filters,
            ["(a or b) and (c || d) = 'it''s'", "(a or b) and (c || d) = 1", "(a or b) and (c || d) = true"]
        );
    }

    #[test]
    fn a_ratio_is_two_hidden_sums_over_the_same_rows() {
        let (features, derived, _) = expanded("{of: a, fn: ratio, to: b + c, where: d, over: [7d]}");
        let sums: Vec<_> = features.iter().map(|f| (f.name.as_str(), f.of.as_deref(), f.filter.as_deref())).collect();
        assert_eq!(
            sums,
            [
                ("a_ratio_7d__of", Some("a"), Some("(d) and (b + c) is not null")),
                ("a_ratio_7d__to", Some("b + c"), Some("(d) and (a) is not null")),
            ]
        );
        assert!(features.iter().all(|f| f.hidden && f.function == Function::Sum));
        assert_eq!(derived[0].expression, "a_ratio_7d__of / a_ratio_7d__to");
    }

    #[test]
    fn every_function_is_described_and_listed_once() {
        let listed: Vec<&str> = super::names().collect();
        let unique: std::collections::BTreeSet<&str> = listed.iter().copied().collect();
        assert_eq!(unique.len(), listed.len());
        for name in listed {
            let own = match name {
                "share" => "values: [x], ",
                "top_k" => "top: 2, ",
                "percentile" => "at: 50, ",
                "exp_weighted_mean" => "half_life: 1d, ",
                "ratio" => "to: b, ",
                _ => "",
            };
            let (features, derived, out) = expanded(&format!("{{of: a, fn: {name}, {own}as: x, over: [7d]}}"));
            assert_eq!(out, []);
            let docs = features.iter().map(|f| &f.doc).chain(derived.iter().map(|d| &d.doc));
            docs.for_each(|doc| assert!(doc.ends_with("over the last 7d."), "{name}: {doc}"));
        }
    }

    #[test]
    fn each_function_has_its_keys_and_no_others() {
        let wrong = [
            ("{of: a, fn: percentile}", "`percentile` needs `at`"),
            ("{of: a, fn: percentile, at: []}", "no percentile"),
            ("{of: a, fn: percentile, at: [50, -1]}", "found: -1"),
            ("{of: a, fn: percentile, at: .nan}", "found: NaN"),
            ("{of: a, fn: top_k}", "`top_k` needs `top`"),
            ("{of: a, fn: top_k, top: 0}", "1 to 4096"),
            ("{of: a, fn: exp_weighted_mean}", "`half_life: 30d`"),
            ("{of: a, fn: exp_weighted_mean, half_life: 0h}", "a positive duration"),
            ("{of: a, fn: ratio}", "`to: <column or SQL expression>`"),
            ("{of: a, fn: approx_count_distinct, sample: 0}", "1 or more"),
            ("{of: a, fn: share}", "`share` of which values?"),
            ("{of: a, fn: share, values: [x], top: 3}", "`share` of which values?"),
            ("{of: a, fn: sum, at: 50}", "it belongs to percentile"),
            ("{of: a, fn: sum, unit: days}", "it belongs to mean_gap, time_since_first, time_since_last"),
            ("{of: a, fn: max, top: 3}", "it belongs to share, top_k"),
            ("{fn: [sum]}", "`sum` of what?"),
            ("{of: a, fn: []}", "no function"),
            ("{of: a, fn: entropi}", "did you mean `entropy`?"),
            ("{of: a, fn: share, values: ['?']}", "the category `?` gives no name"),
            ("{fn: count, by: {of: m, values: [[x]]}}", "a category is a scalar"),
        ];
        for (text, expected) in wrong {
            let message = message(text);
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn what_would_explode_is_refused_with_its_number_before_it_does() {
        let values: Vec<String> = (0..100_000).map(|i| format!("v{i}")).collect();
        let values = values.join(", ");
        let share = message(&format!("{{of: a, fn: share, values: [{values}]}}"));
        assert!(share.contains("100000 categories would make 100000 columns"), "{share}");
        let by = message(&format!("{{of: a, fn: [sum, mean], over: [1d, 2d], by: {{of: m, values: [{values}]}}}}"));
        assert!(by.contains("100000 categories would make 400000 columns"), "{by}");
    }
}
