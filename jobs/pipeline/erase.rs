//! The `erase` job: nothing of an entity is left below the lake's root, and nothing of it comes back.
//!
//! ```text
//! find:   its column, keys and linked keys ─ every object scanned ─ tables, objects and raw files that hold it
//! erase:  suppression list ─ per table: rows out, log and old files away ─ other objects ─ `erasures`
//! prove:  every object scanned again: nothing
//! ```
//!
//! The suppression list is written first: from then on no ingest lets the entity in, whatever happens to this run. Each
//! step can be repeated, so a run that was killed is run again. A table that held the entity, now or in a version that
//! can still be read, loses its history: a checkpoint of the version without it becomes the first that can be read.
//! `erasures` says so, and a replay from before is answered by it.
//!
//! Tables are rewritten in the order in which they are made of each other, and a commit that takes rows out says of its
//! inputs the versions without them. So the next night finds them as it left them.

mod needle;
mod record;
mod scan;
mod subject;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use self::needle::Needle;
use self::scan::{Found, Rule};
use self::subject::Subject;
use super::job::Job;
use super::progress::{bytes, thousands};
use super::registry;
use super::suppression::{self, Suppressions};
use super::underway;
use crate::clock;
use crate::error::{Error, Result};
use crate::lake::Stored;

pub(super) use needle::{each_text, renamed};
pub use record::TABLE;
pub(super) use scan::look_through;
pub(super) use table::{Versions, follow, forget};

/// A table that holds, or held, the entity.
#[derive(Debug, Clone, Serialize)]
pub struct Erased {
    pub table: String,
    /// Rows of the newest version that go, and texts of others in which the key is replaced.
    pub rows: u64,
    pub texts: u64,
    /// Files and log entries of earlier versions that hold it.
    pub history: u64,
    /// The first version that can be read afterwards; `None` in a dry run.
    pub first_version: Option<u64>,
}

/// What was looked through, and what was found there.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Proof {
    pub objects: u64,
    pub bytes: u64,
    pub found: u64,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    pub tables: Vec<Erased>,
    /// Objects of no table that hold it, such as artifacts and reports: they are removed.
    pub objects: Vec<String>,
    /// Raw files that hold it; they are their owner's to clean.
    pub raw: Vec<String>,
    /// Values that ingest leaves out from now on.
    pub suppressed: u64,
    /// Of the lake as it is when this is said.
    pub proof: Proof,
}

/// Erases an entity, or says what would go.
///
/// # Errors
/// `Definition` if it is not clear which entity is meant; `Temporary` if something of it was written meanwhile: run it
/// again.
pub async fn run(job: &Job, entity: &str, dry_run: bool) -> Result<Report> {
    if !dry_run {
        alone(job).await?;
    }
    let subject = Subject::find(job, entity).await?;
    let step = job.progress.step("erase: looking for it");
    let scanned = scan(job, &subject).await?;
    let mut report = Report { proof: proof(&scanned), ..Report::default() };
    report.raw = raw(job, &subject).await?;
    step.done(&format!("{} objects, {}", thousands(report.proof.objects), bytes(report.proof.bytes)));
    report.suppressed = subject.suppressed().values().map(|values| values.len() as u64).sum();
    let holding: Vec<&Scanned> = scanned.iter().filter(|scanned| !scanned.found.is_none()).collect();
    let others = holding.iter().filter(|scanned| scanned.table.is_none());
    report.objects = others.map(|scanned| scanned.object.name.clone()).collect();
    if !dry_run {
        let mut list = Suppressions::load(&job.lake, &job.session()?).await?;
        list.add(&job.lake, &subject.suppressed(), (job.date, &job.run_id)).await?;
    }
    let mut versions = BTreeMap::new();
    for table in in_order(job, &job.lake.tables().await?) {
        let step = job.progress.step(format!("erase from {table}"));
        let held: Vec<&Scanned> = holding.iter().copied().filter(|s| s.table.as_deref() == Some(&table)).collect();
        let Some(erased) = table::erase(job, &subject, &table, &held, &mut versions, dry_run).await? else {
            step.done("it is not there");
            continue;
        };
        step.done(&format!("{} rows, {} of its history", thousands(erased.rows), thousands(erased.history)));
        report.tables.push(erased);
    }
    if dry_run {
        return Ok(report);
    }
    remove_objects(job, &holding).await?;
    prove(job, &subject, &mut report).await?;
    Ok(report)
}

/// Nobody else writes; then what is half-written is nobody's, and goes.
async fn alone(job: &Job) -> Result<()> {
    if let Some(other) = underway::live(job).await?.first() {
        let (name, date) = (&other.job, other.logical_date);
        let message = format!("the job {name} of {date} is under way (run {})", other.run_id);
        return Err(Error::temporary(format!("{message}\n  help: run this again when it has ended")));
    }
    job.lake.sweep(clock::now() + TimeDelta::days(1)).await?;
    Ok(())
}

/// An object, and what of it is the entity's.
struct Scanned {
    object: Stored,
    table: Option<String>,
    found: Found,
}

