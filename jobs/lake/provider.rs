//! A snapshot's files as a DataFusion table.
//!
//! Ours rather than deltalake's: it keeps Arrow's plain types, prunes files by their partition before opening any, and
//! is nothing but a list of files with partition values, which another process can be told.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use chrono::DateTime;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DFSchema, DataFusionError, Result as DFResult, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::listing::helpers::expr_applicable_for_cols;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use object_store::{ObjectMeta, ObjectStore};

use super::reader::Readers;
use super::root::Lake;
use super::schema::file_schema;
use super::snapshot::{DataFile, Snapshot};
use crate::error::{Error, Result};

/// Of a file far away: a small one is read at once, instead of its length's length, its footer and its columns.
const FIRST_READ: usize = 512 << 10;

/// Parquet files with their partition values.
pub(super) struct DeltaFiles {
    /// Its name, for messages.
    table: String,
    schema: SchemaRef,
    partition: Option<Field>,
    /// File columns, then the partition column: the order in which DataFusion sees a partitioned file.
    stored: TableSchema,
    files: Vec<PartitionedFile>,
    rows: Precision<usize>,
    url: ObjectStoreUrl,
    store: Arc<dyn ObjectStore>,
    /// Bytes at a file's end that are read first.
    first_read: Option<usize>,
}

impl DeltaFiles {
    pub(super) fn try_new(
        lake: &Lake,
        table: &str,
        schema: SchemaRef,
        partition_by: Option<String>,
        files: &[DataFile],
    ) -> Result<Self> {
        // Without comments: DataFusion carries a field's metadata through some operators and not through others, and
        // then finds that a plan's schemas differ.
        let schema = nullable(&file_schema(&schema, None));
        let partition = match &partition_by {
            Some(column) => Some(schema.field_with_name(column)?.clone()),
            None => None,
        };
        let stored = TableSchema::builder(file_schema(&schema, partition_by.as_deref()))
            .with_table_partition_cols(partition.iter().map(|f| Arc::new(f.clone())).collect::<Vec<_>>())
            .build();
        let counts: Option<Vec<u64>> = files.iter().map(|f| f.rows).collect();
        let rows = match counts {
            Some(counts) => Precision::Exact(usize::try_from(counts.iter().sum::<u64>()).unwrap_or(usize::MAX)),
            None => Precision::Absent,
        };
        let files = files.iter().map(|f| partitioned_file(lake, table, f, partition.as_ref()));
        let files = files.collect::<Result<Vec<_>>>()?;
        let url = store_url(lake)?;
        Ok(DeltaFiles {
            table: table.to_string(),
            schema,
            partition,
            stored,
            files,
            rows,
            url,
            store: Arc::clone(lake.store()),
            first_read: lake.is_remote().then_some(FIRST_READ),
        })
    }

    /// The files whose partition satisfies every filter over nothing but the partition column.
    fn pruned(&self, state: &dyn Session, filters: &[Expr]) -> DFResult<Vec<PartitionedFile>> {
        let deciding: Vec<Expr> = filters.iter().filter(|f| self.decides(f)).cloned().collect();
        let (Some(field), Some(filter)) = (&self.partition, conjunction(deciding)) else {
            return Ok(self.files.clone());
        };
        if self.files.is_empty() {
            return Ok(Vec::new());
        }
        let schema = Arc::new(Schema::new(vec![field.clone().with_nullable(true)]));
        let values = ScalarValue::iter_to_array(self.files.iter().filter_map(|f| f.partition_values.first().cloned()))?;
        let batch = RecordBatch::try_new(Arc::clone(&schema), vec![values])?;
        let filter = state.create_physical_expr(filter, &DFSchema::try_from(schema)?)?;
        let keep: ArrayRef = filter.evaluate(&batch)?.into_array(self.files.len())?;
        let keep = keep
            .as_any()
            .downcast_ref::<BooleanArray>()
            .ok_or_else(|| DataFusionError::Internal(format!("a filter over {} is not a boolean", field.name())))?;
        let kept = self.files.iter().zip(keep.iter()).filter(|(_, keep)| *keep == Some(true));
        Ok(kept.map(|(file, _)| file.clone()).collect())
    }

    fn decides(&self, filter: &Expr) -> bool {
        let Some(field) = &self.partition else { return false };
        !filter.column_refs().is_empty() && expr_applicable_for_cols(&[field.name()], filter)
    }

