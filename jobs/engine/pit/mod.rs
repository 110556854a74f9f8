//! Point-in-time features and sequences: what was known about an entity at an instant.
//!
//! One definition, three ways to compute it, one result. The **plan** side compiles a definition against a table's
//! schema: SQL expressions become typed columns of one projection ([`input`], [`expression`]), features become lanes over
//! those columns ([`compile`], [`specs`], [`lists`]), and everything that is wrong becomes a diagnostic. The **kernel** side
//! follows one entity at a time: what it keeps of the entity are small exact [`state`]s that rows enter, move through
//! and leave. What differs is who says which rows those are:
//! - **history** ([`exec`], [`sweep`]): any spine. Events and spine are sorted by entity, and one sweep goes from decision
//!   to decision.
//! - **snapshot**: the same for one instant and everybody, with the states to start the next night from.
//! - **incremental** ([`step`]): last night's states, and the rows that came, went or moved since.
//!
//! All three are plans of DataFusion around a node of ours ([`node`]): its repartitioning and its sort, which spills, lie
//! below the operator, and what the operator holds counts against the session's memory.
//!
//! A row version is visible at `as_of` if `event_time < as_of` and `known_from <= as_of < known_until` (with
//! `visibility: event_time`: if it is the latest version). Windows are `[as_of - w, as_of)`. Rows whose entity or event
//! time is null are no history; a `where` that is null is false. Two spine rows never influence each other, and the
//! result does not depend on the number of partitions, down to the order of rows: entity, as_of, `_row`.
//!
//! Values:
//! - Sums are exact inside and rounded once: 128-bit integers for integers and decimals (an overflow of the result's
//!   type is an error that names the entity), an exact expansion for floats. So the order of rows is irrelevant. A zero
//!   float sum is `+0.0`.
//! - NaN and infinities are null to all arithmetic; for `count`, `share`, `first` and `last`
//!   they are values. `count_distinct` takes all NaN for one value and `-0.0` for `0.0`; `min` and `max` put `-0.0`
//!   before `0.0`.
//! - `mean` is the exact sum divided once. `variance` and `stddev` come from exact moments, (n·Σx² − (Σx)²) / (n·(n−1)),
//!   scaled back at the end.
//! - `first` and `last` follow (event time, tie breaker, known-from). `time_since_*` with `of` skips rows where it is
//!   null.
//! - Types inside are those of the definition language: small integers widen, unsigned ones become signed (an error
//!   where they do not fit), 32-bit floats become 64-bit.
//! - In `derived`, `/` between numbers is division in float64, and null where the divisor is zero: counts divide into
//!   shares, and no single customer can fail a night.
//!
//! Memory: history and snapshot hold one entity's rows in the windows at a time, incremental the difference and the
//! entities' keys; both count against the session's limit.

mod chunk;
mod comparison;
mod compile;
mod exact;
pub(super) mod exec;
pub(super) mod expression;
mod group;
mod history;
mod input;
pub mod interleave;
mod kernel;
mod lane;
mod lists;
pub mod node;
mod output;
pub(super) mod packed;
// Only a build that knows clusters sends operators anywhere.
#[cfg_attr(not(any(test, feature = "ballista")), allow(dead_code))]
pub(super) mod recipe;
mod rings;
mod sequence;
mod specs;
mod state;
pub(super) mod step;
mod sweep;
mod visible;

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::Column;
use datafusion::dataframe::DataFrame;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, SortExpr};

use crate::define::diagnostic;
use crate::define::{Diagnostic, FeatureGroup, Sequence};
use crate::error::Result;

pub(super) use history::no_order;

use super::plan::{KNOWN_FROM, KNOWN_UNTIL};
use super::session::{self, Session};
use exec::Plan;
use input::Inputs;
use kernel::Factory;
use node::PointInTime;
use recipe::{Definition, Recipe};
pub use step::{Night, REBUILD, SIDE, Side};

/// Column of an as-of instant in spines and results: timestamp (µs, UTC).
pub const AS_OF: &str = "as_of";
/// Column of a spine row's identity in spines and results: int64, unique.
pub const ROW: &str = "_row";

