//! A model version that is ready to score: its artifact, and which features it reads.
//!
//! A version is scored by what it was trained on, whatever the definition's patterns match today. So a candidate with
//! other inputs can stand beside a champion of before, each scored on its own.

use arrow::array::RecordBatch;

use super::job::Job;
use super::monitor::baseline;
use crate::define::Model;
use crate::define::inputs::{Input, candidates, glob};
use crate::define::model::Reason;
use crate::error::{Context, Error, Kind, Result};
use crate::learn::artifact::Artifact;
use crate::learn::baseline::Baseline;
use crate::learn::reasons::{ReasonGroup, Reasons};
use crate::learn::scorer::{Contributions, Scorer};

/// A version with what it needs to score.
pub struct Version {
    pub name: String,
    pub artifact: Artifact,
    pub inputs: Vec<Input>,
    pub baseline: Option<Baseline>,
    pub explainer: Option<Explainer>,
}

/// What a version says of rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Predictions {
    /// The model's own number, before anything is made of it.
    pub margin: Vec<f64>,
    pub uncalibrated: Vec<f64>,
    /// What is decided on.
    pub probability: Vec<f64>,
    /// How many inputs are missing.
    pub missing: Vec<u32>,
    /// Per row, numbers of the model's groups of reasons, the weightiest first; `None` where it gives none.
    pub reasons: Option<Vec<Vec<u8>>>,
}

/// Loads a version of a model.
///
/// # Errors
/// `Data` if the artifact is gone, cut or changed; `Definition` if a newer version wrote it, or it reads a feature that
/// no definition makes any longer.
pub async fn load(job: &Job, model: &Model, version: &str) -> Result<Version> {
    let files = files(job, &model.name, version).await?.ok_or_else(|| gone(&model.name, version))?;
    let name = || format!("models/{}/{version}", model.name);
    let artifact = Artifact::from_files(&files).with_context(name)?;
    let inputs = inputs(&artifact);
    let known = candidates(&job.project, model);
    if let Some(input) = inputs.iter().find(|input| !known.contains(input)) {
        return Err(Error::definition(format!(
            "{} reads {}, which no definition makes any longer\n  help: keep the feature until a version without it is \
             the champion: take it out of the model's `inputs` first, and train",
            name(),
            input.name()
        )));
    }
    let population = files.iter().find(|(name, _)| name == baseline::FILE);
    let population = population.map(|(_, bytes)| baseline::read(bytes)).transpose().with_context(name)?;
    // An artifact of before there were baselines has an empty one.
    let baseline = population.or_else(|| Some(artifact.baseline.clone()).filter(|baseline| baseline.rows > 0));
    let explainer = Explainer::new(model, &inputs)?;
    Ok(Version { name: version.to_string(), artifact, inputs, baseline, explainer })
}

/// The files of an artifact; `None` where there is none.
pub async fn files(job: &Job, model: &str, version: &str) -> Result<Option<Vec<(String, Vec<u8>)>>> {
    let files = job.lake.get_files(&format!("models/{model}/{version}")).await.map_err(|error| match error.kind() {
        // A list of files that cannot be read is as good as none.
        Kind::Internal => Error::data(error.to_string()),
        _ => error,
    })?;
    Ok(files.map(|files| files.into_iter().collect()))
}

pub fn gone(model: &str, version: &str) -> Error {
    Error::data(format!(
        "the artifact models/{model}/{version} is gone\n  help: restore it, or go back with `scorehouse models rollback \
         {model}`, or train again"
    ))
}

/// The features that an artifact was trained on.
pub fn inputs(artifact: &Artifact) -> Vec<Input> {
    let mut inputs: Vec<Input> = Vec::new();
    for (group, feature) in artifact.features.iter().filter_map(|feature| feature.column().split_once('.')) {
        let input = Input { group: group.to_string(), feature: feature.to_string() };
        if !inputs.contains(&input) {
            inputs.push(input);
        }
    }
    inputs
}

impl Version {
    pub fn scorer(&self, threads: usize) -> Result<Scorer> {
        Scorer::new(&self.artifact, threads).with_context(|| self.name.clone())
    }

    /// Predicts vectors whose columns include the version's inputs. Blocks.
    pub fn predict(&self, scorer: &Scorer, vectors: &RecordBatch) -> Result<Predictions> {
        let said = scorer.predict(vectors)?;
        Ok(Predictions {
            margin: said.margin,
            uncalibrated: said.probability,
            probability: said.calibrated,
            missing: said.missing,
            reasons: None,
        })
    }

