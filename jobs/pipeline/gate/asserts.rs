//! Asserts: named cases that must get a given action, whatever the metrics say.

use arrow::array::RecordBatch;

use super::check::{Check, Found};
use crate::clock;
use crate::define::Model;
use crate::define::model::{Assert, AssertCase, Limit, Scoring};
use crate::define::source::Pii;
use crate::error::{Error, Result};
use crate::pipeline::ingest::pseudonym;
use crate::pipeline::job::Job;
use crate::pipeline::score::rows::Policy;
use crate::pipeline::spine;
use crate::pipeline::vectors::Expression;

/// The asserts of a model, each with the rows of tonight that it is about.
pub struct Asserts(Vec<About>);

struct About {
    assert: Assert,
    rows: Vec<usize>,
    lacks: &'static str,
}

/// Finds the entities that are named.
///
/// # Errors
/// `Definition`, with the assert and its line, if one is not among those who are scored.
pub fn prepare(job: &Job, model: &Model, rows: &RecordBatch) -> Result<Asserts> {
    let mut all = Vec::new();
    let named = model.gate.asserts.iter().any(|assert| matches!(assert.case, AssertCase::Entity(_)));
    let texts = if named { spine::entity_texts(rows, &model.entity)? } else { Vec::new() };
    for (index, assert) in model.gate.asserts.iter().enumerate() {
        let mut about = About { assert: assert.clone(), rows: Vec::new(), lacks: "nobody is such a case tonight" };
        if let AssertCase::Entity(entity) = &assert.case {
            let names = names(job, model, entity)?;
            about.rows = (0..texts.len()).filter(|row| names.contains(&texts[*row])).collect();
            if about.rows.is_empty() && matches!(model.scoring, Scoring::Population(_)) {
                let message = format!("assert `{}` names an unknown entity", assert.name);
                let diagnostic = model.origin.at(&format!("gate.asserts.{index}.entity"), message);
                let expected = format!("one of the {} that the model scores", texts.len());
                let help = "take somebody who stays, or `where` with a condition over inputs";
                return Err(Error::definition(diagnostic.found(entity).expected(expected).help(help).to_string()));
            }
            about.lacks = "the entity is not scored tonight";
        }
        all.push(about);
    }
    Ok(Asserts(all))
}

/// How an entity may be called in tables: as it is written, or by its pseudonyms.
fn names(job: &Job, model: &Model, entity: &str) -> Result<Vec<String>> {
    let parts: Vec<&str> = if model.entity.len() > 1 { entity.split('/').collect() } else { vec![entity] };
    let mut names = vec![parts.join("\u{1f}")];
    let secret = clock::env(&job.profile.pii_key).filter(|secret| !secret.is_empty());
    if let (Some(secret), true) = (secret, parts.len() == model.entity.len()) {
        let hidden = |column: &String| {
            let pii = |source: &crate::define::Source| source.columns.get(column).and_then(|column| column.pii);
            job.project.sources.values().any(|source| pii(source) == Some(Pii::Pseudonymise))
        };
        let part = |(column, part): (&String, &&str)| match hidden(column) {
            true => pseudonym(part, secret.as_bytes()),
            false => Ok(part.to_string()),
        };
        let parts: Vec<String> = model.entity.iter().zip(&parts).map(part).collect::<Result<_>>()?;
        names.push(parts.join("\u{1f}"));
    }
    Ok(names)
}

impl Asserts {
    /// Finds the rows of a batch that conditions are about.
    pub fn see(&mut self, job: &Job, vectors: &RecordBatch, numbers: &[u64]) -> Result<()> {
        for about in &mut self.0 {
            let AssertCase::Rows { condition, .. } = &about.assert.case else { continue };
            let what = || format!("assert `{}`", about.assert.name);
            let mask = Expression::new(job, condition, &vectors.schema())?.mask(vectors, what)?;
            about.rows.extend(mask.iter().zip(numbers).filter(|(holds, _)| **holds).map(|(_, row)| *row as usize));
        }
        Ok(())
    }

    /// A check per assert: the share of its rows that get the action.
    pub fn checks(&self, policy: &Policy, candidate: &[f64], champion: Option<&[f64]>) -> Vec<Check> {
        let mut checks = Vec::new();
        for About { assert, rows, lacks } in &self.0 {
            let needed = match assert.case {
                AssertCase::Entity(_) => 1.0,
                AssertCase::Rows { share, .. } => share,
            };
            let share = |scores: &[f64]| {
                let get = rows.iter().filter(|row| policy.action(scores[**row]) == assert.action).count();
                (!rows.is_empty()).then(|| get as f64 / rows.len() as f64)
            };
            let limit = Limit { min: Some(needed), ..Limit::default() };
            let note = match rows.len() {
                0 => lacks.to_string(),
                count => format!(
                    "{count} {} get {}",
                    if count == 1 { "must" } else { "of which so many must" },
                    assert.action
                ),
            };
            let found =
                Found { candidate: share(candidate), champion: champion.and_then(share), difference: None, note };
            checks.extend(Check::made(format!("assert.{}", assert.name), &limit, &found));
        }
        checks
    }
}
