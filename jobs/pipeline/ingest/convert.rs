//! Values of a raw file → values of the declared types. Nothing is rounded or cut to fit: what a type cannot hold
//! exactly is lost, and said to be. (Nanoseconds are the exception: instants have microseconds.)

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
    StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::compute::kernels::cast_utils::string_to_datetime;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType as Arrow, Field, TimeUnit, TimestampMicrosecondType};
use arrow::json::writer::{EncoderOptions, make_encoder};
use chrono::{NaiveDate, Utc};
use serde::de::IgnoredAny;

use crate::define::format::Format;
use crate::define::types::DataType;
use crate::error::{Context, Result};

/// A column of the declared type, and which rows had a value that it cannot hold.
pub(super) struct Converted {
    pub column: ArrayRef,
    pub lost: Vec<usize>,
}

/// Brings an accepted column to the declared type.
pub(super) fn convert(format: &Format, name: &str, column: &ArrayRef, declared: DataType) -> Result<Converted> {
    let doing = || format!("column `{name}`");
    if format.is_text() {
        let texts: Vec<Option<&str>> =
            column.as_string::<i32>().iter().map(|text| given(format, text, declared)).collect();
        let column = parsed(&texts, declared).with_context(doing)?;
        let lost = (0..texts.len()).filter(|row| texts[*row].is_some() && column.is_null(*row)).collect();
        return Ok(Converted { column, lost });
    }
    let converted = typed(column, declared).with_context(doing)?;
    let before = column.logical_nulls().map_or(0, |nulls| nulls.null_count());
    let lost = if converted.null_count() == before {
        Vec::new()
    } else {
        let nulls = column.logical_nulls();
        let had = |row: &usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row));
        (0..column.len()).filter(had).filter(|row| converted.is_null(*row)).collect()
    };
    Ok(Converted { column: converted, lost })
}

/// The text that stands for a value. Blank is no value but of a string.
fn given<'a>(format: &Format, text: Option<&'a str>, declared: DataType) -> Option<&'a str> {
    match format {
        Format::Csv { csv, .. } => {
            let text = text.unwrap_or("");
            let blank = declared != DataType::String && text.trim().is_empty();
            (!blank && !csv.nulls.iter().any(|null| null == text)).then_some(text)
        }
        _ => text,
    }
}

fn parsed(texts: &[Option<&str>], declared: DataType) -> Result<ArrayRef> {
    let trimmed = || texts.iter().map(|text| text.map(str::trim));
    Ok(match declared {
        DataType::String => Arc::new(StringArray::from_iter(texts)),
        DataType::Json => Arc::new(json(texts.iter().copied())),
        DataType::Int32 => Arc::new(Int32Array::from_iter(trimmed().map(|t| i32::try_from(decimal(t?, 38, 0)?).ok()))),
        DataType::Int64 => Arc::new(Int64Array::from_iter(trimmed().map(|t| i64::try_from(decimal(t?, 38, 0)?).ok()))),
        DataType::Float64 => Arc::new(Float64Array::from_iter(trimmed().map(|t| t?.parse::<f64>().ok()))),
        DataType::Bool => Arc::new(BooleanArray::from_iter(trimmed().map(|t| truth(t?)))),
        DataType::Date => Arc::new(Date32Array::from_iter(trimmed().map(|t| date(t?)))),
        DataType::Timestamp => {
            let instants = trimmed().map(|t| Some(string_to_datetime(&Utc, t?).ok()?.timestamp_micros()));
            Arc::new(TimestampMicrosecondArray::from_iter(instants).with_timezone("UTC"))
        }
        DataType::Decimal(precision, scale) => {
            let numbers = trimmed().map(|t| decimal(t?, precision, scale));
            Arc::new(Decimal128Array::from_iter(numbers).with_precision_and_scale(precision, scale)?)
        }
    })
}

fn typed(column: &ArrayRef, declared: DataType) -> Result<ArrayRef> {
    let target = declared.arrow();
    let options = CastOptions { safe: true, ..CastOptions::default() };
    if declared == DataType::Json {
        return match column.data_type() {
            Arrow::Utf8 | Arrow::LargeUtf8 | Arrow::Utf8View | Arrow::Dictionary(_, _) => {
                let texts = cast_with_options(column, &target, &options)?;
                Ok(Arc::new(json(texts.as_string::<i32>().iter())))
            }
            _ => as_json(column),
        };
    }
    if *column.data_type() == target {
        return Ok(Arc::clone(column));
    }
    if let Arrow::Timestamp(_, zone) = column.data_type() {
        // The zone only says how to show an instant: keep the instant, whatever the zone is called.
        let micros = cast_with_options(column, &Arrow::Timestamp(TimeUnit::Microsecond, zone.clone()), &options)?;
        let micros = micros.as_primitive::<TimestampMicrosecondType>().clone();
        return Ok(Arc::new(micros.with_timezone("UTC")));
    }
    Ok(cast_with_options(column, &target, &options)?)
}

/// Texts that are JSON, as they are.
fn json<'a>(texts: impl Iterator<Item = Option<&'a str>>) -> StringArray {
    texts.map(|text| text.filter(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())).collect()
}

/// Structs, lists and maps as JSON.
fn as_json(column: &ArrayRef) -> Result<ArrayRef> {
    let field = Arc::new(Field::new("value", column.data_type().clone(), true));
    let options = EncoderOptions::default();
    let mut encoder = make_encoder(&field, column, &options)?;
    let mut texts = StringBuilder::new();
    let mut text = Vec::new();
    for row in 0..column.len() {
        if encoder.is_null(row) {
            texts.append_null();
            continue;
        }
        text.clear();
        encoder.encode(row, &mut text);
        texts.append_value(String::from_utf8_lossy(&text));
    }
    Ok(Arc::new(texts.finish()))
}

