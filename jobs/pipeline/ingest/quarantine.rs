//! Rows that broke their contract: `quarantine/<source>`, with file, row and reason, and without personal data.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::prelude::col;
use serde_json::Map;

use super::Night;
use super::form::Place;
use crate::error::Result;
use crate::lake::{Replace, TableSpec, Unit, documented};

/// A row that broke the contract.
#[derive(Debug, Clone)]
pub(super) struct Bad {
    pub place: Place,
    pub reason: String,
    /// Whether it counts against `max_bad_share`.
    pub counts: bool,
    /// The row as JSON, without personal data.
    pub data: String,
}

/// The bad rows of one file.
pub(super) struct BadRows<'a> {
    pub path: &'a str,
    pub checksum: &'a str,
    pub rows: &'a [Bad],
}

/// Adds the bad rows of files to the source's quarantine. Content that is there already is not added again.
pub(super) async fn add(night: &Night<'_>, source: &str, fingerprint: i64, files: &[BadRows<'_>]) -> Result<()> {
    let name = format!("quarantine/{source}");
    let present = present(night, &name).await?;
    let new: Vec<&BadRows> = files.iter().filter(|f| !f.rows.is_empty() && !present.contains(f.checksum)).collect();
    if new.is_empty() {
        return Ok(());
    }
    let spec = TableSpec {
        name,
        description: format!("Rows of {source} that broke their contract."),
        schema: schema(),
        partition_by: Some("night".into()),
        no_statistics: vec!["data".into(), "file".into(), "checksum".into(), "reason".into()],
    };
    let mut writer = night.lake.writer(&spec).await?;
    for file in new {
        writer.write(&batch(night, file)?).await?;
    }
    writer.commit(Replace::Nothing, &Unit { key: format!("ingest:{source}"), fingerprint }, Map::new()).await?;
    Ok(())
}

async fn present(night: &Night<'_>, table: &str) -> Result<BTreeSet<String>> {
    let Some(snapshot) = night.lake.snapshot(table).await? else { return Ok(BTreeSet::new()) };
    let frame = night.session.context().read_table(snapshot.provider()?)?.select(vec![col("checksum")])?.distinct()?;
    let mut present = BTreeSet::new();
    for batch in frame.collect().await? {
        present.extend(batch.column(0).as_string::<i32>().iter().flatten().map(String::from));
    }
    Ok(present)
}

fn schema() -> SchemaRef {
    let field = |name: &str, data_type: DataType, doc: &str| documented(name, data_type, name == "line", doc);
    Arc::new(Schema::new(vec![
        field("night", DataType::Date32, "The logical date of the run that read it."),
        field("file", DataType::Utf8, "Path below the raw root."),
        field("row", DataType::Int64, "Position in the file, from 0."),
        field("reason", DataType::Utf8, "What was wrong with it."),
        field("data", DataType::Utf8, "The row as JSON, without columns of personal data."),
        field("checksum", DataType::Utf8, "SHA-256 of the file's content."),
        field("line", DataType::Int64, "Line of a text file on which the row begins, from 1."),
    ]))
}

fn batch(night: &Night<'_>, file: &BadRows<'_>) -> Result<RecordBatch> {
    let n = file.rows.len();
    let rows = file.rows.iter();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Date32Array::from(vec![night.date.to_epoch_days(); n])),
        Arc::new(StringArray::from(vec![file.path; n])),
        Arc::new(Int64Array::from_iter_values(rows.clone().map(|bad| bad.place.row as i64))),
        Arc::new(StringArray::from_iter_values(rows.clone().map(|bad| &bad.reason))),
        Arc::new(StringArray::from_iter_values(rows.clone().map(|bad| &bad.data))),
        Arc::new(StringArray::from(vec![file.checksum; n])),
        Arc::new(Int64Array::from_iter(rows.map(|bad| bad.place.line.map(|line| line as i64)))),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}
