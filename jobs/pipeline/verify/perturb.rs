//! Another future: the same rows as far as a decision at an instant sees them, and different ones beside.
//!
//! Everything it must not see is changed, deleted or doubled: rows that happen at or after the instant, row versions known
//! after it only, and those that were known no more. Versions it does see end otherwise than they did. Rows are invented
//! that happen at once or later, others that happened before but arrive after, and others that were corrected by then.
//! What it sees keeps every value, and comes in another order.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Array, RecordBatch, TimestampMicrosecondArray, UInt64Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, TimestampMicrosecondType};
use rand::seq::SliceRandom;
use rand::{Rng, RngCore};

use super::subject::Read;
use crate::define::features::Visibility;
use crate::define::types::{DAY, timestamp};
use crate::engine::plan::{EVENT_DATE, KNOWN_FROM, KNOWN_UNTIL};
use crate::error::Result;

/// A table in another future.
#[derive(Debug)]
pub struct Other {
    pub rows: RecordBatch,
    /// How many rows are new, gone, or other than they were.
    pub changed: usize,
    /// The numbers that the rows that stayed had, in their new order.
    pub stayed: Vec<u64>,
}

/// The rows of a table, different in all that a decision at `as_of` does not see.
pub fn perturb(rows: &RecordBatch, read: &Read, as_of: i64, rng: &mut impl RngCore) -> Result<Other> {
    let clock = |name: &str| match rows.column_by_name(name) {
        Some(column) => micros(column),
        None => Ok(vec![None; rows.num_rows()]),
    };
    let has_versions = rows.column_by_name(KNOWN_FROM).is_some() && read.visibility == Visibility::Known;
    let times = read.event_times.iter().map(|name| clock(name)).collect::<Result<Vec<_>>>()?;
    let (from, until) = (clock(KNOWN_FROM)?, clock(KNOWN_UNTIL)?);
    let has_time = !times.is_empty();
    let mut fates = Fates { as_of, rows: rows.num_rows(), has_time, has_versions, rng, all: Vec::new(), changed: 0 };
    for row in 0..rows.num_rows() {
        // A row is seen from its first time on.
        let first = times.iter().filter_map(|times| times[row]).min();
        fates.decide(first, Fate { values: row, stays: true, time: None, from: from[row], until: until[row] });
    }
    fates.invent();
    fates.all.shuffle(fates.rng);
    let stayed = fates.all.iter().filter(|fate| fate.stays).map(|fate| fate.values as u64).collect();
    Ok(Other { rows: built(rows, read, as_of, &fates.all)?, changed: fates.changed, stayed })
}

/// One row of the other future: whose values it has, and its clocks.
#[derive(Debug, Clone, Copy)]
struct Fate {
    values: usize,
    stays: bool,
    /// `None`: the times of those values, if they have any.
    time: Option<i64>,
    from: Option<i64>,
    until: Option<i64>,
}

struct Fates<'a, R> {
    as_of: i64,
    rows: usize,
    has_time: bool,
    /// Whether a decision goes by what was known.
    has_versions: bool,
    rng: &'a mut R,
    all: Vec<Fate>,
    changed: usize,
}

impl<R: RngCore> Fates<'_, R> {
    fn decide(&mut self, time: Option<i64>, row: Fate) {
        let after = time.is_some_and(|time| time >= self.as_of);
        let unknown = self.has_versions && row.from.is_none_or(|from| from > self.as_of);
        let outdated = self.has_versions && row.until.is_some_and(|until| until <= self.as_of);
        if after || unknown || outdated {
            self.changed += 1;
            let row = Fate { stays: false, ..row };
            let fate = self.rng.random_range(0..3);
            if fate > 0 {
                let changed = self.change(row, after, unknown, outdated);
                self.all.push(changed);
            }
            if fate > 1 {
                self.all.push(row);
            }
        } else if self.has_versions {
            self.changed += 1;
            let until = self.ending();
            self.all.push(Fate { until, ..row });
        } else {
            self.all.push(row);
        }
    }

    /// Somebody else's values; what keeps the row unseen stays.
    fn change(&mut self, row: Fate, after: bool, unknown: bool, outdated: bool) -> Fate {
        let time = self.has_time.then(|| if after { self.later(0) } else { self.earlier() });
        let from = if unknown { Some(self.later(1)) } else { row.from };
        let until = if outdated { row.until } else { self.ending() };
        Fate { values: self.rng.random_range(0..self.rows), time, from, until, ..row }
    }

    /// Rows that nobody has seen yet, or that nobody sees any more.
    fn invent(&mut self) {
        let count = if self.rows == 0 { 0 } else { self.rows / 4 + 30 };
        for index in 0..count {
            let (time, from, until) = match (index % 3, self.has_time, self.has_versions) {
                (0, true, _) => (self.later(0), Some(self.as_of), None),
                (1, _, true) => (self.earlier(), Some(self.later(1)), None),
                (2, _, true) => (self.earlier(), Some(self.earlier()), Some(self.as_of)),
                _ => continue,
            };
            let values = self.rng.random_range(0..self.rows);
            self.all.push(Fate { values, stays: false, time: self.has_time.then_some(time), from, until });
            self.changed += 1;
        }
    }

    /// From `least` after as_of on: often at once.
    fn later(&mut self, least: i64) -> i64 {
        let gap = if self.rng.random_bool(0.3) { least } else { self.rng.random_range(least..60 * DAY) };
        self.as_of.saturating_add(gap)
    }

    fn earlier(&mut self) -> i64 {
        self.as_of.saturating_sub(self.rng.random_range(1..90 * DAY))
    }

    /// The end of a version that is still open at as_of.
    fn ending(&mut self) -> Option<i64> {
        (self.has_versions && self.rng.random_bool(0.6)).then(|| self.later(1))
    }
}

