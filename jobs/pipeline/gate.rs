//! The `gate` job: may a candidate replace the champion?
//!
//! ```text
//! candidate ─┬─ rows that neither was trained on ─ metrics, paired ─┐
//! champion  ─┤                                                      ├─ checks ─ gates, differences ─ registry
//! anchor    ─┴─ tonight's population ─ actions, scores, asserts ────┘
//! ```
//!
//! Both versions are scored by the same code, each on its own inputs. All green: the candidate becomes the champion in
//! one commit. Any red: it is refused, the champion stays and scores, and the job ends with exit code 4. The commit to
//! the registry is the last one: whatever was written before it by a night that was killed is written again, the same.
//! A candidate is judged once; asked again, the job says what was found.

mod asserts;
pub mod check;
mod compare;
mod fairness;
mod rows;
mod tables;
mod tonight;

pub use check::{Check, Status};

use serde::Serialize;

use self::rows::Rows;
use self::tonight::Tonight;
use super::artifacts::{self, Version};
use super::job::{Job, Written};
use super::registry::{self, Event, Happened, History};
use crate::define::Model;
use crate::error::{Context, Error, Kind, Result};

/// What the gate made of a candidate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    pub model: String,
    pub candidate: String,
    pub champion: Option<String>,
    pub passed: bool,
    /// Whether this was found by an earlier run.
    pub earlier: bool,
    pub checks: Vec<Check>,
}

impl Verdict {
    /// What was red, in words.
    fn refusal(&self) -> String {
        let red: Vec<String> = self.checks.iter().filter(|c| c.status == Status::Fail).map(Check::sentence).collect();
        format!("version {} of {} is refused: {}", self.candidate, self.model, red.join("; "))
    }
}

/// Judges the candidates of the selected models; verdicts are given whatever comes of the job.
///
/// # Errors
/// The worst of all models'; `Gate` if a candidate is refused and nothing else is wrong.
pub async fn run(job: &Job, verdicts: &mut Vec<Verdict>) -> Result<Vec<Written>> {
    let mut written = Vec::new();
    let mut errors = Vec::new();
    for model in job.project.models.values().filter(|m| job.selected(&m.name)) {
        match one(job, model, verdicts).await.with_context(|| format!("model {}", model.name)) {
            Ok(lines) => {
                lines.iter().for_each(|line| job.ledger.wrote(line));
                written.extend(lines);
            }
            Err(error) if error.kind() == Kind::Temporary => return Err(error),
            Err(error) => errors.push(error),
        }
    }
    worst(errors).map_or(Ok(written), Err)
}

/// Of several errors the one that decides the exit code; the others are logged.
pub fn worst(errors: Vec<Error>) -> Option<Error> {
    let mut worst: Option<Error> = None;
    for error in errors {
        let (kept, other) = match worst.take() {
            None => (error, None),
            Some(before) if before.kind().worst(error.kind()) == before.kind() => (before, Some(error)),
            Some(before) => (error, Some(before)),
        };
        if let Some(other) = other {
            tracing::error!("{other}");
        }
        worst = Some(kept);
    }
    worst
}

/// Judges a model's candidate, if it has one.
pub async fn one(job: &Job, model: &Model, verdicts: &mut Vec<Verdict>) -> Result<Vec<Written>> {
    let path = format!("gates/{}", model.name);
    let history = registry::history(job, &model.name).await?;
    let Some(candidate) = history.aliases().candidate else {
        return judged(job, model, &history, path, verdicts).await;
    };
    let step = job.progress.step(format!("gate {}", model.name));
    let judging = Judging::prepare(job, model, &history, &candidate).await?;
    let verdict = judging.verdict().await?;
    let lines = tables::write(&judging, &verdict).await?;
    record(job, model, &verdict, &judging).await?;
    step.done(&format!("{candidate} {}", if verdict.passed { "is promoted" } else { "is refused" }));
    let refusal = (!verdict.passed).then(|| Error::new(Kind::Gate, verdict.refusal()));
    verdicts.push(verdict);
    refusal.map_or(Ok(lines), Err)
}

