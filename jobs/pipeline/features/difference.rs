//! Which rows of a table came, went or changed their window between two nights, found from its files.
//!
//! Files never change, so two versions of a table differ by the files they do not share, whatever date those are of: late
//! and corrected days are found by content. Of the files they share only those matter in which time itself moves
//! something: a window's beginning passes over rows, or rows become known or closed. The statistics in the Delta log
//! say which files those can be.

use std::collections::BTreeSet;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::lit;
use datafusion::prelude::DataFrame;

use crate::engine::pit::{Night, SIDE, Side};
use crate::engine::session::Session;
use crate::error::Result;
use crate::lake::{Bounds, FileBounds, Snapshot};
use crate::pipeline::job::versions_as_of;

/// The files to read, and how much that is.
#[derive(Debug, Clone, Default)]
pub struct Difference {
    /// Of the version before.
    pub gone: BTreeSet<String>,
    /// Of tonight's version.
    pub new: BTreeSet<String>,
    /// Of both, with rows that move.
    pub both: BTreeSet<String>,
    pub rows: u64,
    pub bytes: u64,
    /// Rows and bytes of tonight's version that any window reaches.
    pub reached_rows: u64,
    pub reached_bytes: u64,
}

/// What moves between two nights.
pub struct Moves<'a> {
    pub night: Night,
    /// In microseconds; `None` is all history.
    pub windows: &'a [Option<i64>],
    pub event_time: &'a str,
}

impl Difference {
    pub fn between(before: &Snapshot, now: &Snapshot, moves: &Moves<'_>) -> Difference {
        let columns = [moves.event_time, "_known_from", "_known_until"];
        let (old, new) = (before.bounds(&columns), now.bounds(&columns));
        let old_paths: BTreeSet<&str> = old.iter().map(|file| file.path.as_str()).collect();
        let new_paths: BTreeSet<&str> = new.iter().map(|file| file.path.as_str()).collect();
        let mut difference = Difference::default();
        for file in old.iter().filter(|file| !new_paths.contains(file.path.as_str())) {
            difference.read(file);
            difference.gone.insert(file.path.clone());
        }
        let has_known_from = now.schema().field_with_name("_known_from").is_ok();
        for file in &new {
            if moves.reaches(file) {
                difference.reached_rows += file.rows.unwrap_or_default();
                difference.reached_bytes += file.bytes;
            }
            if !old_paths.contains(file.path.as_str()) {
                difference.read(file);
                difference.new.insert(file.path.clone());
            } else if has_known_from && moves.knowledge_moves(file) {
                // Another night sees other versions in it: it is read as each of them did.
                difference.read(file);
                difference.gone.insert(file.path.clone());
                difference.new.insert(file.path.clone());
            } else if moves.windows_move(file) {
                difference.read(file);
                difference.both.insert(file.path.clone());
            }
        }
        difference
    }

    fn read(&mut self, file: &FileBounds) {
        self.rows += file.rows.unwrap_or_default();
        self.bytes += file.bytes;
    }

    /// The rows, each with its side.
    pub fn frame(&self, session: &Session, before: &Snapshot, now: &Snapshot, night: Night) -> Result<DataFrame> {
        let side = |snapshot: &Snapshot, files: &BTreeSet<String>, as_of: i64, side: Side| -> Result<DataFrame> {
            let rows = session.context().read_table(snapshot.provider_of_files(files)?)?;
            let marked = versions_as_of(rows, as_of)?;
            Ok(marked.with_column(SIDE, lit(ScalarValue::Int8(Some(side as i8))))?)
        };
        let gone = side(before, &self.gone, night.before, Side::Gone)?;
        let new = side(now, &self.new, night.as_of, Side::New)?;
        let both = side(now, &self.both, night.as_of, Side::Both)?;
        Ok(new.union(both)?.union(gone)?)
    }
}

impl Moves<'_> {
    /// True if a window's beginning, or tonight itself, passes over a row of the file.
    fn windows_move(&self, file: &FileBounds) -> bool {
        let Night { before, as_of } = self.night;
        let (low, high) = match file.columns[0] {
            Bounds::Unknown => return true,
            Bounds::Null => return false,
            Bounds::Within(low, high) => (low, high),
        };
        let lengths = self.windows.iter().flatten().copied().chain([0]);
        lengths.into_iter().any(|w| low < as_of.saturating_sub(w) && high >= before.saturating_sub(w))
    }

    /// True if a row version of the file is opened or closed after the night before, up to tonight.
    fn knowledge_moves(&self, file: &FileBounds) -> bool {
        let Night { before, as_of } = self.night;
        file.columns[1..].iter().any(|bounds| match bounds {
            Bounds::Unknown => true,
            Bounds::Null => false,
            Bounds::Within(low, high) => *high > before && *low <= as_of,
        })
    }

    fn reaches(&self, file: &FileBounds) -> bool {
        let Some(Some(longest)) = self.windows.last() else { return true };
        match file.columns[0] {
            Bounds::Within(_, high) => high >= self.night.as_of.saturating_sub(*longest),
            Bounds::Unknown => true,
            Bounds::Null => false,
        }
    }
}
