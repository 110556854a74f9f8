//! Target encoding in time: a category becomes the share of positives among its earlier rows, as far as it was known.
//!
//! For a training row of category c at `as_of` t, the value is
//!
//! ```text
//! (S + m · prior) / (N + m)      N, S: rows of c, and positives among them, whose labels were known at t
//! ```
//!
//! with m the smoothing and the prior the share of positives among all labels known at t: a rare category says little,
//! and is drawn to the prior (D. Micci-Barreca, "A Preprocessing Scheme for High-Cardinality Categorical Attributes in
//! Classification and Prediction Problems", SIGKDD Explorations 2001, with its weight N / (N + m)). No row sees its own
//! label nor a later one: that is the ordering of CatBoost's target statistics (L. Prokhorenkova et al., NeurIPS 2018),
//! with time in the place of a random permutation. A label counts once `known_at`, horizon and delay after its row's
//! `as_of`; rows of one `as_of` never see each other. So what a training row was given is what could have been computed
//! on the day, which an out-of-fold encoding is not.
//!
//! Nulls, categories that were never seen and those beyond the most frequent get the prior; before any label is known
//! there is none, and the value is NaN, missing. Weighted rows count with their weights.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::exact;
use super::ranked::check_weights;
use crate::error::{Error, Result};

/// Training rows of one categorical input.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// `None` is null.
    pub categories: &'a [Option<&'a str>],
    pub labels: &'a [bool],
    /// UTC microseconds.
    pub as_of: &'a [i64],
    /// When each label was known, `as_of` + horizon + delay; not before `as_of`.
    pub known_at: &'a [i64],
    /// Finite, at least 0; `None` weighs every row 1.
    pub weights: Option<&'a [f64]>,
}

/// How categories are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// m: how many rows of the prior a category starts with; above 0.
    pub smoothing: f64,
    /// Categories that are told apart: the most frequent of the training rows, ties by name.
    pub max: usize,
}

/// What scoring needs: all labels that training knew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    #[serde(with = "exact::one")]
    smoothing: f64,
    all: Count,
    categories: BTreeMap<String, Count>,
}

/// Weight of rows, and of the positives among them; 1 a row without weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    #[serde(with = "exact::one")]
    pub rows: f64,
    #[serde(with = "exact::one")]
    pub positives: f64,
}

impl Count {
    fn add(&mut self, label: bool, weight: f64) {
        self.rows += weight;
        self.positives += weight * f64::from(u8::from(label));
    }

    fn share(&self) -> f64 {
        self.positives / self.rows // 0 / 0: no label is known, NaN.
    }

    fn smoothed(&self, smoothing: f64, prior: f64) -> f64 {
        (self.positives + smoothing * prior) / (self.rows + smoothing)
    }
}

impl Table {
    /// The value of a category when scoring.
    pub fn encode(&self, category: Option<&str>) -> f64 {
        match category.and_then(|category| self.categories.get(category)) {
            Some(count) => count.smoothed(self.smoothing, self.prior()),
            None => self.prior(),
        }
    }

    /// Share of positives among all training rows; NaN where there were none.
    pub fn prior(&self) -> f64 {
        self.all.share()
    }

    /// Counts of the categories that are told apart.
    pub fn categories(&self) -> &BTreeMap<String, Count> {
        &self.categories
    }
}

