//! Feature batches to probabilities, and to what explains them, with nothing but an artifact.

use arrow::array::RecordBatch;

use super::artifact::Artifact;
use super::calibrate::Calibrator;
use super::heads::Margins;
use super::heads::dense::sigmoid;
use super::matrix::{Feature, Matrix, View};
use super::prior::Prior;
use crate::error::{Context, Result};

/// A model that is ready to score. May be shared by threads; those that score trees take turns.
pub struct Scorer {
    model: Box<dyn Margins>,
    features: Vec<Feature>,
    names: Vec<String>,
    prior: Prior,
    calibrator: Calibrator,
}

/// What a model says of each row of a batch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Predictions {
    /// See [`super::heads`]; class weights included.
    pub margin: Vec<f64>,
    /// Of the margin, class weights taken out, before calibration.
    pub probability: Vec<f64>,
    /// What decisions are taken on; equal to `probability` without a calibrator.
    pub calibrated: Vec<f64>,
    /// How many of the input columns the row lacks.
    pub missing: Vec<u32>,
}

/// How the margins of a batch come about: `values` has a number per row and feature, row-major; with the row's `base`
/// they add up to its margin.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Contributions {
    /// Input columns (`group.feature`), in the model's order; what a column was encoded into is added up again.
    pub features: Vec<String>,
    pub values: Vec<f64>,
    pub base: Vec<f64>,
}

impl Scorer {
    /// Loads the artifact's model; `threads` 0 takes as many as OpenMP offers.
    pub fn new(artifact: &Artifact, threads: usize) -> Result<Scorer> {
        let model = artifact.body.load(&artifact.features, artifact.best_iteration, threads)?;
        // What is read from one column stands together.
        let mut names: Vec<String> = artifact.features.iter().map(|feature| feature.column().to_string()).collect();
        names.dedup();
        let (features, calibrator) = (artifact.features.clone(), artifact.calibrator.clone());
        Ok(Scorer { model, features, names, prior: artifact.prior, calibrator })
    }

    /// The columns that a batch must have, in any order and among any others.
    pub fn feature_names(&self) -> &[String] {
        &self.names
    }

    /// What the model says of every row. Memory beside the batch: one block of 8 MiB, and the result.
    ///
    /// `Definition` error, naming the column, where one is missing or of another class than in training.
    pub fn predict(&self, batch: &RecordBatch) -> Result<Predictions> {
        let matrix = self.matrix(batch)?;
        let margin = self.with_view(&matrix, |view| self.model.margins(view))?;
        let probability: Vec<f64> = margin.iter().map(|margin| self.prior.correct(sigmoid(*margin))).collect();
        let both = margin.iter().zip(&probability);
        let calibrated = both.map(|(margin, probability)| self.calibrator.apply(*margin, *probability)).collect();
        Ok(Predictions { margin, probability, calibrated, missing: matrix.missing() })
    }

    /// The probability of every row that decisions are taken on.
    pub fn score(&self, batch: &RecordBatch) -> Result<Vec<f64>> {
        Ok(self.predict(batch)?.calibrated)
    }

    /// What each input contributes to the margin of every row: TreeSHAP for trees, w·(x − mean) for linear heads. The
    /// result has 8 bytes per row and column: hand over batches.
    ///
    /// `Definition` error for a head that does not say, and as [`Scorer::predict`].
    pub fn contributions(&self, batch: &RecordBatch) -> Result<Contributions> {
        let columns = self.names.len();
        let mut values = vec![0.0; batch.num_rows() * columns];
        let mut base = vec![0.0; batch.num_rows()];
        let mut at = Vec::with_capacity(self.features.len());
        for feature in &self.features {
            let before = at.last().copied().unwrap_or(0);
            at.push(if self.names[before] == feature.column() { before } else { before + 1 });
        }
        let width = self.features.len() + 1;
        self.with_view(&self.matrix(batch)?, |view| {
            self.model.contributions(view, &mut |first, block| {
                for (row, numbers) in (first..).zip(block.chunks_exact(width)) {
                    let out = &mut values[row * columns..(row + 1) * columns];
                    at.iter().zip(numbers).for_each(|(column, number)| out[*column] += number);
                    base[row] = numbers[width - 1];
                }
                Ok(())
            })
        })?;
        Ok(Contributions { features: self.names.clone(), values, base })
    }

