//! What an MLflow server is told of models, where there is one.
//!
//! Neither training nor the gate knows of MLflow. After either, and after a promotion by hand, [`tell`] holds what the
//! registry says of a model against what the server says of it, and makes up the difference: a run with parameters,
//! metrics, plots and files for each version, a version of a registered model, the aliases.
//!
//! ```text
//! registry of the lake ─┐
//! artifact, verdict   ──┼─ what is missing? ─→ runs/create, log-batch, artifacts, model-versions/create, alias
//! registry of MLflow  ──┘
//! ```
//!
//! So what a server missed while it was down is told by the next night, and nothing is told twice: a version of ours is
//! known by its tag. A server that is down, slow or refuses costs a warning and a few seconds, and never a night.

mod client;
mod describe;

use std::collections::BTreeMap;
use std::time::Duration;

use self::client::{Server, Trouble};
use self::describe::Described;
use super::job::Job;
use super::registry::{self, Event, Happened, History};
use super::{artifacts, gate};
use crate::define::Model;
use crate::learn::artifact::Artifact;

pub use describe::files;

/// All that a night waits for MLflow, after a job.
const PATIENCE: Duration = Duration::from_secs(60);
/// Marks a run and a version of a registered model as one of ours.
const VERSION: &str = "scorehouse.version";
const MODEL: &str = "scorehouse.model";
/// Marks a run as one that has what the gate found.
const GATE: &str = "scorehouse.gate";

/// Tells the server that the environment names, if it names one, of the selected models.
pub async fn tell(job: &Job) {
    let server = match Server::of_environment() {
        Ok(Some(server)) => server,
        Ok(None) => return,
        Err(why) => return tracing::warn!("MLflow is not told: {why}"),
    };
    let all = async {
        for model in job.project.models.values().filter(|model| job.selected(&model.name)) {
            one(job, &server, model).await.map_err(|trouble| (model.name.clone(), trouble))?;
        }
        Ok(())
    };
    match tokio::time::timeout(PATIENCE, all).await {
        Ok(Ok(())) => {}
        // Who is down for one model is down for all.
        Ok(Err((model, Trouble { message, .. }))) => {
            tracing::warn!(model, server = server.name(), "MLflow was not told, and will be next time: {message}");
        }
        Err(_) => {
            tracing::warn!(server = server.name(), "MLflow took more than {PATIENCE:?}; the rest is told next time")
        }
    }
}

async fn one(job: &Job, server: &Server, model: &Model) -> Result<(), Trouble> {
    let history = registry::history(job, &model.name).await.map_err(Trouble::of)?;
    let wanted = wanted(job, &history);
    if wanted.is_empty() {
        return Ok(());
    }
    let mut known = server.versions(&model.name).await?;
    for version in wanted {
        let run = match known.get(&version) {
            Some(registered) => registered.run.clone(),
            None => {
                let Some(registered) = register(job, server, model, &version).await? else { continue };
                let run = registered.run.clone();
                known.insert(version.clone(), registered);
                run
            }
        };
        if let Some(event) = history.judged(&version) {
            judge(job, server, model, event, &run).await?;
        }
    }
    let aliases = history.aliases();
    let numbers: BTreeMap<&str, &str> =
        known.iter().map(|(ours, theirs)| (ours.as_str(), theirs.number.as_str())).collect();
    let held = server.aliases(&model.name).await?;
    for (alias, version) in [
        ("candidate", &aliases.candidate),
        ("champion", &aliases.champion),
        ("previous", &aliases.previous),
        ("anchor", &aliases.anchor),
    ] {
        let number = version.as_deref().and_then(|version| numbers.get(version).copied());
        match (number, held.get(alias).map(String::as_str)) {
            (Some(number), held) if held != Some(number) => server.set_alias(&model.name, alias, number).await?,
            (None, Some(_)) => server.drop_alias(&model.name, alias).await?,
            _ => {}
        }
    }
    Ok(())
}

/// Versions that hold an alias, or that this night has trained; the oldest first.
fn wanted(job: &Job, history: &History) -> Vec<String> {
    let aliases = history.aliases();
    let mut wanted = Vec::new();
    for event in history.events.iter().filter(|event| event.happened == Happened::Trained) {
        let counts = event.logical_date == job.date || !aliases.of(&event.version).is_empty();
        if counts && !wanted.contains(&event.version) {
            wanted.push(event.version.clone());
        }
    }
    wanted
}

/// A run with all that a version is, and a version of the registered model; `None` where its artifact is gone.
async fn register(
    job: &Job,
    server: &Server,
    model: &Model,
    version: &str,
) -> Result<Option<client::Registered>, Trouble> {
    let Some(files) = artifacts::files(job, &model.name, version).await.map_err(Trouble::of)? else { return Ok(None) };
    let artifact = Artifact::from_files(&files).map_err(Trouble::of)?;
    let described = Described::of(model, version, &artifact).map_err(Trouble::of)?;
    let run = server.run(&described).await?;
    server.log(&run.id, &described.parameters, &described.metrics).await?;
    for (name, bytes) in &files {
        server.upload(&run, &format!("model/{name}"), bytes.clone()).await?;
    }
    server.upload(&run, "plots/quality.html", described.plots.into_bytes()).await?;
    let registered = server.register(&model.name, &model.description, version, &run).await?;
    server.finish(&run.id).await?;
    Ok(Some(registered))
}

/// What the gate found of a version, once.
async fn judge(job: &Job, server: &Server, model: &Model, event: &Event, run: &str) -> Result<(), Trouble> {
    if server.has_tag(run, GATE).await? {
        return Ok(());
    }
    if let Some(verdict) = gate::stored(job, model, &event.version).await.map_err(Trouble::of)? {
        server.log(run, &[], &describe::checks(&verdict)).await?;
    }
    server.tag(run, GATE, event.happened.name()).await
}
