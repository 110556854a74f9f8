//! One version of one table, pinned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;
use deltalake::kernel::{Action, LogicalFileView, Remove};
use deltalake::logstore::{LogStoreRef, get_actions};
use deltalake::table::state::DeltaTableState;
use futures::TryStreamExt;
use object_store::path::Path;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::provider::DeltaFiles;
use super::rewrite::{MADE_OF, PACKED};
use super::root::Lake;
use super::schema::arrow_schema;
use super::sound;
use crate::error::{Context, Error, Result};

/// How the partition of rows without a partition value is called.
pub const NULL_PARTITION: &str = crate::define::source::NULL_DATE;

/// A version of a table. What it reads does not change.
#[derive(Debug, Clone)]
pub struct Snapshot {
    table: String,
    log: LogStoreRef,
    state: DeltaTableState,
    schema: SchemaRef,
    partition_by: Option<String>,
    files: Arc<Vec<DataFile>>,
    lake: Lake,
}

/// A data file of a snapshot.
#[derive(Debug, Clone)]
pub(super) struct DataFile {
    /// Relative to the table.
    pub path: String,
    pub bytes: u64,
    /// `None` where a foreign writer left no statistics.
    pub rows: Option<u64>,
    pub partition: Option<String>,
    pub remove: Remove,
    /// The files whose rows it has: itself, or those that were packed into it.
    pub made_of: Vec<String>,
}

impl Snapshot {
    pub(super) async fn load(lake: &Lake, table: &str, version: Option<u64>) -> Result<Option<Snapshot>> {
        let log = lake.log_store(table)?;
        if !sound::log(lake, table, version).await? {
            return Ok(None);
        }
        let state = DeltaTableState::try_new(log.as_ref(), version).await;
        let state = state.map_err(|e| sound::explained(table, version, e.into()))?;
        Ok(Some(Snapshot::new(lake, table, log, state)?))
    }

    pub(super) fn new(lake: &Lake, table: &str, log: LogStoreRef, state: DeltaTableState) -> Result<Snapshot> {
        sound::readable(table, state.version(), state.protocol())?;
        let schema = arrow_schema(&state.schema())?;
        let partition_by = match state.metadata().partition_columns() {
            [] => None,
            [column] => Some(column.clone()),
            more => return Err(Error::data(format!("table {table} is partitioned by {more:?}; one was expected"))),
        };
        let is_text = |column: &str| schema.field_with_name(column).is_ok_and(|f| *f.data_type() == DataType::Utf8);
        let mut files = data_files(&state, partition_by.as_deref());
        // Other writers write no value so; of ours, an empty text is one.
        if partition_by.as_deref().is_some_and(|column| !is_text(column)) {
            files.iter_mut().for_each(|file| drop(file.partition.take_if(|value| value.is_empty())));
        }
        files.iter().try_for_each(|file| sound::inside(table, state.version(), &file.path))?;
        let files = Arc::new(files);
        Ok(Snapshot { table: table.to_string(), log, state, schema, partition_by, files, lake: lake.clone() })
    }

    /// The name below the lake's root.
    pub fn table(&self) -> &str {
        &self.table
    }

    pub fn version(&self) -> u64 {
        self.state.version()
    }

