//! The operator: events and spine meet, partition by partition, entity by entity.
//!
//! It asks for both inputs partitioned by entity and sorted, and DataFusion's optimizer puts its repartitioning and its
//! sort, which spills, below it. [`PitExec`] then merges each pair of partitions: for each entity the [`Sweep`] says which
//! rows come and go from one decision to the next, and a kernel follows.
//!
//! With [`Plan::everyone`] the spine is one night's, and the result also has the states that the next night starts from:
//! of entities in the spine, and of those that only have events; the latter have no `_row`.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use arrow::row::{OwnedRow, Row};
use arrow::util::display::array_value_to_string;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, LexOrdering, OrderingRequirements, Partitioning, PhysicalExpr,
    PhysicalSortExpr,
};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, PlanProperties,
};
use futures::StreamExt;
use futures::stream::Fuse;

use crate::engine::session::{self, BATCH_ROWS};
use crate::error::{Error, Result};

use super::chunk::{Chunk, Events, Keys};
use super::input::Layout;
use super::kernel::{Factory, Kernel};
use super::packed;
use super::recipe::Recipe;
use super::sweep::Sweep;
use super::visible::Visible;

/// One part in so many of the memory limit is set aside for the histories of entities.
const RESERVED_SHARE: usize = 8;

/// What the operator computes.
#[derive(Debug, Clone)]
pub struct Plan {
    pub kernel: Arc<dyn Factory>,
    pub layout: Layout,
    /// Whether events come with entity and event time as one number.
    pub packed: bool,
    /// Of the result.
    pub schema: SchemaRef,
    /// The instant at which everybody is asked for, whether in the spine or not, and states are returned.
    pub everyone: Option<i64>,
    /// What it was compiled from.
    pub recipe: Arc<Recipe>,
}

/// Merges sorted events and a sorted spine of the same entities.
#[derive(Debug)]
pub struct PitExec {
    events: Arc<dyn ExecutionPlan>,
    spine: Arc<dyn ExecutionPlan>,
    plan: Plan,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl PitExec {
    pub fn new(events: Arc<dyn ExecutionPlan>, spine: Arc<dyn ExecutionPlan>, plan: Plan) -> PitExec {
        let partitions = spine.properties().output_partitioning().partition_count();
        let order: Vec<usize> = (0..plan.layout.keys + 2).collect();
        let sorted = ordering(&plan.schema, &order).filter(|_| plan.everyone.is_none());
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new_with_orderings(plan.schema.clone(), sorted),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        PitExec { events, spine, plan, metrics: ExecutionPlanMetricsSet::new(), properties }
    }

    #[cfg(feature = "ballista")]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    fn event_keys(&self) -> Distribution {
        let schema = self.events.schema();
        match self.plan.packed {
            true => Distribution::KeyPartitioned(vec![packed::entity_of(column(&schema, 0))]),
            false => self.keys(schema),
        }
    }

    fn keys(&self, schema: SchemaRef) -> Distribution {
        Distribution::KeyPartitioned((0..self.plan.layout.keys).map(|index| column(&schema, index)).collect())
    }
}

fn column(schema: &SchemaRef, index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new(schema.field(index).name(), index))
}

fn ordering(schema: &SchemaRef, order: &[usize]) -> Option<LexOrdering> {
    LexOrdering::new(order.iter().map(|&index| PhysicalSortExpr::new_default(column(schema, index))))
}

impl DisplayAs for PitExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let mode = if self.plan.everyone.is_some() { "snapshot" } else { "history" };
        write!(f, "PitExec: {mode}, keys={}, windows={}", self.plan.layout.keys, self.plan.kernel.rings().count())
    }
}

