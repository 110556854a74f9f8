//! What a lineage server is told of runs: OpenLineage events (<https://openlineage.io/docs/spec/object-model>).
//!
//! Each run of a job says START, and COMPLETE, FAIL or ABORT; a night says so of itself, and its jobs name it as their
//! parent. What was read and written comes from what `runs` gets ([`super::ledger`]), what a column comes from out of the
//! definitions ([`super::lineage`]), names and comments of columns from the tables themselves.
//!
//! ```text
//! run, job, night ────────┐
//! ledger: what, versions ─┼─→ event (pure) ─→ transport: a file, or a server
//! definitions: columns  ──┘
//! ```
//!
//! It is switched on by the environment variables of OpenLineage's own clients, and without them nothing is done. A server
//! that is down, slow or refuses costs a warning and a few seconds, once per process, and never a night.

mod datasets;
mod event;
mod transport;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use self::event::{Event, Parent, Phase};
use self::transport::Transport;
use super::job::Job;
use super::ledger::Entries;
use super::runs::KILLED;
use super::underway::Underway;
use crate::clock;
use crate::error::{Error, Kind, Result};

/// A run that is being told of.
pub struct Telling<'a> {
    job: &'a Job,
    name: &'a str,
    transport: &'static Transport,
}

/// How a run ended.
pub struct End {
    pub phase: Phase,
    pub code: u8,
    pub error: Option<String>,
}

impl End {
    /// A gate that refuses has done its work: it completes, with its exit code.
    pub fn of<T>(outcome: &Result<T>) -> End {
        match outcome {
            Ok(_) => End { phase: Phase::Complete, code: 0, error: None },
            Err(error) => End::of_error(error),
        }
    }

    pub fn of_error(error: &Error) -> End {
        let phase = if error.kind() == Kind::Gate { Phase::Complete } else { Phase::Fail };
        End { phase, code: error.kind().code(), error: Some(error.to_string()) }
    }
}

/// Says that a run begins, if anybody listens.
pub async fn begin<'a>(job: &'a Job, name: &'a str) -> Option<Telling<'a>> {
    let telling = Telling { job, name, transport: transport::of_environment()? };
    telling.say(None, &Entries::default()).await;
    Some(telling)
}

/// Says that an earlier run was killed, and with it the one that it was a part of.
pub async fn lost(job: &Job, run: &Underway, why: &str) {
    let Some(transport) = transport::of_environment() else { return };
    let end = End { phase: Phase::Abort, code: KILLED, error: Some(why.into()) };
    let part = Job { date: run.logical_date, run_id: run.run_id.clone(), within: run.within.clone(), ..job.clone() };
    let whole = Job { within: None, ..part.clone() };
    for (job, name) in [(&part, Some(&run.job)), (&whole, run.within.as_ref())] {
        if let Some(name) = name {
            Telling { job, name, transport }.end(&end, &Entries::default()).await;
        }
    }
}

impl Telling<'_> {
    /// Says how the run ended, with what it read and wrote.
    pub async fn end(self, end: &End, done: &Entries) {
        self.say(Some(end), done).await;
    }

    async fn say(&self, end: Option<&End>, done: &Entries) {
        let phase = end.map_or(Phase::Start, |end| end.phase);
        let (namespace, run_id) = (namespace(self.job), &self.job.run_id);
        let inside = self.job.within.as_ref().map(|name| (namespace.clone(), name.clone(), id(run_id, name)));
        // Who started a run that was killed is not who found it.
        let outside = || if phase == Phase::Abort { None } else { of_environment() };
        let parent = inside.or_else(outside).map(|(namespace, name, run)| Parent { namespace, name, run });
        let (inputs, outputs) = match phase {
            Phase::Start => (Vec::new(), Vec::new()),
            _ => datasets::of(self.job, self.name, done).await,
        };
        let event = Event {
            phase,
            at: clock::now(),
            run: id(run_id, self.name),
            namespace,
            name: self.name,
            date: self.job.date,
            parent,
            ended: end.map(|end| json!({ "exitCode": end.code })),
            error: end.and_then(|end| end.error.as_deref()),
            inputs,
            outputs,
        };
        self.transport.send(&event.to_json()).await;
    }
}

/// A UUID of a run: the jobs of one invocation share our id of it. Eight of the kinds of UUID is for such.
fn id(run_id: &str, job: &str) -> Uuid {
    let digest: [u8; 32] = Sha256::digest(format!("{run_id}/{job}")).into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// Which jobs are ours: as the environment says, else those of this lake.
fn namespace(job: &Job) -> String {
    let set = clock::env("OPENLINEAGE_NAMESPACE").filter(|name| !name.is_empty());
    set.unwrap_or_else(|| job.lake.url().as_str().trim_end_matches('/').to_string())
}

/// The run that started this process, as Airflow and others say it: namespace/job/run.
fn of_environment() -> Option<(String, String, Uuid)> {
    let said = clock::env("OPENLINEAGE_PARENT_ID")?;
    let (rest, run) = said.rsplit_once('/')?;
    let (namespace, name) = rest.rsplit_once('/')?;
    Some((namespace.to_string(), name.to_string(), Uuid::parse_str(run).ok()?))
}

/// A facet: what it says, and which schema it keeps to.
fn facet(schema: &str, mut said: Value) -> Value {
    said["_producer"] = json!(event::producer());
    said["_schemaURL"] = json!(format!("https://openlineage.io/spec/facets/{schema}"));
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_one_invocation_differ_by_job_and_are_the_same_every_time() {
        assert_eq!(id("r", "tables"), id("r", "tables"));
        assert_ne!(id("r", "tables"), id("r", "features"));
        assert_ne!(id("r", "tables"), id("s", "tables"));
        assert_eq!(id("r", "tables").get_version_num(), 8);
    }

    #[test]
    fn a_refusal_of_the_gate_is_no_failure() {
        let end = |kind| End::of(&Err::<(), _>(Error::new(kind, "why")));
        assert_eq!((end(Kind::Gate).phase, end(Kind::Gate).code), (Phase::Complete, 4));
        assert_eq!((end(Kind::Data).phase, end(Kind::Data).code), (Phase::Fail, 3));
        assert_eq!(End::of(&Ok(())).phase, Phase::Complete);
    }
}
