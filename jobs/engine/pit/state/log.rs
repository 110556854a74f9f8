//! The rows themselves, oldest first, for what cannot be told from less: percentiles, exponential weights, and what is
//! first in a moving window.

use std::collections::VecDeque;

use arrow::buffer::ScalarBuffer;

use crate::engine::pit::exact::FloatSum;
use crate::engine::pit::kernel::Fault;
use crate::engine::pit::output::Column;
use crate::error::Result;

use super::ends::Order;
use super::value::{Kind, Total, Value};
use super::{Accumulator, Change, Load, OUT, RETRACTED, Reader, Reading, Window, Writer, in_unit};

/// `kind` is `None` where only times matter. `scale` is of the decimals.
pub fn new(kind: Option<Kind>, ordered: bool, scale: i8) -> Box<dyn Accumulator> {
    match kind {
        None => Box::new(Log::<()>::new(ordered, scale)),
        Some(Kind::Long) => Box::new(Log::<i64>::new(ordered, scale)),
        Some(Kind::Wide) => Box::new(Log::<i128>::new(ordered, scale)),
        Some(Kind::Float) => Box::new(Log::<Total>::new(ordered, scale)),
        Some(Kind::Text) => Box::new(Log::<Box<str>>::new(ordered, scale)),
    }
}

type Entry<V> = (i64, Box<[u8]>, V);

struct Log<V: Value> {
    /// Rows of equal time are told apart by their order, not only by their values.
    ordered: bool,
    scale: i8,
    rows: VecDeque<Entry<V>>,
    times: Option<ScalarBuffer<i64>>,
    order: Order,
    values: V::Column,
}

impl<V: Value> Log<V> {
    fn new(ordered: bool, scale: i8) -> Self {
        let (order, values) = (Order::default(), V::Column::default());
        Log { ordered, scale, rows: VecDeque::new(), times: None, order, values }
    }

    /// The rows of a window.
    fn inside(&self, window: &Window) -> std::collections::vec_deque::Iter<'_, Entry<V>> {
        self.rows.range(self.rows.partition_point(|(time, ..)| *time < window.from)..)
    }

    fn percentile(&self, window: &Window, at: f64) -> Option<f64> {
        let mut values: Vec<&V> = self.inside(window).map(|(_, _, value)| value).collect();
        let last = values.len().checked_sub(1)?;
        let place = last as f64 * at / 100.0;
        let lower = (place.floor() as usize).min(last);
        let (_, low, above) = values.select_nth_unstable(lower);
        let low = low.number(self.scale);
        Some(match above.iter().min() {
            Some(high) if lower < last => low + (high.number(self.scale) - low) * (place - lower as f64),
            _ => low,
        })
    }

    fn exp_weighted_mean(&self, window: &Window, half_life: i64) -> Result<Option<f64>, Fault> {
        let Some((newest, ..)) = self.inside(window).next_back() else { return Ok(None) };
        let (mut sum, mut weights) = (FloatSum::default(), FloatSum::default());
        for (time, _, value) in self.inside(window) {
            let weight = (-in_unit(*newest, *time, half_life)).exp2();
            let product = weight * value.number(self.scale);
            sum.add(product);
            weights.add(weight);
        }
        let (Some(sum), Some(weights)) = (sum.value(), weights.value()) else {
            return Err(Fault("the weighted sum overflows float64".into()));
        };
        Ok(Some(sum / weights))
    }
}

impl<V: Value> Accumulator for Log<V> {
    fn load(&mut self, rows: &Load) -> Result<()> {
        self.times = Some(rows.times.clone());
        if self.ordered {
            self.order.load::<V>(rows);
        }
        self.values = rows.value.map_or_else(|| Ok(V::Column::default()), V::column)?;
        Ok(())
    }

    fn clear(&mut self) {
        self.rows.clear();
    }

    fn apply(&mut self, changes: &[Change]) -> Result<bool, Fault> {
        let Some(times) = &self.times else { return Ok(false) };
        for change in changes.iter().filter(|c| c.from == OUT || c.to == OUT || c.to == RETRACTED) {
            let time = times[change.row as usize];
            let entry = (time, self.order.at(change.row), V::at(&self.values, change.row));
            if change.from != OUT {
                if let Ok(at) = self.rows.binary_search(&entry) {
                    self.rows.remove(at);
                }
            } else if self.rows.back().is_none_or(|last| *last <= entry) {
                self.rows.push_back(entry);
            } else {
                let at = self.rows.partition_point(|other| *other < entry);
                self.rows.insert(at, entry);
            }
        }
        Ok(false)
    }

    fn read(&mut self, reading: &Reading, window: &Window, column: &mut Column) -> Result<(), Fault> {
        let mut inside = self.inside(window);
        let value = match reading {
            Reading::Percentile(at) => self.percentile(window, *at),
            Reading::ExpWeightedMean(half_life) => self.exp_weighted_mean(window, *half_life)?,
            Reading::Since(unit) => inside.next().map(|(time, ..)| in_unit(window.as_of, *time, *unit)),
            Reading::MeanGap(unit) => {
                let gaps = inside.len().saturating_sub(1);
                let ends = inside.next().zip(inside.next_back());
                ends.map(|((first, ..), (last, ..))| in_unit(*last, *first, *unit) / gaps as f64)
            }
            _ => {
                match inside.next() {
                    Some((_, _, value)) => value.write(column),
                    None => column.null(),
                }
                return Ok(());
            }
        };
        column.float(value);
        Ok(())
    }

    fn save(&self, out: &mut Writer) {
        let mut before = 0;
        for (time, key, value) in &self.rows {
            out.signed(i128::from(*time) - before);
            before = i128::from(*time);
            if self.ordered {
                out.blob(key);
            }
            value.put(out);
        }
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        self.clear();
        let mut reader = Reader::new(bytes);
        let mut time = 0;
        while !reader.is_empty() {
            time += reader.long()?;
            let key = if self.ordered { reader.blob()?.into() } else { Box::default() };
            self.rows.push_back((time, key, V::get(&mut reader)?));
        }
        Ok(())
    }
}
