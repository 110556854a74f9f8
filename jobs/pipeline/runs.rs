//! The `runs` table: one row per job run, whatever came of it.
//!
//! A run that ended well or failed writes its own row, with what it had read and written by then. One that was killed
//! cannot: the next run of any job finds its note ([`super::underway`]) and writes the row for it, as `lost`.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{
    ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Schema, SchemaRef};

use super::job::{Job, Written, fingerprint};
use super::ledger::Entries;
use super::metrics::{self, Ended};
use super::mlflow;
use super::rotation;
use super::underway::{self, Underway};
use crate::clock;
use crate::define::types::timestamp;
use crate::error::{Error, Result};
use crate::lake::{Replace, TableSpec, Unit, documented};

pub mod summary;

/// The exit code of a process that ended by SIGKILL, as shells give it.
const KILLED: u8 = 137;

/// Jobs after which there is something new to tell of models.
const TOLD: [&str; 2] = ["train", "gate"];

/// The status of a run that ended without a record, and what is known of it.
const LOST: &str = "lost";
const WHY_LOST: &str =
    "the process ended without a record: it was killed, or the machine stopped, or its disk was full";

/// Runs a job and records it, also when it fails. That it cannot be recorded fails a run that succeeded.
pub async fn recorded<F>(job: &Job, name: &str, work: F) -> Result<Vec<Written>>
where
    F: Future<Output = Result<Vec<Written>>>,
{
    let clock = clock::instant();
    let mut wrote = Vec::new();
    let outcome = record(job, name, work, clock, &mut wrote).await;
    metrics::write(&job.profile, &Ended::new(name, &outcome, clock.elapsed().as_secs_f64(), &wrote));
    if TOLD.contains(&name) {
        mlflow::tell(job).await;
    }
    outcome
}

/// What was written is in `wrote` whatever comes of it.
async fn record<F>(job: &Job, name: &str, work: F, clock: Instant, wrote: &mut Vec<Written>) -> Result<Vec<Written>>
where
    F: Future<Output = Result<Vec<Written>>>,
{
    record_lost(job).await?;
    let underway = Underway::begin(job, name).await?;
    // After the note: a rotation that begins now sees it, or this run sees the rotation's.
    if name != rotation::JOB
        && let Err(error) = rotation::refuse(&job.lake).await
    {
        underway.end(job).await?;
        return Err(error);
    }
    let _ = job.ledger.take();
    let outcome = match work.await {
        Err(error) => Err(job.lake.naming(error).await),
        ended => ended,
    };
    let mut done = job.ledger.take();
    if let Ok(lines) = &outcome {
        done.outputs = lines.clone();
    }
    wrote.clone_from(&done.outputs);
    let end = End { failure: outcome.as_ref().err().into(), seconds: clock.elapsed().as_secs_f64(), done };
    let recorded = match append(job, &underway, &end).await {
        Ok(()) => underway.end(job).await,
        failed => failed,
    };
    match (outcome, recorded) {
        (Ok(lines), Ok(())) => Ok(lines),
        (Err(error), _) | (Ok(_), Err(error)) => Err(error),
    }
}

/// A row for each run that was killed.
async fn record_lost(job: &Job) -> Result<()> {
    for run in underway::lost(job).await? {
        tracing::warn!(lost_run = run.run_id, job = run.job, date = %run.logical_date, "a run ended without a record");
        let failure = Failure { status: LOST, code: KILLED, error: Some(WHY_LOST.into()) };
        append(job, &run, &End { failure, seconds: 0.0, done: Entries::default() }).await?;
        run.end(job).await?;
    }
    Ok(())
}

/// What became of a run.
struct End {
    failure: Failure,
    seconds: f64,
    done: Entries,
}

struct Failure {
    status: &'static str,
    code: u8,
    error: Option<String>,
}

