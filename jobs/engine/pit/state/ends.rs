//! The newest row, the oldest row, and the span between them.
//!
//! One row is enough: the newest row of a window is the newest of all, if that lies in the window. The oldest is asked
//! for over all history only; of a moving window it needs the rows ([`super::log`]).

use arrow::buffer::ScalarBuffer;

use crate::engine::pit::kernel::Fault;
use crate::engine::pit::output::Column;
use crate::error::Result;

use super::value::{Kind, Total, Value};
use super::{Accumulator, Change, Load, OUT, RETRACTED, Reader, Reading, Window, Writer, in_unit};

/// `kind` is `None` where only the time matters; then rows of equal time are equal.
pub fn new(newest: bool, kind: Option<Kind>) -> Box<dyn Accumulator> {
    match kind {
        None => Box::new(End::<()>::new(newest)),
        Some(Kind::Long) => Box::new(End::<i64>::new(newest)),
        Some(Kind::Wide) => Box::new(End::<i128>::new(newest)),
        Some(Kind::Float) => Box::new(End::<Total>::new(newest)),
        Some(Kind::Text) => Box::new(End::<Box<str>>::new(newest)),
    }
}

pub fn span() -> Box<dyn Accumulator> {
    Box::new(Span::default())
}

/// Places of the loaded rows in the total order; empty where only the time matters.
#[derive(Default)]
pub struct Order(Vec<Box<[u8]>>);

impl Order {
    pub fn load<V: Value>(&mut self, rows: &Load) {
        self.0.clear();
        if let (Some(order), true) = (rows.order, size_of::<V>() > 0) {
            let wanted = |row: usize| rows.rows.is_none_or(|rows| rows.value(row));
            let key = |row: usize| if wanted(row) { Box::from(order.row(row).as_ref()) } else { Box::default() };
            self.0.extend((0..order.num_rows()).map(key));
        }
    }

    pub fn at(&self, row: u32) -> Box<[u8]> {
        self.0.get(row as usize).cloned().unwrap_or_default()
    }
}

struct End<V: Value> {
    newest: bool,
    row: Option<(i64, Box<[u8]>, V)>,
    times: Option<ScalarBuffer<i64>>,
    order: Order,
    values: V::Column,
}

impl<V: Value> End<V> {
    fn new(newest: bool) -> Self {
        End { newest, row: None, times: None, order: Order::default(), values: V::Column::default() }
    }
}

impl<V: Value> Accumulator for End<V> {
    fn load(&mut self, rows: &Load) -> Result<()> {
        self.times = Some(rows.times.clone());
        self.order.load::<V>(rows);
        self.values = rows.value.map_or_else(|| Ok(V::Column::default()), V::column)?;
        Ok(())
    }

    fn clear(&mut self) {
        self.row = None;
    }

    fn apply(&mut self, changes: &[Change]) -> Result<bool, Fault> {
        let Some(times) = &self.times else { return Ok(false) };
        let mut rebuild = false;
        for change in changes.iter().filter(|c| c.from == OUT || c.to == OUT || c.to == RETRACTED) {
            let time = times[change.row as usize];
            let held = self.row.as_ref().map(|(held, key, _)| (*held, key));
            if change.from == OUT {
                let better = held.is_none_or(|(held, key)| match time.cmp(&held) {
                    std::cmp::Ordering::Equal => (self.order.at(change.row) > *key) == self.newest,
                    ordering => ordering.is_gt() == self.newest,
                });
                if better {
                    self.row = Some((time, self.order.at(change.row), V::at(&self.values, change.row)));
                }
            } else if held.is_some_and(|(held, key)| held == time && *key == self.order.at(change.row)) {
                // What expires is older than the newest, unless it is that row.
                rebuild |= change.to == RETRACTED || !self.newest;
                self.row = None;
            }
        }
        Ok(rebuild)
    }

    fn read(&mut self, reading: &Reading, window: &Window, column: &mut Column) -> Result<(), Fault> {
        match (reading, self.row.as_ref().filter(|(time, ..)| *time >= window.from)) {
            (_, None) => column.null(),
            (Reading::Since(unit), Some((time, ..))) => column.float(Some(in_unit(window.as_of, *time, *unit))),
            (_, Some((_, _, value))) => value.write(column),
        }
        Ok(())
    }

    fn save(&self, out: &mut Writer) {
        if let Some((time, key, value)) = &self.row {
            out.signed((*time).into());
            out.blob(key);
            value.put(out);
        }
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        self.row = None;
        if !bytes.is_empty() {
            let mut reader = Reader::new(bytes);
            self.row = Some((reader.long()?, reader.blob()?.into(), V::get(&mut reader)?));
        }
        Ok(())
    }
}

/// Over all history: how many rows from when to when.
#[derive(Default)]
struct Span {
    count: i64,
    first: i64,
    last: i64,
    times: Option<ScalarBuffer<i64>>,
}

impl Accumulator for Span {
    fn load(&mut self, rows: &Load) -> Result<()> {
        self.times = Some(rows.times.clone());
        Ok(())
    }

    fn clear(&mut self) {
        (self.count, self.first, self.last) = (0, 0, 0);
    }

    fn apply(&mut self, changes: &[Change]) -> Result<bool, Fault> {
        let Some(times) = &self.times else { return Ok(false) };
        let mut rebuild = false;
        for change in changes {
            let time = times[change.row as usize];
            match (change.from, change.to) {
                (OUT, _) => {
                    self.first = if self.count == 0 { time } else { self.first.min(time) };
                    self.last = if self.count == 0 { time } else { self.last.max(time) };
                    self.count += 1;
                }
                (_, OUT | RETRACTED) => {
                    self.count -= 1;
                    rebuild |= time == self.first || time == self.last;
                }
                _ => {}
            }
        }
        Ok(rebuild)
    }

    fn read(&mut self, reading: &Reading, _: &Window, column: &mut Column) -> Result<(), Fault> {
        match reading {
            Reading::MeanGap(unit) if self.count > 1 => {
                column.float(Some(in_unit(self.last, self.first, *unit) / (self.count - 1) as f64));
            }
            _ => column.null(),
        }
        Ok(())
    }

    fn save(&self, out: &mut Writer) {
        if self.count > 0 {
            out.signed(self.count.into());
            out.signed(self.first.into());
            out.signed(self.last.into());
        }
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        self.clear();
        if !bytes.is_empty() {
            let mut reader = Reader::new(bytes);
            (self.count, self.first, self.last) = (reader.long()?, reader.long()?, reader.long()?);
        }
        Ok(())
    }
}
