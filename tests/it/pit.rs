//! Point-in-time features and sequences: single facts, bad definitions, memory, and the proof that nothing after (or
//! known after) as_of can move a feature. That they are right on random histories: naive.rs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, Schema};
use datafusion::common::ScalarValue;
use futures::TryStreamExt;
use proptest::prelude::*;
use scorehouse::define::Diagnostic;
use scorehouse::engine::pit;
use scorehouse::error::Kind;

use crate::agree::data::{Ask, DAY, Event, HOUR, START, events, some_event, spine, table};
use crate::agree::definitions::{everything, group, lists};
use crate::agree::run::{block_on, cell, compute, compute_lists, frame, open, same, ties};

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 300, failure_persistence: None, ..Default::default() })]

    /// What happens at or after as_of, and what becomes known after it, moves nothing: rows changed, added, removed,
    /// and versions closed.
    #[test]
    fn nothing_leaks(events in events(START), others in events(START), day in 2..6_i64, closes in any::<bool>()) {
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
fn an_entity_goes_on_in_the_next_batch_of_the_spine() {
    // Users 1 to 3 with an event an hour, and decisions in between: more of them than a batch holds.
    let event =
        |i: i64| Event { user: Some(1 + i % 3), id: i, time: Some(START + i / 3 * HOUR), from: START, ..some_event() };
    let events: Vec<Event> = (0..3 * 48).map(event).collect();
    let ask = |i: i64| Ask { user: Some(1 + i % 3), as_of: START + i / 3 * 6 * 1_000_000 };
    let asks: Vec<Ask> = (0..3 * 20_000).map(ask).collect();
    let group = group("visibility: event_time\naggregations:\n- {fn: count}\n- {fn: count, over: [12h]}\n");
    for threads in [1, 2] {
        let result = compute(&group, &table(&events), &spine(&asks), threads).unwrap();
        assert_eq!(result.num_rows(), asks.len());
        let column = |name: &str| result.column_by_name(name).unwrap().as_primitive::<Int64Type>().values().to_vec();
        for ((row, all), recent) in column("_row").into_iter().zip(column("count")).zip(column("count_12h")) {
            let as_of = asks[row as usize].as_of;
            let before =
                |from: i64| (0..48).filter(|hour| (from..as_of).contains(&(START + hour * HOUR))).count() as i64;
            assert_eq!((all, recent), (before(0), before(as_of - 12 * HOUR)), "{as_of}");
        }
    }
}

#[test]
fn an_entity_with_a_million_events() {
    const SECOND: i64 = 1_000_000;
    let event = |i: i64| Event {
        user: Some(1),
        id: i,
        time: Some(START + i * SECOND),
        from: START,
        amount: Some(i128::from(i)),
        ..some_event()
    };
    let events: Vec<Event> = (0..1_000_000).map(event).collect();
    let asks: Vec<Ask> = (1..=40).map(|i| Ask { user: Some(1), as_of: START + i * 25_000 * SECOND }).collect();
    let group = group(
        "visibility: event_time\naggregations:\n- {of: amount, fn: [count, sum, min, max, last], over: [1h, 1d]}\n",
    );
    let result = compute(&group, &table(&events), &spine(&asks), 2).unwrap();
    for (row, i) in (1..=40_i64).enumerate() {
        for (window, length) in [("1h", 3600), ("1d", 86_400)] {
            let (first, last) = ((i * 25_000 - length).max(0), i * 25_000 - 1);
            let cell = |name: &str| cell(&result, &format!("amount_{name}_{window}"), row);
            let money = |value: i64, precision: u8| ScalarValue::Decimal128(Some(i128::from(value)), precision, 2);
            assert_eq!(cell("count"), ScalarValue::Int64(Some(last - first + 1)));
            assert_eq!(cell("sum"), money((first + last) * (last - first + 1) / 2, 38));
            assert_eq!((cell("min"), cell("max")), (money(first, 20), money(last, 20)));
            assert_eq!(cell("last"), money(last, 20));
        }
    }
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
