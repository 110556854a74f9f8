//! The `report` job: what the lake says of each model in one night, as pages that people read.
//!
//! It reads tables and artifacts, computes nothing that another job decides by, and writes nothing but files under
//! `reports/`. What a lake does not have yet is left out with a sentence. The same lake gives the same bytes.

mod decided;
mod explained;
mod judged;
pub(super) mod measured;
pub mod pages;
mod rows;
mod trained;
mod versions;
mod watched;

use chrono::NaiveDate;

use self::decided::Night;
use self::measured::Measured;
use self::rows::{Rows, literal, register};
use self::trained::Trained;
use self::versions::Versions;
use super::job::{Job, Written};
use super::progress::thousands;
use super::training_set::{self, TrainingSet};
use crate::clock;
use crate::define::Model;
use crate::define::diagnostic::did_you_mean;
use crate::define::inputs::glob;
use crate::engine::session::Session;
use crate::error::{Context, Error, Result};
use crate::report::page::{self, Fact, Provenance, Section, Status, Summary};

/// A page per selected model, then the index.
pub async fn run(job: &Job) -> Result<Vec<Written>> {
    let mut written = Vec::new();
    for model in job.project.models.values().filter(|m| job.selected(&m.name)) {
        let line = one(job, model).await.with_context(|| format!("report of model {}", model.name))?;
        job.ledger.wrote(&line);
        written.push(line);
    }
    let line = pages::put_index(job).await?;
    job.ledger.wrote(&line);
    written.push(line);
    Ok(written)
}

/// The last night that scored or trained anything.
///
/// # Errors
/// `Data` if there is none.
pub async fn last_night(job: &Job) -> Result<NaiveDate> {
    let session = job.session()?;
    let mut last: Option<NaiveDate> = None;
    let scores = job.project.models.keys().map(|model| format!("scores/{model}"));
    for table in scores.chain(["registry".to_string()]) {
        let Some(snapshot) = job.lake.snapshot(&table).await? else { continue };
        session.register("nights", snapshot.provider()?)?;
        let rows = Rows::of(&session, "select cast(max(logical_date) as varchar) as night from nights").await?;
        let night = rows.texts("night")?.into_iter().flatten().next().and_then(|night| night.parse().ok());
        last = last.max(night);
    }
    last.ok_or_else(|| {
        Error::data("no night has trained or scored anything yet\n  help: run `scorehouse nightly` first")
    })
}

/// That models of these names are defined.
pub fn check_models(job: &Job, names: &[String]) -> Result<()> {
    let defined = || job.project.models.keys().map(String::as_str);
    let Some(unknown) = names.iter().find(|name| !defined().any(|model| glob(name, model))) else { return Ok(()) };
    let help = did_you_mean(unknown, defined());
    let expected = defined().collect::<Vec<_>>().join(", ");
    Err(Error::definition(format!("there is no model `{unknown}`\n  expected: one of {expected}{help}")))
}

async fn one(job: &Job, model: &Model) -> Result<Written> {
    let clock = clock::instant();
    let step = job.progress.step(format!("report {}", model.name));
    let (page, summary) = fill(job, model).await?;
    let html = crate::report::model(&page)?;
    let line = pages::put(job, &summary, html, clock.elapsed().as_secs_f64()).await?;
    step.done(&line.status);
    Ok(line)
}

/// Everything the page shows, and what the index says of it.
async fn fill(job: &Job, model: &Model) -> Result<(page::Model, Summary)> {
    let session = job.session()?;
    let versions = Versions::of(job, &model.name).await?;
    let trained = match versions.shown() {
        Some(version) => Trained::of(job, &model.name, version).await?,
        None => None,
    };
    let before = match versions.before().filter(|before| Some(*before) != versions.shown()) {
        Some(version) => Trained::of(job, &model.name, version).await?,
        None => None,
    };
    let kept = match versions.shown() {
        Some(version) => training_set::of_version(job, model, version).await?,
        None => None,
    };
    let measured = kept.as_ref().map(Measured::of).transpose()?.flatten();
    let contributions = contributions(job, model, versions.shown(), trained.as_ref(), kept.as_ref()).await?;
    let gate = judged::checks(job, &session, &model.name, versions.candidate.as_deref()).await?;
    let monitoring = watched::monitoring(job, &session, &model.name).await?;
    let used = used(job, &session, model, &versions).await?;
    let mut page = page::Model {
        name: model.name.clone(),
        description: model.description.clone(),
        date: job.date.to_string(),
        verdict: versions.verdict(),
        facts: Vec::new(),
        gate,
        quality: of(&trained, Trained::quality, NO_VERSION),
        curves: of(&measured, Measured::curves, NO_ROWS),
        calibration: calibration(trained.as_ref(), measured.as_ref()),
        distributions: distributions(model, measured.as_ref(), used.distribution)?,
        lift: of(&measured, Measured::lift, NO_ROWS),
        importances: of(&trained, |t| t.importances(before.as_ref()), NO_VERSION),
        contributions,
        monitoring,
        fairness: judged::fairness(job, &session, model, versions.shown()).await?,
        decisions: used.decisions,
        actions: used.actions,
        customers: used.customers,
        provenance: trained.as_ref().zip(versions.shown()).map_or_else(Provenance::default, |(t, v)| t.provenance(v)),
    };
    page.provenance.history = versions.events();
    page.facts = facts(&page, trained.as_ref());
    let summary = summary(&page, &versions);
    Ok((page, summary))
}

