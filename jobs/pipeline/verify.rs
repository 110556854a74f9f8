//! The `verify` job: are features exact in time, and is what is stored what the definitions say?
//!
//! [`leakage`] computes the features of a few entities at a few instants, gives the tables another future
//! ([`perturb`](mod@perturb)) and computes them again: a feature that moves by a single bit has seen what its decision
//! could not know. [`stored`] holds the tables of a night to the naive evaluator.

pub mod difference;
mod kinds;
pub mod perturb;
pub mod proof;
pub mod sample;
pub mod stored;
pub mod subject;

use std::collections::{BTreeMap, BTreeSet};

use super::job::Job;
use super::rotation;
use crate::define::diagnostic;
use crate::error::{Context, Error, Result};
use proof::Proof;
use subject::Subject;

/// The leakage proof of every selected definition.
pub async fn leakage(job: &Job, entities: usize, seed: u64) -> Result<Vec<Proof>> {
    rotation::refuse(&job.lake).await?;
    let mut proofs = Vec::new();
    for subject in kinds::subjects(job)? {
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
    let people = subject.people();
    let reads = subject.reads();
    let names = reads.iter().map(|read| read.table.as_str()).chain([people.entities.as_str()]);
    let pins = job.pin(names).await?;
    let people = sample::people(job, &session, &pins, (people, subject.reads_spine()), entities, seed).await?;
    let mut tables = BTreeMap::new();
    for read in &reads {
        let frame = pins.frame(&session, &read.table, job.as_of())?;
        let rows = sample::rows_about(&session, &people, &read.on, frame)?;
        tables.insert(read.name.clone(), sample::collect(rows).await?);
    }
    proof::prove(&session, subject, &tables, &people, job.as_of(), seed).await
}

/// The first leak of each feature as an error of the definition; `None` if there is none.
pub fn leakage_error(proofs: &[Proof]) -> Option<Error> {
    let mut found = Vec::new();
    for proof in proofs {
        let mut told = BTreeSet::new();
        let first = proof.leaks.iter().filter(|leak| told.insert(leak.difference.column.as_str()));
        found.extend(first.map(|leak| leak.diagnostic.clone()));
    }
    (!found.is_empty()).then(|| diagnostic::into_error(found))
}
