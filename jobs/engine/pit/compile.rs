//! A group and its table's schema → what its kernel runs, or everything that does not fit.
//!
//! Features that share `of` and `where` become one lane, which is swept once for all of its windows and functions.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::physical_expr::PhysicalExpr;

use crate::define::features::{Feature, Function, TimeUnit};
use crate::define::types::type_name;
use crate::define::yaml::Origin;
use crate::define::{Diagnostic, FeatureGroup};
use crate::engine::physical;
use crate::engine::session::Session;

use super::expression::{Checked, Scope};
use super::history::{documented, head, no_order, start};
use super::input::Inputs;

/// A group, ready to run.
pub struct Group {
    pub inputs: Inputs,
    pub lanes: Vec<Lane>,
    /// One per feature, in the group's order.
    pub features: Vec<Output>,
    pub derived: Vec<DerivedColumn>,
    pub schema: SchemaRef,
}

#[derive(Debug, Clone)]
pub struct Output {
    pub name: String,
    pub data_type: DataType,
}

pub struct DerivedColumn {
    pub expr: Arc<dyn PhysicalExpr>,
    pub field: Arc<Field>,
}

/// Features over the same rows: those that pass the condition and whose value is there.
#[derive(Debug, Clone)]
pub struct Lane {
    pub value: Option<usize>,
    pub condition: Option<usize>,
    /// Without NaN and infinities.
    pub finite: bool,
    /// Shortest first; `None`, all history, comes last.
    pub windows: Vec<Window>,
    pub accumulators: Vec<Accumulator>,
}

#[derive(Debug, Clone)]
pub struct Window {
    /// Microseconds.
    pub length: Option<i64>,
    pub measures: Vec<Measure>,
}

/// How a lane's rows in a window become the value of a feature.
#[derive(Debug, Clone)]
pub struct Measure {
    /// Index of the feature.
    pub feature: usize,
    pub name: String,
    pub kind: MeasureKind,
}

#[derive(Debug, Clone)]
pub enum MeasureKind {
    Count,
    First,
    Last,
    SinceFirst(TimeUnit),
    SinceLast(TimeUnit),
    /// What the lane's accumulator of that index says.
    Accumulated(usize, Reading),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    Sum,
    Mean,
    Stddev,
    Extreme,
    Distinct,
    /// Of the category of that index.
    Share(usize),
}

/// What a lane keeps while it sweeps.
#[derive(Debug, Clone)]
pub enum Accumulator {
    Moments {
        squares: bool,
    },
    Least,
    Greatest,
    Distinct,
    /// One-element arrays of the value's type.
    Categories(Vec<ArrayRef>),
}

pub fn group(
    session: &Session,
    group: &FeatureGroup,
    event_time: &str,
    tie_breaker: &[String],
    table: &Schema,
) -> Result<Group, Vec<Diagnostic>> {
    let mut out = Vec::new();
    let started = start(session, &group.history, event_time, tie_breaker, table, &group.origin, &mut out);
    let Some((scope, mut inputs)) = started else { return Err(out) };
    let mut lanes = Vec::new();
    let mut features = Vec::new();
    let mut fields = head(&inputs, table);
    for feature in &group.features {
        if feature.function.needs_order() && inputs.ties.is_empty() {
            out.push(no_order(&group.origin, &feature.path, &feature.name, &group.history.table));
        }
        match place(feature, features.len(), &scope, &mut inputs, &mut lanes, &group.origin) {
            Ok(data_type) => {
                fields.push(documented(&feature.name, data_type.clone(), &feature.doc));
                features.push(Output { name: feature.name.clone(), data_type });
            }
            Err(diagnostic) => out.push(*diagnostic),
        }
    }
    for lane in &mut lanes {
        lane.windows.sort_by_key(|window| window.length.unwrap_or(i64::MAX));
    }
    // Where features are missing, every derived column that uses one would be reported as well.
    let derived = if out.is_empty() { derived(session, group, &mut fields, &mut out) } else { Vec::new() };
    out.sort();
    out.dedup();
    if !out.is_empty() {
        return Err(out);
    }
    Ok(Group { inputs, lanes, features, derived, schema: Arc::new(Schema::new(fields)) })
}

