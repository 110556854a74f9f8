//! Which rows of a chunk a decision at an instant may have seen.

use std::ops::Range;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::ScalarBuffer;

use crate::error::Result;

use super::chunk::Chunk;
use super::input::Layout;
use super::kernel::longs;

/// The clocks of a chunk's rows, in microseconds.
#[derive(Default)]
pub struct Visible {
    times: Vec<i64>,
    known: Option<Known>,
}

struct Known {
    from: Vec<i64>,
    until: Vec<i64>,
    /// Over the entity's rows up to this one.
    latest_from: Vec<i64>,
    earliest_until: Vec<i64>,
}

impl Visible {
    pub fn load(&mut self, chunk: &Chunk, layout: &Layout) -> Result<()> {
        self.times = longs(chunk.batch.column(layout.time()))?.to_vec();
        if layout.known_from.is_none() && layout.known_until.is_none() {
            return Ok(());
        }
        let rows = chunk.batch.num_rows();
        let clock = |column: Option<usize>, otherwise: i64, null: i64| match column {
            Some(index) => filled(chunk.batch.column(index), null),
            None => Ok(vec![otherwise; rows]),
        };
        // A row whose known-from is missing was never known; one without an end still is.
        let from = clock(layout.known_from, i64::MIN, i64::MAX)?;
        let until = clock(layout.known_until, i64::MAX, i64::MAX)?;
        let mut latest_from = from.clone();
        let mut earliest_until = until.clone();
        for entity in chunk.starts.windows(2) {
            for row in entity[0] + 1..entity[1] {
                latest_from[row] = latest_from[row].max(latest_from[row - 1]);
                earliest_until[row] = earliest_until[row].min(earliest_until[row - 1]);
            }
        }
        self.known = Some(Known { from, until, latest_from, earliest_until });
        Ok(())
    }

    pub fn time(&self, row: usize) -> i64 {
        self.times[row]
    }

    pub fn known(&self, row: usize, as_of: i64) -> bool {
        self.known.as_ref().is_none_or(|k| k.from[row] <= as_of && as_of < k.until[row])
    }

    /// The entity's rows before `as_of`, and whether all of them were known at it.
    pub fn before(&self, entity: Range<usize>, as_of: i64) -> (Range<usize>, bool) {
        let end = entity.start + self.times[entity.clone()].partition_point(|time| *time < as_of);
        let all_known = match &self.known {
            Some(known) if end > entity.start => {
                known.latest_from[end - 1] <= as_of && as_of < known.earliest_until[end - 1]
            }
            _ => true,
        };
        (entity.start..end, all_known)
    }
}

fn filled(array: &ArrayRef, null: i64) -> Result<Vec<i64>> {
    let values: ScalarBuffer<i64> = longs(array)?;
    Ok(match array.nulls() {
        Some(nulls) => {
            values.iter().zip(nulls.iter()).map(|(value, valid)| if valid { *value } else { null }).collect()
        }
        None => values.to_vec(),
    })
}