/// What became of the candidate that was judged in this night, if there was one.
async fn judged(
    job: &Job,
    model: &Model,
    history: &History,
    path: String,
    verdicts: &mut Vec<Verdict>,
) -> Result<Vec<Written>> {
    let of_night = history.events.iter().rev().filter(|event| event.logical_date == job.date);
    let Some(event) = of_night.clone().find(|event| history.judged(&event.version) == Some(*event)) else {
        return Ok(vec![Written::unchanged(path, "no candidate", None)]);
    };
    let (version, passed) = (event.version.clone(), event.happened == Happened::Promoted);
    if let Some(mut verdict) = tables::read(job, model, &version).await? {
        verdict.passed = passed;
        verdicts.push(verdict);
    }
    if !passed {
        return Err(Error::new(Kind::Gate, event.note.clone()));
    }
    Ok(vec![Written::unchanged(path, format!("{version} was judged before"), None)])
}

/// The versions, and what they say.
pub(super) struct Judging<'a> {
    pub job: &'a Job,
    pub model: &'a Model,
    pub candidate: Version,
    pub champion: Option<Version>,
    pub trained: Event,
    pub tonight: Tonight,
    pub rows: Rows,
}

impl<'a> Judging<'a> {
    async fn prepare(job: &'a Job, model: &'a Model, history: &History, candidate: &str) -> Result<Judging<'a>> {
        let trained = history.trained(candidate).cloned();
        let trained =
            trained.ok_or_else(|| Error::internal(format!("the registry lacks the training of {candidate}")))?;
        let aliases = history.aliases();
        let candidate = artifacts::load(job, model, candidate).await.context("the candidate cannot be judged")?;
        let champion = match &aliases.champion {
            Some(version) => {
                let doing = "the champion cannot be compared with";
                Some(artifacts::load(job, model, version).await.context(doing)?)
            }
            None => None,
        };
        let tonight = Tonight::score(job, model, &candidate, champion.as_ref()).await?;
        let rows = Rows::score(job, model, history, &candidate, champion.as_ref()).await?;
        Ok(Judging { job, model, candidate, champion, trained, tonight, rows })
    }

    async fn verdict(&self) -> Result<Verdict> {
        let checks = tokio::task::block_in_place(|| compare::checks(self))?;
        Ok(Verdict {
            model: self.model.name.clone(),
            candidate: self.candidate.name.clone(),
            champion: self.champion.as_ref().map(|champion| champion.name.clone()),
            passed: checks.iter().all(|check| check.status != Status::Fail),
            earlier: false,
            checks,
        })
    }
}

/// Promotes or refuses, in one commit.
async fn record(job: &Job, model: &Model, verdict: &Verdict, judging: &Judging<'_>) -> Result<()> {
    let decide = |history: &History| {
        if history.judged(&verdict.candidate).is_some() {
            return Ok(Vec::new());
        }
        let aliases = history.aliases();
        if aliases.champion != verdict.champion || aliases.candidate.as_ref() != Some(&verdict.candidate) {
            let what = format!("the champion or candidate of {} changed while it was judged", model.name);
            return Err(Error::temporary(format!("{what}\n  help: run this job again")));
        }
        if verdict.passed {
            let why = if verdict.champion.is_some() { "passed the gate" } else { "passed the gate; first champion" };
            return Ok(registry::promotion(history, &verdict.candidate, why));
        }
        let refused =
            Event { happened: Happened::Refused, alias: None, note: verdict.refusal(), ..judging.trained.clone() };
        Ok(vec![refused])
    };
    registry::record(job, &model.name, decide).await?;
    Ok(())
}

/// What was found of a version, if it is stored.
pub async fn stored(job: &Job, model: &Model, version: &str) -> Result<Option<Verdict>> {
    tables::read(job, model, version).await
}
