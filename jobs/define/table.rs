//! `sql/**/NAME.sql` with its twin `NAME.yaml`: an analytical table.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use super::diagnostic::Diagnostic;
use super::map::Map;
use super::personal::Class;
use super::schema;
use super::sql;
use super::trend::{Freshness, Severity, Trend};
use super::types::{Duration, OneOrMany};
use super::yaml::Origin;

/// A table made by a query, validated but for its types, which need a plan.
#[derive(Debug, Clone, Serialize)]
pub struct Table {
    pub name: String,
    pub description: String,
    pub grain: String,
    /// The query, as written.
    pub sql: String,
    /// Sources and tables the query reads, in order of appearance.
    pub inputs: Vec<String>,
    pub key: Vec<String>,
    pub event_time: Option<String>,
    pub tie_breaker: Vec<String>,
    pub materialized: Materialized,
    pub lookback: Duration,
    pub lookahead: Duration,
    pub columns: Map<ColumnDoc>,
    #[serde(skip)]
    pub audits: Vec<Audit>,
    #[serde(skip)]
    pub tests: Vec<Case>,
    #[serde(skip)]
    pub origin: Origin,
    /// The file of the query.
    #[serde(skip)]
    pub sql_file: String,
}

/// How a table is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Materialized {
    /// Partitioned by `event_date`; only days whose inputs changed are recomputed.
    Incremental,
    /// Computed as a whole whenever an input changed.
    Full,
}

/// What a column means.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnDoc {
    /// The column's comment in the lake.
    #[serde(default)]
    pub doc: String,
    /// What it is measured in, such as `PLN`.
    pub unit: Option<String>,
}

/// A check of what is about to be committed.
#[derive(Debug, Clone)]
pub struct Audit {
    pub name: String,
    pub check: AuditCheck,
    pub severity: Severity,
    /// Where it was written, for messages.
    pub path: String,
}

#[derive(Debug, Clone)]
pub enum AuditCheck {
    NotNull(Vec<String>),
    Unique(Vec<String>),
    AcceptedValues {
        column: String,
        values: Vec<String>,
    },
    Relationships {
        column: String,
        to_table: String,
        to_column: String,
    },
    RowCount {
        min: u64,
        max: Option<u64>,
    },
    /// Returns the bad rows of `this`.
    Query(String),
    Freshness(Freshness),
    Trend(Trend),
}

/// Rows that go into a query, and the rows that must come out.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub name: String,
    /// Source or table → its rows; a column that is left out is null.
    #[schemars(with = "Map<Vec<Map<serde_json::Value>>>")]
    pub given: Map<Vec<Map<Value>>>,
    /// The rows that must come out, in any order; the columns that are named are compared.
    #[schemars(with = "Vec<Map<serde_json::Value>>")]
    pub expect: Vec<Map<Value>>,
}

/// A table made by the query in `NAME.sql` beside it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Table")]
pub struct RawTable {
    /// What the table is: its comment in the lake.
    #[serde(default)]
    description: String,
    /// What one row is, such as `one row per payment`.
    #[serde(default)]
    grain: String,
    /// The columns that identify a row; versions of a row share them.
    #[serde(default)]
    key: OneOrMany,
    /// The column that says when a row happened; a table without one has no history.
    event_time: Option<String>,
    /// The columns that order rows of equal event time; without it, those of `key`.
    tie_breaker: Option<OneOrMany>,
    /// How it is kept.
    materialized: Materialized,
    /// From how long before it a day's rows may come.
    #[schemars(extend("default" = NO_TIME))]
    lookback: Option<Duration>,
    /// From how long after it a day's rows may come.
    #[schemars(extend("default" = NO_TIME))]
    lookahead: Option<Duration>,
    /// Every output column, by name.
    #[serde(default)]
    columns: Map<ColumnDoc>,
    /// Checks of what is about to be committed.
    #[serde(default)]
    audits: Vec<RawAudit>,
    /// Cases that `scorehouse check` runs in memory.
    #[serde(default)]
    tests: Vec<Case>,
    /// Column that is computed from personal data → what it is.
    #[serde(default)]
    pub pii: Map<Class>,
}

/// How far a day's rows reach unless a table says so.
const NO_TIME: Duration = Duration::days(0);

/// The keys of an audit of which there is exactly one.
const CHECKS: [&str; 8] =
    ["not_null", "unique", "accepted_values", "relationships", "row_count", "query", "freshness", "trend"];

/// A check of what is about to be committed: one of `not_null`, `unique`, `accepted_values`, `relationships`,
/// `row_count`, `query`, `freshness` and `trend`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Audit", extend("oneOf" = schema::one_of(&CHECKS)))]
struct RawAudit {
    /// Its name in messages and in the table `audits`; without it, the check as it is written.
    name: Option<String>,
    /// What it does where it fails.
    #[serde(default)]
    severity: Severity,
    /// These columns have no nulls.
    not_null: Option<OneOrMany>,
    /// No two rows have the same values of these columns.
    unique: Option<OneOrMany>,
    /// A column has no other values than these.
    accepted_values: Option<RawAccepted>,
    /// Every value of a column is one of another table's.
    relationships: Option<RawRelationship>,
    /// How many rows there are.
    row_count: Option<RawRowCount>,
    /// SQL that returns the bad rows of `this`.
    query: Option<String>,
    /// How old the newest value of a column may be at the night's end.
    freshness: Option<Freshness>,
    /// A measured number is near the median of earlier nights.
    trend: Option<Trend>,
}

