//! Merging nights: what a night knew stays as it was, and running it twice changes nothing.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{
    Array, AsArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Field, Float64Type, Int64Type, Schema, SchemaRef, TimestampMicrosecondType,
};
use proptest::prelude::*;
use scorehouse::define::types::timestamp;
use scorehouse::engine::plan::versions::{Merge, Merged, current};
use scorehouse::engine::session::{Session, SessionOptions};

use crate::agree::run::block_on;

/// id, value, number, event_date, _known_from, _known_until.
type Version = (String, Option<i64>, Option<u64>, i32, i64, Option<i64>);

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("value", DataType::Int64, true),
        Field::new("number", DataType::Float64, true),
        Field::new("event_date", DataType::Date32, true),
        Field::new("_known_from", timestamp(), false),
        Field::new("_known_until", timestamp(), true),
    ]))
}

fn batch(rows: &[Version]) -> RecordBatch {
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r.0))),
            Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.1))),
            Arc::new(Float64Array::from_iter(rows.iter().map(|r| r.2.map(f64::from_bits)))),
            Arc::new(Date32Array::from_iter_values(rows.iter().map(|r| r.3))),
            Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.4)).with_timezone("UTC")),
            Arc::new(TimestampMicrosecondArray::from_iter(rows.iter().map(|r| r.5)).with_timezone("UTC")),
        ],
    )
    .unwrap()
}

fn rows(batches: &[RecordBatch]) -> Vec<Version> {
    let mut rows = Vec::new();
    for b in batches {
        let (id, value, number) = (
            b.column(0).as_string::<i32>(),
            b.column(1).as_primitive::<Int64Type>(),
            b.column(2).as_primitive::<Float64Type>(),
        );
        let date = b.column(3).as_primitive::<Date32Type>();
        let (from, until) = (
            b.column(4).as_primitive::<TimestampMicrosecondType>(),
            b.column(5).as_primitive::<TimestampMicrosecondType>(),
        );
        for i in 0..b.num_rows() {
            rows.push((
                id.value(i).to_string(),
                value.is_valid(i).then(|| value.value(i)),
                number.is_valid(i).then(|| number.value(i).to_bits()),
                date.value(i),
                from.value(i),
                until.is_valid(i).then(|| until.value(i)),
            ));
        }
    }
    rows.sort();
    rows
}

fn merge(existing: &[Version], computed: &[Version], night: i64) -> Merged {
    let key = ["id".to_string()];
    let none = HashSet::new();
    let merge = Merge { schema: schema(), key: &key, elsewhere: &none, by_day: true, last: None, night };
    let batches = |rows: &[Version]| rows.chunks(3).map(batch).collect::<Vec<_>>();
    merge.merge(&batches(existing), &batches(computed)).unwrap()
}

fn version(id: &str, value: i64, from: i64, until: Option<i64>) -> Version {
    (id.into(), Some(value), None, 0, from, until)
}

#[test]
fn a_first_build_keeps_what_its_rows_are_made_of() {
    let computed = [version("a", 1, 3, None), version("b", 2, 5, None)];
    let merged = merge(&[], &computed, 10);
    assert_eq!(rows(&merged.rows), computed);
    assert!(merged.changed);
}

#[test]
fn later_nights_close_and_open_versions() {
    let held = [
        version("same", 1, 3, None),
        version("changed", 1, 3, None),
        version("gone", 1, 3, None),
        version("old", 1, 2, Some(3)),
    ];
    let computed = [
        version("same", 1, 9, None),
        version("changed", 2, 3, None),
        version("late", 1, 10, None),
        version("unlikely", 1, 2, None),
    ];
    let merged = merge(&held, &computed, 10);
    assert_eq!(
        rows(&merged.rows),
        [
            version("changed", 1, 3, Some(10)),
            version("changed", 2, 10, None),
            version("gone", 1, 3, Some(10)),
            version("late", 1, 10, None),
            version("old", 1, 2, Some(3)),
            version("same", 1, 3, None),
            // Its parts were known by the last night, but the table did not have it then.
            version("unlikely", 1, 10, None),
        ]
    );
    assert_eq!((merged.unchanged_rows, merged.opened_rows, merged.closed_rows, merged.changed), (1, 3, 2, true));
}