    /// The rows as the model sees them, row-major, NaN where missing: for checks with other readers of the model.
    pub fn inputs(&self, batch: &RecordBatch) -> Result<Vec<f64>> {
        self.with_view(&self.matrix(batch)?, |view| {
            let mut all = Vec::with_capacity(view.len() * self.features.len());
            view.for_each_block(usize::MAX, |_, block| {
                all.extend_from_slice(block);
                Ok(())
            })?;
            Ok(all)
        })
    }

    fn matrix(&self, batch: &RecordBatch) -> Result<Matrix> {
        Matrix::from_batches(&batch.schema(), std::slice::from_ref(batch), &self.names).context("scoring")
    }

    fn with_view<T>(&self, matrix: &Matrix, f: impl FnOnce(&View) -> Result<T>) -> Result<T> {
        let rows: Vec<usize> = (0..matrix.rows()).collect();
        f(&matrix.view(&self.features, &rows).context("scoring")?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::super::fixture::{self, DEFAULTS, Fixture, NAMES};
    use super::super::heads::Body;
    use super::super::prior::ClassWeight;
    use super::super::split::{self, DAY, TestStart, Validation};
    use super::super::train::{FitRequest, Fitted, fit};
    use super::*;
    use crate::define::model::HeadKind;
    use crate::error::Kind;
    use arrow::array::{Array, ArrayRef, Float64Builder, MapBuilder, StringBuilder, StringViewArray};
    use arrow::datatypes::{Field, Schema};

    fn fitted(fixture: &Fixture, class_weight: ClassWeight) -> Fitted {
        fitted_on(fixture, &fixture.batch, &NAMES, class_weight)
    }

    fn fitted_on(fixture: &Fixture, batch: &RecordBatch, names: &[&str], class_weight: ClassWeight) -> Fitted {
        let matrix = Matrix::from_batches(&batch.schema(), std::slice::from_ref(batch), names).unwrap();
        fit(&request(fixture, &matrix, &BTreeMap::new(), class_weight)).unwrap()
    }

    fn request<'a>(
        fixture: &'a Fixture,
        matrix: &'a Matrix,
        params: &'a BTreeMap<String, serde_json::Value>,
        class_weight: ClassWeight,
    ) -> FitRequest<'a> {
        FitRequest {
            matrix,
            labels: &fixture.labels,
            entities: &fixture.entities,
            as_of: &fixture.as_of,
            weights: None,
            accepted: None,
            reject: None,
            validation: Validation::Time { test: TestStart::Last(80 * DAY), valid: Some(80 * DAY) },
            embargo: 5 * DAY,
            head: HeadKind::Lightgbm,
            params,
            class_weight,
            rounds: 50,
            early_stopping: Some(10),
            seed: 1,
            threads: 1,
            encode: &DEFAULTS.encode,
            monotone: &DEFAULTS.monotone,
            calibration: &DEFAULTS.calibration,
            segments: &[],
            threshold: 0.5,
        }
    }

    fn scorer(fitted: &Fitted) -> Scorer {
        let files = Artifact::new(fitted, "model: test\n", "").to_files().unwrap();
        Scorer::new(&Artifact::from_files(&files).unwrap(), 2).unwrap()
    }

    #[test]
    fn files_score_exactly_as_training_did() {
        let fixture = fixture::rows(3000, 11);
        for class_weight in [ClassWeight::None, ClassWeight::Balanced] {
            let fitted = fitted(&fixture, class_weight);
            let scores = scorer(&fitted).score(&fixture.batch).unwrap();
            assert_eq!(scores.len(), 3000);
            for p in &fitted.predictions {
                assert_eq!(scores[p.row].to_bits(), p.probability.to_bits());
            }
        }
    }

