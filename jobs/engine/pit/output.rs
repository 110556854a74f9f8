//! Columns under construction: one typed builder per feature.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Builder, Float64Builder, Int64Builder, UInt32Array, UInt32Builder, new_null_array,
};
use arrow::compute::{concat, take};
use arrow::datatypes::DataType;

use crate::error::Result;

/// Values picked from rows of chunks. Rows are collected as numbers and taken all at once, before the chunk goes.
#[derive(Debug)]
pub struct Picked {
    data_type: DataType,
    source: Option<ArrayRef>,
    rows: UInt32Builder,
    pieces: Vec<ArrayRef>,
}

impl Picked {
    pub fn new(data_type: DataType) -> Self {
        Picked { data_type, source: None, rows: UInt32Builder::new(), pieces: Vec::new() }
    }

    /// Picks from another array from now on.
    pub fn load(&mut self, source: &ArrayRef) -> Result<()> {
        self.flush()?;
        self.source = Some(source.clone());
        Ok(())
    }

    pub fn push(&mut self, row: Option<u32>) {
        self.rows.append_option(row);
    }

    pub fn extend(&mut self, rows: &[u32]) {
        self.rows.append_slice(rows);
    }

    fn flush(&mut self) -> Result<()> {
        let rows: UInt32Array = self.rows.finish();
        if rows.is_empty() {
            return Ok(());
        }
        self.pieces.push(match &self.source {
            Some(source) => take(source, &rows, None)?,
            None => new_null_array(&self.data_type, rows.len()),
        });
        Ok(())
    }

    pub fn finish(&mut self) -> Result<ArrayRef> {
        self.flush()?;
        let pieces = std::mem::take(&mut self.pieces);
        let arrays: Vec<&dyn arrow::array::Array> = pieces.iter().map(AsRef::as_ref).collect();
        Ok(match arrays.as_slice() {
            [] => new_null_array(&self.data_type, 0),
            several => concat(several)?,
        })
    }
}

/// A feature's column.
#[derive(Debug)]
pub enum Column {
    Int(Int64Builder),
    Float(Float64Builder),
    Decimal(Decimal128Builder),
    /// A value of the events, unchanged.
    Picked {
        value: usize,
        rows: Picked,
    },
}

impl Column {
    pub fn int(&mut self, value: i64) {
        if let Column::Int(builder) = self {
            builder.append_value(value);
        }
    }

    pub fn float(&mut self, value: Option<f64>) {
        if let Column::Float(builder) = self {
            builder.append_option(value);
        }
    }

    pub fn row(&mut self, row: Option<u32>) {
        if let Column::Picked { rows, .. } = self {
            rows.push(row);
        }
    }

    pub fn finish(&mut self) -> Result<ArrayRef> {
        Ok(match self {
            Column::Int(builder) => Arc::new(builder.finish()),
            Column::Float(builder) => Arc::new(builder.finish()),
            Column::Decimal(builder) => Arc::new(builder.finish()),
            Column::Picked { rows, .. } => rows.finish()?,
        })
    }
}
