//! The least or the greatest value of every window, from the rows that can still be one.
//!
//! Of two rows, the older can only ever be an extreme if it is strictly better: it leaves every window first. So what
//! is kept is a staircase, times ascending, values getting strictly worse towards the newest; the extreme of a window
//! is the first step inside it. A row enters in O(log n) plus what it makes useless, which never comes back; n random
//! values leave O(log n) steps.

use std::collections::VecDeque;

use arrow::buffer::ScalarBuffer;

use crate::engine::pit::kernel::Fault;
use crate::engine::pit::output::Column;
use crate::error::Result;

use super::value::{Kind, Total, Value};
use super::{Accumulator, Change, Load, OUT, RETRACTED, Reader, Reading, Window, Writer};

pub fn new(greatest: bool, kind: Kind) -> Box<dyn Accumulator> {
    match kind {
        Kind::Long => Box::new(Staircase::<i64>::new(greatest)),
        Kind::Wide => Box::new(Staircase::<i128>::new(greatest)),
        Kind::Float => Box::new(Staircase::<Total>::new(greatest)),
        Kind::Text => Box::new(Staircase::<Box<str>>::new(greatest)),
    }
}

struct Staircase<V: Value> {
    greatest: bool,
    steps: VecDeque<(i64, V)>,
    times: Option<ScalarBuffer<i64>>,
    values: V::Column,
}

impl<V: Value> Staircase<V> {
    fn new(greatest: bool) -> Self {
        Staircase { greatest, steps: VecDeque::new(), times: None, values: V::Column::default() }
    }

    /// True if the first is at least as good as the second.
    fn as_good(&self, a: &V, b: &V) -> bool {
        if self.greatest { a >= b } else { a <= b }
    }

    fn enter(&mut self, time: i64, value: V) {
        let mut at = match self.steps.back() {
            Some((newest, _)) if *newest >= time => self.steps.partition_point(|(t, _)| *t < time),
            _ => self.steps.len(),
        };
        if let Some((_, younger)) = self.steps.get(at) {
            if self.as_good(younger, &value) {
                return;
            }
            if self.steps[at].0 == time {
                self.steps.remove(at);
            }
        }
        while at > 0 && self.as_good(&value, &self.steps[at - 1].1) {
            at -= 1;
            self.steps.remove(at);
        }
        self.steps.insert(at, (time, value));
    }
}

impl<V: Value> Accumulator for Staircase<V> {
    fn load(&mut self, rows: &Load) -> Result<()> {
        self.times = Some(rows.times.clone());
        self.values = rows.value.map_or_else(|| Ok(V::Column::default()), V::column)?;
        Ok(())
    }

    fn clear(&mut self) {
        self.steps.clear();
    }

    fn apply(&mut self, changes: &[Change]) -> Result<bool, Fault> {
        let Some(times) = self.times.clone() else { return Ok(false) };
        let mut rebuild = false;
        for change in changes {
            let time = times[change.row as usize];
            match (change.from, change.to) {
                (OUT, _) => self.enter(time, V::at(&self.values, change.row)),
                (_, OUT) => {
                    while self.steps.front().is_some_and(|(t, _)| *t <= time) {
                        self.steps.pop_front();
                    }
                }
                (_, RETRACTED) => {
                    let at = self.steps.partition_point(|(t, _)| *t < time);
                    rebuild |= self.steps.get(at).is_some_and(|step| *step == (time, V::at(&self.values, change.row)));
                }
                _ => {}
            }
        }
        Ok(rebuild)
    }

    fn read(&mut self, _: &Reading, window: &Window, column: &mut Column) -> Result<(), Fault> {
        let first = self.steps.partition_point(|(t, _)| *t < window.from);
        match self.steps.get(first) {
            Some((_, value)) => value.write(column),
            None => column.null(),
        }
        Ok(())
    }

    fn save(&self, out: &mut Writer) {
        let mut before = 0;
        for (time, value) in &self.steps {
            out.signed(i128::from(*time) - before);
            before = i128::from(*time);
            value.put(out);
        }
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        self.clear();
        let mut reader = Reader::new(bytes);
        let mut time = 0;
        while !reader.is_empty() {
            time += reader.long()?;
            self.steps.push_back((time, V::get(&mut reader)?));
        }
        Ok(())
    }
}