/// The number in units of `10^-scale`, if it is one exactly.
fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let scale = usize::try_from(scale).ok()?;
    let (kept, cut) = part.split_at_checked(scale).unwrap_or((part, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + part.len() == 0 || !is_digits(whole) || !is_digits(part) || cut.bytes().any(|byte| byte != b'0') {
        return None;
    }
    let padding = std::iter::repeat_n(b'0', scale - kept.len());
    let mut number: i128 = 0;
    for digit in whole.bytes().chain(kept.bytes()).chain(padding) {
        number = number.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    let fits = number < 10_i128.checked_pow(u32::from(precision))?;
    fits.then_some(if negative { -number } else { number })
}

fn truth(text: &str) -> Option<bool> {
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    if is("true") { Some(true) } else { is("false").then_some(false) }
}

fn date(text: &str) -> Option<i32> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    (text.len() == 10).then(|| date.to_epoch_days())
}

#[cfg(test)]
mod tests {
    use arrow::array::TimestampSecondArray;
    use arrow::array::{DictionaryArray, Float32Array, Int16Array, ListArray, StructArray, TimestampNanosecondArray};
    use arrow::datatypes::{Decimal128Type, Int32Type, Int64Type};
    use proptest::prelude::*;

    use super::*;
    use crate::define::format::Csv;

    fn converted(array: impl Array + 'static, declared: DataType) -> Converted {
        let array: ArrayRef = Arc::new(array);
        convert(&Format::Parquet, "x", &array, declared).unwrap()
    }

    fn read(texts: &[&str], declared: DataType) -> Converted {
        let csv = Csv { header: true, delimiter: b',', quote: b'"', nulls: vec!["".into(), "NA".into()] };
        let array: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
        convert(&Format::Csv { csv, compression: None }, "x", &array, declared).unwrap()
    }

    #[test]
    fn values_survive_conversion() {
        let nanos = converted(TimestampNanosecondArray::from(vec![1_999]).with_timezone("+02:00"), DataType::Timestamp);
        assert_eq!(nanos.column.data_type(), &DataType::Timestamp.arrow());
        assert_eq!(nanos.column.as_primitive::<TimestampMicrosecondType>().value(0), 1);
        let words = converted(DictionaryArray::<Int32Type>::from_iter(["a", "b", "a"]), DataType::String);
        assert_eq!(words.column.as_string::<i32>().value(2), "a");
        let small = converted(Int16Array::from(vec![-7]), DataType::Int64);
        assert_eq!(small.column.as_primitive::<Int64Type>().value(0), -7);
        let money = converted(Int16Array::from(vec![-7]), DataType::Decimal(18, 2));
        assert_eq!(money.column.as_primitive::<Decimal128Type>().value(0), -700);
        let float = converted(Float32Array::from(vec![0.5]), DataType::Float64);
        assert_eq!(float.column.data_type(), &Arrow::Float64);
    }

    #[test]
    fn what_does_not_fit_is_lost_and_said() {
        let late = converted(TimestampSecondArray::from(vec![Some(i64::MAX), None, Some(1)]), DataType::Timestamp);
        assert_eq!(late.lost, [0]);
        assert_eq!(read(&["1", " -2.0 ", "2147483648", "1.5", "x", "", "NA"], DataType::Int32).lost, [2, 3, 4]);
        assert_eq!(
            read(&["1.50", "1.500", "1.505", "-", ".", "99999.99", "100000"], DataType::Decimal(7, 2)).lost,
            [2, 3, 4, 6]
        );
        assert_eq!(read(&["2024-02-29", "2024-02-30", "+12345-01-01"], DataType::Date).lost, [1, 2]);
        let times = ["2024-02-29T01:00:00+01:00", "2024-02-29 00:00:00.5", "2024-02-29", "noon"];
        let times = read(&times, DataType::Timestamp);
        assert_eq!(times.lost, [3]);
        let micros = times.column.as_primitive::<TimestampMicrosecondType>();
        assert_eq!((micros.value(0), micros.value(1) - micros.value(2)), (micros.value(2), 500_000));
        assert_eq!(read(&["true", "FALSE", "1"], DataType::Bool).lost, [2]);
        assert_eq!(read(&["{\"a\":1}", "{a:1}", "[", "7"], DataType::Json).lost, [1, 2]);
        assert_eq!(read(&["", "NA", " "], DataType::String).column.null_count(), 2);
    }

    #[test]
    fn nested_values_become_json() {
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None]);
        let json = converted(list, DataType::Json);
        assert_eq!(json.column.as_string::<i32>().iter().collect::<Vec<_>>(), [Some("[1,null]"), None]);
        let field = Arc::new(Field::new("a", Arrow::Utf8, true));
        let names: ArrayRef = Arc::new(StringArray::from(vec!["ž \"q\""]));
        let json = converted(StructArray::from(vec![(field, names)]), DataType::Json);
        assert_eq!(json.column.as_string::<i32>().value(0), r#"{"a":"ž \"q\""}"#);
    }

    proptest! {
        #[test]
        fn decimals_print_as_they_parse(number in -99_999_999_i128..99_999_999, zeros in 0_usize..4) {
            let digits = number.unsigned_abs();
            let sign = if number < 0 { "-" } else { "" };
            let text = format!("{sign}{}.{:03}{}", digits / 1000, digits % 1000, "0".repeat(zeros));
            prop_assert_eq!(decimal(&text, 8, 3), Some(number));
            prop_assert_eq!(decimal(&format!("{text}1"), 38, 3), None);
        }
    }
}