#[test]
fn a_day_without_rows_is_a_first_build_and_a_row_may_change_its_day() {
    let held = [version("a", 1, 3, None)];
    let new_day = ("b".to_string(), Some(1), None, 1, 2, None);
    let moved = ("a".to_string(), Some(1), None, 1, 3, None);
    let merged = merge(&held, &[new_day.clone(), moved], 10);
    let expected = [version("a", 1, 3, Some(10)), ("a".into(), Some(1), None, 1, 10, None), new_day];
    assert_eq!(rows(&merged.rows), expected);
}

/// Two days that are merged apart from each other leave what they leave together: at no instant are both versions there.
#[test]
fn a_row_comes_from_a_day_that_is_merged_apart() {
    let held = [version("a", 1, 3, None), version("b", 1, 3, None)];
    let other_day = [("c".to_string(), Some(1), None, 1, 3, None)];
    // It moved in an earlier night, 5, when nobody looked.
    let moved = ("a".to_string(), Some(1), None, 1, 5, None);
    let computed = [other_day[0].clone(), moved];
    let together = merge(&[&held[..], &other_day].concat(), &[&held[1..], &computed].concat(), 10);
    let key = ["id".to_string()];
    let session = Session::new(&SessionOptions::default()).unwrap();
    let frame = session.context().read_batch(batch(&held)).unwrap();
    let elsewhere = block_on(current(frame, &key, 10)).unwrap();
    assert_eq!(elsewhere.len(), 2);
    let there = Merge { schema: schema(), key: &key, elsewhere: &elsewhere, by_day: true, last: None, night: 10 };
    let there = there.merge(&[batch(&other_day)], &[batch(&computed)]).unwrap();
    let here = merge(&held, &held[1..], 10);
    let mut apart = [rows(&here.rows), rows(&there.rows)].concat();
    apart.sort();
    assert_eq!(apart, rows(&together.rows));
}

#[test]
fn a_night_that_is_corrected_replaces_its_own_versions() {
    let held = [version("a", 1, 3, None)];
    let once = rows(&merge(&held, &[version("a", 2, 3, None), version("new", 1, 10, None)], 10).rows);
    let merged = merge(&once, &[version("a", 3, 3, None)], 10);
    assert_eq!(rows(&merged.rows), [version("a", 1, 3, Some(10)), version("a", 3, 10, None)]);
    assert!(merged.changed);
    // And one that takes it all back leaves what there was before.
    let back = merge(&once, &[version("a", 1, 3, None)], 10);
    assert_eq!(rows(&back.rows), held);
    assert!(back.changed);
}

#[test]
fn nulls_and_nan_are_equal_to_themselves() {
    let nan = |bits: f64| ("a".to_string(), None, Some(bits.to_bits()), 0, 3, None);
    let merged = merge(&[nan(f64::NAN)], &[nan(f64::NAN)], 10);
    assert!(!merged.changed);
    assert_eq!(merged.unchanged_rows, 1);
}

#[test]
fn a_key_that_is_none_is_an_error_of_the_data() {
    let key = ["id".to_string()];
    let none = HashSet::new();
    let merge = Merge { schema: schema(), key: &key, elsewhere: &none, by_day: true, last: None, night: 10 };
    let twice = [batch(&[version("a", 1, 3, None), version("a", 2, 3, None)])];
    let error = merge.merge(&[batch(&[version("b", 1, 3, None)])], &twice).unwrap_err();
    assert_eq!(error.kind().code(), 3);
    assert!(error.to_string().contains("id = a"), "{error}");
    let later = merge.merge(&[batch(&[version("b", 1, 11, None)])], &twice).unwrap_err();
    assert!(later.to_string().contains("nights run in order"), "{later}");
}

