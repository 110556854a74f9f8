//! From a version of a table back to the versions it was made from, as commits recorded them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::error::{Error, Kind, Result};
use crate::lake::Snapshot;
use crate::pipeline::job::{Job, Pins};

/// A version of a table, and what its commit says of it.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Below the lake's root.
    pub table: String,
    pub version: u64,
    /// Of the run that made it; `None` where its log entry is gone, or does not say.
    pub run_id: Option<String>,
    /// Tables and their versions.
    pub made_from: BTreeMap<String, u64>,
    pub files: usize,
}

/// What was led back to so far, and what was not there.
pub struct Trail<'a> {
    job: &'a Job,
    pub steps: Vec<Step>,
    pub missing: Vec<String>,
}

/// The commit that made what a version holds.
pub struct Commit {
    pub version: u64,
    pub info: Map<String, Value>,
}

impl Commit {
    pub fn text(&self, key: &str) -> Option<&str> {
        self.info.get(key).and_then(Value::as_str)
    }

    /// Names and versions, as pins are named.
    pub fn inputs(&self) -> BTreeMap<String, u64> {
        let inputs = self.info.get("inputs").and_then(Value::as_object);
        let versions = inputs.into_iter().flatten().filter_map(|(name, v)| Some((name.clone(), v.as_u64()?)));
        versions.collect()
    }
}

/// Whether a commit is of several nights, this among them.
fn of_nights(info: &Map<String, Value>, date: &str) -> bool {
    info.get("nights").and_then(Value::as_array).is_some_and(|nights| nights.iter().any(|night| night == date))
}

impl<'a> Trail<'a> {
    pub fn new(job: &'a Job) -> Trail<'a> {
        Trail { job, steps: Vec::new(), missing: Vec::new() }
    }

    pub fn lacks(&mut self, what: impl Into<String>) {
        let what = what.into();
        if !self.missing.contains(&what) {
            self.missing.push(what);
        }
    }

    /// The last commit of one of these jobs at or before a snapshot; of this night and run, where they are given.
    pub async fn commit(
        &mut self,
        of: &Snapshot,
        jobs: &[&str],
        night: bool,
        run: Option<&str>,
    ) -> Result<Option<Commit>> {
        let date = self.job.date.to_string();
        let is = |info: &Map<String, Value>| {
            let text = |key: &str| info.get(key).and_then(Value::as_str);
            text("job").is_some_and(|job| jobs.contains(&job))
                && (!night || text("logical_date") == Some(&date) || of_nights(info, &date))
                && run.is_none_or(|run| text("run_id") == Some(run))
        };
        let found = of.commit_where(is).await?;
        if found.is_none() {
            let of_night = if night { format!(" of {date}") } else { String::new() };
            let (table, version, jobs) = (of.table(), of.version(), jobs.join(" or "));
            self.lacks(format!("{table} version {version}: no log entry of {jobs}{of_night} up to it is left"));
        }
        Ok(found.map(|(version, info)| Commit { version, info }))
    }

    /// A version of a table with all its files, or those of one partition; `None`, and a word on what is missing, where
    /// it is no longer whole.
    pub async fn open(&mut self, table: &str, version: u64, partition: Option<&str>) -> Result<Option<Snapshot>> {
        let snapshot = match self.job.lake.snapshot_at(table, version).await {
            Ok(Some(snapshot)) => snapshot,
            Ok(None) => {
                self.lacks(format!("{table} version {version}: there is no such table"));
                return Ok(None);
            }
            Err(e) if e.kind() == Kind::Temporary => return Err(e),
            Err(_) => {
                self.lacks(format!("{table} version {version}: its log entries are gone"));
                return Ok(None);
            }
        };
        let missing = snapshot.missing(partition).await?;
        for file in &missing {
            self.lacks(format!("{table} version {version}: its file {file} is gone"));
        }
        Ok(missing.is_empty().then_some(snapshot))
    }

    /// Notes a version and the commit that made it.
    pub fn note(&mut self, snapshot: &Snapshot, commit: Option<&Commit>) {
        self.steps.push(Step {
            table: snapshot.table().to_string(),
            version: snapshot.version(),
            run_id: commit.and_then(|commit| commit.text("run_id")).map(str::to_string),
            made_from: commit.map(Commit::inputs).unwrap_or_default(),
            files: snapshot.files(),
        });
    }

    /// Tables at the versions that a commit names, and all that those were made from; `None` where one of the tables
    /// themselves is not whole.
    pub async fn pins(&mut self, commit: &Commit) -> Result<Option<Pins>> {
        let mut pins = Pins::default();
        let inputs = commit.inputs();
        let mut open: Vec<(String, u64)> = inputs.clone().into_iter().rev().collect();
        while let Some((name, version)) = open.pop() {
            let path = path_of(&name);
            let is_input = inputs.get(&name) == Some(&version);
            if !is_input && self.steps.iter().any(|step| step.table == path && step.version == version) {
                continue;
            }
            let Some(snapshot) = self.open(&path, version, None).await? else { continue };
            let known = self.steps.iter().any(|step| step.table == path && step.version == version);
            if !known {
                let made = self.commit(&snapshot, &["tables", "ingest"], false, None).await?;
                open.extend(made.iter().flat_map(Commit::inputs));
                self.note(&snapshot, made.as_ref());
            }
            if is_input {
                pins.0.insert(name, snapshot);
            }
        }
        Ok((pins.0.len() == inputs.len()).then_some(pins))
    }
}

/// Where what is pinned under a name lies: tables go by their names alone.
pub fn path_of(name: &str) -> String {
    if name.contains('/') { name.to_string() } else { format!("tables/{name}") }
}

/// An error where something was missing, naming all of it.
pub fn whole(missing: &[String]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let help = "vacuum removes what is older than its retention; a backup of the lake may have it";
    let list: String = missing.iter().map(|what| format!("\n  missing: {what}")).collect();
    Err(Error::data(format!("the score cannot be followed back in full{list}\n  help: {help}")))
}
