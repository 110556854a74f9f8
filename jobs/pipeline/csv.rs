//! Rows as CSV that people open: RFC 4180, and no cell that a spreadsheet would take for a formula.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::error::Result;

/// A head and a line per row, without some of the columns.
pub fn text(batch: &RecordBatch, without: &[&str]) -> Result<String> {
    let schema = batch.schema();
    let chosen: Vec<usize> =
        (0..batch.num_columns()).filter(|index| !without.contains(&schema.field(*index).name().as_str())).collect();
    let mut text = String::new();
    let head: Vec<String> = chosen.iter().map(|index| cell(schema.field(*index).name(), true)).collect();
    text.push_str(&head.join(","));
    text.push_str("\r\n");
    let options = FormatOptions::default();
    let formatters = chosen.iter().map(|index| ArrayFormatter::try_new(batch.column(*index).as_ref(), &options));
    let formatters = formatters.collect::<Result<Vec<_>, _>>()?;
    for row in 0..batch.num_rows() {
        for (place, (index, formatter)) in chosen.iter().zip(&formatters).enumerate() {
            if place > 0 {
                text.push(',');
            }
            let column = batch.column(*index);
            if column.is_valid(row) {
                let is_text = matches!(column.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
                text.push_str(&cell(&formatter.value(row).to_string(), is_text));
            }
        }
        text.push_str("\r\n");
    }
    Ok(text)
}

/// A text that begins like a formula gets an apostrophe before it; what has a separator in it, quotes around it.
fn cell(value: &str, is_text: bool) -> String {
    let formula = is_text && value.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let value = if formula { format!("'{value}") } else { value.to_string() };
    match value.contains(['"', ',', '\r', '\n']) {
        true => format!("\"{}\"", value.replace('"', "\"\"")),
        false => value,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
    use arrow::csv::ReaderBuilder;
    use arrow::datatypes::{Field, Schema};
    use proptest::prelude::*;

    use super::*;

    fn batch(names: Vec<Option<String>>) -> RecordBatch {
        let rows = names.len();
        let numbers: Float64Array = (0..rows).map(|row| Some(row as f64 - 0.5)).collect();
        RecordBatch::try_from_iter([
            ("name", Arc::new(StringArray::from(names)) as ArrayRef),
            ("number", Arc::new(numbers)),
            ("hidden", Arc::new(Int64Array::from(vec![1; rows]))),
        ])
        .unwrap()
    }

    #[test]
    fn a_formula_is_a_text_and_a_number_a_number() {
        let rows = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "a,b", "say \"no\"", "plain"].map(|name| Some(name.into()));
        let text = text(&batch(rows.to_vec()), &["hidden"]).unwrap();
        assert_eq!(
            text,
            "name,number\r\n'=1+1,-0.5\r\n'+1,0.5\r\n'-1,1.5\r\n'@SUM(A1),2.5\r\n'\tx,3.5\r\n\"a,b\",4.5\r\n\
             \"say \"\"no\"\"\",5.5\r\nplain,6.5\r\n"
        );
    }

    proptest! {
        /// What a reader of CSV finds is what was written.
        #[test]
        fn another_reader_finds_the_same(names in prop::collection::vec("[a-z][a-z,\"\r\n ;']{0,7}", 1..6)) {
            let written = batch(names.iter().cloned().map(Some).collect());
            let text = text(&written, &["hidden"]).unwrap();
            let schema = Schema::new(vec![
                Field::new("name", DataType::Utf8, true),
                Field::new("number", DataType::Float64, true),
            ]);
            let mut reader = ReaderBuilder::new(Arc::new(schema)).with_header(true).build(text.as_bytes()).unwrap();
            let read = reader.next().unwrap().unwrap();
            prop_assert_eq!(read.column(0), written.column(0));
            prop_assert_eq!(read.column(1), written.column(1));
        }
    }
}
