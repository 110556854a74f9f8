//! Which rows train, stop training and test: by time with an embargo, or by entity in folds.
//!
//! Time: rows are cut from the end. Between two parts lies an embargo of horizon + delay: a row may come before a part
//! only if its outcome was known when that part's first decision was made, `as_of + embargo <= first as_of of the next
//! part`; rows in between are dropped. Folds: all rows of an entity fall into one fold, chosen by a hash of the seed
//! and the entity, so that neither row order nor platform matters. Folds ignore time: choosing them says that no
//! feature or label of one entity tells about another.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Context, Error, Result};

pub use crate::define::types::DAY;

/// Where the test part begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestStart {
    /// At this as_of (UTC microseconds), inclusive.
    From(i64),
    /// The last so many microseconds of rows: (latest as_of − length, latest as_of].
    Last(i64),
}

/// How a model is validated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Validation {
    /// Test on the latest rows, stop training on the `valid` microseconds of rows before them; `None` stops it on
    /// entities held out among the rows before them, which costs one embargo less.
    Time { test: TestStart, valid: Option<i64> },
    /// `folds` test parts of `test` microseconds, one after the other up to the last row.
    RollingOrigin { folds: u32, test: i64 },
    /// Every row predicted once per seed by a model that did not see its entity.
    CrossValidation { folds: u32, seeds: Vec<u64> },
}

/// Row numbers of each part, ascending; every row is in exactly one of the four.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeSplit {
    pub train: Vec<usize>,
    pub valid: Vec<usize>,
    pub test: Vec<usize>,
    /// Rows inside an embargo.
    pub dropped: Vec<usize>,
}

/// How many rows a part holds and when, for reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartSummary {
    pub part: String,
    pub rows: u64,
    pub positives: u64,
    /// UTC microseconds; `None` without rows.
    pub first_as_of: Option<i64>,
    pub last_as_of: Option<i64>,
}

impl PartSummary {
    pub fn of(part: &str, rows: &[usize], labels: &[bool], as_of: &[i64]) -> PartSummary {
        let times = || rows.iter().map(|&row| as_of[row]);
        PartSummary {
            part: part.to_string(),
            rows: rows.len() as u64,
            positives: rows.iter().filter(|row| labels[**row]).count() as u64,
            first_as_of: times().min(),
            last_as_of: times().max(),
        }
    }
}

/// Splits rows by time. `as_of`, `valid` and `embargo` (horizon + delay) in microseconds. Without `valid` there is no
/// validation part: all rows that may come before the test part train.
///
/// `Data` error, with the rows of every part, where one is empty; `Definition` error for a length that is not positive.
pub fn by_time(as_of: &[i64], test: TestStart, valid: Option<i64>, embargo: i64) -> Result<TimeSplit> {
    let whole = valid.is_none();
    let valid = valid.unwrap_or(1);
    if valid <= 0 || embargo < 0 || matches!(test, TestStart::Last(length) if length <= 0) {
        return Err(Error::definition(format!(
            "validation by time: expected test and valid longer than 0 and an embargo of at least 0; found valid {}, \
             embargo {}, test {test:?}",
            days(valid),
            days(embargo)
        )));
    }
    let Some(&latest) = as_of.iter().max() else {
        return Err(Error::data("validation by time: there are no labelled rows; check the spine and the label"));
    };
    let test_from = match test {
        TestStart::From(from) => from,
        // Past the last row that is outside: the part is (latest − length, latest].
        TestStart::Last(length) => latest.saturating_sub(length).saturating_add(1),
    };
    let is_test = |t: i64| t >= test_from;
    let test_first = as_of.iter().copied().filter(|t| is_test(*t)).min();
    let before = |t: i64, first: Option<i64>| first.is_some_and(|first| t.saturating_add(embargo) <= first);
    let may_stop = |t: i64| !is_test(t) && before(t, test_first);
    let valid_last = as_of.iter().copied().filter(|t| may_stop(*t)).max();
    let is_valid = |t: i64| may_stop(t) && valid_last.is_some_and(|last| t > last.saturating_sub(valid));
    let valid_first = as_of.iter().copied().filter(|t| is_valid(*t)).min();

    let mut split = TimeSplit { train: Vec::new(), valid: Vec::new(), test: Vec::new(), dropped: Vec::new() };
    for (row, &t) in as_of.iter().enumerate() {
        let part = match () {
            () if is_test(t) => &mut split.test,
            () if whole && may_stop(t) => &mut split.train,
            () if is_valid(t) => &mut split.valid,
            () if may_stop(t) && before(t, valid_first) => &mut split.train,
            () => &mut split.dropped,
        };
        part.push(row);
    }
    if split.train.is_empty() || (split.valid.is_empty() && !whole) || split.test.is_empty() {
        return Err(empty_part(as_of, &split, test_from, valid, embargo));
    }
    Ok(split)
}

