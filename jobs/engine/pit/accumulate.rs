//! What a lane keeps while its rows enter, oldest last: moments, extremes, distinct values, categories.
//!
//! Each is loaded with a chunk's column, cleared for a spine row, given rows segment by segment and read once per
//! window. Rows given are never null, and finite where the lane says so.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Datum, Int64Array, Scalar, StringArray};
use arrow::buffer::ScalarBuffer;
use arrow::compute::kernels::cmp;
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, DecimalType};
use arrow::row::{RowConverter, SortField};

use crate::error::Result;

use super::compile::{self, Reading};
use super::exact::{FloatSum, Moments};
use super::kernel::{Fault, decimals, floats, longs, unexpected};
use super::output::Column;

pub trait Accumulate: Send {
    fn load(&mut self, column: &ArrayRef) -> Result<()>;

    fn clear(&mut self);

    /// Rows in order of time, all of them older than those added before.
    fn add(&mut self, rows: &[u32]) -> Result<(), Fault>;

    /// Appends the value of the rows added so far; `rows` are the same, oldest first.
    fn read(&mut self, reading: Reading, rows: &[u32], column: &mut Column) -> Result<(), Fault>;
}

pub fn new(plan: &compile::Accumulator) -> Box<dyn Accumulate> {
    match plan {
        compile::Accumulator::Moments { squares } => Box::new(Sums { squares: *squares, ..Sums::default() }),
        compile::Accumulator::Least => Box::new(Extreme { greatest: false, ..Extreme::default() }),
        compile::Accumulator::Greatest => Box::new(Extreme { greatest: true, ..Extreme::default() }),
        compile::Accumulator::Distinct => Box::new(Distinct::default()),
        compile::Accumulator::Categories(values) => {
            Box::new(Categories { values: values.clone(), codes: Vec::new(), counts: vec![0; values.len() + 1] })
        }
    }
}

/// Values of one of the kinds that can be compared.
#[derive(Default)]
enum Values {
    #[default]
    None,
    Longs(ScalarBuffer<i64>),
    Decimals(ScalarBuffer<i128>, i8),
    Floats(ScalarBuffer<f64>),
    Texts(StringArray),
}

impl Values {
    fn of(column: &ArrayRef) -> Result<Values> {
        Ok(match column.data_type() {
            DataType::Float64 => Values::Floats(floats(column)?),
            DataType::Decimal128(_, scale) => Values::Decimals(decimals(column)?, *scale),
            DataType::Utf8 => {
                Values::Texts(column.as_string_opt::<i32>().ok_or_else(|| unexpected(column.data_type()))?.clone())
            }
            _ => Values::Longs(longs(column)?),
        })
    }
}

/// Sum, mean and standard deviation.
#[derive(Default)]
struct Sums {
    squares: bool,
    values: Values,
    moments: Moments,
    floats: FloatSum,
}

impl Accumulate for Sums {
    fn load(&mut self, column: &ArrayRef) -> Result<()> {
        self.values = Values::of(column)?;
        Ok(())
    }

    fn clear(&mut self) {
        self.moments.clear();
        self.floats.clear();
    }

    fn add(&mut self, rows: &[u32]) -> Result<(), Fault> {
        let (moments, squares) = (&mut self.moments, self.squares);
        let mut add = |value: i128| if squares { moments.add_squared(value) } else { moments.add(value) };
        match &self.values {
            Values::Longs(values) => rows.iter().for_each(|&row| add(i128::from(values[row as usize]))),
            Values::Decimals(values, _) => rows.iter().for_each(|&row| add(values[row as usize])),
            Values::Floats(values) => rows.iter().for_each(|&row| self.floats.add(values[row as usize])),
            Values::None | Values::Texts(_) => {}
        }
        Ok(())
    }