impl From<Option<&Error>> for Failure {
    fn from(error: Option<&Error>) -> Failure {
        match error {
            None => Failure { status: "ok", code: 0, error: None },
            Some(e) => Failure { status: "failed", code: e.kind().code(), error: Some(e.to_string()) },
        }
    }
}

async fn append(job: &Job, run: &Underway, end: &End) -> Result<()> {
    let spec = TableSpec {
        name: "runs".into(),
        description: "One row per job run.".into(),
        schema: schema(),
        partition_by: None,
        // Errors may quote rows.
        no_statistics: vec!["inputs".into(), "outputs".into(), "error".into()],
    };
    let mut writer = job.lake.writer(&spec).await?;
    writer.write(&row(job, run, end)?).await?;
    // One row per run and job, whoever writes it.
    let unit = Unit { key: format!("runs:{}:{}", run.run_id, run.job), fingerprint: fingerprint(&[&run.run_id]) };
    writer.commit(Replace::Nothing, &unit, Default::default()).await?;
    Ok(())
}

fn row(job: &Job, run: &Underway, end: &End) -> Result<RecordBatch> {
    let text = |value: &str| Arc::new(StringArray::from(vec![value.to_string()])) as ArrayRef;
    let number = |value: i64| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
    let Entries { inputs, outputs } = &end.done;
    let ours = run.run_id == job.run_id;
    let columns: Vec<ArrayRef> = vec![
        text(&run.run_id),
        text(&run.job),
        Arc::new(Date32Array::from(vec![run.logical_date.to_epoch_days()])),
        text(end.failure.status),
        number(i64::from(end.failure.code)),
        Arc::new(TimestampMicrosecondArray::from(vec![run.started_at.timestamp_micros()]).with_timezone("UTC")),
        Arc::new(Float64Array::from(vec![end.seconds])),
        number(outputs.iter().map(|line| line.rows as i64).sum()),
        number(outputs.iter().map(|line| line.bytes as i64).sum()),
        number(if ours { peak_memory() as i64 } else { 0 }),
        text(&serde_json::to_string(inputs)?),
        text(&serde_json::to_string(outputs)?),
        Arc::new(StringArray::from(vec![end.failure.error.clone()])),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}

fn schema() -> SchemaRef {
    let field = |name: &str, data_type: DataType, doc: &str| {
        let nullable = ["inputs", "error"].contains(&name);
        documented(name, data_type, nullable, doc)
    };
    Arc::new(Schema::new(vec![
        field("run_id", DataType::Utf8, "Shared by the jobs of one invocation."),
        field("job", DataType::Utf8, "ingest, tables, features, train, gate, score, monitor."),
        field("logical_date", DataType::Date32, "The night."),
        field(
            "status",
            DataType::Utf8,
            "ok, failed, or lost: the process ended without a record; a later run wrote it.",
        ),
        field("exit_code", DataType::Int64, "The documented exit code of this job; 137 of one that was lost."),
        field("started_at", timestamp(), "Wall clock."),
        field("seconds", DataType::Float64, "Wall time; 0 of a lost run."),
        field("rows", DataType::Int64, "Rows written."),
        field("bytes", DataType::Int64, "Bytes written."),
        field("peak_memory", DataType::Int64, "Peak resident memory of the process so far, in bytes."),
        field("inputs", DataType::Utf8, "Tables and their versions that were read, as JSON; of ingest see manifest."),
        field("outputs", DataType::Utf8, "What was written, as JSON; of a failed run, what it wrote before."),
        field("error", DataType::Utf8, "The error, if it failed."),
    ]))
}

/// Peak resident memory of this process in bytes. `getrusage` alone would also count what the process that started this
/// one held.
pub fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kernel = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    kernel.map_or_else(resource_usage, |kibibytes: u64| kibibytes * 1024)
}

/// As [`peak_memory`], where there is no `/proc`.
fn resource_usage() -> u64 {
    // SAFETY: getrusage fills a struct of plain integers that we own, for which all zeros are valid.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    usage.ru_maxrss.max(0) as u64 * unit
}
