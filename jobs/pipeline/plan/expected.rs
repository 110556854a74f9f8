//! What earlier steps of a night are expected to have written by the time that a later one reads.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Add, AddAssign};

use chrono::NaiveDate;
use serde::Serialize;

use crate::error::Result;
use crate::lake::Snapshot;
use crate::pipeline::ingest::pending::Pending;
use crate::pipeline::job::Job;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Size {
    pub rows: u64,
    pub bytes: u64,
}

impl Add for Size {
    type Output = Size;

    fn add(self, other: Size) -> Size {
        Size { rows: self.rows + other.rows, bytes: self.bytes + other.bytes }
    }
}

impl AddAssign for Size {
    fn add_assign(&mut self, other: Size) {
        *self = *self + other;
    }
}

impl std::iter::Sum for Size {
    fn sum<I: Iterator<Item = Size>>(sizes: I) -> Size {
        sizes.fold(Size::default(), Size::add)
    }
}

/// A relation that will have changed.
#[derive(Debug, Clone)]
pub struct Change {
    /// Days that get other files; `None`: all of it.
    pub days: Option<BTreeSet<NaiveDate>>,
    /// What comes in addition to what is there.
    pub new: Size,
}

/// The relations that will have changed, by name.
#[derive(Debug, Default)]
pub struct Expected(BTreeMap<String, Change>);

impl Expected {
    pub fn of(&self, relation: &str) -> Option<&Change> {
        self.0.get(relation)
    }

    pub fn change(&mut self, relation: &str, change: Change) {
        self.0.insert(relation.to_string(), change);
    }

    /// Files that an ingest would find.
    pub async fn arrive(&mut self, job: &Job, source: &Pending) -> Result<()> {
        if source.files > 0 {
            let held = job.lake.snapshot(&format!("tables/{}", source.source)).await?;
            // Rows take in the table what its others do; in its first files what they took in the raw ones.
            let rows = source.rows.unwrap_or(0);
            let bytes = held.map_or(source.bytes, |held| held.bytes() * rows / held.rows().max(1));
            let (days, new) = (source.days.clone(), Size { rows, bytes });
            self.change(&source.source, Change { days, new });
        }
        Ok(())
    }

    /// What a reader will find beside what a snapshot has.
    pub fn addition(&self, relation: &str) -> Size {
        self.of(relation).map_or(Size::default(), |change| change.new)
    }

    /// How much will differ from a snapshot: what is replaced, what replaces it, and what is new.
    pub fn difference(&self, relation: &str, now: &Snapshot) -> Size {
        let Some(change) = self.of(relation) else { return Size::default() };
        let replaced = match &change.days {
            Some(days) => of_days(now, days),
            None => whole(now),
        };
        replaced + replaced + change.new
    }
}

pub fn whole(snapshot: &Snapshot) -> Size {
    Size { rows: snapshot.rows(), bytes: snapshot.bytes() }
}

/// What a table has of some days; all of it if it has no days.
pub fn of_days(snapshot: &Snapshot, days: &BTreeSet<NaiveDate>) -> Size {
    if snapshot.partition_by().is_none() {
        return whole(snapshot);
    }
    let (rows, bytes) = (snapshot.partition_rows(), snapshot.partition_bytes());
    let of = |sizes: &BTreeMap<String, u64>, day: &NaiveDate| sizes.get(&day.to_string()).copied().unwrap_or(0);
    days.iter().map(|day| Size { rows: of(&rows, day), bytes: of(&bytes, day) }).sum()
}
