//! A table's change feed: what a commit changed, row by row, beside the files in which rows that did not change were
//! only written anew.
//!
//! A reader of a feed takes files that came and went for rows that came and went. Where a commit writes a file anew for
//! the sake of a few of its rows, that would be every row of it. So such a commit says what changed in files of its own,
//! `_change_data/cdc-….parquet`, which hold the table's columns and `_change_type`, and readers look at nothing else of
//! that commit (Delta protocol, "Add CDC File").

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use deltalake::kernel::{Add, AddCDCFile};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::encode::{Encoding, Sent};
use super::writer::Writer;
use crate::error::{Error, Result};

/// The property of a table that has a feed.
pub(super) const FEED: &str = "delta.enableChangeDataFeed";
/// The column that says what became of a row.
const CHANGE_TYPE: &str = "_change_type";
/// Where the files lie, and how their names begin.
const PREFIX: &str = "_change_data/cdc";
const QUEUE: usize = 2;

/// What became of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Insert,
    Delete,
    /// As they were before they were changed.
    Before,
    /// As they are since.
    After,
}

impl Change {
    fn name(self) -> &'static str {
        match self {
            Change::Insert => "insert",
            Change::Delete => "delete",
            Change::Before => "update_preimage",
            Change::After => "update_postimage",
        }
    }
}

/// The files of a commit's changes, under way.
#[derive(Default)]
pub(super) struct Feed {
    open: Option<(mpsc::Sender<RecordBatch>, Encoder)>,
}

type Encoder = JoinHandle<Result<Vec<Sent>>>;

impl Feed {
    pub(super) async fn finish(&mut self) -> Result<Vec<AddCDCFile>> {
        let Some((sender, encoder)) = self.open.take() else { return Ok(Vec::new()) };
        drop(sender);
        let written = encoder.await.map_err(|e| Error::internal(format!("an encoder ended: {e}")))??;
        let change = |add: Add| AddCDCFile {
            path: add.path,
            size: add.size,
            partition_values: HashMap::new(),
            data_change: false,
            tags: None,
        };
        let arrived = futures::future::join_all(written.into_iter().map(Sent::arrived)).await;
        arrived.into_iter().map(|add| add.map(change)).collect()
    }

    fn start(&mut self, writer: &Encoding) -> &mpsc::Sender<RecordBatch> {
        let (sender, _) = self.open.get_or_insert_with(|| {
            let (sender, queue) = mpsc::channel(QUEUE);
            let encoding = Encoding {
                store: Arc::clone(&writer.store),
                root: writer.root.clone(),
                schema: Arc::new(with_type(&writer.schema)),
                partition_by: None,
                properties: writer.properties.clone(),
                prefix: PREFIX,
                uploads: writer.uploads.clone(),
                cancelled: AtomicBool::new(false),
            };
            (sender, tokio::task::spawn_blocking(move || encoding.run(None, queue)))
        });
        sender
    }
}

impl Writer {
    /// Says of rows what this commit makes of them; the rows themselves are written by [`Writer::write`]. A commit that
    /// says it of one row must say it of all that it changes.
    ///
    /// # Errors
    /// As [`Writer::write`]; `Internal` for a table with partitions.
    pub async fn changed(&mut self, change: Change, batch: &RecordBatch) -> Result<()> {
        let encoding = Arc::clone(self.encoding());
        if encoding.partition_by.is_some() {
            return Err(Error::internal("a change feed of a table with partitions"));
        }
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = self.conform(batch)?;
        let kind: ArrayRef = Arc::new(StringArray::from(vec![change.name(); batch.num_rows()]));
        let columns = batch.columns().iter().cloned().chain([kind]).collect();
        let plain = super::schema::file_schema(&batch.schema(), None);
        let batch = RecordBatch::try_new(Arc::new(with_type(&plain)), columns)?;
        if self.feed.start(&encoding).send(batch).await.is_ok() {
            return Ok(());
        }
        self.feed.finish().await?;
        Err(Error::internal("an encoder of a change feed ended early"))
    }
}

fn with_type(schema: &Schema) -> Schema {
    let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new(CHANGE_TYPE, DataType::Utf8, false));
    Schema::new(fields)
}
