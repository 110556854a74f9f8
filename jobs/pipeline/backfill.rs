//! The `backfill` job: the nights of a range of dates, one after the other, for less than they cost one by one.
//!
//! ```text
//! once:       definitions ─ ingest of all files of all nights, each row known from its own night
//! per night:  tables
//! once:       features and sequences of all nights but the last, in one sweep each, several at a time
//! per night:  features that are left ─ train ─ gate ─ score ─ monitor
//! ```
//!
//! The result is that of the nights run in order. Working ahead changes no night, because every job reads the row
//! versions that its night knew; which days of a table a night changed is seen from when their rows became known. The
//! last night's features are computed as a night's are, with the states that the night after it starts from.
//!
//! It can be killed at any time. What a night's step has done is read from `runs`, where this backfill's runs go by a
//! name made of the dates and the definitions: with others, it is another backfill. Where the ingest finds new rows,
//! nothing counts as done, and every step looks for itself whether it has to do anything.

use std::collections::BTreeSet;
use std::time::Instant;

use arrow::array::AsArray;
use arrow::datatypes::Date32Type;
use chrono::NaiveDate;
use datafusion::prelude::col;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::features::definition::Definition;
use super::ingest::pending::{Pending, pending};
use super::job::{Job, Written, digest, hex};
use super::nightly::lines_of;
use super::progress::Step;
use super::runs::recorded;
use super::{features, gate, ingest, monitor, score, tables, train};
use crate::clock;
use crate::define::TextFile;
use crate::error::{Error, Kind, Result};

/// What a night does after the ingest, in this order.
pub const STEPS: [&str; 6] = ["tables", "features", "train", "gate", "score", "monitor"];

/// The first night and the last, and how many definitions of features are computed at a time.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    pub from: NaiveDate,
    pub to: NaiveDate,
    pub parallel: usize,
}

/// A night of the range.
#[derive(Debug, Clone, Serialize)]
pub struct Night {
    pub date: NaiveDate,
    /// Steps that an earlier run has done.
    pub done: Vec<&'static str>,
    /// Steps that this run did, or would do.
    pub steps: Vec<&'static str>,
    pub rows: u64,
    pub seconds: f64,
    /// Why a candidate was refused; that stops nothing.
    pub refused: Option<String>,
}

/// What a backfill is about to do.
#[derive(Debug, Serialize)]
pub struct Plan {
    pub ingest: Vec<Pending>,
    pub nights: Vec<Night>,
}

/// What it did.
#[derive(Debug, Default, Serialize)]
pub struct Filled {
    pub ingest: Vec<Written>,
    pub nights: Vec<Night>,
}

impl Range {
    /// # Errors
    /// `Definition` if it ends before it begins, or nothing may be computed at a time.
    pub fn new(from: NaiveDate, to: NaiveDate, parallel: usize) -> Result<Range> {
        if to < from {
            return Err(Error::definition(format!("the last night, {to}, is before the first, {from}")));
        }
        if parallel == 0 {
            return Err(Error::definition("--parallel is 0; at least 1 was expected"));
        }
        Ok(Range { from, to, parallel })
    }

    pub fn nights(&self) -> impl Iterator<Item = NaiveDate> {
        self.from.iter_days().take_while(move |date| *date <= self.to)
    }
}

/// How the ids of this backfill's runs begin: the same dates and definitions, the same name.
pub fn name(range: &Range, files: &[TextFile]) -> String {
    let (from, to) = (range.from.to_string(), range.to.to_string());
    let mut parts = vec![from.as_str(), &to];
    parts.extend(files.iter().flat_map(|file| [file.path.as_str(), &file.text]));
    format!("backfill-{}-", &hex(&digest(&parts))[..12])
}

/// What [`run`] would do; nothing is written.
pub async fn plan(job: &Job, range: &Range, name: &str) -> Result<Plan> {
    let ingest: Vec<Pending> =
        pending(&at(job, range.to, name)).await?.into_iter().filter(|pending| pending.files > 0).collect();
    let done = done(job, name).await?;
    let nights = range.nights().map(|date| night(date, if ingest.is_empty() { Some(&done) } else { None })).collect();
    Ok(Plan { ingest, nights })
}

