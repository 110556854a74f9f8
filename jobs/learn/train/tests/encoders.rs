//! Encoders: that none sees what it must not, and that each is replayed as it was.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::super::artifact::Artifact;
use super::super::super::inputs::{Inputs, Outcomes, Texts};
use super::super::super::scorer::Scorer;
use super::*;
use crate::define::model::{Encoding, EncodingKind};

fn encodings(kind: EncodingKind) -> Encodings {
    let encoding = Encoding { kind, smoothing: None, max: None };
    Encodings { default: None, features: [("g.kind".to_string(), encoding)].into_iter().collect() }
}

fn values(inputs: &Inputs, matrix: &Matrix) -> Vec<f64> {
    let rows: Vec<usize> = (0..matrix.rows()).collect();
    let mut out = Vec::new();
    inputs
        .view(matrix, &rows)
        .unwrap()
        .for_each_block(usize::MAX, |_, block| {
            out.extend_from_slice(block);
            Ok(())
        })
        .unwrap();
    out
}

proptest! {
    /// Whatever is changed of labels that were not known yet, or of rows that do not train, a row is given the same.
    #[test]
    fn no_row_sees_its_own_label_a_later_one_or_one_of_a_row_that_does_not_train(
        rows in proptest::collection::vec((0usize..4, any::<bool>(), 0i64..20, any::<bool>()), 2..60),
        known_after in 0i64..6,
        at in 0usize..60,
        flips in proptest::collection::vec(any::<bool>(), 60),
    ) {
        let at = at % rows.len();
        let texts: StringArray = rows.iter().map(|r| Some(["a", "b", "c", "d"][r.0])).collect();
        let batch = RecordBatch::try_from_iter([("g.kind", Arc::new(texts) as ArrayRef)]).unwrap();
        let matrix = Matrix::from_batches(&batch.schema(), &[batch], &["g.kind"]).unwrap();
        let labels: Vec<bool> = rows.iter().map(|r| r.1).collect();
        let as_of: Vec<i64> = rows.iter().map(|r| r.2).collect();
        let training: Vec<usize> = (0..rows.len()).filter(|row| rows[*row].3).collect();
        let target = encodings(EncodingKind::Target);
        let with = |labels: &[bool]| {
            let outcomes = Outcomes { labels, as_of: &as_of, known_after, weights: None };
            let inputs = Inputs::fit(&matrix, &training, Texts { encodings: &target, native: true }, outcomes).unwrap();
            values(&inputs, &matrix)[at]
        };
        let before = with(&labels);
        let hidden = |row: usize| !rows[row].3 || row == at || as_of[row] >= as_of[at] || as_of[row] + known_after > as_of[at];
        let changed: Vec<bool> = (0..rows.len()).map(|row| labels[row] != (flips[row] && hidden(row))).collect();
        prop_assert_eq!(before.to_bits(), with(&changed).to_bits());
        // The slow and obvious way.
        let seen: Vec<usize> = (0..rows.len()).filter(|row| !hidden(*row)).collect();
        let share = |of: &[usize]| of.iter().filter(|row| labels[**row]).count() as f64;
        let prior = share(&seen) / seen.len() as f64;
        let same: Vec<usize> = seen.iter().copied().filter(|row| rows[*row].0 == rows[at].0).collect();
        let trained = training.iter().any(|row| rows[*row].0 == rows[at].0);
        let expected = if trained { (share(&same) + 20.0 * prior) / (same.len() as f64 + 20.0) } else { prior };
        prop_assert!((before - expected).abs() < 1e-12 || before.is_nan() && expected.is_nan(), "{} {}", before, expected);
    }
}

#[test]
fn each_encoder_is_replayed_by_its_artifact() {
    let fixture = fixture::rows(3000, 41);
    let (matrix, params) = (matrix(&fixture), params());
    for kind in [EncodingKind::Native, EncodingKind::OneHot, EncodingKind::Target] {
        let encode = encodings(kind);
        for head in [HeadKind::Lightgbm, HeadKind::Logistic] {
            if head == HeadKind::Logistic && kind == EncodingKind::Native {
                continue;
            }
            let none = BTreeMap::new();
            let params = if head == HeadKind::Lightgbm { &params } else { &none };
            let fitted = fit(&FitRequest { encode: &encode, head, ..request(&fixture, &matrix, params, &[]) }).unwrap();
            let names: Vec<&str> = fitted.features.iter().map(|f| f.name.as_str()).collect();
            let expected: &[&str] = match kind {
                EncodingKind::OneHot => &["g.x", "g.n", "g.kind=", "g.kind=", "g.kind=", "g.noise"],
                _ => &NAMES,
            };
            assert!(
                names.len() == expected.len() && names.iter().zip(expected).all(|(n, e)| n.starts_with(e)),
                "{names:?}"
            );
            let files = Artifact::new(&fitted, "", "").to_files().unwrap();
            let scorer = Scorer::new(&Artifact::from_files(&files).unwrap(), 1).unwrap();
            assert_eq!(scorer.feature_names(), NAMES);
            let said = scorer.predict(&fixture.batch).unwrap();
            // Rows of the test part are younger than every label that was known: nothing is in time any more.
            for p in fitted.predictions.iter().filter(|p| p.part == Part::Test) {
                assert_eq!(said.margin[p.row].to_bits(), p.margin.to_bits(), "{kind:?} {head:?}");
            }
        }
    }
}

#[test]
fn an_encoding_of_an_entity_that_leaked_would_show() {
    // Every entity its own text, its labels a coin: the mean of its earlier labels tells nothing about the next one.
    let mut fixture = fixture::rows(4000, 42);
    let mut rng = ChaCha8Rng::seed_from_u64(42);
    fixture.labels = (0..4000).map(|_| rng.random_bool(0.4)).collect();
    let names: StringArray = fixture.entities.iter().map(|entity| Some(entity.as_str())).collect();
    let batch = RecordBatch::try_from_iter([("g.kind", Arc::new(names) as ArrayRef)]).unwrap();
    let matrix = Matrix::from_batches(&batch.schema(), &[batch], &["g.kind"]).unwrap();
    let (params, encode) = (params(), encodings(EncodingKind::Target));
    let validations = [
        Validation::Time { test: TestStart::Last(60 * DAY), valid: None },
        Validation::CrossValidation { folds: 4, seeds: vec![1] },
    ];
    for validation in validations {
        let base = FitRequest { encode: &encode, validation, rounds: 50, ..request(&fixture, &matrix, &params, &[]) };
        let fitted = fit(&base).unwrap();
        for evaluation in fitted.report.evaluations.iter().filter(|e| e.part != "train") {
            let auc = evaluation.metrics.roc_auc.unwrap();
            assert!((auc - 0.5).abs() < 0.07, "{}: {auc}", evaluation.part);
        }
    }
}
