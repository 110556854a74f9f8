//! A model version that is ready to score: its artifact, and which features it reads.
//!
//! A version is scored by what it was trained on, whatever the definition's patterns match today. So a candidate with
//! other inputs can stand beside a champion of before, each scored on its own.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Float64Type;

use super::job::Job;
use super::monitor::baseline::{self, Baseline};
use crate::define::Model;
use crate::define::inputs::{Input, candidates};
use crate::error::{Context, Error, Kind, Result};
use crate::learn::artifact::Artifact;
use crate::learn::scorer::Scorer;

/// A version with what it needs to score.
pub struct Version {
    pub name: String,
    pub artifact: Artifact,
    pub inputs: Vec<Input>,
    pub baseline: Option<Baseline>,
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
    let baseline = files.iter().find(|(name, _)| name == baseline::FILE);
    let baseline = baseline.map(|(_, bytes)| Baseline::read(bytes)).transpose().with_context(name)?;
    Ok(Version { name: version.to_string(), artifact, inputs, baseline })
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
        let probability = scorer.score(vectors)?;
        Ok(Predictions {
            margin: scorer.raw(vectors)?,
            uncalibrated: probability.clone(),
            probability,
            missing: missing(&self.inputs, vectors)?,
            reasons: None,
        })
    }
}

/// How many of the inputs each row lacks.
pub fn missing(inputs: &[Input], vectors: &RecordBatch) -> Result<Vec<u32>> {
    let mut missing = vec![0; vectors.num_rows()];
    for input in inputs {
        let name = input.name();
        let column = vectors.column_by_name(&name).ok_or_else(|| Error::internal(format!("no column {name}")))?;
        let numbers = column.as_primitive_opt::<Float64Type>();
        for (row, count) in missing.iter_mut().enumerate() {
            let lacks = column.is_null(row) || numbers.is_some_and(|numbers| numbers.value(row).is_nan());
            *count += u32::from(lacks);
        }
    }
    Ok(missing)
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
