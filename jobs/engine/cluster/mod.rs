//! The same jobs on many machines: Apache DataFusion Ballista.
//!
//! ```text
//! job ── plans as ever ──→ physical plan ── codec ──→ scheduler ── stages ──→ executor … executor
//!  ↑                                                                              │
//!  └── writes and commits ←─────────────────── batches of the last stage ←────────┘
//! ```
//!
//! A job plans every query itself, with its own optimizer and the same settings, and hands the physical plan to the
//! scheduler, which cuts it where rows change hands. So the plan is the embedded engine's, and the results are. What the
//! plan reads are files of a Delta snapshot with their partition values, which is all that executors are told of a lake;
//! only the job itself commits to it. Our operators travel as the definition that they are compiled from
//! ([`super::pit::recipe`]).
//!
//! A plan that reads no file is not worth the way, and one whose rows come from this process cannot go: both are
//! computed here ([`remote`]).

mod codec;
pub mod process;
mod remote;
mod trouble;

use std::sync::Arc;

use ballista_core::extension::SessionConfigExt;
use datafusion::error::Result;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;

use super::pit::packed;

/// The settings of a session whose plans may go to a cluster.
pub fn config(config: SessionConfig) -> SessionConfig {
    // Adaptive planning would replace parts of a plan that only its own nodes know.
    config.upgrade_for_ballista().with_ballista_adaptive_query_planner(false)
}

/// A plan for the scheduler at this URL, if it can go there.
pub fn planned(plan: Arc<dyn ExecutionPlan>, scheduler: &str) -> Arc<dyn ExecutionPlan> {
    match remote::travels(&plan) {
        true => Arc::new(remote::RemoteExec::new(plan, scheduler)),
        false => plan,
    }
}

/// A session's functions with those that our operators put into plans.
fn state(config: SessionConfig) -> Result<SessionState> {
    let mut state = SessionStateBuilder::new().with_config(config).with_default_features().build();
    super::json::register(&mut state)?;
    for function in packed::functions() {
        datafusion::execution::FunctionRegistry::register_udf(&mut state, Arc::new(function))?;
    }
    Ok(state)
}
