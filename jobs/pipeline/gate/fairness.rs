//! Whether groups of people are treated alike: by the actions they would get tonight, and by those that rows whose
//! outcome turned out good would have got.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::DataType;

use super::check::{Check, Found};
use super::{Judging, rows::Rows};
use crate::define::Model;
use crate::define::model::{Fairness as Declared, Limit};
use crate::error::Result;
use crate::learn::fairness::{Fairness, fairness};
use crate::pipeline::job::Job;
use crate::pipeline::score::rows::Policy;
use crate::pipeline::vectors::Expression;

/// By declared name: the group of each row.
pub type Groups = Vec<(String, Vec<Option<String>>)>;

/// As many rows as are to come.
pub fn empty(model: &Model, rows: usize) -> Groups {
    let names = model.fairness.iter().flat_map(|fairness| fairness.groups.keys());
    names.map(|name| (name.clone(), vec![None; rows])).collect()
}

/// Finds the groups of the rows of a batch.
pub fn see(job: &Job, model: &Model, groups: &mut Groups, vectors: &RecordBatch, numbers: &[u64]) -> Result<()> {
    let Some(declared) = &model.fairness else { return Ok(()) };
    for ((_, of_rows), expression) in groups.iter_mut().zip(declared.groups.values()) {
        let values = Expression::new(job, expression, &vectors.schema())?.values(vectors)?;
        let texts = arrow::compute::cast(&values, &DataType::Utf8)?;
        for (text, row) in texts.as_string::<i32>().iter().zip(numbers) {
            of_rows[*row as usize] = text.map(str::to_string);
        }
    }
    Ok(())
}

/// The groups of all rows of a batch.
pub fn groups(job: &Job, model: &Model, vectors: &RecordBatch) -> Result<Groups> {
    let mut groups = empty(model, vectors.num_rows());
    let numbers: Vec<u64> = (0..vectors.num_rows() as u64).collect();
    see(job, model, &mut groups, vectors, &numbers)?;
    Ok(groups)
}

/// How a version treats one declared set of groups.
#[derive(Debug)]
pub struct Treated {
    pub name: String,
    /// By tonight's actions; no outcome is known.
    pub tonight: Fairness,
    /// By the rows whose outcome is known.
    pub known: Option<Fairness>,
}

/// The candidate, and the champion if there is one.
pub fn treated(judging: &Judging<'_>, policy: &Policy, champion: bool) -> Result<Vec<Treated>> {
    let Some(declared) = &judging.model.fairness else { return Ok(Vec::new()) };
    let tonight = match (champion, &judging.tonight.champion) {
        (false, _) => Some(&judging.tonight.candidate),
        (true, live) => live.as_ref(),
    };
    let Some(tonight) = tonight else { return Ok(Vec::new()) };
    let favoured = favoured(declared, judging.model, policy);
    let mut all = Vec::new();
    for (name, groups) in &judging.tonight.groups {
        all.push(Treated {
            name: name.clone(),
            tonight: of(groups, &tonight.probability, None, &favoured, declared.min_rows)?,
            known: known(&judging.rows, name, champion, &favoured, declared.min_rows)?,
        });
    }
    Ok(all)
}

fn known(
    rows: &Rows,
    name: &str,
    champion: bool,
    favoured: &dyn Fn(f64) -> bool,
    min_rows: usize,
) -> Result<Option<Fairness>> {
    let scores = if champion { rows.champion.as_ref() } else { Some(&rows.candidate) };
    let groups = rows.groups.iter().find(|(of, _)| of == name);
    let (Some(scores), Some((_, groups))) = (scores, groups) else { return Ok(None) };
    let good: Vec<bool> = rows.labels.iter().map(|bad| !bad).collect();
    Ok(Some(of(groups, scores, Some(&good), favoured, min_rows)?))
}

fn of(
    groups: &[Option<String>],
    scores: &[f64],
    good: Option<&[bool]>,
    favoured: &dyn Fn(f64) -> bool,
    min_rows: usize,
) -> Result<Fairness> {
    let groups: Vec<Option<&str>> = groups.iter().map(Option::as_deref).collect();
    let favoured: Vec<bool> = scores.iter().map(|score| favoured(*score)).collect();
    fairness(&groups, &favoured, good, min_rows as u64)
}

fn favoured<'a>(declared: &'a Declared, model: &'a Model, policy: &'a Policy) -> impl Fn(f64) -> bool + 'a {
    let first = model.decisions.first().map_or("", |decision| decision.action.as_str());
    let action = declared.favourable.as_deref().unwrap_or(first);
    move |score| policy.action(score) == action
}

/// A check per declared set of groups.
pub fn checks(judging: &Judging<'_>, policy: &Policy, name: &str, limit: &Limit) -> Result<Vec<Check>> {
    let (ours, live) = (treated(judging, policy, false)?, treated(judging, policy, true)?);
    let gap = |treated: &Treated| match name {
        "demographic_parity" => treated.tonight.demographic_parity.map(|gap| gap.difference),
        _ => treated.known.as_ref().and_then(|known| known.equal_opportunity).map(|gap| gap.difference),
    };
    let mut checks = Vec::new();
    for treated in &ours {
        let candidate = gap(treated);
        let champion = live.iter().find(|other| other.name == treated.name).and_then(gap);
        let note = match candidate {
            Some(_) => "the largest share of a group that is favoured, less the smallest".to_string(),
            None => "fewer than two groups have enough rows".to_string(),
        };
        let found = Found { candidate, champion, difference: None, note };
        checks.extend(Check::made(format!("{name}.{}", treated.name), limit, &found));
    }
    Ok(checks)
}
