//! The `ingest` job: new and changed raw files → versioned tables, one per source.
//!
//! ```text
//! list files ─ manifest? ─ new or changed ─ inspect: checksum, contract, days
//!                                              │
//!            quarantine/<source> ◀─ bad rows ─ read, derive, pseudonymise, split by day
//!                                              │
//!            tables/<source>     ◀──────────── versions: per day, against what is there
//!                                              │ one commit per source
//!            manifest            ◀──────────── one commit per run, last
//! ```
//!
//! Files are Parquet, Avro, CSV or JSON lines; `form` opens each and `convert` holds its values to the declared types. Every row
//! that is read becomes a version, is a duplicate, or goes to quarantine: each is counted on its own, and they must add
//! up. After the load a source is held to what it declares of freshness and volume (`expect`).
//!
//! A source is loaded wholly or not at all, but for files that it allows to be skipped; one that fails does not stop the
//! others. The manifest comes last: after a crash before it, the commit of the data says which files it held, and the
//! next run only writes the manifest.
//!
//! Known-from is logical. The night of a file is D, or the latest night ingested if that is later; on the first load of
//! a source (`first_load: by_day`) it is the day the file was delivered. Files without a date count, on the first
//! load, for the day of each row's event; reference data without a date counts as always known.

mod chunks;
mod contract;
mod convert;
mod expect;
mod faults;
mod form;
mod inspect;
mod key;
mod load;
mod manifest;
pub mod pending;
mod quarantine;
pub mod rekey;
mod rows;
#[cfg(test)]
mod tests;
mod versions;

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray};
use chrono::NaiveDate;

use self::expect::Checked;
use self::load::Loader;
use self::manifest::Manifest;
use super::job::{Job, end_of};
use super::progress::thousands;
use super::suppression::Suppressions;
use crate::clock;
use crate::define::Source;
use crate::define::source::FirstLoad;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::lake::{Lake, Raw, RawFile};

/// What became of one source.
#[derive(Debug, Clone, Default)]
pub struct SourceReport {
    pub source: String,
    /// New or changed files, read or recognised by their checksum.
    pub files: u64,
    pub read: u64,
    pub written: u64,
    pub duplicate: u64,
    pub quarantined: u64,
    /// Files that could not be read.
    pub unreadable: u64,
    /// Freshness and volume.
    pub checks: Vec<Checked>,
    /// Rows of erased entities.
    pub suppressed: u64,
    pub bytes: u64,
    pub seconds: f64,
    /// Of the table; `None` where there is none yet.
    pub version: Option<u64>,
    pub committed: bool,
    pub warnings: Vec<String>,
}

impl SourceReport {
    pub fn status(&self) -> String {
        let mut status = if self.committed { "written" } else { "unchanged" }.to_string();
        for warning in &self.warnings {
            status.push_str(&format!("; {warning}"));
        }
        status
    }
}

/// Where and for which night to ingest.
pub(crate) struct Night<'a> {
    pub lake: &'a Lake,
    pub raw: &'a Raw,
    pub session: &'a Session,
    pub date: NaiveDate,
    pub run_id: &'a str,
    /// Columns of entities, which have no statistics.
    pub entities: BTreeSet<String>,
    /// The key of pseudonyms.
    pub pii_key: Option<Vec<u8>>,
    /// The name of the environment variable it comes from, for messages.
    pub pii_variable: &'a str,
    /// Rows held at a time, about.
    pub rows_at_once: u64,
}

/// Ingests the selected sources.
///
/// # Errors
/// `Data` if files or rows of a source broke its contract, after the other sources were loaded; `Temporary` if storage
/// failed or another ingest ran at the same time.
pub async fn run(job: &Job) -> Result<Vec<SourceReport>> {
    through(job, job.date, "").await
}

/// Ingests the files of all nights from the job's to `last` at once. Rows are known from when the night of their file's
/// day would have known them, had the nights run one after the other. Nights of runs whose ids begin with `unfinished`
/// do not count as earlier ones: they were to do the same.
pub async fn through(job: &Job, last: NaiveDate, unfinished: &str) -> Result<Vec<SourceReport>> {
    let session = job.session()?;
    let night = Night {
        lake: &job.lake,
        raw: &job.raw,
        session: &session,
        date: job.date,
        run_id: &job.run_id,
        entities: job.project.entities().into_iter().map(String::from).collect(),
        pii_key: clock::env(&job.profile.pii_key).filter(|key| !key.is_empty()).map(String::into_bytes),
        pii_variable: &job.profile.pii_key,
        rows_at_once: chunks::CHUNK_ROWS,
    };
    let sources: Vec<&Source> = job.project.sources.values().filter(|source| job.selected(&source.name)).collect();
    let steps = job.progress.steps("ingest", sources.len() as u64);
    let span = Span { last, unfinished };
    let reports = ingest_span(&night, &sources, &span, || steps.advance(1)).await?;
    let (read, written) = reports.iter().fold((0, 0), |(read, written), r| (read + r.read, written + r.written));
    steps.done(&format!("{} rows read, {} written", thousands(read), thousands(written)));
    Ok(reports)
}

/// Which nights are ingested beside the first.
struct Span<'a> {
    last: NaiveDate,
    unfinished: &'a str,
}

