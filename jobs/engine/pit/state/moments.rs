//! Count, exact sum and exact sum of squares, per ring.

use arrow::array::ArrayRef;
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, DecimalType, i256};

use crate::engine::pit::exact;
use crate::engine::pit::kernel::{Fault, decimals, floats, longs};
use crate::engine::pit::output::Column;
use crate::error::Result;

use super::value::{scale_of, ten_to};
use super::{Accumulator, Change, Load, OUT, Reader, Reading, Window, Writer};

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum Level {
    Count,
    Sum,
    Squares,
}

/// Values of a lane without any.
pub struct Counts {
    rings: Vec<i64>,
}

pub fn new(level: Level, data_type: Option<&DataType>, rings: usize) -> Box<dyn Accumulator> {
    match data_type {
        Some(DataType::Float64) if level > Level::Count => Box::new(FloatRings {
            counts: vec![0; rings],
            rings: vec![exact::FloatMoments::default(); rings],
            values: None,
            squares: level == Level::Squares,
        }),
        Some(data_type) if level > Level::Count => Box::new(Rings {
            counts: vec![0; rings],
            rings: vec![exact::Moments::default(); rings],
            values: Values::None,
            squares: level == Level::Squares,
            scale: scale_of(data_type),
        }),
        _ => Box::new(Counts { rings: vec![0; rings] }),
    }
}

fn move_counts(counts: &mut [i64], change: &Change) {
    if let Some(count) = counts.get_mut(usize::from(change.from)) {
        *count -= 1;
    }
    if let Some(count) = counts.get_mut(usize::from(change.to)) {
        *count += 1;
    }
}

fn count_up_to(counts: &[i64], window: &Window) -> i64 {
    counts[..=usize::from(window.ring)].iter().sum()
}

impl Accumulator for Counts {
    fn load(&mut self, _: &Load) -> Result<()> {
        Ok(())
    }

    fn clear(&mut self) {
        self.rings.fill(0);
    }

    fn apply(&mut self, changes: &[Change]) -> Result<bool, Fault> {
        changes.iter().for_each(|change| move_counts(&mut self.rings, change));
        Ok(false)
    }

    fn read(&mut self, _: &Reading, window: &Window, column: &mut Column) -> Result<(), Fault> {
        column.int(count_up_to(&self.rings, window));
        Ok(())
    }

    fn save(&self, out: &mut Writer) {
        if self.rings.iter().any(|count| *count != 0) {
            self.rings.iter().for_each(|count| out.unsigned(*count as u128));
        }
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        self.clear();
        let mut reader = Reader::new(bytes);
        for count in self.rings.iter_mut().take_while(|_| !bytes.is_empty()) {
            *count = reader.length()? as i64;
        }
        Ok(())
    }
}

enum Values {
    None,
    Longs(ScalarBuffer<i64>),
    Wides(ScalarBuffer<i128>),
}

impl Values {
    fn of(array: &ArrayRef) -> Result<Values> {
        Ok(match array.data_type() {
            DataType::Decimal128(..) => Values::Wides(decimals(array)?),
            _ => Values::Longs(longs(array)?),
        })
    }
}

/// Of integers and decimals.
struct Rings {
    counts: Vec<i64>,
    rings: Vec<exact::Moments>,
    values: Values,
    squares: bool,
    scale: i8,
}

impl Rings {
    fn follow(&mut self, change: &Change, value: i128) -> Result<(), Fault> {
        move_counts(&mut self.counts, change);
        if let Some(ring) = self.rings.get_mut(usize::from(change.from)) {
            ring.subtract(value);
            if self.squares {
                ring.square(value, -1).ok_or_else(too_large)?;
            }
        }
        if let Some(ring) = self.rings.get_mut(usize::from(change.to)) {
            ring.add(value);
            if self.squares {
                ring.square(value, 1).ok_or_else(too_large)?;
            }
        }
        Ok(())
    }

    fn sum(&self, window: &Window) -> Option<i128> {
        let mut total = exact::Moments::default();
        self.rings[..=usize::from(window.ring)].iter().for_each(|ring| total.merge_sum(ring));
        total.sum()
    }

    fn total(&self, window: &Window) -> Result<exact::Moments, Fault> {
        let mut total = exact::Moments::default();
        for ring in &self.rings[..=usize::from(window.ring)] {
            total.merge(ring).ok_or_else(too_large)?;
        }
        Ok(total)
    }

    fn write_sum(&self, sum: Option<i128>, column: &mut Column) -> Result<(), Fault> {
        if let Column::Decimal(_) = column {
            let fits = |sum: &i128| Decimal128Type::is_valid_decimal_precision(*sum, DECIMAL128_MAX_PRECISION);
            let scale = self.scale;
            column.decimal(sum.filter(fits).ok_or_else(|| overflow(&format!("decimal(38,{scale})")))?);
        } else {
            column.int(sum.and_then(|sum| i64::try_from(sum).ok()).ok_or_else(|| overflow("int64"))?);
        }
        Ok(())
    }
}

impl Accumulator for Rings {
    fn load(&mut self, rows: &Load) -> Result<()> {
        self.values = rows.value.map_or(Ok(Values::None), Values::of)?;
        Ok(())
    }

    fn clear(&mut self) {
        self.counts.fill(0);
        self.rings.iter_mut().for_each(exact::Moments::clear);
    }

    fn apply(&mut self, changes: &[Change]) -> Result<bool, Fault> {
        for change in changes {
            let value = match &self.values {
                Values::Longs(values) => i128::from(values[change.row as usize]),
                Values::Wides(values) => values[change.row as usize],
                Values::None => 0,
            };
            self.follow(change, value)?;
        }
        Ok(false)
    }

