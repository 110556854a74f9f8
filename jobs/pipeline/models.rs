//! `models list | show | promote | rollback`: what versions there are, and which of them is live.
//!
//! What is changed here counts from a night on: that of `--date`, or the last night that the lake knows of. A night that
//! is run again after it sees it.

use chrono::NaiveDate;
use serde::Serialize;
use serde_json::Value;

use super::artifacts;
use super::gate::{self, Verdict};
use super::job::Job;
use super::mlflow;
use super::registry::{self, Event, FORCED, Happened, History};
use crate::define::{Diagnostic, Model};
use crate::error::{Error, Result};
use crate::learn::search::Found;

/// A version of a model.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    pub model: String,
    pub version: String,
    /// Aliases that it holds now.
    pub aliases: Vec<&'static str>,
    pub trained: Option<NaiveDate>,
    /// trained, refused, promoted, demoted, anchored, rolled_back or erased.
    pub last: &'static str,
    pub metrics: Value,
    pub note: String,
    /// Of the artifact; `None` if it is gone.
    pub bytes: Option<u64>,
}

/// A version in full.
#[derive(Debug, Serialize)]
pub struct Shown {
    #[serde(flatten)]
    pub listed: Listed,
    /// Names and sizes.
    pub files: Vec<(String, u64)>,
    pub inputs: Vec<String>,
    /// What its search for parameters found.
    pub search: Option<Found>,
    pub events: Vec<Event>,
    pub gate: Option<Verdict>,
}

/// The last night that the lake knows of: of the registry, or of scores.
///
/// # Errors
/// `Data` if there was none.
pub async fn last_night(job: &Job) -> Result<NaiveDate> {
    let mut last: Option<NaiveDate> = None;
    for model in job.project.models.values() {
        let history = registry::history(job, &model.name).await?;
        last = last.max(history.events.iter().map(|event| event.logical_date).max());
        if let Some(scores) = job.lake.snapshot(&format!("scores/{}", model.name)).await? {
            last = last.max(scores.partitions().keys().filter_map(|night| night.parse().ok()).max());
        }
    }
    last.ok_or_else(|| Error::data("no model was trained yet\n  help: run `scorehouse train --date …` first"))
}

/// Every version of the selected models, the newest first.
pub async fn list(job: &Job) -> Result<Vec<Listed>> {
    let mut all = Vec::new();
    for model in job.project.models.values().filter(|model| job.selected(&model.name)) {
        let history = registry::history(job, &model.name).await?;
        for version in history.versions() {
            all.push(listed(job, model, &history, version).await?);
        }
    }
    Ok(all)
}

/// One version; the champion where none is named, or the candidate before there is one.
pub async fn show(job: &Job, model: &str, version: Option<&str>) -> Result<Shown> {
    let (model, history) = known(job, model).await?;
    let aliases = history.aliases();
    let version = match version {
        Some(version) => of(&history, model, version)?,
        None => aliases.champion.or(aliases.candidate).ok_or_else(|| unknown(&history, model, "champion"))?,
    };
    let files = artifacts::files(job, &model.name, &version).await?.unwrap_or_default();
    let artifact = crate::learn::artifact::Artifact::from_files(&files).ok();
    let inputs = artifact.as_ref().map(artifacts::inputs);
    Ok(Shown {
        listed: listed(job, model, &history, &version).await?,
        files: files.iter().map(|(name, bytes)| (name.clone(), bytes.len() as u64)).collect(),
        inputs: inputs.unwrap_or_default().iter().map(|input| input.name()).collect(),
        search: artifact.and_then(|artifact| artifact.report.search),
        events: history.events.iter().filter(|event| event.version == version).cloned().collect(),
        gate: gate::stored(job, model, &version).await?,
    })
}

async fn listed(job: &Job, model: &Model, history: &History, version: &str) -> Result<Listed> {
    let of = || history.events.iter().filter(|event| event.version == version);
    let trained = history.trained(version);
    let bytes = job.lake.stored(&format!("models/{}/{version}", model.name)).await?;
    Ok(Listed {
        model: model.name.clone(),
        version: version.to_string(),
        aliases: history.aliases().of(version),
        trained: trained.map(|event| event.logical_date),
        last: of().next_back().map_or("", |event| event.happened.name()),
        metrics: trained.and_then(|event| serde_json::from_str(&event.metrics).ok()).unwrap_or_default(),
        note: of().next_back().map_or_else(String::new, |event| event.note.clone()),
        bytes: (!bytes.is_empty()).then(|| bytes.iter().map(|object| object.bytes).sum()),
    })
}

/// How a version is promoted.
#[derive(Debug, Clone, Copy)]
pub struct Promotion<'a> {
    /// Whatever the gate said.
    pub force: bool,
    pub reason: Option<&'a str>,
    /// As the anchor, beside what it is.
    pub anchor: bool,
}

