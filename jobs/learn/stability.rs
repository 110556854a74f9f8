//! Has a distribution moved? The population stability index (PSI) against a reference, and the share missing.
//!
//! PSI = Σ (aᵢ − eᵢ) · ln(aᵢ / eᵢ) over bins, eᵢ the share of the reference in bin i and aᵢ that of the rows at hand
//! (N. Siddiqi, "Credit Risk Scorecards", 2006; S. Kullback's symmetric divergence). Below 0.1 is read as stable, above
//! 0.25 as moved. Its value without any drift is about (bins − 1) · (1 / n + 1 / m) for n and m rows
//! (B. Yurdakul, "Statistical Properties of Population Stability Index", 2018), so small samples look restless.
//!
//! **Bins of numbers** follow the reference: their borders are its quantiles at 1/10, 2/10, … (the smallest value with
//! at least that share at or below it), a bin holding what is above its lower border and at most its upper one. Equal
//! borders are one. A value that takes a tenth or more of the reference is a bin of its own, so that a flag that turns
//! from mostly 1 to mostly 0 is seen to move, and a constant that changes. **Categories** are bins: the most frequent
//! of the reference, and one for the rest and the unseen. **Nulls** (NaN for numbers) are always a bin of their own.
//!
//! **Empty bins**: a bin that one side lacks is taken to hold half a row of that side, since ln 0 is no number; other
//! shares are left as they are. A bin that both sides lack adds nothing.
//!
//! A [`Reference`] is small and serialisable: kept with a model, it is compared with without any training row.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::exact;
use crate::error::{Error, Result};

/// Quantile bins of a number.
pub const BINS: usize = 10;

/// Categories with a bin of their own.
pub const CATEGORIES: usize = 20;

/// The distribution that others are compared with, binned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reference {
    Numeric {
        /// Borders between bins, increasing: one fewer than `counts`.
        #[serde(with = "exact::many")]
        borders: Vec<f64>,
        counts: Vec<u64>,
        nulls: u64,
    },
    Categorical {
        /// Rows of each category that has a bin.
        counts: BTreeMap<String, u64>,
        /// Rows of all others.
        other: u64,
        nulls: u64,
    },
}

/// How far rows are from their reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stability {
    pub psi: f64,
    /// Share of nulls in the reference and in the rows at hand.
    pub missing_before: f64,
    pub missing: f64,
    pub bins: Vec<Bin>,
}

/// One bin on both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// `(from, to]` of numbers, a category, `other`, or `null`.
    pub name: String,
    pub expected: f64,
    pub actual: f64,
    /// Its part of the PSI; at least 0.
    pub psi: f64,
}

impl Reference {
    /// Bins numbers by their quantiles; NaN is null. `Internal` error where `bins` is 0.
    pub fn numeric(values: &[f64], bins: usize) -> Result<Reference> {
        if bins == 0 {
            return Err(Error::internal("a distribution in 0 bins"));
        }
        let mut sorted: Vec<f64> = values.iter().filter(|value| !value.is_nan()).map(|value| value + 0.0).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let n = sorted.len();
        let mut borders: Vec<f64> = Vec::new();
        if n > 0 {
            // The k-th quantile is the value at rank ⌈k n / bins⌉.
            borders.extend((1..bins).map(|k| sorted[(k * n).div_ceil(bins).max(1) - 1]));
            let heavy = sorted.chunk_by(|a, b| a == b).filter(|tied| tied.len() * bins >= n);
            borders.extend(heavy.flat_map(|tied| [tied[0].next_down(), tied[0]]));
        }
        borders.sort_unstable_by(f64::total_cmp);
        borders.dedup();
        let counts = count_numbers(&borders, &sorted);
        Ok(Reference::Numeric { borders, counts, nulls: (values.len() - n) as u64 })
    }