    /// All columns, the partition column among them; comments in the fields' metadata.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    pub fn partition_by(&self) -> Option<&str> {
        self.partition_by.as_deref()
    }

    /// The files of each partition, below the table; everything under `""` where the table has no partitions.
    /// Files never change: the same set of files is the same rows. A packed file goes by what it was made of.
    pub fn partitions(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut partitions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for file in self.files.iter() {
            partitions.entry(self.partition_of(file)).or_default().extend(file.made_of.iter().cloned());
        }
        partitions
    }

    /// A name of the table's rows: the same as long as no file but packed ones came or went.
    pub fn content(&self) -> String {
        let files: BTreeSet<&String> = self.files.iter().flat_map(|file| &file.made_of).collect();
        let mut hasher = Sha256::new();
        for file in files {
            hasher.update(file.as_bytes());
            hasher.update([0]);
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The rows of each partition; files without statistics count nothing.
    pub fn partition_rows(&self) -> BTreeMap<String, u64> {
        let mut partitions: BTreeMap<String, u64> = BTreeMap::new();
        for file in self.files.iter() {
            *partitions.entry(self.partition_of(file)).or_default() += file.rows.unwrap_or_default();
        }
        partitions
    }

    /// The bytes of each partition.
    pub fn partition_bytes(&self) -> BTreeMap<String, u64> {
        let mut partitions: BTreeMap<String, u64> = BTreeMap::new();
        for file in self.files.iter() {
            *partitions.entry(self.partition_of(file)).or_default() += file.bytes;
        }
        partitions
    }

    /// Rows of the table; files without statistics count nothing.
    pub fn rows(&self) -> u64 {
        self.files.iter().filter_map(|f| f.rows).sum()
    }

    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.bytes).sum()
    }

    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// The fingerprint of the last commit of a unit of work, if it was ever committed.
    pub async fn committed(&self, unit: &str) -> Result<Option<i64>> {
        let version = self.state.transaction_version(self.log.as_ref(), unit).await;
        version.with_context(|| format!("the units of work of table {}", self.table))
    }

    /// What the commit of this version said about itself; empty when the log entry is gone.
    pub async fn commit_info(&self) -> Result<Map<String, Value>> {
        Ok(self.info_of(self.state.version()).await?.unwrap_or_default())
    }

    /// The newest commit up to this version that said such a thing about itself; `None` where there is none, or the
    /// log does not reach back to it.
    pub async fn commit_where(
        &self,
        is: impl Fn(&Map<String, Value>) -> bool,
    ) -> Result<Option<(u64, Map<String, Value>)>> {
        for version in (0..=self.state.version()).rev() {
            match self.info_of(version).await? {
                None => return Ok(None),
                Some(info) if is(&info) => return Ok(Some((version, info))),
                Some(_) => {}
            }
        }
        Ok(None)
    }

    /// What a commit said about itself; `None` when its log entry is gone.
    async fn info_of(&self, version: u64) -> Result<Option<Map<String, Value>>> {
        let Some(bytes) = self.log.read_commit_entry(version).await? else { return Ok(None) };
        let info = get_actions(version, &bytes)?.into_iter().find_map(|action| match action {
            Action::CommitInfo(info) => Some(info.info.into_iter().collect()),
            _ => None,
        });
        Ok(Some(info.unwrap_or_default()))
    }

    /// The files of this version, or of one of its partitions, that are not there any more.
    pub async fn missing(&self, partition: Option<&str>) -> Result<Vec<String>> {
        let table = self.lake.path_of(&self.table)?;
        let listed: BTreeSet<Path> =
            self.lake.store().list(Some(&table)).map_ok(|object| object.location).try_collect().await?;
        let mut missing = Vec::new();
        for file in self.files.iter().filter(|file| partition.is_none_or(|p| self.partition_of(file) == p)) {
            if !listed.contains(&Self::path_of(&self.lake, &self.table, &file.path)?) {
                missing.push(file.path.clone());
            }
        }
        Ok(missing)
    }

    /// The table, for DataFusion: [`Self::schema`] without comments.
    pub fn provider(&self) -> Result<Arc<dyn TableProvider>> {
        self.provide(Arc::clone(&self.files))
    }

    /// Some partitions of the table, for DataFusion; those that do not exist have no rows.
    pub fn provider_of(&self, partitions: &BTreeSet<String>) -> Result<Arc<dyn TableProvider>> {
        let chosen = self.files.iter().filter(|f| partitions.contains(&self.partition_of(f))).cloned();
        self.provide(Arc::new(chosen.collect()))
    }

    pub(super) fn provide(&self, files: Arc<Vec<DataFile>>) -> Result<Arc<dyn TableProvider>> {
        let provider = DeltaFiles::try_new(&self.lake, &self.table, self.schema(), self.partition_by.clone(), &files)?;
        Ok(Arc::new(provider))
    }

    pub(super) fn data_files(&self) -> &[DataFile] {
        &self.files
    }

    pub(super) fn partition_of(&self, file: &DataFile) -> String {
        match (&self.partition_by, &file.partition) {
            (None, _) => String::new(),
            (Some(_), Some(value)) => value.clone(),
            (Some(_), None) => NULL_PARTITION.to_string(),
        }
    }

    /// Where the file lies in the object store.
    pub(super) fn path_of(lake: &Lake, table: &str, file: &str) -> Result<Path> {
        let below = format!("{}/{file}", lake.path_of(table)?);
        Path::parse(&below).map_err(|e| Error::internal(format!("{below}: {e}")))
    }

    pub(super) fn state(&self) -> &DeltaTableState {
        &self.state
    }

    pub(super) fn log(&self) -> &LogStoreRef {
        &self.log
    }

    pub(super) fn lake(&self) -> &Lake {
        &self.lake
    }
}

fn data_files(state: &DeltaTableState, partition_by: Option<&str>) -> Vec<DataFile> {
    let mut files: Vec<DataFile> = state
        .log_data()
        .iter()
        .map(|view| DataFile {
            path: view.path().to_string(),
            bytes: u64::try_from(view.size()).unwrap_or_default(),
            rows: view.num_records().and_then(|rows| u64::try_from(rows).ok()),
            partition: partition_by.and_then(|column| view.partition_values_map().remove(column).flatten()),
            remove: view.remove_action(true),
            made_of: made_of(&view),
        })
        .collect();
    files.sort_by(|a, b| (&a.partition, &a.path).cmp(&(&b.partition, &b.path)));
    files
}

/// Only packed files have tags, and tags are dear to look at.
fn made_of(view: &LogicalFileView) -> Vec<String> {
    let path = view.path().to_string();
    if !path.rsplit('/').next().is_some_and(|name| name.starts_with(PACKED)) {
        return vec![path];
    }
    // What was deprecated is the whole action; there is no other way to a file's tags.
    #[allow(deprecated)]
    let tags = view.add_action().tags.unwrap_or_default();
    let names = tags.get(MADE_OF).and_then(|names| serde_json::from_str(names.as_deref()?).ok());
    names.unwrap_or_else(|| vec![path])
}
