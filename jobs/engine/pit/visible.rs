//! The clocks of a chunk's rows: when they happened, and from when to when they were known.

use arrow::array::{Array, ArrayRef};
use arrow::buffer::ScalarBuffer;
use arrow::record_batch::RecordBatch;

use crate::error::Result;

use super::input::Layout;
use super::kernel::longs;

/// In microseconds.
pub struct Visible {
    pub times: ScalarBuffer<i64>,
    known: Option<Known>,
}

struct Known {
    from: Vec<i64>,
    until: Vec<i64>,
}

impl Default for Visible {
    fn default() -> Self {
        Visible { times: ScalarBuffer::from(Vec::new()), known: None }
    }
}

impl Visible {
    pub fn of(batch: &RecordBatch, layout: &Layout) -> Result<Visible> {
        let times = longs(batch.column(layout.time()))?;
        if layout.known_from.is_none() && layout.known_until.is_none() {
            return Ok(Visible { times, known: None });
        }
        let clock = |column: Option<usize>, otherwise: i64, null: i64| match column {
            Some(index) => filled(batch.column(index), null),
            None => Ok(vec![otherwise; batch.num_rows()]),
        };
        // A row whose known-from is missing was never known; one without an end still is.
        let from = clock(layout.known_from, i64::MIN, i64::MAX)?;
        let until = clock(layout.known_until, i64::MAX, i64::MAX)?;
        Ok(Visible { times, known: Some(Known { from, until }) })
    }

    /// The first instant at which a decision may see the row, and the first at which it may not any more.
    pub fn span(&self, row: usize) -> (i64, i64) {
        let after = self.times[row].saturating_add(1);
        self.known.as_ref().map_or((after, i64::MAX), |known| (after.max(known.from[row]), known.until[row]))
    }

    pub fn at(&self, row: usize, as_of: i64) -> bool {
        let (from, until) = self.span(row);
        // The last instant there is would otherwise be after itself.
        from <= as_of && as_of < until && self.times[row] < as_of
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
