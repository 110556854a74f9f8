//! The key of pseudonyms is changed: `maintain --rotate-key` renames every pseudonym of the lake.
//!
//! A pseudonym is HMAC-SHA-256 of a value, and cannot be turned back. There are two ways to another key. One is to take
//! HMAC under the new key of the *old pseudonym*. That needs no raw file, but from then on every ingest needs both keys,
//! for ever, one more with each rotation: the old key could never be thrown away, which is what a rotation is for. So the
//! other way is taken: raw files hold the values still, each gives the old pseudonym and the new one, and the lake is
//! what it would be had it had the new key from the start. Values whose raw files are gone are found before anything is
//! changed, and refused; with `--accept-loss` their pseudonyms are nested after all, so that they join with each other
//! within the lake, and with nothing that is delivered later.
//!
//! ```text
//! raw files ─▶ old → new ─▶ scan of every object ─▶ lost? computed from? ─▶ (dry run ends here)
//! note ─▶ per table: rows renamed, one commit, history cut off ─▶ other objects ─▶ scan: 0 ─▶ note removed
//! ```
//!
//! Pseudonyms are renamed wherever they stand ([`words`]), in every column of every table: not what lineage says may hold
//! some, but what does. Lineage ([`flow`]) says what that cannot find: values computed from a pseudonym that are none,
//! and states that depend on the order of pseudonyms. Renamed files go by the names of what they were made of, and commits
//! say of their inputs the versions after the rotation: so no night can tell, and the next goes on from last night's
//! states. States of pseudonyms' own texts or order are dropped; that group's next night reads all rows.
//!
//! It can be killed at any instant. A note ([`mod@marker`]) says that it is under way; every other job is refused with 75
//! until it was run again to its end. Each table is renamed in one commit, which names the rotation, so that a run that
//! goes on knows what is done.

mod flow;
mod marker;
mod survey;
mod table;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::TimeDelta;
use serde::Serialize;

use self::flow::Flow;
use self::marker::Marker;
pub use self::marker::refuse;
use self::table::Rotation;
use self::words::Words;
use super::erase::{Proof, in_order};
use super::ingest::{pseudonym, rekey};
use super::job::Job;
use super::progress::{bytes, thousands};
use super::underway;
use crate::clock;
use crate::define::lineage::Graph;
use crate::error::{Error, Result};
use crate::lake::Stored;

/// How `runs` calls it.
pub const JOB: &str = "rotate-key";

/// What is asked for: names of environment variables, and whether what is lost may be.
#[derive(Debug, Clone)]
pub struct Request {
    pub old_key: String,
    pub new_key: String,
    pub accept_loss: bool,
}

/// A table that had old pseudonyms.
#[derive(Debug, Clone, Serialize)]
pub struct Rekeyed {
    pub table: String,
    /// Files of the newest version that were written anew; 0 where an earlier run did it.
    pub files: u64,
    /// Files and log entries of earlier versions, which are gone.
    pub history: u64,
    /// The first version that can be read; `None` in a dry run, and where earlier versions stay.
    pub first_version: Option<u64>,
}

#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Whether the lake had the new key already, or never any.
    pub nothing_to_do: bool,
    /// Whether an earlier run was killed, and this one went on.
    pub resumed: bool,
    /// Different values with an old and a new pseudonym.
    pub pseudonyms: u64,
    pub raw_files: u64,
    /// Raw files that could not be read.
    pub unreadable: Vec<String>,
    /// Where raw files lay that were ingested, and do not lie now.
    pub gone: Vec<String>,
    /// Pseudonyms whose values no raw file has, by column.
    pub lost: BTreeMap<String, u64>,
    /// Different values computed from pseudonyms that stay as they are, by column.
    pub computed: BTreeMap<String, u64>,
    pub tables: Vec<Rekeyed>,
    /// Tables of states that the next night makes anew.
    pub states: Vec<String>,
    /// Objects of no table.
    pub objects: Vec<String>,
    /// Of the lake as it is when this is said.
    pub proof: Proof,
}

/// An object, and how many old pseudonyms it has.
struct Scanned {
    object: Stored,
    table: Option<String>,
    found: u64,
    /// Of those, in columns of bytes.
    binary: u64,
}

