//! How many rows of each value there are, per ring: distinct values, shares, the most frequent, entropy.
//!
//! Values are numbered per chunk, so that following a change is an addition; how many values a window holds is kept up
//! to date, so that counting them does not go through them.

use arrow::datatypes::DataType;
use datafusion::common::{HashMap, ScalarValue};
use sha2::{Digest, Sha256};

use crate::engine::pit::kernel::Fault;
use crate::engine::pit::output::Column;
use crate::error::Result;

use super::value::{Kind, Total, Value, canonical};
use super::{Accumulator, Change, Load, Reader, Reading, Window, Writer};

/// `declared` are the categories that [`Reading::Share`] speaks of; with `sample` only values whose hash is a multiple
/// of it are kept at all.
pub fn new(data_type: &DataType, rings: usize, declared: &[String], sample: Option<u32>) -> Box<dyn Accumulator> {
    let text = Text { data_type: data_type.clone(), sample };
    match Kind::of(data_type) {
        Kind::Long => Box::new(Categories::<i64>::new(text, rings, declared)),
        Kind::Wide => Box::new(Categories::<i128>::new(text, rings, declared)),
        Kind::Float => Box::new(Categories::<Total>::new(text, rings, declared)),
        Kind::Text => Box::new(Categories::<Box<str>>::new(text, rings, declared)),
    }
}

/// A value's text, as a cast to varchar gives it.
#[derive(Debug, Clone)]
struct Text {
    data_type: DataType,
    sample: Option<u32>,
}

impl Text {
    fn of<V: Value>(&self, value: &V) -> Result<String> {
        let mut column = Column::new(&self.data_type);
        value.write(&mut column);
        let scalar = ScalarValue::try_from_array(&column.finish()?, 0)?;
        Ok(match scalar.cast_to(&DataType::Utf8)? {
            ScalarValue::Utf8(Some(text)) => text,
            _ => String::new(),
        })
    }

    fn parse<V: Value>(&self, text: &str) -> Result<Option<V>> {
        let value = ScalarValue::Utf8(Some(text.to_string())).cast_to(&self.data_type)?.to_array()?;
        let value = canonical(&value)?;
        Ok(if value.is_null(0) { None } else { Some(V::at(&V::column(&value)?, 0)) })
    }

    /// True if a value belongs to the sample.
    fn keeps<V: Value>(&self, value: &V) -> Result<bool> {
        let Some(sample) = self.sample.filter(|sample| *sample > 1) else { return Ok(true) };
        let hash = Sha256::digest(self.of(value)?.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        Ok(u64::from_be_bytes(first) % u64::from(sample) == 0)
    }
}

/// Numbers of values that are not kept.
const NOT_KEPT: u32 = u32::MAX;

/// Values of restored entities that may have numbers before they are given up.
const RESTORED: usize = 1 << 14;

struct Categories<V: Value> {
    text: Text,
    rings: usize,
    declared: Vec<Option<V>>,
    /// Values by number: those of the chunk, then those restored.
    values: Vec<V>,
    of_chunk: usize,
    numbers: HashMap<V, u32>,
    /// The number of each row's value.
    codes: Vec<u32>,
    /// Rows of each number and ring.
    counts: Vec<u32>,
    /// Numbers of which there may be rows.
    touched: Vec<u32>,
    is_touched: Vec<bool>,
    /// How many values have their newest row in each ring.
    newest: Vec<i64>,
    /// Rows per ring.
    rows: Vec<i64>,
}

impl<V: Value> Categories<V> {
    fn new(text: Text, rings: usize, declared: &[String]) -> Self {
        let declared = declared.iter().map(|value| text.parse(value).ok().flatten()).collect();
        Categories {
            text,
            rings,
            declared,
            values: Vec::new(),
            of_chunk: 0,
            numbers: HashMap::new(),
            codes: Vec::new(),
            counts: Vec::new(),
            touched: Vec::new(),
            is_touched: Vec::new(),
            newest: vec![0; rings],
            rows: vec![0; rings],
        }
    }

    fn number(&mut self, value: V) -> u32 {
        if let Some(number) = self.numbers.get(&value) {
            return *number;
        }
        let number = self.values.len() as u32;
        self.values.push(value.clone());
        self.numbers.insert(value, number);
        self.counts.resize(self.values.len() * self.rings, 0);
        self.is_touched.push(false);
        number
    }

    fn touch(&mut self, number: u32) {
        if !std::mem::replace(&mut self.is_touched[number as usize], true) {
            self.touched.push(number);
        }
    }

    fn counts_of(&self, number: u32) -> &[u32] {
        &self.counts[number as usize * self.rings..][..self.rings]
    }

    fn newest_ring(&self, number: u32) -> Option<usize> {
        self.counts_of(number).iter().position(|count| *count > 0)
    }

    fn follow(&mut self, number: u32, change: &Change) {
        let before = self.newest_ring(number);
        let counts = &mut self.counts[number as usize * self.rings..][..self.rings];
        if let Some(count) = counts.get_mut(usize::from(change.from)) {
            *count = count.saturating_sub(1);
            self.rows[usize::from(change.from)] -= 1;
        }
        if let Some(count) = counts.get_mut(usize::from(change.to)) {
            *count += 1;
            self.rows[usize::from(change.to)] += 1;
        }
        let after = self.newest_ring(number);
        if before != after {
            before.into_iter().for_each(|ring| self.newest[ring] -= 1);
            after.into_iter().for_each(|ring| self.newest[ring] += 1);
        }
        self.touch(number);
    }

