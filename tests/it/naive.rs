//! The operator against the naive evaluator on random histories, bit for bit; and the naive evaluator by hand, also
//! where the operator cannot follow yet.

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use proptest::prelude::*;
use scorehouse::define::features::Visibility;
use scorehouse::error::Kind;
use scorehouse::pipeline::verify::difference::differences;

use crate::agree::data::{Ask, DAY, Event, HOUR, START, some_event, spine, table, world};
use crate::agree::definitions::{everything, group, lists};
use crate::agree::run::{compute, compute_lists, lists_naively, naively, same};

/// Columns, types and every bit.
fn agree(found: &RecordBatch, expected: &RecordBatch) -> Result<(), TestCaseError> {
    let names = |batch: &RecordBatch| batch.schema().fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
    prop_assert_eq!(names(found), names(expected));
    for (a, b) in found.schema().fields().iter().zip(expected.schema().fields()) {
        prop_assert!(a.data_type() == b.data_type() || a.data_type().is_nested(), "{} and {}", a, b);
    }
    let differences = differences(expected, found).unwrap();
    prop_assert!(differences.is_empty(), "{:#?}", differences);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn features_agree_with_the_naive_evaluator(
        (events, asks) in world(), by_event_time in any::<bool>(), filtered in any::<bool>(),
    ) {
        let visibility = if by_event_time { "event_time" } else { "known" };
        let group = everything(visibility, if filtered { "where: items > 1\n" } else { "" });
        let (table, spine) = (table(&events), spine(&asks));
        let result = compute(&group, &table, &spine, 1).unwrap();
        prop_assert_eq!(result.num_rows(), asks.len());
        agree(&result, &naively(&group, &table, &spine).unwrap())?;
        prop_assert!(same(&result, &compute(&group, &table, &spine, 3).unwrap()), "three partitions differ from one");
    }

    #[test]
    fn sequences_agree_with_the_naive_evaluator((events, asks) in world(), by_event_time in any::<bool>()) {
        let mut sequence = lists();
        if by_event_time {
            sequence.history.visibility = Visibility::EventTime;
        }
        let (table, spine) = (table(&events), spine(&asks));
        let result = compute_lists(&sequence, &table, &spine, 1);
        agree(&result, &lists_naively(&sequence, &table, &spine))?;
        prop_assert!(same(&result, &compute_lists(&sequence, &table, &spine, 3)), "three partitions differ from one");
    }
}

fn text(batch: &RecordBatch, column: &str) -> String {
    array_value_to_string(batch.column_by_name(column).unwrap(), 0).unwrap()
}

/// Four events an hour apart: what is defined beyond sums and extremes.
#[test]
fn numbers_by_hand() {
    let events: Vec<Event> = [(100, 1, 1.0, 0), (200, 2, 3.0, 1), (400, 2, f64::NAN, 1), (500, 3, 4.0, 2)]
        .into_iter()
        .enumerate()
        .map(|(i, (amount, items, rating, method))| Event {
            id: i as i64,
            time: Some(START + i as i64 * HOUR),
            amount: Some(amount),
            items: Some(items),
            rating: Some(rating),
            method: Some(method),
            ..some_event()
        })
        .collect();
    let group = group(
        "aggregations:\n- {of: amount, fn: [variance, stddev]}\n- {of: rating, fn: [variance, entropy]}\n\
         - {of: method, fn: entropy}\n- {of: method, fn: approx_count_distinct, sample: 1}\n\
         - {of: method, fn: top_k, top: 4}\n- {of: method, fn: share, top: 2}\n\
         - {of: amount, fn: percentile, at: [0, 25, 50, 100]}\n\
         - {of: items, fn: exp_weighted_mean, half_life: 1h}\n- {fn: mean_gap, unit: minutes}\n\
         - {of: amount, to: items, fn: ratio}\n\
         - {of: items, fn: sum, as: pieces, by: {of: method, values: [card, cash on delivery]}}\n",
    );
    let asks = spine(&[Ask { user: Some(1), as_of: START + DAY }]);
    let result = naively(&group, &table(&events), &asks).unwrap();
    let quarter: f64 = 0.25;
    let entropy = -(quarter * quarter.ln()) * 2.0 - 0.5 * 0.5_f64.ln();
    for (column, expected) in [
        ("amount_variance", (10.0_f64 / 3.0).to_string()),
        ("amount_stddev", (10.0_f64 / 3.0).sqrt().to_string()),
        ("rating_variance", (7.0_f64 / 3.0).to_string()),
        ("rating_entropy", 4.0_f64.ln().to_string()),
        ("method_entropy", entropy.to_string()),
        ("method_approx_count_distinct", "3".into()),
        ("method_top_1", "card".into()),
        ("method_top_2", "blik".into()),
        ("method_top_3", "cash on delivery".into()),
        ("method_top_4", "".into()),
        ("method_share", "{blik: 0.25, card: 0.5, cash on delivery: 0.25}".into()),
        ("amount_p0", "1.0".into()),
        ("amount_p25", "1.75".into()),
        ("amount_p50", "3.0".into()),
        ("amount_p100", "5.0".into()),
        ("items_exp_weighted_mean", ((0.125 + 0.5 + 1.0 + 3.0) / 1.875_f64).to_string()),
        ("mean_gap", "60.0".into()),
        ("amount_ratio", "1.5".into()),
        ("pieces_card", "4".into()),
        ("pieces_cash_on_delivery", "3".into()),
    ] {
        assert_eq!(text(&result, column), expected, "{column}");
    }
    assert!(result.column_by_name("amount_ratio__of").is_none(), "hidden sums stay hidden");
}

#[test]
fn an_overflow_names_the_entity_and_the_feature() {
    let events: Vec<Event> =
        (0..4).map(|id| Event { id, amount: Some(10_i128.pow(18)), items: None, ..some_event() }).collect();
    let group = group("aggregations:\n- {of: \"cast(amount * 400 as bigint)\", as: units, fn: sum}\n");
    let asks = spine(&[Ask { user: Some(1), as_of: START + DAY }]);
    let error = naively(&group, &table(&events), &asks).unwrap_err();
    assert_eq!(error.kind(), Kind::Data);
    assert_eq!(error.to_string(), "user_id = 1: units: the sum overflows int64");
}
