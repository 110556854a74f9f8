//! A group or sequence and its table's schema → what the kernels run, or everything that does not fit.
//!
//! Features that share `of` and `where` become one lane, which is swept once for all of its windows and functions.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::physical_expr::PhysicalExpr;

use crate::define::features::{Feature, Function, History, TimeUnit};
use crate::define::sequence::{Field as SequenceField, FieldValue};
use crate::define::yaml::Origin;
use crate::define::{Diagnostic, FeatureGroup, Sequence, types};
use crate::engine::session::Session;

use super::expression::{self, Scope, Typed};
use super::input::Inputs;
use super::{AS_OF, ROW};

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

/// A sequence, ready to run.
pub struct Lists {
    pub inputs: Inputs,
    pub length: usize,
    /// Microseconds.
    pub window: Option<i64>,
    pub fields: Vec<ListField>,
    pub schema: SchemaRef,
}

#[derive(Debug, Clone)]
pub enum ListField {
    Value { index: usize, data_type: DataType },
    SincePrevious(TimeUnit),
    TimeSince(TimeUnit),
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
            Err(diagnostic) => out.push(diagnostic),
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

pub fn sequence(
    session: &Session,
    sequence: &Sequence,
    event_time: &str,
    tie_breaker: &[String],
    table: &Schema,
) -> Result<Lists, Vec<Diagnostic>> {
    let mut out = Vec::new();
    let started = start(session, &sequence.history, event_time, tie_breaker, table, &sequence.origin, &mut out);
    let Some((scope, mut inputs)) = started else { return Err(out) };
    if inputs.ties.is_empty() {
        out.push(no_order(&sequence.origin, "table", &sequence.name, &sequence.history.table));
    }
    let mut list_fields = Vec::new();
    let mut fields = head(&inputs, table);
    for field in &sequence.fields {
        match list_field(field, &scope, &mut inputs) {
            Ok((list_field, data_type)) => {
                let list = DataType::List(Arc::new(Field::new_list_field(data_type, true)));
                fields.push(documented(&field.name, list, &list_doc(field, table)));
                list_fields.push(list_field);
            }
            Err(diagnostic) => out.push(diagnostic),
        }
    }
    if !out.is_empty() {
        return Err(out);
    }
    let window = sequence.window.map(|w| w.micros());
    Ok(Lists { inputs, length: sequence.length, window, fields: list_fields, schema: Arc::new(Schema::new(fields)) })
}

/// What groups and sequences have in common: entity, event time, filter and order of their history.
fn start<'a>(
    session: &'a Session,
    history: &History,
    event_time: &str,
    tie_breaker: &[String],
    table: &Schema,
    origin: &'a Origin,
    out: &mut Vec<Diagnostic>,
) -> Option<(Scope<'a>, Inputs)> {
    let keep = |result: Result<Typed, Diagnostic>, out: &mut Vec<Diagnostic>| result.map_err(|d| out.push(d)).ok();
    let scope = Scope::new(session, format!("table {}", history.table), table, origin).map_err(|d| out.push(d)).ok()?;
    let mut entity = Vec::new();
    for name in &history.entity {
        entity.extend(keep(scope.column(name, "entity"), out).map(|key| (name.clone(), key)));
    }
    let time = keep(scope.column(event_time, "event_time"), out);
    let time = time.filter(|time| {
        let fits = matches!(time.data_type, DataType::Timestamp(..) | DataType::Date32);
        if !fits {
            let d = origin.at("event_time", format!("`{event_time}` is no time"));
            out.push(d.found(expression::name(&time.data_type)).expected("timestamp or date"));
        }
        fits
    });
    let ties: Vec<Typed> = tie_breaker.iter().filter_map(|name| keep(scope.column(name, "table"), out)).collect();
    let filter = match &history.filter {
        Some(sql) => scope.predicate(sql, "where").map_err(|d| out.push(d)).ok(),
        None => None,
    };
    let mut inputs = Inputs::new(table, entity, time?, history.visibility);
    inputs.filter = filter;
    inputs.ties = ties.into_iter().map(|tie| inputs.value(tie)).collect();
    (inputs.entity.len() == history.entity.len()).then_some((scope, inputs))
}

