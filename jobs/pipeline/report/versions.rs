//! Which version a page is about, and what became of it.

use serde_json::Value;

use crate::error::Result;
use crate::pipeline::job::Job;
use crate::pipeline::registry::{self, Aliases, Event, FORCED, Happened, History};
use crate::report::page::{Outcome, Verdict};

/// Events shown.
const EVENTS: usize = 50;

/// The versions of a model as of the night.
pub struct Versions {
    history: History,
    aliases: Aliases,
    /// Trained tonight, whatever became of it.
    pub candidate: Option<String>,
}

impl Versions {
    pub async fn of(job: &Job, model: &str) -> Result<Versions> {
        let history = registry::history(job, model).await?;
        let tonight = |event: &&Event| event.happened == Happened::Trained && event.logical_date == job.date;
        let candidate = history.events.iter().rev().find(tonight).map(|event| event.version.clone());
        Ok(Versions { aliases: history.aliases(), candidate, history })
    }

    pub fn champion(&self) -> Option<&str> {
        self.aliases.champion.as_deref()
    }

    /// The version that the page shows: tonight's, or the champion.
    pub fn shown(&self) -> Option<&str> {
        self.candidate.as_deref().or(self.champion()).filter(|version| !self.history.is_erased(version))
    }

    /// The champion that a candidate was compared with, if it was another.
    pub fn before(&self) -> Option<&str> {
        let candidate = self.candidate.as_deref()?;
        let live = if self.champion() == Some(candidate) { self.aliases.previous.as_deref() } else { self.champion() };
        live.filter(|live| *live != candidate)
    }

    pub fn verdict(&self) -> Verdict {
        let last = self.candidate.as_deref().and_then(|version| {
            let decided = |event: &&Event| {
                event.version == version && matches!(event.happened, Happened::Promoted | Happened::Refused)
            };
            self.history.events.iter().rev().find(decided)
        });
        let (outcome, note) = match last {
            Some(event) if event.happened == Happened::Refused => (Outcome::Refused, event.note.clone()),
            Some(event) if event.note.starts_with(FORCED) => (Outcome::Forced, event.note.clone()),
            Some(event) => (Outcome::Promoted, event.note.clone()),
            None if self.champion().is_none() => (Outcome::NoChampion, "No version has been promoted.".to_string()),
            None if self.candidate.is_some() => (Outcome::Kept, "The candidate has not been judged yet.".to_string()),
            None => (Outcome::Kept, "Nothing was trained in this night.".to_string()),
        };
        let champion = self.aliases.champion.clone();
        Verdict { outcome, candidate: self.candidate.clone(), champion, note }
    }

    /// A metric of the shown version, out of sample, as the registry has it.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let event = self.history.trained(self.shown()?)?;
        serde_json::from_str::<Value>(&event.metrics).ok()?.get(name)?.as_f64()
    }

    /// Date, version, event and note; the newest first.
    pub fn events(&self) -> Vec<[String; 4]> {
        let row = |event: &Event| {
            let what = event.happened.name().replace('_', " ");
            [event.logical_date.to_string(), event.version.clone(), what, event.note.clone()]
        };
        self.history.events.iter().rev().take(EVENTS).map(row).collect()
    }
}
