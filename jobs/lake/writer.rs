//! Writing a table: batches in, files that nobody sees out, then one commit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options, partition};
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use deltalake::kernel::transaction::CommitProperties;
use deltalake::kernel::{Action, Add};
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::SaveMode;
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::commit::{self, Outcome, Replace, Unit};
use super::encode::{Encoding, Sent, properties, uploads};
use super::feed::{FEED, Feed};
use super::root::Lake;
use super::schema::{TableSpec, file_schema};
use super::snapshot::Snapshot;
use super::sound;
use crate::error::{Context, Error, Result};

/// Batches that wait for their encoder.
const QUEUE: usize = 2;

/// Writes one version of a table on top of the version it was opened on. Dropped without [`Writer::commit`], it
/// leaves the table as it was.
pub struct Writer {
    lake: Lake,
    spec: TableSpec,
    base: Snapshot,
    schema: SchemaRef,
    encoding: Arc<Encoding>,
    open: Option<Open>,
    encoders: JoinSet<Result<Vec<Add>>>,
    places: Arc<Semaphore>,
    done: Vec<Add>,
    /// What changed, row by row, where the table has a change feed.
    pub(super) feed: Feed,
}

/// The partition that is being written.
struct Open {
    partition: Option<String>,
    batches: mpsc::Sender<RecordBatch>,
}

impl Writer {
    /// `prefix` begins the names of its files; `feed` gives a table that is created now a change feed.
    pub(super) async fn open(lake: &Lake, spec: &TableSpec, prefix: &'static str, feed: bool) -> Result<Writer> {
        let schema = spec.canonical()?;
        let base = base(lake, spec, feed).await?;
        let configuration = base.state().metadata().configuration();
        let is_set = |key: &str| configuration.get(key).is_some_and(|value| value == "true");
        let is_checked = configuration.keys().any(|key| key.starts_with("delta.constraints."));
        let has_feed = is_set(FEED) && !is_checked;
        sound::writable(&spec.name, base.version(), base.state().protocol(), is_set("delta.appendOnly"), has_feed)?;
        if base.partition_by() != spec.partition_by.as_deref() {
            return Err(Error::definition(format!(
                "table {} is partitioned by {:?} and was to be partitioned by {:?}: move the old table away",
                spec.name,
                base.partition_by(),
                spec.partition_by
            )));
        }
        let stored = file_schema(&schema, spec.partition_by.as_deref());
        let encoding = Encoding {
            store: Arc::clone(lake.store()),
            root: lake.path_of(&spec.name)?,
            properties: properties(spec, &stored)?,
            schema: stored,
            partition_by: spec.partition_by.clone(),
            prefix,
            uploads: lake.is_remote().then(uploads),
            cancelled: AtomicBool::new(false),
        };
        // One more than there are processors: one file is usually waiting for the disk.
        let places = std::thread::available_parallelism().map_or(2, |n| n.get()) + 1;
        Ok(Writer {
            lake: lake.clone(),
            spec: spec.clone(),
            base,
            schema,
            encoding: Arc::new(encoding),
            open: None,
            encoders: JoinSet::new(),
            places: Arc::new(Semaphore::new(places)),
            done: Vec::new(),
            feed: Feed::default(),
        })
    }

    /// The version this writer was opened on, and whose conflicts it looks for.
    pub fn base(&self) -> &Snapshot {
        &self.base
    }