/// Puts a feature into its lane; its type.
fn place(
    feature: &Feature,
    index: usize,
    scope: &Scope,
    inputs: &mut Inputs,
    lanes: &mut Vec<Lane>,
    origin: &Origin,
) -> Result<DataType, Diagnostic> {
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

fn result_type(feature: &Feature, of: &DataType, origin: &Origin) -> Result<DataType, Diagnostic> {
    let numeric = matches!(of, DataType::Int32 | DataType::Int64 | DataType::Float64 | DataType::Decimal128(..));
    let needs_number = matches!(feature.function, Function::Sum | Function::Mean | Function::Stddev);
    if needs_number && !numeric {
        let of_text = feature.of.as_deref().unwrap_or_default();
        let d = origin.at(&format!("{}.of", feature.path), format!("`{of_text}` of {} is no number", feature.name));
        return Err(d.found(expression::name(of)).expected("int32, int64, float64 or decimal(p,s)"));
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
    })
}

fn accumulator(
    function: &Function,
    of: &DataType,
    feature: &Feature,
    origin: &Origin,
) -> Result<Option<Accumulator>, Diagnostic> {
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
                return Err(d.found(value.clone()).expected(format!("a value of type {}", expression::name(of))));
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
        let path = format!("derived.{}", derived.name);
        let schema = Schema::new(fields.clone());
        let compiled = Scope::new(session, format!("group {}", group.name), &schema, &group.origin).and_then(|scope| {
            let typed = scope.compile_with_ratios(&derived.expression, &path)?;
            let physical = session.context().create_physical_expr(typed.expr, scope.schema());
            let expr = physical.map_err(|e| group.origin.at(&path, e.strip_backtrace()))?;
            Ok((expr, typed.data_type))
        });
        match compiled {
            Ok((expr, data_type)) => {
                let field = documented(&derived.name, data_type, &derived.doc);
                fields.push(field.clone());
                columns.push(DerivedColumn { expr, field: Arc::new(field) });
            }
            Err(diagnostic) => out.push(diagnostic),
        }
    }
    columns
}

fn list_field(field: &SequenceField, scope: &Scope, inputs: &mut Inputs) -> Result<(ListField, DataType), Diagnostic> {
    Ok(match &field.value {
        FieldValue::Of(sql) => {
            let typed = scope.compile(sql, &field.path)?;
            let data_type = typed.data_type.clone();
            let index = inputs.value(typed);
            inputs.ordered.extend(Some(index).filter(|i| !inputs.ordered.contains(i)));
            (ListField::Value { index, data_type: data_type.clone() }, data_type)
        }
        FieldValue::SincePrevious(unit) => (ListField::SincePrevious(*unit), DataType::Float64),
        FieldValue::TimeSince(unit) => (ListField::TimeSince(*unit), DataType::Float64),
    })
}

fn list_doc(field: &SequenceField, table: &Schema) -> String {
    match &field.value {
        FieldValue::Of(sql) => {
            let column = table.field_with_name(sql).ok();
            let doc = column.and_then(|c| c.metadata().get("comment")).filter(|doc| !doc.is_empty());
            doc.map_or_else(|| format!("{sql}, oldest event first."), |doc| format!("{doc} Oldest event first."))
        }
        FieldValue::SincePrevious(unit) => {
            format!("{} since the previous event of the list, null for its first; oldest event first.", capital(*unit))
        }
        FieldValue::TimeSince(unit) => format!("{} from the event to as_of; oldest event first.", capital(*unit)),
    }
}

fn capital(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Minutes => "Minutes",
        TimeUnit::Hours => "Hours",
        TimeUnit::Days => "Days",
    }
}

/// The columns that every result starts with.
fn head(inputs: &Inputs, table: &Schema) -> Vec<Field> {
    let mut fields: Vec<Field> = Vec::new();
    for (name, key) in &inputs.entity {
        let doc = table.field_with_name(name).ok().and_then(|f| f.metadata().get("comment")).cloned();
        fields.push(documented(name, key.data_type.clone(), &doc.unwrap_or_else(|| "The entity.".into())));
    }
    fields.push(documented(AS_OF, types::timestamp(), "The instant before which everything happened (UTC)."));
    fields.push(documented(ROW, DataType::Int64, "Number of the row in its spine."));
    fields
}

fn documented(name: &str, data_type: DataType, doc: &str) -> Field {
    Field::new(name, data_type, true).with_metadata(HashMap::from([("comment".to_string(), doc.to_string())]))
}

fn no_order(origin: &Origin, path: &str, name: &str, table: &str) -> Diagnostic {
    let message =
        format!("`{name}` depends on the order of rows with equal event time, which table {table} leaves open");
    origin.at(path, message).expected(format!("`tie_breaker` or `key` of table {table}"))
}

fn find_or_add<T>(list: &mut Vec<T>, is: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> &mut T {
    let index = list.iter().position(is).unwrap_or(list.len());
    if index == list.len() {
        list.push(new());
    }
    &mut list[index]
}