    /// The fixture's categories as shares: of the row's own value 0.75, of a rare one the rest.
    fn with_shares(batch: &RecordBatch, top: &str) -> RecordBatch {
        let kinds: &arrow::array::StringArray = batch.column(2).as_any().downcast_ref().unwrap();
        let mut builder = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
        for (row, kind) in kinds.iter().enumerate() {
            if let Some(kind) = kind {
                builder.keys().append_value(format!("{kind}, zł"));
                builder.values().append_value(0.75);
                builder.keys().append_value(format!("rare {}", row % 40));
                builder.values().append_value(0.25);
            }
            builder.append(kind.is_some()).unwrap();
        }
        let shares: ArrayRef = Arc::new(builder.finish());
        let field = Field::new("g.shares", shares.data_type().clone(), true);
        let field = field.with_metadata([("top".to_string(), top.to_string())].into());
        let schema = Arc::new(Schema::new(vec![batch.schema().field(0).clone(), field]));
        RecordBatch::try_new(schema, vec![batch.column(0).clone(), shares]).unwrap()
    }

    #[test]
    fn shares_are_chosen_in_training_and_replayed_when_scoring() {
        let fixture = fixture::rows(3000, 17);
        let batch = with_shares(&fixture.batch, "3");
        let fitted = fitted_on(&fixture, &batch, &["g.x", "g.shares"], ClassWeight::None);
        let names: Vec<&str> = fitted.features.iter().map(|f| f.name.as_str()).collect();
        let (x, mut shares) = (names[0], names[1..].to_vec());
        shares.sort_unstable();
        assert_eq!((x, shares.len()), ("g.x", 3));
        assert_eq!(shares, ["blik", "card", "cash"].map(|kind| format!("g.shares={kind}%2C%20zł")));
        assert!(fitted.report.importances[0].feature != "g.shares", "importances are of the columns");
        let scorer = scorer(&fitted);
        assert_eq!(scorer.feature_names(), ["g.x", "g.shares"]);
        // Another `top` says nothing to a model that has chosen.
        let scores = scorer.score(&with_shares(&fixture.batch, "40")).unwrap();
        for p in &fitted.predictions {
            assert_eq!(scores[p.row].to_bits(), p.probability.to_bits());
        }
    }

    #[test]
    fn columns_are_found_by_name_and_strings_in_any_layout() {
        let fixture = fixture::rows(2000, 12);
        let scorer = scorer(&fitted(&fixture, ClassWeight::None));
        let expected = scorer.score(&fixture.batch).unwrap();
        let shuffled = fixture.batch.project(&[3, 1, 2, 0]).unwrap();
        assert_eq!(scorer.score(&shuffled).unwrap(), expected);
        let views: StringViewArray = {
            let strings: &arrow::array::StringArray = fixture.batch.column(2).as_any().downcast_ref().unwrap();
            strings.iter().collect()
        };
        let columns = fixture.batch.columns();
        let relaid = RecordBatch::try_from_iter([
            (NAMES[2], Arc::new(views) as ArrayRef),
            (NAMES[0], columns[0].clone()),
            (NAMES[1], columns[1].clone()),
            (NAMES[3], columns[3].clone()),
        ])
        .unwrap();
        assert_eq!(scorer.score(&relaid).unwrap(), expected);
        assert_eq!(scorer.score(&fixture.batch.slice(0, 0)).unwrap(), Vec::<f64>::new());
        assert_eq!(scorer.score(&fixture.batch.slice(17, 1)).unwrap(), expected[17..18], "one row alone");
    }

    #[test]
    fn a_missing_column_is_named() {
        let fixture = fixture::rows(1000, 13);
        let scorer = scorer(&fitted(&fixture, ClassWeight::None));
        let error = scorer.score(&fixture.batch.project(&[0, 1, 3]).unwrap()).unwrap_err();
        assert_eq!(error.kind(), Kind::Definition);
        assert!(error.to_string().contains("feature `g.kind` is missing"), "{error}");
    }

    #[test]
    fn a_model_text_that_is_none_or_another_is_refused() {
        let fixture = fixture::rows(1000, 14);
        let mut artifact = Artifact::new(&fitted(&fixture, ClassWeight::None), "", "");
        let new = |artifact: &Artifact| Scorer::new(artifact, 1).err().unwrap();
        let Body::Trees(whole) = artifact.body.clone() else { unreachable!() };
        for text in ["", "tree\n", "not a model", &whole[..whole.len() / 2]] {
            artifact.body = Body::Trees(text.to_string());
            let error = new(&artifact);
            assert_eq!(error.kind(), Kind::Data);
            assert!(error.to_string().contains("no complete LightGBM model"), "{error}");
        }
        artifact.body = Body::Trees(whole);
        artifact.features.pop();
        assert!(new(&artifact).to_string().contains("inconsistent"));
    }