/// Runs what is not done yet.
///
/// # Errors
/// What the first step that fails says; the steps before it are done. A refused candidate is no error here.
pub async fn run(job: &Job, range: &Range, name: &str) -> Result<Filled> {
    let mut filled = Filled::default();
    let done = done(job, name).await?;
    let ingested = done.contains(&("ingest".to_string(), range.from));
    let first = at(job, range.from, name);
    let unfinished = if ingested { "" } else { name };
    let ingest = async { Ok(lines_of(ingest::through(&first, range.to, unfinished).await?)) };
    filled.ingest = recorded(&first, "ingest", ingest).await?;
    let is_new = filled.ingest.iter().any(|line| line.rows > 0 || line.status.starts_with("written"));
    let nights: Vec<Night> = range.nights().map(|date| night(date, (!is_new).then_some(&done))).collect();
    let total: u64 = nights.iter().map(|night| night.steps.len() as u64).sum();
    let steps = job.progress.steps(format!("backfill of {} nights", nights.len()), total);
    let mut done = Progress { steps: &steps, started: clock::instant(), done: 0, total };
    let mut failed = None;
    filled.nights = nights;
    for night in &mut filled.nights {
        if let Err(error) = some(&at(job, night.date, name), range, night, &["tables"], &mut done).await {
            failed = Some((night.date, error));
            break;
        }
    }
    // What comes before a night that failed is finished.
    if let Some((date, _)) = &failed {
        filled.nights.retain(|night| night.date < *date);
    }
    ahead(&at(job, range.from, name), range, &filled.nights).await?;
    for night in filled.nights.iter_mut().filter(|night| !night.steps.is_empty()) {
        some(&at(job, night.date, name), range, night, &STEPS[1..], &mut done).await?;
        done.say(night);
    }
    let finished = filled.nights.iter().filter(|night| !night.steps.is_empty()).count();
    steps.done(&format!("{finished} done now, {} before", filled.nights.len() - finished));
    failed.map_or(Ok(filled), |(_, error)| Err(error))
}

/// The features of all nights whose features are to be computed, but for the last: it leaves the states.
async fn ahead(job: &Job, range: &Range, nights: &[Night]) -> Result<()> {
    let mut dates: Vec<NaiveDate> =
        nights.iter().filter(|night| night.steps.contains(&"features")).map(|night| night.date).collect();
    dates.pop();
    if dates.is_empty() || job.full {
        return Ok(());
    }
    let (shared, at_a_time) = shared(job, range.parallel);
    let work = async {
        let (shared, dates) = (&shared, &dates);
        let lines = stream::iter(Definition::all(shared))
            .map(|definition| features::ahead::nights(shared, definition, dates))
            .buffered(at_a_time)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(lines.into_iter().flatten().collect())
    };
    recorded(job, "features-ahead", work).await.map(drop)
}

/// Steps that are done and to be done.
struct Progress<'a> {
    steps: &'a Step,
    started: Instant,
    done: u64,
    total: u64,
}

impl Progress<'_> {
    fn advance(&mut self) {
        self.done += 1;
        self.steps.advance(1);
    }

    /// How long the rest takes, if it takes as long a step as those before.
    fn say(&self, night: &Night) {
        let (done, left) = (self.done.max(1) as f64, (self.total - self.done) as f64);
        let left = format!("about {} left", duration(self.started.elapsed().as_secs_f64() / done * left));
        let (done, total) = (self.done, self.total);
        tracing::info!(date = %night.date, seconds = night.seconds, "night done, {done} of {total} steps; {left}");
    }
}

/// Those of these steps that a night has to do.
async fn some(job: &Job, range: &Range, night: &mut Night, steps: &[&str], progress: &mut Progress<'_>) -> Result<()> {
    let clock = clock::instant();
    for step in night.steps.clone().into_iter().filter(|step| steps.contains(step)) {
        let outcome = match step {
            "tables" => recorded(job, step, tables::run(job)).await,
            "features" => recorded(job, step, all_features(job, range.parallel)).await,
            "train" => recorded(job, step, train::run(job)).await,
            "gate" => recorded(job, step, gate::run(job, &mut Vec::new())).await,
            "score" => recorded(job, step, score::run(job)).await,
            _ => recorded(job, step, monitor::run(job)).await,
        };
        match outcome {
            Ok(lines) => night.rows += lines.iter().map(|line| line.rows).sum::<u64>(),
            Err(error) if error.kind() == Kind::Gate => night.refused = Some(error.to_string()),
            // What drifted in a night long ago is recorded, and keeps no later one from being computed.
            Err(error) if *step == *"monitor" && error.kind() == Kind::Data => {
                tracing::warn!(date = %night.date, "{error}")
            }
            Err(error) => return Err(error.context(format!("the night of {}", night.date))),
        }
        progress.advance();
    }
    night.seconds = ((night.seconds + clock.elapsed().as_secs_f64()) * 1000.0).round() / 1000.0;
    Ok(())
}