/// Rotates, or says what would be done.
///
/// # Errors
/// `Definition` if a key is missing or not the lake's; `Data` if something would be lost; `Temporary` if another job is
/// under way.
pub async fn run(job: &Job, graph: &Graph, request: &Request, dry_run: bool) -> Result<Report> {
    let (old, new) = (rekey::key_in(&request.old_key)?, rekey::key_in(&request.new_key)?);
    if old == new {
        return Err(Error::definition(format!("{} and {} hold the same key", request.old_key, request.new_key)));
    }
    let keys = rekey::Keys { old, new };
    let begun = Marker::read(&job.lake).await?;
    let resumed = begun.is_some();
    let Some(mut marker) = marker(job, begun, &keys, request).await? else {
        return Ok(Report { nothing_to_do: true, ..Report::default() });
    };
    let mut report = Report { resumed, ..Report::default() };
    let mut words = Words::new(&marker.old_key, &marker.new_key);
    read_raw(job, &keys, &mut words, &mut report).await?;
    nest(&marker.lost, &keys, &mut words)?;
    let flow = Flow::of(graph);
    let states = flow.states(job, graph);
    let lost = look(job, (&marker.id, &words, &states), &flow, &mut report).await?;
    if !dry_run && !request.accept_loss {
        nothing_lost(&report)?;
    }
    marker.lost.extend(lost);
    nest(&marker.lost, &keys, &mut words)?;
    report.pseudonyms = words.len() as u64;
    let words = Arc::new(words);
    let step = job.progress.step("rotate key: looking for pseudonyms");
    let scanned = survey::scan(job, &words).await?;
    report.proof = proof(&scanned);
    step.done(&format!("{} objects, {}", thousands(report.proof.objects), bytes(report.proof.bytes)));
    if !dry_run {
        begin(job, &marker, resumed).await?;
    }
    let rotation = Rotation { job, id: &marker.id, words: &words, states: &states };
    change(&rotation, &scanned, dry_run, &mut report).await?;
    if !dry_run {
        prove(job, &words, &mut report).await?;
        Marker::remove(&job.lake).await?;
    }
    Ok(report)
}

/// The rotation that was begun, or a new one; `None` if there is nothing to rotate.
async fn marker(job: &Job, begun: Option<Marker>, keys: &rekey::Keys, request: &Request) -> Result<Option<Marker>> {
    if let Some(marker) = begun {
        marker.check(keys, (&request.old_key, &request.new_key))?;
        return Ok(Some(marker));
    }
    let Some(recorded) = rekey::recorded(job).await? else { return Ok(None) };
    if rekey::is_of(&recorded, &keys.new)? {
        return Ok(None);
    }
    if !rekey::is_of(&recorded, &keys.old)? {
        let message = format!("the key in {} is not the key of this lake", request.old_key);
        return Err(Error::definition(format!("{message}\n  expected: the key of the last night, as --old-key")));
    }
    Ok(Some(Marker::new(&job.run_id, &recorded, keys)?))
}

async fn read_raw(job: &Job, keys: &rekey::Keys, words: &mut Words, report: &mut Report) -> Result<()> {
    let sources = job.project.sources.values().filter(|source| rekey::columns(source).next().is_some());
    for source in sources {
        let step = job.progress.step(format!("rotate key: raw files of {}", source.name));
        let files = rekey::pairs(job, source, keys, |old, new| words.add(old, new)).await?;
        step.done(&format!("{} files, {} pseudonyms so far", thousands(files.read), thousands(words.len() as u64)));
        report.raw_files += files.read;
        report.unreadable.extend(files.unreadable);
        report.gone.extend(files.gone);
    }
    Ok(())
}

/// Pseudonyms of pseudonyms, where nothing else is left.
fn nest(lost: &[String], keys: &rekey::Keys, words: &mut Words) -> Result<()> {
    for old in lost {
        words.add(old, &pseudonym(old, &keys.new)?);
    }
    Ok(())
}

/// What would be lost; the pseudonyms without values are given.
async fn look(
    job: &Job,
    (id, words, states): (&str, &Words, &BTreeSet<String>),
    flow: &Flow,
    report: &mut Report,
) -> Result<BTreeSet<String>> {
    let rotation = Rotation { job, id, words, states };
    let lost = survey::lost(&rotation).await?;
    report.lost = lost.iter().map(|(column, values)| (column.clone(), values.len() as u64)).collect();
    if !report.resumed {
        let tables = job.lake.tables().await?;
        report.computed = survey::computed(&rotation, flow, &tables).await?;
    }
    Ok(lost.into_values().flatten().collect())
}

/// # Errors
/// `Data` with everything that would be.
fn nothing_lost(report: &Report) -> Result<()> {
    let list = |counts: &BTreeMap<String, u64>| {
        let texts: Vec<String> = counts.iter().map(|(column, n)| format!("{column} ({})", thousands(*n))).collect();
        texts.join(", ")
    };
    let mut text = String::new();
    if !report.lost.is_empty() {
        text += &format!("there are pseudonyms whose values no raw file has: {}", list(&report.lost));
        let files: Vec<&str> = report.gone.iter().chain(&report.unreadable).map(String::as_str).collect();
        text += &format!("\n  found: gone, changed or unreadable since they were ingested: {}", files.join(", "));
    }
    if !report.computed.is_empty() {
        let line = if text.is_empty() { "" } else { "\n" };
        text += &format!("{line}there are values computed from pseudonyms that are none: {}", list(&report.computed));
    }
    if text.is_empty() {
        return Ok(());
    }
    Err(Error::data(format!(
        "{text}\n  expected: raw files with every value\n  help: deliver the files again; or `--accept-loss`: pseudonyms \
         without values then join within this lake only, and computed values stay as they are; nothing was changed"
    )))
}