    /// Bins categories: the `most` frequent, ties by name, and one for all others.
    pub fn categorical<'a>(values: impl IntoIterator<Item = Option<&'a str>>, most: usize) -> Reference {
        let mut counted: HashMap<&str, u64> = HashMap::new();
        let mut nulls = 0;
        for value in values {
            match value {
                Some(value) => *counted.entry(value).or_default() += 1,
                None => nulls += 1,
            }
        }
        let mut ranked: Vec<(&str, u64)> = counted.into_iter().collect();
        ranked.sort_unstable_by_key(|&(value, count)| (Reverse(count), value));
        let other = ranked.iter().skip(most).map(|(_, count)| count).sum();
        let counts = ranked.into_iter().take(most).map(|(value, count)| (value.to_string(), count)).collect();
        Reference::Categorical { counts, other, nulls }
    }

    /// Compares numbers with a numeric reference. `Internal` error where the reference is of categories, `Data` error
    /// where either side has no rows.
    pub fn compare_numbers(&self, values: &[f64]) -> Result<Stability> {
        let Reference::Numeric { borders, counts, nulls } = self else {
            return Err(Error::internal("numbers compared with categories"));
        };
        let present: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
        let actual = count_numbers(borders, &present);
        let name = |bin: usize| {
            let from = bin.checked_sub(1).map_or("(-inf".to_string(), |before| format!("({}", borders[before]));
            let to = borders.get(bin).map_or("inf)".to_string(), |border| format!("{border}]"));
            format!("{from}, {to}")
        };
        let rows = counts.iter().zip(&actual).enumerate().map(|(bin, (e, a))| (name(bin), *e, *a));
        compare(rows.collect(), *nulls, (values.len() - present.len()) as u64)
    }

    /// Compares categories with a categorical reference; errors as [`Reference::compare_numbers`].
    pub fn compare_categories<'a>(&self, values: impl IntoIterator<Item = Option<&'a str>>) -> Result<Stability> {
        let Reference::Categorical { counts, other, nulls } = self else {
            return Err(Error::internal("categories compared with numbers"));
        };
        let mut actual: BTreeMap<&str, u64> = counts.keys().map(|value| (value.as_str(), 0)).collect();
        let (mut others, mut missing) = (0, 0);
        for value in values {
            match value.map(|value| actual.get_mut(value)) {
                None => missing += 1,
                Some(None) => others += 1,
                Some(Some(count)) => *count += 1,
            }
        }
        let known = counts.iter().zip(actual.values()).map(|((value, e), a)| (value.clone(), *e, *a));
        compare(known.chain([("other".to_string(), *other, others)]).collect(), *nulls, missing)
    }
}

/// The PSI of `actual` numbers against `expected` ones in `bins` quantile bins; errors as [`Reference::numeric`] and
/// [`Reference::compare_numbers`].
pub fn psi(expected: &[f64], actual: &[f64], bins: usize) -> Result<f64> {
    Ok(Reference::numeric(expected, bins)?.compare_numbers(actual)?.psi)
}

/// The PSI of categories; errors as [`Reference::compare_categories`].
pub fn psi_of_categories(expected: &[Option<&str>], actual: &[Option<&str>], most: usize) -> Result<f64> {
    let reference = Reference::categorical(expected.iter().copied(), most);
    Ok(reference.compare_categories(actual.iter().copied())?.psi)
}

/// Share of NaN; `None` without rows.
pub fn share_missing(values: &[f64]) -> Option<f64> {
    let missing = values.iter().filter(|value| value.is_nan()).count();
    (!values.is_empty()).then(|| missing as f64 / values.len() as f64)
}

fn count_numbers(borders: &[f64], present: &[f64]) -> Vec<u64> {
    let mut counts = vec![0; borders.len() + 1];
    for value in present {
        counts[borders.partition_point(|border| border < value)] += 1;
    }
    counts
}

