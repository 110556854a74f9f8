//! Every byte of an object, looked through for an entity: Parquet decoded, everything else as it is.
//!
//! The same scan says what is to be erased and, afterwards, proves that nothing is left.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;

use super::needle::Needle;
use crate::error::{Error, Result};

/// What of an object is the entity's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Rows that belong to it.
    pub rows: u64,
    /// Texts of other rows that name it.
    pub texts: u64,
    /// Places elsewhere: nested values, states, footers, logs, files that are no Parquet.
    pub places: u64,
}

/// What to look for in the objects of one table, or in those of none.
#[derive(Debug, Clone)]
pub struct Rule {
    pub needle: Needle,
    /// Rows with one of these values in this column belong to the entity.
    pub column: Option<(String, BTreeSet<String>)>,
    /// In rows of the quarantine: fields of the row as JSON, and their values.
    pub fields: BTreeMap<String, BTreeSet<String>>,
}

impl Found {
    pub fn is_none(&self) -> bool {
        *self == Found::default()
    }

    pub fn add(&mut self, other: Found) {
        self.rows += other.rows;
        self.texts += other.texts;
        self.places += other.places;
    }
}

impl Rule {
    /// Looks through an object. Blocks: for a blocking thread.
    pub fn scan(&self, name: &str, bytes: &Bytes) -> Result<Found> {
        let mut found = Found::default();
        let data = !name.contains("/_delta_log/");
        let parquet = name.ends_with(".parquet").then(|| ParquetRecordBatchReaderBuilder::try_new(bytes.clone()));
        let Some(Ok(builder)) = parquet else {
            found.places = self.needle.count(bytes);
            return Ok(found);
        };
        let groups = builder.metadata().row_groups().iter().flat_map(|group| group.columns());
        let end = groups.map(|chunk| chunk.byte_range()).map(|(start, length)| start + length).max().unwrap_or(0);
        let tail = usize::try_from(end).ok().and_then(|end| bytes.get(end..)).unwrap_or(bytes);
        found.places = self.needle.count(tail);
        let reader = builder.build().map_err(|e| Error::data(format!("{name}: {e}")).caused_by(e))?;
        for batch in reader {
            let batch = batch?;
            match data {
                true => found.add(self.of(&batch)?),
                false => found.places += batch.columns().iter().map(|column| self.needle.count_in(column)).sum::<u64>(),
            }
        }
        Ok(found)
    }

    /// The rows that belong to the entity.
    pub fn rows(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let mut rows = vec![false; batch.num_rows()];
        if let Some((column, values)) = &self.column
            && let Some(column) = batch.column_by_name(column)
        {
            for (row, value) in cast(column, &DataType::Utf8)?.as_string::<i32>().iter().enumerate() {
                rows[row] = value.is_some_and(|value| values.contains(value));
            }
        }
        if !self.fields.is_empty()
            && let Some(data) = batch.column_by_name("data").and_then(|data| data.as_string_opt::<i32>())
        {
            for (row, data) in data.iter().enumerate() {
                rows[row] |= data.is_some_and(|data| self.needle.is_in(data.as_bytes()) || self.names(data));
            }
        }
        Ok(BooleanArray::from(rows))
    }

    /// A column of texts without the key; `None` if it has none to take out.
    pub fn taken_out(&self, column: &dyn Array) -> Option<StringArray> {
        let texts = column.as_string_opt::<i32>()?;
        if !texts.iter().flatten().any(|text| self.needle.is_in(text.as_bytes())) {
            return None;
        }
        Some(texts.iter().map(|text| text.map(|text| self.needle.taken_out(text))).collect())
    }

    fn of(&self, batch: &RecordBatch) -> Result<Found> {
        let theirs = self.rows(batch)?;
        let others = arrow::compute::filter_record_batch(batch, &arrow::compute::not(&theirs)?)?;
        let mut found = Found { rows: theirs.true_count() as u64, ..Found::default() };
        for column in others.columns() {
            let count = self.needle.count_in(column);
            if column.data_type() == &DataType::Utf8 { found.texts += count } else { found.places += count }
        }
        Ok(found)
    }

    /// Whether a row as JSON names the entity or one of its rows.
    fn names(&self, json: &str) -> bool {
        let Ok(serde_json::Value::Object(row)) = serde_json::from_str(json) else { return false };
        self.fields.iter().any(|(field, values)| {
            let text = match row.get(field) {
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
                None => return false,
            };
            values.contains(&text)
        })
    }
}
