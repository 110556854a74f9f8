//! The `nightly` job: ingest, tables, features, then per model train (when due), gate, score and monitor, then the
//! report.
//!
//! What is wrong with a candidate never stops scoring: the champion scores, and the exit code comes last. A report that
//! cannot be written fails no night: scores are what the night is for, and are committed by then. It is said as a
//! warning, as a line of the result, and in `runs`; `scorehouse report` writes it afterwards.

use serde_json::json;

use super::gate::{self, Verdict};
use super::job::{Job, Written};
use super::ledger::Entries;
use super::metrics::{self, Ended};
use super::openlineage::{self, End};
use super::runs::recorded;
use super::{features, ingest, monitor, report, score, tables, train};
use crate::clock;
use crate::error::{Error, Kind, Result};

/// The night's lines, what the gate found, and what is to be said after all was done.
#[derive(Debug, Default)]
pub struct Night {
    pub written: Vec<Written>,
    pub verdicts: Vec<Verdict>,
    pub errors: Vec<Error>,
}

impl Night {
    /// The error that decides the exit code.
    pub fn verdict(self) -> Result<()> {
        gate::worst(self.errors).map_or(Ok(()), Err)
    }
}

pub async fn run(job: &Job) -> Result<Night> {
    let clock = clock::instant();
    let mut night = Night::default();
    let told = openlineage::begin(job, "nightly").await;
    let part = Job { within: Some("nightly".into()), ..job.clone() };
    let outcome = steps(&part, &mut night).await;
    let mut ended = Ended::new("nightly", &outcome, clock.elapsed().as_secs_f64(), &night.written);
    if outcome.is_ok() {
        ended.code = night.errors.iter().map(Error::kind).reduce(Kind::worst).map_or(0, Kind::code);
    }
    metrics::write(&job.profile, &ended);
    if let Some(told) = told {
        let worst = night.errors.iter().find(|error| error.kind().code() == ended.code);
        let end = worst.map_or_else(|| End::of(&outcome), End::of_error);
        let done = Entries { outputs: night.written.clone(), ..Entries::default() };
        told.end(&end, &done).await;
    }
    outcome.map(|()| night)
}

async fn steps(job: &Job, night: &mut Night) -> Result<()> {
    night.written.extend(recorded(job, "ingest", ingest_lines(job)).await?);
    night.written.extend(recorded(job, "tables", tables::run(job)).await?);
    night.written.extend(recorded(job, "features", features::run(job)).await?);
    night.written.extend(recorded(job, "train", train::run(job)).await?);
    match recorded(job, "gate", gate::run(job, &mut night.verdicts)).await {
        Ok(lines) => night.written.extend(lines),
        // The candidate, its definition or its data are wrong: the champion is as it was, and scores.
        Err(error) if matches!(error.kind(), Kind::Gate | Kind::Definition | Kind::Data) => night.errors.push(error),
        Err(error) => return Err(error),
    }
    match recorded(job, "score", score::run(job)).await {
        Ok(lines) => night.written.extend(lines),
        Err(error) => {
            night.errors.push(error);
            return Ok(());
        }
    }
    match recorded(job, "monitor", monitor::run(job)).await {
        Ok(lines) => night.written.extend(lines),
        Err(error) => night.errors.push(error),
    }
    match recorded(job, "report", report::run(job)).await {
        Ok(lines) => night.written.extend(lines),
        Err(error) => {
            tracing::warn!(%error, "the report could not be written; the night's scores are there");
            night.written.push(Written::unchanged("reports", format!("failed: {error}"), None));
        }
    }
    Ok(())
}

/// Ingests the selected sources; a line per source.
pub async fn ingest_lines(job: &Job) -> Result<Vec<Written>> {
    Ok(lines_of(ingest::run(job).await?))
}

/// A line per source.
pub fn lines_of(reports: Vec<ingest::SourceReport>) -> Vec<Written> {
    reports
        .into_iter()
        .map(|report| {
            let mut line = Written::unchanged(format!("tables/{}", report.source), report.status(), report.version);
            line.rows = report.written;
            line.bytes = report.bytes;
            line.seconds = report.seconds;
            line.detail("files", json!(report.files))
                .detail("read", json!(report.read))
                .detail("duplicate", json!(report.duplicate))
                .detail("quarantined", json!(report.quarantined))
                .detail("unreadable", json!(report.unreadable))
                .detail("checks", json!(report.checks))
                .detail("suppressed", json!(report.suppressed))
        })
        .collect()
}
