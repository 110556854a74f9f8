//! The inputs of a model, fitted on its training rows: vocabularies, chosen values, means of labels.
//!
//! Nothing is fitted on a row that does not train. Means of labels are kept twice: as the table that scoring replays, and,
//! while training lasts, as the number each row would have had at its own as_of, when fewer labels were known. A row so
//! never sees its own label nor a later one, whether it trains, stops, calibrates or tests; for rows younger than every
//! training label the two are the same.

use super::encode::Vocabulary;
use super::matrix::{Class, Feature, Matrix, View};
use super::ordered_target::{self, Rows, Settings, Table};
use super::shares;
use crate::define::model::{EncodingKind, Encodings};
use crate::error::Result;

/// Values kept of a text that is a category or a mean of labels, and of shares that do not say how many.
const CATEGORIES: usize = 1000;

/// Values kept of a text with a column for each.
const COLUMNS: usize = 50;

/// How many rows the prior counts for.
const SMOOTHING: f64 = 20.0;

/// The labels of all rows of a matrix, and when each is known: `as_of + known_after`, microseconds.
#[derive(Clone, Copy)]
pub struct Outcomes<'a> {
    pub labels: &'a [bool],
    pub as_of: &'a [i64],
    pub known_after: i64,
    /// How much each row counts; `None` counts every row 1.
    pub weights: Option<&'a [f64]>,
}

/// How texts become numbers, where a definition says so, and what the head takes where it does not.
#[derive(Clone, Copy)]
pub struct Texts<'a> {
    pub encodings: &'a Encodings,
    pub native: bool,
}

/// Fitted features, and what each row of the matrix knew.
pub struct Inputs {
    pub features: Vec<Feature>,
    known: Vec<Option<Vec<f64>>>,
}

impl Inputs {
    /// The features of all columns of a matrix, fitted on `rows`, whose labels count.
    pub fn fit(matrix: &Matrix, rows: &[usize], texts: Texts, outcomes: Outcomes) -> Result<Inputs> {
        let mut inputs = Inputs { features: Vec::new(), known: Vec::new() };
        for (column, (name, class)) in matrix.columns().enumerate() {
            let plain = matrix.plain(column);
            let named =
                |value: String| Feature { name: shares::name(name, &value), value: Some(value), ..plain.clone() };
            match class {
                Class::Numeric | Class::Time => inputs.push(plain, None),
                Class::Share => {
                    let values = matrix.share_values(column, rows, CATEGORIES);
                    values.into_iter().for_each(|value| inputs.push(named(value), None));
                }
                Class::Categorical => match texts.of(name) {
                    (EncodingKind::Native, max, _) => {
                        let vocabulary = Some(matrix.vocabulary(column, rows, max));
                        inputs.push(Feature { vocabulary, ..plain }, None);
                    }
                    (EncodingKind::OneHot, max, _) => {
                        let values: Vec<String> = matrix.vocabulary(column, rows, max).into();
                        values.into_iter().for_each(|value| inputs.push(named(value), None));
                    }
                    (EncodingKind::Target, max, smoothing) => {
                        let vocabulary = matrix.vocabulary(column, rows, max);
                        let (table, known) = means(matrix, column, rows, (&vocabulary, smoothing), outcomes)?;
                        inputs.push(Feature { target: Some(table), ..plain }, Some(known));
                    }
                },
            }
        }
        Ok(inputs)
    }

    fn push(&mut self, feature: Feature, known: Option<Vec<f64>>) {
        self.features.push(feature);
        self.known.push(known);
    }

    /// Rows of the matrix that they were fitted on, each as it was at its own as_of.
    pub fn view<'a>(&'a self, matrix: &'a Matrix, rows: &'a [usize]) -> Result<View<'a>> {
        matrix.view_known(&self.features, &self.known, rows)
    }
}

/// Means of labels by text: the table, and what each row of the matrix knew. A row that does not train weighs nothing,
/// so that all rows can be asked at once, and its text is no category unless training rows made it one.
fn means(
    matrix: &Matrix,
    column: usize,
    rows: &[usize],
    (vocabulary, smoothing): (&Vocabulary, f64),
    outcomes: Outcomes,
) -> Result<(Table, Vec<f64>)> {
    let mut weights = vec![0.0; matrix.rows()];
    rows.iter().for_each(|row| weights[*row] = outcomes.weights.map_or(1.0, |weights| weights[*row]));
    let known = |text: &&str| vocabulary.code(text).is_some();
    let categories: Vec<Option<&str>> = matrix.texts(column).map(|text| text.filter(known)).collect();
    let known_at: Vec<i64> = outcomes.as_of.iter().map(|at| at.saturating_add(outcomes.known_after)).collect();
    let asked = Rows {
        categories: &categories,
        labels: outcomes.labels,
        as_of: outcomes.as_of,
        known_at: &known_at,
        weights: Some(&weights),
    };
    let (values, table) = ordered_target::fit(&asked, Settings { smoothing, max: usize::MAX })?;
    Ok((table, values))
}

impl Texts<'_> {
    /// Kind, values kept and smoothing of a column.
    fn of(&self, column: &str) -> (EncodingKind, usize, f64) {
        let given = self.encodings.features.get(column);
        let own = if self.native { EncodingKind::Native } else { EncodingKind::OneHot };
        let kind = given.map_or(self.encodings.default.unwrap_or(own), |encoding| encoding.kind);
        let most = if kind == EncodingKind::OneHot { COLUMNS } else { CATEGORIES };
        let max = given.and_then(|encoding| encoding.max).unwrap_or(most);
        (kind, max, given.and_then(|encoding| encoding.smoothing).unwrap_or(SMOOTHING))
    }
}
