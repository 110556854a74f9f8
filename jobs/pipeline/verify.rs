//! The `verify` job: are features exact in time, and is what is stored what the definitions say?
//!
//! [`leakage`] computes the features of a few entities at a few instants, gives the tables another future
//! ([`perturb`](mod@perturb)) and computes them again: a feature that moves by a single bit has seen what its decision
//! could not know. [`stored`] holds the tables of a night to the naive evaluator.

pub mod difference;
pub mod perturb;
pub mod proof;
pub mod sample;
pub mod stored;
pub mod subject;

use std::collections::BTreeMap;

use super::job::Job;
use crate::define::{Diagnostic, diagnostic};
use crate::error::{Context, Error, Result};
use difference::Difference;
use proof::{Leak, Proof};
use subject::{Subject, subjects};

/// The leakage proof of every selected definition.
pub async fn leakage(job: &Job, entities: usize, seed: u64) -> Result<Vec<Proof>> {
    let mut proofs = Vec::new();
    for subject in subjects(&job.project, |name| job.selected(name)) {
        let step = job.progress.step(subject.name());
        let proof = proof(job, subject.as_ref(), entities, seed).await.with_context(|| subject.name())?;
        let outcome = if proof.leaks.is_empty() { "holds" } else { "LEAKS" };
        step.done(&format!("{} spine rows, {} rows perturbed: {outcome}", proof.spine_rows, proof.perturbed));
        proofs.push(proof);
    }
    Ok(proofs)
}

async fn proof(job: &Job, subject: &dyn Subject, entities: usize, seed: u64) -> Result<Proof> {
    let session = job.session()?;
    let history = subject.people();
    let reads = subject.reads();
    let names = reads.iter().map(|read| read.table.as_str()).chain([history.entities.as_str()]);
    let pins = job.pin(names).await?;
    let people = sample::people(job, &session, &pins, history, entities, seed).await?;
    let mut tables = BTreeMap::new();
    for read in &reads {
        let frame = pins.frame(&session, &read.table, job.as_of())?;
        let rows = sample::rows_about(&session, &people, &history.entity, frame)?;
        tables.insert(read.table.clone(), sample::collect(rows).await?);
    }
    proof::prove(&session, subject, &tables, &people, job.as_of(), seed).await
}

/// Every leak as an error of the definition that leaks; `None` if there is none.
pub fn leakage_error(job: &Job, proofs: &[Proof]) -> Option<Error> {
    let mut found = Vec::new();
    for subject in subjects(&job.project, |_| true) {
        let proofs = proofs.iter().filter(|proof| proof.definition == subject.name());
        found.extend(proofs.flat_map(|proof| &proof.leaks).map(|leak| diagnosis(subject.as_ref(), leak)));
    }
    (!found.is_empty()).then(|| diagnostic::into_error(found))
}

/// What leaked, where it is defined.
pub fn diagnosis(subject: &dyn Subject, leak: &Leak) -> Diagnostic {
    let Difference { column, expected, found, .. } = &leak.difference;
    let message = format!("{} of {} sees the future of {} at {}", column, subject.name(), leak.entity, leak.as_of);
    let diagnostic = subject.at(column, message).expected(format!("{expected}, whatever happens or is known later"));
    let help = "a row counts only if event_time < as_of and _known_from <= as_of, and until _known_until";
    diagnostic.found(format!("{found} with another future")).help(help)
}
