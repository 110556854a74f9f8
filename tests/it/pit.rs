//! Point-in-time features and sequences against an evaluator that looks at every row for every cell, and the proof
//! that nothing after (or known after) as_of can move a feature.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{Schema, i256};
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::dataframe::DataFrame;
use futures::TryStreamExt;
use proptest::prelude::*;
use scorehouse::define::features::{Feature, Function, RawGroup, TimeUnit, Visibility};
use scorehouse::define::sequence::{FieldValue, RawSequence};
use scorehouse::define::{Diagnostic, FeatureGroup, Sequence, yaml};
use scorehouse::engine::pit;
use scorehouse::engine::session::{self, Session, SessionOptions};
use scorehouse::error::{Error, Kind};

mod nights;

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;
/// 2024-02-28 00:00Z, the day before a leap day.
const START: i64 = 1_709_078_400_000_000;
const METHODS: [&str; 3] = ["blik", "card", "cash on delivery"];

#[derive(Debug, Clone, PartialEq)]
struct Event {
    user: Option<i64>,
    time: Option<i64>,
    id: i64,
    from: i64,
    until: Option<i64>,
    /// Cents.
    amount: Option<i128>,
    items: Option<i32>,
    rating: Option<f64>,
    method: Option<usize>,
    gift: Option<bool>,
}

#[derive(Debug, Clone, Copy)]
struct Ask {
    user: Option<i64>,
    as_of: i64,
}

// ---- definitions ------------------------------------------------------------------------------------------------

fn group(text: &str) -> FeatureGroup {
    let mut out = Vec::new();
    let text = format!("group: g\nentity: user_id\nentities: users\ntable: pay\n{text}");
    let (raw, origin) = yaml::parse::<RawGroup>("features/g.yaml", &text, &mut out).unwrap();
    let group = FeatureGroup::validate(raw, &origin, &mut out);
    assert_eq!(out, []);
    group
}

fn sequence(text: &str) -> Sequence {
    let mut out = Vec::new();
    let text = format!("sequence: s\nentity: user_id\nentities: users\ntable: pay\n{text}");
    let (raw, origin) = yaml::parse::<RawSequence>("features/s.yaml", &text, &mut out).unwrap();
    let sequence = Sequence::validate(raw, &origin, &mut out);
    assert_eq!(out, []);
    sequence
}

/// Every function over every type it takes, with and without condition, three windows and all history.
fn everything(visibility: &str, filter: &str) -> FeatureGroup {
    let mut text = format!("visibility: {visibility}\n{filter}aggregations:\n");
    for (of, kind) in [
        ("amount", "number"),
        ("items", "number"),
        ("rating", "number"),
        ("method", "any"),
        ("gift", "any"),
        ("paid_at", "any"),
    ] {
        let functions = match kind {
            "number" => "count, count_distinct, sum, mean, min, max, stddev, first, last",
            _ => "count, count_distinct, min, max, first, last",
        };
        text += &format!("- {{of: {of}, fn: [{functions}], over: [12h, 1d, 3d]}}\n");
        text += &format!("- {{of: {of}, fn: [{functions}], as: all_{of}}}\n");
        text += &format!("- {{of: {of}, fn: [{functions}], as: gift_{of}, where: gift, over: [1d, 3d]}}\n");
    }
    text += "- {of: method, fn: share, values: [blik, cash on delivery, nothing], over: [1d, 3d]}\n";
    text += "- {of: items, fn: share, values: [1, 2], over: [3d]}\n";
    text += "- {fn: count, over: [1d, 3d]}\n- {fn: count, as: gifts, where: gift, over: [3d]}\n";
    text += "- {fn: time_since_last, unit: hours}\n- {fn: time_since_first, unit: minutes, over: [1d]}\n";
    text += "- {of: rating, fn: time_since_last, as: since_rating, unit: days, over: [3d]}\n";
    group(&text)
}

fn lists() -> Sequence {
    sequence(
        "length: 3\nover: 2d\nfields:\n- amount\n- method\n- {of: \"items + 1\", as: more}\n\
         - {fn: since_previous, as: hours_since_previous, unit: hours}\n- {fn: time_since, as: days_before}\n",
    )
}

