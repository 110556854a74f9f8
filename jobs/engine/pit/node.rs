//! The operator as a node of DataFusion's logical plans, and how it becomes [`PitExec`].

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use super::exec::{PitExec, Plan};

/// What was known about the spine's entities at the spine's instants.
#[derive(Debug, Clone)]
pub struct PointInTime {
    events: LogicalPlan,
    spine: LogicalPlan,
    plan: Plan,
    schema: DFSchemaRef,
}

impl PointInTime {
    pub fn new(events: LogicalPlan, spine: LogicalPlan, plan: Plan) -> Result<PointInTime> {
        let schema = Arc::new(DFSchema::try_from(plan.schema.as_ref().clone())?);
        Ok(PointInTime { events, spine, plan, schema })
    }

    /// What tells two nodes apart: their inputs, and which states they keep.
    fn identity(&self) -> (&LogicalPlan, &LogicalPlan, &[String], Option<i64>, &DFSchemaRef) {
        (&self.events, &self.spine, self.plan.kernel.state(), self.plan.everyone, &self.schema)
    }
}

impl PartialEq for PointInTime {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for PointInTime {}

impl Hash for PointInTime {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl PartialOrd for PointInTime {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (&self.events, &self.spine).partial_cmp(&(&other.events, &other.spine))
    }
}

impl UserDefinedLogicalNodeCore for PointInTime {
    fn name(&self) -> &str {
        "PointInTime"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.events, &self.spine]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "PointInTime: windows={}", self.plan.kernel.rings().count())
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match <[_; 2]>::try_from(inputs) {
            Ok([events, spine]) => PointInTime::new(events, spine, self.plan.clone()),
            Err(inputs) => Err(DataFusionError::Internal(format!("PointInTime has two inputs, not {}", inputs.len()))),
        }
    }
}

/// DataFusion's planner, which also knows [`PointInTime`].
#[derive(Debug)]
pub struct Planner;

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(PointInTimePlanner)]);
        planner.create_physical_plan(plan, session).await
    }
}

struct PointInTimePlanner;

#[async_trait]
impl ExtensionPlanner for PointInTimePlanner {
    async fn plan_extension(
        &self,
        _: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        _: &dyn Session,
        _: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let (Some(node), [events, spine]) = (node.as_any().downcast_ref::<PointInTime>(), inputs) else {
            return Ok(None);
        };
        Ok(Some(Arc::new(PitExec::new(events.clone(), spine.clone(), node.plan.clone()))))
    }
}
