//! Arrow columns from rows of plain numbers, without a formatter or a builder call per value.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Float64Array, Int32Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema};

use super::rows::Timed;
use super::vocabulary::{push_id, push_number};
use crate::error::Result;

/// Precision and scale of money.
const MONEY: (u8, i8) = (18, 2);

/// The columns of some rows, added one by one.
pub struct Columns<'a, R> {
    rows: &'a [R],
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl<'a, R: Timed> Columns<'a, R> {
    pub fn new(rows: &'a [R]) -> Self {
        Columns { rows, fields: Vec::new(), arrays: Vec::new() }
    }

    fn add(mut self, name: &str, array: ArrayRef, nullable: bool) -> Self {
        self.fields.push(Field::new(name, array.data_type().clone(), nullable));
        self.arrays.push(array);
        self
    }

    /// Text that `push` appends, which must be valid UTF-8; for values that hardly repeat.
    pub fn text(self, name: &str, push: impl Fn(&R, &mut Vec<u8>)) -> Result<Self> {
        let mut bytes = Vec::with_capacity(self.rows.len() * 16);
        let mut offsets = Vec::with_capacity(self.rows.len() + 1);
        offsets.push(0i32);
        for row in self.rows {
            push(row, &mut bytes);
            offsets.push(bytes.len() as i32);
        }
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let array = StringArray::try_new(offsets, Buffer::from_vec(bytes), None)?;
        Ok(self.add(name, Arc::new(array), false))
    }

    /// The user's identifier, `user_id`.
    pub fn user(self) -> Result<Self> {
        self.text("user_id", |row, out| {
            out.push(b'u');
            push_number(out, u64::from(row.person()), 7);
        })
    }

    /// The identifier of something that a user has several of.
    pub fn id(self, name: &str, prefix: u8, number: impl Fn(&R) -> u32) -> Result<Self> {
        self.text(name, |row, out| push_id(out, prefix, row.person(), number(row)))
    }

    /// One of a few words.
    pub fn word(self, name: &str, word: impl Fn(&R) -> &'static str) -> Self {
        let array = StringArray::from_iter_values(self.rows.iter().map(word));
        self.add(name, Arc::new(array), false)
    }

    pub fn optional_word(self, name: &str, word: impl Fn(&R) -> Option<&'static str>) -> Self {
        let array = self.rows.iter().map(word).collect::<StringArray>();
        self.add(name, Arc::new(array), true)
    }

    /// UTC microseconds since 1970.
    pub fn time(self, name: &str, time: impl Fn(&R) -> i64) -> Self {
        let array = TimestampMicrosecondArray::from_iter_values(self.rows.iter().map(time)).with_timezone("UTC");
        self.add(name, Arc::new(array), false)
    }

    pub fn optional_time(self, name: &str, time: impl Fn(&R) -> Option<i64>) -> Self {
        let array = self.rows.iter().map(time).collect::<TimestampMicrosecondArray>().with_timezone("UTC");
        self.add(name, Arc::new(array), true)
    }

    /// Days since 1970.
    pub fn date(self, name: &str, date: impl Fn(&R) -> i32) -> Self {
        let array = Date32Array::from_iter_values(self.rows.iter().map(date));
        self.add(name, Arc::new(array), false)
    }

    /// Hundredths of a PLN.
    pub fn money(self, name: &str, cents: impl Fn(&R) -> i64) -> Result<Self> {
        let array = Decimal128Array::from_iter_values(self.rows.iter().map(|r| i128::from(cents(r))));
        let array = array.with_precision_and_scale(MONEY.0, MONEY.1)?;
        Ok(self.add(name, Arc::new(array), false))
    }

    pub fn int(self, name: &str, int: impl Fn(&R) -> i32) -> Self {
        let array = Int32Array::from_iter_values(self.rows.iter().map(int));
        self.add(name, Arc::new(array), false)
    }

    pub fn float(self, name: &str, float: impl Fn(&R) -> f64) -> Self {
        let array = Float64Array::from_iter_values(self.rows.iter().map(float));
        self.add(name, Arc::new(array), false)
    }

    pub fn finish(self) -> Result<RecordBatch> {
        Ok(RecordBatch::try_new(Arc::new(Schema::new(self.fields)), self.arrays)?)
    }
}

/// Whether a column's values come from a short list, so that a Parquet dictionary pays.
pub fn repeats(field: &Field) -> bool {
    *field.data_type() == DataType::Utf8 && WORDS.contains(&field.name().as_str())
}

const WORDS: [&str; 14] = [
    "country",
    "gender",
    "city",
    "device",
    "page",
    "category",
    "delivery_method",
    "payment_method",
    "channel",
    "carrier",
    "reason",
    "plan",
    "action",
    "kind",
];