// ---- running ----------------------------------------------------------------------------------------------------

fn table(events: &[Event]) -> RecordBatch {
    let stamps = |values: Vec<Option<i64>>| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
    };
    let amounts: Decimal128Array = events.iter().map(|e| e.amount).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("user_id", Arc::new(events.iter().map(|e| e.user).collect::<Int64Array>())),
        ("paid_at", stamps(events.iter().map(|e| e.time).collect())),
        ("pay_id", Arc::new(events.iter().map(|e| Some(e.id)).collect::<Int64Array>())),
        ("amount", Arc::new(amounts.with_precision_and_scale(20, 2).unwrap())),
        ("items", Arc::new(events.iter().map(|e| e.items).collect::<Int32Array>())),
        ("rating", Arc::new(events.iter().map(|e| e.rating).collect::<Float64Array>())),
        ("method", Arc::new(events.iter().map(|e| e.method.map(|m| METHODS[m])).collect::<StringArray>())),
        ("gift", Arc::new(events.iter().map(|e| e.gift).collect::<BooleanArray>())),
        ("_known_from", stamps(events.iter().map(|e| Some(e.from)).collect())),
        ("_known_until", stamps(events.iter().map(|e| e.until).collect())),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true))).unwrap()
}

fn spine(asks: &[Ask]) -> RecordBatch {
    let times = TimestampMicrosecondArray::from(asks.iter().map(|a| a.as_of).collect::<Vec<_>>());
    RecordBatch::try_from_iter([
        ("user_id", Arc::new(asks.iter().map(|a| a.user).collect::<Int64Array>()) as ArrayRef),
        ("as_of", Arc::new(times.with_timezone("UTC"))),
        ("_row", Arc::new((0..asks.len() as i64).collect::<Int64Array>())),
    ])
    .unwrap()
}

fn open(threads: usize, memory_limit: Option<usize>) -> Session {
    Session::new(&SessionOptions { threads, memory_limit, spill_dir: None }).unwrap()
}

/// Small batches, so that entities span them.
fn frame(session: &Session, batch: &RecordBatch, rows: usize) -> DataFrame {
    let pieces = (0..batch.num_rows()).step_by(rows).map(|at| batch.slice(at, rows.min(batch.num_rows() - at)));
    // A slice would be counted with the memory of the whole.
    let own = |piece: RecordBatch| {
        let rows = arrow::array::UInt32Array::from_iter_values(0..piece.num_rows() as u32);
        arrow::compute::take_record_batch(&piece, &rows).unwrap()
    };
    let pieces: Vec<RecordBatch> = pieces.map(own).collect();
    let table = datafusion::datasource::MemTable::try_new(batch.schema(), vec![pieces]).unwrap();
    session.context().read_table(Arc::new(table)).unwrap()
}

fn ties() -> Vec<String> {
    vec!["pay_id".into()]
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future)
}

fn compute(
    group: &FeatureGroup,
    events: &RecordBatch,
    asks: &RecordBatch,
    threads: usize,
) -> Result<RecordBatch, Error> {
    let session = open(threads, None);
    block_on(async {
        let (events, asks) = (frame(&session, events, 7), frame(&session, asks, 5));
        let stream = pit::features(&session, group, "paid_at", &ties(), events, asks).await?;
        let schema = stream.schema();
        let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(session::error)?;
        Ok(concat_batches(&schema, &batches)?)
    })
}

fn compute_lists(sequence: &Sequence, events: &RecordBatch, asks: &RecordBatch, threads: usize) -> RecordBatch {
    let session = open(threads, None);
    block_on(async {
        let (events, asks) = (frame(&session, events, 7), frame(&session, asks, 5));
        let stream = pit::sequences(&session, sequence, "paid_at", &ties(), events, asks).await.unwrap();
        let schema = stream.schema();
        let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
        concat_batches(&schema, &batches).unwrap()
    })
}

fn cell(batch: &RecordBatch, column: &str, row: usize) -> ScalarValue {
    ScalarValue::try_from_array(batch.column_by_name(column).unwrap(), row).unwrap()
}