/// Every object below the lake's root, but for raw files where they lie there.
async fn scan(job: &Job, subject: &Subject) -> Result<Vec<Scanned>> {
    let tables = job.lake.tables().await?;
    let mut rules: BTreeMap<String, Rule> = BTreeMap::new();
    for table in &tables {
        if let Some(snapshot) = job.lake.snapshot(table).await? {
            rules.insert(table.clone(), table::rule(job, subject, &snapshot));
        }
    }
    let plain = Rule { needle: needle(subject), of_table: false, column: None, fields: BTreeMap::new(), listed: None };
    let objects = objects(job).await?.into_iter();
    let work = objects.map(|object| {
        let table = tables.iter().find(|table| object.name.starts_with(&format!("{table}/"))).cloned();
        let rule = table.as_ref().and_then(|table| rules.get(table)).unwrap_or(&plain).clone();
        async move {
            let Some(content) = job.lake.content(&object).await? else { return Ok(None) };
            let name = object.name.clone();
            let found = tokio::task::spawn_blocking(move || rule.scan(&name, &content)).await;
            let found = found.map_err(|e| Error::internal(format!("a scan ended: {e}")))??;
            Ok::<_, Error>(Some(Scanned { object, table, found }))
        }
    });
    let scanned = stream::iter(work).buffered(job.threads()).try_collect::<Vec<_>>().await?;
    Ok(scanned.into_iter().flatten().collect())
}

/// What lies below the lake's root, but for raw files.
pub(super) async fn objects(job: &Job) -> Result<Vec<Stored>> {
    let raw = job.raw.url()?;
    let raw = raw.as_str().strip_prefix(job.lake.url().as_str());
    let raw = raw.filter(|raw| !raw.is_empty());
    let outside = |object: &Stored| !raw.is_some_and(|raw| object.name.starts_with(raw));
    Ok(job.lake.stored("").await?.into_iter().filter(outside).collect())
}

fn proof(scanned: &[Scanned]) -> Proof {
    Proof {
        objects: scanned.len() as u64,
        bytes: scanned.iter().map(|scanned| scanned.object.bytes).sum(),
        found: scanned.iter().map(|s| s.found.rows + s.found.texts + s.found.states + s.found.places).sum(),
    }
}

/// Scans once more, and records what was done and that nothing is left.
async fn prove(job: &Job, subject: &Subject, report: &mut Report) -> Result<()> {
    let step = job.progress.step("erase: proving it");
    let scanned = scan(job, subject).await?;
    report.proof = proof(&scanned);
    let left: Vec<&str> =
        scanned.iter().filter(|s| !s.found.is_none()).map(|scanned| scanned.object.name.as_str()).collect();
    step.done(&format!("found {} times in {} objects", report.proof.found, thousands(report.proof.objects)));
    if !left.is_empty() {
        let message = format!("the entity is still in {}", left.join(", "));
        return Err(Error::temporary(format!("{message}\n  help: other jobs write at the same time; run this alone")));
    }
    let list = Suppressions::load(&job.lake, &job.session()?).await?;
    record::append(job, &subject.column, &list.hash(&subject.column, &subject.key)?, report).await
}

/// Removes what is of no table: a model's artifact as a whole, since it is checked as a whole.
async fn remove_objects(job: &Job, holding: &[&Scanned]) -> Result<()> {
    let mut models = BTreeSet::new();
    for scanned in holding.iter().filter(|scanned| scanned.table.is_none()) {
        match scanned.object.name.split('/').collect::<Vec<_>>().as_slice() {
            ["models", model, version, _, ..] => {
                models.insert((model.to_string(), version.to_string()));
            }
            _ => job.lake.remove(std::slice::from_ref(&scanned.object)).await?,
        }
    }
    for (model, version) in models {
        registry::erased(job, &model, &version, "its artifact named an erased entity").await?;
        job.lake.remove(&job.lake.stored(&format!("models/{model}/{version}")).await?).await?;
    }
    Ok(())
}

/// Raw files that name the entity, or rows of it.
async fn raw(job: &Job, subject: &Subject) -> Result<Vec<String>> {
    let mut found = BTreeSet::new();
    for source in job.project.sources.values() {
        let columns: BTreeSet<String> = source.columns.keys().cloned().collect();
        let column = subject.column_of(&job.project, &source.name, &columns).map(str::to_string);
        let values = column.as_deref().and_then(|column| subject.values_of(column)).cloned();
        let rule = Rule {
            needle: needle(subject),
            of_table: true,
            column: column.zip(values),
            fields: BTreeMap::new(),
            listed: None,
        };
        for file in job.raw.list(&source.location).await? {
            let (content, rule, path) = (job.raw.read(&file.path).await?, rule.clone(), file.path.clone());
            let scanned = tokio::task::spawn_blocking(move || rule.scan(&path, &content)).await;
            let scanned = scanned.map_err(|e| Error::internal(format!("a scan ended: {e}")))?;
            if !scanned?.is_none() {
                found.insert(file.path);
            }
        }
    }
    Ok(found.into_iter().collect())
}

fn needle(subject: &Subject) -> Needle {
    Needle::new(&subject.column, &subject.keys).but_not(&subject.others)
}

/// Sources, tables in the order in which they are made, then everything made of them.
pub(super) fn in_order(job: &Job, tables: &[String]) -> Vec<String> {
    let relations: Vec<String> = job.project.relations().map(|name| format!("tables/{name}")).collect();
    let first = relations.iter().filter(|name| tables.contains(name)).cloned();
    let rest =
        tables.iter().filter(|name| !relations.contains(name) && ![suppression::TABLE, TABLE].contains(&name.as_str()));
    first.chain(rest.cloned()).collect()
}
