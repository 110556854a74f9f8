//! The processes of a cluster, from a profile: an executor reads the lake with the profile's own keys, so that none
//! travels.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::define::profile::Profile;
use crate::error::{Error, Result};

/// What a scheduler is told.
pub struct Scheduler {
    pub listen: SocketAddr,
    /// After how long without a sign of life an executor is lost.
    pub executor_timeout: Duration,
}

/// What an executor is told.
pub struct Executor {
    pub listen: SocketAddr,
    /// By what name others reach it.
    pub host: Option<String>,
    pub work_dir: PathBuf,
    /// Tasks at a time.
    pub tasks: Option<usize>,
}

/// Schedules until the process is ended.
#[cfg(feature = "ballista")]
pub async fn schedule(scheduler: &Scheduler) -> Result<()> {
    use crate::engine::cluster::process;

    tracing::info!("scheduling for executors and jobs at http://{}", scheduler.listen);
    let told = process::Scheduler { listen: scheduler.listen, executor_timeout: scheduler.executor_timeout };
    process::schedule(&told).await
}

/// Executes for the profile's scheduler until the process is ended.
#[cfg(feature = "ballista")]
pub async fn execute(profile: &Profile, executor: Executor) -> Result<()> {
    use std::sync::Arc;

    use super::open;
    use crate::engine::cluster::process;

    let Some(scheduler) = &profile.scheduler else {
        return Err(Error::definition(
            "the profile names no scheduler\n  help: `engine: ballista` and `scheduler: http://HOST:PORT`",
        ));
    };
    let lake = open::lake(profile)?;
    let told = process::Executor {
        scheduler: scheduler.host_and_port(),
        listen: executor.listen,
        host: executor.host,
        tasks: executor.tasks.unwrap_or_else(|| open::threads(profile)),
        work_dir: executor.work_dir,
        memory_limit: profile.memory_limit.map(|bytes| bytes.0),
        storage: Arc::new(move |runtime| lake.register(runtime)),
    };
    tracing::info!("executing up to {} tasks at a time for {scheduler}, at {}", told.tasks, told.listen);
    process::execute(told).await
}

#[cfg(not(feature = "ballista"))]
const ABSENT: &str = "this build knows no cluster\n  help: build with `cargo build --features ballista`";

/// Says that this build cannot.
#[cfg(not(feature = "ballista"))]
pub async fn schedule(_: &Scheduler) -> Result<()> {
    Err(Error::definition(ABSENT))
}

/// Says that this build cannot.
#[cfg(not(feature = "ballista"))]
pub async fn execute(_: &Profile, _: Executor) -> Result<()> {
    Err(Error::definition(ABSENT))
}