/// Puts a feature into its lane; its type.
fn place(
    feature: &Feature,
    index: usize,
    scope: &Scope,
    inputs: &mut Inputs,
    lanes: &mut Vec<Lane>,
    origin: &Origin,
) -> Checked<DataType> {
    let of = match &feature.of {
        Some(sql) => Some(scope.compile(sql, &format!("{}.of", feature.path))?),
        None => None,
    };
    let condition = match &feature.filter {
        Some(sql) => Some(scope.predicate(sql, &format!("{}.where", feature.path))?),
        None => None,
    };
    let value_type = of.as_ref().map_or(DataType::Null, |of| of.data_type.clone());
    let data_type = result_type(feature, &value_type, origin)?;
    let accumulator = accumulator(&feature.function, &value_type, feature, origin)?;
    let value = of.map(|of| inputs.value(of));
    if feature.function.needs_order() {
        inputs.ordered.extend(value.filter(|v| !inputs.ordered.contains(v)));
    }
    let condition = condition.map(|condition| inputs.condition(condition));
    let finite = value_type == DataType::Float64 && is_arithmetic(&feature.function);
    let lane = find_or_add(
        lanes,
        |lane| (lane.value, lane.condition, lane.finite) == (value, condition, finite),
        || Lane { value, condition, finite, windows: Vec::new(), accumulators: Vec::new() },
    );
    let kind = measure_kind(&feature.function, accumulator, &mut lane.accumulators);
    let length = feature.window.map(|w| w.micros());
    let window =
        find_or_add(&mut lane.windows, |window| window.length == length, || Window { length, measures: Vec::new() });
    window.measures.push(Measure { feature: index, name: feature.name.clone(), kind });
    Ok(data_type)
}

/// NaN and infinities are null to these.
fn is_arithmetic(function: &Function) -> bool {
    matches!(function, Function::Sum | Function::Mean | Function::Min | Function::Max | Function::Stddev)
}

fn result_type(feature: &Feature, of: &DataType, origin: &Origin) -> Checked<DataType> {
    let numeric = matches!(of, DataType::Int32 | DataType::Int64 | DataType::Float64 | DataType::Decimal128(..));
    let needs_number = matches!(feature.function, Function::Sum | Function::Mean | Function::Stddev);
    if needs_number && !numeric {
        let of_text = feature.of.as_deref().unwrap_or_default();
        let d = origin.at(&format!("{}.of", feature.path), format!("`{of_text}` of {} is no number", feature.name));
        return Err(Box::new(d.found(type_name(of)).expected("int32, int64, float64 or decimal(p,s)")));
    }
    Ok(match &feature.function {
        Function::Count | Function::CountDistinct => DataType::Int64,
        Function::Sum => match of {
            DataType::Decimal128(_, scale) => DataType::Decimal128(DECIMAL128_MAX_PRECISION, *scale),
            DataType::Float64 => DataType::Float64,
            _ => DataType::Int64,
        },
        Function::Mean | Function::Stddev | Function::Share { .. } => DataType::Float64,
        Function::TimeSinceFirst { .. } | Function::TimeSinceLast { .. } => DataType::Float64,
        Function::Min | Function::Max | Function::First | Function::Last => of.clone(),
        other => return Err(Box::new(origin.at(&feature.path, format!("{other:?} is not computed yet")))),
    })
}