const NO_VERSION: &str = "There is no version of this model that could be shown.";
const NO_ROWS: &str = "The rows that this version was measured on are not kept any longer.";

fn of<T, S>(part: &Option<T>, section: impl FnOnce(&T) -> Section<S>, otherwise: &str) -> Section<S> {
    part.as_ref().map_or_else(|| Section::absent(otherwise), section)
}

/// As the training measured it, or else of the rows that it kept, as far as they tell.
fn calibration(trained: Option<&Trained>, measured: Option<&Measured>) -> Section<page::Calibration> {
    let kept = || measured.map(Measured::calibration);
    trained.and_then(Trained::calibration).or_else(kept).map_or_else(|| Section::absent(NO_ROWS), Section::Shown)
}

/// Row by row where the rows are kept; else on the whole, as the training measured it.
async fn contributions(
    job: &Job,
    model: &Model,
    version: Option<&str>,
    trained: Option<&Trained>,
    kept: Option<&TrainingSet>,
) -> Result<Section<page::Contributions>> {
    let (Some(version), Some(trained)) = (version, trained) else { return Ok(Section::absent(NO_VERSION)) };
    let on_the_whole = trained.contributions();
    // What does not say of all rows does not say of one.
    if let (Some(_), Some(kept)) = (on_the_whole.shown(), kept)
        && let Some(found) = explained::contributions(job, model, version, kept).await?
    {
        return Ok(Section::Shown(found));
    }
    Ok(on_the_whole)
}

/// What the night did with the model.
struct Used {
    decisions: Section<page::Decisions>,
    distribution: Option<page::Distribution>,
    actions: Section<page::ActionChanges>,
    customers: Section<page::Customers>,
}

async fn used(job: &Job, session: &Session, model: &Model, versions: &Versions) -> Result<Used> {
    let nobody = "Nobody was scored in this night.";
    let (columns, is_scored) = match register(job, session, &format!("scores/{}", model.name), "all_scores").await? {
        Some(columns) => (columns, night(job, session, "all_scores", "scores", &[]).await?),
        None => (Vec::new(), false),
    };
    let differences = differences(job, session, model, versions).await?;
    let kept = "No candidate was compared with the live champion in this night.";
    if !is_scored {
        return Ok(Used {
            decisions: Section::absent(nobody),
            distribution: None,
            actions: Section::absent(kept),
            customers: Section::absent(nobody),
        });
    }
    let night = Night { session, model, scores: columns, differences };
    let compared = format!(
        "Score and action are those of {}, live score and live action those of {}; the other columns are what was \
         decided in this night.",
        versions.candidate.as_deref().unwrap_or("the candidate"),
        versions.before().unwrap_or("the champion")
    );
    Ok(Used {
        decisions: night.decisions().await?,
        distribution: night.distribution().await?,
        actions: match &night.differences {
            Some(_) => judged::action_changes(session, &decided::actions(model)).await?,
            None => Section::absent(kept),
        },
        customers: night.customers(&compared, format!("{}/differences.csv", job.date)).await?,
    })
}