#[test]
fn without_a_key_rows_are_replaced() {
    let none = HashSet::new();
    let merge = Merge { schema: schema(), key: &[], elsewhere: &none, by_day: true, last: None, night: 10 };
    let (old, new) = (
        batch(&[version("a", 1, 3, None), version("b", 1, 3, None)]),
        batch(&[version("b", 1, 3, None), version("a", 1, 3, None)]),
    );
    let same = merge.merge(std::slice::from_ref(&old), std::slice::from_ref(&new)).unwrap();
    assert!(!same.changed);
    let other = merge.merge(&[old], &[batch(&[version("a", 2, 3, None)])]).unwrap();
    assert!(other.changed);
    assert_eq!(rows(&other.rows), [version("a", 2, 3, None)]);
}

/// What the table said at an instant.
fn as_of(table: &[Version], at: i64) -> BTreeMap<String, (Option<i64>, Option<u64>, i32)> {
    let visible = table.iter().filter(|v| v.4 <= at && v.5.is_none_or(|until| at < until));
    visible.map(|v| (v.0.clone(), (v.1, v.2, v.3))).collect()
}

/// Rows by key, as a night saw them.
type Seen = BTreeMap<String, (Option<i64>, Option<u64>, i32)>;

/// id → (value, day, how long its parts have been known), and whether the night runs again, with other rows.
type Night = (BTreeMap<u8, (i64, i32, i64)>, bool);

fn nights() -> impl Strategy<Value = Vec<Night>> {
    let row = (0i64..3, 0i32..3, 0i64..4);
    prop::collection::vec((prop::collection::btree_map(0u8..6, row, 0..6), any::<bool>()), 1..8)
}

proptest! {
    #[test]
    fn history_is_never_rewritten_and_reruns_are_idempotent(nights in nights()) {
        let mut table: Vec<Version> = Vec::new();
        let mut night = 0;
        let mut history: BTreeMap<i64, Seen> = BTreeMap::new();
        for (computed, again) in nights {
            // `again` runs the last night once more, with other rows: only that night may change.
            if !again || night == 0 {
                night += 10;
            }
            let rows_now: Vec<Version> = computed
                .iter()
                .map(|(id, (value, day, age))| (id.to_string(), Some(*value), None, *day, night - age, None))
                .collect();
            let merged = merge(&table, &rows_now, night);
            let after = rows(&merged.rows);
            let twice = merge(&after, &rows_now, night);
            prop_assert_eq!(&rows(&twice.rows), &after);
            prop_assert!(!twice.changed, "{:?}", after);
            prop_assert_eq!(merged.changed, after != { let mut t = table.clone(); t.sort(); t });
            let now: BTreeMap<_, _> = rows_now.iter().map(|v| (v.0.clone(), (v.1, v.2, v.3))).collect();
            prop_assert_eq!(as_of(&after, night), now.clone());
            // What earlier nights knew is as it was, wherever the table had been built; a day that is built for the
            // first time adds its rows to the past, as far back as their parts were known.
            for (then, knew) in history.range(..night) {
                for (id, row) in as_of(&after, *then) {
                    let was = knew.get(&id);
                    let first_of_day = !table.iter().any(|v| v.3 == row.2 && v.4 < night);
                    prop_assert!(was == Some(&row) || (was.is_none() && first_of_day), "night {} knew {:?}, now {:?}", then, was, row);
                }
                let knows = as_of(&after, *then);
                for (id, row) in knew {
                    prop_assert_eq!(knows.get(id), Some(row));
                }
            }
            // One version at a time.
            for (i, a) in after.iter().enumerate() {
                prop_assert!(a.5.is_none_or(|until| a.4 < until), "{:?}", a);
                for b in &after[i + 1..] {
                    let apart = a.5.is_some_and(|until| until <= b.4) || b.5.is_some_and(|until| until <= a.4);
                    prop_assert!(a.0 != b.0 || apart, "{:?} {:?}", a, b);
                }
            }
            history.insert(night, now);
            table = after;
        }
    }
}
