//! The `runs` table: one row per job run, whatever came of it.

use std::future::Future;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Schema, SchemaRef};

use super::job::{Job, Written, fingerprint};
use crate::clock;
use crate::define::types::timestamp;
use crate::error::Result;
use crate::lake::{Replace, TableSpec, Unit, documented};

/// Runs a job and records it, also when it fails. That it cannot be recorded fails a run that succeeded.
pub async fn recorded<F>(job: &Job, name: &str, work: F) -> Result<Vec<Written>>
where
    F: Future<Output = Result<Vec<Written>>>,
{
    let (started, clock) = (clock::now(), clock::instant());
    let outcome = work.await;
    let (lines, error): (&[Written], Option<String>) = match &outcome {
        Ok(lines) => (lines, None),
        Err(error) => (&[], Some(error.to_string())),
    };
    let code = outcome.as_ref().err().map_or(0, |e| e.kind().code());
    let text = |value: &str| Arc::new(StringArray::from(vec![value.to_string()])) as ArrayRef;
    let number = |value: i64| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
    let columns: Vec<ArrayRef> = vec![
        text(&job.run_id),
        text(name),
        Arc::new(Date32Array::from(vec![job.date.to_epoch_days()])),
        text(if code == 0 { "ok" } else { "failed" }),
        number(i64::from(code)),
        Arc::new(TimestampMicrosecondArray::from(vec![started.timestamp_micros()]).with_timezone("UTC")),
        Arc::new(Float64Array::from(vec![clock.elapsed().as_secs_f64()])),
        number(lines.iter().map(|line| line.rows as i64).sum()),
        number(lines.iter().map(|line| line.bytes as i64).sum()),
        number(peak_memory() as i64),
        text(&serde_json::to_string(lines)?),
        Arc::new(StringArray::from(vec![error])),
    ];
    let batch = RecordBatch::try_new(schema(), columns)?;
    let recorded = append(job, name, batch).await;
    match (outcome, recorded) {
        (Ok(lines), Ok(())) => Ok(lines),
        (Err(error), _) | (Ok(_), Err(error)) => Err(error),
    }
}

async fn append(job: &Job, name: &str, batch: RecordBatch) -> Result<()> {
    let spec = TableSpec {
        name: "runs".into(),
        description: "One row per job run.".into(),
        schema: schema(),
        partition_by: None,
        no_statistics: Vec::new(),
    };
    let mut writer = job.lake.writer(&spec).await?;
    writer.write(&batch).await?;
    let unit = Unit { key: format!("runs:{}:{name}", job.run_id), fingerprint: fingerprint(&[&job.run_id]) };
    writer.commit(Replace::Nothing, &unit, Default::default()).await?;
    Ok(())
}

fn schema() -> SchemaRef {
    let field = |name: &str, data_type: DataType, doc: &str| documented(name, data_type, name == "error", doc);
    Arc::new(Schema::new(vec![
        field("run_id", DataType::Utf8, "Shared by the jobs of one invocation."),
        field("job", DataType::Utf8, "ingest, tables, features, train, score."),
        field("logical_date", DataType::Date32, "The night."),
        field("status", DataType::Utf8, "ok or failed."),
        field("exit_code", DataType::Int64, "The documented exit code of this job."),
        field("started_at", timestamp(), "Wall clock."),
        field("seconds", DataType::Float64, "Wall time."),
        field("rows", DataType::Int64, "Rows written."),
        field("bytes", DataType::Int64, "Bytes written."),
        field("peak_memory", DataType::Int64, "Peak resident memory of the process so far, in bytes."),
        field("outputs", DataType::Utf8, "What was written, as JSON."),
        field("error", DataType::Utf8, "The error, if it failed."),
    ]))
}

/// Peak resident memory of this process in bytes.
pub fn peak_memory() -> u64 {
    // SAFETY: getrusage fills a struct of plain integers that we own, for which all zeros are valid.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    usage.ru_maxrss.max(0) as u64 * unit
}