/// The row of the result that answers a spine row.
fn row_of(batch: &RecordBatch, ask: usize) -> usize {
    (0..batch.num_rows()).find(|&row| cell(batch, "_row", row) == ScalarValue::Int64(Some(ask as i64))).unwrap()
}

// ---- the naive evaluator ----------------------------------------------------------------------------------------

fn value(of: &str, e: &Event) -> ScalarValue {
    match of {
        "amount" => ScalarValue::Decimal128(e.amount, 20, 2),
        "items" => ScalarValue::Int32(e.items),
        "items + 1" => ScalarValue::Int64(e.items.map(|i| i64::from(i) + 1)),
        "rating" => ScalarValue::Float64(e.rating),
        "method" => ScalarValue::Utf8(e.method.map(|m| METHODS[m].to_string())),
        "gift" => ScalarValue::Boolean(e.gift),
        "paid_at" => ScalarValue::TimestampMicrosecond(e.time, Some("UTC".into())),
        other => panic!("the naive evaluator has no {other}"),
    }
}

fn history(events: &[Event], ask: Ask, visibility: Visibility, filtered: bool, window: Option<i64>) -> Vec<Event> {
    let mut rows = Vec::new();
    for e in events {
        let (Some(user), Some(time)) = (e.user, e.time) else { continue };
        let known = match visibility {
            Visibility::Known => e.from <= ask.as_of && e.until.is_none_or(|until| ask.as_of < until),
            Visibility::EventTime => e.until.is_none(),
        };
        let passes = !filtered || e.items.is_some_and(|items| items > 1);
        let in_window = window.is_none_or(|w| time >= ask.as_of - w);
        if Some(user) == ask.user && time < ask.as_of && known && in_window && passes {
            rows.push(e.clone());
        }
    }
    rows.sort_by_key(|e| (e.time, e.id, e.from));
    rows
}

fn naive(feature: &Feature, rows: &[Event], as_of: i64) -> ScalarValue {
    let rows: Vec<&Event> = rows.iter().filter(|e| feature.filter.is_none() || e.gift == Some(true)).collect();
    let values: Vec<(i64, ScalarValue)> = match &feature.of {
        Some(of) => rows.iter().map(|e| (e.time.unwrap(), value(of, e))).filter(|(_, v)| !v.is_null()).collect(),
        None => rows.iter().map(|e| (e.time.unwrap(), ScalarValue::Null)).collect(),
    };
    let null = feature.of.as_ref().map_or(ScalarValue::Null, |of| {
        let nothing =
            Event { amount: None, items: None, rating: None, method: None, gift: None, time: None, ..some_event() };
        value(of, &nothing)
    });
    let finite: Vec<ScalarValue> = values
        .iter()
        .map(|(_, v)| v.clone())
        .filter(|v| !matches!(v, ScalarValue::Float64(Some(f)) if !f.is_finite()))
        .collect();
    let age = |time: &i64, unit: &TimeUnit| (as_of - time) as f64 / unit.micros() as f64;
    match &feature.function {
        Function::Count => ScalarValue::Int64(Some(values.len() as i64)),
        Function::CountDistinct => {
            let mut seen: Vec<ScalarValue> = Vec::new();
            for (_, v) in values {
                let v = match v {
                    ScalarValue::Float64(Some(f)) if f.is_nan() => ScalarValue::Float64(Some(f64::NAN)),
                    ScalarValue::Float64(Some(0.0)) => ScalarValue::Float64(Some(0.0)),
                    other => other,
                };
                if !seen.contains(&v) {
                    seen.push(v);
                }
            }
            ScalarValue::Int64(Some(seen.len() as i64))
        }
        Function::Sum => sum(&finite, &null),
        Function::Mean => ScalarValue::Float64(mean(&finite)),
        Function::Stddev => ScalarValue::Float64(deviation(&finite)),
        Function::Min => finite.into_iter().min_by(order).unwrap_or(null),
        Function::Max => finite.into_iter().max_by(order).unwrap_or(null),
        Function::First => values.first().map_or(null, |(_, v)| v.clone()),
        Function::Last => values.last().map_or(null, |(_, v)| v.clone()),
        Function::Share { value } => {
            let equal = values.iter().filter(|(_, v)| v.to_string() == *value).count();
            ScalarValue::Float64((!values.is_empty()).then(|| equal as f64 / values.len() as f64))
        }
        Function::TimeSinceFirst { unit } => ScalarValue::Float64(values.first().map(|(t, _)| age(t, unit))),
        Function::TimeSinceLast { unit } => ScalarValue::Float64(values.last().map(|(t, _)| age(t, unit))),
        other => panic!("the naive evaluator has no {other:?}"),
    }
}

