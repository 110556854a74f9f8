//! Columns under construction: one typed builder per feature.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayBuilder, ArrayRef, Decimal128Builder, Float64Builder, Int64Builder, MapBuilder, MapFieldNames,
    StringBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields};

use crate::error::Result;

/// A feature's column.
#[derive(Debug)]
pub enum Column {
    /// Integers, and what is kept as integers: dates, timestamps, booleans.
    Long(Int64Builder, DataType),
    Float(Float64Builder),
    Decimal(Decimal128Builder),
    Text(StringBuilder),
    /// Of text to float64.
    Map(Box<MapBuilder<StringBuilder, Float64Builder>>),
}

impl Column {
    pub fn new(data_type: &DataType) -> Column {
        match data_type {
            DataType::Float64 => Column::Float(Float64Builder::new()),
            DataType::Decimal128(..) => Column::Decimal(Decimal128Builder::new().with_data_type(data_type.clone())),
            DataType::Utf8 => Column::Text(StringBuilder::new()),
            DataType::Map(..) => Column::Map(Box::new(shares_builder())),
            _ => Column::Long(Int64Builder::new(), data_type.clone()),
        }
    }

    pub fn int(&mut self, value: i64) {
        if let Column::Long(builder, _) = self {
            builder.append_value(value);
        }
    }

    pub fn decimal(&mut self, value: i128) {
        if let Column::Decimal(builder) = self {
            builder.append_value(value);
        }
    }

    pub fn float(&mut self, value: Option<f64>) {
        if let Column::Float(builder) = self {
            builder.append_option(value);
        }
    }

    pub fn text(&mut self, value: &str) {
        if let Column::Text(builder) = self {
            builder.append_value(value);
        }
    }

    pub fn shares(&mut self, shares: &[(String, f64)]) {
        if let Column::Map(builder) = self {
            for (key, share) in shares {
                builder.keys().append_value(key);
                builder.values().append_value(*share);
            }
            // Keys and values are always of one length, which is all that could be wrong.
            let _ = builder.append(true);
        }
    }

    pub fn null(&mut self) {
        match self {
            Column::Long(builder, _) => builder.append_null(),
            Column::Float(builder) => builder.append_null(),
            Column::Decimal(builder) => builder.append_null(),
            Column::Text(builder) => builder.append_null(),
            Column::Map(builder) => {
                let _ = builder.append(false);
            }
        }
    }

    /// What was appended since the last call; as much is expected again.
    pub fn finish(&mut self) -> Result<ArrayRef> {
        Ok(match self {
            Column::Long(builder, data_type) => {
                let next = Int64Builder::with_capacity(builder.len());
                let longs: ArrayRef = Arc::new(std::mem::replace(builder, next).finish());
                match data_type {
                    DataType::Int64 => longs,
                    DataType::Date32 => cast(&cast(&longs, &DataType::Int32)?, data_type)?,
                    _ => cast(&longs, data_type)?,
                }
            }
            Column::Float(builder) => {
                let next = Float64Builder::with_capacity(builder.len());
                Arc::new(std::mem::replace(builder, next).finish())
            }
            Column::Decimal(builder) => {
                let values = builder.finish();
                *builder = Decimal128Builder::with_capacity(values.len()).with_data_type(values.data_type().clone());
                Arc::new(values)
            }
            Column::Text(builder) => Arc::new(builder.finish()),
            Column::Map(builder) => Arc::new(builder.finish()),
        })
    }
}

/// The type of shares by category.
pub fn shares_type() -> DataType {
    let key = Field::new("key", DataType::Utf8, false);
    let value = Field::new("value", DataType::Float64, true);
    let entries = DataType::Struct(Fields::from(vec![key, value]));
    DataType::Map(Arc::new(Field::new("key_value", entries, false)), false)
}

fn shares_builder() -> MapBuilder<StringBuilder, Float64Builder> {
    let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    MapBuilder::new(Some(names), StringBuilder::new(), Float64Builder::new())
}
