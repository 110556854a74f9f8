//! What rows do between two nights: they come, late or in time, are corrected, change hands, and are delivered again.

use serde_json::json;

use super::project::{
    Pay, again, all, copied, copy_dir, date, deliver, features, history, night, pay, rows_of, stored, tables, value,
    world,
};
use crate::support::World;

/// A world after the first night, a snapshot.
fn begun() -> World {
    let world = world();
    history(&world);
    world
}

/// A payment of u1 on that day.
fn today(world: &World, day: i128) {
    let date = date(day);
    deliver(
        world,
        &format!("day={date}/a.parquet"),
        &[pay(&format!("a{day}"), "u1", &format!("{date}T10:00:00Z"), 70)],
    );
}

/// What a user paid within ten days, in hundredths.
fn sum_10d(world: &World, day: i128, user: &str) -> i128 {
    let sum = value(world, "features.pays", &date(day), user, "amount_sum_10d");
    (sum.as_f64().unwrap() * 100.0).round() as i128
}

/// How many users a night computed from their rows: for features, and for sequences.
fn rebuilt(world: &World, day: i128) -> (u64, u64) {
    let went = night(world, &date(day));
    all(&went, "incremental");
    let of = |table: &str| went[table].line["details"]["rebuilt"].as_u64().unwrap_or(0);
    (of("features.pays"), of("sequences.trail"))
}

#[test]
fn nights_in_a_row_and_nights_left_out() {
    let world = begun();
    for day in [30, 31, 34] {
        today(&world, day);
        all(&night(&world, &date(day)), "incremental");
    }
    // Nobody paid, and time went on.
    all(&night(&world, &date(36)), "incremental");
    assert_eq!(value(&world, "features.pays", &date(36), "u1", "payments_3d"), 1);
}

#[test]
fn late_rows_corrections_and_files_delivered_again() {
    let world = begun();
    let tonight = date(30);
    today(&world, 30);
    let late = pay("late", "u2", &format!("{}T09:00:00Z", date(24)), 123);
    deliver(&world, &format!("day={tonight}/late.parquet"), std::slice::from_ref(&late));
    // The 28th day's payment was another one; the 26th day's was u2's.
    let corrected = [
        pay("a28", "u1", &format!("{}T12:00:00Z", date(28)), 5),
        Pay { user: Some("u2".into()), ..pay("a26", "u1", &format!("{}T10:00:00Z", date(26)), 1026) },
    ];
    deliver(&world, &format!("day={tonight}/fix.parquet"), &corrected);
    // The same content under another name, and the same name with more in it.
    let file = |day: i128, name: &str| world.raw().join(format!("pay/day={}/{name}.parquet", date(day)));
    std::fs::copy(file(21, "a"), file(21, "again")).unwrap();
    let more = [
        pay("a25", "u1", &format!("{}T10:00:00Z", date(25)), 1025),
        pay("c25", "u1", &format!("{}T10:00:00Z", date(25)), 11),
    ];
    deliver(&world, &format!("day={}/a.parquet", date(25)), &more);
    all(&night(&world, &tonight), "incremental");
    // Of days 21 to 30: a21 to a29 without a26, the changed a28, the new c25, and tonight's.
    let kept: i128 = [21, 22, 23, 24, 25, 27, 29].iter().map(|day| 1000 + day).sum();
    assert_eq!(sum_10d(&world, 30, "u1"), kept + 5 + 11 + 70);
    let kept: i128 = [22, 24, 26, 28].iter().map(|day| 9000 - day).sum();
    assert_eq!(sum_10d(&world, 30, "u2"), kept + 123 + 1026);
    // From there the nights go on.
    today(&world, 31);
    all(&night(&world, &date(31)), "incremental");
}

#[test]
fn the_same_night_twice_and_once_more_with_a_late_file() {
    let world = begun();
    today(&world, 30);
    let tonight = date(30);
    night(&world, &tonight);
    let versions = world.versions();
    tables(&world, &tonight);
    for line in features(&world, &tonight, &[]).ok().json()["outputs"].as_array().unwrap() {
        assert_eq!(line["status"], "unchanged", "{line}");
    }
    assert_eq!(world.versions(), versions);
    let before = sum_10d(&world, 30, "u2");
    let late = pay("late", "u2", &format!("{}T09:00:00Z", date(29)), 55);
    deliver(&world, &format!("day={tonight}/late.parquet"), &[late]);
    all(&night(&world, &tonight), "incremental");
    assert_ne!(sum_10d(&world, 30, "u2"), before);
    all(&night(&world, &date(31)), "incremental");
}

#[test]
fn an_earlier_night_leaves_the_state_of_a_later_one() {
    let world = begun();
    for day in [30, 31] {
        today(&world, day);
        night(&world, &date(day));
    }
    let states = |world: &World| world.versions().into_iter().filter(|(table, _)| table.ends_with("__state")).collect();
    let before: Vec<_> = states(&world);
    assert_eq!(before.len(), 4);
    let went = again(&world, &date(30));
    all(&went, "snapshot");
    let why = format!("the state is of a later night, {}", date(31));
    assert!(went.values().all(|one| one.why == why), "{went:#?}");
    assert_eq!(states(&world), before);
    today(&world, 32);
    all(&night(&world, &date(32)), "incremental");
}