    /// As [`Self::predict`], with reasons where the model gives them.
    pub fn explain(&self, scorer: &Scorer, vectors: &RecordBatch) -> Result<Predictions> {
        let mut said = self.predict(scorer, vectors)?;
        if let Some(explainer) = &self.explainer {
            said.reasons = Some(explainer.reasons(&scorer.contributions(vectors)?)?);
        }
        Ok(said)
    }
}

/// Which declared groups of reasons the inputs of a version are in.
pub struct Explainer {
    reasons: Reasons,
    /// Of each group that can be given, its number among the declared ones.
    declared: Vec<u8>,
}

impl Explainer {
    /// `None` where the model declares no reasons. A version of before may read an input that no group has by now: that
    /// one is never a reason.
    pub fn new(model: &Model, inputs: &[Input]) -> Result<Option<Explainer>> {
        let Some(declared) = &model.reasons else { return Ok(None) };
        let names: Vec<String> = inputs.iter().map(Input::name).collect();
        let groups: Vec<&Reason> = declared.groups.values().collect();
        let holds = |group: &Reason, name: &str| group.inputs.iter().any(|pattern| glob(pattern, name));
        let protected = |name: &str| declared.protected.iter().any(|pattern| glob(pattern, name));
        let first = |name: &str| groups.iter().position(|group| holds(group, name)).filter(|_| !protected(name));
        let given = |index: &usize| names.iter().any(|name| first(name) == Some(*index));
        let chosen: Vec<usize> = (0..groups.len()).filter(given).collect();
        if chosen.is_empty() {
            return Ok(None);
        }
        let named = |index: &usize| ReasonGroup {
            code: groups[*index].code.clone(),
            sentence: groups[*index].sentence.clone(),
        };
        let of = |place: usize, name: &str| first(name) == Some(chosen[place]);
        let others = |name: &str| first(name).is_none();
        let reasons = Reasons::new(&names, chosen.iter().map(named).collect(), of, others, declared.count)?;
        let declared = chosen.iter().map(|index| u8::try_from(*index).unwrap_or(u8::MAX)).collect();
        Ok(Some(Explainer { reasons, declared }))
    }

    fn reasons(&self, contributions: &Contributions) -> Result<Vec<Vec<u8>>> {
        let rows = self.reasons.of_rows(&contributions.values)?;
        Ok(rows.into_iter().map(|row| row.into_iter().map(|group| self.declared[group]).collect()).collect())
    }
}

/// That each input of a model is in a group of reasons, or protected, and each group can be given.
///
/// # Errors
/// `Definition`, with its line.
pub fn check_reasons(model: &Model, inputs: &[Input]) -> Result<()> {
    let Some(declared) = &model.reasons else { return Ok(()) };
    let names: Vec<String> = inputs.iter().map(Input::name).collect();
    let groups: Vec<&Reason> = declared.groups.values().collect();
    let named = |group: &&Reason| ReasonGroup { code: group.code.clone(), sentence: group.sentence.clone() };
    let holds = |index: usize, name: &str| groups[index].inputs.iter().any(|pattern| glob(pattern, name));
    let protected = |name: &str| declared.protected.iter().any(|pattern| glob(pattern, name));
    let checked = Reasons::new(&names, groups.iter().map(named).collect(), holds, protected, declared.count);
    checked.map(drop).map_err(|error| Error::definition(model.origin.at("reasons", error.to_string()).to_string()))
}

impl Predictions {
    /// As many rows as are to come.
    pub fn sized(rows: usize, reasons: bool) -> Predictions {
        Predictions {
            margin: vec![f64::NAN; rows],
            uncalibrated: vec![f64::NAN; rows],
            probability: vec![f64::NAN; rows],
            missing: vec![0; rows],
            reasons: reasons.then(|| vec![Vec::new(); rows]),
        }
    }

    /// Some of the rows.
    pub fn slice(&self, from: usize, count: usize) -> Predictions {
        let rows = from..from + count;
        Predictions {
            margin: self.margin[rows.clone()].to_vec(),
            uncalibrated: self.uncalibrated[rows.clone()].to_vec(),
            probability: self.probability[rows.clone()].to_vec(),
            missing: self.missing[rows.clone()].to_vec(),
            reasons: self.reasons.as_ref().map(|reasons| reasons[rows].to_vec()),
        }
    }

    /// Puts the predictions of a batch where its rows belong.
    pub fn put(&mut self, mut batch: Predictions, rows: &[u64]) {
        for (at, row) in rows.iter().enumerate() {
            let row = *row as usize;
            self.margin[row] = batch.margin[at];
            self.uncalibrated[row] = batch.uncalibrated[at];
            self.probability[row] = batch.probability[at];
            self.missing[row] = batch.missing[at];
            if let (Some(ours), Some(theirs)) = (&mut self.reasons, &mut batch.reasons) {
                ours[row] = std::mem::take(&mut theirs[at]);
            }
        }
    }
}
