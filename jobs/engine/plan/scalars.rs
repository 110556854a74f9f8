//! Values written in YAML → typed Arrow columns, and back to text for messages.

use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::{DataType, Field};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::ScalarValue;
use serde_yaml::Value;

use crate::define::map::Map;
use crate::define::types::type_name;

/// A row as written: column → value. Columns that are left out are null.
pub type Row = Map<Value>;

/// The column of some rows; the error names the row (from 0) and says what is wrong.
pub fn column(field: &Field, rows: &[Row]) -> Result<ArrayRef, (usize, String)> {
    if rows.is_empty() {
        return Ok(new_null_array(field.data_type(), 0));
    }
    let mut values = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        let value = row.get(field.name()).unwrap_or(&Value::Null);
        values.push(scalar(value, field.data_type()).map_err(|message| (index, message))?);
    }
    ScalarValue::iter_to_array(values).map_err(|e| (0, e.strip_backtrace()))
}

fn scalar(value: &Value, data_type: &DataType) -> Result<ScalarValue, String> {
    let wrong = |found: String| format!("{found} is not of type {}", type_name(data_type));
    let text = match (value, data_type) {
        (Value::Null, _) => return ScalarValue::try_from(data_type).map_err(|e| e.strip_backtrace()),
        (Value::Sequence(items), DataType::List(item)) => {
            let items: Result<Vec<ScalarValue>, String> = items.iter().map(|i| scalar(i, item.data_type())).collect();
            return Ok(ScalarValue::List(ScalarValue::new_list(&items?, item.data_type(), true)));
        }
        (Value::Bool(flag), DataType::Boolean | DataType::Utf8) => flag.to_string(),
        (Value::Number(number), t) if t.is_numeric() || *t == DataType::Utf8 => number.to_string(),
        (Value::String(text), _) => text.clone(),
        (other, _) => return Err(wrong(serde_json::to_string(other).unwrap_or_default())),
    };
    match data_type {
        DataType::Utf8 => Ok(ScalarValue::Utf8(Some(text))),
        _ => ScalarValue::try_from_string(text.clone(), data_type).map_err(|_| wrong(format!("`{text}`"))),
    }
}

/// `{payment_id: p1, amount: 10.00}` for a row of aligned columns.
pub fn row_text<'a>(columns: impl Iterator<Item = (&'a String, &'a ArrayRef)>, row: usize) -> String {
    let options = FormatOptions::default().with_null("null");
    let value = |column: &ArrayRef| match ArrayFormatter::try_new(column, &options) {
        Ok(formatter) => formatter.value(row).to_string(),
        Err(_) => "?".to_string(),
    };
    let cells: Vec<String> = columns.map(|(name, column)| format!("{name}: {}", value(column))).collect();
    format!("{{{}}}", cells.join(", "))
}

/// Equality as a reader of a test case means it: nulls are equal, and floats up to what was written of them.
pub fn equal(left: &ArrayRef, right: &ArrayRef, (l, r): (usize, usize)) -> bool {
    let (Ok(left), Ok(right)) = (ScalarValue::try_from_array(left, l), ScalarValue::try_from_array(right, r)) else {
        return false;
    };
    match (&left, &right) {
        (ScalarValue::Float64(Some(a)), ScalarValue::Float64(Some(b))) => {
            (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
        }
        _ => left == right,
    }
}

/// The columns of a batch under a schema in which everything may be null.
pub fn nullable(fields: impl Iterator<Item = Arc<Field>>) -> Vec<Field> {
    fields.map(|field| Field::new(field.name(), field.data_type().clone(), true)).collect()
}