/// A definition and its table, ready to be computed.
pub struct Compiled {
    inputs: Inputs,
    kernel: Arc<dyn Factory>,
    schema: SchemaRef,
    recipe: Arc<Recipe>,
}

impl Compiled {
    /// # Errors
    /// Everything about the group that does not fit the table: expressions, types, and functions that need an order
    /// which the tie breaker does not give.
    pub fn group(
        session: &Session,
        group: &FeatureGroup,
        event_time: &str,
        tie_breaker: &[String],
        table: &Schema,
    ) -> Result<Compiled, Vec<Diagnostic>> {
        let compiled = compile::group(session, group, event_time, tie_breaker, table)?;
        let kernel = group::Factory::new(&compiled);
        let recipe = recipe(Definition::Group(group.clone()), event_time, tie_breaker, table);
        Ok(Compiled { inputs: compiled.inputs, kernel, schema: compiled.schema, recipe })
    }

    /// As [`Compiled::group`].
    pub fn sequence(
        session: &Session,
        sequence: &Sequence,
        event_time: &str,
        tie_breaker: &[String],
        table: &Schema,
    ) -> Result<Compiled, Vec<Diagnostic>> {
        let compiled = lists::sequence(session, sequence, event_time, tie_breaker, table)?;
        let kernel =
            sequence::Factory::new(&compiled).map_err(|error| vec![sequence.origin.at("fields", error.to_string())])?;
        let recipe = recipe(Definition::Sequence(sequence.clone()), event_time, tie_breaker, table);
        Ok(Compiled { inputs: compiled.inputs, kernel, schema: compiled.schema, recipe })
    }

    /// entity…, `as_of`, `_row`, then a column per feature or field, each documented by its metadata `comment`.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Types of what is read of each event, and sorted.
    pub fn read(&self) -> Vec<DataType> {
        self.inputs.types()
    }

    /// Columns of saved states. The same name is a state of the same thing, whatever else the definition says.
    pub fn states(&self) -> &[String] {
        self.kernel.state()
    }

    /// The same without features, keeping some of the states only; `None` if those are none.
    pub fn only(&self, states: &[String]) -> Option<Compiled> {
        if states.is_empty() {
            return None;
        }
        let fields = self.schema.fields()[..self.inputs.layout().keys + 2].to_vec();
        let kernel = self.kernel.only(states);
        let recipe = Arc::new(Recipe { only: Some(states.to_vec()), ..self.recipe.as_ref().clone() });
        Some(Compiled { inputs: self.inputs.clone(), kernel, schema: Arc::new(Schema::new(fields)), recipe })
    }

    /// Lengths of the windows, in microseconds; `None` is all history.
    pub fn windows(&self) -> &[Option<i64>] {
        self.kernel.rings().lengths()
    }

    /// A row per row of the spine (entity…, `as_of`, `_row`), ordered by entity, `as_of` and `_row`. `events` is the table
    /// with all row versions.
    ///
    /// # Errors
    /// Data: an overflow, or a cast that fails in an expression.
    pub async fn history(&self, events: DataFrame, spine: DataFrame) -> Result<SendableRecordBatchStream> {
        let plan = self.plan(self.schema.clone(), None);
        let order: Vec<SortExpr> = plan.schema.fields()[..plan.layout.keys + 2]
            .iter()
            .map(|field| Expr::Column(Column::new_unqualified(field.name())).sort(true, true))
            .collect();
        let (state, events) = self.inputs.project_to_sort(events)?.into_parts();
        let spine = self.inputs.project_spine(spine)?.into_parts().1;
        let frame = framed(state, vec![events, spine], plan, None)?;
        frame.sort(order)?.execute_stream().await.map_err(session::error)
    }

