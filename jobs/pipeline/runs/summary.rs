//! What the last runs of each job came to: from the `runs` table, and from the notes of runs that it does not tell of.
//!
//! A run that was killed is in the table only when another run has found its note. Whoever asks before that is told of
//! it all the same, as `lost`; a run that has not ended is `running`.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::super::query::Reader;
use super::super::underway::{self, Underway};
use super::{KILLED, LOST};
use crate::clock;
use crate::define::diagnostic::did_you_mean;
use crate::error::{Error, Result};

/// In the order of a night; others follow by name.
const NIGHT: [&str; 8] = ["ingest", "tables", "features", "train", "gate", "score", "monitor", "report"];

/// One run of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub run_id: String,
    #[serde(skip_serializing)]
    pub job: String,
    pub logical_date: NaiveDate,
    /// `ok`, `failed`, `lost` or `running`.
    pub status: String,
    /// None of a run that has not ended.
    pub exit_code: Option<i64>,
    pub started_at: DateTime<Utc>,
    /// Since it began, of a run that has not ended; 0 of one that was lost.
    pub seconds: f64,
    pub rows: u64,
    pub bytes: u64,
    /// Bytes.
    pub peak_memory: u64,
    #[serde(default)]
    pub error: Option<String>,
}

/// The last runs of a job, the oldest first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobRuns {
    pub job: String,
    pub runs: Vec<Run>,
}

impl JobRuns {
    pub fn count(&self, status: &str) -> usize {
        self.runs.iter().filter(|run| run.status == status).count()
    }
}

/// The last runs of every job, or of one; nothing of a lake in which nothing has run.
///
/// # Errors
/// `Definition` for a job that has never run where others have.
pub async fn last(reader: &Reader, job: Option<&str>, last: usize) -> Result<Vec<JobRuns>> {
    let mut jobs: BTreeMap<String, Vec<Run>> = BTreeMap::new();
    for run in recorded(reader, last).await?.into_iter().chain(unrecorded(reader).await?) {
        let runs = jobs.entry(run.job.clone()).or_default();
        // Its own record is newer than its note.
        if runs.iter().all(|other| other.run_id != run.run_id) {
            runs.push(run);
        }
    }
    for runs in jobs.values_mut() {
        runs.sort_by_key(|run| run.started_at);
        runs.drain(..runs.len().saturating_sub(last));
    }
    if let Some(job) = job
        && !jobs.is_empty()
        && !jobs.contains_key(job)
    {
        let names: Vec<&str> = jobs.keys().map(String::as_str).collect();
        let (help, names) = (did_you_mean(job, names.iter().copied()), names.join(", "));
        return Err(Error::definition(format!(
            "no run of a job `{job}` is recorded\n  expected: one of {names}{help}"
        )));
    }
    let mut jobs: Vec<JobRuns> = jobs.into_iter().map(|(job, runs)| JobRuns { job, runs }).collect();
    jobs.retain(|runs| job.is_none_or(|job| runs.job == job));
    jobs.sort_by_key(|runs| NIGHT.iter().position(|name| *name == runs.job).unwrap_or(NIGHT.len()));
    Ok(jobs)
}

/// What the table has.
async fn recorded(reader: &Reader, last: usize) -> Result<Vec<Run>> {
    if reader.lake().snapshot("runs").await?.is_none() {
        return Ok(Vec::new());
    }
    let mut answer = reader
        .ask(&format!(
            "select run_id, job, logical_date, status, exit_code, started_at, seconds, rows, bytes, peak_memory, error \
             from (select *, row_number() over (partition by job order by started_at desc, run_id) as nth from runs) \
             where nth <= {last}"
        ))
        .await?;
    let mut lines = arrow::json::LineDelimitedWriter::new(Vec::new());
    while let Some(batch) = answer.next().await {
        lines.write(&batch?)?;
    }
    lines.finish()?;
    let lines = lines.into_inner();
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| Ok(serde_json::from_slice(line)?)).collect()
}

/// What only a note tells of.
async fn unrecorded(reader: &Reader) -> Result<Vec<Run>> {
    let now = clock::now();
    let told = |(note, is_lost): (Underway, bool)| Run {
        status: if is_lost { LOST } else { "running" }.into(),
        exit_code: is_lost.then_some(i64::from(KILLED)),
        seconds: if is_lost { 0.0 } else { (now - note.started_at).num_milliseconds().max(0) as f64 / 1000.0 },
        error: is_lost.then(|| super::WHY_LOST.into()),
        run_id: note.run_id,
        job: note.job,
        logical_date: note.logical_date,
        started_at: note.started_at,
        rows: 0,
        bytes: 0,
        peak_memory: 0,
    };
    Ok(underway::all(reader.lake()).await?.into_iter().map(told).collect())
}
