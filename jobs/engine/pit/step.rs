//! From one night to the next: last night's states, and the rows that came or went since.
//!
//! Each row of the difference is looked at twice: in which ring was it at the night before, in which is it tonight? Rows
//! of files that were replaced come from both sides; a row that is on both is one row, whatever file it is in, so that
//! rewriting a file changes nothing. What is left are the changes an entity's kernel follows from its saved state. The
//! cost is that of the states and of the difference, however long the history.
//!
//! An entity whose kernel cannot follow (the greatest value was corrected) is marked, and computed from its rows.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, RecordBatch, TimestampMicrosecondArray,
    UInt32Array,
};
use arrow::compute::{concat_batches, take, take_record_batch};
use arrow::datatypes::{DataType, Field, Int8Type, Int64Type, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::HashMap;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{Distribution, EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, PlanProperties,
};
use futures::StreamExt;

use crate::engine::session::{self, BATCH_ROWS};
use crate::error::{Error, Result};

use super::chunk::{Chunk, Keys};
use super::exec::{Plan, place, wrap};
use super::kernel::Kernel;
use super::rings::Rings;
use super::state::{Change, OUT, RETRACTED};
use super::visible::Visible;

/// Column of a difference's rows: on which side they are, as int8.
pub const SIDE: &str = "_side";
/// Column of results: the entity must be computed from its rows.
pub const REBUILD: &str = "_rebuild";

/// On which side of a night a row of the difference is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// In a file that is gone.
    Gone = -1,
    /// In a file of both nights.
    Both = 0,
    /// In a new file.
    New = 1,
}

/// The two instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Night {
    pub before: i64,
    pub as_of: i64,
}

/// Children: states (entity…, states…), spine (entity…, as_of, _row), difference (the layout's columns, [`SIDE`]).
#[derive(Debug)]
pub struct StepExec {
    children: [Arc<dyn ExecutionPlan>; 3],
    plan: Plan,
    night: Night,
    properties: Arc<PlanProperties>,
}

impl StepExec {
    pub fn new(children: [Arc<dyn ExecutionPlan>; 3], plan: Plan, night: Night) -> StepExec {
        let partitions = children[0].properties().output_partitioning().partition_count();
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(plan.schema.clone()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        StepExec { children, plan, night, properties }
    }

    #[cfg(feature = "ballista")]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    #[cfg(feature = "ballista")]
    pub fn night(&self) -> Night {
        self.night
    }

    fn distribution(&self, child: &Arc<dyn ExecutionPlan>) -> Distribution {
        let schema = child.schema();
        let key = |index: usize| Arc::new(Column::new(schema.field(index).name(), index)) as Arc<dyn PhysicalExpr>;
        Distribution::KeyPartitioned((0..self.plan.layout.keys).map(key).collect())
    }
}

impl DisplayAs for StepExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "StepExec: incremental, keys={}, windows={}", self.plan.layout.keys, self.plan.kernel.rings().count())
    }
}