    /// As [`Compiled::history`] at one instant, with the states to start the next night from, in no order. Entities that
    /// have events and are not in the spine have states, and no `_row`.
    pub async fn snapshot(&self, events: DataFrame, spine: DataFrame, as_of: i64) -> Result<SendableRecordBatchStream> {
        let schema = step::with_states(&self.schema, self.states(), false);
        let events = self.inputs.reached(events, self.windows(), as_of)?;
        let (state, events) = self.inputs.project_to_sort(events)?.into_parts();
        let spine = self.inputs.project_spine(spine)?.into_parts().1;
        let frame = framed(state, vec![events, spine], self.plan(schema, Some(as_of)), None)?;
        frame.execute_stream().await.map_err(session::error)
    }

    /// As [`Compiled::snapshot`], from saved states (entity…, states…) and the rows that came or went since they were
    /// saved: rows of the table with [`SIDE`]. Rows where [`REBUILD`] is true say nothing but that their entity has to be
    /// computed by a snapshot.
    pub async fn step(
        &self,
        states: DataFrame,
        spine: DataFrame,
        difference: DataFrame,
        night: Night,
    ) -> Result<SendableRecordBatchStream> {
        let schema = step::with_states(&self.schema, self.states(), true);
        let (state, states) = self.inputs.project_states(states, self.states())?.into_parts();
        let spine = self.inputs.project_spine(spine)?.into_parts().1;
        let difference = self.inputs.project(difference, &[SIDE])?.into_parts().1;
        let frame = framed(state, vec![states, spine, difference], self.plan(schema, None), Some(night))?;
        frame.execute_stream().await.map_err(session::error)
    }

    fn plan(&self, schema: SchemaRef, everyone: Option<i64>) -> Plan {
        let (kernel, layout) = (self.kernel.clone(), self.inputs.layout());
        Plan { kernel, layout, packed: self.inputs.packs(), schema, everyone, recipe: self.recipe.clone() }
    }
}

fn recipe(definition: Definition, event_time: &str, tie_breaker: &[String], table: &Schema) -> Arc<Recipe> {
    let (event_time, tie_breaker) = (event_time.to_string(), tie_breaker.to_vec());
    Arc::new(Recipe { definition, event_time, tie_breaker, table: Arc::new(table.clone()), only: None })
}

/// The operator over its inputs.
fn framed(state: SessionState, inputs: Vec<LogicalPlan>, plan: Plan, night: Option<Night>) -> Result<DataFrame> {
    let node = PointInTime::new(inputs, plan, night).map_err(session::error)?;
    Ok(DataFrame::new(state, LogicalPlan::Extension(Extension { node: Arc::new(node) })))
}

/// The features of every spine row: [`Compiled::history`] of a group.
pub async fn features(
    session: &Session,
    group: &FeatureGroup,
    event_time: &str,
    tie_breaker: &[String],
    events: DataFrame,
    spine: DataFrame,
) -> Result<SendableRecordBatchStream> {
    let compiled = Compiled::group(session, group, event_time, tie_breaker, events.schema().as_arrow());
    compiled.map_err(diagnostic::into_error)?.history(events, spine).await
}

/// The sequences of every spine row: one list per field, oldest event first; an entity without events has empty lists.
pub async fn sequences(
    session: &Session,
    sequence: &Sequence,
    event_time: &str,
    tie_breaker: &[String],
    events: DataFrame,
    spine: DataFrame,
) -> Result<SendableRecordBatchStream> {
    let compiled = Compiled::sequence(session, sequence, event_time, tie_breaker, events.schema().as_arrow());
    compiled.map_err(diagnostic::into_error)?.history(events, spine).await
}

/// [`Compiled::schema`] of a group, or what does not fit.
pub fn schema(
    session: &Session,
    group: &FeatureGroup,
    event_time: &str,
    tie_breaker: &[String],
    table: &Schema,
) -> Result<SchemaRef, Vec<Diagnostic>> {
    compile::group(session, group, event_time, tie_breaker, table).map(|compiled| compiled.schema)
}

/// As [`schema`], for a sequence.
pub fn sequence_schema(
    session: &Session,
    sequence: &Sequence,
    event_time: &str,
    tie_breaker: &[String],
    table: &Schema,
) -> Result<SchemaRef, Vec<Diagnostic>> {
    lists::sequence(session, sequence, event_time, tie_breaker, table).map(|compiled| compiled.schema)
}
