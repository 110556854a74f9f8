//! Batches of one partition → Parquet files in the lake, off the asynchronous threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use deltalake::kernel::Add;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::{ColumnDescPtr, ColumnPath};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

use super::schema::TableSpec;
use super::stats::delta_statistics;
use crate::error::{Context, Error, Result};

/// How names of files begin.
pub(super) const PART: &str = "part";
/// Bytes after which a file is closed and the next one begun: what one file may take of memory.
const FILE_BYTES: usize = 96 << 20;
/// Rows of a row group: small enough to skip by and to be held while it is encoded, large enough to compress well.
const ROW_GROUP_ROWS: usize = 128 << 10;

/// MiB that are on their way to storage at most, and files.
const ON_THE_WAY: usize = 192;
const AT_ONCE: usize = 16;

/// Room for all that may be on its way.
pub(super) fn uploads() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(ON_THE_WAY))
}

/// A file that was encoded.
pub(super) struct Sent {
    add: Add,
    /// `None` where it has arrived.
    way: Option<JoinHandle<Result<()>>>,
}

impl Sent {
    pub(super) async fn arrived(self) -> Result<Add> {
        if let Some(way) = self.way {
            way.await.map_err(|e| Error::internal(format!("an upload ended: {e}")))??;
        }
        Ok(self.add)
    }
}

/// How the files of a table are encoded. Shared by all its encoders.
pub(super) struct Encoding {
    pub store: Arc<dyn ObjectStore>,
    /// Of the table, in the store.
    pub root: Path,
    /// Without the partition column.
    pub schema: SchemaRef,
    pub partition_by: Option<String>,
    pub properties: WriterProperties,
    /// How the names of files begin.
    pub prefix: &'static str,
    /// Storage far away takes files while the next ones are encoded; a disk is waited for.
    pub uploads: Option<Arc<Semaphore>>,
    /// Set when the writer is gone and nobody wants the files any more.
    pub cancelled: AtomicBool,
}

/// zstd at its fastest; no statistics for the columns that must not have any.
pub(super) fn properties(spec: &TableSpec, schema: &Schema) -> Result<WriterProperties> {
    let level = ZstdLevel::try_new(1).map_err(|e| Error::internal(e.to_string()))?;
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_created_by(concat!("scorehouse ", env!("CARGO_PKG_VERSION")).to_string());
    // A list or struct has none in any of its parts.
    let silent = |leaf: &ColumnDescPtr| leaf.path().parts().first().is_some_and(|n| spec.no_statistics.contains(n));
    let parts = ArrowSchemaConverter::new().convert(schema).map_err(encoding_error)?;
    for leaf in parts.columns().iter().filter(|leaf| silent(leaf)) {
        builder = builder.set_column_statistics_enabled(leaf.path().clone(), EnabledStatistics::None);
    }
    // These hardly ever repeat, and looking for those that do takes longer than writing them.
    let unlike = |field: &Field| matches!(field.data_type(), DataType::Binary | DataType::Float64);
    for field in spec.schema.fields().iter().filter(|field| unlike(field)) {
        builder = builder.set_column_dictionary_enabled(ColumnPath::from(field.name().as_str()), false);
    }
    Ok(builder.build())
}

impl Encoding {
    /// Encodes what comes until the sender is gone; some files may still be on their way then. Blocks: for a blocking
    /// thread.
    pub(super) fn run(&self, partition: Option<String>, mut batches: mpsc::Receiver<RecordBatch>) -> Result<Vec<Sent>> {
        let mut adds = Vec::new();
        let mut open: Option<ArrowWriter<Vec<u8>>> = None;
        while let Some(batch) = batches.blocking_recv() {
            let writer = match &mut open {
                Some(writer) => writer,
                None => open.insert(self.start()?),
            };
            writer.write(&batch).map_err(encoding_error)?;
            if writer.bytes_written() + writer.in_progress_size() >= FILE_BYTES {
                adds.extend(self.finish(&mut open, partition.as_ref())?);
            }
        }
        adds.extend(self.finish(&mut open, partition.as_ref())?);
        Ok(adds)
    }

    fn start(&self) -> Result<ArrowWriter<Vec<u8>>> {
        ArrowWriter::try_new(Vec::new(), Arc::clone(&self.schema), Some(self.properties.clone()))
            .map_err(encoding_error)
    }

    fn finish(&self, open: &mut Option<ArrowWriter<Vec<u8>>>, partition: Option<&String>) -> Result<Option<Sent>> {
        let Some(mut writer) = open.take() else { return Ok(None) };
        let footer = writer.finish().map_err(encoding_error)?;
        let bytes = std::mem::take(writer.inner_mut());
        if self.cancelled.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let name = format!("{}-{}.zstd.parquet", self.prefix, uuid::Uuid::new_v4());
        let relative = match (&self.partition_by, partition) {
            (Some(column), value) => format!("{column}={}/{name}", directory(value)),
            (None, _) => name,
        };
        let add = Add {
            size: i64::try_from(bytes.len()).unwrap_or(i64::MAX),
            path: relative,
            partition_values: self.partition_by.iter().map(|column| (column.clone(), partition.cloned())).collect(),
            modification_time: crate::clock::now().timestamp_millis(),
            data_change: true,
            stats: Some(delta_statistics(&footer, &self.schema)),
            ..Add::default()
        };
        let way = self.send(self.path_of(&add)?, bytes)?;
        Ok(Some(Sent { add, way }))
    }

    fn send(&self, path: Path, bytes: Vec<u8>) -> Result<Option<JoinHandle<Result<()>>>> {
        let (runtime, store) = (tokio::runtime::Handle::current(), Arc::clone(&self.store));
        let weight = (bytes.len() >> 20).clamp(ON_THE_WAY / AT_ONCE, ON_THE_WAY) as u32;
        let put = async move {
            let writing = || format!("writing {path}");
            store.put(&path, PutPayload::from(bytes)).await.map(drop).with_context(writing)
        };
        let Some(uploads) = &self.uploads else {
            runtime.block_on(put)?;
            return Ok(None);
        };
        let place = runtime.block_on(Arc::clone(uploads).acquire_many_owned(weight));
        let place = place.map_err(|e| Error::internal(e.to_string()))?;
        Ok(Some(runtime.spawn(async move {
            let _place = place;
            put.await
        })))
    }

    pub(super) fn path_of(&self, add: &Add) -> Result<Path> {
        let path = format!("{}/{}", self.root, add.path);
        Path::parse(&path).map_err(|e| Error::internal(format!("{path}: {e}")))
    }
}

/// A partition value as a directory name: what is not plain is percent-encoded.
fn directory(value: Option<&String>) -> String {
    let Some(value) = value else { return super::NULL_PARTITION.to_string() };
    let mut name = String::new();
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            other => name.push_str(&format!("%{other:02X}")),
        }
    }
    name
}

fn encoding_error(e: parquet::errors::ParquetError) -> Error {
    Error::internal(format!("encoding Parquet: {e}")).caused_by(e)
}