#[test]
fn events_of_nobody_are_left_out_and_counted() {
    let world = begun();
    let tonight = date(30);
    let nobodys = |id: &str| Pay { user: None, ..pay(id, "", &format!("{tonight}T10:00:00Z"), 100) };
    deliver(&world, &format!("day={tonight}/a.parquet"), &[nobodys("n1"), nobodys("n2")]);
    let went = night(&world, &tonight);
    all(&went, "incremental");
    assert_eq!(went["features.pays"].line["details"]["null_entities"], 2);
    let said = features(&copied(&world), &tonight, &["--full"]).ok();
    assert_eq!(said.line("features/pays")["details"]["null_entities"], 2);
    assert!(said.stderr.contains("2 events of no entity left out"), "{}", said.stderr);
    // Now it is known whose one of them was.
    let corrected = pay("n1", "u1", &format!("{tonight}T10:00:00Z"), 100);
    deliver(&world, &format!("day={}/fix.parquet", date(31)), &[corrected]);
    let went = night(&world, &date(31));
    all(&went, "incremental");
    assert_eq!(went["features.pays"].line["details"]["null_entities"], 1);
    assert_eq!(value(&world, "features.pays", &date(31), "u1", "payments_3d"), 2);
}

#[test]
fn a_corrected_extreme_and_a_corrected_row_of_a_full_sequence_are_computed_from_rows() {
    let world = begun();
    deliver(
        &world,
        &format!("day={}/a.parquet", date(30)),
        &[pay("top", "u1", &format!("{}T10:00:00Z", date(30)), 80_000)],
    );
    // A new greatest value, and a newest row: nothing is lost.
    assert_eq!(rebuilt(&world, 30), (0, 0));
    let fix = pay("top", "u1", &format!("{}T10:00:00Z", date(30)), 10);
    deliver(&world, &format!("day={}/fix.parquet", date(31)), &[fix]);
    assert_eq!(rebuilt(&world, 31), (1, 1));
    assert_eq!(value(&world, "features.pays", &date(31), "u1", "amount_max_3d"), json!(10.29));
    // An old row that is no extreme and in no sequence any more.
    let fix = pay("a22", "u1", &format!("{}T10:00:00Z", date(22)), 1021);
    deliver(&world, &format!("day={}/fix.parquet", date(32)), &[fix]);
    assert_eq!(rebuilt(&world, 32).1, 0);
}

#[test]
fn a_payment_that_changes_hands_leaves_both_right() {
    let world = begun();
    // The newest payment of u1, which was the last and the first of tonight's.
    let fix = pay("a29", "u2", &format!("{}T10:00:00Z", date(29)), 1029);
    deliver(&world, &format!("day={}/fix.parquet", date(30)), &[fix]);
    all(&night(&world, &date(30)), "incremental");
    assert_eq!(value(&world, "features.pays", &date(30), "u1", "amount_last"), json!(10.28));
    assert_eq!(value(&world, "features.pays", &date(30), "u2", "amount_last"), json!(10.29));
}

#[test]
fn entities_come_go_and_return() {
    let world = begun();
    let at = |day: i128| format!("{}T20:00:00Z", date(day));
    // u9 pays for the first time, u2 so much that it is no customer any more.
    let rows = [pay("n1", "u9", &at(30), 100), pay("much", "u2", &at(30), 95_000)];
    deliver(&world, &format!("day={}/a.parquet", date(30)), &rows);
    all(&night(&world, &date(30)), "incremental");
    assert_eq!((rows_of(&world, &date(30), "u9"), rows_of(&world, &date(30), "u2")), (1, 0));
    // While away u2 pays on; u9 turns out never to have paid.
    let rows = [pay("b31", "u2", &at(31), 200), pay("n1", "u1", &at(30), 100)];
    deliver(&world, &format!("day={}/a.parquet", date(31)), &rows);
    all(&night(&world, &date(31)), "incremental");
    assert_eq!((rows_of(&world, &date(31), "u9"), rows_of(&world, &date(31), "u2")), (0, 0));
    deliver(&world, &format!("day={}/fix.parquet", date(32)), &[pay("much", "u2", &at(30), 900)]);
    all(&night(&world, &date(32)), "incremental");
    assert_eq!(value(&world, "features.pays", &date(32), "u2", "payments_3d"), 2);
    assert_eq!(value(&world, "features.pays", &date(32), "u2", "amount_last"), json!(2.0));
}

/// A night whose states are those of the night before, as when a backup of them was put back.
#[test]
fn a_night_that_did_not_end_is_made_up_for() {
    let world = begun();
    let kept = copied(&world);
    today(&world, 30);
    night(&world, &date(30));
    let done = copied(&world);
    for folder in ["features/pays", "sequences/trail", "sequences/recent", "sequences/mixed"] {
        let state = format!("{folder}__state");
        std::fs::remove_dir_all(world.lake().join(&state)).unwrap();
        copy_dir(&kept.lake().join(&state), &world.lake().join(&state));
    }
    // The night itself is done, and the next one starts from the night before.
    features(&world, &date(30), &[]).ok();
    assert_eq!(stored(&world, "features.pays", &date(30)), stored(&done, "features.pays", &date(30)));
    today(&world, 31);
    let went = night(&world, &date(31));
    all(&went, "incremental");
    let why = &went["features.pays"].why;
    assert!(why.ends_with(&format!("since {}", date(29))), "{why}");
}

#[test]
fn without_its_state_a_night_is_a_snapshot() {
    let world = begun();
    std::fs::remove_dir_all(world.lake().join("features/pays__state")).unwrap();
    today(&world, 30);
    let went = night(&world, &date(30));
    assert_eq!(went["features.pays"].way, "snapshot");
    assert_eq!(went["features.pays"].why, "there is no state of an earlier night");
    assert_eq!(went["sequences.trail"].way, "incremental");
    today(&world, 31);
    all(&night(&world, &date(31)), "incremental");
}
