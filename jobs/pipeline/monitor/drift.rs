//! Whether tonight's people and scores are distributed as they were when the champion was trained.

use arrow::array::RecordBatch;

use super::{Measure, Watch, baseline};
use crate::define::model::Scoring;
use crate::error::Result;
use crate::pipeline::{spine, vectors};

/// Fewer people than this look restless by chance alone.
const ENOUGH: usize = 200;

impl Watch<'_> {
    pub(super) async fn drift(&self) -> Result<Vec<Measure>> {
        let monitoring = &self.model.monitoring;
        let skipped = |why: &str| Ok(vec![Measure::skipped("psi", "score", &monitoring.psi, why)]);
        let Some(baseline) = &self.version.baseline else {
            return skipped("the version was trained before baselines were kept");
        };
        let Some(tonight) = self.tonight().await? else { return skipped("nobody is scored tonight") };
        if tonight.num_rows() < ENOUGH || baseline.rows < ENOUGH as u64 {
            let (now, then) = (tonight.num_rows(), baseline.rows);
            return skipped(&format!("{now} rows tonight against {then}, at least {ENOUGH} of both were expected"));
        }
        let mut measures = Vec::new();
        for (name, found) in tokio::task::block_in_place(|| baseline.compare(&tonight))? {
            measures.push(Measure::of("psi", &name, (Some(found.psi), None), Some(found.psi), &monitoring.psi));
            let shares = (Some(found.missing), Some(found.missing_before));
            let change = found.missing - found.missing_before;
            measures.push(Measure::of("missing", &name, shares, Some(change), &monitoring.missing));
        }
        let scores = self.probabilities().await?;
        measures.push(match &baseline.probabilities {
            Some(before) if !scores.is_empty() => {
                let psi = before.compare_numbers(&scores)?.psi;
                Measure::of("psi", "score", (Some(psi), None), Some(psi), &monitoring.psi)
            }
            _ => Measure::skipped("psi", "score", &monitoring.psi, "tonight was scored by another version"),
        });
        Ok(measures)
    }

    /// Vectors of those who are scored tonight, or of enough of them.
    async fn tonight(&self) -> Result<Option<RecordBatch>> {
        let inputs = &self.version.inputs;
        if let Scoring::Population(_) = self.model.scoring {
            return baseline::sample(self.job, self.model, inputs).await;
        }
        let rows = spine::scoring(self.job, self.model, &self.pins).await?;
        match rows.num_rows() {
            0 => Ok(None),
            _ => Ok(Some(vectors::assemble(self.job, &self.pins, inputs, &rows).await?)),
        }
    }
}