fn compare(mut rows: Vec<(String, u64, u64)>, nulls_before: u64, nulls: u64) -> Result<Stability> {
    rows.push(("null".to_string(), nulls_before, nulls));
    let (n, m) = rows.iter().fold((0, 0), |(n, m), row| (n + row.1, m + row.2));
    if n == 0 || m == 0 {
        return Err(Error::data(format!(
            "a distribution of {m} rows compared with a reference of {n} rows; both need at least one"
        )));
    }
    let (n, m) = (n as f64, m as f64);
    let bins: Vec<Bin> = rows
        .into_iter()
        .map(|(name, expected, actual)| {
            // Half a row where there is none.
            let (e, a) = ((expected as f64).max(0.5) / n, (actual as f64).max(0.5) / m);
            let psi = if expected == 0 && actual == 0 { 0.0 } else { (a - e) * (a / e).ln() };
            Bin { name, expected: expected as f64 / n, actual: actual as f64 / m, psi }
        })
        .collect();
    Ok(Stability {
        psi: bins.iter().map(|bin| bin.psi).sum(),
        missing_before: nulls_before as f64 / n,
        missing: nulls as f64 / m,
        bins,
    })
}

#[cfg(test)]
mod tests {
    use super::super::reference::{cases, close};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn psi_by_hand() {
        // Two bins at the median 2: shares 1/2, 1/2 against 1/4, 3/4.
        let got = psi(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[1.0, 3.5, 4.0, 9.0], 2).unwrap();
        let expected = (0.25 - 0.5) * (0.25f64 / 0.5).ln() + (0.75 - 0.5) * (0.75f64 / 0.5).ln();
        assert!((got - expected).abs() < 1e-15, "{got} {expected}");
    }

    #[test]
    fn nothing_moved_is_zero_and_nulls_are_a_bin() {
        let values = [1.0, f64::NAN, 2.0, 2.0, 3.0];
        assert_eq!(psi(&values, &values, BINS).unwrap(), 0.0);
        let got = Reference::numeric(&values, BINS).unwrap().compare_numbers(&[f64::NAN; 4]).unwrap();
        assert_eq!((got.missing_before, got.missing), (0.2, 1.0));
        let null = got.bins.last().unwrap();
        assert_eq!((null.name.as_str(), null.expected, null.actual), ("null", 0.2, 1.0));
        assert!(got.psi > 1.0);
        assert_eq!(share_missing(&values), Some(0.2));
        assert_eq!(share_missing(&[]), None);
    }

    #[test]
    fn a_flag_and_a_constant_are_seen_to_move() {
        let flag = |ones: usize| -> Vec<f64> { (0..100).map(|i| f64::from(u8::from(i < ones))).collect() };
        // Zeros are fewer than a tenth of the reference: quantiles alone would put both values into one bin.
        let got = psi(&flag(95), &flag(40), BINS).unwrap();
        let expected = (0.6 - 0.05) * (0.6f64 / 0.05).ln() + (0.4 - 0.95) * (0.4f64 / 0.95).ln();
        assert!((got - expected).abs() < 1e-12, "{got} {expected}");
        assert!(psi(&[7.0; 50], &[8.0; 50], BINS).unwrap() > 1.0);
        assert!(psi(&[7.0; 50], &[6.0; 50], BINS).unwrap() > 1.0);
        assert_eq!(psi(&[7.0; 50], &[7.0; 20], BINS).unwrap(), 0.0);
    }

    #[test]
    fn an_empty_bin_holds_half_a_row() {
        // All of ten rows of the reference are 1; all of four are 2: (1 − 1/20) ln(1 / (1/20)) + (1/8 − 1) ln(1/8).
        let got = psi(&[1.0; 10], &[2.0; 4], BINS).unwrap();
        let expected = 0.95 * 20f64.ln() + (0.125 - 1.0) * 0.125f64.ln();
        assert!((got - expected).abs() < 1e-12, "{got} {expected}");
    }

    #[test]
    fn categories_beyond_the_most_frequent_are_one_bin() {
        let before = [Some("a"), Some("a"), Some("b"), Some("b"), Some("c"), Some("d"), None, Some("a")];
        let reference = Reference::categorical(before, 2);
        let got = reference.compare_categories([Some("a"), Some("new"), Some("c"), None]).unwrap();
        let shares: Vec<_> = got.bins.iter().map(|b| (b.name.as_str(), b.expected, b.actual)).collect();
        assert_eq!(shares, [("a", 0.375, 0.25), ("b", 0.25, 0.0), ("other", 0.25, 0.5), ("null", 0.125, 0.25)]);
        assert_eq!(psi_of_categories(&before, &before, 2).unwrap(), 0.0);
    }