impl ExecutionPlan for PitExec {
    fn name(&self) -> &str {
        "PitExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let (events, spine) = (self.event_keys(), self.keys(self.spine.schema()));
        InputDistributionRequirements::co_partitioned(vec![events, spine])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let spine_order: Vec<usize> = (0..self.plan.layout.keys + 2).collect();
        let order: &[usize] = if self.plan.packed { &[0] } else { &self.plan.layout.order };
        let events = ordering(&self.events.schema(), order);
        let spine = ordering(&self.spine.schema(), &spine_order);
        vec![events.map(OrderingRequirements::from), spine.map(OrderingRequirements::from)]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false, self.plan.everyone.is_none()]
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
            Ok([events, spine]) => Ok(Arc::new(PitExec::new(events, spine, self.plan.clone()))),
            Err(children) => {
                Err(DataFusionError::Internal(format!("PitExec has two inputs and was given {}", children.len())))
            }
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> PlanResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> PlanResult<SendableRecordBatchStream> {
        let memory = MemoryConsumer::new(format!("PitExec[{partition}]")).register(context.memory_pool());
        if let MemoryLimit::Finite(limit) = context.memory_pool().memory_limit() {
            memory.try_grow(limit / (RESERVED_SHARE * self.properties.partitioning.partition_count()))?;
        }
        let key_count = self.plan.layout.keys;
        let types = |schema: SchemaRef| (0..key_count).map(move |i| schema.field(i).data_type().clone());
        let keys = || Keys::new(types(self.spine.schema())).map_err(wrap);
        let below = if self.plan.packed { packed::context_to_sort(&context) } else { context.clone() };
        let events = self.events.execute(partition, below)?;
        let mut merge = Merge {
            events: Events::new(events, self.plan.packed, keys()?, key_count, memory),
            spine: self.spine.execute(partition, context)?.fuse(),
            keys: keys()?,
            spine_schema: self.spine.schema(),
            spine_kernel: Loaded::new(&self.plan).map_err(wrap)?,
            entity: None,
            others: Others::new(&self.plan).map_err(wrap)?,
            visible: (0, Visible::default()),
            plan: self.plan.clone(),
            ended: false,
        };
        let schema = self.schema();
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let mut stream = RecordBatchReceiverStreamBuilder::new(schema.clone(), 1);
        let sender = stream.tx();
        stream.spawn(async move {
            while let Some(batches) = merge.next().await.map_err(wrap)? {
                for batch in batches {
                    metrics.record_output(batch.num_rows());
                    let batch = RecordBatch::try_new(schema.clone(), batch.columns().to_vec())?;
                    if sender.send(Ok(batch)).await.is_err() {
                        return Ok(()); // nobody reads any more
                    }
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

pub fn wrap(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// A kernel and the chunk it was loaded with.
struct Loaded {
    kernel: Box<dyn Kernel>,
    chunk: usize,
    sweep: Sweep,
    changes: Vec<super::state::Change>,
}

impl Loaded {
    fn new(plan: &Plan) -> Result<Loaded> {
        Ok(Loaded { kernel: plan.kernel.kernel()?, chunk: 0, sweep: Sweep::default(), changes: Vec::new() })
    }

    /// Starts with an entity; `None` if it has no events.
    fn enter(&mut self, events: &Events, entity: Option<usize>, visible: &Visible, plan: &Plan) -> Result<()> {
        self.kernel.clear();
        let rows = match (entity, events.chunk()) {
            (Some(entity), Some(chunk)) => {
                if self.chunk != events.chunks {
                    self.kernel.load(chunk)?;
                    self.chunk = events.chunks;
                }
                chunk.entities()[entity].clone()
            }
            _ => 0..0,
        };
        self.sweep.enter(rows, visible, plan.kernel.rings());
        Ok(())
    }

    /// A row of results, and of states if they are asked for.
    fn decide(&mut self, as_of: i64, visible: &Visible, plan: &Plan) -> Result<(), super::kernel::Fault> {
        self.sweep.step(as_of, visible, plan.kernel.rings(), &mut self.changes);
        if self.kernel.apply(&self.changes)? {
            self.sweep.present(&mut self.changes);
            self.kernel.rebuild(&self.changes)?;
        }
        self.kernel.read(as_of)?;
        if plan.everyone.is_some() {
            self.kernel.save();
        }
        Ok(())
    }

    fn finish(&mut self, batch: &RecordBatch, plan: &Plan) -> Result<RecordBatch> {
        let computed = self.kernel.finish(batch)?;
        if plan.everyone.is_none() {
            return Ok(computed);
        }
        let mut fields: Vec<_> = computed.schema().fields().iter().cloned().collect();
        let mut columns = computed.columns().to_vec();
        for (name, column) in plan.kernel.state().iter().zip(self.kernel.finish_state()) {
            fields.push(Arc::new(arrow::datatypes::Field::new(name, column.data_type().clone(), true)));
            columns.push(column);
        }
        Ok(RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), columns)?)
    }
}

/// Entities that are not in the spine, kept apart so that rows of the spine stay as they came.
struct Others {
    loaded: Loaded,
    /// Keys, by column, of those in chunks before the present one.
    keys: Vec<Vec<ArrayRef>>,
    /// Key columns of the chunk of that number, and the rows of its others.
    chunk: (usize, Vec<ArrayRef>),
    firsts: Vec<u32>,
    count: usize,
}

impl Others {
    fn new(plan: &Plan) -> Result<Others> {
        let keys = vec![Vec::new(); plan.layout.keys];
        Ok(Others { loaded: Loaded::new(plan)?, keys, chunk: (0, Vec::new()), firsts: Vec::new(), count: 0 })
    }

    fn add(&mut self, chunk: &Chunk, number: usize, entity: usize) -> Result<()> {
        if self.chunk.0 != number {
            self.gather()?;
            self.chunk = (number, chunk.batch.columns()[..self.keys.len()].to_vec());
        }
        self.firsts.push(chunk.entities()[entity].start as u32);
        self.count += 1;
        Ok(())
    }

    fn gather(&mut self) -> Result<()> {
        let firsts = UInt32Array::from(std::mem::take(&mut self.firsts));
        if !firsts.is_empty() {
            for (keys, column) in self.keys.iter_mut().zip(&self.chunk.1) {
                keys.push(take(column, &firsts, None)?);
            }
        }
        Ok(())
    }

    /// The keys since the last call.
    fn take(&mut self) -> Result<Vec<ArrayRef>> {
        self.gather()?;
        self.count = 0;
        let whole = |keys: &mut Vec<ArrayRef>| {
            let keys = std::mem::take(keys);
            concat(&keys.iter().map(|part| part.as_ref() as &dyn Array).collect::<Vec<_>>())
        };
        Ok(self.keys.iter_mut().map(whole).collect::<Result<_, _>>()?)
    }
}

/// One partition's merge.
struct Merge {
    events: Events,
    spine: Fuse<SendableRecordBatchStream>,
    keys: Keys,
    spine_schema: SchemaRef,
    spine_kernel: Loaded,
    /// Of the last row of the spine: it may go on in the next batch.
    entity: Option<OwnedRow>,
    others: Others,
    /// The clocks of the chunk of that number.
    visible: (usize, Visible),
    plan: Plan,
    ended: bool,
}

impl Merge {
    /// The result for the next batch of the spine; with everyone asked for also of entities on the way.
    async fn next(&mut self) -> Result<Option<Vec<RecordBatch>>> {
        if self.ended {
            return Ok(None);
        }
        let mut results = Vec::new();
        match self.spine.next().await.transpose().map_err(session::error)? {
            Some(batch) => results.push(self.of_spine(&batch).await?),
            None => self.ended = self.plan.everyone.is_none() || !self.rest().await?,
        }
        if self.others.count > 0 {
            results.push(self.finish_others()?);
        }
        Ok(Some(results))
    }

    /// Entities behind the spine's last, as many as a batch has; false if there are no more.
    async fn rest(&mut self) -> Result<bool> {
        while self.others.count < BATCH_ROWS {
            let Some(entity) = self.stand().await? else { return Ok(false) };
            self.other(entity)?;
        }
        Ok(true)
    }

    async fn of_spine(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let key_count = self.plan.layout.keys;
        let keys = self.keys.rows(&batch.columns()[..key_count])?;
        let as_of = batch.column(key_count);
        let times = as_of
            .as_primitive_opt::<TimestampMicrosecondType>()
            .filter(|times| times.null_count() == 0)
            .ok_or_else(|| Error::internal("a spine row has no as_of"))?;
        for row in 0..batch.num_rows() {
            let goes_on = match row {
                0 => self.entity.as_ref().is_some_and(|entity| entity.row() == keys.row(0)),
                row => keys.row(row) == keys.row(row - 1),
            };
            if !goes_on {
                let entity = self.seek(keys.row(row)).await?;
                self.spine_kernel.enter(&self.events, entity, &self.visible.1, &self.plan)?;
            }
            let decided = self.spine_kernel.decide(times.value(row), &self.visible.1, &self.plan);
            decided.map_err(|fault| Error::data(format!("{}: {}", self.place(batch, row), fault.0)))?;
        }
        self.entity = batch.num_rows().checked_sub(1).map(|last| keys.row(last).owned()).or(self.entity.take());
        self.spine_kernel.finish(batch, &self.plan)
    }

    /// Where the cursor over events stands, with the clocks of that chunk at hand.
    async fn stand(&mut self) -> Result<Option<usize>> {
        let entity = self.events.entity().await?;
        if let (Some(chunk), true) = (self.events.chunk(), self.visible.0 != self.events.chunks) {
            self.visible = (self.events.chunks, Visible::of(&chunk.batch, &self.plan.layout)?);
        }
        Ok(entity)
    }

    /// Moves to an entity after the last one asked for; `None` if it has no events.
    async fn seek(&mut self, key: Row<'_>) -> Result<Option<usize>> {
        loop {
            let Some(entity) = self.stand().await? else { return Ok(None) };
            let found = self.events.chunk().map_or(Ordering::Greater, |chunk| chunk.key(entity).cmp(&key));
            match found {
                Ordering::Equal => {
                    self.events.advance();
                    return Ok(Some(entity));
                }
                Ordering::Greater => return Ok(None),
                Ordering::Less if self.plan.everyone.is_some() => self.other(entity)?,
                Ordering::Less => self.events.advance(),
            }
        }
    }

    /// An entity that has events and is not in the spine.
    fn other(&mut self, entity: usize) -> Result<()> {
        self.events.advance();
        let (Some(chunk), Some(as_of)) = (self.events.chunk(), self.plan.everyone) else { return Ok(()) };
        self.others.add(chunk, self.events.chunks, entity)?;
        self.others.loaded.enter(&self.events, Some(entity), &self.visible.1, &self.plan)?;
        let decided = self.others.loaded.decide(as_of, &self.visible.1, &self.plan);
        decided.map_err(|fault| Error::data(format!("an entity that is in no spine: {}", fault.0)))
    }

    fn finish_others(&mut self) -> Result<RecordBatch> {
        let (count, as_of) = (self.others.count, self.plan.everyone.unwrap_or_default());
        let mut columns = self.others.take()?;
        let times = TimestampMicrosecondArray::from_value(as_of, count);
        columns.push(Arc::new(times.with_timezone("UTC")));
        columns.push(Arc::new(Int64Array::new_null(count)));
        let fields = self.spine_schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let schema = arrow::datatypes::Schema::new(fields.collect::<Vec<_>>());
        let batch = RecordBatch::try_new(Arc::new(schema), columns)?;
        self.others.loaded.finish(&batch, &self.plan)
    }

    /// Names a spine row for an error.
    fn place(&self, batch: &RecordBatch, row: usize) -> String {
        place(batch, row, self.plan.layout.keys)
    }
}

/// Names a row by entity and as_of.
pub fn place(batch: &RecordBatch, row: usize, keys: usize) -> String {
    let schema = batch.schema();
    let columns = (0..=keys).map(|index| {
        let value = array_value_to_string(batch.column(index), row).unwrap_or_default();
        format!("{} = {value}", schema.field(index).name())
    });
    columns.collect::<Vec<_>>().join(", ")
}
