//! Point-in-time features and sequences: what was known about an entity at an instant.
//!
//! Two sides meet here. The **plan** side compiles a definition against a table's schema: SQL expressions become typed
//! columns of one projection ([`input`], [`expression`]), features become lanes over those columns ([`compile`], [`lists`]), and
//! everything that is wrong becomes a diagnostic. The **kernel** side ([`exec`]) repartitions events and spine by
//! entity, sorts both (spilling under a memory limit), and merges the two streams one entity at a time; for each
//! spine row a [`kernel::Kernel`] computes its columns.
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
//! - NaN and infinities are null to `sum`, `mean`, `min`, `max` and `stddev`; for `count`, `share`, `first` and `last`
//!   they are values. `count_distinct` takes all NaN for one value and `-0.0` for `0.0`; `min` and `max` put `-0.0`
//!   before `0.0`.
//! - `mean` is the exact sum divided once. `stddev` of integers and decimals comes from exact moments:
//!   sqrt((n·Σx² − (Σx)²) / (n·(n−1))), scaled back at the end; of floats from two passes around the mean.
//! - `first` and `last` follow (event time, tie breaker, known-from). `time_since_*` with `of` skips rows where it is
//!   null.
//! - Types inside are those of the definition language: small integers widen, unsigned ones become signed (an error
//!   where they do not fit), 32-bit floats become 64-bit.
//! - In `derived`, `/` between numbers is division in float64, and null where the divisor is zero: counts divide into
//!   shares, and no single customer can fail a night.
//!
//! Memory: an entity's history is gathered before it is swept, and counted against the session's limit.

mod accumulate;
mod chunk;
mod compile;
mod exact;
mod exec;
pub(super) mod expression;
mod group;
mod history;
mod input;
pub mod interleave;
mod kernel;
mod lane;
mod lists;
mod output;
mod sequence;
mod visible;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;

use crate::define::diagnostic;
use crate::define::{Diagnostic, FeatureGroup, Sequence};
use crate::error::Result;

pub(super) use history::no_order;

use super::plan::{KNOWN_FROM, KNOWN_UNTIL};
use super::session::Session;

/// Column of an as-of instant in spines and results: timestamp (µs, UTC).
pub const AS_OF: &str = "as_of";
/// Column of a spine row's identity in spines and results: int64, unique.
pub const ROW: &str = "_row";

/// The features of every spine row: entity…, `as_of`, `_row`, the group's features, its derived columns; ordered by
/// entity, `as_of` and `_row`.
///
/// `events` is the group's table with all row versions; `spine` has the entity's columns, `as_of` and `_row`.
///
/// # Errors
/// Definition: what [`schema`] reports. Data: an overflow, a division by zero or a cast that fails in an expression.
pub async fn features(
    session: &Session,
    group: &FeatureGroup,
    event_time: &str,
    tie_breaker: &[String],
    events: DataFrame,
    spine: DataFrame,
) -> Result<SendableRecordBatchStream> {
    let compiled = compile::group(session, group, event_time, tie_breaker, events.schema().as_arrow())
        .map_err(diagnostic::into_error)?;
    let kernel = group::Factory::new(&compiled);
    exec::run(session, &compiled.inputs, kernel, compiled.schema, events, spine).await
}

/// The sequences of every spine row: entity…, `as_of`, `_row`, one list per field, oldest event first; an entity
/// without events has empty lists. Order and errors as [`features`].
pub async fn sequences(
    session: &Session,
    sequence: &Sequence,
    event_time: &str,
    tie_breaker: &[String],
    events: DataFrame,
    spine: DataFrame,
) -> Result<SendableRecordBatchStream> {
    let compiled = lists::sequence(session, sequence, event_time, tie_breaker, events.schema().as_arrow())
        .map_err(diagnostic::into_error)?;
    let kernel = sequence::Factory::new(&compiled);
    exec::run(session, &compiled.inputs, kernel, compiled.schema, events, spine).await
}

/// The schema that [`features`] returns, each field documented by its metadata `comment`; or everything about the
/// group that does not fit the table: expressions, types, and functions that need an order which the tie breaker does
/// not give.
pub fn schema(
    session: &Session,
    group: &FeatureGroup,
    event_time: &str,
    tie_breaker: &[String],
    table: &Schema,
) -> Result<SchemaRef, Vec<Diagnostic>> {
    compile::group(session, group, event_time, tie_breaker, table).map(|compiled| compiled.schema)
}

/// As [`schema`], for [`sequences`].
pub fn sequence_schema(
    session: &Session,
    sequence: &Sequence,
    event_time: &str,
    tie_breaker: &[String],
    table: &Schema,
) -> Result<SchemaRef, Vec<Diagnostic>> {
    lists::sequence(session, sequence, event_time, tie_breaker, table).map(|compiled| compiled.schema)
}
