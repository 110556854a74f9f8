//! Which rows see which: rolling origins, calibration, refused rows, trials; and what a report says of it.

use super::super::super::evaluate::ALL;
use super::*;
use crate::define::model::{CalibrationKind, RejectKind};

#[test]
fn an_origin_that_rolls_predicts_each_part_by_what_was_known_before_it() {
    let fixture = fixture::rows(8000, 51);
    let (matrix, params) = (matrix(&fixture), params());
    let validation = Validation::RollingOrigin { folds: 3, test: 40 * DAY };
    let fitted = fit(&FitRequest { validation, rounds: 60, ..request(&fixture, &matrix, &params, &[]) }).unwrap();
    let test: Vec<&OutOfSample> = fitted.predictions.iter().filter(|p| p.part == Part::Test).collect();
    let last = fixture.as_of.iter().max().unwrap();
    assert_eq!(test.len(), fixture.as_of.iter().filter(|t| **t > last - 120 * DAY).count(), "each row once");
    let all = find(&fitted, "test", ALL);
    let reachable = best_auc(&fixture, test.iter().map(|p| p.row));
    assert!(all.metrics.roc_auc.unwrap() > reachable - 0.03);
    let parts: Vec<&str> = fitted.report.parts.iter().map(|p| p.part.as_str()).collect();
    assert_eq!(parts, ["train", "test", "fold_1", "fold_2", "fold_3"]);
    // What ships was trained on all that was known before the last part.
    let trained = fitted.report.parts[0].last_as_of.unwrap();
    let third = fitted.report.parts[4].first_as_of.unwrap();
    assert!(trained + 10 * DAY <= third && trained + 25 * DAY > third);
    assert_eq!(fitted.baseline.rows, fitted.report.parts[0].rows);
}

#[test]
fn calibration_rows_are_of_entities_that_neither_train_nor_stop_and_calibration_helps() {
    let fixture = fixture::rows(12_000, 52);
    let matrix = matrix(&fixture);
    // A model that overstates: large steps, small leaves, no stopping.
    let params = serde_json::from_str(r#"{"learning_rate": 0.5, "num_leaves": 63, "min_data_in_leaf": 2}"#).unwrap();
    for kind in [CalibrationKind::Platt, CalibrationKind::Isotonic] {
        let calibration = Calibration { kind, hold_out: 4 };
        for validation in [
            Validation::Time { test: TestStart::Last(60 * DAY), valid: None },
            Validation::CrossValidation { folds: 3, seeds: vec![1] },
        ] {
            let base = request(&fixture, &matrix, &params, &[]);
            let base = FitRequest { calibration: &calibration, validation, rounds: 40, early_stopping: None, ..base };
            let fitted = fit(&base).unwrap();
            let report = fitted.report.calibration.as_ref().unwrap();
            let (before, after) = (report.error_before.unwrap(), report.error_after.unwrap());
            assert!(before > 0.05 && after < before / 2.0, "{kind:?}: {before} {after}");
            assert!(!report.before.is_empty() && report.after == fitted.curves.reliability);
            let calibrating: Vec<&str> =
                of(&fitted, Part::Calibration).iter().map(|row| fixture.entities[*row].as_str()).collect();
            let trained = fitted.report.parts.iter().find(|p| p.part == "train");
            if let Some(trained) = trained {
                let share = calibrating.len() as f64 / (trained.rows as f64 + calibrating.len() as f64);
                assert!((share - 0.25).abs() < 0.03, "{share}");
            }
        }
    }
}

fn of(fitted: &Fitted, part: Part) -> Vec<usize> {
    fitted.predictions.iter().filter(|p| p.part == part).map(|p| p.row).collect()
}

#[test]
fn rows_that_calibrate_leave_no_trace_in_the_model() {
    let mut fixture = fixture::rows(3000, 53);
    let params = params();
    let calibration = Calibration { kind: CalibrationKind::Platt, hold_out: 5 };
    let made = |fixture: &Fixture| {
        let matrix = matrix(fixture);
        fit(&FitRequest { calibration: &calibration, ..request(fixture, &matrix, &params, &[]) }).unwrap()
    };
    let before = made(&fixture);
    let calibrating = of(&before, Part::Calibration);
    assert!(calibrating.len() > 300, "{}", calibrating.len());
    for row in calibrating {
        fixture.labels[row] = !fixture.labels[row];
    }
    let after = made(&fixture);
    assert_eq!(before.body, after.body);
    assert_ne!(before.calibrator, after.calibrator);
}

#[test]
fn the_report_says_what_deserves_a_look() {
    let fixture = fixture::rows(3000, 54);
    let column: arrow::array::ArrayRef = std::sync::Arc::new(arrow::array::Float64Array::from(vec![Some(3.0); 3000]));
    let nothing: arrow::array::ArrayRef = std::sync::Arc::new(arrow::array::Float64Array::from(vec![None; 3000]));
    let x = fixture.batch.column(0).clone();
    let batch =
        arrow::array::RecordBatch::try_from_iter([("g.x", x), ("g.same", column), ("g.none", nothing)]).unwrap();
    let matrix = Matrix::from_batches(&batch.schema(), &[batch], &["g.x", "g.same", "g.none"]).unwrap();
    let segments = [("nobody".to_string(), vec![false; 3000])];
    for head in [HeadKind::Lightgbm, HeadKind::Logistic, HeadKind::Mlp] {
        let none = BTreeMap::new();
        let base = request(&fixture, &matrix, &none, &segments);
        let fitted = fit(&FitRequest { head, rounds: 30, early_stopping: Some(5), ..base }).unwrap();
        let warnings = fitted.report.warnings.join("\n");
        assert!(warnings.contains("tell nothing: g.same, g.none"), "{head:?}: {warnings}");
        assert!(warnings.contains("segment `nobody` has no rows"), "{head:?}: {warnings}");
        let empty = find(&fitted, "test", "nobody");
        assert_eq!((empty.rows, empty.metrics), (0, Metrics::default()));
        assert_eq!(empty.low, None);
        let curves = &fitted.curves;
        assert!(curves.roc.len() > 10 && curves.lift.len() == 10 && curves.histogram.len() == 50);
        let stability = fitted.baseline.compare(&RecordOf(&matrix, &fixture).batch()).unwrap();
        assert!(stability.iter().all(|(_, s)| s.psi < 0.05), "{stability:?}");
    }
}

/// The rows again, as a later night would hand them over.
struct RecordOf<'a>(&'a Matrix, &'a Fixture);

impl RecordOf<'_> {
    fn batch(&self) -> arrow::array::RecordBatch {
        let rows = self.0.rows();
        let same: arrow::array::ArrayRef = std::sync::Arc::new(arrow::array::Float64Array::from(vec![Some(3.0); rows]));
        let none: arrow::array::ArrayRef = std::sync::Arc::new(arrow::array::Float64Array::from(vec![None; rows]));
        let x = self.1.batch.column(0).clone();
        arrow::array::RecordBatch::try_from_iter([("g.x", x), ("g.same", same), ("g.none", none)]).unwrap()
    }
}

