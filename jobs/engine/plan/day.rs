//! The day of a row: what keeps an incremental table local to a date.
//!
//! A day of an incremental table is recomputed from the same day of its inputs, or from the days within its declared
//! `lookback` and `lookahead`. For that to give what a full rebuild gives, every step of the query must keep rows of
//! different days apart: a join equates days or is bound to the reach of the day it makes (the bound becomes part of
//! its condition), aggregates group by the day, windows partition by it.

use arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, LogicalPlan, lit};

/// How far an output day of an incremental table reads, and which output days are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    /// Days of `lookback`.
    pub before: i32,
    /// Days of `lookahead`.
    pub after: i32,
    /// First and last output day, in days since 1970; `None` for all there are.
    pub days: Option<(i32, i32)>,
}

impl Reach {
    /// The days to read of an input; `drives` if it is the input that gives an output row its event time.
    pub fn of_input(&self, drives: bool) -> Option<(i32, i32)> {
        let (from, to) = self.days?;
        if drives { Some((from, to)) } else { Some((from.saturating_sub(self.before), to.saturating_add(self.after))) }
    }

    /// `other` lies within the reach of `day`.
    pub fn bound(&self, day: &Column, other: &Column) -> Expr {
        let (day, other) = (Expr::Column(day.clone()), Expr::Column(other.clone()));
        let earliest = day.clone() - days(self.before);
        other.clone().gt_eq(earliest).and(other.lt_eq(day + days(self.after)))
    }
}

fn days(days: i32) -> Expr {
    lit(ScalarValue::new_interval_mdn(0, days, 0))
}

/// The day of the rows of a plan under rewriting.
#[derive(Debug, Clone)]
pub struct Day {
    /// A column that carries it.
    pub column: Column,
    /// Per column of the original plan: true if its date is the row's day (or it is null).
    pub same: Vec<bool>,
    /// True if the event time of the output comes from here.
    pub drives: bool,
}

/// True if the date of the expression is the row's day: a time or date of that day, cast or truncated to no more than
/// a day.
pub fn is_day(expr: &Expr, schema: &DFSchema, same: &[bool]) -> bool {
    match expr {
        Expr::Column(column) => {
            schema.maybe_index_of_column(column).is_some_and(|i| same.get(i).copied().unwrap_or(false))
        }
        Expr::Alias(alias) => is_day(&alias.expr, schema, same),
        Expr::Cast(cast) => keeps_date(cast.field.data_type()) && is_day(&cast.expr, schema, same),
        Expr::TryCast(cast) => keeps_date(cast.field.data_type()) && is_day(&cast.expr, schema, same),
        Expr::ScalarFunction(f) if f.name() == "coalesce" => f.args.iter().all(|arg| is_day(arg, schema, same)),
        Expr::ScalarFunction(f) if f.name() == "date_trunc" => match f.args.as_slice() {
            [Expr::Literal(unit, _), time] => truncates_within_day(unit) && is_day(time, schema, same),
            _ => false,
        },
        _ => false,
    }
}

/// The column of the input that an expression takes its day from.
pub fn origin_of(expr: &Expr, input: &LogicalPlan) -> Option<usize> {
    match expr {
        Expr::Column(column) => input.schema().maybe_index_of_column(column),
        Expr::Alias(alias) => origin_of(&alias.expr, input),
        Expr::Cast(cast) => origin_of(&cast.expr, input),
        Expr::TryCast(cast) => origin_of(&cast.expr, input),
        Expr::ScalarFunction(f) if f.name() == "coalesce" => origin_of(f.args.first()?, input),
        Expr::ScalarFunction(f) if f.name() == "date_trunc" => origin_of(f.args.get(1)?, input),
        _ => None,
    }
}

fn keeps_date(data_type: &DataType) -> bool {
    match data_type {
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, None) => true,
        DataType::Timestamp(_, Some(zone)) => matches!(zone.as_ref(), "UTC" | "+00:00" | "Z"),
        _ => false,
    }
}

fn truncates_within_day(unit: &ScalarValue) -> bool {
    let unit = match unit {
        ScalarValue::Utf8(Some(unit)) | ScalarValue::Utf8View(Some(unit)) | ScalarValue::LargeUtf8(Some(unit)) => unit,
        _ => return false,
    };
    ["microsecond", "millisecond", "second", "minute", "hour", "day"].contains(&unit.to_lowercase().as_str())
}