    /// Positions of our columns in the order of [`Self::stored`].
    fn positions(&self, projection: Option<&Vec<usize>>) -> DFResult<Vec<usize>> {
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let stored = self.stored.table_schema();
        let chosen = projection.unwrap_or(&all).iter();
        Ok(chosen.map(|i| stored.index_of(self.schema.field(*i).name())).collect::<Result<_, _>>()?)
    }
}

#[async_trait]
impl TableProvider for DeltaFiles {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DFResult<Vec<TableProviderFilterPushDown>> {
        let answer = |filter: &&Expr| match self.decides(filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(answer).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DFResult<Arc<dyn ExecutionPlan>> {
        let files = self.pruned(state, filters)?;
        let positions = self.positions(projection)?;
        if files.is_empty() {
            let schema = match projection {
                Some(chosen) => Arc::new(self.schema.project(chosen)?),
                None => self.schema(),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        if self.url.as_str() != ObjectStoreUrl::local_filesystem().as_str() {
            state.runtime_env().register_object_store(self.url.as_ref(), Arc::clone(&self.store));
        }
        let mut statistics = Statistics::new_unknown(self.stored.table_schema());
        if files.len() == self.files.len() {
            statistics.num_rows = self.rows;
        }
        let mut source = ParquetSource::new(self.stored.clone())
            .with_table_parquet_options(state.default_table_options().parquet)
            .with_parquet_file_reader_factory(Arc::new(Readers::new(&self.table, &self.store)));
        if let Some(hint) = self.first_read {
            source = source.with_metadata_size_hint(hint);
        }
        let rest: Vec<Expr> = filters.iter().filter(|f| !self.decides(f)).cloned().collect();
        if let Some(filter) = conjunction(rest) {
            // For row groups and pages only: DataFusion filters the rows again above.
            let schema = DFSchema::try_from(Arc::clone(self.stored.table_schema()))?;
            source = source.with_predicate(state.create_physical_expr(filter, &schema)?);
        }
        let groups = balanced(files, state.config().target_partitions());
        let config = FileScanConfigBuilder::new(self.url.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(statistics)
            .with_projection_indices(Some(positions))?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// Every column may be null to a plan: below an outer join DataFusion's sort-merge join otherwise finds nulls where its
/// input declares none. What a table's columns hold is held by its writer and its audits.
fn nullable(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

impl std::fmt::Debug for DeltaFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeltaFiles").field("files", &self.files.len()).field("rows", &self.rows).finish()
    }
}

/// At most `n` runs of consecutive files, of about the same size.
fn balanced(files: Vec<PartitionedFile>, n: usize) -> Vec<FileGroup> {
    let total: u64 = files.iter().map(|f| f.object_meta.size).sum();
    let share = total.div_ceil(n.max(1) as u64).max(1);
    let (mut groups, mut group, mut bytes) = (Vec::new(), Vec::new(), 0);
    for file in files {
        bytes += file.object_meta.size;
        group.push(file);
        if bytes >= share * (groups.len() as u64 + 1) {
            groups.push(FileGroup::new(std::mem::take(&mut group)));
        }
    }
    if !group.is_empty() {
        groups.push(FileGroup::new(group));
    }
    groups
}

fn partitioned_file(lake: &Lake, table: &str, file: &DataFile, partition: Option<&Field>) -> Result<PartitionedFile> {
    let meta = ObjectMeta {
        location: Snapshot::path_of(lake, table, &file.path)?,
        // Data files never change, so any fixed time will do, and a cache may trust it.
        last_modified: DateTime::UNIX_EPOCH,
        size: file.bytes,
        e_tag: None,
        version: None,
    };
    let values = match (partition, &file.partition) {
        (None, _) => Vec::new(),
        (Some(field), None) => vec![ScalarValue::try_new_null(field.data_type())?],
        (Some(field), Some(value)) => vec![ScalarValue::try_from_string(value.clone(), field.data_type())?],
    };
    Ok(PartitionedFile::new_from_meta(meta).with_partition_values(values))
}

fn store_url(lake: &Lake) -> Result<ObjectStoreUrl> {
    let root = lake.url();
    if root.scheme() == "file" {
        return Ok(ObjectStoreUrl::local_filesystem());
    }
    let host = &root[..url::Position::BeforePath];
    ObjectStoreUrl::parse(host).map_err(|e| Error::internal(format!("{root}: {e}")))
}