/// Encodes training rows in time, O(n log n), and makes the table for scoring.
///
/// `Internal` error where lengths differ or a label was known before its row's `as_of`; `Definition` error where the
/// smoothing is not a number above 0; `Data` error where a weight is negative, infinite or NaN.
pub fn fit(rows: &Rows<'_>, settings: Settings) -> Result<(Vec<f64>, Table)> {
    rows.check(settings)?;
    let codes = rows.codes(settings.max);
    let weight = |row: usize| rows.weights.map_or(1.0, |weights| weights[row]);
    let mut asked: Vec<usize> = (0..rows.labels.len()).collect();
    asked.sort_unstable_by_key(|row| (rows.as_of[*row], *row));
    // In this order, what a row may see is always a prefix.
    let mut learned = asked.clone();
    learned.sort_unstable_by_key(|row| (rows.known_at[*row], rows.as_of[*row], *row));
    let mut all = Count::default();
    let mut counts = vec![Count::default(); codes.names.len()];
    let learn = |row: usize, all: &mut Count, counts: &mut [Count]| {
        all.add(rows.labels[row], weight(row));
        if let Some(code) = codes.of_row[row] {
            counts[code].add(rows.labels[row], weight(row));
        }
    };
    let mut values = vec![f64::NAN; rows.labels.len()];
    let mut known = 0;
    for row in asked {
        let now = rows.as_of[row];
        while learned.get(known).is_some_and(|j| rows.known_at[*j] <= now && rows.as_of[*j] < now) {
            learn(learned[known], &mut all, &mut counts);
            known += 1;
        }
        let prior = all.share();
        values[row] = codes.of_row[row].map_or(prior, |code| counts[code].smoothed(settings.smoothing, prior));
    }
    for row in &learned[known..] {
        learn(*row, &mut all, &mut counts);
    }
    let categories = codes.names.into_iter().map(str::to_string).zip(counts).collect();
    Ok((values, Table { smoothing: settings.smoothing, all, categories }))
}

/// Categories as numbers.
struct Codes<'a> {
    names: Vec<&'a str>,
    of_row: Vec<Option<usize>>,
}

impl<'a> Rows<'a> {
    fn check(&self, settings: Settings) -> Result<()> {
        let n = self.labels.len();
        if self.categories.len() != n || self.as_of.len() != n || self.known_at.len() != n {
            return Err(Error::internal(format!(
                "target encoding of {n} labels, {} categories, {} and {} times",
                self.categories.len(),
                self.as_of.len(),
                self.known_at.len()
            )));
        }
        if let Some(row) = (0..n).find(|row| self.known_at[*row] < self.as_of[*row]) {
            return Err(Error::internal(format!("target encoding: the label of row {row} was known before the row")));
        }
        if let Some(weights) = self.weights {
            check_weights(weights, n)?;
        }
        if !(settings.smoothing > 0.0 && settings.smoothing.is_finite()) {
            return Err(Error::definition(format!(
                "a target encoding with smoothing {}; expected a number of rows above 0, such as 20",
                settings.smoothing
            )));
        }
        Ok(())
    }

    fn codes(&self, max: usize) -> Codes<'a> {
        let mut counts: HashMap<&str, u64> = HashMap::new();
        for category in self.categories.iter().flatten() {
            *counts.entry(*category).or_default() += 1;
        }
        let mut ranked: Vec<(&str, u64)> = counts.into_iter().collect();
        ranked.sort_unstable_by_key(|&(name, count)| (Reverse(count), name));
        ranked.truncate(max);
        let names: Vec<&str> = ranked.into_iter().map(|(name, _)| name).collect();
        let codes: HashMap<&str, usize> = names.iter().enumerate().map(|(code, name)| (*name, code)).collect();
        let of_row = self.categories.iter().map(|category| codes.get((*category)?).copied()).collect();
        Codes { names, of_row }
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference::{cases, close};
    use super::*;
    use proptest::prelude::*;

    const SETTINGS: Settings = Settings { smoothing: 2.0, max: 100 };

    #[test]
    fn by_hand() {
        let rows = Rows {
            categories: &[Some("a"), Some("a"), Some("b"), Some("a"), None],
            labels: &[true, false, true, false, true],
            as_of: &[0, 1, 2, 10, 11],
            known_at: &[5, 6, 10, 15, 16],
            weights: None,
        };
        let (values, table) = fit(&rows, SETTINGS).unwrap();
        // Until 5 nothing is known. At 10: a has one of two, all have two of three. At 11 the same.
        assert!(values[..3].iter().all(|v| v.is_nan()));
        assert_eq!(values[3..], [(1.0 + 2.0 * 2.0 / 3.0) / (2.0 + 2.0), 2.0 / 3.0]);
        // In the end a has one of three, b one of one, all three of five.
        assert_eq!(table.prior(), 0.6);
        assert_eq!(table.encode(Some("a")), (1.0 + 1.2) / 5.0);
        assert_eq!(table.encode(Some("b")), (1.0 + 1.2) / 3.0);
        assert_eq!((table.encode(None), table.encode(Some("new"))), (0.6, 0.6));
    }

