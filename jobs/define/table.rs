//! `sql/**/NAME.sql` with its twin `NAME.yaml`: an analytical table.

use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use super::diagnostic::Diagnostic;
use super::map::Map;
use super::personal::Class;
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Materialized {
    /// Partitioned by `event_date`; only days whose inputs changed are recomputed.
    Incremental,
    Full,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnDoc {
    #[serde(default)]
    pub doc: String,
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

/// A `given`/`expect` case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    pub given: Map<Vec<Map<Value>>>,
    pub expect: Vec<Map<Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTable {
    #[serde(default)]
    description: String,
    #[serde(default)]
    grain: String,
    #[serde(default)]
    key: OneOrMany,
    event_time: Option<String>,
    tie_breaker: Option<OneOrMany>,
    materialized: Materialized,
    lookback: Option<Duration>,
    lookahead: Option<Duration>,
    #[serde(default)]
    columns: Map<ColumnDoc>,
    #[serde(default)]
    audits: Vec<RawAudit>,
    #[serde(default)]
    tests: Vec<Case>,
    #[serde(default)]
    pub pii: Map<Class>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAudit {
    name: Option<String>,
    #[serde(default)]
    severity: Severity,
    not_null: Option<OneOrMany>,
    unique: Option<OneOrMany>,
    accepted_values: Option<RawAccepted>,
    relationships: Option<RawRelationship>,
    row_count: Option<RawRowCount>,
    query: Option<String>,
    freshness: Option<Freshness>,
    trend: Option<Trend>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAccepted {
    column: String,
    values: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRelationship {
    column: String,
    to: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRowCount {
    #[serde(default)]
    min: u64,
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
            lookback: raw.lookback.unwrap_or(Duration::days(0)),
            lookahead: raw.lookahead.unwrap_or(Duration::days(0)),
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
        let names = "not_null, unique, accepted_values, relationships, row_count, query, freshness, trend";
        let found = format!("{} of them", checks.len());
        out.push(origin.at(&path, "an audit is one check").found(found).expected(format!("one of {names}")));
    }
    let (default, check) = checks.into_iter().next()?;
    Some(Audit { name: raw.name.unwrap_or(default), check, severity: raw.severity, path })
}