#[test]
fn who_was_refused_trains_as_declared_and_is_in_no_metric() {
    let fixture = fixture::rows(6000, 55);
    let (matrix, params) = (matrix(&fixture), params());
    let x: &arrow::array::Float64Array = fixture.batch.column(0).as_any().downcast_ref().unwrap();
    let accepted: Vec<bool> =
        (0..6000).map(|row| row % 7 == 0 || x.iter().nth(row).flatten().is_some_and(|x| x < 0.5)).collect();
    let with = |kind, head| {
        let reject = RejectInference { kind, accepted: String::new(), factor: Some(1.2) };
        let base = request(&fixture, &matrix, &params, &[]);
        let base = FitRequest { head, accepted: Some(&accepted), reject: Some(&reject), rounds: 40, ..base };
        fit(&base).unwrap()
    };
    let plain = with(RejectKind::None, HeadKind::Lightgbm);
    let mut bodies = vec![plain.body.clone()];
    for kind in [RejectKind::Augmentation, RejectKind::InversePropensity, RejectKind::Parcelling, RejectKind::Fuzzy] {
        let fitted = with(kind, HeadKind::Lightgbm);
        assert!(fitted.predictions.iter().all(|p| accepted[p.row]), "{kind:?}");
        assert_eq!(fitted.predictions.len(), plain.predictions.len());
        assert!(!bodies.contains(&fitted.body), "{kind:?} has an effect");
        bodies.push(fitted.body);
    }
    // Labels of refused rows are read by nobody.
    let mut unknown = fixture::rows(6000, 55);
    (0..6000).filter(|row| !accepted[*row]).for_each(|row| unknown.labels[row] = !unknown.labels[row]);
    let reject = RejectInference { kind: RejectKind::Fuzzy, accepted: String::new(), factor: Some(1.2) };
    let base = request(&unknown, &matrix, &params, &[]);
    let base = FitRequest { accepted: Some(&accepted), reject: Some(&reject), rounds: 40, ..base };
    assert_eq!(fit(&base).unwrap().body, bodies[4]);
}

#[test]
fn trials_touch_no_test_row_and_can_be_ended() {
    let mut fixture = fixture::rows(4000, 56);
    let params = params();
    for head in [HeadKind::Lightgbm, HeadKind::Logistic, HeadKind::Mlp] {
        let none = BTreeMap::new();
        let params = if head == HeadKind::Lightgbm { &params } else { &none };
        let matrix = matrix(&fixture);
        let once = |fixture: &Fixture, stop_at: u32| {
            let base = FitRequest { head, rounds: 20, ..request(fixture, &matrix, params, &[]) };
            let prepared = Prepared::new(&base).unwrap();
            let mut rounds = 0;
            let trial = prepared.trial(params, &mut |round, loss| {
                rounds = round;
                loss.is_finite() && round < stop_at
            });
            (trial.unwrap(), rounds, prepared.rows().to_vec())
        };
        let (trial, _, rows) = once(&fixture, u32::MAX);
        assert_eq!(trial.probabilities.len(), rows.len());
        let auc = Metrics::of(&rows.iter().map(|r| fixture.labels[*r]).collect::<Vec<_>>(), &trial.probabilities, 0.5);
        assert!(auc.unwrap().roc_auc.unwrap() > 0.6);
        assert!(!trial.pruned);
        if head != HeadKind::Logistic {
            let (pruned, rounds, _) = once(&fixture, 3);
            assert!(pruned.pruned && rounds == 3, "{head:?}");
        }
        for row in (0..4000).filter(|row| fixture.as_of[*row] >= 340 * DAY) {
            fixture.labels[row] = !fixture.labels[row];
        }
        assert_eq!(once(&fixture, u32::MAX).0, trial, "{head:?}");
    }
}
