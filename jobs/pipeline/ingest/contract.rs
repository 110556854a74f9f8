//! The contract of a raw file: which columns it must have, of which types, and which other types may stand for them.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType as Arrow, Schema, TimeUnit, TimestampMicrosecondType};

use crate::define::Source;
use crate::define::types::DataType;
use crate::error::{Context, Error, Result};

/// Checks a file's schema against what the source declares.
///
/// # Errors
/// `Data`, naming every column that is missing or of another type.
pub(super) fn check(source: &Source, found: &Schema) -> Result<()> {
    let mut wrong = Vec::new();
    for (name, column) in source.raw_columns() {
        match found.field_with_name(name) {
            Err(_) => {
                let names: Vec<&str> = found.fields().iter().map(|f| f.name().as_str()).collect();
                wrong.push(format!(
                    "column `{name}` is missing\n  expected: {}\n  found: the columns {}",
                    column.data_type,
                    names.join(", ")
                ));
            }
            Ok(field) if !is_accepted(field.data_type(), column.data_type) => wrong.push(format!(
                "column `{name}` has another type\n  expected: {}\n  found: {}",
                column.data_type,
                field.data_type()
            )),
            Ok(_) => {}
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let help = "deliver the file again as declared, or change its declaration in sql/sources.yaml";
    Err(Error::data(format!("{}\n  help: {help}", wrong.join("\n"))))
}

/// Columns of the file that are not declared.
pub(super) fn undeclared(source: &Source, found: &Schema) -> Vec<String> {
    let names = found.fields().iter().map(|field| field.name());
    names.filter(|name| source.columns.get(*name).is_none_or(|column| column.derive.is_some())).cloned().collect()
}

/// Types that hold the same values, or fewer. A timestamp without zone is UTC; nanoseconds are cut to microseconds.
fn is_accepted(found: &Arrow, declared: DataType) -> bool {
    match (found, declared) {
        (Arrow::Dictionary(_, value), _) => is_accepted(value, declared),
        (Arrow::Utf8 | Arrow::LargeUtf8 | Arrow::Utf8View, DataType::String) => true,
        (Arrow::Boolean, DataType::Bool) => true,
        (Arrow::Date32, DataType::Date) => true,
        (Arrow::Timestamp(_, _), DataType::Timestamp) => true,
        (Arrow::Float16 | Arrow::Float32 | Arrow::Float64, DataType::Float64) => true,
        (Arrow::Int8 | Arrow::Int16 | Arrow::Int32 | Arrow::UInt8 | Arrow::UInt16, DataType::Int32) => true,
        (found, DataType::Int64) => found.is_integer() && *found != Arrow::UInt64,
        (
            Arrow::Decimal32(p, s) | Arrow::Decimal64(p, s) | Arrow::Decimal128(p, s) | Arrow::Decimal256(p, s),
            DataType::Decimal(precision, scale),
        ) => *s >= 0 && *s <= scale && i16::from(*p) - i16::from(*s) <= i16::from(precision) - i16::from(scale),
        _ => false,
    }
}

/// Brings an accepted column to the declared type.
///
/// # Errors
/// `Data` if a value does not fit, which an accepted type rules out but for instants at the end of time.
pub(super) fn convert(name: &str, column: &ArrayRef, declared: DataType) -> Result<ArrayRef> {
    let target = declared.arrow();
    if *column.data_type() == target {
        return Ok(std::sync::Arc::clone(column));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let cast = |to: &Arrow| cast_with_options(column, to, &options).with_context(|| format!("column `{name}`"));
    if let Arrow::Timestamp(_, zone) = column.data_type() {
        // The zone only says how to show an instant: keep the instant, whatever the zone is called.
        let micros = cast(&Arrow::Timestamp(TimeUnit::Microsecond, zone.clone()))?;
        let micros = micros.as_primitive::<TimestampMicrosecondType>().clone();
        return Ok(std::sync::Arc::new(micros.with_timezone("UTC")));
    }
    cast(&target)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{DictionaryArray, Float32Array, Int16Array, TimestampNanosecondArray};
    use arrow::datatypes::{Int32Type, Int64Type};

    use super::*;

    #[test]
    fn only_widening_is_accepted() {
        let decimal = DataType::Decimal(10, 2);
        for (found, declared, accepted) in [
            (Arrow::Int32, DataType::Int64, true),
            (Arrow::Int64, DataType::Int32, false),
            (Arrow::UInt32, DataType::Int32, false),
            (Arrow::UInt32, DataType::Int64, true),
            (Arrow::UInt64, DataType::Int64, false),
            (Arrow::Float32, DataType::Float64, true),
            (Arrow::Int32, DataType::Float64, false),
            (Arrow::Utf8, DataType::Date, false),
            (Arrow::Date32, DataType::Timestamp, false),
            (Arrow::Timestamp(TimeUnit::Second, None), DataType::Timestamp, true),
            (Arrow::Dictionary(Box::new(Arrow::Int8), Box::new(Arrow::LargeUtf8)), DataType::String, true),
            (Arrow::Decimal128(9, 1), decimal, true),
            (Arrow::Decimal128(10, 1), decimal, false),
            (Arrow::Decimal128(9, 3), decimal, false),
            (Arrow::Decimal256(10, 2), decimal, true),
        ] {
            assert_eq!(is_accepted(&found, declared), accepted, "{found} as {declared}");
        }
    }

    #[test]
    fn values_survive_conversion() {
        let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_999]).with_timezone("+02:00"));
        let micros = convert("t", &nanos, DataType::Timestamp).unwrap();
        assert_eq!(micros.data_type(), &DataType::Timestamp.arrow());
        assert_eq!(micros.as_primitive::<TimestampMicrosecondType>().value(0), 1);
        let words: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::from_iter(["a", "b", "a"]));
        assert_eq!(convert("w", &words, DataType::String).unwrap().as_string::<i32>().value(2), "a");
        let small: ArrayRef = Arc::new(Int16Array::from(vec![-7]));
        assert_eq!(convert("n", &small, DataType::Int64).unwrap().as_primitive::<Int64Type>().value(0), -7);
        let float: ArrayRef = Arc::new(Float32Array::from(vec![0.5]));
        assert_eq!(convert("x", &float, DataType::Float64).unwrap().data_type(), &Arrow::Float64);
    }
}
