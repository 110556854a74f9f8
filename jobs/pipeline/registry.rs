//! The registry: which model versions there are, what became of each, and which aliases they hold.
//!
//! `registry` is an append-only Delta table of events. What a model's aliases are follows from its events in their
//! order: by night, and within a night by `sequence`, which counts up per model whatever the night.
//!
//! | alias | which version |
//! |---|---|
//! | `candidate` | trained last, not judged yet |
//! | `champion` | scores |
//! | `previous` | was champion before; a rollback goes there |
//! | `anchor` | frozen: what candidates are held to so that small losses cannot add up |
//!
//! A night sees the aliases of its own date. Events are decided on the version of the table that they are committed on:
//! of two that change a model at the same time one commits, and the other is told to run again.

mod events;

use chrono::NaiveDate;

pub use events::{Event, Happened};

use super::job::{Job, fingerprint};
use crate::error::Result;
use crate::lake::{Replace, Unit};

/// How a note begins that gives the reason of a promotion which the gate did not allow.
pub const FORCED: &str = "forced: ";

/// The events of one model up to a night, in the order in which they happened.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub events: Vec<Event>,
    /// Versions whose artifact is gone, whatever the night.
    erased: Vec<String>,
}

/// Which versions hold an alias.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aliases {
    pub candidate: Option<String>,
    pub champion: Option<String>,
    pub previous: Option<String>,
    pub anchor: Option<String>,
}

impl Aliases {
    /// Those that a version holds.
    pub fn of(&self, version: &str) -> Vec<&'static str> {
        let all = [
            ("candidate", &self.candidate),
            ("champion", &self.champion),
            ("previous", &self.previous),
            ("anchor", &self.anchor),
        ];
        all.into_iter().filter(|(_, held)| held.as_deref() == Some(version)).map(|(name, _)| name).collect()
    }
}

impl History {
    fn new(mut all: Vec<Event>, date: NaiveDate) -> History {
        let is_erased = |event: &&Event| event.happened == Happened::Erased;
        let erased = all.iter().filter(is_erased).map(|event| event.version.clone()).collect();
        all.retain(|event| event.logical_date <= date);
        all.sort_by_key(Event::order);
        History { events: all, erased }
    }

    pub fn aliases(&self) -> Aliases {
        let mut held = Aliases::default();
        let mut promoted: Vec<&str> = Vec::new();
        for event in self.events.iter().filter(|event| !self.erased.contains(&event.version)) {
            let version = Some(event.version.clone());
            match event.happened {
                // Trained again to the same bytes, it is what it was.
                Happened::Trained if self.is_judged_before(event) => {}
                Happened::Trained => held.candidate = version,
                Happened::Refused if held.candidate == version => held.candidate = None,
                Happened::Promoted => {
                    if held.candidate == version {
                        held.candidate = None;
                    }
                    if held.champion != version {
                        held.previous = held.champion.take();
                    }
                    held.anchor = held.anchor.or_else(|| version.clone());
                    held.champion = version;
                    promoted.push(&event.version);
                }
                Happened::RolledBack => {
                    held.champion = version;
                    held.previous = None;
                }
                Happened::Anchored => held.anchor = version,
                Happened::Refused | Happened::Demoted | Happened::Erased => {}
            }
        }
        // The champion may have been one of those that are gone.
        held.champion = held.champion.or_else(|| promoted.last().map(ToString::to_string));
        held
    }

    /// The event of a version's training.
    pub fn trained(&self, version: &str) -> Option<&Event> {
        self.events.iter().rev().find(|event| event.happened == Happened::Trained && event.version == version)
    }

    /// The training of the champion.
    pub fn champion(&self) -> Option<&Event> {
        let champion = self.aliases().champion?;
        // A lake whose log begins later has no training of it.
        self.trained(&champion).or_else(|| self.events.iter().rev().find(|event| event.version == champion))
    }

    /// What the gate made of a version, if it has judged it.
    pub fn judged(&self, version: &str) -> Option<&Event> {
        let verdict = |event: &&Event| match event.happened {
            Happened::Refused => true,
            Happened::Promoted => !event.note.starts_with(FORCED),
            _ => false,
        };
        self.events.iter().filter(verdict).find(|event| event.version == version)
    }

    fn is_judged_before(&self, trained: &Event) -> bool {
        let before = self.events.iter().take_while(|event| *event != trained);
        let verdict = |event: &Event| matches!(event.happened, Happened::Refused | Happened::Promoted);
        before.filter(|event| event.version == trained.version).any(verdict)
    }

    pub fn is_erased(&self, version: &str) -> bool {
        self.erased.iter().any(|erased| erased == version)
    }

    /// Every version, the one first that was trained last.
    pub fn versions(&self) -> Vec<&str> {
        let mut versions: Vec<&str> = Vec::new();
        for event in &self.events {
            if !versions.contains(&event.version.as_str()) {
                versions.push(&event.version);
            }
        }
        versions.reverse();
        versions
    }
}

/// A model's events up to the job's night.
pub async fn history(job: &Job, model: &str) -> Result<History> {
    let Some(snapshot) = job.lake.snapshot(events::TABLE).await? else { return Ok(History::default()) };
    Ok(History::new(events::read(job, &snapshot, model).await?, job.date))
}

