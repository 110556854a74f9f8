//! Audits night by night: what they found is stored, and tonight is held to the nights before.

use serde_json::{Value, json};

use crate::incremental::project::{date, deliver, pay, world};
use crate::support::{Said, World};

/// The project with these audits of its payments.
fn audited(audits: &str) -> World {
    let world = world();
    let payments = std::fs::read_to_string(world.project.join("sql/marts/payments.yaml")).unwrap();
    world.write("sql/marts/payments.yaml", &format!("{payments}audits:\n{audits}"));
    world
}

/// A day of so many payments.
fn day(world: &World, day: i128, rows: usize) {
    let date = date(day);
    let rows: Vec<_> =
        (0..rows).map(|n| pay(&format!("p{day}-{n}"), "u1", &format!("{date}T10:00:00Z"), 100)).collect();
    deliver(world, &format!("day={date}/a.parquet"), &rows);
}

fn night(world: &World, day: i128) -> Said {
    world.job("ingest", &date(day)).ok();
    world.job("tables", &date(day))
}

fn stored(world: &World, audit: &str) -> Vec<Value> {
    let sql = "select cast(logical_date as varchar) as night, status, bad_rows, value from audits where audit =";
    world.query(&format!("{sql} '{audit}' order by sequence"))
}

#[test]
fn a_day_with_a_tenth_of_the_usual_rows_fails_and_nothing_is_committed() {
    let world = audited("  - trend: {measure: rows, within: 50%}\n");
    for n in 0..4 {
        day(&world, n, 20 + n as usize);
        night(&world, n).ok();
    }
    let rows = world.query("select count(*) as n from payments")[0]["n"].clone();
    day(&world, 4, 2);
    let refused = night(&world, 4).refuses(3, &["audit trend(rows) of payments fails", "found: 2", "is 21.5"]);
    assert!(refused.stderr.contains("payments.yaml:"), "{}", refused.stderr);
    assert_eq!(world.query("select count(*) as n from payments")[0]["n"], rows);
    // The rest of the day is delivered: the night can be run again.
    let more: Vec<_> = (2..20).map(|n| pay(&format!("p4-{n}"), "u1", &format!("{}T10:00:00Z", date(4)), 100)).collect();
    deliver(&world, &format!("day={}/b.parquet", date(4)), &more);
    night(&world, 4).ok();
    let found = stored(&world, "trend(rows)");
    let statuses: Vec<&str> = found.iter().map(|row| row["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["pass", "pass", "pass", "pass", "fail", "pass"], "{found:#?}");
    assert_eq!(found[4]["value"], 2.0);
    let values: Vec<f64> = found.iter().map(|row| row["value"].as_f64().unwrap()).collect();
    assert_eq!(values, [20.0, 21.0, 22.0, 23.0, 2.0, 20.0]);
}

#[test]
fn a_warning_is_said_and_stored_and_stops_nothing() {
    let world = audited(
        "  - {name: cheap, query: select * from this where amount < 5, severity: warn}\n  \
         - {trend: {measure: mean(amount), within: 10%, at_least: 1}, severity: warn}\n",
    );
    day(&world, 0, 3);
    night(&world, 0).ok();
    day(&world, 1, 2);
    deliver(
        &world,
        &format!("day={}/b.parquet", date(1)),
        &[pay("q", "u1", &format!("{}T11:00:00Z", date(1)), 400_000)],
    );
    let said = night(&world, 1).ok();
    let line = said.line("tables/payments");
    assert_eq!(line["details"]["warnings"], json!(["cheap", "trend(mean(amount))"]), "{line:#}");
    assert!(said.stderr.contains("audit cheap of payments fails"), "{}", said.stderr);
    let cheap = stored(&world, "cheap");
    assert_eq!(cheap[1]["status"], "warn");
    assert_eq!(cheap.iter().map(|row| row["bad_rows"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 2]);
    let key = stored(&world, "key is unique");
    assert!(key.iter().all(|row| row["status"] == "pass" && row["bad_rows"] == 0), "{key:?}");
}

#[test]
fn a_table_must_be_fresh_at_the_end_of_the_night() {
    let world = audited("  - freshness: {column: paid_at, within: 2d}\n");
    day(&world, 0, 3);
    night(&world, 0).ok();
    // Late rows only: what is held is still fresh enough.
    deliver(&world, &format!("day={}/late.parquet", date(1)), &[pay("l", "u1", &format!("{}T11:00:00Z", date(-3)), 7)]);
    night(&world, 1).ok();
    deliver(&world, &format!("day={}/late.parquet", date(3)), &[pay("m", "u1", &format!("{}T11:00:00Z", date(-2)), 7)]);
    let newest = format!("the newest is of {}T10:00:00Z", date(0));
    night(&world, 3).refuses(3, &["audit freshness(paid_at)", &newest, &format!("nothing older than {}", date(2))]);
}

#[test]
fn what_cannot_be_measured_is_a_definition_error() {
    let check = |audit: &str| {
        let world = audited(audit);
        let project = world.project.display().to_string();
        world.run(&["check", "--project", &project])
    };
    check("  - trend: {measure: median(amount), within: 50%}\n").refuses(2, &["invalid measure `median(amount)`"]);
    check("  - trend: {measure: mean(method), within: 50%}\n").refuses(2, &["`method` is no number"]);
    check("  - trend: {measure: rows, within: half}\n").refuses(2, &["a percentage such as 50%"]);
    check("  - trend: {measure: sum(amont), within: 50%}\n").refuses(2, &["did you mean `amount`"]);
    check("  - freshness: {column: amount, within: 2d}\n").refuses(2, &["`amount` is no instant"]);
    check("  - {not_null: [id], severity: maybe}\n").refuses(2, &["`maybe`", "fail, warn"]);
}
