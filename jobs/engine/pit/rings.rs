//! All windows of a kernel, cut into rings.

use super::state::{OUT, Ring};

/// Window lengths in microseconds, shortest first, each once; `None`, all history, comes last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rings(Vec<Option<i64>>);

impl Rings {
    pub fn new(lengths: impl IntoIterator<Item = Option<i64>>) -> Rings {
        let mut lengths: Vec<Option<i64>> = lengths.into_iter().collect();
        lengths.sort_by_key(|length| length.unwrap_or(i64::MAX));
        lengths.dedup();
        Rings(lengths)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub fn lengths(&self) -> &[Option<i64>] {
        &self.0
    }

    /// Where the windows that end at `as_of` begin, latest first.
    pub fn begins(&self, as_of: i64) -> impl Iterator<Item = i64> {
        self.0.iter().map(move |length| length.map_or(i64::MIN, |length| as_of.saturating_sub(length)))
    }

    /// The ring of a row that happened before `as_of`.
    pub fn of(&self, time: i64, as_of: i64) -> Ring {
        let begins = |length: &Option<i64>| length.map_or(i64::MIN, |length| as_of.saturating_sub(length));
        let ring = self.0.partition_point(|length| time < begins(length));
        if ring < self.0.len() { ring as Ring } else { OUT }
    }

    /// The ring of the window of that length.
    pub fn ring(&self, length: Option<i64>) -> Ring {
        let ring = self.0.partition_point(|l| l.unwrap_or(i64::MAX) < length.unwrap_or(i64::MAX));
        ring as Ring
    }

    /// For each ring of `self` the ring of `coarser`, whose windows are some of these.
    pub fn onto(&self, coarser: &Rings) -> Vec<Ring> {
        let onto = |length: &Option<i64>| {
            let ring = coarser.ring(*length);
            if usize::from(ring) < coarser.count() { ring } else { OUT }
        };
        self.0.iter().map(onto).collect()
    }
}
