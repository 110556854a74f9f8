//! How past scores turned out: decisions whose outcome is known since, with what was scored when they were taken.
//!
//! A decision at an instant is held to the last score of its entity before it that is at most a day old; where
//! applications are scored, to the first score of that very application. Of what versions scored them is no matter: it
//! is the model as the business knew it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema};

use super::{Measure, Watch};
use crate::define::model::{Scoring, SpineKind};
use crate::define::types::{DAY, Duration};
use crate::error::{Kind, Result};
use crate::learn::metrics::{Metric, Metrics};
use crate::pipeline::{instants, spine};

/// Decisions of so many days, the last whose outcome is known.
const WINDOW: u32 = 30;
/// With fewer decisions, or fewer of one outcome, measures are chance.
const ENOUGH: usize = 50;
const ENOUGH_OF_A_CLASS: usize = 5;

impl Watch<'_> {
    pub(super) async fn outcomes(&self) -> Result<Vec<Measure>> {
        let (base, auc, error) = {
            let m = &self.model.monitoring;
            (&m.base_rate, &m.auc_drop, &m.calibration_error)
        };
        let all = |why: &str| {
            vec![
                Measure::skipped("base_rate", "label", base, why),
                Measure::skipped("auc_drop", "score", auc, why),
                Measure::skipped("calibration_error", "score", error, why),
            ]
        };
        let decided = match self.decided().await {
            // No outcome is known yet, or none can be read.
            Err(error) if error.kind() == Kind::Data => return Ok(all(error.to_string().lines().next().unwrap_or(""))),
            decided => decided?,
        };
        let labels = &decided.labels;
        if let Some(why) = too_few(labels) {
            return Ok(all(&why));
        }
        let rate = labels.iter().filter(|label| **label).count() as f64 / labels.len() as f64;
        let before = self.version.baseline.as_ref().map(|baseline| baseline.base_rate);
        let change = before.filter(|before| *before > 0.0).map(|before| (rate - before).abs() / before);
        let mut measures = vec![Measure::of("base_rate", "label", (Some(rate), before), change, base)];
        let (labels, scores) = self.scored(&decided).await?;
        if let Some(why) = too_few(&labels) {
            let why = format!("{why} (with a score of their night)");
            measures.push(Measure::skipped("auc_drop", "score", auc, &why));
            measures.push(Measure::skipped("calibration_error", "score", error, &why));
            return Ok(measures);
        }
        let threshold = self.model.decisions.first().and_then(|decision| decision.below).unwrap_or(0.5);
        let found = Metrics::of(&labels, &scores, threshold)?;
        let (value, before) = (found.get(Metric::RocAuc), self.trained("roc_auc"));
        let drop = before.zip(value).map(|(before, value)| before - value);
        measures.push(Measure::of("auc_drop", "score", (value, before), drop, auc));
        let (value, before) = (found.get(Metric::CalibrationError), self.trained("calibration_error"));
        measures.push(Measure::of("calibration_error", "score", (value, before), value, error));
        Ok(measures)
    }

    /// A metric of the champion's test rows.
    fn trained(&self, metric: &str) -> Option<f64> {
        let trained = self.history.trained(&self.version.name)?;
        serde_json::from_str::<serde_json::Value>(&trained.metrics).ok()?.get(metric)?.as_f64()
    }

    /// The last decisions whose outcome is known: all of them, as they are.
    async fn decided(&self) -> Result<spine::Spine> {
        let mut recent = self.model.clone();
        recent.spine.max_rows = None;
        recent.weight = None;
        recent.reject_inference = None;
        let from = self.job.as_of() - recent.label.known_after() - i64::from(WINDOW) * DAY;
        match &mut recent.spine.kind {
            SpineKind::Grid { history, .. } => *history = Duration::days(WINDOW),
            SpineKind::Events { table, as_of, .. } => {
                let time = as_of.as_deref().or_else(|| self.job.project.event_time(table)).unwrap_or("as_of");
                let since = format!("\"{time}\" >= timestamp '{}'", instants::text(from));
                recent.spine.filter = Some(match &recent.spine.filter {
                    Some(filter) => format!("({filter}) and {since}"),
                    None => since,
                });
            }
        }
        spine::training(self.job, &recent, &self.pins).await
    }

    /// Outcomes and scores of the decisions that were scored.
    async fn scored(&self, decided: &spine::Spine) -> Result<(Vec<bool>, Vec<f64>)> {
        let session = self.job.session()?;
        let context = session.context();
        let mut keys: Vec<&str> = self.model.entity.iter().map(String::as_str).collect();
        let applications = matches!(self.model.scoring, Scoring::Applications(_));
        if applications {
            keys.extend(self.model.spine_key().iter().map(String::as_str));
        }
        context.register_batch("decided", numbered(decided, &keys)?)?;
        context.register_table("scored", self.scores.provider()?)?;
        let on: Vec<String> = keys.iter().map(|key| format!("d.\"{key}\" = s.\"{key}\"")).collect();
        let (when, order) = match applications {
            true => ("s.as_of = d.as_of", "s.logical_date"),
            false => ("s.as_of <= d.as_of and s.as_of > d.as_of - interval '1 day'", "-cast(s.as_of as bigint)"),
        };
        let sql = format!(
            "select d._row, s.probability, s.as_of, s.logical_date, {order} as _order from decided d join scored s on {} \
             where {when} and s.probability is not null order by d._row, {order}",
            on.join(" and ")
        );
        let mut first: BTreeMap<i64, f64> = BTreeMap::new();
        for batch in session.sql(&sql).await?.collect().await? {
            let rows = batch.column(0).as_primitive::<Int64Type>();
            let scores = batch.column(1).as_primitive::<Float64Type>();
            for at in 0..batch.num_rows() {
                first.entry(rows.value(at)).or_insert(scores.value(at));
            }
        }
        Ok(first.into_iter().map(|(row, score)| (decided.labels[row as usize], score)).unzip())
    }
}

/// The decisions' keys and instants, with their numbers.
fn numbered(decided: &spine::Spine, keys: &[&str]) -> Result<RecordBatch> {
    let rows = &decided.rows;
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for name in keys.iter().chain(&["as_of"]) {
        let index = rows.schema().index_of(name)?;
        fields.push(rows.schema().field(index).clone());
        columns.push(rows.column(index).clone());
    }
    fields.push(Field::new("_row", DataType::Int64, false));
    columns.push(Arc::new(Int64Array::from_iter_values(0..rows.num_rows() as i64)));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn too_few(labels: &[bool]) -> Option<String> {
    let bad = labels.iter().filter(|label| **label).count();
    let (rows, good) = (labels.len(), labels.len() - bad);
    (rows < ENOUGH || bad.min(good) < ENOUGH_OF_A_CLASS).then(|| {
        format!("{rows} decisions of {WINDOW} days, {bad} of them true; at least {ENOUGH} were expected, {ENOUGH_OF_A_CLASS} of each outcome")
    })
}
