//! Rows to a model with honest metrics: split, train with early stopping, predict what the model did not see.
//!
//! **By time**: trained on `train`, stopped on `valid`, measured on `test`; the model that is measured is the model
//! that ships. **Cross-validation**: per seed and fold, entities held out of the training fold find the number of
//! rounds, then a model of that many rounds on the whole training fold predicts the fold; metrics are those of the
//! out-of-fold predictions, averaged over seeds. What ships is one model on all rows with the mean number of rounds.
//!
//! Same inputs and seed give the same bytes on any number of threads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::evaluate::{Evaluation, Segment, evaluate, over_seeds};
use super::lightgbm::{self, Dataset, Rows, Session, Settings, Trained};
use super::matrix::{Feature, Matrix};
use super::params::Params;
use super::predict::{Model, Output};
use super::prior::{ClassWeight, Prior};
use super::split::{self, PartSummary, Validation};
use crate::error::{Context, Error, Result};

/// Of the entities of a training fold, one in so many stops the training.
const STOP_EVERY: u32 = 5;

/// Everything that a training depends on.
pub struct FitRequest<'a> {
    /// The inputs of the model, a row per (entity, as_of).
    pub matrix: &'a Matrix,
    /// Per row.
    pub labels: &'a [bool],
    /// Per row; used by cross-validation.
    pub entities: &'a [String],
    /// Per row, UTC microseconds; used by validation by time.
    pub as_of: &'a [i64],
    pub validation: Validation,
    /// Horizon + delay, microseconds.
    pub embargo: i64,
    /// LightGBM's tuning parameters by canonical name, see [`Params`].
    pub params: &'a BTreeMap<String, Value>,
    pub class_weight: ClassWeight,
    /// Trees at most.
    pub rounds: u32,
    /// Rounds without improvement before training stops; `None` trains all rounds.
    pub early_stopping: Option<u32>,
    pub seed: u32,
    /// 0 takes as many as OpenMP offers.
    pub threads: usize,
    /// Rows by name, beside `all`; a flag per row.
    pub segments: &'a [Segment],
    /// What counts as called positive in F1.
    pub threshold: f64,
    /// Categories kept per string column.
    pub max_categories: usize,
}

/// Which model predicted a row, as far as the row is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Train,
    Valid,
    Test,
    OutOfFold,
}

impl Part {
    pub fn name(self) -> &'static str {
        match self {
            Part::Train => "train",
            Part::Valid => "valid",
            Part::Test => "test",
            Part::OutOfFold => "out_of_fold",
        }
    }
}

/// The probability of a row by a model that was not trained on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutOfSample {
    pub row: usize,
    pub part: Part,
    pub probability: f64,
}

/// What a feature contributes to the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Importance {
    pub feature: String,
    /// Sum of the loss reductions of its splits.
    pub gain: f64,
    /// Number of its splits.
    pub split: f64,
}

/// A trained model with what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// LightGBM's text format.
    pub model: String,
    pub best_iteration: u32,
    pub features: Vec<Feature>,
    pub prior: Prior,
    pub report: Report,
    /// In row order.
    pub predictions: Vec<OutOfSample>,
}

/// What a training reports, as stored beside the model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub parts: Vec<PartSummary>,
    pub evaluations: Vec<Evaluation>,
    /// By gain, largest first.
    pub importances: Vec<Importance>,
    /// Things worth a look that did not stop the training.
    pub warnings: Vec<String>,
}

/// Trains and validates a model. Takes LightGBM for as long as it runs; call it from a blocking thread.
///
/// Errors: `Definition` for parameters and settings that are wrong; `Data` where rows or classes are too few for the
/// validation, with counts.
pub fn fit(request: &FitRequest) -> Result<Fitted> {
    check(request)?;
    let params = Params::check(request.params)?;
    params.check_together()?;
    let fitter = Fitter { request, params, session: Session::open()? };
    match &request.validation {
        Validation::Time { test, valid } => fitter.by_time(*test, *valid),
        Validation::RollingOrigin { .. } => Err(Error::internal("rolling origin")),
        Validation::CrossValidation { folds, seeds } => fitter.cross_validate(*folds, seeds),
    }
}

