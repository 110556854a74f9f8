//! Tonight's population as candidate and champion see it.

use arrow::array::RecordBatch;

use super::asserts::{self, Asserts};
use super::fairness::{self, Groups};
use crate::define::Model;
use crate::error::{Context, Result};
use crate::pipeline::artifacts::{Predictions, Version};
use crate::pipeline::job::{Job, Pins};
use crate::pipeline::{population, spine, vectors};

pub struct Tonight {
    /// Whom they are: entity, as_of, key.
    pub rows: RecordBatch,
    pub pins: Pins,
    pub candidate: Predictions,
    pub champion: Option<Predictions>,
    /// Rows of which the candidate sees at least one input.
    pub covered: usize,
    pub asserts: Asserts,
    pub groups: Groups,
}

impl Tonight {
    pub async fn score(job: &Job, model: &Model, candidate: &Version, champion: Option<&Version>) -> Result<Tonight> {
        let mut inputs = candidate.inputs.clone();
        vectors::extend(&mut inputs, champion.iter().flat_map(|champion| champion.inputs.clone()));
        vectors::extend(&mut inputs, vectors::looked_at(job, model));
        let pins = population::pin(job, model, &inputs).await?;
        let rows = spine::scoring(job, model, &pins).await?;
        let count = rows.num_rows();
        let mut tonight = Tonight {
            candidate: Predictions::sized(count, false),
            champion: champion.map(|_| Predictions::sized(count, false)),
            covered: 0,
            asserts: asserts::prepare(job, model, &rows)?,
            groups: fairness::empty(model, count),
            rows: rows.clone(),
            pins: Pins::default(),
        };
        let scorers = (candidate.scorer(job.threads())?, champion.map(|c| c.scorer(job.threads())).transpose()?);
        let see = |vectors: &RecordBatch, numbers: &[u64]| {
            let said = candidate.predict(&scorers.0, vectors).context("the candidate")?;
            let inputs = candidate.inputs.len();
            tonight.covered += said.missing.iter().filter(|missing| (**missing as usize) < inputs).count();
            tonight.candidate.put(said, numbers);
            if let (Some(champion), Some(scorer), Some(live)) = (champion, &scorers.1, &mut tonight.champion) {
                live.put(champion.predict(scorer, vectors).context("the champion")?, numbers);
            }
            tonight.asserts.see(job, vectors, numbers)?;
            fairness::see(job, model, &mut tonight.groups, vectors, numbers)
        };
        population::each(job, model, &pins, &inputs, &rows, see).await?;
        tonight.pins = pins;
        Ok(tonight)
    }
}
