//! Which rows of a table came, went or changed their window between two nights, found from its files.
//!
//! Files never change, so two versions of a table differ by the files they do not share, whatever date those are of: late
//! and corrected days are found by content. Of the files they share only those matter in which time itself moves
//! something: a window's beginning passes over rows, or rows become known or closed. The statistics in the Delta log
//! say which files those can be.

use std::collections::BTreeSet;

use datafusion::prelude::DataFrame;

use crate::engine::pit::{Night, Side};
use crate::engine::session::Session;
use crate::error::Result;
use crate::lake::{Bounds, FileBounds, Snapshot};
use crate::pipeline::job::versions_as_of;

/// A table at two nights: the files to read, and how much that is.
#[derive(Debug, Clone)]
pub struct Difference {
    before: Snapshot,
    now: Snapshot,
    night: Night,
    /// Of the version before.
    gone: BTreeSet<String>,
    /// Of tonight's version.
    new: BTreeSet<String>,
    /// Of both, with rows that move.
    both: BTreeSet<String>,
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
    pub event_times: &'a [&'a str],
}

impl Difference {
    pub fn between(before: &Snapshot, now: &Snapshot, moves: &Moves<'_>) -> Difference {
        let columns: Vec<&str> = moves.event_times.iter().copied().chain(["_known_from", "_known_until"]).collect();
        let (old, new) = (before.bounds(&columns), now.bounds(&columns));
        let old_paths: BTreeSet<&str> = old.iter().map(|file| file.path.as_str()).collect();
        let new_paths: BTreeSet<&str> = new.iter().map(|file| file.path.as_str()).collect();
        let mut difference = Difference {
            before: before.clone(),
            now: now.clone(),
            night: moves.night,
            gone: BTreeSet::new(),
            new: BTreeSet::new(),
            both: BTreeSet::new(),
            rows: 0,
            bytes: 0,
            reached_rows: 0,
            reached_bytes: 0,
        };
        for file in old.iter().filter(|file| !new_paths.contains(file.path.as_str())) {
            difference.read(file);
            difference.gone.insert(file.path.clone());
        }
        let has_known_from = now.schema().field_with_name("_known_from").is_ok();
        for file in &new {
            if moves.reach(file) {
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

    /// The rows of one side, as that night knew them.
    pub fn side(&self, session: &Session, side: Side) -> Result<DataFrame> {
        let (snapshot, files, as_of) = match side {
            Side::Gone => (&self.before, &self.gone, self.night.before),
            Side::New => (&self.now, &self.new, self.night.as_of),
            Side::Both => (&self.now, &self.both, self.night.as_of),
        };
        versions_as_of(session.context().read_table(snapshot.provider_of_files(files)?)?, as_of)
    }

    /// All rows as the night before knew them.
    pub fn before(&self, session: &Session) -> Result<DataFrame> {
        versions_as_of(session.context().read_table(self.before.provider()?)?, self.night.before)
    }
}

impl Moves<'_> {
    /// True if a window's beginning, or tonight itself, passes over a row of the file.
    fn windows_move(&self, file: &FileBounds) -> bool {
        let Night { before, as_of } = self.night;
        let passes = |low: i64, high: i64| {
            let lengths = self.windows.iter().flatten().copied().chain([0]);
            lengths.into_iter().any(|w| low < as_of.saturating_sub(w) && high >= before.saturating_sub(w))
        };
        self.times(file).iter().any(|bounds| match bounds {
            Bounds::Unknown => true,
            Bounds::Null => false,
            Bounds::Within(low, high) => passes(*low, *high),
        })
    }

    /// True if a row version of the file is opened or closed after the night before, up to tonight.
    fn knowledge_moves(&self, file: &FileBounds) -> bool {
        let Night { before, as_of } = self.night;
        file.columns[self.event_times.len()..].iter().any(|bounds| match bounds {
            Bounds::Unknown => true,
            Bounds::Null => false,
            Bounds::Within(low, high) => *high > before && *low <= as_of,
        })
    }

    /// True if a row of the file may lie in a window of tonight.
    fn reach(&self, file: &FileBounds) -> bool {
        let Some(Some(longest)) = self.windows.last() else { return true };
        self.times(file).iter().any(|bounds| match bounds {
            Bounds::Within(_, high) => *high >= self.night.as_of.saturating_sub(*longest),
            Bounds::Unknown => true,
            Bounds::Null => false,
        })
    }

    fn times<'b>(&self, file: &'b FileBounds) -> &'b [Bounds] {
        &file.columns[..self.event_times.len()]
    }
}
