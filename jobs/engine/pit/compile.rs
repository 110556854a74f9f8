//! A group and its table's schema → what its kernel runs, or everything that does not fit.
//!
//! Features that share `of` and `where` become one lane, which is swept once for all of its windows and functions.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;
use sha2::{Digest, Sha256};

use crate::define::features::{Feature, Function, History};
use crate::define::yaml::Origin;
use crate::define::{Diagnostic, FeatureGroup};
use crate::engine::physical;
use crate::engine::session::Session;

use super::expression::{Checked, Scope, Typed};
use super::history::{documented, head, no_order, start};
use super::input::Inputs;
use super::rings::Rings;
use super::specs;
pub use super::specs::Spec;
use super::state::Reading;

/// Changes whenever saved states are written in another way, so that old ones are not read.
const STATE_FORMAT: u32 = 1;

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
    pub hidden: bool,
}

pub struct DerivedColumn {
    pub expr: Arc<dyn PhysicalExpr>,
    pub field: Arc<Field>,
}

impl Group {
    /// All windows of the group.
    pub fn rings(&self) -> Rings {
        Rings::new(self.lanes.iter().flat_map(|lane| &lane.windows).map(|window| window.length))
    }
}

/// Features over the same rows: those that pass the condition and whose value is there.
#[derive(Debug, Clone)]
pub struct Lane {
    pub value: Option<usize>,
    pub data_type: Option<DataType>,
    pub condition: Option<usize>,
    /// Without NaN and infinities.
    pub finite: bool,
    /// Shortest first; `None`, all history, comes last.
    pub windows: Vec<Window>,
    pub accumulators: Vec<Spec>,
    /// For each accumulator a name that says what it is a state of.
    pub state: Vec<String>,
}

impl Lane {
    pub fn rings(&self) -> Rings {
        Rings::new(self.windows.iter().map(|window| window.length))
    }

    /// The lane without features, keeping some of its states only.
    pub fn only(&self, states: &[String]) -> Lane {
        let kept = self.accumulators.iter().zip(&self.state).filter(|(_, name)| states.contains(name));
        let (accumulators, state) = kept.map(|(spec, name)| (spec.clone(), name.clone())).unzip();
        let windows = self.windows.iter().map(|window| Window { length: window.length, measures: Vec::new() });
        Lane { accumulators, state, windows: windows.collect(), ..self.clone() }
    }
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
    /// Index of the lane's accumulator.
    pub accumulator: usize,
    pub reading: Reading,
}

pub fn group(
    session: &Session,
    group: &FeatureGroup,
    event_time: &str,
    tie_breaker: &[String],
    table: &Schema,
) -> Result<Group, Vec<Diagnostic>> {
    let mut out = Vec::new();
    let ordered = group.features.iter().any(|feature| feature.function.needs_order());
    let ties = (tie_breaker, ordered);
    let started = start(session, &group.history, event_time, ties, table, &group.origin, &mut out);
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
                let field = documented(&feature.name, data_type.clone(), &feature.doc);
                fields.push(match feature.function {
                    Function::Shares { top } => with_metadata(field, "top", &top.to_string()),
                    _ => field,
                });
                features.push(Output { name: feature.name.clone(), data_type, hidden: feature.hidden });
            }
            Err(diagnostic) => out.push(*diagnostic),
        }
    }
    for lane in &mut lanes {
        lane.windows.sort_by_key(|window| window.length.unwrap_or(i64::MAX));
        lane.state = state_names(lane, &inputs, &group.history);
    }
    // Where features are missing, every derived column that uses one would be reported as well.
    let derived = if out.is_empty() { derived(session, group, &mut fields, &mut out) } else { Vec::new() };
    out.sort();
    out.dedup();
    if !out.is_empty() {
        return Err(out);
    }
    let hidden = |field: &Field| group.features.iter().any(|f| f.hidden && f.name == *field.name());
    fields.retain(|field| !hidden(field));
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
    let value_type = of.as_ref().map(|of| of.data_type.clone());
    let data_type = specs::result_type(feature, value_type.as_ref().unwrap_or(&DataType::Null), origin)?;
    let (spec, reading) = specs::of(feature, value_type.as_ref(), origin)?;
    let value = of.map(|of| inputs.value(of));
    if feature.function.needs_order() {
        inputs.ordered.extend(value.filter(|v| !inputs.ordered.contains(v)));
    }
    let condition = condition.map(|condition| inputs.condition(condition));
    let finite = value_type == Some(DataType::Float64) && feature.function.is_arithmetic();
    let lane = find_or_add(
        lanes,
        |lane| (lane.value, lane.condition, lane.finite) == (value, condition, finite),
        || Lane {
            value,
            data_type: value_type,
            condition,
            finite,
            windows: Vec::new(),
            accumulators: Vec::new(),
            state: Vec::new(),
        },
    );
    let (accumulator, reading) = specs::join(spec, reading, &mut lane.accumulators);
    let length = feature.window.map(|w| w.micros());
    let window =
        find_or_add(&mut lane.windows, |window| window.length == length, || Window { length, measures: Vec::new() });
    window.measures.push(Measure { feature: index, name: feature.name.clone(), accumulator, reading });
    Ok(data_type)
}

/// What each of a lane's states is a state of, as a name: the same name is the same state.
fn state_names(lane: &Lane, inputs: &Inputs, history: &History) -> Vec<String> {
    let value = lane.value.map(|value| &inputs.values[value]);
    let condition = lane.condition.map(|condition| inputs.conditions[condition].to_string());
    let ties: Vec<String> = inputs.ties.iter().map(|tie| inputs.values[*tie].expr.to_string()).collect();
    let windows: Vec<Option<i64>> = lane.windows.iter().map(|window| window.length).collect();
    let name = |spec: &Spec| {
        // Which categories are declared matters to who reads, not to what is kept.
        let spec = match spec {
            Spec::Categories { sample, .. } => Spec::Categories { declared: Vec::new(), sample: *sample },
            other => other.clone(),
        };
        // The place of a row in the order is made of all values that anything in the group takes by order.
        let order: &[usize] = if spec.is_ordered() { &inputs.ordered } else { &[] };
        let order: Vec<&Typed> = order.iter().map(|value| &inputs.values[*value]).collect();
        let rows = format!("{value:?} {condition:?} {} {ties:?} {order:?} {history:?}", lane.finite);
        let of = format!("{rows} {windows:?} {spec:?}");
        state_name(&format!("{} {of}", inputs.event_time))
    };
    lane.accumulators.iter().map(name).collect()
}

/// A name for what a saved state is a state of.
pub fn state_name(of: &str) -> String {
    let hash = Sha256::digest(format!("{STATE_FORMAT} {of}"));
    hash[..8].iter().fold("s_".to_string(), |name, byte| format!("{name}{byte:02x}"))
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

fn with_metadata(field: Field, key: &str, value: &str) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(key.to_string(), value.to_string());
    field.with_metadata(metadata)
}
