//! What an ingest would read: files that the manifest does not know. Files are listed, none is opened.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use serde::Serialize;

use super::manifest::{Manifest, Seen};
use crate::define::Source;
use crate::error::{Context, Result};
use crate::pipeline::job::Job;

/// New and changed files of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pending {
    pub source: String,
    pub files: u64,
    pub bytes: u64,
    /// As many as earlier files of that size had; `None` on the first load.
    pub rows: Option<u64>,
    /// The days the files are of, which most of their rows are of too; `None` if they are of none.
    pub days: Option<BTreeSet<NaiveDate>>,
}

/// Per source, in the order of the project.
pub async fn pending(job: &Job) -> Result<Vec<Pending>> {
    let manifest = Manifest::load(&job.lake, &job.session()?).await?;
    let mut all = Vec::new();
    for source in job.project.sources.values() {
        all.push(one(job, source, &manifest).await.with_context(|| format!("source {}", source.name))?);
    }
    Ok(all)
}

async fn one(job: &Job, source: &Source, manifest: &Manifest) -> Result<Pending> {
    let mut files = job.raw.list(&source.location).await?;
    files.retain(|file| file.date.is_none_or(|date| date <= job.date));
    files.retain(|file| manifest.seen(&source.name, file) == Seen::No);
    let bytes = files.iter().map(|file| file.size).sum();
    let days: Option<BTreeSet<NaiveDate>> = files.iter().map(|file| file.date).collect();
    Ok(Pending {
        source: source.name.clone(),
        files: files.len() as u64,
        bytes,
        rows: manifest.rows_per_byte(&source.name).map(|rows| (rows * bytes as f64).round() as u64),
        days: days.filter(|_| source.event_time.is_some()),
    })
}