    fn read(&mut self, reading: &Reading, window: &Window, column: &mut Column) -> Result<(), Fault> {
        let count = count_up_to(&self.counts, window);
        match reading {
            Reading::Count => column.int(count),
            Reading::Sum | Reading::Mean if count == 0 => column.null(),
            Reading::Sum => self.write_sum(self.sum(window), column)?,
            Reading::Mean => {
                let sum = self.sum(window).ok_or_else(|| overflow("decimal(38)"))?;
                column.float(Some(sum as f64 / (count as f64 * ten_to(self.scale))));
            }
            _ if count < 2 => column.null(),
            _ => {
                let spread = self.total(window)?.spread(count).ok_or_else(too_large)?;
                let variance = spread / (count as f64 * (count - 1) as f64);
                column.float(Some(match reading {
                    Reading::Stddev => variance.sqrt() / ten_to(self.scale),
                    _ => variance / ten_to(2 * self.scale),
                }));
            }
        }
        Ok(())
    }

    fn save(&self, out: &mut Writer) {
        if self.counts.iter().all(|count| *count == 0) {
            return;
        }
        for (count, ring) in self.counts.iter().zip(&self.rings) {
            out.unsigned(*count as u128);
            if *count == 0 {
                continue;
            }
            out.signed(ring.sum);
            out.signed(ring.carry.into());
            if self.squares {
                out.signed(ring.squares);
                let (low, high) = ring.wide_squares.to_parts();
                out.unsigned(low);
                out.signed(high);
            }
        }
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        self.clear();
        let mut reader = Reader::new(bytes);
        if bytes.is_empty() {
            return Ok(());
        }
        for (count, ring) in self.counts.iter_mut().zip(&mut self.rings) {
            *count = reader.length()? as i64;
            if *count == 0 {
                continue;
            }
            ring.sum = reader.signed()?;
            ring.carry = reader.long()?;
            if self.squares {
                ring.squares = reader.signed()?;
                let low = reader.unsigned()?;
                ring.wide_squares = i256::from_parts(low, reader.signed()?);
            }
        }
        Ok(())
    }
}

/// Of floats.
struct FloatRings {
    counts: Vec<i64>,
    rings: Vec<exact::FloatMoments>,
    values: Option<ScalarBuffer<f64>>,
    squares: bool,
}

impl FloatRings {
    fn total(&self, window: &Window) -> exact::FloatMoments {
        let mut total = exact::FloatMoments::default();
        self.rings[..=usize::from(window.ring)].iter().for_each(|ring| total.merge(ring));
        total
    }
}

impl Accumulator for FloatRings {
    fn load(&mut self, rows: &Load) -> Result<()> {
        self.values = rows.value.map(floats).transpose()?;
        Ok(())
    }

    fn clear(&mut self) {
        self.counts.fill(0);
        self.rings.iter_mut().for_each(exact::FloatMoments::clear);
    }

    fn apply(&mut self, changes: &[Change]) -> Result<bool, Fault> {
        let Some(values) = &self.values else { return Ok(false) };
        for change in changes {
            move_counts(&mut self.counts, change);
            let value = values[change.row as usize];
            for (ring, sign) in [(change.from, -1.0), (change.to, 1.0)] {
                if let Some(ring) = self.rings.get_mut(usize::from(ring)) {
                    ring.add(value, sign, self.squares).ok_or_else(too_large)?;
                }
            }
        }
        Ok(false)
    }

    fn read(&mut self, reading: &Reading, window: &Window, column: &mut Column) -> Result<(), Fault> {
        let count = count_up_to(&self.counts, window);
        let sum = |total: &exact::FloatMoments| total.sum.value().ok_or_else(|| overflow("float64"));
        match reading {
            Reading::Count => column.int(count),
            Reading::Sum | Reading::Mean if count == 0 => column.null(),
            Reading::Sum => column.float(Some(sum(&self.total(window))?)),
            Reading::Mean => column.float(Some(sum(&self.total(window))? / count as f64)),
            _ if count < 2 => column.null(),
            _ => {
                let spread = self.total(window).spread(count).ok_or_else(too_large)?;
                let variance = spread / (count as f64 * (count - 1) as f64);
                column.float(Some(if *reading == Reading::Stddev { variance.sqrt() } else { variance }));
            }
        }
        Ok(())
    }

    fn save(&self, out: &mut Writer) {
        if self.counts.iter().all(|count| *count == 0) {
            return;
        }
        for (count, ring) in self.counts.iter().zip(&self.rings) {
            out.unsigned(*count as u128);
            for sum in [&ring.sum, &ring.squared, &ring.squares] {
                let (partials, big) = sum.parts();
                out.floats(partials);
                out.floats(big);
            }
        }
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        self.clear();
        let mut reader = Reader::new(bytes);
        for (count, ring) in self.counts.iter_mut().zip(&mut self.rings).take_while(|_| !bytes.is_empty()) {
            *count = reader.length()? as i64;
            for sum in [&mut ring.sum, &mut ring.squared, &mut ring.squares] {
                *sum = exact::FloatSum::from_parts(reader.floats()?, reader.floats()?);
            }
        }
        Ok(())
    }
}

fn overflow(what: &str) -> Fault {
    Fault(format!("the sum overflows {what}"))
}

fn too_large() -> Fault {
    Fault("the sum of squares overflows".into())
}

const _: () = assert!(OUT as usize > 1 << 12, "rings that are none lie beyond all rings");
