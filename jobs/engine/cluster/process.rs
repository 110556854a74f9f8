//! The processes of a cluster: a scheduler and its executors, which know our operators and functions.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::error::BallistaError;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::start_server;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::SessionConfig;
use uuid::Uuid;

use super::codec::Codec;
use crate::error::{Error, Result};

/// The largest message between processes: plans name every file that they read.
const LARGEST_MESSAGE: u32 = 256 << 20;

/// Seconds between two signs of life of an executor: several of them fit into the shortest timeout of a scheduler.
const HEARTBEAT: u64 = 1;

/// A scheduler.
pub struct Scheduler {
    pub listen: SocketAddr,
    /// After how long without a sign of life an executor is lost, and its work done again by another.
    pub executor_timeout: Duration,
}

/// Schedules until the process is ended.
///
/// # Errors
/// Temporary: the address cannot be listened at.
pub async fn schedule(scheduler: &Scheduler) -> Result<()> {
    let seconds = scheduler.executor_timeout.as_secs().max(1);
    let config = SchedulerConfig {
        bind_host: scheduler.listen.ip().to_string(),
        bind_port: scheduler.listen.port(),
        external_host: scheduler.listen.ip().to_string(),
        scheduling_policy: TaskSchedulingPolicy::PullStaged,
        executor_timeout_seconds: seconds,
        no_executors_grace_period_seconds: seconds.max(60),
        expire_dead_executor_interval_seconds: (seconds / 4).max(1),
        grpc_server_max_decoding_message_size: LARGEST_MESSAGE,
        grpc_server_max_encoding_message_size: LARGEST_MESSAGE,
        override_config_producer: Some(Arc::new(|| super::config(SessionConfig::new()))),
        override_session_builder: Some(Arc::new(super::state)),
        override_physical_codec: Some(Arc::new(Codec::default())),
        ..SchedulerConfig::default()
    };
    let cluster = BallistaCluster::new_from_config(&config).await.map_err(failed)?;
    start_server(cluster, scheduler.listen, Arc::new(config)).await.map_err(failed)
}

/// An executor.
pub struct Executor {
    /// Host and port of the scheduler.
    pub scheduler: (String, u16),
    /// Where other executors and jobs fetch rows; the next port up takes the scheduler's calls.
    pub listen: SocketAddr,
    /// By what name others reach it, if not by the address that it calls the scheduler from.
    pub host: Option<String>,
    /// Tasks at a time.
    pub tasks: usize,
    /// Where rows wait for the next stage, and queries spill.
    pub work_dir: PathBuf,
    /// Bytes for all tasks together; `None`: no limit.
    pub memory_limit: Option<usize>,
    /// Makes the storage of the lake known.
    pub storage: Arc<dyn Fn(&RuntimeEnv) + Send + Sync>,
}

/// Executes until the process is ended.
///
/// # Errors
/// Temporary: no scheduler answers, or the address cannot be listened at.
pub async fn execute(executor: Executor) -> Result<()> {
    let work_dir = executor.work_dir.display().to_string();
    std::fs::create_dir_all(&executor.work_dir)
        .map_err(|e| Error::definition(format!("{work_dir}: cannot be made: {e}")))?;
    let functions = super::state(super::config(SessionConfig::new())).map_err(Error::from)?;
    let (storage, spill) = (executor.storage, work_dir.clone());
    let runtime = move |_: &SessionConfig| {
        let runtime = RuntimeEnvBuilder::new().with_temp_file_path(spill.clone()).build_arc()?;
        storage(&runtime);
        Ok(runtime)
    };
    let config = ExecutorProcessConfig {
        executor_id: Uuid::new_v4().to_string(),
        bind_host: executor.listen.ip().to_string(),
        external_host: executor.host,
        port: executor.listen.port(),
        grpc_port: executor.listen.port() + 1,
        scheduler_host: executor.scheduler.0,
        scheduler_port: executor.scheduler.1,
        scheduler_connect_timeout_seconds: 30,
        vcores: executor.tasks,
        task_scheduling_policy: TaskSchedulingPolicy::PullStaged,
        log_dir: None,
        work_dir: Some(work_dir),
        special_mod_log_level: String::new(),
        print_thread_info: false,
        log_rotation_policy: Default::default(),
        job_data_ttl_seconds: 24 * 3600,
        job_data_clean_up_interval_seconds: 600,
        grpc_max_decoding_message_size: LARGEST_MESSAGE,
        grpc_max_encoding_message_size: LARGEST_MESSAGE,
        grpc_server_config: Default::default(),
        executor_heartbeat_interval_seconds: HEARTBEAT,
        metric_collection_policy: Default::default(),
        memory_pool_size: Some(executor.memory_limit.unwrap_or(0) as u64),
        memory_pool_fraction: 1.0,
        session_runtime_cache_capacity: 16,
        override_execution_engine: None,
        override_function_registry: Some(Arc::new(BallistaFunctionRegistry::from(&functions))),
        override_runtime_producer: Some(Arc::new(runtime)),
        override_config_producer: Some(Arc::new(|| super::config(SessionConfig::new()))),
        override_logical_codec: None,
        override_physical_codec: Some(Arc::new(Codec::default())),
        override_arrow_flight_service: None,
        override_create_grpc_client_endpoint: None,
        client_ttl: 30,
        health: Default::default(),
    };
    start_executor_process(Arc::new(config)).await.map_err(failed)
}

fn failed(error: BallistaError) -> Error {
    Error::new(crate::error::Kind::Temporary, error.to_string())
}