fn some_event() -> Event {
    Event {
        user: Some(1),
        time: Some(START),
        id: 0,
        from: START,
        until: None,
        amount: Some(100),
        items: Some(1),
        rating: Some(1.0),
        method: Some(0),
        gift: Some(false),
    }
}

fn order(a: &ScalarValue, b: &ScalarValue) -> Ordering {
    match (a, b) {
        (ScalarValue::Float64(Some(a)), ScalarValue::Float64(Some(b))) => a.total_cmp(b),
        _ => a.partial_cmp(b).unwrap(),
    }
}

/// Units in the last place of an integer or decimal.
fn units(v: &ScalarValue) -> i128 {
    match v {
        ScalarValue::Decimal128(Some(v), ..) => *v,
        ScalarValue::Int32(Some(v)) => i128::from(*v),
        other => panic!("{other} is no integer"),
    }
}

/// Test floats are multiples of 2^-60 below 2^60, so that 128-bit integers hold their sums exactly.
fn exact(values: &[f64]) -> f64 {
    let scale = (1u64 << 60) as f64;
    values.iter().map(|v| (v * scale) as i128).sum::<i128>() as f64 / scale
}

/// Σ over pairs of (x − y)², which is n·Σx² − (Σx)², for multiples of 2^-60 as above, rounded once.
fn exact_spread(values: &[f64]) -> f64 {
    let scale = (1u64 << 60) as f64;
    let units: Vec<i256> = values.iter().map(|v| i256::from_i128((v * scale) as i128)).collect();
    let mut pairs = i256::ZERO;
    for (i, x) in units.iter().enumerate() {
        for y in &units[..i] {
            pairs = pairs + (*x - *y) * (*x - *y);
        }
    }
    let text = pairs.to_string();
    text.parse::<f64>().unwrap() / scale / scale
}

fn as_floats(values: &[ScalarValue]) -> Option<Vec<f64>> {
    values.iter().map(|v| if let ScalarValue::Float64(Some(f)) = v { Some(*f) } else { None }).collect()
}

fn sum(values: &[ScalarValue], null: &ScalarValue) -> ScalarValue {
    let some = !values.is_empty();
    match null {
        ScalarValue::Float64(_) => ScalarValue::Float64(some.then(|| exact(&as_floats(values).unwrap()))),
        ScalarValue::Decimal128(..) => ScalarValue::Decimal128(some.then(|| values.iter().map(units).sum()), 38, 2),
        _ => ScalarValue::Int64(some.then(|| values.iter().map(units).sum::<i128>() as i64)),
    }
}

fn scale(values: &[ScalarValue]) -> f64 {
    if matches!(values[0], ScalarValue::Decimal128(..)) { 100.0 } else { 1.0 }
}

fn mean(values: &[ScalarValue]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let n = values.len() as f64;
    Some(match as_floats(values) {
        Some(floats) => exact(&floats) / n,
        None => values.iter().map(units).sum::<i128>() as f64 / (n * scale(values)),
    })
}

fn deviation(values: &[ScalarValue]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let n = values.len() as f64;
    if let Some(floats) = as_floats(values) {
        return Some((exact_spread(&floats) / (n * (n - 1.0))).sqrt());
    }
    let mut pairs = 0_i128; // n·Σx² − (Σx)² = Σ over pairs of (x − y)²
    for (i, x) in values.iter().enumerate() {
        for y in &values[..i] {
            pairs += (units(x) - units(y)).pow(2);
        }
    }
    Some((pairs as f64 / (n * (n - 1.0))).sqrt() / scale(values))
}

