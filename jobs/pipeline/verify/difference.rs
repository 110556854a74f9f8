//! Where two results differ, bit for bit.

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::util::display::array_value_to_string;
use serde::Serialize;

use crate::define::types::type_name;
use crate::error::{Error, Result};

/// A cell that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    #[serde(skip)]
    pub row: usize,
    pub column: String,
    pub expected: String,
    pub found: String,
}

/// The first cell of each column of `expected` that `found` does not have. Rows must be in the same order. Lists and
/// maps may name their items differently, as storage does.
pub fn differences(expected: &RecordBatch, found: &RecordBatch) -> Result<Vec<Difference>> {
    if expected.num_rows() != found.num_rows() {
        let (rows, others) = (expected.num_rows(), found.num_rows());
        return Err(Error::internal(format!("{rows} rows to compare with {others}")));
    }
    let mut differences = Vec::new();
    for (field, array) in expected.schema().fields().iter().zip(expected.columns()) {
        let name = field.name();
        let other = found.column_by_name(name).ok_or_else(|| Error::internal(format!("no column {name}")))?;
        let other = if other.data_type().is_nested() { &cast(other, array.data_type())? } else { other };
        let (row, expected, found) = match first(array, other) {
            _ if array.data_type() != other.data_type() => {
                (0, type_name(array.data_type()), type_name(other.data_type()))
            }
            Some(row) => (row, text(array, row)?, text(other, row)?),
            None => continue,
        };
        differences.push(Difference { row, column: name.clone(), expected, found });
    }
    Ok(differences)
}

fn text(array: &ArrayRef, row: usize) -> Result<String> {
    Ok(if array.is_null(row) { "null".to_string() } else { array_value_to_string(array, row)? })
}

/// Arrow compares values as bytes: NaN is NaN, and -0.0 is not 0.0.
fn first(a: &ArrayRef, b: &ArrayRef) -> Option<usize> {
    if a.to_data() == b.to_data() {
        return None;
    }
    (0..a.len()).find(|&row| a.slice(row, 1).to_data() != b.slice(row, 1).to_data())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Float64Array;

    use super::*;

    #[test]
    fn a_float_is_its_bits() {
        let batch = |values: [Option<f64>; 4]| {
            let array: ArrayRef = Arc::new(Float64Array::from_iter(values));
            RecordBatch::try_from_iter([("x", array)]).unwrap()
        };
        let some = batch([Some(f64::NAN), None, Some(0.0), Some(0.3)]);
        assert_eq!(differences(&some, &some.clone()).unwrap(), []);
        for (row, other) in [
            (2, batch([Some(f64::NAN), None, Some(-0.0), Some(0.3)])),
            (3, batch([Some(f64::NAN), None, Some(0.0), Some(0.1 + 0.2)])),
            (1, batch([Some(f64::NAN), Some(0.0), Some(0.0), Some(0.3)])),
        ] {
            let found = differences(&some, &other).unwrap();
            assert_eq!((found.len(), found[0].row, found[0].column.as_str()), (1, row, "x"));
        }
    }
}
