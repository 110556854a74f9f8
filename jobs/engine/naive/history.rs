//! Every row version of a table, and whether it counts at an instant.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::prelude::DataFrame;

use super::{as_type, collected, micros, named, order, order_all, scalars};
use crate::define::features::{self, Visibility};
use crate::define::types::timestamp;
use crate::engine::plan::{KNOWN_FROM, KNOWN_UNTIL};
use crate::error::Result;

/// The end of a version that has none.
pub const OPEN: i64 = i64::MAX;

/// A row version. Times are microseconds UTC.
#[derive(Debug, Clone)]
pub struct Row {
    pub entity: Vec<ScalarValue>,
    pub time: i64,
    pub ties: Vec<ScalarValue>,
    pub known_from: i64,
    pub known_until: i64,
    /// Whether the definition's `where` holds.
    pub kept: bool,
    /// Of the expressions asked for; null where `where` does not hold.
    pub values: Vec<ScalarValue>,
}

/// All rows of a table that have an entity and a time.
#[derive(Debug)]
pub struct History {
    pub rows: Vec<Row>,
    /// Types of the entity's columns, and of the expressions.
    pub keys: Vec<DataType>,
    pub types: Vec<DataType>,
    visibility: Visibility,
    expressions: Vec<String>,
}

/// Which rows a feature is about.
#[derive(Debug, Clone, Copy, Default)]
pub struct Selection {
    /// Microseconds before as_of; `None` is all history.
    pub window: Option<i64>,
    /// Indices of expressions.
    pub condition: Option<usize>,
    pub value: Option<usize>,
    /// Rows whose value is null do not count …
    pub wants_value: bool,
    /// … nor those whose value is NaN or infinite.
    pub wants_finite: bool,
}

/// Whether a row counts, or the first reason why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Counts,
    /// It happened at or after as_of.
    After,
    NotYetKnown,
    /// Another version had replaced it.
    Superseded,
    BeforeWindow,
    Filtered,
    Null,
    NotFinite,
}

impl History {
    /// Reads all of a table, with the values of SQL expressions over its columns.
    pub async fn read(
        definition: &features::History,
        event_time: &str,
        tie_breaker: &[String],
        mut expressions: Vec<String>,
        table: DataFrame,
    ) -> Result<History> {
        expressions.sort();
        expressions.dedup();
        // A version of which it is not said when it was known never was; without versions all always were.
        let has_versions = table.schema().has_column_with_unqualified_name(KNOWN_FROM);
        let never = if has_versions { i64::MAX } else { i64::MIN };
        let select = select(definition, event_time, tie_breaker, &expressions, &table);
        let batch = collected(table.select_exprs(&select.iter().map(String::as_str).collect::<Vec<_>>())?).await?;

        let instants = |name: &str| scalars(&as_type(named(&batch, name)?, &timestamp())?);
        let several = |letter: &str, count: usize| -> Result<Vec<ArrayRef>> {
            (0..count).map(|i| plain(named(&batch, &format!("{letter}{i}"))?)).collect()
        };
        let keys = several("k", definition.entity.len())?;
        let (ties, values) = (several("o", tie_breaker.len())?, several("e", expressions.len())?);
        let (time, from, until) = (instants("t")?, instants("f")?, instants("u")?);
        let kept = scalars(named(&batch, "kept")?)?;
        let mut rows = Vec::new();
        for index in 0..batch.num_rows() {
            let at = |columns: &[ArrayRef]| -> Result<Vec<ScalarValue>> {
                Ok(columns.iter().map(|c| ScalarValue::try_from_array(c, index)).collect::<Result<_, _>>()?)
            };
            let entity = at(&keys)?;
            let (Some(time), false) = (micros(&time[index]), entity.iter().any(ScalarValue::is_null)) else { continue };
            rows.push(Row {
                entity,
                time,
                ties: at(&ties)?,
                known_from: micros(&from[index]).unwrap_or(never),
                known_until: micros(&until[index]).unwrap_or(OPEN),
                kept: kept[index] == ScalarValue::Boolean(Some(true)),
                values: at(&values)?,
            });
        }
        let types = |columns: &[ArrayRef]| columns.iter().map(|c| c.data_type().clone()).collect();
        Ok(History { rows, keys: types(&keys), types: types(&values), visibility: definition.visibility, expressions })
    }