    #[test]
    fn rows_of_one_instant_do_not_see_each_other() {
        // Labels known at once: still, the three rows at 7 see only the one before them.
        let rows = Rows {
            categories: &[Some("a"); 4],
            labels: &[true, false, false, true],
            as_of: &[1, 7, 7, 7],
            known_at: &[1, 7, 7, 7],
            weights: None,
        };
        let (values, _) = fit(&rows, SETTINGS).unwrap();
        assert!(values[0].is_nan());
        assert_eq!(values[1..], [1.0; 3]);
    }

    #[test]
    fn rare_categories_beyond_the_most_frequent_get_the_prior() {
        let rows = Rows {
            categories: &[Some("a"), Some("b"), Some("b")],
            labels: &[true, false, false],
            as_of: &[1, 2, 3],
            known_at: &[1, 2, 3],
            weights: None,
        };
        let (values, table) = fit(&rows, Settings { max: 1, ..SETTINGS }).unwrap();
        assert_eq!(values[1..], [(0.0 + 2.0) / 2.0, (0.0 + 1.0) / 3.0]);
        assert_eq!(table.encode(Some("a")), table.prior());
        assert_eq!(table.categories().keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_table_is_kept_exactly_and_strictly() {
        let rows = Rows {
            categories: &[Some("a"), Some("ż, \"b\""), None],
            labels: &[true, false, true],
            as_of: &[1, 2, 3],
            known_at: &[1, 2, 3],
            weights: Some(&[0.1, 0.2, 1.0 / 3.0]),
        };
        let (_, table) = fit(&rows, SETTINGS).unwrap();
        let json = serde_json::to_string(&table).unwrap();
        let back: Table = serde_json::from_str(&json).unwrap();
        assert_eq!(back, table);
        assert_eq!(back.encode(Some("a")).to_bits(), table.encode(Some("a")).to_bits());
        assert!(serde_json::from_str::<Table>(&json.replace("smoothing", "smoothness")).is_err());
    }

    #[test]
    fn wrong_calls_are_errors() {
        let rows = Rows { categories: &[None], labels: &[true], as_of: &[5], known_at: &[5], weights: None };
        assert!(fit(&Rows { known_at: &[4], ..rows }, SETTINGS).is_err());
        assert!(fit(&Rows { labels: &[], ..rows }, SETTINGS).is_err());
        assert_eq!(fit(&Rows { weights: Some(&[f64::NAN]), ..rows }, SETTINGS).unwrap_err().kind().code(), 3);
        assert_eq!(fit(&rows, Settings { smoothing: 0.0, ..SETTINGS }).unwrap_err().kind().code(), 2);
        let nothing = Rows { categories: &[], labels: &[], as_of: &[], known_at: &[], weights: None };
        assert!(fit(&nothing, SETTINGS).unwrap().1.encode(None).is_nan());
    }

    #[derive(Deserialize)]
    struct Case {
        category: Vec<String>,
        label: Vec<u8>,
        as_of: Vec<i64>,
        known_at: Vec<i64>,
        weights: Option<Vec<f64>>,
        smoothing: f64,
        values: Vec<Option<f64>>,
        table: Option<BTreeMap<String, f64>>,
    }

    #[test]
    fn equal_pandas_in_time_and_scikit_learn_in_the_end() {
        for case in cases::<Case>("target") {
            let categories: Vec<Option<&str>> = case.category.iter().map(|category| Some(category.as_str())).collect();
            let labels: Vec<bool> = case.label.iter().map(|label| *label == 1).collect();
            let rows = Rows {
                categories: &categories,
                labels: &labels,
                as_of: &case.as_of,
                known_at: &case.known_at,
                weights: case.weights.as_deref(),
            };
            let (values, table) = fit(&rows, Settings { smoothing: case.smoothing, max: 100 }).unwrap();
            for (got, expected) in values.iter().zip(&case.values) {
                assert!(expected.map_or(got.is_nan(), |expected| close(*got, expected)), "{got} {expected:?}");
            }
            for (category, expected) in case.table.iter().flatten() {
                assert!(close(table.encode(Some(category)), *expected), "{category}");
            }
        }
    }

    /// The definition, row by row.
    fn slowly(rows: &Rows<'_>, row: usize, smoothing: f64) -> f64 {
        let (mut all, mut own) = (Count::default(), Count::default());
        for other in 0..rows.labels.len() {
            if rows.known_at[other] <= rows.as_of[row] && rows.as_of[other] < rows.as_of[row] {
                let weight = rows.weights.unwrap()[other];
                all.add(rows.labels[other], weight);
                if rows.categories[other].is_some() && rows.categories[other] == rows.categories[row] {
                    own.add(rows.labels[other], weight);
                }
            }
        }
        if all.rows == 0.0 {
            return f64::NAN;
        }
        let prior = all.positives / all.rows;
        if own.rows == 0.0 { prior } else { (own.positives + smoothing * prior) / (own.rows + smoothing) }
    }

    proptest! {
        #[test]
        fn equal_the_definition(
            rows in proptest::collection::vec((0usize..5, any::<bool>(), 0i64..30, 0i64..8, 1u8..3), 0..70),
            smoothing in 0.5f64..30.0,
        ) {
            let names = ["a", "b", "c", "d"];
            let categories: Vec<Option<&str>> = rows.iter().map(|r| names.get(r.0).copied()).collect();
            let labels: Vec<bool> = rows.iter().map(|r| r.1).collect();
            let as_of: Vec<i64> = rows.iter().map(|r| r.2).collect();
            let known_at: Vec<i64> = rows.iter().map(|r| r.2 + r.3).collect();
            let weights: Vec<f64> = rows.iter().map(|r| f64::from(r.4)).collect();
            let given = Rows {
                categories: &categories, labels: &labels, as_of: &as_of, known_at: &known_at, weights: Some(&weights),
            };
            let (values, table) = fit(&given, Settings { smoothing, max: 10 }).unwrap();
            for (row, value) in values.iter().enumerate() {
                let expected = slowly(&given, row, smoothing);
                prop_assert!(value.is_nan() && expected.is_nan() || (value - expected).abs() < 1e-12);
            }
            let total: f64 = weights.iter().sum();
            prop_assert_eq!(table.all.rows, total);
        }

        #[test]
        fn a_label_changes_only_rows_after_it_was_known(
            rows in proptest::collection::vec((0usize..3, any::<bool>(), 0i64..30, 0i64..8), 1..40),
            turned in 0usize..40,
        ) {
            let names = ["a", "b", "c"];
            let categories: Vec<Option<&str>> = rows.iter().map(|r| Some(names[r.0])).collect();
            let mut labels: Vec<bool> = rows.iter().map(|r| r.1).collect();
            let as_of: Vec<i64> = rows.iter().map(|r| r.2).collect();
            let known_at: Vec<i64> = rows.iter().map(|r| r.2 + r.3).collect();
            let turned = turned % rows.len();
            let of = |labels: &[bool]| {
                let given = Rows { categories: &categories, labels, as_of: &as_of, known_at: &known_at, weights: None };
                fit(&given, SETTINGS).unwrap().0
            };
            let before = of(&labels);
            labels[turned] = !labels[turned];
            for (row, (a, b)) in before.iter().zip(of(&labels)).enumerate() {
                let may = known_at[turned] <= as_of[row] && as_of[turned] < as_of[row];
                prop_assert!(may || a.to_bits() == b.to_bits(), "row {row}");
            }
        }
    }
}
