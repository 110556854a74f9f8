//! Which version a page is about, and what became of it.

use serde_json::Value;

use crate::error::Result;
use crate::pipeline::job::Job;
use crate::pipeline::registry::{self, Event};
use crate::report::page::{Outcome, Verdict};

/// The versions of a model as of the night.
pub struct Versions {
    pub events: Vec<Event>,
    /// Trained tonight.
    pub candidate: Option<String>,
    /// Scores tonight.
    pub champion: Option<String>,
}

impl Versions {
    pub async fn of(job: &Job, model: &str) -> Result<Versions> {
        let events = registry::events(job, model).await?;
        let trained = events.iter().rev().find(|e| e.event == "trained" && e.logical_date == job.date);
        let candidate = trained.map(|event| event.version.clone());
        let champion = registry::champion(&events).map(|event| event.version.clone());
        Ok(Versions { candidate, champion, events })
    }

    /// The version that the page shows: tonight's, or the champion.
    pub fn shown(&self) -> Option<&str> {
        self.candidate.as_deref().or(self.champion.as_deref())
    }

    /// The champion that a candidate was compared with, if it was another.
    pub fn before(&self) -> Option<&str> {
        let promoted = |event: &&Event| event.event == "promoted" && Some(&event.version) != self.candidate.as_ref();
        self.events.iter().rev().find(promoted).map(|event| event.version.as_str())
    }

    pub fn verdict(&self) -> Verdict {
        let decided = self.candidate.as_deref().and_then(|version| {
            let decided =
                |event: &&Event| event.version == version && ["promoted", "refused"].contains(&event.event.as_str());
            self.events.iter().rev().find(decided)
        });
        let forced = |note: &str| note.starts_with("forced");
        let (outcome, note) = match decided {
            Some(event) if event.event == "promoted" && forced(&event.note) => (Outcome::Forced, event.note.clone()),
            Some(event) if event.event == "promoted" => (Outcome::Promoted, event.note.clone()),
            Some(event) => (Outcome::Refused, event.note.clone()),
            None if self.champion.is_none() => (Outcome::NoChampion, "No version has been promoted.".to_string()),
            None => (Outcome::Kept, "Nothing was trained in this night.".to_string()),
        };
        Verdict { outcome, candidate: self.candidate.clone(), champion: self.champion.clone(), note }
    }

    /// A metric of the shown version, out of sample, as the registry has it.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let shown = self.shown()?;
        let event = self.events.iter().find(|event| event.version == shown)?;
        serde_json::from_str::<Value>(&event.metrics).ok()?.get(name)?.as_f64()
    }

    /// Date, version, event and note; the newest first.
    pub fn history(&self) -> Vec<[String; 4]> {
        let row = |event: &Event| {
            [event.logical_date.to_string(), event.version.clone(), event.event.clone(), event.note.clone()]
        };
        self.events.iter().rev().take(HISTORY).map(row).collect()
    }
}

/// Events shown.
const HISTORY: usize = 50;