/// `folds` test parts of `test` microseconds, one after the other up to the last row, each with the rows that train for
/// it: those whose outcome was known when its first decision was made. No validation parts.
///
/// `Data` error where a part is empty; `Definition` error for a length that is not positive.
pub fn rolling(as_of: &[i64], folds: u32, test: i64, embargo: i64) -> Result<Vec<TimeSplit>> {
    if folds < 2 || test <= 0 {
        return Err(Error::definition(format!(
            "a rolling origin: expected at least 2 folds and a test longer than 0; found {folds} folds, test {}",
            days(test)
        )));
    }
    let Some(&latest) = as_of.iter().max() else {
        return Err(Error::data("a rolling origin: there are no labelled rows; check the spine and the label"));
    };
    let fold = |number: u32| {
        let end = latest.saturating_sub(i64::from(folds - 1 - number).saturating_mul(test));
        // Rows after the fold's end do not exist for it.
        let until: Vec<usize> = (0..as_of.len()).filter(|row| as_of[*row] <= end).collect();
        let times: Vec<i64> = until.iter().map(|row| as_of[*row]).collect();
        let from = TestStart::From(end.saturating_sub(test).saturating_add(1));
        let of = |rows: Vec<usize>| rows.into_iter().map(|row| until[row]).collect();
        let split = by_time(&times, from, None, embargo).with_context(|| {
            format!("fold {} of {folds}, tested on the {} up to {}", number + 1, days(test), instant(end))
        })?;
        Ok(TimeSplit { train: of(split.train), valid: Vec::new(), test: of(split.test), dropped: of(split.dropped) })
    };
    (0..folds).map(fold).collect()
}

fn empty_part(as_of: &[i64], split: &TimeSplit, test_from: i64, valid: i64, embargo: i64) -> Error {
    let span = as_of.iter().max().copied().unwrap_or(0) - as_of.iter().min().copied().unwrap_or(0);
    let mut text = format!(
        "validation by time leaves a part without rows: {} rows over {} gave train {}, valid {}, test {} (from {}), \
         and {} dropped by the embargo (horizon + delay) of {} between the parts",
        as_of.len(),
        days(span),
        split.train.len(),
        split.valid.len(),
        split.test.len(),
        instant(test_from),
        split.dropped.len(),
        days(embargo),
    );
    let needed = embargo.saturating_mul(2).saturating_add(valid);
    let what = if split.test.is_empty() {
        "an earlier `test_from`"
    } else {
        "more history in the spine, a shorter horizon, or shorter `test` and `valid`"
    };
    let _ = write!(
        text,
        ". Before the test part the rows must span more than {} (two embargoes and valid): use {what}",
        days(needed)
    );
    Error::data(text)
}

fn days(micros: i64) -> String {
    format!("{:.1} days", micros as f64 / DAY as f64)
}

