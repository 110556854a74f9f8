//! What changing a definition does to the next night: what is new comes from history, what is known stays, and the
//! result is that of all rows.

use std::collections::BTreeSet;

use serde_json::json;

use super::project::{GROUP, MIXED, TRAIL, Went, date, deliver, history, night, pay, value, world};
use crate::support::World;

const PAYS: &str = "features/pays.yaml";

/// What became of a table's states in the night after its definition changed.
struct Changed {
    world: World,
    went: Went,
    kept: usize,
    new: usize,
}

/// A night by one definition and two by another; in each of the two a payment of the 21st day changes hands, which
/// then is the oldest within ten days.
#[track_caller]
fn changed(file: &str, first: &str, then: &str) -> Changed {
    assert_ne!(first, then);
    let world = world();
    world.write(file, first);
    history(&world);
    let (kind, name) = first.lines().next().unwrap().split_once(": ").unwrap();
    let table = &format!("{}.{name}", if kind == "group" { "features" } else { "sequences" });
    let before = states(&world, table);
    world.write(file, then);
    let fix = |day: i128, user: &str, amount: i128| {
        let row = pay("a21", user, &format!("{}T10:00:00Z", date(21)), amount);
        deliver(&world, &format!("day={}/fix.parquet", date(day)), &[row]);
        night(&world, &date(day)).remove(table).unwrap()
    };
    let went = fix(30, "u2", 1021);
    let now = states(&world, table);
    // The night after starts from what this one left.
    let next = fix(31, "u1", 7);
    assert_eq!(next.way, "incremental", "{next:?}");
    assert!(!next.why.contains("new"), "{next:?}");
    let kept = before.intersection(&now).count();
    Changed { world, went, kept, new: now.len() - kept }
}

/// The group with another line of aggregations.
fn with(line: &str) -> String {
    GROUP.replace("derived:\n", &format!("{line}derived:\n"))
}

/// The columns with states.
fn states(world: &World, table: &str) -> BTreeSet<String> {
    let columns = world.query(&format!("describe {table}__state"));
    let names = columns.iter().map(|column| column["column_name"].as_str().unwrap().to_string());
    names.filter(|name| name.starts_with("s_")).collect()
}

#[test]
fn a_new_feature_is_computed_from_history_and_the_others_are_not() {
    let changed = changed(PAYS, GROUP, &with("  - {of: weight, fn: max, over: [3d, 10d]}\n"));
    assert_eq!((changed.kept, changed.new), (16, 1));
    assert_eq!(changed.went.way, "incremental");
    assert!(changed.went.why.ends_with("1 of 17 states are new"), "{:?}", changed.went);
    let max = value(&changed.world, "features.pays", &date(30), "u2", "weight_max_10d");
    assert_eq!(max, json!((9000 - 22) as f64 / 8.0));
}

/// The order of rows of equal time depends on what features take by order, and states hold places in it.
#[test]
fn a_new_feature_that_takes_rows_by_order() {
    let (head, _) = GROUP.split_once("  - ").unwrap();
    let one = format!("{head}  - {{fn: count, over: [10d]}}\n  - {{of: amount, fn: first, over: [10d]}}\n");
    let two = format!("{one}  - {{of: method, fn: last, as: means}}\n");
    let changed = changed(PAYS, &one, &two);
    assert_eq!(changed.went.way, "incremental");
    let first = |user: &str| value(&changed.world, "features.pays", &date(30), user, "amount_first_10d");
    assert_eq!((first("u1"), first("u2")), (json!(10.22), json!(10.21)));
}

#[test]
fn a_removed_feature() {
    let line = "  - {of: weight, fn: percentile, at: [50], over: [10d]}\n";
    assert!(GROUP.contains(line));
    let changed = changed(PAYS, GROUP, &GROUP.replace(line, ""));
    assert_eq!((changed.went.way.as_str(), changed.new), ("incremental", 0));
    // The column stays, for the nights before.
    let median = |day: i128| value(&changed.world, "features.pays", &date(day), "u1", "weight_p50_10d");
    assert_eq!((median(29), median(30)), (json!(1024.5 / 8.0), json!(null)));
}

#[test]
fn a_new_window() {
    let from = "fn: [sum, mean, max, min, stddev, last], over: [1d, 3d, 10d]";
    let changed = changed(PAYS, GROUP, &GROUP.replace(from, &from.replace("3d", "3d, 5d")));
    assert_eq!(changed.went.way, "incremental");
    // Those of amounts are kept ring by ring.
    assert!(changed.kept > 0 && changed.new > 0, "{:?}", changed.went);
    assert_eq!(value(&changed.world, "features.pays", &date(30), "u1", "amount_sum_5d"), json!(41.1));
}

#[test]
fn another_condition_of_the_whole_group() {
    let changed = changed(PAYS, GROUP, &GROUP.replace("table: payments\n", "table: payments\nwhere: amount > 20\n"));
    assert_eq!(changed.went.way, "snapshot");
    assert_eq!(changed.went.why, "the definition has nothing in common with the state");
    assert_eq!(changed.kept, 0);
}

#[test]
fn another_length_of_a_sequence() {
    let changed = changed("features/trail.yaml", TRAIL, &TRAIL.replace("length: 3", "length: 4"));
    assert_eq!(changed.went.way, "snapshot");
    assert_eq!(changed.went.why, "the definition has nothing in common with the state");
}

/// What is interleaved is a query over each table.
#[test]
fn another_condition_of_one_table_of_a_sequence() {
    let from = "as: paid, fields";
    let then = MIXED.replace(from, "as: paid, where: amount < 10, fields");
    let changed = changed("features/mixed.yaml", MIXED, &then);
    assert_eq!(changed.went.way, "snapshot");
}

#[test]
fn a_description_changes_no_state() {
    let changed = changed(PAYS, GROUP, &format!("{GROUP}description: How they pay.\n"));
    assert_eq!((changed.went.way.as_str(), changed.kept, changed.new), ("incremental", 16, 0));
}