fn check(request: &FitRequest) -> Result<()> {
    let rows = request.matrix.rows();
    for (what, length) in
        [("labels", request.labels.len()), ("entities", request.entities.len()), ("as_of", request.as_of.len())]
    {
        if length != rows {
            return Err(Error::internal(format!("{rows} rows of features, {length} {what}")));
        }
    }
    if let Some((name, flags)) = request.segments.iter().find(|(_, flags)| flags.len() != rows) {
        return Err(Error::internal(format!("{rows} rows of features, {} flags of segment `{name}`", flags.len())));
    }
    if request.matrix.width() == 0 {
        return Err(Error::definition("the model has no inputs"));
    }
    if request.rounds == 0 || request.early_stopping == Some(0) {
        return Err(Error::definition("`rounds` and `early_stopping` must be at least 1"));
    }
    if i32::try_from(request.seed).is_err() || i32::try_from(request.rounds).is_err() {
        return Err(Error::definition(format!("`seed` and `rounds` must be at most {}", i32::MAX)));
    }
    two_classes("the training set", request.labels, &(0..rows).collect::<Vec<_>>())
}

fn two_classes(what: &str, labels: &[bool], rows: &[usize]) -> Result<()> {
    let positives = rows.iter().filter(|row| labels[**row]).count();
    let negatives = rows.len() - positives;
    if positives > 0 && negatives > 0 {
        return Ok(());
    }
    Err(Error::data(format!(
        "{what} has one class only: {positives} positive and {negatives} negative labels; check the label's `where`, \
         horizon and `eligible`, and whether the history is long enough"
    )))
}

struct Fitter<'a> {
    request: &'a FitRequest<'a>,
    params: Params,
    session: Session,
}

/// One trained model with how to read its inputs and its output.
struct One {
    trained: Trained,
    features: Vec<Feature>,
    prior: Prior,
}