fn naive_list(field: &FieldValue, rows: &[Event], as_of: i64) -> Vec<ScalarValue> {
    let mut items = Vec::new();
    for (at, e) in rows.iter().enumerate() {
        let time = e.time.unwrap();
        items.push(match field {
            FieldValue::Of(of) => value(of, e),
            FieldValue::TimeSince(unit) => ScalarValue::Float64(Some((as_of - time) as f64 / unit.micros() as f64)),
            FieldValue::SincePrevious(unit) => ScalarValue::Float64(
                (at > 0).then(|| (time - rows[at - 1].time.unwrap()) as f64 / unit.micros() as f64),
            ),
        });
    }
    items
}

// ---- random events ----------------------------------------------------------------------------------------------

/// Half days from the start, sometimes a microsecond beside.
fn instant() -> impl Strategy<Value = i64> {
    (0..14_i64, prop_oneof![6 => Just(0), 1 => Just(-1), 1 => Just(1), 1 => 0..DAY])
        .prop_map(|(k, d)| START + k * 12 * HOUR + d)
}

fn rating() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-40..40_i32).prop_map(|v| f64::from(v) / 10.0),
        2 => (-1e15..1e15_f64).prop_map(f64::trunc),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(-0.0), Just(0.0)],
    ]
}

fn maybe<T: std::fmt::Debug + Clone>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(0.85, value)
}

fn event() -> impl Strategy<Value = Event> {
    let clocks =
        (prop::option::weighted(0.95, 0..4_i64), prop::option::weighted(0.97, instant()), 0..5_i64, maybe(1..6_i64));
    let values =
        (maybe(-500..100_000_i128), maybe(-2..4_i32), maybe(rating()), maybe(0..3_usize), maybe(any::<bool>()));
    (clocks, values).prop_map(|((user, time, late, until), (amount, items, rating, method, gift))| {
        // Known at the end of the day it happened, or some days later; most versions are still open.
        let from = time.unwrap_or(START).div_euclid(DAY) * DAY + DAY * if late > 3 { 3 } else { 1 };
        let until = until.filter(|days| *days < 4).map(|days| from + days * DAY);
        Event { user, time, id: 0, from, until, amount, items, rating, method, gift }
    })
}

/// With ids, a few exact duplicates, and for each closed version the one that followed it.
fn events() -> impl Strategy<Value = Vec<Event>> {
    (prop::collection::vec(event(), 0..60), any::<u64>()).prop_map(|(mut events, seed)| {
        for (id, e) in events.iter_mut().enumerate() {
            e.id = id as i64;
        }
        let next: Vec<Event> = events
            .iter()
            .filter_map(|e| Some(Event { from: e.until?, until: None, amount: e.amount.map(|a| a + 7), ..e.clone() }))
            .collect();
        events.extend(next);
        events.extend(events.clone().into_iter().filter(|e| (e.id as u64 ^ seed).is_multiple_of(9)));
        // Rows come in no order.
        events.sort_by_key(|e| (e.id as u64 + 1).wrapping_mul(seed | 1));
        events
    })
}

fn asks() -> impl Strategy<Value = Vec<Ask>> {
    let ask = (prop::option::weighted(0.95, 0..6_i64), instant()).prop_map(|(user, as_of)| Ask { user, as_of });
    prop::collection::vec(ask, 1..25)
}

