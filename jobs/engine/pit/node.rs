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
use super::step::{Night, StepExec};

/// What was known about the spine's entities at the spine's instants; from events and spine, or, with a night, from
/// states, spine and difference.
#[derive(Debug, Clone)]
pub struct PointInTime {
    inputs: Vec<LogicalPlan>,
    plan: Plan,
    night: Option<Night>,
    schema: DFSchemaRef,
}

impl PointInTime {
    pub fn new(inputs: Vec<LogicalPlan>, plan: Plan, night: Option<Night>) -> Result<PointInTime> {
        let expected = if night.is_some() { 3 } else { 2 };
        if inputs.len() != expected {
            let message = format!("PointInTime has {expected} inputs, not {}", inputs.len());
            return Err(DataFusionError::Internal(message));
        }
        let schema = Arc::new(DFSchema::try_from(plan.schema.as_ref().clone())?);
        Ok(PointInTime { inputs, plan, night, schema })
    }

    /// What tells two nodes apart: their inputs, and which states they keep.
    fn identity(&self) -> (&[LogicalPlan], &[String], Option<i64>, Option<Night>, &DFSchemaRef) {
        (&self.inputs, self.plan.kernel.state(), self.plan.everyone, self.night, &self.schema)
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
        self.inputs.partial_cmp(&other.inputs)
    }
}

impl UserDefinedLogicalNodeCore for PointInTime {
    fn name(&self) -> &str {
        "PointInTime"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        self.inputs.iter().collect()
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
        PointInTime::new(inputs, self.plan.clone(), self.night)
    }
}

/// DataFusion's planner, which also knows [`PointInTime`], and who is to execute the plan.
#[derive(Debug)]
pub struct Planner {
    /// URL of the scheduler of a cluster; `None`: this process executes.
    pub scheduler: Option<String>,
}

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(PointInTimePlanner)]);
        let plan = planner.create_physical_plan(plan, session).await?;
        Ok(match &self.scheduler {
            #[cfg(feature = "ballista")]
            Some(scheduler) => crate::engine::cluster::planned(plan, scheduler),
            _ => plan,
        })
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
        let Some(node) = node.as_any().downcast_ref::<PointInTime>() else { return Ok(None) };
        Ok(match (node.night, inputs) {
            (None, [events, spine]) => Some(Arc::new(PitExec::new(events.clone(), spine.clone(), node.plan.clone()))),
            (Some(night), [states, spine, difference]) => {
                let children = [states.clone(), spine.clone(), difference.clone()];
                Some(Arc::new(StepExec::new(children, node.plan.clone(), night)))
            }
            _ => None,
        })
    }
}