fn built(rows: &RecordBatch, read: &Read, as_of: i64, fates: &[Fate]) -> Result<RecordBatch> {
    let values = UInt64Array::from_iter_values(fates.iter().map(|fate| fate.values as u64));
    let mut columns: Vec<ArrayRef> = Vec::new();
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        let name = field.name().as_str();
        let is_time = read.event_times.iter().any(|time| time == name);
        columns.push(match name {
            KNOWN_FROM => clock(fates.iter().map(|fate| fate.from), field)?,
            KNOWN_UNTIL => clock(fates.iter().map(|fate| fate.until), field)?,
            _ if is_time || (name == EVENT_DATE && !read.event_times.is_empty()) => {
                // A date is its first instant, which must lie on the same side of as_of.
                let up = if is_time && field.data_type() == &DataType::Date32 { DAY - 1 } else { 0 };
                let own = micros(column)?;
                let new = |time: i64| if time >= as_of { time + up } else { time };
                clock(fates.iter().map(|fate| fate.time.map(new).or(own[fate.values])), field)?
            }
            _ => take(column, &values, None)?,
        });
    }
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}

fn micros(column: &ArrayRef) -> Result<Vec<Option<i64>>> {
    let column = cast(column, &timestamp())?;
    Ok(column.as_primitive::<TimestampMicrosecondType>().iter().collect())
}

fn clock(values: impl Iterator<Item = Option<i64>>, field: &Field) -> Result<ArrayRef> {
    let array: ArrayRef = match field.data_type() {
        DataType::Date32 => Arc::new(values.map(|v| v.map(|v| v.div_euclid(DAY) as i32)).collect::<Date32Array>()),
        _ => Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
    };
    Ok(cast(&array, field.data_type())?)
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Days, and the value: a row's time, from and until.
    type Version = (i64, Option<i64>, Option<i64>);

    fn batch(versions: &[Version], dates: bool) -> RecordBatch {
        let stamps = |of: fn(&Version) -> Option<i64>| -> ArrayRef {
            let days = versions.iter().map(of).map(|day| day.map(|day| day * DAY));
            Arc::new(days.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        };
        let time = stamps(|version| Some(version.0));
        let time = if dates { cast(&time, &DataType::Date32).unwrap() } else { time };
        let value: ArrayRef = Arc::new(Int64Array::from_iter_values(0..versions.len() as i64));
        let columns = [
            ("at", time),
            ("value", value),
            (KNOWN_FROM, stamps(|version| version.1)),
            (KNOWN_UNTIL, stamps(|version| version.2)),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    /// Times and values of what a decision sees.
    fn seen(rows: &RecordBatch, as_of: i64) -> Vec<(Option<i64>, i64)> {
        let clock = |name: &str| micros(rows.column_by_name(name).unwrap()).unwrap();
        let values = rows.column_by_name("value").unwrap().as_primitive::<arrow::datatypes::Int64Type>().clone();
        let (time, from, until) = (clock("at"), clock(KNOWN_FROM), clock(KNOWN_UNTIL));
        let sees = |row: &usize| {
            time[*row].is_some_and(|time| time < as_of)
                && from[*row].is_some_and(|from| from <= as_of)
                && until[*row].is_none_or(|until| as_of < until)
        };
        (0..rows.num_rows()).filter(sees).map(|row| (time[row], values.value(row))).collect()
    }

    proptest! {
        #[test]
        fn what_a_decision_sees_stays_and_all_else_changes(
            versions in prop::collection::vec((0..20_i64, prop::option::of(0..20_i64), prop::option::of(0..20_i64)), 0..40),
            at in 0..20_i64, beside in -1..=1_i64, dates in any::<bool>(), seed in any::<u64>(),
        ) {
            let (rows, as_of) = (batch(&versions, dates), at * DAY + beside);
            let read = Read::new("t", &["at"], &[]);
            let other = perturb(&rows, &read, as_of, &mut ChaCha8Rng::seed_from_u64(seed)).unwrap();
            let mut after = seen(&other.rows, as_of);
            let kept: Vec<i64> = after.iter().map(|row| row.1).collect();
            prop_assert_eq!(kept, other.stayed.iter().map(|row| *row as i64).collect::<Vec<_>>());
            after.sort_by_key(|row| row.1);
            prop_assert_eq!(seen(&rows, as_of), after);
            prop_assert!(versions.is_empty() || other.changed >= 30);
        }
    }
}