fn same(a: &RecordBatch, b: &RecordBatch) -> bool {
    format!("{a:?}") == format!("{b:?}") && a.schema() == b.schema()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn features_agree_with_the_naive_evaluator(
        events in events(), asks in asks(), by_event_time in any::<bool>(), filtered in any::<bool>(),
    ) {
        let visibility = if by_event_time { "event_time" } else { "known" };
        let group = everything(visibility, if filtered { "where: items > 1\n" } else { "" });
        let (table, spine) = (table(&events), spine(&asks));
        let result = compute(&group, &table, &spine, 1).unwrap();
        prop_assert_eq!(result.num_rows(), asks.len());
        for (index, ask) in asks.iter().enumerate() {
            let row = row_of(&result, index);
            prop_assert_eq!(cell(&result, "user_id", row), ScalarValue::Int64(ask.user));
            for feature in &group.features {
                let window = feature.window.map(|w| w.micros());
                let rows = history(&events, *ask, group.history.visibility, filtered, window);
                let expected = naive(feature, &rows, ask.as_of);
                let found = cell(&result, &feature.name, row);
                prop_assert_eq!(&found, &expected, "{} of {:?} over {:#?}", feature.name, ask, rows);
            }
        }
        prop_assert!(same(&result, &compute(&group, &table, &spine, 3).unwrap()), "three partitions differ from one");
    }

    #[test]
    fn sequences_agree_with_the_naive_evaluator(events in events(), asks in asks()) {
        let sequence = lists();
        let (table, spine) = (table(&events), spine(&asks));
        let result = compute_lists(&sequence, &table, &spine, 1);
        for (index, ask) in asks.iter().enumerate() {
            let row = row_of(&result, index);
            let mut rows = history(&events, *ask, Visibility::Known, false, Some(2 * DAY));
            rows.drain(..rows.len().saturating_sub(3));
            for field in &sequence.fields {
                let ScalarValue::List(list) = cell(&result, &field.name, row) else { panic!("no list") };
                let list = list.value(0);
                let found: Vec<_> = (0..list.len()).map(|i| ScalarValue::try_from_array(&list, i).unwrap()).collect();
                prop_assert_eq!(found, naive_list(&field.value, &rows, ask.as_of), "{}", field.name);
            }
        }
        prop_assert!(same(&result, &compute_lists(&sequence, &table, &spine, 3)), "three partitions differ from one");
    }

    /// What happens at or after as_of, and what becomes known after it, moves nothing: rows changed, added, removed,
    /// and versions closed.
    #[test]
    fn nothing_leaks(events in events(), others in events(), day in 2..6_i64, closes in any::<bool>()) {
        let as_of = START + day * DAY;
        let group = everything("known", "");
        let past = |e: &&Event| e.time.is_some_and(|t| t < as_of) && e.from <= as_of;
        let mut changed: Vec<Event> = events.iter().filter(past).cloned().collect();
        for e in changed.iter_mut().filter(|e| e.until.is_none_or(|until| until > as_of)) {
            e.until = closes.then_some(as_of + 1);
        }
        changed.extend(others.iter().filter(|e| !past(e)).cloned());
        let asks: Vec<Ask> = (0..4).map(|user| Ask { user: Some(user), as_of }).collect();
        let before = compute(&group, &table(&events), &spine(&asks), 2).unwrap();
        let after = compute(&group, &table(&changed), &spine(&asks), 2).unwrap();
        prop_assert!(same(&before, &after));
        let before = compute_lists(&lists(), &table(&events), &spine(&asks), 2);
        prop_assert!(same(&before, &compute_lists(&lists(), &table(&changed), &spine(&asks), 2)));
    }
}

// ---- single facts -----------------------------------------------------------------------------------------------

/// One spine row of user 1 at the third day over some events.
fn one(text: &str, events: &[Event]) -> RecordBatch {
    compute(&group(text), &table(events), &spine(&[Ask { user: Some(1), as_of: START + 3 * DAY }]), 1).unwrap()
}

#[test]
fn an_empty_window_counts_zero_and_is_null_otherwise() {
    let fns = "count, count_distinct, sum, mean, min, max, stddev, first, last";
    let text = format!(
        "aggregations:\n- {{of: amount, fn: [{fns}], as: x}}\n- {{of: method, fn: share, values: [blik]}}\n\
         - {{fn: time_since_last}}\n- {{fn: count}}\n"
    );
    let nulls = [Event { amount: None, method: None, ..some_event() }];
    for (events, count) in [(&nulls[..0], 0), (&nulls[..], 1)] {
        let result = one(&text, events);
        assert_eq!(cell(&result, "count", 0), ScalarValue::Int64(Some(count)));
        for zero in ["x_count", "x_count_distinct"] {
            assert_eq!(cell(&result, zero, 0), ScalarValue::Int64(Some(0)), "{zero}");
        }
        for null in ["x_sum", "x_mean", "x_min", "x_max", "x_stddev", "x_first", "x_last", "method_share_blik"] {
            assert!(cell(&result, null, 0).is_null(), "{null}");
        }
        assert_eq!(cell(&result, "time_since_last", 0).is_null(), count == 0);
    }
}

