//! Reading the data files of a table, so that what is wrong with one is told by its table and name: a file that is
//! gone or no Parquet file is the data's fault, a storage that fails may do better later.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::common::Result as DFResult;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{DefaultParquetFileReaderFactory, ParquetFileReaderFactory};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::ParquetMetaData;

use crate::error::{Error, Result};

/// What to do about a file that is gone or broken.
const HELP: &str = "help: restore it from a backup of the lake, or build the table anew from its inputs";

/// Opens the files of one table.
#[derive(Debug)]
pub(super) struct Readers {
    table: String,
    store: Arc<dyn ObjectStore>,
    inner: DefaultParquetFileReaderFactory,
}

impl Readers {
    pub(super) fn new(table: &str, store: &Arc<dyn ObjectStore>) -> Readers {
        let inner = DefaultParquetFileReaderFactory::new(Arc::clone(store));
        Readers { table: table.to_string(), store: Arc::clone(store), inner }
    }
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> DFResult<Box<dyn AsyncFileReader + Send>> {
        let (path, size) = (file.object_meta.location.clone(), file.object_meta.size);
        let inner = self.inner.create_reader(partition_index, file, metadata_size_hint, metrics)?;
        let named = Named::new(&self.table, path, size, &self.store);
        Ok(Box::new(Reader { named, inner }))
    }
}

/// A file by its names.
#[derive(Debug, Clone)]
pub(super) struct Named {
    table: String,
    path: Path,
    /// By the log.
    size: u64,
    store: Arc<dyn ObjectStore>,
}

struct Reader {
    named: Named,
    inner: Box<dyn AsyncFileReader + Send>,
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        let read = self.inner.get_bytes(range);
        let named = &self.named;
        async move {
            match read.await {
                Err(error) => Err(named.explain(error).await),
                read => read,
            }
        }
        .boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        let read = self.inner.get_byte_ranges(ranges);
        let named = &self.named;
        async move {
            match read.await {
                Err(error) => Err(named.explain(error).await),
                read => read,
            }
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        let read = self.inner.get_metadata(options);
        let named = &self.named;
        async move {
            match read.await {
                Err(error) => Err(named.explain(error).await),
                read => read,
            }
        }
        .boxed()
    }
}

impl Named {
    pub(super) fn new(table: &str, path: Path, size: u64, store: &Arc<dyn ObjectStore>) -> Named {
        Named { table: table.to_string(), path, size, store: Arc::clone(store) }
    }

    /// The whole file as it is.
    pub(super) async fn bytes(&self) -> Result<Bytes> {
        Ok(self.store.get(&self.path).await?.bytes().await?)
    }

    /// What DataFusion says of a file that it cannot read does not tell why; the storage does.
    pub(super) async fn explain(&self, error: ParquetError) -> ParquetError {
        let what = format!("table {}: its data file {}", self.table, self.path);
        let ours = match self.store.head(&self.path).await {
            Err(StoreError::NotFound { .. }) => Error::data(format!("{what} is gone\n  {HELP}")),
            Err(other) => Error::from(other).context(what),
            Ok(found) if found.size != self.size => Error::data(format!(
                "{what} is not what was written\n  found: {} bytes\n  expected: {} bytes\n  {HELP}",
                found.size, self.size
            )),
            // The storage failed a moment ago, and said so, perhaps in words only.
            Ok(_) => match error {
                error if Error::within(&error).is_some() => Error::temporary(format!("{what}: {error}")),
                ParquetError::External(cause) => Error::temporary(format!("{what}: {cause}")),
                broken => Error::data(format!("{what} is not a readable Parquet file ({broken})\n  {HELP}")),
            },
        };
        ParquetError::External(Box::new(ours))
    }
}