/// The values that a column may have.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AcceptedValues")]
struct RawAccepted {
    /// The column.
    column: String,
    /// Its values, as texts.
    values: Vec<String>,
}

/// A column whose values are another's.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Relationship")]
struct RawRelationship {
    /// The column.
    column: String,
    /// The other, as `table.column`.
    #[schemars(regex(pattern = r"\."))]
    to: String,
}

/// How many rows there are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RowCount")]
struct RawRowCount {
    /// At least so many.
    #[serde(default)]
    min: u64,
    /// At most so many; without it, any number.
    max: Option<u64>,
}

impl Table {
    /// Joins a query and its twin. Columns are checked later, against the plan.
    pub fn validate(
        name: &str,
        sql_file: &str,
        text: &str,
        raw: RawTable,
        origin: &Origin,
        out: &mut Vec<Diagnostic>,
    ) -> Option<Table> {
        let inputs = match sql::inputs(sql_file, text) {
            Ok(inputs) => inputs,
            Err(diagnostic) => {
                out.push(*diagnostic);
                return None;
            }
        };
        let tie_breaker = raw.tie_breaker.unwrap_or_else(|| raw.key.clone());
        if raw.materialized == Materialized::Incremental && raw.event_time.is_none() {
            out.push(
                origin
                    .at("materialized", format!("table {name} is incremental and has no event time"))
                    .expected("`event_time: <column>`, which gives a row its day, or `materialized: full`"),
            );
        }
        let audits = raw.audits.into_iter().enumerate().filter_map(|(i, a)| audit(i, a, origin, out)).collect();
        for (i, case) in raw.tests.iter().enumerate() {
            for given in case.given.keys().filter(|given| !inputs.contains(given)) {
                let d = origin.at(&format!("tests.{i}.given.{given}"), format!("{name} does not read `{given}`"));
                out.push(d.expected_one_of(given, inputs.iter().map(String::as_str)));
            }
        }
        Some(Table {
            name: name.to_string(),
            description: raw.description,
            grain: raw.grain,
            sql: text.to_string(),
            inputs,
            key: raw.key.0,
            event_time: raw.event_time,
            tie_breaker: tie_breaker.0,
            materialized: raw.materialized,
            lookback: raw.lookback.unwrap_or(NO_TIME),
            lookahead: raw.lookahead.unwrap_or(NO_TIME),
            columns: raw.columns,
            audits,
            tests: raw.tests,
            origin: origin.clone(),
            sql_file: sql_file.to_string(),
        })
    }
}

impl Table {
    /// Relations beside the table itself that its audits read. They are built before it, as its inputs are.
    pub fn audited_against(&self) -> Vec<String> {
        let mut names = Vec::new();
        for audit in &self.audits {
            match &audit.check {
                AuditCheck::Relationships { to_table, .. } => names.push(to_table.clone()),
                AuditCheck::Query(query) => names.extend(sql::inputs("", query).unwrap_or_default()),
                _ => {}
            }
        }
        names.retain(|name| name != "this" && *name != self.name);
        names.sort();
        names.dedup();
        names
    }
}

fn audit(index: usize, raw: RawAudit, origin: &Origin, out: &mut Vec<Diagnostic>) -> Option<Audit> {
    let path = format!("audits.{index}");
    let mut checks: Vec<(String, AuditCheck)> = Vec::new();
    if let Some(OneOrMany(columns)) = raw.not_null {
        checks.push((format!("not_null({})", columns.join(", ")), AuditCheck::NotNull(columns)));
    }
    if let Some(OneOrMany(columns)) = raw.unique {
        checks.push((format!("unique({})", columns.join(", ")), AuditCheck::Unique(columns)));
    }
    if let Some(RawAccepted { column, values }) = raw.accepted_values {
        checks.push((format!("accepted_values({column})"), AuditCheck::AcceptedValues { column, values }));
    }
    if let Some(RawRelationship { column, to }) = raw.relationships {
        match to.split_once('.') {
            Some((table, to_column)) => checks.push((
                format!("relationships({column} → {to})"),
                AuditCheck::Relationships { column, to_table: table.into(), to_column: to_column.into() },
            )),
            None => out.push(
                origin
                    .at(&format!("{path}.relationships.to"), "`to` names no column")
                    .found(to)
                    .expected("table.column"),
            ),
        }
    }
    if let Some(RawRowCount { min, max }) = raw.row_count {
        checks.push(("row_count".into(), AuditCheck::RowCount { min, max }));
    }
    if let Some(query) = raw.query {
        checks.push(("query".into(), AuditCheck::Query(query)));
    }
    if let Some(freshness) = raw.freshness {
        checks.push((format!("freshness({})", freshness.column), AuditCheck::Freshness(freshness)));
    }
    if let Some(trend) = raw.trend {
        checks.push((format!("trend({})", trend.measure), AuditCheck::Trend(trend)));
    }
    if checks.len() != 1 {
        let names = CHECKS.join(", ");
        let found = format!("{} of them", checks.len());
        out.push(origin.at(&path, "an audit is one check").found(found).expected(format!("one of {names}")));
    }
    let (default, check) = checks.into_iter().next()?;
    Some(Audit { name: raw.name.unwrap_or(default), check, severity: raw.severity, path })
}
