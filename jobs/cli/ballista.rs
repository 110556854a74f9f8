//! `scorehouse ballista`: the processes of a cluster, for profiles with `engine: ballista`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{common, logs};
use crate::error::Result;
use crate::pipeline::ballista::{self, Executor, Scheduler};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Cut plans into stages, and hand them out.
    Scheduler(SchedulerArguments),
    /// Do what a scheduler hands out.
    Executor(ExecutorArguments),
}

#[derive(Debug, Args)]
struct SchedulerArguments {
    /// Where to listen. Whoever reaches it can read what executors can read: keep it inside a network of its own.
    #[arg(long, default_value = "127.0.0.1:50050", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Seconds without a sign of life after which an executor is lost, and its work is done again by another.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(5..))]
    executor_timeout: u64,
    /// How logs are written to stderr.
    #[arg(long, value_enum, default_value_t = common::LogFormat::Text)]
    log_format: common::LogFormat,
}

#[derive(Debug, Args)]
struct ExecutorArguments {
    /// Where to listen for those who fetch rows; the next port up takes the scheduler's calls.
    #[arg(long, default_value = "127.0.0.1:50051", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// By what name others reach this executor, if not by the address that it calls the scheduler from.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Where rows wait for their next stage, and queries spill.
    #[arg(long, value_name = "DIR")]
    work_dir: PathBuf,
    /// Tasks at a time; default: the profile's threads, or all cores.
    #[arg(long, value_name = "N")]
    tasks: Option<usize>,
    #[command(flatten)]
    place: common::Place,
}

pub async fn run(arguments: Arguments) -> Result<()> {
    match arguments.role {
        Role::Scheduler(SchedulerArguments { listen, executor_timeout, log_format }) => {
            logs::start(log_format)?;
            ballista::schedule(&Scheduler { listen, executor_timeout: Duration::from_secs(executor_timeout) }).await
        }
        Role::Executor(ExecutorArguments { listen, host, work_dir, tasks, place }) => {
            ballista::execute(&place.resolve()?, Executor { listen, host, work_dir, tasks }).await
        }
    }
}