/// Decides what happened on the newest version of the registry, and commits it there: all events or none. An empty
/// decision commits nothing.
///
/// # Errors
/// Those of `decide`; `Temporary` if the model's registry changed meanwhile.
pub async fn record(job: &Job, model: &str, decide: impl FnOnce(&History) -> Result<Vec<Event>>) -> Result<Vec<Event>> {
    let mut writer = job.lake.writer(&events::spec()).await?;
    let all = events::read(job, writer.base(), model).await?;
    let last = all.iter().filter_map(|event| event.sequence).max().unwrap_or(0);
    let mut new = decide(&History::new(all, job.date))?;
    for (event, sequence) in new.iter_mut().zip(last + 1..) {
        event.sequence = Some(sequence);
        event.logical_date = job.date;
        event.model = model.to_string();
    }
    if new.is_empty() {
        return Ok(new);
    }
    writer.write(&events::batch(&new)?).await?;
    // The key is the model's, so that two commits about it conflict; the fingerprint says what happened when, so that
    // nobody takes another's commit for his own.
    let unit = Unit { key: format!("registry:{model}"), fingerprint: fingerprint(&[&serde_json::to_string(&new)?]) };
    writer.commit(Replace::Nothing, &unit, Default::default()).await?;
    Ok(new)
}

/// A version becomes the champion, and the champion of before `previous`; the first one also the anchor.
pub fn promotion(history: &History, version: &str, note: &str) -> Vec<Event> {
    let aliases = history.aliases();
    let trained = history.trained(version);
    let about = |version: &str| match trained.filter(|event| event.version == version) {
        Some(trained) => trained.clone(),
        None => Event { version: version.to_string(), ..Event::default() },
    };
    let event = |version: &str, happened: Happened, note: &str| Event {
        happened,
        alias: happened.alias().map(str::to_string),
        note: note.to_string(),
        ..about(version)
    };
    let mut events = vec![event(version, Happened::Promoted, note)];
    if let Some(before) = aliases.champion.filter(|before| before != version) {
        events.push(event(&before, Happened::Demoted, &format!("{version} took its place")));
    }
    if aliases.anchor.is_none() {
        events.push(event(version, Happened::Anchored, "the first champion"));
    }
    events
}

/// Records that a version's artifact is gone.
pub async fn erased(job: &Job, model: &str, version: &str, note: &str) -> Result<()> {
    let event =
        Event { version: version.to_string(), happened: Happened::Erased, note: note.to_string(), ..Event::default() };
    let unless_known = |history: &History| Ok(if history.is_erased(version) { Vec::new() } else { vec![event] });
    record(job, model, unless_known).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(events: &[(u32, &str, Happened)]) -> History {
        let date = |day| NaiveDate::from_ymd_opt(2024, 1, day).unwrap();
        let all = events.iter().enumerate().map(|(index, (day, version, happened))| Event {
            version: version.to_string(),
            logical_date: date(*day),
            sequence: Some(index as i64 + 1),
            happened: *happened,
            ..Event::default()
        });
        History::new(all.collect(), date(20))
    }

    fn held(events: &[(u32, &str, Happened)]) -> [Option<String>; 4] {
        let aliases = history(events).aliases();
        [aliases.candidate, aliases.champion, aliases.previous, aliases.anchor]
    }

    fn some(versions: [&str; 4]) -> [Option<String>; 4] {
        versions.map(|version| (!version.is_empty()).then(|| version.to_string()))
    }

    #[test]
    fn aliases_follow_the_events() {
        use Happened::{Anchored, Demoted, Erased, Promoted, Refused, RolledBack, Trained};
        let mut events = vec![(1, "a", Trained)];
        assert_eq!(held(&events), some(["a", "", "", ""]));
        events.push((1, "a", Promoted));
        assert_eq!(held(&events), some(["", "a", "", "a"]));
        events.extend([(2, "b", Trained), (2, "b", Refused)]);
        assert_eq!(held(&events), some(["", "a", "", "a"]));
        events.extend([(3, "c", Trained), (3, "c", Promoted), (3, "a", Demoted)]);
        assert_eq!(held(&events), some(["", "c", "a", "a"]));
        events.push((3, "a", RolledBack));
        assert_eq!(held(&events), some(["", "a", "", "a"]));
        events.extend([(3, "c", Promoted), (3, "a", Demoted), (3, "c", Anchored)]);
        assert_eq!(held(&events), some(["", "c", "a", "c"]));
        events.push((4, "c", Erased));
        assert_eq!(held(&events), some(["", "a", "", "a"]));
        assert!(history(&events).is_erased("c"));
        assert_eq!(history(&events).versions(), ["c", "b", "a"]);
    }

    #[test]
    fn an_event_of_an_earlier_night_counts_there() {
        use Happened::{Promoted, Trained};
        let events = [(5, "b", Trained), (5, "b", Promoted), (2, "a", Trained), (2, "a", Promoted)];
        assert_eq!(held(&events), some(["", "b", "a", "a"]));
        let early = History::new(history(&events).events, NaiveDate::from_ymd_opt(2024, 1, 3).unwrap());
        assert_eq!(early.aliases().champion.as_deref(), Some("a"));
    }

    #[test]
    fn the_verdict_is_the_gates_not_that_of_who_forced() {
        use Happened::{Promoted, Refused, Trained};
        let mut history = history(&[(1, "a", Trained), (1, "a", Refused), (1, "a", Promoted)]);
        history.events[2].note = format!("{FORCED}the rows are wrong");
        assert_eq!(history.judged("a").map(|event| event.happened), Some(Refused));
        assert!(history.judged("b").is_none());
    }
}
