//! The operator: events and spine meet, partition by partition, entity by entity.
//!
//! Both sides are repartitioned by the hash of the entity and sorted, by DataFusion's operators, which spill; then
//! [`PitExec`] merges each pair of partitions. A final merge by entity, `as_of` and `_row` makes the order of the
//! result one and the same for any number of partitions.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::dataframe::DataFrame;
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, LexOrdering, Partitioning, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, execute_stream};
use futures::StreamExt;

use crate::engine::session::{self, Session};
use crate::error::{Error, Result};

use super::chunk::{Events, Keys};
use super::input::Inputs;
use super::kernel::{Factory, Kernel};

/// One part in so many of the memory limit is set aside for the histories of entities.
const RESERVED_SHARE: usize = 8;

/// Plans and starts the computation; the stream fails with one of our errors inside DataFusion's
/// (see [`session::error`]).
pub async fn run(
    session: &Session,
    inputs: &Inputs,
    kernel: Arc<dyn Factory>,
    schema: SchemaRef,
    events: DataFrame,
    spine: DataFrame,
) -> Result<SendableRecordBatchStream> {
    let partitions = session.context().copied_config().target_partitions();
    let layout = inputs.layout();
    let events = inputs.project(events)?.create_physical_plan().await.map_err(session::error)?;
    let spine = inputs.project_spine(spine)?.create_physical_plan().await.map_err(session::error)?;
    let spine_order: Vec<usize> = (0..layout.keys + 2).collect();
    let events = by_entity(events, layout.keys, &layout.order, partitions).map_err(session::error)?;
    let spine = by_entity(spine, layout.keys, &spine_order, partitions).map_err(session::error)?;
    let pit = PitExec::new(events, spine, kernel, schema, layout.keys);
    let merged: Arc<dyn ExecutionPlan> = match ordering(&pit.schema(), &spine_order) {
        Some(order) if partitions > 1 => Arc::new(SortPreservingMergeExec::new(order, Arc::new(pit))),
        _ => Arc::new(pit),
    };
    execute_stream(merged, session.context().task_ctx()).map_err(session::error)
}

/// Rows of an entity in one partition, each partition sorted.
fn by_entity(
    input: Arc<dyn ExecutionPlan>,
    keys: usize,
    order: &[usize],
    partitions: usize,
) -> PlanResult<Arc<dyn ExecutionPlan>> {
    let key = |index: usize| column(&input.schema(), index);
    let partitioning = match partitions {
        1 => Partitioning::RoundRobinBatch(1),
        _ => Partitioning::Hash((0..keys).map(key).collect(), partitions),
    };
    let sort = ordering(&input.schema(), order)
        .ok_or_else(|| DataFusionError::Internal("a history without an entity".into()))?;
    let input: Arc<dyn ExecutionPlan> = Arc::new(RepartitionExec::try_new(input, partitioning)?);
    Ok(Arc::new(SortExec::new(sort, input).with_preserve_partitioning(true)))
}

fn column(schema: &SchemaRef, index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(schema.field(index).name(), index))
}

fn ordering(schema: &SchemaRef, order: &[usize]) -> Option<LexOrdering> {
    LexOrdering::new(order.iter().map(|&index| PhysicalSortExpr::new_default(column(schema, index))))
}

/// Merges sorted events and a sorted spine of the same entities.
#[derive(Debug)]
struct PitExec {
    events: Arc<dyn ExecutionPlan>,
    spine: Arc<dyn ExecutionPlan>,
    kernel: Arc<dyn Factory>,
    keys: usize,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl PitExec {
    fn new(
        events: Arc<dyn ExecutionPlan>,
        spine: Arc<dyn ExecutionPlan>,
        kernel: Arc<dyn Factory>,
        schema: SchemaRef,
        keys: usize,
    ) -> PitExec {
        let partitions = spine.properties().output_partitioning().partition_count();
        let order: Vec<usize> = (0..keys + 2).collect();
        let equivalence = EquivalenceProperties::new_with_orderings(schema.clone(), ordering(&schema, &order));
        let properties = Arc::new(PlanProperties::new(
            equivalence,
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        PitExec { events, spine, kernel, keys, metrics: ExecutionPlanMetricsSet::new(), properties }
    }
}

impl DisplayAs for PitExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "PitExec: keys={}", self.keys)
    }
}