    #[test]
    fn threads_may_share_a_scorer() {
        let fixture = fixture::rows(1000, 15);
        let scorer = scorer(&fitted(&fixture, ClassWeight::None));
        let expected = scorer.score(&fixture.batch).unwrap();
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..4).map(|_| scope.spawn(|| scorer.score(&fixture.batch).unwrap())).collect();
            for one in all {
                assert_eq!(one.join().unwrap(), expected);
            }
        });
    }

    /// Writes artifacts and what they give for Python to compare; see tests/interop/learn/heads.py.
    #[test]
    fn write_artifacts_for_python() {
        let Some(folder) = crate::clock::env("SCOREHOUSE_LEARN_INTEROP") else {
            println!("SCOREHOUSE_LEARN_INTEROP names no folder: nothing written");
            return;
        };
        let fixture = fixture::rows(3000, 16);
        let none = BTreeMap::new();
        let json = |text: &str| serde_json::from_str(text).unwrap();
        let sparse = [("C", "0.05"), ("penalty", "\"l1\""), ("transform", "\"saturating\""), ("tol", "1e-8")];
        let sparse = BTreeMap::from(sparse.map(|(name, value)| (name.to_string(), json(value))));
        for (name, head, params) in [
            ("lightgbm", HeadKind::Lightgbm, &none),
            ("random_forest", HeadKind::RandomForest, &none),
            ("extra_trees", HeadKind::ExtraTrees, &none),
            ("tree", HeadKind::Tree, &none),
            ("logistic", HeadKind::Logistic, &none),
            ("logistic_l1", HeadKind::Logistic, &sparse),
            ("linear_svm", HeadKind::LinearSvm, &none),
        ] {
            let folder = std::path::Path::new(&folder).join(name);
            std::fs::create_dir_all(&folder).unwrap();
            let fitted = fitted_by(head, params, &fixture);
            let scorer = scorer(&fitted);
            for (name, bytes) in Artifact::new(&fitted, "model: test\n", "").to_files().unwrap() {
                std::fs::write(folder.join(name), bytes).unwrap();
            }
            // As text with all digits, since JSON has no NaN.
            let write = |name: &str, values: &[f64]| {
                let lines: String = values.iter().map(|v| format!("{v:?}\n")).collect();
                std::fs::write(folder.join(name), lines).unwrap();
            };
            let said = scorer.predict(&fixture.batch).unwrap();
            write("inputs.txt", &scorer.inputs(&fixture.batch).unwrap());
            write("raw.txt", &said.margin);
            write("scores.txt", &said.probability);
            let mut contributions = Vec::new();
            let matrix = scorer.matrix(&fixture.batch).unwrap();
            let each = |view: &View| {
                scorer.model.contributions(view, &mut |_, block| {
                    contributions.extend_from_slice(block);
                    Ok(())
                })
            };
            scorer.with_view(&matrix, each).unwrap();
            write("contributions.txt", &contributions);
            write("labels.txt", &fixture.labels.iter().map(|l| f64::from(u8::from(*l))).collect::<Vec<_>>());
            let parts = split::by_time(&fixture.as_of, TestStart::Last(80 * DAY), Some(80 * DAY), 5 * DAY).unwrap();
            for (name, rows) in [("train.txt", parts.train), ("valid.txt", parts.valid)] {
                write(name, &rows.iter().map(|row| *row as f64).collect::<Vec<_>>());
            }
        }
    }

    fn fitted_by(head: HeadKind, params: &BTreeMap<String, serde_json::Value>, fixture: &Fixture) -> Fitted {
        let matrix =
            Matrix::from_batches(&fixture.batch.schema(), std::slice::from_ref(&fixture.batch), &NAMES).unwrap();
        fit(&FitRequest { head, ..request(fixture, &matrix, params, ClassWeight::Balanced) }).unwrap()
    }
}
