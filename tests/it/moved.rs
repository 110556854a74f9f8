//! A payment whose correction gives it another day: it is one payment, in every table, and however that is computed.

use tempfile::TempDir;

use crate::incremental::project::copy_dir;
use crate::rotation::link_dir;
use crate::small::{self, Pay, batch, deliver};
use crate::support::{Said, World};
use crate::torture::compare::{assert_same, dump, without_numbers};

const GRADE: &str = "  grade:
    description: A grade, as somebody maintains it.
    location: grade.csv
    format: csv
    static: true
    key: [user_id]
    columns:
      user_id: string
      grade: string
";
const PAYMENTS_SQL: &str =
    "select p.id, p.user_id, p.paid_at, p.amount, g.grade from pay p left join grade g on g.user_id = p.user_id\n";
const PAYMENTS: &str = "\
description: Payments.
grain: one row per payment
key: [id]
event_time: paid_at
materialized: incremental
columns:
  id: {doc: The payment.}
  user_id: {doc: The user.}
  paid_at: {doc: When.}
  amount: {doc: How much., unit: PLN}
  grade: {doc: The user's grade.}
audits:
  - unique: [id]
";

fn date(day: usize) -> String {
    format!("2024-02-{day:02}")
}

fn pay(id: &str, user: &'static str, day: usize, amount: i128) -> (String, &'static str, String, i128) {
    (id.to_string(), user, format!("{}T10:00:00Z", date(day)), amount)
}

fn put(world: &World, day: usize, rows: &[(String, &'static str, String, i128)]) {
    let rows: Vec<Pay> =
        rows.iter().map(|(id, user, at, n)| (id.as_str(), Some(*user), Some(at.as_str()), *n)).collect();
    deliver(world, &format!("day={}/a.parquet", date(day)), &batch(&rows));
}

fn night(world: &World, day: usize) -> Said {
    world.job("nightly", &date(day)).ok()
}

/// Three payments a day of six nights. Then two payments move: one over days that nothing else happens on, and one to
/// the day beside, so that the days of both are computed together.
fn world() -> World {
    let sources = format!("{}{GRADE}", small::SOURCES);
    let mut files = small::files();
    for (path, text) in &mut files {
        match *path {
            "sql/sources.yaml" => *text = &sources,
            "sql/marts/payments.sql" => *text = PAYMENTS_SQL,
            "sql/marts/payments.yaml" => *text = PAYMENTS,
            _ => {}
        }
    }
    let world = World::with(&files);
    std::fs::create_dir_all(world.raw()).unwrap();
    std::fs::write(world.raw().join("grade.csv"), "user_id,grade\nu1,good\nu2,fair\n").unwrap();
    for day in 1..=6 {
        let rows: Vec<_> =
            ["u1", "u2", "u3"].iter().map(|user| pay(&format!("{user}-{day}"), user, day, 100)).collect();
        put(&world, day, &rows);
    }
    world
}

/// The night in which they move, after nights that did not know.
fn moved() -> World {
    let world = world();
    night(&world, 5);
    night(&world, 6);
    put(&world, 7, &[pay("u1-1", "u1", 6, 100), pay("u2-3", "u2", 4, 100), pay("u3-7", "u3", 7, 100)]);
    world
}

/// Another lake as it is now, and the same raw files.
fn copied(world: &World) -> World {
    let copy = World { dir: TempDir::new().unwrap(), project: world.project.clone() };
    copy_dir(&world.lake(), &copy.lake());
    link_dir(&world.raw(), &copy.raw());
    copy
}

/// How many payments there are, of how many rows that are current, and what was paid.
fn counted(world: &World, table: &str) -> serde_json::Value {
    let sql = format!(
        "select count(*) as rows, count(distinct id) as payments, cast(sum(amount) as varchar) as paid from {table} \
         where _known_until is null"
    );
    world.query(&sql).remove(0)
}

#[test]
fn a_payment_that_moves_to_another_day_is_counted_once() {
    let world = moved();
    night(&world, 7);
    for table in ["tables.pay", "tables.payments"] {
        let expected = serde_json::json!({"rows": 19, "payments": 19, "paid": "19.00"});
        assert_eq!(counted(&world, table), expected, "{table}");
        // Where it was it is still seen by nights that saw it there.
        let sql = format!(
            "select id, cast(event_date as varchar) as day, cast(_known_until as varchar) as until from {table} \
             where id in ('u1-1', 'u2-3') order by id, _known_from"
        );
        let found: Vec<String> =
            world.query(&sql).iter().map(|row| format!("{} {}", row["day"], row["until"])).collect();
        let [until, open] = ["\"2024-02-08T00:00:00Z\"", "null"];
        let day = |day: usize, until: &str| format!("\"{}\" {until}", date(day));
        assert_eq!(found, [day(1, until), day(6, open), day(3, until), day(4, open)], "{table}");
    }
    let sum = "select cast(sum(amount_sum_30d) as varchar) as paid, sum(payments_30d) as payments from features.pays \
               where logical_date = date '2024-02-07'";
    assert_eq!(world.query(sum), [serde_json::json!({"paid": "19.00", "payments": 19})]);
    // From all rows, from last night's states, and from a first load of everything.
    let full = copied(&world);
    let project = full.project.display().to_string();
    full.run(&["features", "--date", &date(7), "--project", &project, "--full"]).ok();
    let features = |world: &World| dump(&world.lake()).remove("features/pays");
    assert_eq!(features(&full), features(&world));
}

/// Upkeep may have taken the version of an input that a table was made of; a definition or a table without days may have
/// changed. Then all days are computed at once, and merged with what the table has.
#[test]
fn a_table_that_is_computed_whole_has_it_once_too() {
    let world = moved();
    let plain = copied(&world);
    night(&plain, 7);
    let profile = world.dir.path().join("keeps-nothing.yaml");
    std::fs::write(&profile, "lake: lake\nraw: raw\nreplay_retention: 0d\n").unwrap();
    let project = world.project.display().to_string();
    let maintain = || {
        let profile = profile.to_str().unwrap();
        world.run(&["maintain", "--date", &date(7), "--project", &project, "--profile", profile]).ok();
    };
    world.job("ingest", &date(7)).ok();
    maintain();
    let whole = night(&world, 7);
    assert_eq!(whole.line("tables/payments")["rows"], 21, "of all days");
    let seen = |world: &World| without_numbers(dump(&world.lake()));
    assert_same(&seen(&world), &seen(&plain), "the version of an input is gone");

    std::fs::write(world.raw().join("grade.csv"), "user_id,grade\nu1,good\nu2,good\n").unwrap();
    put(&world, 8, &[pay("u1-8", "u1", 8, 100)]);
    night(&world, 8);
    let expected = serde_json::json!({"rows": 20, "payments": 20, "paid": "20.00"});
    assert_eq!(counted(&world, "tables.payments"), expected, "a table without days changed");

    world.write("sql/marts/payments.sql", &PAYMENTS_SQL.replace("g.grade", "upper(g.grade) as grade"));
    night(&world, 8);
    assert_eq!(counted(&world, "tables.payments"), expected, "another definition");
}
