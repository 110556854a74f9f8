//! The contract of a raw file: which columns it must have, of which types, and which other types may stand for them.
//! Text has no types to compare; there every value is held to its own.

use arrow::datatypes::{DataType as Arrow, Schema};

use crate::define::Source;
use crate::define::types::DataType;
use crate::error::{Error, Result};

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
            Ok(_) if found.fields().iter().filter(|field| field.name() == name).count() > 1 => {
                wrong.push(format!("column `{name}` is there more than once\n  expected: one of that name"));
            }
            Ok(_) if source.format.is_text() => {}
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

/// Types that hold the same values, or fewer: every one of them is kept exactly. A timestamp without zone is UTC; nanoseconds are cut to microseconds.
fn is_accepted(found: &Arrow, declared: DataType) -> bool {
    match (found, declared) {
        (Arrow::Dictionary(_, value), _) => is_accepted(value, declared),
        (Arrow::Utf8 | Arrow::LargeUtf8 | Arrow::Utf8View, DataType::String) => true,
        (Arrow::Boolean, DataType::Bool) => true,
        (Arrow::Date32, DataType::Date) => true,
        (Arrow::Timestamp(_, _), DataType::Timestamp) => true,
        (Arrow::Float16 | Arrow::Float32 | Arrow::Float64, DataType::Float64) => true,
        (found, DataType::Float64) => digits(found).is_some_and(|digits| digits <= 10),
        (Arrow::Int8 | Arrow::Int16 | Arrow::Int32 | Arrow::UInt8 | Arrow::UInt16, DataType::Int32) => true,
        (found, DataType::Int64) => found.is_integer() && *found != Arrow::UInt64,
        (
            Arrow::Decimal32(p, s) | Arrow::Decimal64(p, s) | Arrow::Decimal128(p, s) | Arrow::Decimal256(p, s),
            DataType::Decimal(precision, scale),
        ) => *s >= 0 && *s <= scale && i16::from(*p) - i16::from(*s) <= i16::from(precision) - i16::from(scale),
        (found, DataType::Decimal(precision, scale)) => {
            digits(found).is_some_and(|digits| i16::from(digits) <= i16::from(precision) - i16::from(scale))
        }
        (
            Arrow::Utf8
            | Arrow::LargeUtf8
            | Arrow::Utf8View
            | Arrow::Struct(_)
            | Arrow::List(_)
            | Arrow::LargeList(_)
            | Arrow::FixedSizeList(_, _)
            | Arrow::Map(_, _),
            DataType::Json,
        ) => true,
        _ => false,
    }
}

/// How many digits a whole number of this type may have.
fn digits(found: &Arrow) -> Option<u8> {
    Some(match found {
        Arrow::Int8 | Arrow::UInt8 => 3,
        Arrow::Int16 | Arrow::UInt16 => 5,
        Arrow::Int32 | Arrow::UInt32 => 10,
        Arrow::Int64 => 19,
        Arrow::UInt64 => 20,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, TimeUnit};

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
            (Arrow::Int32, DataType::Float64, true),
            (Arrow::Int64, DataType::Float64, false),
            (Arrow::Int64, DataType::Decimal(21, 2), true),
            (Arrow::Int64, DataType::Decimal(20, 2), false),
            (Arrow::UInt8, DataType::Decimal(4, 2), false),
            (Arrow::List(Field::new("item", Arrow::Int8, true).into()), DataType::Json, true),
            (Arrow::List(Field::new("item", Arrow::Int8, true).into()), DataType::String, false),
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
}
