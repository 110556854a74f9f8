//! The columns a kernel reads: one projection of the events that computes every expression once.
//!
//! Layout: entity keys, event time, values, conditions, then known-from and known-until where the table has them.

use arrow::datatypes::{DataType, Schema};
use datafusion::common::{Column, ScalarValue};
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::{Expr, cast, lit};

use crate::define::features::Visibility;
use crate::define::types;
use crate::engine::session;
use crate::error::Result;

use super::expression::Typed;
use super::packed;
use super::{KNOWN_FROM, KNOWN_UNTIL};

/// What is read of the events, how it is ordered, and who is described.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// Names and types of the entity's columns.
    pub entity: Vec<(String, Typed)>,
    pub event_time: Expr,
    pub visibility: Visibility,
    /// The filter of the whole definition.
    pub filter: Option<Expr>,
    pub values: Vec<Typed>,
    pub conditions: Vec<Expr>,
    /// Values that order rows of equal event time.
    pub ties: Vec<usize>,
    /// Values that functions take by order: they order what even known-from leaves open, so that equal rows cannot
    /// swap a result.
    pub ordered: Vec<usize>,
    /// Whether any result depends on the order of rows with equal event time.
    pub depends_on_order: bool,
    has_known_from: bool,
    has_known_until: bool,
}

/// Where the projection put what.
#[derive(Debug, Clone)]
pub struct Layout {
    pub keys: usize,
    pub values: usize,
    pub conditions: usize,
    /// Only if visibility depends on it.
    pub known_from: Option<usize>,
    pub known_until: Option<usize>,
    pub order: Vec<usize>,
}

impl Layout {
    pub fn time(&self) -> usize {
        self.keys
    }
}

impl Inputs {
    pub fn new(table: &Schema, entity: Vec<(String, Typed)>, event_time: Typed, visibility: Visibility) -> Self {
        Inputs {
            entity,
            event_time: cast(event_time.expr, types::timestamp()),
            visibility,
            filter: None,
            values: Vec::new(),
            conditions: Vec::new(),
            ties: Vec::new(),
            ordered: Vec::new(),
            depends_on_order: false,
            has_known_from: table.field_with_name(KNOWN_FROM).is_ok(),
            has_known_until: table.field_with_name(KNOWN_UNTIL).is_ok(),
        }
    }

    /// The index of a value; the same expression has one index.
    pub fn value(&mut self, value: Typed) -> usize {
        index_of(&mut self.values, value)
    }

    pub fn condition(&mut self, condition: Expr) -> usize {
        index_of(&mut self.conditions, condition)
    }

    pub fn layout(&self) -> Layout {
        let keys = self.entity.len();
        let values = keys + 1;
        let conditions = values + self.values.len();
        let from = conditions + self.conditions.len();
        let until = from + usize::from(self.has_known_from);
        let known = self.visibility == Visibility::Known;
        let mut order: Vec<usize> = (0..=keys).collect();
        if self.depends_on_order {
            order.extend(self.ties.iter().map(|i| values + i));
            order.extend(self.has_known_from.then_some(from));
            order.extend(self.ordered.iter().map(|i| values + i));
        }
        Layout {
            keys,
            values,
            conditions,
            known_from: (known && self.has_known_from).then_some(from),
            known_until: (known && self.has_known_until).then_some(until),
            order,
        }
    }

