//! Every head: that it learns, repeats itself, survives its artifact, and explains what it says.

use super::super::super::artifact::Artifact;
use super::super::super::scorer::Scorer;
use super::*;
use crate::define::model::CalibrationKind;

const ALL: [HeadKind; 7] = [
    HeadKind::Lightgbm,
    HeadKind::RandomForest,
    HeadKind::ExtraTrees,
    HeadKind::Tree,
    HeadKind::Logistic,
    HeadKind::LinearSvm,
    HeadKind::Mlp,
];

/// A request that each head is quick with.
fn of<'a>(head: HeadKind, base: FitRequest<'a>, params: &'a BTreeMap<String, Value>) -> FitRequest<'a> {
    let rounds = match head {
        HeadKind::Mlp => 15,
        HeadKind::Logistic | HeadKind::LinearSvm => 300,
        _ => 40,
    };
    FitRequest { head, rounds, params, early_stopping: Some(5), ..base }
}

fn calibrated(kind: CalibrationKind) -> Calibration {
    Calibration { kind, hold_out: 5 }
}

#[test]
fn each_head_learns() {
    let fixture = fixture::rows(6000, 31);
    let (matrix, none) = (matrix(&fixture), BTreeMap::new());
    let platt = calibrated(CalibrationKind::Platt);
    for head in ALL {
        let base = FitRequest { calibration: &platt, ..request(&fixture, &matrix, &none, &[]) };
        let fitted = fit(&of(head, base, &none)).unwrap();
        let all = find(&fitted, "test", "all");
        let reachable = best_auc(&fixture, fitted.predictions.iter().filter(|p| p.part == Part::Test).map(|p| p.row));
        let auc = all.metrics.roc_auc.unwrap();
        assert!(auc > reachable - 0.06, "{head:?}: {auc} of {reachable}");
        let bias = all.metrics.mean_probability.unwrap() - all.metrics.base_rate.unwrap();
        assert!(bias.abs() < 0.05, "{head:?}: {bias}");
        assert_eq!(fitted.report.importances[0].feature, "g.x", "{head:?}: {:?}", fitted.report.importances);
        let (low, high) = (all.low.unwrap().roc_auc.unwrap(), all.high.unwrap().roc_auc.unwrap());
        assert!(low < auc && auc < high && high - low < 0.12, "{low} {auc} {high}");
    }
}

#[test]
fn each_head_gives_the_same_bytes_on_any_number_of_threads() {
    let fixture = fixture::rows(5000, 32);
    let (matrix, none) = (matrix(&fixture), BTreeMap::new());
    let platt = calibrated(CalibrationKind::Platt);
    for head in ALL {
        let files = |threads, seed| {
            let base = FitRequest { calibration: &platt, threads, seed, ..request(&fixture, &matrix, &none, &[]) };
            let fitted = fit(&of(head, base, &none)).unwrap();
            Artifact::new(&fitted, "model: test\n", "f").to_files().unwrap()
        };
        assert!(files(1, 7) == files(4, 7), "{head:?}");
    }
}

#[test]
fn each_artifact_scores_bit_for_bit_as_training_did_alone_and_together() {
    let fixture = fixture::rows(2500, 33);
    let (matrix, none) = (matrix(&fixture), BTreeMap::new());
    let isotonic = calibrated(CalibrationKind::Isotonic);
    for head in ALL {
        let base = FitRequest {
            calibration: &isotonic,
            class_weight: ClassWeight::Balanced,
            ..request(&fixture, &matrix, &none, &[])
        };
        let fitted = fit(&of(head, base, &none)).unwrap();
        let files = Artifact::new(&fitted, "model: test\n", "f").to_files().unwrap();
        let scorer = Scorer::new(&Artifact::from_files(&files).unwrap(), 2).unwrap();
        let said = scorer.predict(&fixture.batch).unwrap();
        for p in &fitted.predictions {
            assert_eq!(said.margin[p.row].to_bits(), p.margin.to_bits(), "{head:?}");
            assert_eq!(said.probability[p.row].to_bits(), p.uncalibrated.to_bits(), "{head:?}");
            assert_eq!(said.calibrated[p.row].to_bits(), p.probability.to_bits(), "{head:?}");
        }
        for row in [0, 7, 2499] {
            let alone = scorer.predict(&fixture.batch.slice(row, 1)).unwrap();
            assert_eq!(alone.margin[0].to_bits(), said.margin[row].to_bits(), "{head:?}");
        }
        let lacks = |row: usize| (0..4).filter(|c| fixture.batch.column(*c).is_null(row)).count() as u32;
        assert!((0..2500).all(|row| said.missing[row] == lacks(row)), "{head:?}");
    }
}

#[test]
fn contributions_add_up_to_the_margin_and_belong_to_columns() {
    let fixture = fixture::rows(2500, 34);
    let (matrix, none) = (matrix(&fixture), BTreeMap::new());
    let platt = calibrated(CalibrationKind::Platt);
    for head in ALL {
        let base = FitRequest { calibration: &platt, ..request(&fixture, &matrix, &none, &[]) };
        let fitted = fit(&of(head, base, &none)).unwrap();
        let scorer = Scorer::new(&Artifact::new(&fitted, "", ""), 1).unwrap();
        if head == HeadKind::Mlp {
            let error = scorer.contributions(&fixture.batch).unwrap_err();
            assert_eq!(error.kind(), Kind::Definition);
            assert!(error.to_string().contains("does not say what its inputs contribute"), "{error}");
            assert_eq!(fitted.report.contributions, []);
            continue;
        }
        let said = scorer.contributions(&fixture.batch).unwrap();
        let margins = scorer.predict(&fixture.batch).unwrap().margin;
        assert_eq!(said.features, NAMES);
        for (row, margin) in margins.iter().enumerate() {
            let sum: f64 = said.values[row * 4..(row + 1) * 4].iter().sum::<f64>() + said.base[row];
            assert!((sum - margin).abs() < 1e-9, "{head:?}: {sum} {margin}");
        }
        assert_eq!(fitted.report.contributions[0].feature, "g.x", "{head:?}");
    }
}