    /// The index of an expression among the values.
    pub fn index(&self, sql: &str) -> Option<usize> {
        self.expressions.iter().position(|expression| expression == sql)
    }

    pub fn verdict(&self, row: &Row, as_of: i64, selection: &Selection) -> Verdict {
        let value = selection.value.map_or(&ScalarValue::Null, |index| &row.values[index]);
        let holds = |index: usize| row.values[index] == ScalarValue::Boolean(Some(true));
        let (known, superseded) = match self.visibility {
            Visibility::Known => (row.known_from <= as_of, row.known_until <= as_of),
            Visibility::EventTime => (true, row.known_until != OPEN),
        };
        if row.time >= as_of {
            Verdict::After
        } else if !known {
            Verdict::NotYetKnown
        } else if superseded {
            Verdict::Superseded
        } else if selection.window.is_some_and(|window| row.time < as_of.saturating_sub(window)) {
            Verdict::BeforeWindow
        } else if !row.kept || selection.condition.is_some_and(|condition| !holds(condition)) {
            Verdict::Filtered
        } else if selection.wants_value && selection.value.is_some() && value.is_null() {
            Verdict::Null
        } else if selection.wants_finite && matches!(value, ScalarValue::Float64(Some(f)) if !f.is_finite()) {
            Verdict::NotFinite
        } else {
            Verdict::Counts
        }
    }

    /// Times and values of an entity's rows that count, in order: time, tie breaker, known-from, value.
    pub fn counted(&self, entity: &[ScalarValue], as_of: i64, selection: &Selection) -> Vec<(i64, ScalarValue)> {
        let null = ScalarValue::Null;
        let value = |row: &Row| selection.value.map_or(null.clone(), |index| row.values[index].clone());
        let counts = |row: &&Row| self.verdict(row, as_of, selection) == Verdict::Counts;
        let mut rows: Vec<&Row> = self.rows.iter().filter(|row| row.entity == entity).filter(counts).collect();
        rows.sort_by(|a, b| {
            let ties = a.time.cmp(&b.time).then_with(|| order_all(&a.ties, &b.ties));
            ties.then(a.known_from.cmp(&b.known_from)).then_with(|| order(&value(a), &value(b)))
        });
        rows.into_iter().map(|row| (row.time, value(row))).collect()
    }
}

/// The columns read: time, whether `where` holds, known-from and -until, keys, tie breaker, values.
fn select(
    definition: &features::History,
    event_time: &str,
    tie_breaker: &[String],
    expressions: &[String],
    table: &DataFrame,
) -> Vec<String> {
    let quoted = |name: &String| format!(r#""{name}""#);
    let time = format!(r#""{event_time}""#);
    let condition = definition.filter.as_deref().map_or("true".to_string(), |sql| format!("({sql})"));
    // An expression may fail on a row that is no history; there it is null.
    let there = definition.entity.iter().map(quoted).chain([time.clone()]);
    let there: Vec<String> = there.map(|column| format!("{column} is not null")).collect();
    let guard = format!("{} and {condition}", there.join(" and "));
    let mut columns = vec![format!("{time} as t"), format!("{condition} as kept")];
    for (name, letter) in [(KNOWN_FROM, "f"), (KNOWN_UNTIL, "u")] {
        let there = table.schema().has_column_with_unqualified_name(name);
        columns.push(format!("{} as {letter}", if there { name } else { "null" }));
    }
    columns.extend(definition.entity.iter().enumerate().map(|(i, name)| format!("{} as k{i}", quoted(name))));
    columns.extend(tie_breaker.iter().enumerate().map(|(i, name)| format!("{} as o{i}", quoted(name))));
    columns
        .extend(expressions.iter().enumerate().map(|(i, sql)| format!("case when {guard} then ({sql}) end as e{i}")));
    columns
}

/// Values as one of the definition language's types.
pub fn plain(array: &ArrayRef) -> Result<ArrayRef> {
    let data_type = match array.data_type() {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 | DataType::Float32 => DataType::Float64,
        DataType::Date64 => DataType::Date32,
        DataType::Timestamp(..) => timestamp(),
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => DataType::Decimal128(*p, *s),
        other => other.clone(),
    };
    as_type(array, &data_type)
}
