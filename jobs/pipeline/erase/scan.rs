//! Every byte of an object, looked through for an entity: Parquet decoded, everything else as it is.
//!
//! The same scan says what is to be erased and, afterwards, proves that nothing is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;

use super::needle::{Needle, renamed};
use crate::error::{Error, Result};
use crate::pipeline::suppression::Suppressions;

/// What of an object is the entity's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Rows that belong to it.
    pub rows: u64,
    /// Texts of other rows that name it, in lists or not.
    pub texts: u64,
    /// States of others that have such a text.
    pub states: u64,
    /// Places elsewhere: footers, logs, files that are no Parquet.
    pub places: u64,
}

/// What to look for in the objects of one table, or in those of none.
#[derive(Debug, Clone)]
pub struct Rule {
    pub needle: Needle,
    pub of_table: bool,
    /// Rows with one of these values in this column belong to the entity.
    pub column: Option<(String, BTreeSet<String>)>,
    /// In rows of the quarantine: fields of the row as JSON, and their values.
    pub fields: BTreeMap<String, BTreeSet<String>>,
    /// And whatever is listed, where an earlier run has begun.
    pub listed: Option<Arc<Suppressions>>,
}

impl Found {
    pub fn is_none(&self) -> bool {
        *self == Found::default()
    }

    pub fn add(&mut self, other: Found) {
        self.rows += other.rows;
        self.texts += other.texts;
        self.states += other.states;
        self.places += other.places;
    }
}

impl Rule {
    /// Looks through an object. Blocks: for a blocking thread.
    pub fn scan(&self, name: &str, bytes: &Bytes) -> Result<Found> {
        let (mut found, mut places) = (Found::default(), 0);
        let data = !name.contains("/_delta_log/");
        look_through(name, bytes, &mut |rest| places += self.needle.count(rest), &mut |batch| {
            match data {
                true => found.add(self.of(batch)?),
                false => found.places += batch.columns().iter().map(|column| self.needle.count_in(column)).sum::<u64>(),
            }
            Ok(())
        })?;
        found.places += places + self.beside(name, bytes);
        Ok(found)
    }

    /// Below the first folder, and not where names are those of tables and models.
    fn in_name(&self, name: &str) -> u64 {
        match name.split_once('/') {
            Some((folder, name)) if !self.of_table && folder != "models" => self.needle.count(name.as_bytes()),
            _ => 0,
        }
    }

    /// What only the name of an object says, or the form of a report: numbers in the entity's column of a table.
    fn beside(&self, name: &str, bytes: &Bytes) -> u64 {
        let form = name.rsplit_once('.').map_or("", |(_, form)| form);
        let cells = match form {
            "csv" => self.needle.cells_of_csv(bytes),
            "html" => self.needle.cells_of_html(bytes),
            _ => 0,
        };
        cells + self.in_name(name)
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

    /// A column without the key in its texts.
    pub fn taken_out(&self, column: &ArrayRef) -> Result<ArrayRef> {
        match self.needle.count_in(column) {
            0 => Ok(Arc::clone(column)),
            _ => renamed(column, &|text| Some(self.needle.taken_out(text))),
        }
    }

    fn of(&self, batch: &RecordBatch) -> Result<Found> {
        let theirs = self.rows(batch)?;
        let others = arrow::compute::filter_record_batch(batch, &arrow::compute::not(&theirs)?)?;
        let mut found = Found { rows: theirs.true_count() as u64, ..Found::default() };
        for column in others.columns() {
            let count = self.needle.count_in(column);
            match column.data_type() {
                DataType::Binary => found.states += count,
                _ => found.texts += count,
            }
        }
        Ok(found)
    }

    /// Whether a row as JSON names the entity or one of its rows.
    fn names(&self, json: &str) -> bool {
        let Ok(serde_json::Value::Object(row)) = serde_json::from_str(json) else { return false };
        row.iter().any(|(field, value)| {
            let text = match value {
                serde_json::Value::String(text) => text.clone(),
                value => value.to_string(),
            };
            let listed = self.listed.as_ref().and_then(|list| list.holds(field, &text).ok());
            listed == Some(true) || self.fields.get(field).is_some_and(|values| values.contains(&text))
        })
    }
}

/// Every byte of an object: Parquet decoded, as `rows`, with the bytes that follow its columns as `rest`; what is none as
/// `rest` altogether.
pub fn look_through(
    name: &str,
    bytes: &Bytes,
    rest: &mut dyn FnMut(&[u8]),
    rows: &mut dyn FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    let parquet = name.ends_with(".parquet").then(|| ParquetRecordBatchReaderBuilder::try_new(bytes.clone()));
    let Some(Ok(builder)) = parquet else {
        rest(bytes);
        return Ok(());
    };
    let groups = builder.metadata().row_groups().iter().flat_map(|group| group.columns());
    let end = groups.map(|chunk| chunk.byte_range()).map(|(start, length)| start + length).max().unwrap_or(0);
    rest(usize::try_from(end).ok().and_then(|end| bytes.get(end..)).unwrap_or(bytes));
    let reader = builder.build().map_err(|e| Error::data(format!("{name}: {e}")).caused_by(e))?;
    for batch in reader {
        rows(&batch?)?;
    }
    Ok(())
}