/// Features and sequences are independent of each other: several at a time share the memory of one.
async fn all_features(job: &Job, parallel: usize) -> Result<Vec<Written>> {
    let project = &job.project;
    let names = project.groups.keys().chain(project.sequences.keys()).chain(project.sql_features.keys());
    let names: Vec<&String> = names.filter(|name| job.selected(name)).collect();
    let (shared, at_a_time) = shared(job, parallel.min(names.len()));
    let lines = stream::iter(names)
        .map(|name| {
            let one = Job { select: vec![name.clone()], ..shared.clone() };
            async move { features::run(&one).await }
        })
        .buffered(at_a_time)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(lines.into_iter().flatten().collect())
}

/// What each of several has of threads and memory.
fn shared(job: &Job, parallel: usize) -> (Job, usize) {
    let at_a_time = parallel.max(1);
    let mut shared = job.clone();
    if at_a_time > 1 {
        shared.profile.threads = Some((job.threads() / at_a_time).max(1));
        shared.profile.memory_limit = job.profile.memory_limit.map(|limit| limit.shared(at_a_time));
    }
    (shared, at_a_time)
}

/// The job of one night, as an attempt of this backfill.
fn at(job: &Job, date: NaiveDate, name: &str) -> Job {
    let attempt = job.run_id.get(..8).unwrap_or(&job.run_id);
    Job { date, run_id: format!("{name}{attempt}-{date}"), ..job.clone() }
}

fn night(date: NaiveDate, done: Option<&BTreeSet<(String, NaiveDate)>>) -> Night {
    let is_done = |step: &&'static str| done.is_some_and(|done| done.contains(&(step.to_string(), date)));
    let (done, steps) = STEPS.into_iter().partition(is_done);
    Night { date, done, steps, rows: 0, seconds: 0.0, refused: None }
}

/// Steps that a run of this backfill ended, by night. A refused candidate ends its step.
async fn done(job: &Job, name: &str) -> Result<BTreeSet<(String, NaiveDate)>> {
    let Some(snapshot) = job.lake.snapshot("runs").await? else { return Ok(BTreeSet::new()) };
    let session = job.session()?;
    let columns = ["run_id", "job", "logical_date", "exit_code"].map(col).to_vec();
    let batches = session.context().read_table(snapshot.provider()?)?.select(columns)?.collect().await?;
    let mut done = BTreeSet::new();
    for batch in &batches {
        let (ids, jobs) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
        let dates = batch.column(2).as_primitive::<Date32Type>();
        let codes = batch.column(3).as_primitive::<arrow::datatypes::Int64Type>();
        for row in 0..batch.num_rows() {
            let ended = [0, i64::from(Kind::Gate.code())].contains(&codes.value(row));
            if ended && ids.value(row).starts_with(name) {
                let date = NaiveDate::from_epoch_days(dates.value(row)).unwrap_or_default();
                done.insert((jobs.value(row).to_string(), date));
            }
        }
    }
    Ok(done)
}

/// `42 s`, `3 min`, `1.5 h`.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_its_first_and_last_night() {
        let day = |d| NaiveDate::from_ymd_opt(2024, 2, d).unwrap();
        let range = Range::new(day(28), day(28), 1).unwrap();
        assert_eq!(range.nights().collect::<Vec<_>>(), [day(28)]);
        assert_eq!(Range::new(day(27), day(29), 1).unwrap().nights().count(), 3);
        assert!(Range::new(day(2), day(1), 1).is_err() && Range::new(day(1), day(1), 0).is_err());
    }

    #[test]
    fn what_is_left_is_said_in_a_fitting_unit() {
        assert_eq!([duration(42.4), duration(150.0), duration(6000.0)], ["42 s", "2 min", "1.7 h"]);
    }
}
