//! One entity's rows through time: which enter, move and leave between two decisions.
//!
//! Rows come in order of event time. As long as they also became known in that order and none was ever closed, which
//! is how most events arrive, what a decision sees is a run of them, and two cursors per ring say it all: each row is
//! touched once per ring, whatever the number of decisions. Late and corrected rows are known in another order; then the
//! rows are put in order of the instants at which they are first and last seen, and each still enters and leaves once.
//! An entity of n rows, c of them late or closed, with s decisions costs O(n · rings + s · columns), and O(n log n) more
//! if c > 0.

use std::ops::Range;

use super::rings::Rings;
use super::state::{Change, OUT, RETRACTED, Ring};
use super::visible::Visible;

#[derive(Default)]
pub struct Sweep {
    rows: Range<usize>,
    /// For each ring the first row at or after its window's beginning.
    begins: Vec<usize>,
    now: Vec<usize>,
    /// Rows before it have been seen, where they are seen in order.
    seen: usize,
    late: Option<Late>,
}

/// Rows that are not seen in order.
struct Late {
    /// The ring of each row.
    at: Vec<Ring>,
    /// Rows by the instant at which they are first seen, and those that are closed by the instant of that.
    arrivals: Vec<(i64, usize)>,
    departures: Vec<(i64, usize)>,
    arrived: usize,
    departed: usize,
}

impl Sweep {
    /// Starts before the first decision over an entity's rows.
    pub fn enter(&mut self, rows: Range<usize>, visible: &Visible, rings: &Rings) {
        self.begins.clear();
        self.begins.resize(rings.count(), rows.start);
        self.seen = rows.start;
        let mut latest = i64::MIN;
        let in_order = rows.clone().all(|row| {
            let (from, until) = visible.span(row);
            let ordered = from >= latest && until == i64::MAX;
            latest = from;
            ordered
        });
        self.late = (!in_order).then(|| Late::new(&rows, visible));
        self.rows = rows;
    }

    /// What changes up to a decision that is not before the last one.
    pub fn step(&mut self, as_of: i64, visible: &Visible, rings: &Rings, changes: &mut Vec<Change>) {
        changes.clear();
        self.now.clear();
        for (begin, at) in rings.begins(as_of).zip(&self.begins) {
            let ahead = &visible.times[*at..self.rows.end];
            self.now.push(at + ahead.partition_point(|time| *time < begin));
        }
        match &mut self.late {
            Some(late) => late.step(as_of, &self.rows, (&self.begins, &self.now), visible, changes),
            None => self.in_order(as_of, visible, changes),
        }
        std::mem::swap(&mut self.begins, &mut self.now);
    }

    fn in_order(&mut self, as_of: i64, visible: &Visible, changes: &mut Vec<Change>) {
        let mut end = self.seen;
        for ring in 0..self.begins.len() {
            for row in self.begins[ring]..self.now[ring].min(end) {
                changes.push(Change { row: row as u32, from: ring as Ring, to: ring_of(&self.now, row) });
            }
            end = end.min(self.begins[ring]);
        }
        while self.seen < self.rows.end && visible.at(self.seen, as_of) {
            let to = ring_of(&self.now, self.seen);
            if to != OUT {
                changes.push(Change { row: self.seen as u32, from: OUT, to });
            }
            self.seen += 1;
        }
    }

    /// All rows that the last decision saw, as they would enter.
    pub fn present(&self, changes: &mut Vec<Change>) {
        changes.clear();
        for row in self.rows.clone() {
            let to = match &self.late {
                Some(late) => late.at[row - self.rows.start],
                None if row < self.seen => ring_of(&self.begins, row),
                None => OUT,
            };
            if to != OUT {
                changes.push(Change { row: row as u32, from: OUT, to });
            }
        }
    }
}

/// The ring of a row, by the rows at which the windows begin.
fn ring_of(begins: &[usize], row: usize) -> Ring {
    begins.iter().position(|begin| row >= *begin).map_or(OUT, |ring| ring as Ring)
}

impl Late {
    fn new(rows: &Range<usize>, visible: &Visible) -> Late {
        let mut arrivals: Vec<(i64, usize)> = rows.clone().map(|row| (visible.span(row).0, row)).collect();
        arrivals.retain(|&(from, row)| from < visible.span(row).1);
        arrivals.sort_unstable();
        let mut departures: Vec<(i64, usize)> = arrivals.iter().map(|&(_, row)| (visible.span(row).1, row)).collect();
        departures.retain(|(until, _)| *until != i64::MAX);
        departures.sort_unstable();
        Late { at: vec![OUT; rows.len()], arrivals, departures, arrived: 0, departed: 0 }
    }

    fn step(
        &mut self,
        as_of: i64,
        rows: &Range<usize>,
        (begins, now): (&[usize], &[usize]),
        visible: &Visible,
        changes: &mut Vec<Change>,
    ) {
        while let Some(&(until, row)) = self.departures.get(self.departed)
            && until <= as_of
        {
            self.departed += 1;
            let from = std::mem::replace(&mut self.at[row - rows.start], OUT);
            // One that would expire by now hides nothing that stays.
            let to = if ring_of(now, row) == OUT { OUT } else { RETRACTED };
            if from != OUT {
                changes.push(Change { row: row as u32, from, to });
            }
        }
        for ring in 0..begins.len() {
            for row in begins[ring]..now[ring] {
                let at = &mut self.at[row - rows.start];
                if usize::from(*at) == ring {
                    let to = ring_of(now, row);
                    changes.push(Change { row: row as u32, from: *at, to });
                    *at = to;
                }
            }
        }
        while let Some(&(from, row)) = self.arrivals.get(self.arrived)
            && from <= as_of
        {
            self.arrived += 1;
            let to = ring_of(now, row);
            if visible.at(row, as_of) && to != OUT {
                changes.push(Change { row: row as u32, from: OUT, to });
                self.at[row - rows.start] = to;
            }
        }
    }
}