/// Ingests sources one after the other; `advance` is called after each.
#[cfg(test)]
pub(crate) async fn ingest(night: &Night<'_>, sources: &[&Source], advance: impl Fn()) -> Result<Vec<SourceReport>> {
    ingest_span(night, sources, &Span { last: night.date, unfinished: "" }, advance).await
}

async fn ingest_span(
    night: &Night<'_>,
    sources: &[&Source],
    span: &Span<'_>,
    advance: impl Fn(),
) -> Result<Vec<SourceReport>> {
    let mut manifest = Manifest::load(night.lake, night.session).await?;
    for source in sources {
        manifest.recover(night.lake, &source.name).await?;
    }
    let suppressed = Suppressions::load(night.lake, night.session).await?;
    let latest = manifest.latest_night(span.unfinished).map_or(night.date, |latest| latest.max(night.date));
    let (mut reports, mut failures) = (Vec::new(), Vec::new());
    for source in sources {
        match one(night, source, &mut manifest, latest, span.last, &suppressed).await {
            Ok(report) => reports.push(report),
            Err(failure) => failures.push(failure.context(format!("source {}", source.name))),
        }
        advance();
    }
    manifest.commit(night.lake, night.session).await?;
    match combined(failures) {
        Some(failure) => Err(failure),
        None => Ok(reports),
    }
}

async fn one(
    night: &Night<'_>,
    source: &Source,
    manifest: &mut Manifest,
    latest: NaiveDate,
    last: NaiveDate,
    suppressed: &Suppressions,
) -> Result<SourceReport> {
    let started = clock::instant();
    let mut report = SourceReport { source: source.name.clone(), ..SourceReport::default() };
    let files = listed(night, source, manifest, last, &mut report).await?;
    let known = known_from(source, night.date, latest, manifest.is_first_load(&source.name));
    let key = key::fingerprint(night, source, manifest)?;
    let loader = Loader::new(night, source, known, key, suppressed)?;
    let loaded = loader.load(manifest, files, &mut report).await;
    report.seconds = started.elapsed().as_secs_f64();
    let (entries, loaded) = match loaded {
        Ok(entries) => (entries, Ok(())),
        Err((error, entries)) => (entries, Err(error)),
    };
    manifest.add(entries);
    loaded?;
    report.checks = expect::check(night, source).await?;
    expect::outcome(&report.checks)?;
    for warning in report.checks.iter().filter(|checked| checked.status == "warn").map(Checked::text) {
        tracing::warn!(source = source.name, "{warning}");
        report.warnings.push(warning);
    }
    Ok(report)
}

/// The files of a source up to the last night.
async fn listed(
    night: &Night<'_>,
    source: &Source,
    manifest: &Manifest,
    last: NaiveDate,
    report: &mut SourceReport,
) -> Result<Vec<RawFile>> {
    let mut files = night.raw.list(&source.location).await?;
    let all = files.len();
    files.retain(|file| file.date.is_none_or(|date| date <= last));
    let place = format!("{}/{}", night.raw.root().trim_end_matches('/'), source.location);
    if files.is_empty() && manifest.is_first_load(&source.name) && !source.optional {
        let later = if all > 0 { format!(" up to {last} ({all} are of later days)") } else { String::new() };
        return Err(Error::data(format!(
            "there are no files{later}\n  looked for: {place}\n  help: deliver them, correct `location` or `--raw`, or \
             say `optional: true`"
        )));
    }
    if source.location.contains("{date}") && !files.iter().any(|file| file.date == Some(night.date)) {
        let warning = format!("no file of {}", night.date);
        tracing::warn!(source = source.name, "{warning}: looked for {place}");
        report.warnings.push(warning);
    }
    Ok(files)
}

/// When the rows of a file are known from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownFrom {
    by_day: bool,
    is_static: bool,
    /// End of the night, in microseconds.
    tonight: i64,
}

/// The known-from of one file: an instant, or the end of each row's own day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    At(i64),
    OwnDay,
}

fn known_from(source: &Source, date: NaiveDate, latest: NaiveDate, first: bool) -> KnownFrom {
    KnownFrom {
        by_day: first && source.first_load == FirstLoad::ByDay,
        is_static: source.event_time.is_none(),
        tonight: end_of(latest.max(date)),
    }
}

impl KnownFrom {
    fn of(&self, date: Option<NaiveDate>) -> Known {
        match date {
            // A file of a later day is of a later night of the same run.
            _ if !self.by_day => Known::At(date.map_or(self.tonight, |date| end_of(date).max(self.tonight))),
            Some(date) => Known::At(end_of(date)),
            None if self.is_static => Known::At(0),
            None => Known::OwnDay,
        }
    }
}

/// A value as tables have it where its column is pseudonymised.
pub fn pseudonym(text: &str, key: &[u8]) -> Result<String> {
    let column: ArrayRef = Arc::new(StringArray::from(vec![text]));
    Ok(rows::pseudonyms(&column, key)?.as_string::<i32>().value(0).to_string())
}

/// One error of several, of the kind that matters most.
fn combined(mut failures: Vec<Error>) -> Option<Error> {
    if failures.len() < 2 {
        return failures.pop();
    }
    let kind = failures.iter().map(Error::kind).reduce(|a, b| a.worst(b))?;
    let texts: Vec<String> = failures.iter().map(Error::to_string).collect();
    Some(Error::new(kind, texts.join("\n")))
}