    fn read(&mut self, reading: Reading, rows: &[u32], column: &mut Column) -> Result<(), Fault> {
        match (reading, rows.len() as i64) {
            (Reading::Sum, 0) => self.read_nothing(column),
            (Reading::Sum, _) => return self.read_sum(column),
            (Reading::Mean, 0) => column.float(None),
            (Reading::Mean, count) => column.float(Some(self.mean(count)?)),
            (_, 0 | 1) => column.float(None),
            (_, count) => column.float(Some(self.deviation(rows, count)?)),
        }
        Ok(())
    }
}

impl Sums {
    fn read_nothing(&self, column: &mut Column) {
        match column {
            Column::Int(builder) => builder.append_null(),
            Column::Float(builder) => builder.append_null(),
            Column::Decimal(builder) => builder.append_null(),
            Column::Picked { rows, .. } => rows.push(None),
        }
    }

    fn read_sum(&self, column: &mut Column) -> Result<(), Fault> {
        match column {
            Column::Int(builder) => {
                let sum = self.moments.sum().and_then(|sum| i64::try_from(sum).ok());
                builder.append_value(sum.ok_or_else(|| overflow("int64"))?);
            }
            Column::Decimal(builder) => {
                let scale = if let Values::Decimals(_, scale) = self.values { scale } else { 0 };
                let fits = |sum: &i128| Decimal128Type::is_valid_decimal_precision(*sum, DECIMAL128_MAX_PRECISION);
                let sum = self.moments.sum().filter(fits);
                builder.append_value(sum.ok_or_else(|| overflow(&format!("decimal(38,{scale})")))?);
            }
            _ => column.float(Some(self.float_sum()?)),
        }
        Ok(())
    }

    fn float_sum(&self) -> Result<f64, Fault> {
        self.floats.value().ok_or_else(|| overflow("float64"))
    }

    fn mean(&self, count: i64) -> Result<f64, Fault> {
        let scale = match self.values {
            Values::Floats(_) => return Ok(self.float_sum()? / count as f64),
            Values::Decimals(_, scale) => scale,
            _ => 0,
        };
        let sum = self.moments.sum().ok_or_else(|| overflow("decimal(38)"))?;
        Ok(sum as f64 / (count as f64 * ten_to(scale)))
    }

    fn deviation(&self, rows: &[u32], count: i64) -> Result<f64, Fault> {
        let pairs = count as f64 * (count - 1) as f64;
        let scale = match &self.values {
            Values::Floats(values) => {
                let mean = self.mean(count)?;
                let mut squares = FloatSum::default();
                for &row in rows {
                    let distance = values[row as usize] - mean;
                    squares.add(distance * distance);
                }
                let squares = squares.value().ok_or_else(|| overflow("float64"))?;
                return Ok((squares / (count - 1) as f64).sqrt());
            }
            Values::Decimals(_, scale) => *scale,
            _ => 0,
        };
        let spread = self.moments.spread().ok_or_else(|| overflow("256 bits"))?;
        Ok((spread / pairs).sqrt() / ten_to(scale))
    }
}

fn ten_to(scale: i8) -> f64 {
    10.0_f64.powi(i32::from(scale))
}

fn overflow(what: &str) -> Fault {
    Fault(format!("the sum overflows {what}"))
}

/// The row of the least or the greatest value.
#[derive(Default)]
struct Extreme {
    greatest: bool,
    values: Values,
    best: Option<u32>,
}

impl Accumulate for Extreme {
    fn load(&mut self, column: &ArrayRef) -> Result<()> {
        self.values = Values::of(column)?;
        Ok(())
    }

    fn clear(&mut self) {
        self.best = None;
    }

    fn add(&mut self, rows: &[u32]) -> Result<(), Fault> {
        let (best, greatest) = (self.best, self.greatest);
        self.best = match &self.values {
            Values::Longs(v) => extreme(best, rows, greatest, |a, b| v[a] < v[b]),
            Values::Decimals(v, _) => extreme(best, rows, greatest, |a, b| v[a] < v[b]),
            Values::Floats(v) => extreme(best, rows, greatest, |a, b| v[a].total_cmp(&v[b]).is_lt()),
            Values::Texts(v) => extreme(best, rows, greatest, |a, b| v.value(a) < v.value(b)),
            Values::None => None,
        };
        Ok(())
    }