    #[test]
    fn a_reference_is_kept_exactly() {
        for reference in [
            Reference::numeric(&[0.1, 0.2, 0.30000000000000004, f64::INFINITY, f64::NAN], 3).unwrap(),
            Reference::categorical([Some("a"), None], 3),
        ] {
            let json = serde_json::to_string(&reference).unwrap();
            assert_eq!(serde_json::from_str::<Reference>(&json).unwrap(), reference);
        }
    }

    #[derive(Deserialize)]
    struct Numbers {
        expected: Vec<Option<f64>>,
        actual: Vec<Option<f64>>,
        bins: usize,
        psi: f64,
    }

    #[derive(Deserialize)]
    struct Categories {
        expected: Vec<Option<String>>,
        actual: Vec<Option<String>>,
        most: usize,
        psi: f64,
    }

    #[test]
    fn equal_python() {
        for case in cases::<Numbers>("psi") {
            let of = |v: &[Option<f64>]| -> Vec<f64> { v.iter().map(|v| v.unwrap_or(f64::NAN)).collect() };
            let got = psi(&of(&case.expected), &of(&case.actual), case.bins).unwrap();
            assert!(close(got, case.psi), "{got}, Python says {}", case.psi);
        }
        for case in cases::<Categories>("psi_categories") {
            let expected: Vec<Option<&str>> = case.expected.iter().map(Option::as_deref).collect();
            let actual: Vec<Option<&str>> = case.actual.iter().map(Option::as_deref).collect();
            let got = psi_of_categories(&expected, &actual, case.most).unwrap();
            assert!(close(got, case.psi), "{got}, Python says {}", case.psi);
        }
    }

    #[test]
    fn wrong_calls_are_errors() {
        let numbers = Reference::numeric(&[1.0], BINS).unwrap();
        assert_eq!(numbers.compare_numbers(&[]).unwrap_err().kind().code(), 3);
        assert_eq!(numbers.compare_categories([None]).unwrap_err().kind().code(), 1);
        assert!(Reference::categorical([None], 3).compare_numbers(&[1.0]).is_err());
        assert!(psi(&[], &[1.0], BINS).is_err());
        assert!(psi(&[1.0], &[1.0], 0).is_err());
    }

    proptest! {
        #[test]
        fn every_row_is_in_one_bin_and_bins_are_tenths(
            values in proptest::collection::vec(-50i32..50, 1..300), bins in 1usize..12,
        ) {
            let numbers: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
            let reference = Reference::numeric(&numbers, bins).unwrap();
            let Reference::Numeric { borders, counts, .. } = reference else { panic!() };
            prop_assert!(borders.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert_eq!(counts.iter().sum::<u64>(), numbers.len() as u64);
            // Slowly: row by row, bin by bin. And no bin of several values holds much more than its share.
            for (bin, count) in counts.iter().enumerate() {
                let above = bin.checked_sub(1).map_or(f64::NEG_INFINITY, |before| borders[before]);
                let most = borders.get(bin).copied().unwrap_or(f64::INFINITY);
                let inside: Vec<f64> = numbers.iter().copied().filter(|v| *v > above && *v <= most).collect();
                prop_assert_eq!(inside.len() as u64, *count);
                let several = inside.iter().any(|v| *v != inside[0]);
                prop_assert!(!several || inside.len() * bins <= 2 * numbers.len() + bins);
            }
        }

        #[test]
        fn psi_is_never_negative_and_does_not_mind_order(
            one in proptest::collection::vec(-9i32..9, 1..80), other in proptest::collection::vec(-9i32..9, 1..80),
        ) {
            let number = |v: &i32| if *v == 0 { f64::NAN } else { f64::from(*v) };
            let of = |v: &[i32]| -> Vec<f64> { v.iter().map(number).collect() };
            let got = psi(&of(&one), &of(&other), BINS).unwrap();
            prop_assert!(got >= 0.0);
            let mut turned = other.clone();
            turned.reverse();
            prop_assert_eq!(got, psi(&of(&one), &of(&turned), BINS).unwrap());
        }
    }
}