    /// The events that windows of these lengths reach at an instant.
    pub fn reached(&self, events: DataFrame, windows: &[Option<i64>], as_of: i64) -> Result<DataFrame> {
        let instant = |micros: i64| lit(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())));
        let before = self.event_time.clone().lt(instant(as_of));
        let reached = match windows.last() {
            Some(Some(longest)) => before.and(self.event_time.clone().gt_eq(instant(as_of.saturating_sub(*longest)))),
            _ => before,
        };
        events.filter(reached).map_err(session::error)
    }

    /// True if (entity, event time) can be sorted as one number.
    pub fn packs(&self) -> bool {
        let one_long = matches!(self.entity.as_slice(), [(_, key)] if key.data_type == DataType::Int64);
        one_long && !self.depends_on_order
    }

    /// As [`Self::project`], with entity and event time as one number where that can be.
    pub fn project_to_sort(&self, events: DataFrame) -> Result<DataFrame> {
        let rows = self.project(events, &[])?;
        if !self.packs() {
            return Ok(rows);
        }
        let names: Vec<String> = rows.schema().fields().iter().skip(2).map(|field| field.name().clone()).collect();
        let packed = packed::pack(column("k0"), column("t")).alias("kt");
        rows.select([packed].into_iter().chain(names.iter().map(|name| column(name)))).map_err(session::error)
    }

    /// The types of the columns of the layout.
    pub fn types(&self) -> Vec<DataType> {
        let keys = self.entity.iter().map(|(_, key)| &key.data_type);
        let mut types: Vec<DataType> = keys.chain(self.values.iter().map(|value| &value.data_type)).cloned().collect();
        types.extend(self.conditions.iter().map(|_| DataType::Boolean));
        let clocks = [true, self.has_known_from, self.has_known_until && self.visibility == Visibility::Known];
        types.extend(clocks.into_iter().filter(|there| *there).map(|_| types::timestamp()));
        types
    }

    /// The events that can be anybody's history, as the layout's columns and those named besides.
    pub fn project(&self, events: DataFrame, besides: &[&str]) -> Result<DataFrame> {
        let mut keep = self.event_time.clone().is_not_null();
        for (_, key) in &self.entity {
            keep = keep.and(key.expr.clone().is_not_null());
        }
        if let Some(filter) = &self.filter {
            keep = keep.and(filter.clone());
        }
        if self.visibility == Visibility::EventTime && self.has_known_until {
            keep = keep.and(column(KNOWN_UNTIL).is_null());
        }
        let mut columns: Vec<Expr> = Vec::new();
        let mut add = |name: String, expr: Expr| columns.push(expr.alias(name));
        self.entity.iter().enumerate().for_each(|(i, (_, key))| add(format!("k{i}"), key.expr.clone()));
        add("t".into(), self.event_time.clone());
        self.values.iter().enumerate().for_each(|(i, value)| add(format!("v{i}"), value.expr.clone()));
        self.conditions.iter().enumerate().for_each(|(i, condition)| add(format!("c{i}"), condition.clone()));
        if self.has_known_from {
            add("f".into(), cast(column(KNOWN_FROM), types::timestamp()));
        }
        if self.has_known_until && self.visibility == Visibility::Known {
            add("u".into(), cast(column(KNOWN_UNTIL), types::timestamp()));
        }
        columns.extend(besides.iter().map(|name| column(name)));
        events.filter(keep).and_then(|events| events.select(columns)).map_err(session::error)
    }

    /// The spine as entity keys of the table's types, `as_of` and `_row`.
    pub fn project_spine(&self, spine: DataFrame) -> Result<DataFrame> {
        let mut columns: Vec<Expr> = Vec::new();
        for (name, key) in &self.entity {
            columns.push(cast(column(name), key.data_type.clone()).alias(name));
        }
        columns.push(cast(column(super::AS_OF), types::timestamp()).alias(super::AS_OF));
        columns.push(cast(column(super::ROW), DataType::Int64).alias(super::ROW));
        spine.select(columns).map_err(session::error)
    }

    /// Saved states as entity keys of the table's types and the named states.
    pub fn project_states(&self, saved: DataFrame, names: &[String]) -> Result<DataFrame> {
        let keys = self.entity.iter().map(|(name, key)| cast(column(name), key.data_type.clone()).alias(name));
        saved.select(keys.chain(names.iter().map(|name| column(name)))).map_err(session::error)
    }
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

fn index_of<T: PartialEq>(list: &mut Vec<T>, item: T) -> usize {
    match list.iter().position(|have| *have == item) {
        Some(index) => index,
        None => {
            list.push(item);
            list.len() - 1
        }
    }
}
