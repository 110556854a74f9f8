//! Random histories of payments: ties, nulls, exact duplicates, late arrivals, corrected versions, users without and
//! with a single event, a leap day and a turn of the year; and spine rows beside and exactly at all of these.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use proptest::prelude::*;

pub const HOUR: i64 = 3_600_000_000;
pub const DAY: i64 = 24 * HOUR;
/// 2024-02-28 00:00Z, the day before a leap day.
pub const START: i64 = 1_709_078_400_000_000;
/// 2023-12-29 00:00Z.
pub const YEAR_END: i64 = 1_703_808_000_000_000;
pub const METHODS: [&str; 3] = ["blik", "card", "cash on delivery"];

#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub user: Option<i64>,
    pub time: Option<i64>,
    pub id: i64,
    pub from: i64,
    pub until: Option<i64>,
    /// Cents.
    pub amount: Option<i128>,
    pub items: Option<i32>,
    pub rating: Option<f64>,
    pub method: Option<usize>,
    pub gift: Option<bool>,
}

#[derive(Debug, Clone, Copy)]
pub struct Ask {
    pub user: Option<i64>,
    pub as_of: i64,
}

pub fn some_event() -> Event {
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

// ---- as batches -------------------------------------------------------------------------------------------------

pub fn table(events: &[Event]) -> RecordBatch {
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

pub fn spine(asks: &[Ask]) -> RecordBatch {
    let times = TimestampMicrosecondArray::from(asks.iter().map(|a| a.as_of).collect::<Vec<_>>());
    RecordBatch::try_from_iter([
        ("user_id", Arc::new(asks.iter().map(|a| a.user).collect::<Int64Array>()) as ArrayRef),
        ("as_of", Arc::new(times.with_timezone("UTC"))),
        ("_row", Arc::new((0..asks.len() as i64).collect::<Int64Array>())),
    ])
    .unwrap()
}

// ---- random -----------------------------------------------------------------------------------------------------

/// Half days from a start, sometimes a microsecond beside.
fn instant(start: i64) -> impl Strategy<Value = i64> {
    (0..14_i64, prop_oneof![6 => Just(0), 1 => Just(-1), 1 => Just(1), 1 => 0..DAY])
        .prop_map(move |(k, d)| start + k * 12 * HOUR + d)
}

fn rating() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-40..40_i32).prop_map(|v| f64::from(v) / 10.0),
        2 => (-1e15..1e15_f64).prop_map(f64::trunc),
        1 => prop_oneof![Just(1e100), Just(-1e100), Just(3e-100), Just(1.0 / 3.0)],
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(-0.0), Just(0.0)],
    ]
}

fn maybe<T: std::fmt::Debug + Clone>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(0.85, value)
}

fn event(start: i64) -> impl Strategy<Value = Event> {
    let clocks = (
        prop::option::weighted(0.95, 0..4_i64),
        prop::option::weighted(0.97, instant(start)),
        0..5_i64,
        maybe(1..6_i64),
    );
    let values =
        (maybe(-500..100_000_i128), maybe(-2..4_i32), maybe(rating()), maybe(0..3_usize), maybe(any::<bool>()));
    (clocks, values).prop_map(move |((user, time, late, until), (amount, items, rating, method, gift))| {
        // Known at the end of the day it happened, or some days later; most versions are still open.
        let from = time.unwrap_or(start).div_euclid(DAY) * DAY + DAY * if late > 3 { 3 } else { 1 };
        let until = until.filter(|days| *days < 4).map(|days| from + days * DAY);
        Event { user, time, id: 0, from, until, amount, items, rating, method, gift }
    })
}

/// Events of users 0 to 3 and at most one of user 4, with ids, a few exact duplicates, and for each closed version the
/// one that followed it.
pub fn events(start: i64) -> impl Strategy<Value = Vec<Event>> {
    let single = prop::option::of(event(start).prop_map(|e| Event { user: Some(4), until: None, ..e }));
    (prop::collection::vec(event(start), 0..60), single, any::<u64>()).prop_map(|(mut events, single, seed)| {
        for (id, e) in events.iter_mut().enumerate() {
            e.id = id as i64;
        }
        let next: Vec<Event> = events
            .iter()
            .filter_map(|e| Some(Event { from: e.until?, until: None, amount: e.amount.map(|a| a + 7), ..e.clone() }))
            .collect();
        events.extend(next);
        events.extend(events.clone().into_iter().filter(|e| (e.id as u64 ^ seed).is_multiple_of(9)));
        events.extend(single.map(|e| Event { id: 1000, ..e }));
        // Rows come in no order.
        events.sort_by_key(|e| (e.id as u64 + 1).wrapping_mul(seed | 1));
        events
    })
}

/// Around any instant, or exactly at an event or where one leaves a window, or a microsecond beside.
fn ask(start: i64, times: Vec<i64>) -> impl Strategy<Value = Ask> {
    let edges = prop_oneof![Just(0), Just(12 * HOUR), Just(DAY), Just(3 * DAY)];
    let at_event =
        (prop::sample::select(times), edges, -1..=1_i64).prop_map(|(time, edge, beside)| time + edge + beside);
    let as_of = prop_oneof![instant(start), at_event];
    (prop::option::weighted(0.95, 0..6_i64), as_of).prop_map(|(user, as_of)| Ask { user, as_of })
}

/// A history and a spine over it.
pub fn world() -> impl Strategy<Value = (Vec<Event>, Vec<Ask>)> {
    prop_oneof![3 => Just(START), 1 => Just(YEAR_END)].prop_flat_map(|start| {
        events(start).prop_flat_map(move |events| {
            let times: Vec<i64> = events.iter().filter_map(|e| e.time).chain([start]).collect();
            (Just(events), prop::collection::vec(ask(start, times), 1..25))
        })
    })
}