    /// Writes rows; columns are found by name and brought to the table's types. Rows of one partition should come
    /// together: a partition that comes again gets another file.
    ///
    /// # Errors
    /// `Internal` if a column is missing, of another type, or null where the table has no nulls; `Temporary` if
    /// storage fails.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = self.conform(batch)?;
        let Some(column) = &self.spec.partition_by else {
            return self.send(None, batch).await;
        };
        let index = self.schema.index_of(column)?;
        let values = Arc::clone(batch.column(index));
        let stored: Vec<usize> = (0..batch.num_columns()).filter(|i| *i != index).collect();
        let batch = batch.project(&stored)?;
        for range in partition(&[Arc::clone(&values)])?.ranges() {
            let value = partition_value(&values, range.start)?;
            self.send(value, batch.slice(range.start, range.len())).await?;
        }
        Ok(())
    }

    /// Takes back what was written of these partitions: the commit will not have it.
    ///
    /// # Errors
    /// As [`Writer::write`], of what was written before.
    pub async fn take_back(&mut self, partitions: &BTreeSet<String>) -> Result<()> {
        self.open = None;
        self.encoded().await?;
        let is_of = |add: &mut Add| {
            let value = add.partition_values.values().next().and_then(Option::as_ref);
            value.is_some_and(|value| partitions.contains(value))
        };
        let back: Vec<Add> = self.done.extract_if(.., is_of).collect();
        let paths = back.iter().map(|add| self.encoding.path_of(add)).collect::<Result<Vec<_>>>()?;
        self.lake.forget(&paths).await;
        Ok(())
    }

    /// Makes what was written a version of the table: removes what is replaced, adds the new files, notes the unit.
    ///
    /// # Errors
    /// `Temporary` if another writer committed in between (run again on the new version) or storage fails.
    pub async fn commit(self, replace: Replace, unit: &Unit, info: Map<String, Value>) -> Result<Outcome> {
        self.commit_units(replace, std::slice::from_ref(unit), info).await
    }

    /// As [`Writer::commit`], for what is several units of work at once. They are done together or not at all, so that the
    /// first stands for all of them.
    pub async fn commit_units(mut self, replace: Replace, units: &[Unit], info: Map<String, Value>) -> Result<Outcome> {
        self.open = None;
        self.encoded().await?;
        self.done.sort_by(|a, b| a.path.cmp(&b.path));
        let adds = std::mem::take(&mut self.done);
        let changes = self.feed.finish().await?;
        commit::commit(&self.lake, &self.spec, &self.base, (adds, changes), replace, units, info).await
    }

    pub(super) fn encoding(&self) -> &Arc<Encoding> {
        &self.encoding
    }

    pub(super) fn conform(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let options = CastOptions { safe: false, ..CastOptions::default() };
        let columns = self.schema.fields().iter().map(|field| {
            let column = batch.column_by_name(field.name()).ok_or_else(|| {
                Error::internal(format!("table {}: the rows to write lack column {}", self.spec.name, field.name()))
            })?;
            if column.data_type() == field.data_type() {
                return Ok(Arc::clone(column));
            }
            cast_with_options(column, field.data_type(), &options)
                .with_context(|| format!("table {}, column {}", self.spec.name, field.name()))
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .with_context(|| format!("rows for table {}", self.spec.name))
    }

    /// Waits for the files that are being written.
    async fn encoded(&mut self) -> Result<()> {
        while let Some(encoded) = self.encoders.join_next().await {
            let adds = encoded.map_err(|e| Error::internal(format!("an encoder ended: {e}")))?;
            self.done.extend(adds.with_context(|| format!("table {}", self.spec.name))?);
        }
        Ok(())
    }

    async fn send(&mut self, partition: Option<String>, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if self.open.as_ref().is_none_or(|open| open.partition != partition) {
            self.open = None;
            let place = Arc::clone(&self.places).acquire_owned().await;
            let place = place.map_err(|e| Error::internal(e.to_string()))?;
            self.start(partition, place);
        }
        let Some(open) = &self.open else { return Ok(()) };
        if open.batches.send(batch).await.is_ok() {
            return Ok(());
        }
        // The encoder ended early: say why.
        self.encoded().await?;
        Err(Error::internal(format!("an encoder of table {} ended early", self.spec.name)))
    }

    fn start(&mut self, partition: Option<String>, place: OwnedSemaphorePermit) {
        let (batches, queue) = mpsc::channel(QUEUE);
        let encoding = Arc::clone(&self.encoding);
        let value = partition.clone();
        self.encoders.spawn(async move {
            let encoded = tokio::task::spawn_blocking(move || {
                let _place = place;
                encoding.run(value, queue)
            });
            let sent = encoded.await.map_err(|e| Error::internal(format!("an encoder ended: {e}")))??;
            // All of them, also after one has failed: none may arrive when nobody looks any more.
            let arrived = futures::future::join_all(sent.into_iter().map(Sent::arrived)).await;
            arrived.into_iter().collect()
        });
        self.open = Some(Open { partition, batches });
    }
}

impl Drop for Writer {
    /// Files of a writer that did not commit are removed as far as possible.
    fn drop(&mut self) {
        self.open = None;
        let mut encoders = std::mem::take(&mut self.encoders);
        let (encoding, lake, done) = (Arc::clone(&self.encoding), self.lake.clone(), std::mem::take(&mut self.done));
        if encoders.is_empty() && done.is_empty() {
            return;
        }
        encoding.cancelled.store(true, Ordering::Relaxed);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let mut adds = done;
                while let Some(encoded) = encoders.join_next().await {
                    adds.extend(encoded.ok().and_then(Result::ok).unwrap_or_default());
                }
                let paths: Vec<_> = adds.iter().filter_map(|add| encoding.path_of(add).ok()).collect();
                lake.forget(&paths).await;
            });
        }
    }
}