impl Fitter<'_> {
    fn by_time(&self, test: split::TestStart, valid: Option<i64>) -> Result<Fitted> {
        let request = self.request;
        let parts = split::by_time(request.as_of, test, valid, request.embargo)?;
        two_classes("the training part", request.labels, &parts.train)?;
        let one = match valid {
            Some(_) => {
                two_classes("the validation part", request.labels, &parts.valid)?;
                self.train(&parts.train, &parts.valid, request.rounds)?
            }
            None => self.train_fold(&parts.train, "time")?,
        };
        let mut report = Report::default();
        let mut predictions = Vec::new();
        for (part, rows) in [(Part::Train, &parts.train), (Part::Valid, &parts.valid), (Part::Test, &parts.test)] {
            if rows.is_empty() {
                continue;
            }
            let probabilities = self.predict(&one, rows)?;
            report.parts.push(PartSummary::of(part.name(), rows, request.labels, request.as_of));
            report.evaluations.extend(self.evaluate(part, rows, &probabilities)?);
            if part != Part::Train {
                let out = rows.iter().zip(probabilities);
                predictions.extend(out.map(|(&row, probability)| OutOfSample { row, part, probability }));
            }
        }
        report.parts.push(PartSummary::of("dropped", &parts.dropped, request.labels, request.as_of));
        predictions.sort_by_key(|p| p.row);
        Ok(self.fitted(one, report, predictions))
    }

    fn cross_validate(&self, folds: u32, seeds: &[u64]) -> Result<Fitted> {
        let request = self.request;
        if seeds.is_empty() {
            return Err(Error::definition("cross-validation: expected at least one seed"));
        }
        let all: Vec<usize> = (0..request.matrix.rows()).collect();
        let mut sums = vec![0.0; all.len()];
        let mut evaluations = Vec::new();
        let mut rounds = Vec::new();
        for &seed in seeds {
            let assigned = split::by_entity(request.entities, folds, seed)?;
            let mut probabilities = vec![0.0; all.len()];
            for fold in 0..folds {
                let (inside, outside): (Vec<usize>, Vec<usize>) = all.iter().partition(|row| assigned[**row] == fold);
                let context = || format!("fold {} of {folds}, seed {seed}", fold + 1);
                let one = self.train_fold(&outside, &format!("{seed}/{fold}")).with_context(context)?;
                rounds.push(one.trained.best_iteration);
                for (row, probability) in inside.iter().zip(self.predict(&one, &inside)?) {
                    probabilities[*row] = probability;
                    sums[*row] += probability;
                }
            }
            evaluations.push(self.evaluate(Part::OutOfFold, &all, &probabilities)?);
        }
        let mean_rounds = rounds.iter().map(|r| f64::from(*r)).sum::<f64>() / rounds.len() as f64;
        let one = self.train(&all, &[], (mean_rounds.round() as u32).max(1))?;
        let report = Report {
            parts: vec![PartSummary::of(Part::OutOfFold.name(), &all, request.labels, request.as_of)],
            evaluations: over_seeds(&evaluations),
            ..Report::default()
        };
        let mean = |(row, sum): (usize, f64)| OutOfSample {
            row,
            part: Part::OutOfFold,
            probability: sum / seeds.len() as f64,
        };
        let predictions = sums.into_iter().enumerate().map(mean).collect();
        Ok(self.fitted(one, report, predictions))
    }

    /// A model on `rows`, its number of rounds found on entities among them that were held out first.
    fn train_fold(&self, rows: &[usize], salt: &str) -> Result<One> {
        let labels = self.request.labels;
        two_classes("the training fold", labels, rows)?;
        if self.request.early_stopping.is_none() {
            return self.train(rows, &[], self.request.rounds);
        }
        let (stop, train) = split::hold_out(self.request.entities, rows, STOP_EVERY, salt);
        two_classes("the part of the training fold that stops early", labels, &stop)?;
        two_classes("the part of the training fold that trains", labels, &train)?;
        let found = self.train(&train, &stop, self.request.rounds)?.trained.best_iteration;
        self.train(rows, &[], found)
    }

    /// A model on `rows`; with rows in `stop`, and early stopping asked for, cut where the loss on them is least.
    fn train(&self, rows: &[usize], stop: &[usize], rounds: u32) -> Result<One> {
        let request = self.request;
        let at = |rows: &[usize]| -> Vec<bool> { rows.iter().map(|row| request.labels[*row]).collect() };
        let too_large = |what: &str| Error::definition(format!("{what} must be at most {}", i32::MAX));
        let settings = Settings {
            params: &self.params,
            seed: i32::try_from(request.seed).map_err(|_| too_large("`seed`"))?,
            threads: i32::try_from(request.threads).map_err(|_| too_large("threads"))?,
            rounds,
        };
        let features = request.matrix.fit_features(rows, request.max_categories);
        let labels = at(rows);
        let prior = Prior::of(request.class_weight, &labels);
        let weights = prior.weights(&labels);
        let view = request.matrix.view(&features, rows)?;
        let rows = Rows { labels: &labels, weights: weights.as_deref() };
        let data = Dataset::train(&self.session, &view, &rows, &settings)?;
        let trained = match request.early_stopping.filter(|_| !stop.is_empty()) {
            None => lightgbm::train(&self.session, &data, None, &settings)?,
            Some(patience) => {
                let labels = at(stop);
                // The training part's weights: the loss must be the one that training lowers.
                let weights = prior.weights(&labels);
                let view = request.matrix.view(&features, stop)?;
                let valid = data.valid(&self.session, &view, &Rows { labels: &labels, weights: weights.as_deref() })?;
                lightgbm::train(&self.session, &data, Some((&valid, patience)), &settings)?
            }
        };
        Ok(One { trained, features, prior })
    }

    fn predict(&self, one: &One, rows: &[usize]) -> Result<Vec<f64>> {
        let threads = i32::try_from(self.request.threads).unwrap_or(0);
        let model = Model::load(&self.session, &one.trained.model, threads)?;
        let view = self.request.matrix.view(&one.features, rows)?;
        let said = model.predict(&self.session, &view, Output::Probability)?;
        Ok(said.into_iter().map(|q| one.prior.correct(q)).collect())
    }

    fn evaluate(&self, part: Part, rows: &[usize], probabilities: &[f64]) -> Result<Vec<Evaluation>> {
        let request = self.request;
        evaluate(part.name(), rows, probabilities, request.labels, request.segments, request.threshold)
    }

    fn fitted(&self, one: One, report: Report, predictions: Vec<OutOfSample>) -> Fitted {
        let per_feature = one.features.iter().zip(one.trained.gain.iter().zip(&one.trained.split));
        let mut importances: Vec<Importance> = per_feature
            .map(|(feature, (&gain, &split))| Importance { feature: feature.name.clone(), gain, split })
            .collect();
        importances.sort_by(|a, b| b.gain.total_cmp(&a.gain).then_with(|| a.feature.cmp(&b.feature)));
        let mut warnings = Vec::new();
        if importances.iter().all(|i| i.split == 0.0) {
            warnings.push(
                "the model splits on no feature and gives every row the same probability: its inputs are constant or \
                 tell nothing about the label, or there are too few rows for `min_data_in_leaf` (20 by default)"
                    .to_string(),
            );
        } else if one.trained.best_iteration == self.request.rounds && self.request.early_stopping.is_some() {
            warnings.push(format!(
                "all {} rounds were used before the loss stopped falling; allow more",
                self.request.rounds
            ));
        }
        Fitted {
            model: one.trained.model,
            best_iteration: one.trained.best_iteration,
            features: one.features,
            prior: one.prior,
            report: Report { importances, warnings, ..report },
            predictions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, Fixture, NAMES};
    use super::super::metrics::Metrics;
    use super::super::split::{DAY, TestStart};
    use super::*;
    use crate::error::Kind;

    fn params() -> BTreeMap<String, Value> {
        serde_json::from_str(r#"{"learning_rate": 0.1, "num_leaves": 15, "min_data_in_leaf": 20}"#).unwrap()
    }

    fn matrix(fixture: &Fixture) -> Matrix {
        // Two batches, so that chunk borders are crossed.
        let half = fixture.batch.num_rows() / 2;
        let batches = [fixture.batch.slice(0, half), fixture.batch.slice(half, fixture.batch.num_rows() - half)];
        Matrix::from_batches(&fixture.batch.schema(), &batches, &NAMES).unwrap()
    }

    fn request<'a>(
        fixture: &'a Fixture,
        matrix: &'a Matrix,
        params: &'a BTreeMap<String, Value>,
        segments: &'a [Segment],
    ) -> FitRequest<'a> {
        FitRequest {
            matrix,
            labels: &fixture.labels,
            entities: &fixture.entities,
            as_of: &fixture.as_of,
            validation: Validation::Time { test: TestStart::Last(60 * DAY), valid: Some(60 * DAY) },
            embargo: 10 * DAY,
            params,
            class_weight: ClassWeight::None,
            rounds: 300,
            early_stopping: Some(20),
            seed: 7,
            threads: 2,
            segments,
            threshold: 0.3,
            max_categories: 1000,
        }
    }

    fn best_auc(fixture: &Fixture, rows: impl Iterator<Item = usize>) -> f64 {
        let (labels, truth): (Vec<bool>, Vec<f64>) = rows.map(|r| (fixture.labels[r], fixture.truth[r])).unzip();
        Metrics::of(&labels, &truth, 0.5).unwrap().roc_auc.unwrap()
    }

    fn find<'a>(fitted: &'a Fitted, part: &str, segment: &str) -> &'a Evaluation {
        fitted.report.evaluations.iter().find(|e| e.part == part && e.segment == segment).unwrap()
    }

    #[test]
    fn a_model_by_time_comes_close_to_the_truth() {
        let fixture = fixture::rows(8000, 1);
        let (matrix, params) = (matrix(&fixture), params());
        let segments = [("even".to_string(), (0..8000).map(|r| r % 2 == 0).collect())];
        let fitted = fit(&request(&fixture, &matrix, &params, &segments)).unwrap();
        let test: Vec<&OutOfSample> = fitted.predictions.iter().filter(|p| p.part == Part::Test).collect();
        assert!(test.iter().all(|p| fixture.as_of[p.row] >= 340 * DAY));
        let all = find(&fitted, "test", "all");
        assert_eq!(all.rows, test.len() as u64);
        let reachable = best_auc(&fixture, test.iter().map(|p| p.row));
        let auc = all.metrics.roc_auc.unwrap();
        assert!(auc > reachable - 0.03, "{auc} of {reachable}");
        assert!((all.metrics.mean_probability.unwrap() - all.metrics.base_rate.unwrap()).abs() < 0.03);
        assert!(find(&fitted, "test", "even").rows < all.rows);
        assert!(fitted.best_iteration > 1 && fitted.best_iteration < 300, "{}", fitted.best_iteration);
        let order: Vec<&str> = fitted.report.importances.iter().map(|i| i.feature.as_str()).collect();
        assert_eq!(order[..2], ["g.x", "g.kind"]);
        assert_eq!(fitted.report.warnings, Vec::<String>::new());
        assert_eq!(fitted.features[2].vocabulary.as_ref().unwrap().values().len(), 3);
    }

    #[test]
    fn the_same_bytes_for_any_number_of_threads() {
        let fixture = fixture::rows(20_000, 2);
        let matrix = matrix(&fixture);
        // Every source of randomness is switched on.
        let params = serde_json::from_str(
            r#"{"bagging_fraction": 0.7, "bagging_freq": 1, "feature_fraction": 0.8, "extra_trees": true,
                "bin_construct_sample_cnt": 5000, "num_leaves": 15}"#,
        )
        .unwrap();
        let with = |threads| {
            let request = FitRequest { threads, rounds: 60, ..request(&fixture, &matrix, &params, &[]) };
            fit(&request).unwrap()
        };
        let one = with(1);
        assert_eq!(one, with(2));
        assert_eq!(one, with(3));
        let other = FitRequest { seed: 8, rounds: 60, ..request(&fixture, &matrix, &params, &[]) };
        assert_ne!(fit(&other).unwrap().model, one.model, "the seed has an effect");
    }

    #[test]
    fn cross_validation_predicts_every_row_by_a_model_that_did_not_see_its_entity() {
        let fixture = fixture::rows(3000, 3);
        let (matrix, params) = (matrix(&fixture), params());
        let validation = Validation::CrossValidation { folds: 3, seeds: vec![1, 2] };
        let fitted = fit(&FitRequest { validation, threads: 1, ..request(&fixture, &matrix, &params, &[]) }).unwrap();
        assert_eq!(fitted.predictions.iter().map(|p| p.row).collect::<Vec<_>>(), (0..3000).collect::<Vec<_>>());
        let all = find(&fitted, "out_of_fold", "all");
        let reachable = best_auc(&fixture, 0..3000);
        let auc = all.metrics.roc_auc.unwrap();
        assert!(auc > reachable - 0.03 && auc < reachable + 0.01, "{auc} of {reachable}");
        let spread = all.spread.unwrap().roc_auc.unwrap();
        assert!(spread > 0.0 && spread < 0.01, "{spread}");
    }

    #[test]
    fn an_entity_seen_in_training_would_show() {
        // A feature that names the entity, and labels that are a coin per entity: nothing can be learned.
        let mut fixture = fixture::rows(2000, 4);
        let number = |row: usize| fixture.entities[row][1..].parse::<i64>().unwrap();
        let id: Vec<i64> = (0..2000).map(number).collect();
        fixture.labels = id.iter().map(|id| (id * 2_654_435_761) % 97 < 40).collect();
        let column: arrow::array::ArrayRef = std::sync::Arc::new(arrow::array::Int64Array::from(id));
        let batch = arrow::array::RecordBatch::try_from_iter([("id", column)]).unwrap();
        let matrix = Matrix::from_batches(&batch.schema(), &[batch], &["id"]).unwrap();
        let params = params();
        let validation = Validation::CrossValidation { folds: 4, seeds: vec![1] };
        let fitted = fit(&FitRequest { validation, ..request(&fixture, &matrix, &params, &[]) }).unwrap();
        let auc = find(&fitted, "out_of_fold", "all").metrics.roc_auc.unwrap();
        assert!((auc - 0.5).abs() < 0.12, "{auc}");
    }

    #[test]
    fn balanced_weights_leave_probabilities_true() {
        let fixture = fixture::rows(8000, 5);
        let (matrix, params) = (matrix(&fixture), params());
        let with =
            |class_weight| fit(&FitRequest { class_weight, ..request(&fixture, &matrix, &params, &[]) }).unwrap();
        let (plain, balanced) = (with(ClassWeight::None), with(ClassWeight::Balanced));
        assert_ne!(plain.model, balanced.model);
        let (plain, balanced) = (find(&plain, "test", "all").metrics, find(&balanced, "test", "all").metrics);
        let bias = balanced.mean_probability.unwrap() - balanced.base_rate.unwrap();
        assert!(bias.abs() < 0.03, "{bias}");
        assert!(balanced.log_loss.unwrap() < plain.log_loss.unwrap() + 0.02);
    }

    #[test]
    fn labels_of_one_class_are_an_error_with_counts() {
        let mut fixture = fixture::rows(400, 6);
        fixture.labels = vec![false; 400];
        let (matrix, params) = (matrix(&fixture), params());
        let error = fit(&request(&fixture, &matrix, &params, &[])).unwrap_err();
        assert_eq!(error.kind(), Kind::Data);
        assert!(error.to_string().contains("0 positive and 400 negative"), "{error}");
        // Positives, but none early enough to train on.
        fixture.labels = fixture.as_of.iter().map(|t| *t > 390 * DAY).collect();
        let error = fit(&request(&fixture, &matrix, &params, &[])).unwrap_err();
        assert_eq!(error.kind(), Kind::Data);
        assert!(error.to_string().contains("the training part has one class only: 0 positive"), "{error}");
    }

    #[test]
    fn constant_features_give_a_constant_model_and_a_warning() {
        let fixture = fixture::rows(1000, 7);
        let column: arrow::array::ArrayRef = std::sync::Arc::new(arrow::array::Float64Array::from(vec![None; 1000]));
        let batch = arrow::array::RecordBatch::try_from_iter([("nothing", column)]).unwrap();
        let matrix = Matrix::from_batches(&batch.schema(), &[batch], &["nothing"]).unwrap();
        let params = params();
        let fitted = fit(&request(&fixture, &matrix, &params, &[])).unwrap();
        assert!(fitted.report.warnings[0].contains("splits on no feature"), "{:?}", fitted.report.warnings);
        assert_eq!(find(&fitted, "test", "all").metrics.roc_auc, Some(0.5));
    }

    #[test]
    fn wrong_requests_are_refused() {
        let fixture = fixture::rows(400, 8);
        let (matrix, params) = (matrix(&fixture), params());
        let base = || request(&fixture, &matrix, &params, &[]);
        let kind = |request: FitRequest| fit(&request).unwrap_err().kind();
        assert_eq!(kind(FitRequest { rounds: 0, ..base() }), Kind::Definition);
        assert_eq!(kind(FitRequest { early_stopping: Some(0), ..base() }), Kind::Definition);
        assert_eq!(kind(FitRequest { seed: u32::MAX, ..base() }), Kind::Definition);
        assert_eq!(kind(FitRequest { labels: &[true], ..base() }), Kind::Internal);
        assert_eq!(kind(FitRequest { segments: &[("s".to_string(), vec![])], ..base() }), Kind::Internal);
        for wrong in [r#"{"n_estimators": 5}"#, r#"{"boosting": "rf"}"#] {
            let wrong = serde_json::from_str(wrong).unwrap();
            assert_eq!(kind(FitRequest { params: &wrong, ..base() }), Kind::Definition);
        }
    }
}