fn instant(micros: i64) -> String {
    chrono::DateTime::from_timestamp_micros(micros)
        .map_or_else(|| format!("{micros} µs"), |t| t.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// The fold, 0 to `folds` − 1, of every row's entity under a seed.
///
/// `Definition` error below two folds; `Data` error where a fold has no rows.
pub fn by_entity<S: AsRef<str>>(entities: &[S], folds: u32, seed: u64) -> Result<Vec<u32>> {
    if folds < 2 {
        return Err(Error::definition(format!("cross-validation: expected at least 2 folds, found {folds}")));
    }
    let assigned = buckets(entities, folds, &format!("fold\n{seed}\n"));
    let mut sizes: BTreeMap<u32, usize> = (0..folds).map(|fold| (fold, 0)).collect();
    for fold in &assigned {
        *sizes.entry(*fold).or_default() += 1;
    }
    if sizes.values().any(|size| *size == 0) {
        let sizes: Vec<String> = sizes.values().map(ToString::to_string).collect();
        return Err(Error::data(format!(
            "cross-validation by entity leaves a fold without rows: {} rows fell into {folds} folds as {}; use fewer \
             folds or more entities",
            entities.len(),
            sizes.join(", ")
        )));
    }
    Ok(assigned)
}

/// Of `rows`, those whose entities stop the training (about one in `every`), and the rest, which train.
///
/// `salt` must differ from fold to fold, or the same entities would always be held out.
pub fn hold_out<S: AsRef<str>>(entities: &[S], rows: &[usize], every: u32, salt: &str) -> (Vec<usize>, Vec<usize>) {
    let names: Vec<&str> = rows.iter().map(|&row| entities[row].as_ref()).collect();
    let assigned = buckets(&names, every, &format!("stop\n{salt}\n"));
    let of =
        |stops: bool| rows.iter().zip(&assigned).filter(|(_, b)| (**b == 0) == stops).map(|(row, _)| *row).collect();
    (of(true), of(false))
}

fn buckets<S: AsRef<str>>(entities: &[S], count: u32, salt: &str) -> Vec<u32> {
    let mut last: Option<(&str, u32)> = None;
    entities
        .iter()
        .map(|entity| {
            let entity = entity.as_ref();
            // Rows come sorted by entity as a rule: hash each once.
            match last {
                Some((same, bucket)) if same == entity => bucket,
                _ => {
                    let bucket = bucket(entity, count, salt);
                    last = Some((entity, bucket));
                    bucket
                }
            }
        })
        .collect()
}

fn bucket(entity: &str, count: u32, salt: &str) -> u32 {
    let digest = Sha256::new().chain_update(salt).chain_update(entity).finalize();
    let high = digest.iter().take(8).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    (high % u64::from(count.max(1))) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use proptest::prelude::*;

    #[test]
    fn parts_are_cut_from_the_end_with_an_embargo_between() {
        let as_of: Vec<i64> = (0..100).map(|d| d * DAY).collect();
        let split = by_time(&as_of, TestStart::Last(10 * DAY), Some(20 * DAY), 5 * DAY).unwrap();
        assert_eq!(split.test, (90..100).collect::<Vec<_>>());
        assert_eq!(split.valid, (66..86).collect::<Vec<_>>(), "day 85's outcome is known on day 90");
        assert_eq!(split.train, (0..62).collect::<Vec<_>>());
        assert_eq!(split.dropped, [62, 63, 64, 65, 86, 87, 88, 89]);
        let same = by_time(&as_of, TestStart::From(90 * DAY), Some(20 * DAY), 5 * DAY).unwrap();
        assert_eq!(same, split);
    }

    #[test]
    fn an_empty_part_says_how_many_rows_were_where() {
        let as_of: Vec<i64> = (0..10).map(|d| d * DAY).collect();
        let error = by_time(&as_of, TestStart::Last(3 * DAY), Some(2 * DAY), 90 * DAY).unwrap_err();
        assert_eq!(error.kind(), Kind::Data);
        let text = error.to_string();
        assert!(text.contains("10 rows over 9.0 days gave train 0, valid 0, test 3 (from 1970-01-07T"), "{text}");
        assert!(text.contains("7 dropped by the embargo (horizon + delay) of 90.0 days"), "{text}");
        assert!(text.contains("more history"), "{text}");
        let late = by_time(&as_of, TestStart::From(50 * DAY), Some(DAY), 0).unwrap_err().to_string();
        assert!(late.contains("test 0") && late.contains("an earlier `test_from`"), "{late}");
        assert_eq!(by_time(&[], TestStart::From(0), Some(DAY), 0).unwrap_err().kind(), Kind::Data);
        assert_eq!(by_time(&as_of, TestStart::From(0), Some(0), 0).unwrap_err().kind(), Kind::Definition);
    }

    #[test]
    fn an_origin_rolls_over_what_was_known_before_it() {
        let as_of: Vec<i64> = (0..100).map(|d| d * DAY).collect();
        let folds = rolling(&as_of, 3, 10 * DAY, 5 * DAY).unwrap();
        let tests: Vec<_> = folds.iter().map(|f| (f.test[0], f.test.len())).collect();
        assert_eq!(tests, [(70, 10), (80, 10), (90, 10)], "one after the other, up to the last row");
        let trains: Vec<_> = folds.iter().map(|f| (f.train[0], f.train.len())).collect();
        assert_eq!(trains, [(0, 66), (0, 76), (0, 86)], "all that was known, and more each time");
        let error = rolling(&as_of, 12, 10 * DAY, 5 * DAY).unwrap_err();
        assert_eq!(error.kind(), Kind::Data);
        assert!(error.to_string().contains("fold 1 of 12"), "{error}");
        assert_eq!(rolling(&as_of, 1, DAY, 0).unwrap_err().kind(), Kind::Definition);
        assert_eq!(rolling(&[], 2, DAY, 0).unwrap_err().kind(), Kind::Data);
    }

    #[test]
    fn folds_are_a_fixed_function_of_seed_and_entity() {
        let entities = ["u1", "u2", "u3", "u4", "u5", "u6", "u7", "u8"];
        // First 8 bytes of SHA-256 of "fold\n1\n" and the entity, modulo 3; computed with Python's hashlib.
        assert_eq!(by_entity(&entities, 3, 1).unwrap(), [0, 0, 1, 2, 1, 2, 1, 1]);
    }

    #[test]
    fn a_fold_without_rows_is_an_error() {
        let error = by_entity(&["a", "a"], 2, 1).unwrap_err();
        assert_eq!(error.kind(), Kind::Data);
        assert!(error.to_string().contains("2 rows fell into 2 folds"), "{error}");
        assert_eq!(by_entity(&["a"], 1, 1).unwrap_err().kind(), Kind::Definition);
    }

    proptest! {
        #[test]
        fn no_outcome_reaches_past_the_start_of_the_next_part(
            as_of in proptest::collection::vec(0i64..200, 1..80),
            test in 1i64..60, valid in 1i64..60, embargo in 0i64..60,
        ) {
            let Ok(split) = by_time(&as_of, TestStart::Last(test), Some(valid), embargo) else { return Ok(()) };
            let min = |rows: &[usize]| rows.iter().map(|r| as_of[*r]).min().unwrap();
            let max = |rows: &[usize]| rows.iter().map(|r| as_of[*r]).max().unwrap();
            prop_assert!(max(&split.train) + embargo <= min(&split.valid));
            prop_assert!(max(&split.valid) + embargo <= min(&split.test));
            prop_assert!(max(&split.valid) - min(&split.valid) < valid);
            prop_assert!(max(&split.test) - min(&split.test) < test);
            let mut all = [split.train, split.valid, split.test, split.dropped].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..as_of.len()).collect::<Vec<_>>());
        }

        #[test]
        fn an_entity_is_in_one_fold_and_held_out_whole(
            names in proptest::collection::vec("[a-f]", 1..60), folds in 2u32..5, seed in 0u64..50,
        ) {
            let fold_of = |name: &String, assigned: &[u32]| -> Vec<u32> {
                let mut f: Vec<u32> = names.iter().zip(assigned).filter(|(n, _)| *n == name).map(|(_, f)| *f).collect();
                f.dedup();
                f
            };
            if let Ok(assigned) = by_entity(&names, folds, seed) {
                for name in &names {
                    prop_assert_eq!(fold_of(name, &assigned).len(), 1);
                }
            }
            let rows: Vec<usize> = (0..names.len()).collect();
            let (stop, train) = hold_out(&names, &rows, 3, "1/0");
            prop_assert_eq!(stop.len() + train.len(), rows.len());
            for s in &stop {
                prop_assert!(train.iter().all(|t| names[*t] != names[*s]));
            }
        }
    }

    #[test]
    fn without_a_validation_part_one_embargo_is_enough() {
        let as_of: Vec<i64> = (0..100).map(|day| day * DAY).collect();
        let split = by_time(&as_of, TestStart::From(90 * DAY), None, 20 * DAY).unwrap();
        assert_eq!((split.train.len(), split.valid.len(), split.test.len()), (71, 0, 10));
        assert_eq!(split.train.last(), Some(&70), "70 + 20 days is when the test part begins");
        assert_eq!(split.dropped.len(), 19);
    }
}