/// Registers what the gate compared in this night as `differences`; its columns, if it did.
async fn differences(job: &Job, session: &Session, model: &Model, versions: &Versions) -> Result<Option<Vec<String>>> {
    let Some(candidate) = &versions.candidate else { return Ok(None) };
    let path = format!("differences/{}", model.name);
    let Some(columns) = register(job, session, &path, "all_differences").await? else { return Ok(None) };
    let of = columns.iter().any(|column| column == "candidate").then(|| format!("candidate = {}", literal(candidate)));
    let is_there = night(job, session, "all_differences", "differences", &Vec::from_iter(of)).await?;
    Ok(is_there.then_some(columns))
}

/// The night's rows of a table under a name of their own; whether there are any.
async fn night(job: &Job, session: &Session, table: &str, name: &str, also: &[String]) -> Result<bool> {
    let date = format!("logical_date = date {}", literal(&job.date.to_string()));
    let conditions: Vec<String> = [date].into_iter().chain(also.iter().cloned()).collect();
    let frame = session.sql(&format!("select * from {table} where {}", conditions.join(" and "))).await?;
    session.register(name, frame.into_view())?;
    let rows = Rows::of(session, &format!("select count(*) as customers from {name}")).await?;
    Ok(rows.counts("customers")?.first().is_some_and(|count| *count > 0))
}

fn distributions(
    model: &Model,
    measured: Option<&Measured>,
    scores: Option<page::Distribution>,
) -> Result<Section<Vec<page::Distribution>>> {
    let measured = measured.map(|measured| measured.distribution(model)).transpose()?;
    let all: Vec<page::Distribution> = measured.into_iter().chain(scores).collect();
    Ok(match all.is_empty() {
        true => Section::absent("There are no probabilities yet."),
        false => Section::Shown(all),
    })
}

/// The strip below the title.
fn facts(page: &page::Model, trained: Option<&Trained>) -> Vec<Fact> {
    let mut facts = Vec::new();
    for (metric, label) in
        [("roc_auc", "ROC AUC"), ("average_precision", "Average precision"), ("calibration_error", "Calibration error")]
    {
        let Some(measured) = trained.and_then(|trained| trained.overall(metric)) else { continue };
        let interval = match (measured.low, measured.high) {
            (Some(low), Some(high)) => format!("{low:.4} – {high:.4}"),
            _ => "out of sample".to_string(),
        };
        facts.push(Fact::new(label, format!("{:.4}", measured.value.unwrap_or_default()), interval));
    }
    if let Some(curves) = page.curves.shown() {
        facts.push(Fact::new("Base rate", format!("{:.2}%", curves.base_rate * 100.0), curves.rows.clone()));
    }
    if let Some(gate) = page.gate.shown() {
        let failed = failed(gate);
        facts.push(Fact::new("Checks failed", format!("{failed} of {}", gate.checks.len()), ""));
    }
    if let Some(decisions) = page.decisions.shown() {
        let all: u64 = decisions.actions.iter().map(|action| action.count).sum();
        facts.push(Fact::new("Scored", thousands(all), format!("by {}", decisions.version)));
    }
    if let Some(changes) = page.actions.shown() {
        let all: u64 = changes.counts.iter().flatten().sum();
        let kept: u64 = changes.counts.iter().enumerate().map(|(index, row)| row[index]).sum();
        let share = if all == 0 { 0.0 } else { (all - kept) as f64 / all as f64 * 100.0 };
        facts.push(Fact::new("Action changes", format!("{share:.1}%"), format!("{} customers", thousands(all - kept))));
    }
    facts
}

fn failed(gate: &page::Gate) -> usize {
    gate.checks.iter().filter(|check| check.status == Status::Fail).count()
}

fn summary(page: &page::Model, versions: &Versions) -> Summary {
    let gate = page.gate.shown();
    let loud = |measure: &&page::Measure| matches!(measure.status, Status::Warn | Status::Fail);
    let warnings = page.monitoring.shown().map_or(0, |m| m.measures.iter().filter(loud).count());
    let scored = page.decisions.shown().map_or(0, |d| d.actions.iter().map(|action| action.count).sum());
    Summary {
        model: page.name.clone(),
        description: page.description.clone(),
        date: page.date.clone(),
        outcome: page.verdict.outcome,
        note: page.verdict.note.clone(),
        candidate: page.verdict.candidate.clone(),
        champion: page.verdict.champion.clone(),
        roc_auc: versions.metric("roc_auc"),
        average_precision: versions.metric("average_precision"),
        failed: gate.map_or(0, failed) as u64,
        checks: gate.map_or(0, |gate| gate.checks.len()) as u64,
        warnings: warnings as u64,
        scored,
    }
}
