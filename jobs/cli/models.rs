//! `scorehouse models`: which versions there are, and which of them is live.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{common, output};
use crate::error::Result;
use crate::pipeline::job::Job;
use crate::pipeline::models::{self, Listed, Promotion, Shown};
use crate::pipeline::open;
use crate::pipeline::progress::bytes;
use crate::pipeline::registry::Event;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Every version, its aliases, and what became of it.
    List(List),
    /// A version in full: events, metrics, inputs, files, and what the gate found.
    Show(Show),
    /// Make a version the champion that the gate has passed, or, by force, any.
    Promote(Promote),
    /// Make the previous champion the champion again.
    Rollback(Rollback),
}

#[derive(Debug, Args)]
struct List {
    /// These models only (names or globs; may be given several times).
    #[arg(long, value_name = "NAME")]
    select: Vec<String>,
    #[command(flatten)]
    shared: Shared,
}

#[derive(Debug, Args)]
struct Show {
    /// The model.
    model: String,
    /// A version, or an alias (default: the champion).
    version: Option<String>,
    #[command(flatten)]
    shared: Shared,
}

#[derive(Debug, Args)]
struct Promote {
    /// The model.
    model: String,
    /// A version, or an alias.
    version: String,
    /// Whatever the gate said; needs a reason.
    #[arg(long)]
    force: bool,
    /// Why; the registry keeps it.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Freeze it as the anchor too, which later candidates are held to.
    #[arg(long)]
    anchor: bool,
    #[command(flatten)]
    shared: Shared,
}

#[derive(Debug, Args)]
struct Rollback {
    /// The model.
    model: String,
    /// Why; the registry keeps it.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    shared: Shared,
}

#[derive(Debug, Args)]
struct Shared {
    /// The night from which it counts, or as of which it is shown (default: the last night that the lake knows of).
    #[arg(long, value_parser = common::date, value_name = "YYYY-MM-DD")]
    date: Option<NaiveDate>,
    /// Directory with sql/, features/ and models/.
    #[arg(long, default_value = ".", value_name = "DIR")]
    project: PathBuf,
    /// Results as JSON on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: common::Place,
}

impl Shared {
    /// What only looks sees the last night by itself.
    async fn job(&self, changes: bool, select: &[String]) -> Result<Job> {
        let profile = self.place.resolve()?;
        let mut job = open::job(profile, &self.project, self.date.unwrap_or(NaiveDate::MAX), select.to_vec())?;
        if changes && self.date.is_none() {
            job.date = models::last_night(&job).await?;
        }
        Ok(job)
    }
}

pub async fn run(arguments: Arguments) -> Result<()> {
    match arguments.what {
        What::List(List { select, shared }) => {
            let all = models::list(&shared.job(false, &select).await?).await?;
            say(&shared, &all, |all| list(all))
        }
        What::Show(Show { model, version, shared }) => {
            let shown = models::show(&shared.job(false, &[]).await?, &model, version.as_deref()).await?;
            say(&shared, &shown, show)
        }
        What::Promote(Promote { model, version, force, reason, anchor, shared }) => {
            let job = shared.job(true, &[]).await?;
            let how = Promotion { force, reason: reason.as_deref(), anchor };
            changed(&shared, &job, &models::promote(&job, &model, &version, how).await?)
        }
        What::Rollback(Rollback { model, reason, shared }) => {
            let job = shared.job(true, &[]).await?;
            changed(&shared, &job, &models::rollback(&job, &model, reason.as_deref()).await?)
        }
    }
}

fn say<T: Serialize>(shared: &Shared, value: &T, text: impl Fn(&T) -> String) -> Result<()> {
    match shared.json {
        true => output::print(&format!("{}\n", serde_json::to_string_pretty(value)?)),
        false => output::print(&text(value)),
    }
}

fn changed(shared: &Shared, job: &Job, events: &Vec<Event>) -> Result<()> {
    say(shared, events, |events: &Vec<Event>| {
        if events.is_empty() {
            return "Nothing to do: it is so already.\n".to_string();
        }
        let line =
            |event: &Event| format!("{} {} {}: {}\n", event.model, event.version, event.happened.name(), event.note);
        let lines: Vec<String> = events.iter().map(line).collect();
        format!("{}It counts from the night of {} on.\n", lines.concat(), job.date)
    })
}

fn list(all: &[Listed]) -> String {
    if all.is_empty() {
        return "There is no version yet.\n".to_string();
    }
    let line = |listed: &Listed| {
        let metric = |name: &str| listed.metrics[name].as_f64().map_or_else(String::new, |value| format!("{value:.4}"));
        vec![
            listed.model.clone(),
            listed.version.clone(),
            listed.aliases.join(", "),
            listed.last.to_string(),
            metric("roc_auc"),
            metric("average_precision"),
            listed.bytes.map_or("gone".to_string(), bytes),
            listed.note.clone(),
        ]
    };
    let head = ["model", "version", "aliases", "last", "roc auc", "avg precision", "size", "note"];
    output::columns(&head, all.iter().map(line), &[4, 5, 6])
}

fn show(shown: &Shown) -> String {
    let Shown { listed, files, inputs, search, events, gate } = shown;
    let aliases = if listed.aliases.is_empty() { "no alias".to_string() } else { listed.aliases.join(", ") };
    let mut text = format!("{} {}: {aliases}\n\n", listed.model, listed.version);
    let line =
        |event: &Event| vec![event.logical_date.to_string(), event.happened.name().to_string(), event.note.clone()];
    text += &output::columns(&["night", "event", "note"], events.iter().map(line), &[]);
    let metrics = listed.metrics.as_object().into_iter().flatten();
    let metrics = metrics.filter_map(|(name, value)| Some(vec![name.clone(), format!("{:.4}", value.as_f64()?)]));
    text += &format!("\n{}", output::columns(&["metric", "out of sample"], metrics, &[1]));
    let line = |(name, size): &(String, u64)| vec![name.clone(), bytes(*size)];
    text += &format!("\n{}", output::columns(&["file", "size"], files.iter().map(line), &[1]));
    text += &format!("\n{} inputs: {}\n", inputs.len(), inputs.join(", "));
    if let Some(found) = search {
        let default = found.default_value.map_or("none".to_string(), |value| format!("{value:.4}"));
        let (trials, pruned, failed) = (found.trials, found.pruned, found.failed);
        text += &format!(
            "\nSearch: trial {} of {trials} ({pruned} pruned, {failed} failed) reached {:.4}, the head as defined \
             {default}\n",
            found.best, found.value
        );
        let line = |(name, value): (&String, &serde_json::Value)| vec![name.clone(), value.to_string()];
        text += &output::columns(&["parameter", "found"], found.params.iter().map(line), &[]);
    }
    if let Some(verdict) = gate {
        text += &super::gate::text(std::slice::from_ref(verdict));
    }
    text
}