fn accumulator(function: &Function, of: &DataType, feature: &Feature, origin: &Origin) -> Checked<Option<Accumulator>> {
    Ok(match function {
        Function::Sum | Function::Mean => Some(Accumulator::Moments { squares: false }),
        Function::Stddev => Some(Accumulator::Moments { squares: true }),
        Function::Min => Some(Accumulator::Least),
        Function::Max => Some(Accumulator::Greatest),
        Function::CountDistinct => Some(Accumulator::Distinct),
        Function::Share { value } => {
            let category = ScalarValue::Utf8(Some(value.clone())).cast_to(of).and_then(|v| v.to_array()).ok();
            let Some(category) = category.filter(|array| array.null_count() == 0) else {
                let d = origin.at(&format!("{}.values", feature.path), format!("`{value}` can never be equal to `of`"));
                let expected = format!("a value of type {}", type_name(of));
                return Err(Box::new(d.found(value.clone()).expected(expected)));
            };
            Some(Accumulator::Categories(vec![category]))
        }
        _ => None,
    })
}

/// Joins an accumulator with one that the lane has already.
fn measure_kind(function: &Function, wanted: Option<Accumulator>, have: &mut Vec<Accumulator>) -> MeasureKind {
    let reading = match function {
        Function::Count => return MeasureKind::Count,
        Function::First => return MeasureKind::First,
        Function::Last => return MeasureKind::Last,
        Function::TimeSinceFirst { unit } => return MeasureKind::SinceFirst(*unit),
        Function::TimeSinceLast { unit } => return MeasureKind::SinceLast(*unit),
        Function::Sum => Reading::Sum,
        Function::Mean => Reading::Mean,
        Function::Stddev => Reading::Stddev,
        Function::Min | Function::Max => Reading::Extreme,
        Function::CountDistinct => Reading::Distinct,
        Function::Share { .. } => Reading::Share(0),
        _ => return MeasureKind::Count,
    };
    let Some(wanted) = wanted else { return MeasureKind::Count };
    for (index, accumulator) in have.iter_mut().enumerate() {
        let share = match (accumulator, &wanted) {
            (Accumulator::Moments { squares }, Accumulator::Moments { squares: more }) => {
                *squares |= more;
                None
            }
            (Accumulator::Least, Accumulator::Least) => None,
            (Accumulator::Greatest, Accumulator::Greatest) => None,
            (Accumulator::Distinct, Accumulator::Distinct) => None,
            (Accumulator::Categories(have), Accumulator::Categories(new)) => new.first().map(|new| {
                let at = have.iter().position(|category| category == new);
                at.unwrap_or_else(|| {
                    have.push(new.clone());
                    have.len() - 1
                })
            }),
            _ => continue,
        };
        return MeasureKind::Accumulated(index, share.map_or(reading, Reading::Share));
    }
    have.push(wanted);
    MeasureKind::Accumulated(have.len() - 1, reading)
}

fn derived(
    session: &Session,
    group: &FeatureGroup,
    fields: &mut Vec<Field>,
    out: &mut Vec<Diagnostic>,
) -> Vec<DerivedColumn> {
    let mut columns = Vec::new();
    for derived in &group.derived {
        let path = derived.path.clone();
        let schema = Schema::new(fields.clone());
        let compiled = Scope::new(session, format!("group {}", group.name), &schema, &group.origin).and_then(|scope| {
            let typed = scope.compile_with_ratios(&derived.expression, &path)?;
            let physical = physical::compile(session.context(), typed.expr, scope.schema());
            let expr = physical.map_err(|e| Box::new(group.origin.at(&path, e.strip_backtrace())))?;
            Ok((expr, typed.data_type))
        });
        match compiled {
            Ok((expr, data_type)) => {
                let field = documented(&derived.name, data_type, &derived.doc);
                fields.push(field.clone());
                columns.push(DerivedColumn { expr, field: Arc::new(field) });
            }
            Err(diagnostic) => out.push(*diagnostic),
        }
    }
    columns
}

fn find_or_add<T>(list: &mut Vec<T>, is: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> &mut T {
    let index = list.iter().position(is).unwrap_or(list.len());
    if index == list.len() {
        list.push(new());
    }
    &mut list[index]
}
