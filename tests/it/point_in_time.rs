//! Features through the whole chain: half-open windows, microseconds, and nothing that was not known.

use crate::small::{self, batch, deliver, two_days};
use crate::support::World;

const DAY: &str = "2024-02-29";

fn night(world: &World, date: &str) {
    for job in ["ingest", "tables", "features"] {
        world.job(job, date).ok();
    }
}

fn features(world: &World, date: &str) -> Vec<serde_json::Value> {
    let sql = |table: &str| format!("select * from {table} where logical_date = '{date}' order by user_id");
    let mut rows = world.query(&sql("features.pays"));
    rows.extend(world.query(&sql("sequences.trail")));
    rows
}

#[test]
fn windows_are_half_open_to_the_microsecond() {
    let world = small::world();
    two_days(&world);
    night(&world, DAY);
    let rows = features(&world, DAY);
    // as_of is 2024-03-01T00:00Z: p4 at 2024-02-29T00:00:00 is inside one day, p3 a microsecond earlier is not.
    let u1 = rows.iter().find(|row| row["user_id"] == "u1").unwrap();
    assert_eq!((&u1["payments_1d"], &u1["payments_30d"]), (&1.into(), &3.into()), "{u1}");
    assert_eq!(u1["amount_sum_30d"].to_string().trim_matches('"'), "63.33");
    assert_eq!(u1["time_since_last"], 24.0);
    // Nobody is dropped: u2 has no payment within a day.
    let u2 = rows.iter().find(|row| row["user_id"] == "u2").unwrap();
    assert_eq!(u2["payments_1d"], 0);
    assert!(u2.get("amount_sum_1d").is_none_or(serde_json::Value::is_null), "{u2}");
    let trail = rows.iter().find(|row| row["user_id"] == "u1" && row.get("hours_since_previous").is_some()).unwrap();
    assert_eq!(trail["amount"].as_array().unwrap().len(), 3, "{trail}");
}

#[test]
fn rows_after_as_of_and_rows_not_yet_known_change_nothing() {
    let plain = small::world();
    two_days(&plain);
    night(&plain, DAY);
    let expected = features(&plain, DAY);

    let perturbed = small::world();
    two_days(&perturbed);
    // Delivered in time, but happening at and after as_of.
    let future = [
        ("f1", Some("u1"), Some("2024-03-01T00:00:00Z"), 99_999),
        ("f2", Some("u2"), Some("2024-03-05T00:00:00Z"), 99_999),
    ];
    deliver(&perturbed, "day=2024-02-29/future.parquet", &batch(&future));
    night(&perturbed, DAY);
    assert_eq!(features(&perturbed, DAY), expected);

    // Late rows and corrections of the next nights leave the night as it was, whenever it is computed again.
    let late = [("l1", Some("u1"), Some("2024-02-28T09:00:00Z"), 77_700)];
    let corrected = [("p1", Some("u1"), Some("2024-02-28T10:00:00Z"), 1001)];
    deliver(&perturbed, "day=2024-03-01/late.parquet", &batch(&late));
    deliver(&perturbed, "day=2024-03-01/corrected.parquet", &batch(&corrected));
    night(&perturbed, "2024-03-01");
    perturbed.job("features", DAY).ok();
    assert_eq!(features(&perturbed, DAY), expected);
    // The next night has them.
    let u1 = features(&perturbed, "2024-03-01").into_iter().find(|row| row["user_id"] == "u1").unwrap();
    assert_eq!(u1["amount_sum_30d"].to_string().trim_matches('"'), "1840.33", "{u1}");
}

#[test]
fn each_job_can_be_run_again_for_a_date() {
    let world = small::world();
    two_days(&world);
    night(&world, DAY);
    let (versions, rows) = (world.versions(), features(&world, DAY));
    night(&world, DAY);
    assert_eq!(world.versions(), versions);
    assert_eq!(features(&world, DAY), rows);
}

#[test]
fn night_by_night_and_all_at_once_give_the_same_tables() {
    let (slow, fast) = (small::world(), small::world());
    for world in [&slow, &fast] {
        two_days(world);
        deliver(world, "day=2024-03-01/late.parquet", &batch(&[("l1", Some("u2"), Some("2024-02-28T09:00:00Z"), 700)]));
        deliver(world, "day=2024-03-01/fix.parquet", &batch(&[("p1", Some("u1"), Some("2024-02-28T10:00:00Z"), 1001)]));
    }
    for date in ["2024-02-28", "2024-02-29", "2024-03-01"] {
        night(&slow, date);
    }
    night(&fast, "2024-03-01");
    let stored = |world: &World, table: &str| world.query(&format!("select * from {table} order by id, _known_from"));
    assert_eq!(stored(&slow, "tables.pay"), stored(&fast, "tables.pay"));
    // A table that is built for the first time has no past versions of its own: a row is known from when the last of
    // what it is made of was known, which may be later than night by night, never earlier.
    let open = "(select * from tables.payments where _known_until is null)";
    assert_eq!(stored(&slow, open), stored(&fast, open));
    assert_eq!(features(&slow, "2024-03-01"), features(&fast, "2024-03-01"));
}