/// Makes a version the champion, the anchor, or both; what happened.
///
/// # Errors
/// `Definition` for a version that there is not, one that the gate did not pass without `force`, and force without a
/// reason; `Data` if its artifact cannot be read.
pub async fn promote(job: &Job, model: &str, version: &str, how: Promotion<'_>) -> Result<Vec<Event>> {
    let (model, history) = known(job, model).await?;
    let version = of(&history, model, version)?;
    let reason = how.reason.map(str::trim).filter(|reason| !reason.is_empty());
    if how.force && reason.is_none() {
        return Err(Error::definition("--force lacks its reason\n  expected: --reason TEXT, which the registry keeps"));
    }
    artifacts::load(job, model, &version).await?.scorer(1)?;
    let decide = |history: &History| {
        let aliases = history.aliases();
        let is_champion = aliases.champion.as_deref() == Some(&version);
        let mut events = Vec::new();
        if !is_champion {
            let passed = history.judged(&version).is_some_and(|event| event.happened == Happened::Promoted);
            let note = match (passed, how.force, reason) {
                (_, true, Some(reason)) => format!("{FORCED}{reason}"),
                (true, _, reason) => reason.unwrap_or("by hand; the gate passed it").to_string(),
                _ => return Err(not_passed(history, model, &version)),
            };
            events = registry::promotion(history, &version, &note);
        }
        if how.anchor && aliases.anchor.as_deref() != Some(&version) {
            events.retain(|event| event.happened != Happened::Anchored);
            events.push(event(&version, Happened::Anchored, reason.unwrap_or("by hand")));
        }
        Ok(events)
    };
    let events = registry::record(job, &model.name, decide).await?;
    mlflow::tell(job).await;
    Ok(events)
}

/// Makes `previous` the champion again, in one commit.
///
/// # Errors
/// `Definition` if there is no previous version; `Data` if its artifact cannot be read.
pub async fn rollback(job: &Job, model: &str, reason: Option<&str>) -> Result<Vec<Event>> {
    let (model, history) = known(job, model).await?;
    let back = |history: &History| {
        let aliases = history.aliases();
        aliases.champion.zip(aliases.previous).ok_or_else(|| {
            Error::definition(format!(
                "model {} has no previous version to go back to on {}\n  help: `scorehouse models list` shows what there \
                 is; `models promote` takes any of it",
                model.name, job.date
            ))
        })
    };
    let (_, previous) = back(&history)?;
    artifacts::load(job, model, &previous).await?.scorer(1)?;
    let note = reason.unwrap_or("by hand");
    let decide = |history: &History| {
        let (champion, previous) = back(history)?;
        let mut demoted = event(&champion, Happened::Demoted, &format!("rolled back: {note}"));
        demoted.alias = None;
        Ok(vec![event(&previous, Happened::RolledBack, note), demoted])
    };
    let events = registry::record(job, &model.name, decide).await?;
    mlflow::tell(job).await;
    Ok(events)
}

fn event(version: &str, happened: Happened, note: &str) -> Event {
    Event {
        version: version.to_string(),
        happened,
        alias: happened.alias().map(str::to_string),
        note: note.to_string(),
        ..Event::default()
    }
}

async fn known<'a>(job: &'a Job, model: &str) -> Result<(&'a Model, History)> {
    let found = job.project.models.get(model).ok_or_else(|| {
        let names = job.project.models.keys().map(String::as_str);
        let message = format!("there is no model called `{model}`");
        Error::definition(Diagnostic::new("MODEL", (0, 0), message).expected_one_of(model, names).to_string())
    })?;
    Ok((found, registry::history(job, model).await?))
}

/// A version by its name, or by an alias that it holds.
fn of(history: &History, model: &Model, asked: &str) -> Result<String> {
    let aliases = history.aliases();
    let named =
        history.versions().into_iter().find(|version| *version == asked || aliases.of(version).contains(&asked));
    match named {
        Some(version) if history.is_erased(version) => {
            Err(Error::data(format!("{version} of {} is gone: it named an erased entity", model.name)))
        }
        Some(version) => Ok(version.to_string()),
        None => Err(unknown(history, model, asked)),
    }
}

fn unknown(history: &History, model: &Model, asked: &str) -> Error {
    let message = format!("model {} has no version `{asked}`", model.name);
    Error::definition(
        Diagnostic::new("VERSION", (0, 0), message).expected_one_of(asked, history.versions()).to_string(),
    )
}

fn not_passed(history: &History, model: &Model, version: &str) -> Error {
    let found = match history.judged(version) {
        Some(event) => event.note.clone(),
        None => "it was not judged yet".to_string(),
    };
    Error::definition(format!(
        "{version} of {} has not passed the gate\n  found: {found}\n  expected: a version whose gate passed\n  help: \
         --force --reason TEXT promotes it all the same, and leaves the reason in the registry",
        model.name
    ))
}
