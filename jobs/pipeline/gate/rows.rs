//! Rows whose outcome is known and that neither version has learned from.
//!
//! They are the candidate's test rows, of which those count that are decided after the last label was known that the
//! champion learned from. Under a split by time, the candidate's own code scores them; where a version was validated in
//! folds, no model that ships has not seen them, and the predictions of the fold's model stand in for it.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;

use super::fairness::{self, Groups};
use crate::define::Model;
use crate::define::model::Validation;
use crate::error::{Error, Kind, Result};
use crate::learn::bootstrap::Clusters;
use crate::pipeline::artifacts::{self, Version};
use crate::pipeline::job::{Job, end_of};
use crate::pipeline::registry::History;
use crate::pipeline::training_set::{self, TrainingSet};
use crate::pipeline::vectors;

/// With fewer rows, or fewer of one class, metrics are chance.
const ENOUGH: usize = 50;
const ENOUGH_OF_A_CLASS: usize = 5;

#[derive(Debug, Default)]
pub struct Rows {
    pub labels: Vec<bool>,
    pub entities: Vec<String>,
    pub candidate: Vec<f64>,
    pub champion: Option<Vec<f64>>,
    pub anchor: Anchor,
    pub groups: Groups,
    /// How many different scores the candidate itself gives its test rows.
    pub distinct: usize,
    /// Why they do not do; empty if they do.
    pub lacks: String,
}

/// What the anchor says of the rows.
#[derive(Debug, Default)]
pub struct Anchor {
    pub scores: Option<Vec<f64>>,
    /// Why it says nothing.
    pub lacks: String,
}

impl Rows {
    pub async fn score(
        job: &Job,
        model: &Model,
        history: &History,
        candidate: &Version,
        champion: Option<&Version>,
    ) -> Result<Rows> {
        let Some(set) = training_set::of_version(job, model, &candidate.name).await? else {
            return Ok(Rows { lacks: "the candidate's training set is not kept any longer".into(), ..Rows::default() });
        };
        let since = champion.map(|champion| trained_until(history, &champion.name));
        let is_test = |row: usize| set.out_of_sample[row].is_some() && set.parts[row].as_deref().is_some_and(is_test);
        let chosen: Vec<bool> =
            (0..set.len()).map(|row| is_test(row) && since.is_none_or(|since| set.as_of[row] >= since)).collect();
        let asked = Asked { job, set: &set, chosen: &chosen };
        let own = asked.scores(candidate)?;
        let own = own.ok_or_else(|| Error::internal("a training set lacks inputs of its own version"))?;
        let candidate_scores = match model.validation {
            Validation::Time { .. } => own.clone(),
            _ => asked.each(|row| set.out_of_sample[row].unwrap_or(f64::NAN)),
        };
        let mut rows = Rows {
            labels: asked.each(|row| set.labels[row]),
            entities: asked.each(|row| set.entities[row].clone()),
            candidate: candidate_scores,
            anchor: anchor(&asked, model, history, candidate, champion).await?,
            distinct: distinct(&own),
            ..Rows::default()
        };
        if let Some(champion) = champion {
            rows.champion = asked.scores(champion)?;
            if rows.champion.is_none() {
                rows.lacks = "the candidate's training set lacks inputs of the champion: train again".into();
            }
        }
        if let Some(vectors) = set.vectors(&vectors::columns(job, model)?.1, &chosen)? {
            rows.groups = fairness::groups(job, model, &vectors)?;
        }
        if rows.lacks.is_empty() {
            rows.lacks = lacks(&rows.labels, since.is_some());
        }
        Ok(rows)
    }

    pub fn clusters(&self) -> Clusters {
        Clusters::of(&self.entities)
    }
}

/// Rows of a training set that a version is asked about.
struct Asked<'a> {
    job: &'a Job,
    set: &'a TrainingSet,
    chosen: &'a [bool],
}

impl Asked<'_> {
    /// `None` if the rows lack one of its inputs.
    fn scores(&self, version: &Version) -> Result<Option<Vec<f64>>> {
        let Some(vectors) = self.set.vectors(&version.inputs, self.chosen)? else { return Ok(None) };
        let predict = |vectors: &RecordBatch| version.predict(&version.scorer(self.job.threads())?, vectors);
        Ok(Some(tokio::task::block_in_place(|| predict(&vectors))?.probability))
    }

    fn each<T>(&self, get: impl Fn(usize) -> T) -> Vec<T> {
        (0..self.set.len()).filter(|row| self.chosen[*row]).map(get).collect()
    }
}

async fn anchor(
    asked: &Asked<'_>,
    model: &Model,
    history: &History,
    candidate: &Version,
    champion: Option<&Version>,
) -> Result<Anchor> {
    let lacks = |why: &str| Ok(Anchor { scores: None, lacks: why.to_string() });
    let Some(name) = history.aliases().anchor else { return lacks("there is no anchor yet") };
    if name == candidate.name || champion.is_some_and(|champion| champion.name == name) {
        return lacks("the champion is the anchor");
    }
    match artifacts::load(asked.job, model, &name).await {
        Ok(version) => match asked.scores(&version)? {
            Some(scores) => Ok(Anchor { scores: Some(scores), lacks: String::new() }),
            None => lacks("the candidate's training set lacks inputs of the anchor"),
        },
        // What is gone of an old version keeps no new one from being judged.
        Err(error) if matches!(error.kind(), Kind::Data | Kind::Definition) => lacks(&error.to_string()),
        Err(error) => Err(error),
    }
}

/// When the last label was known that a version learned from; at the latest at the end of its own night.
pub fn trained_until(history: &History, version: &str) -> i64 {
    match history.trained(version) {
        Some(trained) => trained.trained_until.unwrap_or(end_of(trained.logical_date)),
        None => i64::MIN,
    }
}

fn is_test(part: &str) -> bool {
    ["test", "out_of_fold"].contains(&part)
}

fn lacks(labels: &[bool], younger: bool) -> String {
    let bad = labels.iter().filter(|label| **label).count();
    let (rows, good) = (labels.len(), labels.len() - bad);
    if rows >= ENOUGH && bad.min(good) >= ENOUGH_OF_A_CLASS {
        return String::new();
    }
    let which = if younger { " younger than what the champion was trained on" } else { "" };
    format!(
        "{rows} test rows{which}, {bad} of them true; at least {ENOUGH} were expected, {ENOUGH_OF_A_CLASS} of each class"
    )
}

/// How many different numbers there are; two zeros are one.
pub fn distinct(scores: &[f64]) -> usize {
    scores.iter().map(|score| (score + 0.0).to_bits()).collect::<BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_rows_say_how_many_there_are() {
        let labels: Vec<bool> = (0..60).map(|row| row < 4).collect();
        assert!(lacks(&labels, true).starts_with("60 test rows younger than what the champion was trained on, 4 of"));
        assert!(lacks(&labels[..49], false).starts_with("49 test rows, 4"));
        assert_eq!(lacks(&[labels, vec![true]].concat(), true), "");
        assert_eq!([distinct(&[]), distinct(&[0.0, -0.0]), distinct(&[0.1, 0.2, 0.1])], [0, 1, 2]);
    }
}
