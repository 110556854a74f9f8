//! Heads of trees, all of them LightGBM's.
//!
//! A forest averages trees that were each grown on a part of the rows, with a part of the features at every split
//! (L. Breiman, "Random Forests", 2001); extra trees also draw their thresholds at random (P. Geurts, D. Ernst and L.
//! Wehenkel, "Extremely randomized trees", 2006). LightGBM draws rows without putting them back: 63.2 % of them are as
//! many different ones as a bootstrap sample holds. A single tree is one boosting round at full learning rate.

use std::collections::BTreeMap;

use super::super::lightgbm::{self, Dataset, Rows, Session, Settings};
use super::{Body, Head, Learned, Params, Sample, Task, Watch};
use crate::define::model::HeadKind;
use crate::error::{Error, Result};

pub(super) struct Learner<'a> {
    pub kind: HeadKind,
    pub params: &'a Params,
}

impl Head for Learner<'_> {
    fn learn(&self, task: &Task, watch: &mut Watch) -> Result<Learned> {
        let single = self.kind == HeadKind::Tree;
        let too_large = |what: &str| Error::definition(format!("{what} must be at most {}", i32::MAX));
        let params = self.settings(task.train.view.features().len(), task.monotone);
        let settings = Settings {
            params: &params,
            seed: i32::try_from(task.seed).map_err(|_| too_large("`seed`"))?,
            threads: i32::try_from(task.threads).map_err(|_| too_large("threads"))?,
            rounds: if single { 1 } else { task.rounds },
        };
        let session = Session::open()?;
        let data = Dataset::train(&session, &task.train.view, &rows(&task.train), &settings)?;
        let stop = match &task.stop {
            Some(stop) if !single => Some(data.valid(&session, &stop.view, &rows(stop))?),
            _ => None,
        };
        let trained = lightgbm::train(&session, &data, stop.as_ref().map(|s| (s, task.patience)), &settings, watch)?;
        let importances = trained.gain.into_iter().zip(trained.split).collect();
        Ok(Learned { body: Body::Trees(trained.model), rounds: trained.best_iteration, importances })
    }
}

fn rows<'a>(sample: &'a Sample) -> Rows<'a> {
    Rows { labels: sample.labels, weights: sample.weights }
}

impl Learner<'_> {
    /// What the definition says, what the kind is, and the kind's own defaults.
    fn settings(&self, features: usize, monotone: &[i8]) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> = match self.kind {
            HeadKind::RandomForest | HeadKind::ExtraTrees => {
                let share = (1.0 / (features.max(1) as f64).sqrt()).to_string();
                let own = [("bagging_fraction", "0.632"), ("bagging_freq", "1"), ("num_leaves", "127")];
                let own = own.map(|(name, value)| (name, value.to_string()));
                own.into_iter().chain([("feature_fraction_bynode", share)]).map(|(n, v)| (n.to_string(), v)).collect()
            }
            _ => BTreeMap::new(),
        };
        all.extend(self.params.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        let fixed: &[(&str, &str)] = match self.kind {
            HeadKind::RandomForest => &[("boosting", "rf"), ("extra_trees", "false")],
            HeadKind::ExtraTrees => &[("boosting", "rf"), ("extra_trees", "true")],
            HeadKind::Tree => &[("boosting", "gbdt"), ("learning_rate", "1")],
            _ => &[],
        };
        all.extend(fixed.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        if monotone.iter().any(|direction| *direction != 0) {
            let directions: Vec<String> = monotone.iter().map(ToString::to_string).collect();
            all.insert("monotone_constraints".into(), directions.join(","));
        }
        all
    }
}