#[test]
fn numbers_by_hand() {
    let events: Vec<Event> = [(100, 1, 1.0), (200, 2, 2.0), (400, 2, f64::NAN), (500, 3, 4.0)]
        .into_iter()
        .enumerate()
        .map(|(i, (amount, items, rating))| Event {
            id: i as i64,
            time: Some(START + i as i64 * HOUR),
            amount: Some(amount),
            items: Some(items),
            rating: Some(rating),
            ..some_event()
        })
        .collect();
    let text = "aggregations:\n- {of: amount, fn: [sum, mean, stddev, first, last]}\n- {of: items, fn: [sum, count_distinct]}\n\
                - {of: rating, fn: [count, sum, mean, min, max, stddev]}\n- {fn: time_since_last, unit: hours}\n\
                - {fn: time_since_first}\nderived:\n  ratio: items_sum / rating_count\n  nothing: items_sum / (rating_count - 4)\n  twice: ratio * 2\n";
    let result = one(text, &events);
    let expected = [
        ("amount_sum", ScalarValue::Decimal128(Some(1200), 38, 2)),
        ("amount_mean", 3.0.into()),
        ("amount_stddev", (10.0_f64 / 3.0).sqrt().into()),
        ("amount_first", ScalarValue::Decimal128(Some(100), 20, 2)),
        ("amount_last", ScalarValue::Decimal128(Some(500), 20, 2)),
        ("items_sum", 8_i64.into()),
        ("items_count_distinct", 3_i64.into()),
        ("rating_count", 4_i64.into()),
        ("rating_sum", 7.0.into()),
        ("rating_mean", (7.0 / 3.0).into()),
        ("rating_min", 1.0.into()),
        ("rating_max", 4.0.into()),
        ("time_since_last", 69.0.into()),
        ("time_since_first", 3.0.into()),
        ("ratio", 2.0.into()),
        ("nothing", ScalarValue::Float64(None)),
        ("twice", 4.0.into()),
    ];
    for (name, value) in expected {
        assert_eq!(cell(&result, name, 0), value, "{name}");
    }
}

#[test]
fn an_overflow_names_the_entity_and_is_bad_data() {
    let big = |id, amount| Event { id, amount: Some(amount), items: None, ..some_event() };
    let limit = 10_i128.pow(19);
    let group = group("aggregations:\n- {of: \"cast(amount * 1000000000 as bigint)\", as: units, fn: sum}\n");
    let result = compute(
        &group,
        &table(&[big(1, limit / 200), big(2, limit / 200)]),
        &spine(&[Ask { user: Some(1), as_of: START + DAY }]),
        1,
    );
    assert_eq!(result.unwrap_err().kind(), Kind::Data, "the cast overflows");
    let events: Vec<Event> = (0..4).map(|id| big(id, limit / 10)).collect();
    let group = self::group("aggregations:\n- {of: \"cast(amount * 400 as bigint)\", as: units, fn: sum}\n");
    let asks = spine(&[Ask { user: Some(1), as_of: START + DAY }]);
    let error = compute(&group, &table(&events), &asks, 2).unwrap_err();
    assert_eq!(error.kind(), Kind::Data);
    let text = error.to_string();
    assert!(text.contains("user_id = 1") && text.contains("units: the sum overflows int64"), "{text}");
}

