//! A project small enough to see through: payments of a few users, one table, one feature group, one sequence.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use parquet::arrow::ArrowWriter;

use crate::support::World;

pub const SOURCES: &str = "\
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
      amount: {type: 'decimal(18,2)', unit: PLN}
";

pub const PEOPLE_SQL: &str = "select user_id from pay where user_id is not null group by user_id\n";
pub const PEOPLE: &str = "\
description: Whoever paid.
grain: one row per user
key: [user_id]
materialized: full
columns:
  user_id: {doc: The user.}
audits:
  - unique: [user_id]
";

pub const PAYMENTS_SQL: &str = "select id, user_id, paid_at, amount from pay\n";
pub const PAYMENTS: &str = "\
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
audits:
  - not_null: [id]
  - {name: positive, query: select * from this where amount <= 0}
tests:
  - name: a payment stays a payment
    given:
      pay: [{id: p1, user_id: u1, paid_at: '2024-01-01T10:00:00Z', amount: '10.00'}]
    expect: [{id: p1, amount: '10.00'}]
";

pub const FEATURES: &str = "\
group: pays
entity: user_id
entities: people
table: payments
aggregations:
  - {of: amount, fn: [sum, mean, max, last], over: [1d, 30d]}
  - {fn: count, as: payments, over: [1d, 30d]}
  - {fn: time_since_last, unit: hours}
derived:
  mean_by_hand_30d: amount_sum_30d / nullif(payments_30d, 0)
";

pub const SEQUENCE: &str = "\
sequence: trail
entity: user_id
entities: people
table: payments
length: 3
fields:
  - amount
  - {fn: since_previous, as: hours_since_previous, unit: hours}
";

/// The definitions, as files of a project.
pub fn files() -> Vec<(&'static str, &'static str)> {
    vec![
        ("sql/sources.yaml", SOURCES),
        ("sql/marts/people.sql", PEOPLE_SQL),
        ("sql/marts/people.yaml", PEOPLE),
        ("sql/marts/payments.sql", PAYMENTS_SQL),
        ("sql/marts/payments.yaml", PAYMENTS),
        ("features/pays.yaml", FEATURES),
        ("features/trail.yaml", SEQUENCE),
    ]
}

pub fn world() -> World {
    World::with(&files())
}

/// (id, user, instant, amount in hundredths)
pub type Pay<'a> = (&'a str, Option<&'a str>, Option<&'a str>, i128);

pub fn micros(instant: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(instant).unwrap().timestamp_micros()
}

pub fn batch(rows: &[Pay]) -> RecordBatch {
    let times: TimestampMicrosecondArray = rows.iter().map(|row| row.2.map(micros)).collect();
    let amounts: Decimal128Array = rows.iter().map(|row| Some(row.3)).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(rows.iter().map(|row| Some(row.0)).collect::<StringArray>()) as ArrayRef, true),
        ("user_id", Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>()), true),
        ("paid_at", Arc::new(times.with_timezone("UTC")), true),
        ("amount", Arc::new(amounts.with_precision_and_scale(18, 2).unwrap()), true),
    ])
    .unwrap()
}

/// Writes a raw file, `pay/day=…/name.parquet`.
pub fn deliver(world: &World, file: &str, batch: &RecordBatch) {
    let path = world.raw().join("pay").join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    write(&path, batch);
}

pub fn write(path: &Path, batch: &RecordBatch) {
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

/// Two days of payments.
pub fn two_days(world: &World) {
    let first = [
        ("p1", Some("u1"), Some("2024-02-28T10:00:00Z"), 1000),
        ("p2", Some("u2"), Some("2024-02-28T11:00:00Z"), 250),
        ("p3", Some("u1"), Some("2024-02-28T23:59:59.999999Z"), 333),
    ];
    let second =
        [("p4", Some("u1"), Some("2024-02-29T00:00:00Z"), 5000), ("p5", None, Some("2024-02-29T12:00:00Z"), 1)];
    deliver(world, "day=2024-02-28/a.parquet", &batch(&first));
    deliver(world, "day=2024-02-29/a.parquet", &batch(&second));
}