impl ExecutionPlan for PitExec {
    fn name(&self) -> &str {
        "PitExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false, true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.events, &self.spine]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> PlanResult<TreeNodeRecursion>,
    ) -> PlanResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        match <[_; 2]>::try_from(children) {
            Ok([events, spine]) => {
                Ok(Arc::new(PitExec::new(events, spine, self.kernel.clone(), self.schema(), self.keys)))
            }
            Err(children) => {
                Err(DataFusionError::Internal(format!("PitExec has two inputs and was given {}", children.len())))
            }
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(datafusion::physical_plan::ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> PlanResult<SendableRecordBatchStream> {
        let memory = MemoryConsumer::new(format!("PitExec[{partition}]")).register(context.memory_pool());
        if let MemoryLimit::Finite(limit) = context.memory_pool().memory_limit() {
            memory.try_grow(limit / (RESERVED_SHARE * self.properties.partitioning.partition_count()))?;
        }
        let types = |schema: SchemaRef| (0..self.keys).map(move |i| schema.field(i).data_type().clone());
        let keys = || Keys::new(types(self.spine.schema())).map_err(wrap);
        let events = self.events.execute(partition, context.clone())?;
        let mut merge = Merge {
            events: Events::new(events, keys()?, self.keys, memory),
            spine: self.spine.execute(partition, context)?,
            keys: keys()?,
            key_count: self.keys,
            kernel: self.kernel.kernel(),
        };
        let schema = self.schema();
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let mut stream = RecordBatchReceiverStreamBuilder::new(schema.clone(), 2);
        let sender = stream.tx();
        stream.spawn(async move {
            while let Some(batch) = merge.next(&schema).await.map_err(wrap)? {
                metrics.record_output(batch.num_rows());
                if sender.send(Ok(batch)).await.is_err() {
                    break; // nobody reads any more
                }
            }
            Ok(())
        });
        Ok(stream.build())
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

fn wrap(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// One partition's merge.
struct Merge {
    events: Events,
    spine: SendableRecordBatchStream,
    keys: Keys,
    key_count: usize,
    kernel: Box<dyn Kernel>,
}

impl Merge {
    /// The result for the next batch of the spine.
    async fn next(&mut self, schema: &SchemaRef) -> Result<Option<RecordBatch>> {
        let Some(batch) = self.spine.next().await.transpose().map_err(session::error)? else { return Ok(None) };
        let keys = self.keys.rows(&batch.columns()[..self.key_count])?;
        let as_of = batch.column(self.key_count);
        let times = as_of
            .as_primitive_opt::<TimestampMicrosecondType>()
            .filter(|times| times.null_count() == 0)
            .ok_or_else(|| Error::internal("a spine row has no as_of"))?;
        let mut entity: Range<usize> = 0..0;
        for row in 0..batch.num_rows() {
            if row == 0 || keys.row(row) != keys.row(row - 1) {
                let (found, moved) = self.events.seek(keys.row(row)).await?;
                if let (true, Some(chunk)) = (moved, self.events.chunk()) {
                    self.kernel.load(chunk)?;
                }
                entity = found.unwrap_or(0..0);
            }
            let computed = self.kernel.row(entity.clone(), times.value(row));
            computed.map_err(|fault| Error::data(format!("{}: {}", self.place(&batch, row), fault.0)))?;
        }
        let computed = self.kernel.finish(&batch)?;
        Ok(Some(RecordBatch::try_new(schema.clone(), computed.columns().to_vec())?))
    }

    /// Names a spine row for an error.
    fn place(&self, batch: &RecordBatch, row: usize) -> String {
        let schema = batch.schema();
        let columns = (0..=self.key_count).map(|index| {
            let value = array_value_to_string(batch.column(index), row).unwrap_or_default();
            format!("{} = {value}", schema.field(index).name())
        });
        columns.collect::<Vec<_>>().join(", ")
    }
}
