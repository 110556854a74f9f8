//! A whole plan as one node of this process: executing it has a cluster execute it.

use std::fmt;
use std::sync::Arc;

use ballista_core::execution_plans::execute_physical_plan;
use ballista_core::extension::SessionConfigExt;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::codec::Codec;
use super::trouble;

/// Rows of this process that a plan may take along.
const LUGGAGE: usize = 1 << 20;

/// True if a plan reads files, and whatever else it reads can be sent with it.
pub fn travels(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let (mut files, mut bound) = (false, false);
    each_leaf(plan, false, &mut |leaf, in_union| {
        if let Some(source) = leaf.downcast_ref::<DataSourceExec>() {
            let source = source.data_source();
            if source.downcast_ref::<FileScanConfig>().is_some() {
                files = true;
            } else {
                let rows = source
                    .downcast_ref::<MemorySourceConfig>()
                    .map(|memory| memory.partitions().iter().flatten().map(|batch| batch.num_rows()).sum::<usize>());
                bound |= rows.is_none_or(|rows| rows > LUGGAGE);
            }
        } else {
            let nothing = leaf.downcast_ref::<EmptyExec>().is_some();
            // A task of Ballista 55 that takes no part of an empty branch of a union counts its operators otherwise than its
            // stage does: the stage then never ends.
            bound |= nothing && in_union;
            bound |= !nothing && leaf.downcast_ref::<PlaceholderRowExec>().is_none();
        }
    });
    files && !bound
}

/// Every leaf, and whether it is below a union.
fn each_leaf(plan: &Arc<dyn ExecutionPlan>, in_union: bool, f: &mut dyn FnMut(&dyn ExecutionPlan, bool)) {
    let children = plan.children();
    if children.is_empty() {
        f(plan.as_ref(), in_union);
    }
    let in_union = in_union || plan.downcast_ref::<UnionExec>().is_some();
    children.into_iter().for_each(|child| each_leaf(child, in_union, f));
}

/// A plan that a cluster executes.
#[derive(Debug)]
pub struct RemoteExec {
    plan: Arc<dyn ExecutionPlan>,
    scheduler: String,
    properties: Arc<PlanProperties>,
}

impl RemoteExec {
    pub fn new(plan: Arc<dyn ExecutionPlan>, scheduler: &str) -> RemoteExec {
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(plan.schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        ));
        RemoteExec { plan, scheduler: scheduler.to_string(), properties }
    }
}

impl DisplayAs for RemoteExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "RemoteExec: scheduler={}", self.scheduler)
    }
}

impl ExecutionPlan for RemoteExec {
    fn name(&self) -> &str {
        "RemoteExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (plan, scheduler) = (Arc::clone(&self.plan), self.scheduler.clone());
        let settings = super::config(context.session_config().clone());
        let answer = async move {
            let config = settings.ballista_config();
            // A session each: the scheduler keeps nothing of ours from one query to the next.
            let session = Uuid::new_v4().to_string();
            let codec = Codec::default();
            execute_physical_plan::<PhysicalPlanNode>(scheduler.clone(), &config, plan, &codec, session, settings)
                .await
                .map(|rows| rows.map_err(trouble::of).boxed())
                .map_err(|error| trouble::of(error).context(format!("the scheduler at {scheduler}")))
        };
        let rows = stream::once(answer).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.plan.schema(), rows)))
    }
}
