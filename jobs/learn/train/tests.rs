//! Models on rows whose truth is known, and requests that cannot be met.

use super::super::evaluate::Evaluation;
use super::super::fixture::{self, DEFAULTS, Fixture, NAMES};
use super::super::metrics::Metrics;
use super::super::split::{DAY, TestStart};
use super::*;
use crate::error::Kind;

mod encoders;
mod heads;
mod validation;

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
        weights: None,
        accepted: None,
        reject: None,
        validation: Validation::Time { test: TestStart::Last(60 * DAY), valid: Some(60 * DAY) },
        embargo: 10 * DAY,
        head: HeadKind::Lightgbm,
        params,
        class_weight: ClassWeight::None,
        rounds: 300,
        early_stopping: Some(20),
        seed: 7,
        threads: 2,
        encode: &DEFAULTS.encode,
        monotone: &DEFAULTS.monotone,
        calibration: &DEFAULTS.calibration,
        segments,
        threshold: 0.3,
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
    assert_ne!(fit(&other).unwrap().body, one.body, "the seed has an effect");
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
    let with = |class_weight| fit(&FitRequest { class_weight, ..request(&fixture, &matrix, &params, &[]) }).unwrap();
    let (plain, balanced) = (with(ClassWeight::None), with(ClassWeight::Balanced));
    assert_ne!(plain.body, balanced.body);
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