impl ExecutionPlan for StepExec {
    fn name(&self) -> &str {
        "StepExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let each = self.children.iter().map(|child| self.distribution(child));
        InputDistributionRequirements::co_partitioned(each.collect())
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.children.iter().collect()
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
        let children = <[_; 3]>::try_from(children)
            .map_err(|c| DataFusionError::Internal(format!("StepExec has three inputs, not {}", c.len())))?;
        Ok(Arc::new(StepExec::new(children, self.plan.clone(), self.night)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> PlanResult<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> PlanResult<SendableRecordBatchStream> {
        let memory = MemoryConsumer::new(format!("StepExec[{partition}]")).register(context.memory_pool());
        let schemas = self.children.iter().map(|child| child.schema()).collect::<Vec<_>>();
        let mut inputs = Vec::new();
        for child in &self.children {
            inputs.push(child.execute(partition, context.clone())?);
        }
        let (plan, night) = (self.plan.clone(), self.night);
        let mut stream = RecordBatchReceiverStreamBuilder::new(self.schema(), 1);
        let sender = stream.tx();
        stream.spawn(async move {
            let (mut difference, mut spine, mut states) = match (inputs.pop(), inputs.pop(), inputs.pop()) {
                (Some(difference), Some(spine), Some(states)) => (difference, spine, states),
                _ => return Err(DataFusionError::Internal("StepExec has three inputs".into())),
            };
            let difference = gather(&mut difference, &schemas[2], &memory).await?;
            let spine = gather(&mut spine, &schemas[1], &memory).await?;
            let mut step = Step::new(plan, night, difference, spine, &memory).map_err(wrap)?;
            while let Some(batch) = states.next().await.transpose()? {
                let result = step.known(&batch).map_err(wrap)?;
                if sender.send(Ok(result)).await.is_err() {
                    return Ok(()); // nobody reads any more
                }
            }
            for batch in step.unknown() {
                if sender.send(batch.map_err(wrap)).await.is_err() {
                    return Ok(());
                }
            }
            Ok(())
        });
        Ok(stream.build())
    }
}

/// All rows of an input, counted against the memory limit.
async fn gather(
    stream: &mut SendableRecordBatchStream,
    schema: &SchemaRef,
    memory: &MemoryReservation,
) -> PlanResult<RecordBatch> {
    let mut batches = Vec::new();
    while let Some(batch) = stream.next().await.transpose()? {
        memory.try_grow(batch.get_array_memory_size())?;
        batches.push(batch);
    }
    Ok(concat_batches(schema, &batches)?)
}

/// One partition's step.
struct Step {
    plan: Plan,
    night: Night,
    kernel: Box<dyn Kernel>,
    keys: Keys,
    spine: RecordBatch,
    changes: Vec<Change>,
    entities: RecordBatch,
    people: HashMap<Box<[u8]>, Person>,
}

/// An entity of the spine, of the difference, or of both.
#[derive(Debug, Clone, Copy, Default)]
struct Person {
    /// Row of the spine.
    spine: Option<u32>,
    /// Changes, from and to, and the row of [`Step::entities`].
    changes: (u32, u32),
    entity: u32,
    /// Whether there is a state.
    known: bool,
}

impl Step {
    fn new(
        plan: Plan,
        night: Night,
        difference: RecordBatch,
        spine: RecordBatch,
        memory: &MemoryReservation,
    ) -> Result<Step> {
        let key_count = plan.layout.keys;
        let keys = Keys::new(spine.columns()[..key_count].iter().map(|column| column.data_type().clone()))?;
        let mut people: HashMap<Box<[u8]>, Person> = HashMap::new();
        let spine_keys = keys.rows(&spine.columns()[..key_count])?;
        for (row, key) in spine_keys.iter().enumerate() {
            people.insert(key.as_ref().into(), Person { spine: Some(row as u32), ..Person::default() });
        }
        memory.try_grow(spine_keys.size() + people.len() * size_of::<(Box<[u8]>, Person)>()).map_err(session::error)?;
        let (batch, row_changes) = differences(&difference, &plan, night)?;
        let chunk = Chunk::new(batch, &keys, key_count)?;
        let mut kernel = plan.kernel.kernel()?;
        kernel.load(&chunk)?;
        let mut changes = Vec::new();
        for (index, rows) in chunk.entities().iter().enumerate() {
            let from = changes.len() as u32;
            changes.extend(row_changes[rows.clone()].iter().flatten());
            let person = people.entry(chunk.key(index).as_ref().into()).or_default();
            person.changes = (from, changes.len() as u32);
            person.entity = index as u32;
        }
        let firsts: UInt32Array = chunk.entities().iter().map(|rows| rows.start as u32).collect();
        let entities = take_record_batch(&chunk.batch, &firsts)?.project(&(0..key_count).collect::<Vec<_>>())?;
        Ok(Step { plan, night, kernel, keys, spine, changes, entities, people })
    }

    /// The result for entities of which there are states.
    fn known(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let key_count = self.plan.layout.keys;
        let keys = self.keys.rows(&batch.columns()[..key_count])?;
        let states: Vec<&BinaryArray> =
            batch.columns()[key_count..].iter().map(|column| column.as_binary::<i32>()).collect();
        let mut rows = Vec::with_capacity(batch.num_rows());
        let mut rebuild = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let person = self.people.get_mut(keys.row(row).as_ref()).map(|person| {
                person.known = true;
                *person
            });
            let person = person.unwrap_or_default();
            self.kernel.restore(&states, row)?;
            let lost = self.follow(person).map_err(|fault| self.fault(batch, row, fault))?;
            if person.changes.0 == person.changes.1 {
                self.kernel.keep(&states, row);
            } else {
                self.kernel.save();
            }
            rows.push(person.spine);
            rebuild.push(lost);
        }
        self.finish(batch.columns()[..key_count].to_vec(), &rows, rebuild)
    }

    /// The result for everybody else, a batch at a time.
    fn unknown(mut self) -> impl Iterator<Item = Result<RecordBatch>> {
        let mut rest: Vec<Person> = self.people.values().copied().filter(|person| !person.known).collect();
        rest.sort_unstable_by_key(|person| (person.spine.is_none(), person.spine, person.entity));
        let mut at = 0;
        std::iter::from_fn(move || {
            let batch: Vec<Person> = rest[at..].iter().take(BATCH_ROWS).copied().collect();
            at += batch.len();
            (!batch.is_empty()).then(|| self.newcomers(&batch))
        })
    }

    fn newcomers(&mut self, people: &[Person]) -> Result<RecordBatch> {
        let mut keys: Vec<ArrayRef> = Vec::new();
        for key in 0..self.plan.layout.keys {
            let sources: [&dyn Array; 2] = [self.spine.column(key), self.entities.column(key)];
            let places: Vec<(usize, usize)> = people
                .iter()
                .map(|person| person.spine.map_or((1, person.entity as usize), |row| (0, row as usize)))
                .collect();
            keys.push(arrow::compute::interleave(&sources, &places)?);
        }
        let mut rows = Vec::with_capacity(people.len());
        let mut rebuild = Vec::with_capacity(people.len());
        for (row, person) in people.iter().enumerate() {
            self.kernel.clear();
            let lost = self.follow(*person).map_err(|fault| {
                let fields: Vec<Field> =
                    self.spine.schema().fields()[..keys.len()].iter().map(|f| f.as_ref().clone()).collect();
                match RecordBatch::try_new(Arc::new(Schema::new(fields)), keys.clone()) {
                    Ok(batch) => self.fault(&batch, row, fault),
                    Err(error) => error.into(),
                }
            })?;
            self.kernel.save();
            rows.push(person.spine);
            rebuild.push(lost);
        }
        self.finish(keys, &rows, rebuild)
    }

    /// Follows a person's changes and reads; true if that cannot be done.
    fn follow(&mut self, person: Person) -> Result<bool, super::kernel::Fault> {
        let (from, to) = person.changes;
        let lost = from < to && self.kernel.apply(&self.changes[from as usize..to as usize])?;
        self.kernel.read(self.night.as_of)?;
        Ok(lost)
    }

    fn finish(&mut self, mut columns: Vec<ArrayRef>, rows: &[Option<u32>], rebuild: Vec<bool>) -> Result<RecordBatch> {
        let key_count = self.plan.layout.keys;
        let times = TimestampMicrosecondArray::from_value(self.night.as_of, rows.len());
        columns.push(Arc::new(times.with_timezone("UTC")));
        let numbers = self.spine.column(key_count + 1).as_primitive::<Int64Type>();
        let numbers: Int64Array = rows.iter().map(|row| row.map(|row| numbers.value(row as usize))).collect();
        columns.push(Arc::new(numbers));
        let fields: Vec<Field> =
            self.spine.schema().fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let head = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        let computed = self.kernel.finish(&head)?;
        let mut columns = computed.columns().to_vec();
        columns.extend(self.kernel.finish_state());
        columns.push(Arc::new(BooleanArray::from(rebuild)));
        Ok(RecordBatch::try_new(self.plan.schema.clone(), columns)?)
    }

    fn fault(&self, batch: &RecordBatch, row: usize, fault: super::kernel::Fault) -> Error {
        Error::data(format!("{}: {}", place(batch, row, self.plan.layout.keys - 1), fault.0))
    }
}

/// The rows that change place, sorted by entity, and the change of each.
fn differences(difference: &RecordBatch, plan: &Plan, night: Night) -> Result<(RecordBatch, Vec<Option<Change>>)> {
    let width = difference.num_columns() - 1;
    let sides = difference.column(width).as_primitive::<Int8Type>().values().clone();
    let batch = difference.project(&(0..width).collect::<Vec<_>>())?;
    let visible = Visible::of(&batch, &plan.layout)?;
    let rings = plan.kernel.rings();
    let places = Places { visible: &visible, rings, night };
    let moving: UInt32Array = (0..batch.num_rows())
        .filter(|&row| sides[row] != Side::Both as i8 || places.before(row) != places.tonight(row))
        .map(|row| row as u32)
        .collect();
    let converter = RowConverter::new(batch.columns().iter().map(|c| SortField::new(c.data_type().clone())).collect())?;
    let columns: Vec<ArrayRef> = batch.columns().iter().map(|c| take(c, &moving, None)).collect::<Result<_, _>>()?;
    let contents = converter.convert_columns(&columns)?;
    let mut order: Vec<usize> = (0..moving.len()).collect();
    order.sort_unstable_by(|&a, &b| contents.row(a).cmp(&contents.row(b)));
    let mut changes = Vec::with_capacity(order.len());
    for equal in order.chunk_by(|&a, &b| contents.row(a) == contents.row(b)) {
        let side = |index: usize| sides[moving.value(index) as usize];
        // As many as are on both sides only moved; a row of a file of both nights is on both.
        let gone = equal.iter().filter(|&&index| side(index) == Side::Gone as i8).count();
        let new = equal.iter().filter(|&&index| side(index) == Side::New as i8).count();
        let (mut paired_gone, mut paired_new) = (gone.min(new), gone.min(new));
        for &index in equal {
            let at = changes.len() as u32;
            let row = moving.value(index) as usize;
            let (from, to) = match side(index) {
                side if side == Side::Gone as i8 && paired_gone > 0 => {
                    paired_gone -= 1;
                    (OUT, OUT)
                }
                side if side == Side::New as i8 && paired_new > 0 => {
                    paired_new -= 1;
                    (places.before(row), places.tonight(row))
                }
                side if side == Side::Gone as i8 => (places.before(row), OUT),
                side if side == Side::New as i8 => (OUT, places.tonight(row)),
                _ => (places.before(row), places.tonight(row)),
            };
            // One that is beyond the longest window by now expired; another is no longer true.
            let expired = rings.of(visible.times[row], night.as_of) == OUT;
            let to = if from != OUT && to == OUT && !expired { RETRACTED } else { to };
            changes.push((from != to).then_some(Change { row: at, from, to }));
        }
    }
    let sorted: UInt32Array = order.iter().map(|&index| moving.value(index)).collect();
    Ok((take_record_batch(&batch, &sorted)?, changes))
}

/// Where rows are at the two instants.
struct Places<'a> {
    visible: &'a Visible,
    rings: &'a Rings,
    night: Night,
}

impl Places<'_> {
    fn at(&self, row: usize, as_of: i64) -> u16 {
        if self.visible.at(row, as_of) { self.rings.of(self.visible.times[row], as_of) } else { OUT }
    }

    fn before(&self, row: usize) -> u16 {
        self.at(row, self.night.before)
    }

    fn tonight(&self, row: usize) -> u16 {
        self.at(row, self.night.as_of)
    }
}

/// The schema of results: the features', the states', and whether to rebuild.
pub fn with_states(schema: &SchemaRef, plan_states: &[String], rebuild: bool) -> SchemaRef {
    let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.extend(plan_states.iter().map(|name| Field::new(name, DataType::Binary, true)));
    fields.extend(rebuild.then(|| Field::new(REBUILD, DataType::Boolean, false)));
    Arc::new(Schema::new(fields))
}
