//! The `maintain` job: fewer and fuller files, a shorter log, and nothing kept longer than it may be asked for.
//!
//! ```text
//! per table:  pack small files ─ retention in the table's properties ─ checkpoint ─ cut the log ─ remove files
//! ```
//!
//! Packing changes no row, and no night can tell: a packed file goes by the names of what it was made of, and the commit
//! says again what the commit before it said. Rows of sources and SQL tables are put in the order of their event time.
//!
//! A version that was the newest at any time within `replay_retention` can still be read afterwards, so that whatever a
//! run as old as that had pinned is there. Versions before are gone as a whole, log entry and files.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use datafusion::logical_expr::{Expr, SortExpr};
use futures::StreamExt;
use serde::Serialize;
use serde_json::json;

use super::job::{Job, Written, fingerprint, quoted};
use super::progress::bytes;
use crate::clock;
use crate::engine::session::{Session, SessionOptions};
use crate::error::{Context, Error, Result};
use crate::lake::{History, Replace, Snapshot, Unit};

/// Smaller files are packed together, up to the size at which a writer closes a file.
const SMALL: u64 = 48 << 20;
/// Log entries after which a version is worth a checkpoint.
const ENTRIES: u64 = 10;
/// How old a file must be that no log entry names, before it counts as left over from a crash.
const SETTLED: TimeDelta = TimeDelta::days(1);

/// A table on storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Size {
    pub version: u64,
    /// Of the newest version.
    pub files: u64,
    pub bytes: u64,
    /// With the files of earlier versions, and those of none.
    pub stored_files: u64,
    pub stored_bytes: u64,
    pub log_entries: u64,
}

/// What upkeep made of a table, or would.
#[derive(Debug, Clone, Serialize)]
pub struct Kept {
    pub table: String,
    pub before: Size,
    /// The same as before in a dry run.
    pub after: Size,
    /// Small files that were packed.
    pub packed: u64,
    pub removed_files: u64,
    pub removed_bytes: u64,
    pub removed_entries: u64,
    /// The first version that can be read.
    pub readable_from: u64,
}

impl Kept {
    pub fn changed(&self) -> bool {
        self.packed + self.removed_files + self.removed_entries > 0
    }

    /// As a line of the run's record.
    pub fn written(&self) -> Written {
        let status = if self.changed() { "written" } else { "unchanged" };
        Written::unchanged(&self.table, status, Some(self.after.version)).detail("upkeep", json!(self))
    }
}

/// Every selected table of the lake, in the order of their names; `dry_run` only says what would be done.
///
/// # Errors
/// `Temporary` if somebody else wrote a table at the same time: run it again.
pub async fn run(job: &Job, dry_run: bool) -> Result<Vec<Kept>> {
    let mut all = Vec::new();
    for table in job.lake.tables().await?.into_iter().filter(|table| job.selected(table)) {
        all.extend(alone(job, &table, dry_run).await.with_context(|| format!("table {table}"))?);
    }
    if !dry_run {
        job.lake.sweep(clock::now() - SETTLED).await?;
    }
    Ok(all)
}

/// Where another upkeep cuts the log under this one, what is read may be gone.
async fn alone(job: &Job, table: &str, dry_run: bool) -> Result<Option<Kept>> {
    let history = job.lake.history(table).await?;
    match one(job, table, &history, dry_run).await {
        Err(error) if job.lake.history(table).await?.first() > history.first() => {
            Err(Error::temporary("somebody else maintained it at the same time: run this job again").caused_by(error))
        }
        ended => ended,
    }
}