/// The newest version; an empty one is created where there is none.
async fn base(lake: &Lake, spec: &TableSpec, feed: bool) -> Result<Snapshot> {
    if let Some(snapshot) = lake.snapshot(&spec.name).await? {
        return Ok(snapshot);
    }
    // Without retries: the loser of two first writers would otherwise commit its metadata as version 1.
    let created = create(lake, spec, feed).await;
    match (lake.snapshot(&spec.name).await?, created) {
        (Some(snapshot), _) => Ok(snapshot),
        (None, Err(e)) => Err(e.context(format!("creating table {}", spec.name))),
        (None, Ok(())) => Err(Error::temporary(format!("table {} was created and is not there", spec.name))),
    }
}

async fn create(lake: &Lake, spec: &TableSpec, feed: bool) -> Result<()> {
    let metadata = spec.metadata()?;
    let schema = metadata.parse_schema().map_err(deltalake::DeltaTableError::from)?;
    let mut properties: Vec<(String, Option<String>)> =
        metadata.configuration().iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect();
    if feed {
        properties.push((FEED.to_string(), Some("true".to_string())));
    }
    CreateBuilder::new()
        .with_log_store(lake.log_store(&spec.name)?)
        .with_table_name(spec.name.clone())
        .with_comment(spec.description.clone())
        .with_columns(schema.fields().cloned())
        .with_partition_columns(spec.partition_by.clone())
        .with_configuration(properties)
        .with_raise_if_key_not_exists(false)
        .with_save_mode(SaveMode::ErrorIfExists)
        .with_commit_properties(CommitProperties::default().with_max_retries(0).with_cleanup_expired_logs(Some(false)))
        .await?;
    Ok(())
}

fn partition_value(values: &ArrayRef, row: usize) -> Result<Option<String>> {
    if values.is_null(row) {
        return Ok(None);
    }
    Ok(Some(ScalarValue::try_from_array(values, row)?.to_string()))
}

/// The actions that make `snapshot`'s files disappear.
pub(super) fn removals<'a>(files: impl Iterator<Item = &'a super::snapshot::DataFile>, is_change: bool) -> Vec<Action> {
    let now = crate::clock::now().timestamp_millis();
    files
        .map(|file| {
            let mut remove = file.remove.clone();
            remove.deletion_timestamp = Some(now);
            remove.data_change = is_change;
            Action::Remove(remove)
        })
        .collect()
}