    fn read(&mut self, _: Reading, _: &[u32], column: &mut Column) -> Result<(), Fault> {
        column.row(self.best);
        Ok(())
    }
}

fn extreme(best: Option<u32>, rows: &[u32], greatest: bool, less: impl Fn(usize, usize) -> bool) -> Option<u32> {
    rows.iter().copied().chain(best).reduce(|best, row| {
        let (a, b) = if greatest { (best, row) } else { (row, best) };
        if less(a as usize, b as usize) { row } else { best }
    })
}

/// The number of distinct values: each value of a chunk has a number, each spine row marks the numbers it saw.
#[derive(Default)]
struct Distinct {
    ids: Vec<u32>,
    /// By value: the spine row that saw it last.
    marks: Vec<u64>,
    spine_row: u64,
    count: i64,
}

impl Accumulate for Distinct {
    fn load(&mut self, column: &ArrayRef) -> Result<()> {
        let column = match column.data_type() {
            DataType::Float64 => canonical(column)?,
            _ => column.clone(),
        };
        let converter = RowConverter::new(vec![SortField::new(column.data_type().clone())])?;
        let rows = converter.convert_columns(&[column])?;
        let mut numbers: HashMap<&[u8], u32> = HashMap::new();
        self.ids.clear();
        for row in &rows {
            let next = numbers.len() as u32;
            self.ids.push(*numbers.entry(row.data()).or_insert(next));
        }
        self.marks.clear();
        self.marks.resize(numbers.len(), 0);
        self.spine_row = 0;
        Ok(())
    }

    fn clear(&mut self) {
        self.spine_row += 1;
        self.count = 0;
    }

    fn add(&mut self, rows: &[u32]) -> Result<(), Fault> {
        for &row in rows {
            let mark = &mut self.marks[self.ids[row as usize] as usize];
            self.count += i64::from(*mark != self.spine_row);
            *mark = self.spine_row;
        }
        Ok(())
    }

    fn read(&mut self, _: Reading, _: &[u32], column: &mut Column) -> Result<(), Fault> {
        column.int(self.count);
        Ok(())
    }
}

/// Floats as bits, one pattern for all NaN and one for both zeros.
fn canonical(column: &ArrayRef) -> Result<ArrayRef> {
    let values = floats(column)?;
    let bits = values.iter().map(|&v| match v {
        v if v.is_nan() => f64::NAN.to_bits() as i64,
        0.0 => 0,
        v => v.to_bits() as i64,
    });
    Ok(Arc::new(Int64Array::from_iter_values(bits)))
}

/// Rows per category; the last count is of all others.
struct Categories {
    values: Vec<ArrayRef>,
    codes: Vec<u32>,
    counts: Vec<u32>,
}

impl Accumulate for Categories {
    fn load(&mut self, column: &ArrayRef) -> Result<()> {
        self.codes.clear();
        self.codes.resize(column.len(), self.values.len() as u32);
        for (code, value) in self.values.iter().enumerate() {
            let value = Scalar::new(value.clone());
            let equal = cmp::eq(&column.as_ref() as &dyn Datum, &value)?;
            for row in equal.values().set_indices() {
                self.codes[row] = code as u32;
            }
        }
        Ok(())
    }

    fn clear(&mut self) {
        self.counts.fill(0);
    }

    fn add(&mut self, rows: &[u32]) -> Result<(), Fault> {
        for &row in rows {
            self.counts[self.codes[row as usize] as usize] += 1;
        }
        Ok(())
    }

    fn read(&mut self, reading: Reading, rows: &[u32], column: &mut Column) -> Result<(), Fault> {
        let share = match reading {
            Reading::Share(category) if !rows.is_empty() => Some(f64::from(self.counts[category]) / rows.len() as f64),
            _ => None,
        };
        column.float(share);
        Ok(())
    }
}