async fn one(job: &Job, table: &str, found: &History, dry_run: bool) -> Result<Option<Kept>> {
    let Some(snapshot) = job.lake.snapshot(table).await? else { return Ok(None) };
    let step = job.progress.step(format!("maintain {table}"));
    let before = size(&snapshot, found);
    let small = snapshot.small_files(SMALL);
    if !dry_run {
        if !small.is_empty() {
            pack(job, &snapshot, small.values().flatten().cloned().collect()).await?;
        }
        now(job, table).await?.keep_history(job.profile.replay_retention.ceil_days()).await?;
    }
    let snapshot = now(job, table).await?;
    let mut history = job.lake.history(table).await?;
    let (oldest, settled) = bounds(job, &history, clock::now());
    let latest = snapshot.version();
    let is_due =
        latest > history.first() && (oldest == latest || latest >= history.last_checkpoint().unwrap_or(0) + ENTRIES);
    if is_due && !dry_run && history.last_checkpoint() != Some(latest) {
        snapshot.checkpoint().await?;
        history = job.lake.history(table).await?;
    }
    let cut = if is_due && oldest == latest { latest } else { history.cut(oldest) };
    let obsolete = history.obsolete(cut, settled).await?;
    if !dry_run {
        obsolete.remove(&job.lake).await?;
    }
    let after = if dry_run { before } else { size(&snapshot, &job.lake.history(table).await?) };
    let kept = Kept {
        table: table.to_string(),
        before,
        after,
        packed: small.values().map(|files| files.len() as u64).sum(),
        removed_files: obsolete.files.len() as u64,
        removed_bytes: obsolete.files.iter().map(|file| file.bytes).sum(),
        removed_entries: obsolete.log.len() as u64,
        readable_from: cut,
    };
    let (files, stored) = (kept.packed, bytes(kept.removed_bytes));
    step.done(&format!("{files} files packed, {stored} in {} files removed", kept.removed_files));
    Ok(Some(kept))
}

/// The oldest version that may be asked for, and before when a file of no version is of no run either.
fn bounds(job: &Job, history: &History, now: DateTime<Utc>) -> (u64, DateTime<Utc>) {
    let retention = TimeDelta::microseconds(job.profile.replay_retention.micros());
    let asked = now.checked_sub_signed(retention).unwrap_or(DateTime::<Utc>::MIN_UTC);
    (history.at(asked), now - SETTLED)
}

async fn now(job: &Job, table: &str) -> Result<Snapshot> {
    let snapshot = job.lake.snapshot(table).await?;
    snapshot.ok_or_else(|| Error::temporary(format!("table {table} went away while it was maintained")))
}

fn size(snapshot: &Snapshot, history: &History) -> Size {
    let (files, stored) = history.held();
    Size {
        version: snapshot.version(),
        files: snapshot.files() as u64,
        bytes: snapshot.bytes(),
        stored_files: files as u64,
        stored_bytes: stored,
        log_entries: history.entries() as u64,
    }
}

/// Small files into full ones, partition by partition, in one commit.
async fn pack(job: &Job, snapshot: &Snapshot, paths: BTreeSet<String>) -> Result<()> {
    let order = order(job, snapshot);
    let mut writer = snapshot.rewriter(true).await?;
    let mut said = snapshot.said().await?;
    if order.is_empty() {
        // Row after row as they are: by one thread, or they would come in another order each time.
        let session = Session::new(&SessionOptions::default())?;
        for path in snapshot.in_order(&paths) {
            let rows = session.context().read_table(snapshot.provider_of_files(&[path].into())?)?;
            let mut stream = rows.execute_stream().await?;
            while let Some(batch) = stream.next().await {
                writer.write(&batch?).await?;
            }
        }
    } else {
        let session = job.session()?;
        let rows = session.context().read_table(snapshot.provider_of_files(&paths)?)?.sort(order)?;
        let mut stream = rows.execute_stream().await?;
        while let Some(batch) = stream.next().await {
            writer.write(&batch?).await?;
        }
    }
    let names: Vec<&str> = paths.iter().map(String::as_str).collect();
    let unit = Unit { key: format!("maintain:{}", snapshot.table()), fingerprint: fingerprint(&names) };
    said.insert("packed".into(), json!({"files": paths.len(), "run_id": job.run_id}));
    writer.commit(Replace::Files { paths, rows_stay: true }, &unit, said).await?;
    Ok(())
}

/// Partition, event time, tie breaker and key of a source or SQL table; nothing for what the lake keeps of its own.
fn order(job: &Job, snapshot: &Snapshot) -> Vec<SortExpr> {
    let Some(name) = snapshot.table().strip_prefix("tables/") else { return Vec::new() };
    let key: &[String] = match (job.project.sources.get(name), job.project.tables.get(name)) {
        (Some(source), _) => &source.key,
        (None, Some(table)) => &table.key,
        (None, None) => &[],
    };
    let names = snapshot.partition_by().into_iter().chain(job.project.event_time(name));
    let names = names.chain(job.project.tie_breaker(name).iter().chain(key).map(String::as_str)).chain(["_known_from"]);
    let schema = snapshot.schema();
    let mut seen = BTreeSet::new();
    let known = names.filter(|name| schema.field_with_name(name).is_ok() && seen.insert(*name));
    known.map(|name| Expr::from(quoted(name)).sort(true, true)).collect()
}