/// From here on no other job runs.
async fn begin(job: &Job, marker: &Marker, resumed: bool) -> Result<()> {
    let others = |live: Vec<underway::Underway>| {
        live.first().map_or(Ok(()), |other| {
            let (name, date) = (&other.job, other.logical_date);
            let message = format!("the job {name} of {date} is under way (run {})", other.run_id);
            Err(Error::temporary(format!("{message}\n  help: run this again when it has ended")))
        })
    };
    others(underway::live(job).await?)?;
    marker.write(&job.lake).await?;
    // Whoever began in between has left its note, or sees ours.
    if let Err(error) = others(underway::live(job).await?) {
        if !resumed {
            Marker::remove(&job.lake).await?;
        }
        return Err(error);
    }
    // Nobody else writes: what is half-written is nobody's.
    job.lake.sweep(clock::now() + TimeDelta::days(1)).await?;
    rekey::complete(job).await
}

async fn change(rotation: &Rotation<'_>, scanned: &[Scanned], dry_run: bool, report: &mut Report) -> Result<()> {
    let job = rotation.job;
    let mut versions = BTreeMap::new();
    for table in in_order(job, &job.lake.tables().await?) {
        let held: Vec<&Scanned> =
            scanned.iter().filter(|s| s.found > 0 && s.table.as_deref() == Some(&table)).collect();
        if rotation.drops(&table, &held) {
            report.states.push(table.clone());
        }
        let rekeyed = match dry_run {
            true => expected(job, &table, &held).await?,
            false => {
                let step = job.progress.step(format!("rotate key: {table}"));
                let rekeyed = rotation.table(&table, &held, &mut versions).await?;
                step.done(&rekeyed.as_ref().map_or("it has none".into(), |done| format!("{} files", done.files)));
                rekeyed
            }
        };
        report.tables.extend(rekeyed);
    }
    let others: Vec<&Scanned> = scanned.iter().filter(|s| s.found > 0 && s.table.is_none()).collect();
    report.objects = others.iter().map(|scanned| scanned.object.name.clone()).collect();
    if !dry_run {
        rename_objects(rotation, &others).await?;
    }
    Ok(())
}

/// What would be done to a table.
async fn expected(job: &Job, table: &str, held: &[&Scanned]) -> Result<Option<Rekeyed>> {
    let Some(snapshot) = job.lake.snapshot(table).await?.filter(|_| !held.is_empty()) else { return Ok(None) };
    let live = snapshot.objects()?;
    let files = held.iter().filter(|scanned| live.contains_key(&scanned.object.name)).count() as u64;
    let history = held.len() as u64 - files;
    Ok(Some(Rekeyed { table: table.to_string(), files, history, first_version: None }))
}

/// Reports, and artifacts of models whose categories are pseudonyms.
async fn rename_objects(rotation: &Rotation<'_>, others: &[&Scanned]) -> Result<()> {
    let lake = &rotation.job.lake;
    let mut artifacts = BTreeSet::new();
    for object in others.iter().map(|scanned| &scanned.object) {
        match object.name.split('/').collect::<Vec<_>>().as_slice() {
            ["models", model, version, _, ..] => {
                artifacts.insert(format!("models/{model}/{version}"));
            }
            _ => {
                let Some(content) = lake.content(object).await? else { continue };
                let text = String::from_utf8_lossy(&content);
                let renamed = rotation.words.renamed(&text).unwrap_or_else(|| text.clone().into_owned());
                lake.put_note(&object.name, renamed).await?;
            }
        }
    }
    for artifact in artifacts {
        lake.rewrite_files(&artifact, |text| rotation.words.renamed(text)).await?;
    }
    Ok(())
}

fn proof(scanned: &[Scanned]) -> Proof {
    Proof {
        objects: scanned.len() as u64,
        bytes: scanned.iter().map(|scanned| scanned.object.bytes).sum(),
        found: scanned.iter().map(|scanned| scanned.found).sum(),
    }
}

async fn prove(job: &Job, words: &Arc<Words>, report: &mut Report) -> Result<()> {
    let step = job.progress.step("rotate key: proving it");
    let scanned = survey::scan(job, words).await?;
    report.proof = proof(&scanned);
    step.done(&format!("{} old pseudonyms in {} objects", report.proof.found, thousands(report.proof.objects)));
    let left: Vec<&str> = scanned.iter().filter(|s| s.found > 0).map(|s| s.object.name.as_str()).collect();
    if left.is_empty() {
        return Ok(());
    }
    let message = format!("old pseudonyms are still in {}", left.join(", "));
    Err(Error::temporary(format!("{message}\n  help: somebody else wrote at the same time; run this again")))
}