#[test]
fn a_memory_limit_changes_nothing() {
    let events: Vec<Event> = (0..900_000)
        .map(|i| Event {
            user: Some(i % 5000),
            id: i,
            time: Some(START + (i * 7919 % 97) * HOUR),
            amount: Some(i as i128),
            ..some_event()
        })
        .map(|e| Event { from: START, ..e })
        .collect();
    let asks: Vec<Ask> = (0..5000).map(|user| Ask { user: Some(user), as_of: START + 5 * DAY }).collect();
    let group = group("aggregations:\n- {of: amount, fn: [sum, mean, last], over: [1d, 3d]}\n");
    let (events, asks) = (table(&events), spine(&asks));
    let run = |limit: Option<usize>| {
        // One partition: two sorts that share a small pool may each find it taken by the other's merge.
        let session = open(if limit.is_some() { 1 } else { 2 }, limit);
        block_on(async {
            let (events, asks) = (frame(&session, &events, 8192), frame(&session, &asks, 8192));
            let stream = pit::features(&session, &group, "paid_at", &ties(), events, asks).await.unwrap();
            let schema = stream.schema();
            let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
            concat_batches(&schema, &batches).unwrap()
        })
    };
    let unlimited = run(None);
    // The projected events alone are some 50 MB.
    for limit in [32_000_000, 48_000_000, 200_000_000] {
        assert!(same(&unlimited, &run(Some(limit))), "{limit}");
    }
}

fn diagnostics(text: &str, ties: &[String]) -> Vec<Diagnostic> {
    let schema: Schema = table(&[]).schema().as_ref().clone();
    pit::schema(&open(1, None), &group(text), "paid_at", ties, &schema).err().unwrap_or_default()
}

#[test]
fn what_does_not_fit_the_table_is_said_with_its_line() {
    let text = "where: amuont > 0\naggregations:\n\
                - {of: amuont, fn: [sum, mean], over: [7d, 30d], as: x}\n\
                - {of: method, fn: [sum, max]}\n\
                - {fn: count, where: items + 1, as: y}\n\
                - {of: items, fn: share, values: [one]}\n\
                - {of: now(), fn: max, as: clock}\n\
                - {of: _known_until, fn: max, as: future}\n\
                - {of: sum(items), fn: max, as: twice}\n\
                - {of: items +, fn: max, as: broken}\n\
                - {of: items * method, fn: max, as: odd}\n";
    let out = diagnostics(text, &ties());
    let lines: Vec<usize> = out.iter().map(|d| d.line).collect();
    assert_eq!(lines, [5, 7, 8, 9, 10, 11, 12, 13, 14, 15], "{out:#?}");
    assert_eq!(out[0].help.as_deref(), Some("did you mean `amount`?"));
    assert_eq!(out[1].help.as_deref(), Some("did you mean `amount`?"));
    assert_eq!((out[2].found.as_deref(), out[3].found.as_deref()), (Some("string"), Some("int64")));
    assert_eq!(out[4].expected.as_deref(), Some("a value of type int32"));
    assert!(out[5].message.contains("another answer on another day"), "{}", out[5]);
    assert!(out[6].message.contains("no column `_known_until`"), "{}", out[6]);
    assert!(out[7].message.contains("aggregates"), "{}", out[7]);
    let out =
        diagnostics("aggregations:\n- {of: items, fn: sum}\nderived:\n  a: items_sun / 2\n  b: upper(a)\n", &ties());
    assert_eq!(out[0].help.as_deref(), Some("did you mean `items_sum`?"), "{out:#?}");
}

#[test]
fn order_without_a_total_order_does_not_compile() {
    let out = diagnostics("aggregations:\n- {of: items, fn: [sum, last]}\n", &[]);
    assert_eq!((out.len(), out[0].line), (1, 6), "{out:#?}");
    assert!(out[0].message.contains("items_last"), "{}", out[0]);
    assert_eq!(diagnostics("aggregations:\n- {of: items, fn: [sum, max]}\n", &[]), []);
    let schema = table(&[]).schema();
    assert_eq!(pit::sequence_schema(&open(1, None), &lists(), "paid_at", &[], &schema).unwrap_err().len(), 1);
}

#[test]
fn the_schema_is_the_result_and_every_column_is_documented() {
    let group = everything("known", "");
    let events = table(&[some_event()]);
    let schema = pit::schema(&open(1, None), &group, "paid_at", &ties(), &events.schema()).unwrap();
    let result = compute(&group, &events, &spine(&[Ask { user: Some(1), as_of: START + DAY }]), 2).unwrap();
    assert_eq!(result.schema(), schema);
    for field in schema.fields() {
        assert!(!field.metadata()["comment"].is_empty(), "{field}");
    }
}
