//! What an executor does with a stage: what Ballista does, and errors keep their kinds on the way.
//!
//! Ballista hands the error of a task on as text. Whether data, a definition or the storage is to blame, and so the exit
//! code, is known here only: it is put behind the text, and read again by [`super::trouble`]. What Ballista itself
//! understands stays as it is: a stage that cannot fetch rows, a disk that fails, a task that was cancelled.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ballista_core::JobId;
use ballista_core::error::BallistaError;
use ballista_core::serde::protobuf::{RuntimeStatsReport, ShuffleWritePartition, TaskColumnStats, WindowStateReport};
use ballista_executor::execution_engine::{DefaultExecutionEngine, ExecutionEngine, QueryStageExecutor};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::prelude::SessionConfig;

use super::trouble::Told;
use crate::error::Error;

/// Ballista's own engine, whose errors are told. It makes a connection for each part that is fetched: the pool that keeps
/// them open is private to the engine which this one replaces.
#[derive(Default)]
pub struct Stages(DefaultExecutionEngine);

impl ExecutionEngine for Stages {
    fn create_query_stage_exec(
        &self,
        job: JobId,
        stage: usize,
        task: usize,
        partitions: Vec<usize>,
        plan: Arc<dyn ExecutionPlan>,
        work_dir: &str,
        config: &SessionConfig,
    ) -> Result<Arc<dyn QueryStageExecutor>> {
        let stage = self.0.create_query_stage_exec(job, stage, task, partitions, plan, work_dir, config)?;
        Ok(Arc::new(Stage(stage)))
    }
}

#[derive(Debug)]
struct Stage(Arc<dyn QueryStageExecutor>);

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl QueryStageExecutor for Stage {
    async fn execute_query_stage(&self, task: usize, context: Arc<TaskContext>) -> Result<Vec<ShuffleWritePartition>> {
        self.0.execute_query_stage(task, context).await.map_err(|error| match known(&error) {
            Some(error) => DataFusionError::External(Box::new(Told(error))),
            None => error,
        })
    }

    fn collect_plan_metrics(&self) -> Vec<MetricsSet> {
        self.0.collect_plan_metrics()
    }

    fn collect_runtime_stats_reports(&self) -> Vec<RuntimeStatsReport> {
        self.0.collect_runtime_stats_reports()
    }

    fn collect_window_state_reports(&self) -> Result<Vec<WindowStateReport>> {
        self.0.collect_window_state_reports()
    }

    fn collect_column_stats(&self) -> Vec<TaskColumnStats> {
        self.0.collect_column_stats()
    }
}

/// What a task failed with, in our terms; `None` where Ballista knows better.
fn known(error: &DataFusionError) -> Option<Error> {
    match error.find_root() {
        DataFusionError::IoError(_) => None,
        DataFusionError::External(inner) => match inner.downcast_ref::<BallistaError>() {
            Some(BallistaError::DataFusionError(inner)) => known(inner),
            Some(BallistaError::ArrowError(inner)) => Some(Error::of_arrow(inner)),
            Some(_) => None,
            None => Some(Error::of_datafusion(error)),
        },
        _ => Some(Error::of_datafusion(error)),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::error::ArrowError;

    use super::*;
    use crate::error::Kind;

    fn ballista(error: BallistaError) -> DataFusionError {
        DataFusionError::from(&Arc::new(error.into_datafusion()))
    }

    #[test]
    fn an_error_of_ours_is_known_through_the_shuffle_writer() {
        let ours = DataFusionError::External(Box::new(Error::data("user u1 has no country")));
        let error = known(&ballista(ours.into())).unwrap();
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Data, "user u1 has no country"));
    }

    #[test]
    fn an_error_of_a_row_is_one_of_data() {
        let cast = BallistaError::from(ArrowError::CastError("Cannot cast string 'cod' to Int64".into()));
        assert_eq!(known(&ballista(cast)).unwrap().kind(), Kind::Data);
    }

    #[test]
    fn what_ballista_tries_again_stays_its_own() {
        assert!(known(&ballista(BallistaError::FetchFailed("e".into(), 1, 2, "gone".into()))).is_none());
        assert!(known(&ballista(BallistaError::IoError(std::io::Error::other("disk")))).is_none());
        assert!(known(&ballista(BallistaError::Cancelled)).is_none());
    }
}