    /// Values of a window with their rows, in the order of values.
    fn inside(&self, window: &Window) -> Vec<(&V, u64)> {
        let rows = |number: u32| self.up_to(number, window);
        let mut inside: Vec<(&V, u64)> =
            self.touched.iter().map(|&number| (&self.values[number as usize], rows(number))).collect();
        inside.retain(|(_, rows)| *rows > 0);
        inside.sort_unstable_by(|a, b| a.0.cmp(b.0));
        inside
    }

    fn up_to(&self, number: u32, window: &Window) -> u64 {
        self.counts_of(number)[..=usize::from(window.ring)].iter().map(|count| u64::from(*count)).sum()
    }

    fn shares(&self, window: &Window, rows: i64, column: &mut Column) -> Result<(), Fault> {
        let mut shares = Vec::new();
        for (value, count) in self.inside(window) {
            let text = self.text.of(value).map_err(|e| Fault(e.to_string()))?;
            shares.push((text, count as f64 / rows as f64));
        }
        column.shares(&shares);
        Ok(())
    }
}

impl<V: Value> Accumulator for Categories<V> {
    fn load(&mut self, rows: &Load) -> Result<()> {
        // What is known of the entity is kept under new numbers.
        let mut held = Writer::default();
        self.save(&mut held);
        self.clear();
        self.values.clear();
        self.numbers.clear();
        self.counts.clear();
        self.is_touched.clear();
        self.codes.clear();
        if let Some(array) = rows.value {
            let array = canonical(array)?;
            let column = V::column(&array)?;
            for row in 0..array.len() {
                let looked_at = array.is_valid(row) && rows.rows.is_none_or(|rows| rows.value(row));
                let code = if looked_at { self.code(&column, row as u32)? } else { NOT_KEPT };
                self.codes.push(code);
            }
        }
        self.of_chunk = self.values.len();
        self.restore(&held.bytes)
    }

    fn clear(&mut self) {
        for number in self.touched.drain(..) {
            self.counts[number as usize * self.rings..][..self.rings].fill(0);
            self.is_touched[number as usize] = false;
        }
        self.newest.fill(0);
        self.rows.fill(0);
    }

    fn apply(&mut self, changes: &[Change]) -> Result<bool, Fault> {
        for change in changes {
            let number = self.codes[change.row as usize];
            if number != NOT_KEPT {
                self.follow(number, change);
            }
        }
        Ok(false)
    }

    fn read(&mut self, reading: &Reading, window: &Window, column: &mut Column) -> Result<(), Fault> {
        let up_to = ..=usize::from(window.ring);
        let rows: i64 = self.rows[up_to].iter().sum();
        let distinct: i64 = self.newest[up_to].iter().sum();
        match reading {
            Reading::Distinct => column.int(distinct),
            Reading::DistinctSampled(sample) => column.int(distinct * i64::from(*sample)),
            _ if rows == 0 => column.null(),
            Reading::Share(declared) => {
                let number = self.declared.get(*declared).and_then(|value| self.numbers.get(value.as_ref()?));
                let count = number.map_or(0, |number| self.up_to(*number, window));
                column.float(Some(count as f64 / rows as f64));
            }
            Reading::Shares => self.shares(window, rows, column)?,
            Reading::Top(rank) => {
                let mut inside = self.inside(window);
                inside.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
                match inside.get(*rank as usize - 1) {
                    Some((value, _)) => value.write(column),
                    None => column.null(),
                }
            }
            _ => {
                let share = |count: u64| count as f64 / rows as f64;
                let terms = self.inside(window).into_iter().map(|(_, count)| share(count) * share(count).ln());
                column.float(Some(terms.fold(0.0, |entropy, term| entropy - term)));
            }
        }
        Ok(())
    }

    fn save(&self, out: &mut Writer) {
        let mut numbers: Vec<u32> = self.touched.clone();
        numbers.retain(|number| self.newest_ring(*number).is_some());
        numbers.sort_unstable_by(|a, b| self.values[*a as usize].cmp(&self.values[*b as usize]));
        for number in numbers {
            self.values[number as usize].put(out);
            self.counts_of(number).iter().for_each(|count| out.unsigned(u128::from(*count)));
        }
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        self.clear();
        if self.values.len() > self.of_chunk + RESTORED {
            for value in self.values.drain(self.of_chunk..) {
                self.numbers.remove(&value);
            }
            self.counts.truncate(self.of_chunk * self.rings);
            self.is_touched.truncate(self.of_chunk);
        }
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            let number = match V::get_number(&self.numbers, &mut reader)? {
                Ok(number) => number,
                Err(value) => self.number(value),
            };
            for ring in 0..self.rings {
                let count = reader.length()? as u32;
                self.counts[number as usize * self.rings + ring] = count;
                self.rows[ring] += i64::from(count);
            }
            if let Some(ring) = self.newest_ring(number) {
                self.newest[ring] += 1;
            }
            self.touch(number);
        }
        Ok(())
    }
}

impl<V: Value> Categories<V> {
    fn code(&mut self, column: &V::Column, row: u32) -> Result<u32> {
        if let Some(number) = V::number_at(&self.numbers, column, row) {
            return Ok(number);
        }
        let value = V::at(column, row);
        Ok(if self.text.keeps(&value)? { self.number(value) } else { NOT_KEPT })
    }
}
