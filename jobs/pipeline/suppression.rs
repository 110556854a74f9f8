//! Who was erased and must not come back: the `suppressions` table, which ingest reads.
//!
//! It holds no key, but HMAC-SHA-256 of column and value under a salt of the lake's own: enough to recognise a value that
//! is delivered again, and nothing to list people by. With an entity go the keys of its rows, so that rows of sources
//! that do not name the entity are recognised as well.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Date32Array, RecordBatch, StringArray};
use arrow::compute::{cast, filter_record_batch, not};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use chrono::NaiveDate;
use hmac::{Hmac, Mac};
use serde_json::Map;
use sha2::Sha256;

use super::job::{fingerprint, hex};
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::lake::{Lake, Replace, TableSpec, Unit, documented};

pub const TABLE: &str = "suppressions";

/// Hashes of values, by column. Empty where nobody was erased.
#[derive(Debug, Clone, Default)]
pub struct Suppressions {
    salt: String,
    columns: BTreeMap<String, HashSet<String>>,
}

impl Suppressions {
    pub async fn load(lake: &Lake, session: &Session) -> Result<Suppressions> {
        let mut all = Suppressions::default();
        let Some(snapshot) = lake.snapshot(TABLE).await? else { return Ok(all) };
        for batch in session.context().read_table(snapshot.provider()?)?.collect().await? {
            let text = |index: usize| batch.column(index).as_string::<i32>();
            for row in 0..batch.num_rows() {
                all.salt = text(2).value(row).to_string();
                all.columns.entry(text(0).value(row).into()).or_default().insert(text(1).value(row).into());
            }
        }
        Ok(all)
    }

    /// Whether a value is listed.
    pub fn holds(&self, column: &str, value: &str) -> Result<bool> {
        let Some(hashes) = self.columns.get(column) else { return Ok(false) };
        Ok(hashes.contains(&self.hash(column, value)?))
    }

    /// The columns of which values are listed.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }

    /// A value as it is listed.
    pub fn hash(&self, column: &str, value: &str) -> Result<String> {
        let mac = Hmac::<Sha256>::new_from_slice(self.salt.as_bytes());
        let mut mac = mac.map_err(|e| Error::internal(e.to_string()))?;
        mac.update(column.as_bytes());
        mac.update(&[0]);
        mac.update(value.as_bytes());
        Ok(hex(&mac.finalize().into_bytes()))
    }

    /// Which rows are to be left out; `None` if none is.
    pub fn of(&self, batch: &RecordBatch) -> Result<Option<BooleanArray>> {
        let mut out: Option<Vec<bool>> = None;
        for (column, hashes) in &self.columns {
            let Some(values) = batch.column_by_name(column) else { continue };
            let Ok(values) = cast(values, &DataType::Utf8) else { continue };
            for (row, value) in values.as_string::<i32>().iter().enumerate() {
                if let Some(value) = value
                    && hashes.contains(&self.hash(column, value)?)
                {
                    out.get_or_insert_with(|| vec![false; batch.num_rows()])[row] = true;
                }
            }
        }
        Ok(out.map(BooleanArray::from))
    }

    /// The rows that stay.
    pub fn without(&self, batch: RecordBatch) -> Result<RecordBatch> {
        Ok(match self.of(&batch)? {
            Some(out) => filter_record_batch(&batch, &not(&out)?)?,
            None => batch,
        })
    }

    /// Adds values by column; those that are listed are not listed again.
    pub async fn add(
        &mut self,
        lake: &Lake,
        values: &BTreeMap<String, BTreeSet<String>>,
        (date, run_id): (NaiveDate, &str),
    ) -> Result<()> {
        if self.salt.is_empty() {
            self.salt = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        }
        let mut new: Vec<(String, String)> = Vec::new();
        for (column, values) in values {
            for value in values {
                let hash = self.hash(column, value)?;
                if self.columns.entry(column.clone()).or_default().insert(hash.clone()) {
                    new.push((column.clone(), hash));
                }
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        new.sort();
        let texts: Vec<&str> = new.iter().map(|(_, hash)| hash.as_str()).collect();
        let unit = Unit { key: TABLE.into(), fingerprint: fingerprint(&texts) };
        let column = |of: &dyn Fn(&(String, String)) -> String| {
            Arc::new(new.iter().map(|n| Some(of(n))).collect::<StringArray>())
        };
        let batch = RecordBatch::try_new(
            schema(),
            vec![
                column(&|(column, _)| column.clone()) as ArrayRef,
                column(&|(_, hash)| hash.clone()),
                column(&|_| self.salt.clone()),
                Arc::new(Date32Array::from(vec![date.to_epoch_days(); new.len()])),
                column(&|_| run_id.to_string()),
            ],
        )?;
        let spec = TableSpec {
            name: TABLE.into(),
            description: "Values of rows that ingest leaves out, as salted hashes: erased entities.".into(),
            schema: schema(),
            partition_by: None,
            no_statistics: vec!["hash".into(), "salt".into()],
        };
        let mut writer = lake.writer(&spec).await?;
        writer.write(&batch).await?;
        writer.commit(Replace::Nothing, &unit, Map::new()).await?;
        Ok(())
    }
}

fn schema() -> SchemaRef {
    let field = |name: &str, data_type: DataType, doc: &str| documented(name, data_type, false, doc);
    Arc::new(Schema::new(vec![
        field("column", DataType::Utf8, "The column whose value is meant, in any source."),
        field("hash", DataType::Utf8, "HMAC-SHA-256 of column, a zero byte and value, in hexadecimal."),
        field("salt", DataType::Utf8, "Its key: the same for the whole lake."),
        field("logical_date", DataType::Date32, "The date of the run that erased."),
        field("run_id", DataType::Utf8, "The run, as in runs."),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_known_by_column_and_salt() {
        let one = Suppressions { salt: "a".into(), ..Default::default() };
        let other = Suppressions { salt: "b".into(), ..Default::default() };
        let hash = one.hash("user_id", "u1").unwrap();
        assert_eq!(hash, one.hash("user_id", "u1").unwrap());
        assert!(hash != one.hash("id", "u1").unwrap() && hash != other.hash("user_id", "u1").unwrap());
        assert!(!hash.contains("u1"));
    }
}