#[test]
fn predictions_are_monotone_where_it_is_said() {
    let fixture = fixture::rows(4000, 35);
    let (matrix, none) = (matrix(&fixture), BTreeMap::new());
    // Against the truth, so that a head that ignored it would show.
    let falling: Map<Direction> = [("g.x".to_string(), Direction::Decreasing)].into_iter().collect();
    for head in [HeadKind::Lightgbm, HeadKind::Tree] {
        let base = FitRequest { monotone: &falling, ..request(&fixture, &matrix, &none, &[]) };
        let fitted = fit(&of(head, base, &none)).unwrap();
        let scorer = Scorer::new(&Artifact::new(&fitted, "", ""), 1).unwrap();
        let steps: Vec<f64> = (0..400).map(|step| -2.0 + f64::from(step) / 100.0).collect();
        for row in 0..20 {
            let others = fixture.batch.slice(row, 1);
            let rows = arrow::array::UInt64Array::from(vec![0; steps.len()]);
            let repeated = arrow::compute::take_record_batch(&others, &rows).unwrap();
            let mut columns = repeated.columns().to_vec();
            columns[0] = std::sync::Arc::new(arrow::array::Float64Array::from(steps.clone()));
            let batch = arrow::array::RecordBatch::try_new(fixture.batch.schema(), columns).unwrap();
            let margins = scorer.predict(&batch).unwrap().margin;
            assert!(margins.windows(2).all(|pair| pair[0] >= pair[1]), "{head:?}");
        }
    }
    let kind: Map<Direction> = [("g.kind".to_string(), Direction::Decreasing)].into_iter().collect();
    let error = fit(&FitRequest { monotone: &kind, ..request(&fixture, &matrix, &none, &[]) }).unwrap_err();
    assert!(error.to_string().contains("its values have no order"), "{error}");
    let other: Map<Direction> = [("g.other".to_string(), Direction::Decreasing)].into_iter().collect();
    let error = fit(&FitRequest { monotone: &other, ..request(&fixture, &matrix, &none, &[]) }).unwrap_err();
    assert!(error.to_string().contains("is no input"), "{error}");
}

#[test]
fn a_row_of_weight_two_is_two_rows_and_of_weight_zero_none() {
    let fixture = fixture::rows(1200, 36);
    let (matrix, none) = (matrix(&fixture), BTreeMap::new());
    let weights: Vec<f64> = (0..1200).map(|row| f64::from(row as u32 % 3)).collect();
    let fitter_of =
        |weights| FitRequest { weights, head: HeadKind::Logistic, ..request(&fixture, &matrix, &none, &[]) };
    let rows: Vec<usize> = (0..1200).collect();
    let weighted = fitter_of(Some(&weights[..]));
    let repeated: Vec<usize> = rows.iter().flat_map(|row| vec![*row; row % 3]).collect();
    let plain = fitter_of(None);
    // The standardisation of columns counts rows, not weights: compare what is said, not the weights themselves.
    let said = |request: &FitRequest, rows: &[usize]| {
        let fitter = Fitter::new(request).unwrap();
        let one = fitter.train(rows, &[], 1000, &mut |_, _| true).unwrap();
        fitter.said(&one, &(0..1200).collect::<Vec<_>>()).unwrap().margins
    };
    let (one, other) = (said(&weighted, &rows), said(&plain, &repeated));
    let worst = one.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < 0.02, "{worst}");
    let even = said(&plain, &rows);
    let other = even.iter().zip(&one).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(other > 0.05, "weights have an effect: {other}");
}

#[test]
fn a_linear_head_that_ran_out_of_steps_says_so() {
    let fixture = fixture::rows(1200, 38);
    let (matrix, none) = (matrix(&fixture), BTreeMap::new());
    let platt = calibrated(CalibrationKind::Platt);
    for (head, rounds, told) in
        [(HeadKind::Logistic, 2, true), (HeadKind::LinearSvm, 2, true), (HeadKind::Logistic, 300, false)]
    {
        let base = FitRequest { calibration: &platt, ..request(&fixture, &matrix, &none, &[]) };
        let fitted = fit(&FitRequest { rounds, ..of(head, base, &none) }).unwrap();
        let warns = fitted.report.warnings.iter().any(|warning| warning.contains("larger `tol`"));
        assert_eq!(warns, told, "{head:?}, {rounds} rounds: {:?}", fitted.report.warnings);
    }
}

#[test]
fn weights_that_are_none_are_refused_with_the_entity() {
    let fixture = fixture::rows(400, 37);
    let (matrix, none) = (matrix(&fixture), BTreeMap::new());
    for wrong in [f64::NAN, -1.0, f64::INFINITY] {
        let mut weights = vec![1.0; 400];
        weights[17] = wrong;
        let error = fit(&FitRequest { weights: Some(&weights), ..request(&fixture, &matrix, &none, &[]) }).unwrap_err();
        assert_eq!(error.kind(), Kind::Data);
        assert!(error.to_string().contains(&format!("row of {}", fixture.entities[17])), "{error}");
    }
}
