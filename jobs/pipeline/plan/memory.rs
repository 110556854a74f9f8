//! How much memory a table or features will take, from the sizes of what they read and write.
//!
//! ```text
//! base + min(2 · rows · width, memory_limit) + people · 160 B + 6 · (states read and written + features written)
//! ```
//!
//! Rows are those that are sorted: of a table those to write, of a snapshot all events, of an incremental night the
//! difference. A sort holds them twice, as they came and as they go out, or spills at the limit. Their width is that
//! of the columns that the definition reads, where a text counts as [`TEXT`]. Features and states are on disk about a
//! sixth of what they are in memory. The base is the process with its definitions, before any row is read.
//!
//! The constants are measured: on lakes of 20,000 users with 400 days and of 60,000 with 200, the prediction lay
//! between 0.7 and 1.45 times the peak resident memory, for each table and definition by itself, each way, with and
//! without a limit. The base has since been raised by 64 MiB, for what the allocator keeps.

use arrow::datatypes::DataType;

const BASE: u64 = 192 << 20;
/// Bytes of a text in memory, with its offset.
const TEXT: u64 = 16;
/// A row that is sorted is there twice.
const SORTED: u64 = 2;
/// An entity of the spine: its key, and its place in a table of keys.
const PERSON: u64 = 160;
/// Bytes in memory for a byte of compressed features or states.
const UNPACKED: u64 = 6;
/// Bytes on disk of a feature of one entity, and of an event in a list, where there are none yet to go by.
const FEATURE: u64 = 3;
const LISTED: u64 = 2;

/// What a night holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Held {
    /// Rows that are sorted, and bytes of each.
    pub rows: u64,
    pub width: u64,
    pub people: u64,
    /// Bytes on disk of states read, states written and features written.
    pub packed: u64,
    pub limit: Option<u64>,
}

impl Held {
    /// Predicted peak memory of the process, in bytes.
    pub fn peak(&self) -> u64 {
        let sorted = SORTED * self.rows * self.width;
        BASE + self.limit.map_or(sorted, |limit| sorted.min(limit)) + self.people * PERSON + UNPACKED * self.packed
    }
}

/// Predicted peak memory of computing so many rows of a table, which are sorted before they are written.
pub fn table(rows: u64, width: u64, limit: Option<u64>) -> u64 {
    Held { rows, width, limit, ..Held::default() }.peak()
}

/// Bytes of a row of such columns.
pub fn width(types: &[DataType]) -> u64 {
    let of = |data_type: &DataType| match data_type {
        DataType::Boolean => 1,
        other => other.primitive_width().map_or(TEXT, |bytes| bytes as u64),
    };
    types.iter().map(of).sum()
}

/// Bytes on disk of features: so many columns, of lists of at most so many events.
pub fn written(people: u64, columns: u64, length: Option<u64>) -> u64 {
    people * columns * length.map_or(FEATURE, |length| length * LISTED)
}
