//! What a lane knows about one entity: small states that rows enter, move through and leave.
//!
//! A lane's windows end at the same instant, so they are nested, and cut its rows into **rings**: ring 0 is the
//! shortest window, ring k what the next longer window holds beyond it. As time goes on a row enters a ring, moves to
//! the next and expires; if it is corrected, it is retracted. That is a [`Change`], and an [`Accumulator`] is what
//! follows changes. Its reading depends on the set of rows that are in, never on the way they came, so it does not
//! matter whether they came one decision at a time (history), all at once (snapshot), or last night from a file and
//! tonight by their difference (incremental): the three agree bit for bit because they are one.
//!
//! What is kept is little: counts and exact sums per ring ([`moments`]), only those rows that can still be a window's
//! extreme ([`extremes`]), counts per category and ring ([`categories`]), the newest or oldest row ([`ends`]). Only
//! percentiles, exponential weights and the first row of a moving window keep rows ([`log`]).
//!
//! Some retractions cannot be followed: where the greatest value is taken away, what it had hidden is gone. The
//! accumulator then asks to be rebuilt from the entity's rows.

mod bytes;
pub mod categories;
pub mod ends;
pub mod extremes;
pub mod log;
pub mod moments;
pub mod value;

use arrow::array::ArrayRef;
use arrow::buffer::ScalarBuffer;
use arrow::row::Rows;

use crate::error::Result;

use super::kernel::Fault;
use super::output::Column;
pub use bytes::{Reader, Writer};

/// A ring's number, from the newest rows to the oldest.
pub type Ring = u16;
/// Not in any ring: not yet there, or expired.
pub const OUT: Ring = Ring::MAX;
/// Where a row goes that is no longer true.
pub const RETRACTED: Ring = Ring::MAX - 1;

/// A row of the chunk goes from one ring to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    pub row: u32,
    /// [`OUT`]: it enters.
    pub from: Ring,
    /// [`OUT`]: it expires, as all rows do that are older. [`RETRACTED`]: it, and not its elders, leaves.
    pub to: Ring,
}

/// The rows that changes are about.
pub struct Load<'a> {
    /// Event times, in microseconds.
    pub times: &'a ScalarBuffer<i64>,
    pub value: Option<&'a ArrayRef>,
    /// The rows' places in the total order, as bytes; there if any accumulator is about order.
    pub order: Option<&'a Rows>,
    /// Rows that are looked at, if not all.
    pub rows: Option<&'a arrow::buffer::BooleanBuffer>,
}

/// One of a lane's windows.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// It is made of the rings up to this one.
    pub ring: Ring,
    /// Its beginning, inclusive; its end, exclusive. Microseconds.
    pub from: i64,
    pub as_of: i64,
}

/// How a state is read.
#[derive(Debug, Clone, PartialEq)]
pub enum Reading {
    Count,
    Sum,
    Mean,
    Stddev,
    Variance,
    /// The least, greatest, oldest or newest value.
    Value,
    Distinct,
    /// As [`Reading::Distinct`], of one value in so many.
    DistinctSampled(u32),
    /// Of the declared category of that index.
    Share(usize),
    Shares,
    Top(u32),
    Entropy,
    /// Of a half-life in microseconds.
    ExpWeightedMean(i64),
    Percentile(f64),
    /// In microseconds per unit, as the following.
    MeanGap(i64),
    Since(i64),
}

/// The state of a lane for one entity at a time.
pub trait Accumulator: Send {
    /// The rows that changes speak of from now on. What is known of the entity stays.
    fn load(&mut self, rows: &Load) -> Result<()>;

    /// Another entity, of which nothing is known.
    fn clear(&mut self);

    /// Follows the changes; true if it cannot, and must be cleared and given all rows that are in.
    fn apply(&mut self, changes: &[Change]) -> Result<bool, Fault>;

    /// Appends a window's value.
    fn read(&mut self, reading: &Reading, window: &Window, column: &mut Column) -> Result<(), Fault>;

    /// Appends the state's bytes; nothing if nothing is known.
    fn save(&self, out: &mut Writer);

    /// The state that was saved, in place of the present one.
    fn restore(&mut self, bytes: &[u8]) -> Result<()>;
}

/// A span of time in a unit. Instants may be so far apart that their difference is no i64.
pub fn in_unit(later: i64, earlier: i64, unit: i64) -> f64 {
    (i128::from(later) - i128::from(earlier)) as f64 / unit as f64
}
