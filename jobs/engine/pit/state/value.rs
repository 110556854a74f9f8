//! The kinds of values that states hold, each with its order, its bytes and its way into a column.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::DataType;
use datafusion::common::HashMap;

use crate::engine::pit::kernel::{decimals, floats, longs, unexpected};
use crate::engine::pit::output::Column;
use crate::error::Result;

use super::{Reader, Writer};

/// A value of a column, held by itself.
pub trait Value: Clone + Ord + Hash + Send + std::fmt::Debug + 'static {
    /// A chunk's column of such values.
    type Column: Default + Send;

    fn column(array: &ArrayRef) -> Result<Self::Column>;

    fn at(column: &Self::Column, row: u32) -> Self;

    fn put(&self, out: &mut Writer);

    fn get(reader: &mut Reader) -> Result<Self>;

    /// The number that such a value of a column has.
    fn number_at(numbers: &HashMap<Self, u32>, column: &Self::Column, row: u32) -> Option<u32> {
        numbers.get(&Self::at(column, row)).copied()
    }

    /// As [`Value::get`], or the number that the value has.
    fn get_number(numbers: &HashMap<Self, u32>, reader: &mut Reader) -> Result<std::result::Result<u32, Self>> {
        let value = Self::get(reader)?;
        Ok(numbers.get(&value).copied().ok_or(value))
    }

    /// Appends it to an output column of its own type.
    fn write(&self, column: &mut Column);

    /// As a number, at a decimal's scale.
    fn number(&self, scale: i8) -> f64;
}

/// Which kind of value a column's type is kept as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Integers, dates, timestamps, booleans.
    Long,
    Wide,
    Float,
    Text,
}

impl Kind {
    pub fn of(data_type: &DataType) -> Kind {
        match data_type {
            DataType::Float64 => Kind::Float,
            DataType::Decimal128(..) => Kind::Wide,
            DataType::Utf8 => Kind::Text,
            _ => Kind::Long,
        }
    }
}

/// The digits after the point of a type.
pub fn scale_of(data_type: &DataType) -> i8 {
    if let DataType::Decimal128(_, scale) = data_type { *scale } else { 0 }
}

pub fn ten_to(scale: i8) -> f64 {
    10.0_f64.powi(i32::from(scale))
}

/// Where only the time of a row matters.
impl Value for () {
    type Column = ();

    fn column(_: &ArrayRef) -> Result<()> {
        Ok(())
    }

    fn at(_: &(), _: u32) {}

    fn put(&self, _: &mut Writer) {}

    fn get(_: &mut Reader) -> Result<()> {
        Ok(())
    }

    fn write(&self, _: &mut Column) {}

    fn number(&self, _: i8) -> f64 {
        0.0
    }
}

impl Value for i64 {
    type Column = Buffer<i64>;

    fn column(array: &ArrayRef) -> Result<Self::Column> {
        Ok(Buffer(Some(longs(array)?)))
    }

    fn at(column: &Self::Column, row: u32) -> i64 {
        column.at(row)
    }

    fn put(&self, out: &mut Writer) {
        out.signed(i128::from(*self));
    }

    fn get(reader: &mut Reader) -> Result<i64> {
        reader.long()
    }

    fn write(&self, column: &mut Column) {
        column.int(*self);
    }

    fn number(&self, _: i8) -> f64 {
        *self as f64
    }
}

impl Value for i128 {
    type Column = Buffer<i128>;

    fn column(array: &ArrayRef) -> Result<Self::Column> {
        Ok(Buffer(Some(decimals(array)?)))
    }

    fn at(column: &Self::Column, row: u32) -> i128 {
        column.at(row)
    }

    fn put(&self, out: &mut Writer) {
        out.signed(*self);
    }

    fn get(reader: &mut Reader) -> Result<i128> {
        reader.signed()
    }

    fn write(&self, column: &mut Column) {
        column.decimal(*self);
    }

    fn number(&self, scale: i8) -> f64 {
        *self as f64 / ten_to(scale)
    }
}

/// A float in IEEE 754's total order, by which `-0.0` comes before `0.0`.
#[derive(Debug, Clone, Copy)]
pub struct Total(pub f64);

impl PartialEq for Total {
    fn eq(&self, other: &Total) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Total {}

impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Total) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Total {
    fn cmp(&self, other: &Total) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Hash for Total {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl Value for Total {
    type Column = Buffer<f64>;

    fn column(array: &ArrayRef) -> Result<Self::Column> {
        Ok(Buffer(Some(floats(array)?)))
    }

    fn at(column: &Self::Column, row: u32) -> Total {
        Total(column.at(row))
    }

    fn put(&self, out: &mut Writer) {
        out.float(self.0);
    }

    fn get(reader: &mut Reader) -> Result<Total> {
        reader.float().map(Total)
    }

    fn write(&self, column: &mut Column) {
        column.float(Some(self.0));
    }

    fn number(&self, _: i8) -> f64 {
        self.0
    }
}

impl Value for Box<str> {
    type Column = Option<StringArray>;

    fn column(array: &ArrayRef) -> Result<Self::Column> {
        Ok(Some(array.as_string_opt::<i32>().ok_or_else(|| unexpected(array.data_type()))?.clone()))
    }

    fn at(column: &Self::Column, row: u32) -> Box<str> {
        column.as_ref().map(|column| column.value(row as usize)).unwrap_or_default().into()
    }

    fn put(&self, out: &mut Writer) {
        out.blob(self.as_bytes());
    }

    fn get(reader: &mut Reader) -> Result<Box<str>> {
        Ok(String::from_utf8_lossy(reader.blob()?).into())
    }

    // Most values have been seen before: those need no string of their own.

    fn number_at(numbers: &HashMap<Self, u32>, column: &Self::Column, row: u32) -> Option<u32> {
        numbers.get(column.as_ref()?.value(row as usize)).copied()
    }

    fn get_number(numbers: &HashMap<Self, u32>, reader: &mut Reader) -> Result<std::result::Result<u32, Self>> {
        let text = String::from_utf8_lossy(reader.blob()?);
        Ok(numbers.get(text.as_ref()).copied().ok_or_else(|| text.into()))
    }

    fn write(&self, column: &mut Column) {
        column.text(self);
    }

    fn number(&self, _: i8) -> f64 {
        0.0
    }
}

/// A column of fixed width. Nulls have arbitrary values, and are never asked for.
#[derive(Debug)]
pub struct Buffer<T: arrow::datatypes::ArrowNativeType>(Option<ScalarBuffer<T>>);

impl<T: arrow::datatypes::ArrowNativeType> Default for Buffer<T> {
    fn default() -> Self {
        Buffer(None)
    }
}

impl<T: arrow::datatypes::ArrowNativeType> Buffer<T> {
    #[inline]
    pub fn at(&self, row: u32) -> T {
        self.0.as_ref().map(|values| values[row as usize]).unwrap_or_default()
    }
}

/// Floats as values that can be counted: one NaN, one zero.
pub fn canonical(array: &ArrayRef) -> Result<ArrayRef> {
    if array.data_type() != &DataType::Float64 {
        return Ok(array.clone());
    }
    let values = floats(array)?;
    let one = values.iter().map(|&v| match v {
        v if v.is_nan() => f64::NAN,
        0.0 => 0.0,
        v => v,
    });
    let values = arrow::array::Float64Array::new(one.collect(), array.nulls().cloned());
    Ok(std::sync::Arc::new(values))
}
