//! The project of these tests: payments of a few users, every kind of function over them, three sequences; and the two
//! runs of a night that must agree.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use scorehouse::define::profile::Profile;
use serde_json::Value;
use tempfile::TempDir;

use crate::small::{micros, write};
use crate::support::{Said, World, asked};

const SOURCES: &str = "\
sources:
  pay:
    description: A payment.
    location: pay/day={date}/*.parquet
    event_time: paid_at
    key: [id]
    columns:
      id: string
      user_id: {type: string, nullable: true}
      paid_at: timestamp
      amount: 'decimal(18,2)'
      method: {type: string, nullable: true}
      weight: {type: float64, nullable: true}
";

/// Who pays 900 once is no longer a customer.
const PEOPLE_SQL: &str =
    "select user_id from pay where user_id is not null group by user_id having max(amount) < 900\n";
const PEOPLE: &str = "\
description: Whoever paid, and never very much.
grain: one row per user
key: [user_id]
materialized: full
columns:
  user_id: {doc: The user.}
";

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
  amount: {doc: How much.}
  method: {doc: By which means.}
  weight: {doc: How heavy it is to bear.}
";

pub const GROUP: &str = "\
group: pays
entity: user_id
entities: people
table: payments
aggregations:
  - {of: amount, fn: [sum, mean, max, min, stddev, last], over: [1d, 3d, 10d]}
  - {of: amount, fn: [first, last, max, min]}
  - {fn: count, as: payments, over: [1d, 3d, 10d]}
  - {of: method, fn: [count_distinct, entropy], over: [3d, 10d]}
  - {of: method, fn: share, values: [card, blik], over: [10d]}
  - {of: method, fn: share, top: 2, over: [10d]}
  - {of: method, fn: top_k, top: 2, over: [10d]}
  - {of: weight, fn: [sum, variance, first], over: [3d, 10d]}
  - {of: weight, fn: percentile, at: [50], over: [10d]}
  - {of: weight, fn: exp_weighted_mean, half_life: 2d, over: [10d]}
  - {of: amount, fn: sum, where: \"method = 'card'\", as: by_card, over: [3d]}
  - {of: weight, fn: ratio, to: amount, as: burden, over: [3d]}
  - {fn: mean_gap, unit: hours, over: [10d]}
  - {fn: [time_since_first, time_since_last], unit: hours}
derived:
  mean_by_hand_10d: amount_sum_10d / nullif(payments_10d, 0)
";

pub const TRAIL: &str = "\
sequence: trail
entity: user_id
entities: people
table: payments
length: 3
fields:
  - amount
  - method
  - {fn: since_previous, as: hours_since_previous, unit: hours}
  - {fn: time_since, as: hours_before, unit: hours}
";

const RECENT: &str = "\
sequence: recent
entity: user_id
entities: people
table: payments
where: \"method = 'card'\"
length: 25
over: 40d
fields: [weight]
";

pub const MIXED: &str = "\
sequence: mixed
entity: user_id
entities: people
events:
  - {table: payments, as: paid, fields: {amount: amount, method: method}}
  - {table: large, as: much, fields: {amount: amount}}
length: 5
fields:
  - {fn: event_type, as: kind}
  - amount
  - method
";

/// The tables of the features.
const TABLES: [&str; 4] = ["features.pays", "sequences.trail", "sequences.recent", "sequences.mixed"];

pub fn world() -> World {
    World::with(&[
        ("sql/sources.yaml", SOURCES),
        ("sql/marts/people.sql", PEOPLE_SQL),
        ("sql/marts/people.yaml", PEOPLE),
        ("sql/marts/payments.sql", "select id, user_id, paid_at, amount, method, weight from pay\n"),
        ("sql/marts/payments.yaml", PAYMENTS),
        ("sql/marts/large.sql", "select id, user_id, paid_at, amount, method, weight from pay where amount >= 50\n"),
        ("sql/marts/large.yaml", PAYMENTS),
        ("features/pays.yaml", GROUP),
        ("features/trail.yaml", TRAIL),
        ("features/recent.yaml", RECENT),
        ("features/mixed.yaml", MIXED),
    ])
}

/// A payment.
#[derive(Debug, Clone, PartialEq)]
pub struct Pay {
    pub id: String,
    pub user: Option<String>,
    pub at: i64,
    /// In hundredths.
    pub amount: i128,
    pub method: Option<&'static str>,
    pub weight: Option<f64>,
}

/// A payment by card.
pub fn pay(id: &str, user: &str, at: &str, amount: i128) -> Pay {
    let weight = Some(amount as f64 / 8.0);
    Pay { id: id.into(), user: Some(user.into()), at: micros(at), amount, method: Some("card"), weight }
}

/// Writes a raw file, `pay/day=…/name.parquet`.
pub fn deliver(world: &World, file: &str, rows: &[Pay]) {
    let times: TimestampMicrosecondArray = rows.iter().map(|row| Some(row.at)).collect();
    let amounts: Decimal128Array = rows.iter().map(|row| Some(row.amount)).collect();
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(rows.iter().map(|row| Some(&row.id)).collect::<StringArray>()) as ArrayRef, true),
        ("user_id", Arc::new(rows.iter().map(|row| row.user.as_ref()).collect::<StringArray>()), true),
        ("paid_at", Arc::new(times.with_timezone("UTC")), true),
        ("amount", Arc::new(amounts.with_precision_and_scale(18, 2).unwrap()), true),
        ("method", Arc::new(rows.iter().map(|row| row.method).collect::<StringArray>()), true),
        ("weight", Arc::new(rows.iter().map(|row| row.weight).collect::<Float64Array>()), true),
    ])
    .unwrap();
    let path = world.raw().join("pay").join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    write(&path, &batch);
}

/// Sixty days, a payment a day of u1, every other day of u2; the last of them is day 29. The night after it is done.
pub fn history(world: &World) {
    for day in -30..30 {
        let date = date(day);
        let mut rows = vec![pay(&format!("a{day:02}"), "u1", &format!("{date}T10:00:00Z"), 1000 + day)];
        if day % 2 == 0 {
            rows.push(pay(&format!("b{day:02}"), "u2", &format!("{date}T11:00:00Z"), 9000 - day));
        }
        deliver(world, &format!("day={date}/a.parquet"), &rows);
    }
    tables(world, &date(29));
    features(world, &date(29), &[]).ok();
}

/// The date of a day; day 0 is 2024-02-02.
pub fn date(day: i128) -> String {
    let first = chrono::NaiveDate::from_ymd_opt(2024, 2, 2).unwrap();
    (first + chrono::TimeDelta::days(i64::try_from(day).unwrap())).to_string()
}

pub fn tables(world: &World, date: &str) {
    for job in ["ingest", "tables"] {
        world.job(job, date).ok();
    }
}

pub fn features(world: &World, date: &str, more: &[&str]) -> Said {
    let project = world.project.display().to_string();
    world.run(&[&["features", "--date", date, "--project", &project, "--json"], more].concat())
}

/// How a table's features came about.
#[derive(Debug)]
pub struct Went {
    pub way: String,
    pub why: String,
    pub line: Value,
}

/// Runs ingest, tables and features; features also with `--full` in a copy of the lake. The results must be the same.
#[track_caller]
pub fn night(world: &World, date: &str) -> BTreeMap<String, Went> {
    tables(world, date);
    again(world, date)
}

/// The night's features only, both ways.
#[track_caller]
pub fn again(world: &World, date: &str) -> BTreeMap<String, Went> {
    let copy = copied(world);
    let full = features(&copy, date, &["--full"]).ok();
    let said = features(world, date, &[]).ok();
    let mut went = BTreeMap::new();
    for line in said.json()["outputs"].as_array().unwrap() {
        let table = line["table"].as_str().unwrap().replace('/', ".");
        let (expected, found) = (stored(&copy, &table, date), stored(world, &table, date));
        assert!(found.num_rows() > 0, "{table} is empty on {date}");
        // Arrow compares bytes: NaN is NaN, and -0.0 is not 0.0.
        assert!(expected == found, "{date} {table}: {line:#}\nall rows: {expected:#?}\nfound: {found:#?}");
        assert_eq!(full.line(&table.replace('.', "/"))["details"]["way"], "snapshot");
        let text = |key: &str| line["details"][key].as_str().unwrap_or_default().to_string();
        went.insert(table, Went { way: text("way"), why: text("why"), line: line.clone() });
    }
    went
}

/// That every table of features went this way.
#[track_caller]
pub fn all(went: &BTreeMap<String, Went>, way: &str) {
    assert_eq!(went.len(), TABLES.len(), "{went:#?}");
    assert!(went.values().all(|one| one.way == way), "not all {way}: {went:#?}");
}

/// The rows of a night as they are stored.
pub fn stored(world: &World, table: &str, date: &str) -> RecordBatch {
    let sql = format!("select * from {table} where logical_date = '{date}' order by user_id");
    let lake = world.lake().display().to_string();
    let profile = Profile::parse("profile", &format!("lake: {lake}\nraw: {lake}\n")).unwrap();
    asked(&profile, &sql)
}

/// A copy of the lake as it is, with the same project.
pub fn copied(world: &World) -> World {
    let copy = World { dir: TempDir::new().unwrap(), project: world.project.clone() };
    copy_dir(&world.lake(), &copy.lake());
    copy
}

pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_dir(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

/// A value of a night as JSON; null where it is null.
#[track_caller]
pub fn value(world: &World, table: &str, date: &str, user: &str, column: &str) -> Value {
    let sql = format!("select {column} from {table} where logical_date = '{date}' and user_id = '{user}'");
    let rows = world.query(&sql);
    assert_eq!(rows.len(), 1, "{user} on {date}: {rows:?}");
    rows[0].get(column).cloned().unwrap_or_default()
}

/// How many rows a night has of a user.
pub fn rows_of(world: &World, date: &str, user: &str) -> usize {
    let sql = format!("select * from features.pays where logical_date = '{date}' and user_id = '{user}'");
    world.query(&sql).len()
}
