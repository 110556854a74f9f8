//! Runs under way, so that one that was killed leaves a trace.
//!
//! A job leaves a note below `running/` while it works. Whoever runs next finds the notes of processes that are no
//! more, and `runs` gets a row for each of them. That a process is no more is known on its own machine by its number;
//! of another machine it is believed after a day.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::job::Job;
use crate::clock;
use crate::error::Result;
use crate::lake::Lake;

const FOLDER: &str = "running";
/// After so long a run of another machine has ended.
const LONGEST: TimeDelta = TimeDelta::days(1);

/// A job that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Underway {
    pub run_id: String,
    pub job: String,
    pub logical_date: NaiveDate,
    pub started_at: DateTime<Utc>,
    /// The job that it was a part of.
    #[serde(default)]
    pub within: Option<String>,
    machine: String,
    process: u32,
}

impl Underway {
    pub async fn begin(job: &Job, name: &str) -> Result<Underway> {
        let underway = Underway {
            run_id: job.run_id.clone(),
            job: name.to_string(),
            logical_date: job.date,
            started_at: clock::now(),
            within: job.within.clone(),
            machine: clock::machine(),
            process: std::process::id(),
        };
        job.lake.put_note(&underway.note(), serde_json::to_string(&underway)?).await?;
        Ok(underway)
    }

    /// Removes the note: what became of the run is recorded.
    pub async fn end(&self, job: &Job) -> Result<()> {
        job.lake.remove_note(&self.note()).await
    }

    fn note(&self) -> String {
        format!("{FOLDER}/{}-{}.json", self.run_id, self.job)
    }

    /// Asked by another run. Where its process has our number, as in containers, it is no more.
    fn is_lost(&self, now: DateTime<Utc>, machine: &str) -> bool {
        match self.machine == machine {
            true => self.process == std::process::id() || !clock::is_running(self.process),
            false => now - self.started_at > LONGEST,
        }
    }
}

/// The runs that ended without a record.
pub async fn lost(job: &Job) -> Result<Vec<Underway>> {
    others(job, true).await
}

/// Other runs that have not ended.
pub async fn live(job: &Job) -> Result<Vec<Underway>> {
    others(job, false).await
}

async fn others(job: &Job, lost: bool) -> Result<Vec<Underway>> {
    let runs = all(&job.lake).await?.into_iter();
    Ok(runs.filter(|(run, is_lost)| run.run_id != job.run_id && *is_lost == lost).map(|(run, _)| run).collect())
}

/// Every run that has left a note, and whether its process is no more.
pub async fn all(lake: &Lake) -> Result<Vec<(Underway, bool)>> {
    let (now, machine) = (clock::now(), clock::machine());
    let notes = lake.notes(FOLDER).await?;
    // A note that cannot be read was being written when the machine stopped: of nothing that began.
    let runs = notes.iter().filter_map(|(_, text)| serde_json::from_str::<Underway>(text).ok());
    let judged = |run: Underway| {
        let is_lost = run.is_lost(now, &machine);
        (run, is_lost)
    };
    Ok(runs.map(judged).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_lost_when_its_process_is_no_more() {
        let now = clock::now();
        let run = |machine: &str, process, hours| Underway {
            within: None,
            run_id: "r".into(),
            job: "ingest".into(),
            logical_date: NaiveDate::default(),
            started_at: now - TimeDelta::hours(hours),
            machine: machine.into(),
            process,
        };
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        assert!(run("here", ended.id(), 0).is_lost(now, "here"));
        assert!(run("here", std::process::id(), 0).is_lost(now, "here"), "this process runs something else now");
        assert!(!run("here", 1, 100).is_lost(now, "here"), "another user's process is one too");
        assert!(!run("there", ended.id(), 23).is_lost(now, "here"));
        assert!(run("there", ended.id(), 25).is_lost(now, "here"));
    }
}
