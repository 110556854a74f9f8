//! SQL-defined features: a query over tables and a spine, from its text to the lake and to a model's training set.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use scorehouse::define::sql_features::RawSqlFeatures;
use scorehouse::define::{SqlFeatures, yaml};
use scorehouse::engine::session::{Session, SessionOptions};
use scorehouse::engine::sql_features;
use serde_json::{Value, json};

use crate::lender::{self, NIGHT};
use crate::support::World;

const QUERY: &str = "features/since_application.sql";
const TWIN: &str = "features/since_application.yaml";

fn stored(world: &World, date: &str) -> Vec<Value> {
    world.query(&format!(
        "select user_id, payments, cast(amount as varchar) as amount from features.since_application \
         where logical_date = '{date}' order by user_id"
    ))
}

#[test]
fn a_night_stores_a_row_for_everybody() {
    let world = lender::world();
    lender::march(&world);
    lender::night(&world, NIGHT);
    // u1 applied again on the 25th and has paid nothing since, u2 paid once since the 10th.
    let expected = [
        json!({"user_id": "u1", "payments": 0}),
        json!({"user_id": "u2", "payments": 1, "amount": "5.00"}),
        json!({"user_id": "u3", "payments": 0}),
    ];
    assert_eq!(stored(&world, NIGHT), expected);
    let versions = world.versions();
    world.job("features", NIGHT).ok();
    assert_eq!(world.versions(), versions);
}

#[test]
fn what_was_not_known_changes_no_earlier_night() {
    let world = lender::world();
    lender::march(&world);
    lender::night(&world, "2024-03-16");
    let expected = [
        json!({"user_id": "u1", "payments": 2, "amount": "50.00"}),
        json!({"user_id": "u2", "payments": 1, "amount": "5.00"}),
    ];
    assert_eq!(stored(&world, "2024-03-16"), expected);
    // A late payment and a correction, both known from the 17th on.
    lender::payments(&world, "2024-03-17", &[("p6", "u2", "de1", "credit", "2024-03-14T10:00:00Z", 100, false)]);
    lender::payments(&world, "2024-03-17", &[("p5", "u2", "de1", "credit", "2024-03-15T10:00:00Z", 600, false)]);
    lender::night(&world, "2024-03-17");
    world.job("features", "2024-03-16").ok();
    assert_eq!(stored(&world, "2024-03-16"), expected);
    let u2 = json!({"user_id": "u2", "payments": 2, "amount": "7.00"});
    assert_eq!(stored(&world, "2024-03-17")[1], u2);
}

#[test]
fn a_model_reads_them_at_its_own_instants() {
    let world = lender::world();
    lender::march(&world);
    lender::crowd(&world);
    lender::night(&world, "2024-04-30");
    world.job("train", "2024-04-30").ok();
    let rows = world.query(
        "select loan_id, since_application__payments as payments, \
         cast(since_application__amount as varchar) as amount, payments__payments_30d as of_group \
         from training_sets.default where loan_id like 'l%' order by loan_id",
    );
    let expected = [
        json!({"loan_id": "l1", "of_group": 1}),
        json!({"loan_id": "l2", "of_group": 1}),
        json!({"loan_id": "l3", "payments": 2, "amount": "50.00", "of_group": 3}),
        json!({"loan_id": "l4", "of_group": 0}),
    ];
    assert_eq!(rows, expected);
}

#[test]
fn two_rows_for_one_spine_row_are_an_error_that_names_the_entity() {
    let world = lender::copy();
    world.write(QUERY, "select s._row, 1 as payments, p.amount from spine s join payment p on p.user_id = s.user_id");
    lender::march(&world);
    for job in ["ingest", "tables"] {
        world.job(job, NIGHT).ok();
    }
    let says = ["since_application has more than one row for user_id = u1, as_of = 2024-04-01", "keep one of them"];
    world.job("features", NIGHT).refuses(3, &says);
    assert_eq!(world.query("select count(*) as n from features.since_application"), [json!({"n": 0})]);
}

/// What `check` says about a query and its documentation.
fn refuses(query: &str, columns: &str, says: &[&str]) {
    let world = lender::copy();
    world.write(QUERY, query);
    let head = "sql_features: since_application\nentity: user_id\nentities: users\n";
    world.write(TWIN, &format!("{head}columns: {{{columns}}}\n"));
    world.write("models/default.yaml", "");
    std::fs::remove_file(world.project.join("models/default.yaml")).unwrap();
    world.run(&["check", "--project", world.project.to_str().unwrap()]).refuses(2, says);
}

#[test]
fn what_does_not_fit_is_said_in_the_query_with_its_line() {
    let a = "a: {doc: A.}";
    let sql = |line: usize, column: usize| format!("{QUERY}:{line}:{column}:");
    refuses(
        "select s._row,\n  s.usr_id as a\nfrom spine s",
        a,
        &[&sql(2, 3), "unknown column `usr_id`", "did you mean `user_id`?"],
    );
    refuses("select s._row, 1 as a\nfrom spine s, paymnt", a, &[&sql(2, 15), "did you mean `payment`?"]);
    refuses("select s._row, 1 as a\nfrom spin s", a, &["does not read the spine"]);
    refuses("select 1 as a\nfrom spine s", a, &["no `_row`", "select s._row"]);
    refuses("select s._row, 1 as a,\n 2 as b from spine s", a, &[&sql(2, 7), "`b` is not documented"]);
    refuses("select s._row, 1 as b from spine s", "b: {doc: B.}, a: {doc: A.}", &[TWIN, "gives no column `a`"]);
    refuses("select s._row, now() as a from spine s", a, &["`now()` gives another result at every run"]);
    refuses("select s._row, [1] as a from spine s", a, &["`a` has a type that features cannot have"]);
    refuses("select s._row, 1 as a from spine s", "a: {}", &["`a` has no documentation"]);
    refuses("select s._row, 1 as as_of from spine s", "as_of: {doc: A.}", &["a column of the spine, not a feature"]);
    refuses("select s._row, 1 as a from spine s\nwhere )", a, &[&sql(2, 7), "SQL that does not parse"]);
}

#[test]
fn names_are_shared_with_groups_and_files_come_in_pairs() {
    let world = lender::copy();
    world.write("features/payments.sql", "select _row, 1 as a from spine");
    world.write("features/other.sql", "select _row, 1 as a from spine");
    let twin = "sql_features: payments\nentity: user_id\nentities: users\ncolumns: {a: {doc: A.}}\n";
    world.write("features/other.yaml", twin);
    world.write("features/third.yaml", &twin.replace("payments", "third"));
    world.write("features/fourth.sql", "select _row, 1 as a from spine");
    let said = world.run(&["check", "--project", world.project.to_str().unwrap()]);
    said.refuses(
        2,
        &[
            "features/other.yaml:1:1: there are other features called payments",
            "features/third.sql",
            "features/fourth.sql: a query without its twin",
            "features/payments.sql: a query that features/payments.yaml does not name",
        ],
    );
}

// ---- the engine alone ---------------------------------------------------------------------------------------------

const HONEST: &str = "select s._row, count(*) as n, sum(p.amount) as total from spine s join payment p \
    on p.user_id = s.user_id and p.at < s.as_of and p._known_from <= s.as_of \
    and (p._known_until is null or s.as_of < p._known_until) group by s._row";
const LEAKING: &str = "select s._row, count(*) as n, sum(p.amount) as total from spine s join payment p \
    on p.user_id = s.user_id and p.at < s.as_of group by s._row";

fn definition(sql: &str) -> SqlFeatures {
    let text = "sql_features: f\nentity: user_id\nentities: users\ncolumns: {n: {doc: N.}, total: {doc: T.}}\n";
    let mut out = Vec::new();
    let (raw, origin) = yaml::parse::<RawSqlFeatures>("features/f.yaml", text, &mut out).unwrap();
    let features = SqlFeatures::validate(raw, "features/f.sql", sql, &origin, &mut out);
    assert_eq!(out, []);
    features.unwrap()
}

/// (user, instant, known from, amount)
type Paid = (i64, i64, i64, i64);

fn payments(rows: &[Paid]) -> RecordBatch {
    let stamps = |values: Vec<Option<i64>>| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
    };
    RecordBatch::try_from_iter_with_nullable([
        ("user_id", Arc::new(rows.iter().map(|r| r.0).collect::<Int64Array>()) as ArrayRef, true),
        ("at", stamps(rows.iter().map(|r| Some(r.1)).collect()), true),
        ("amount", Arc::new(rows.iter().map(|r| r.3).collect::<Int64Array>()), true),
        ("_known_from", stamps(rows.iter().map(|r| Some(r.2)).collect()), true),
        ("_known_until", stamps(vec![None; rows.len()]), true),
    ])
    .unwrap()
}

/// Every user's features at one instant, as text.
async fn at(instant: i64, sql: &str, rows: &[Paid], options: &SessionOptions) -> Vec<String> {
    let session = Session::new(options).unwrap();
    let users = 0..500_i64;
    let as_of = TimestampMicrosecondArray::from(vec![instant; 500]).with_timezone("UTC");
    let numbers: ArrayRef = Arc::new(users.clone().rev().collect::<Int64Array>());
    let spine = RecordBatch::try_from_iter([
        ("user_id", Arc::new(users.collect::<Int64Array>()) as ArrayRef),
        ("as_of", Arc::new(as_of)),
        ("_row", numbers),
    ]);
    let spine = session.context().read_batch(spine.unwrap()).unwrap();
    let events = session.context().read_batch(payments(rows)).unwrap();
    let tables = HashMap::from([("payment".to_string(), events)]);
    let stream = sql_features::compute(&session, &definition(sql), tables, spine).await.unwrap();
    let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
    let text = pretty_format_batches(&batches).unwrap().to_string();
    text.lines().map(str::to_string).collect()
}

#[tokio::test]
async fn threads_memory_and_later_rows_change_nothing_and_a_leak_shows() {
    let known: Vec<Paid> = (0..40_000).map(|i| (i * 7919 % 450, i % 1000, i % 1000 + 1, i % 13)).collect();
    let plain = SessionOptions::default();
    let expected = at(1000, HONEST, &known, &plain).await;
    assert_eq!(expected.len(), 500 + 4, "a row for everybody, and the frame of the table");
    let limited = SessionOptions { threads: 3, memory_limit: Some(48 << 20), ..plain.clone() };
    assert_eq!(at(1000, HONEST, &known, &limited).await, expected);
    let mut perturbed = known.clone();
    perturbed.extend((0..1000).flat_map(|i| [(i % 450, 1000 + i, 1000, 5), (i % 450, i, 1001 + i, 5)]));
    assert_eq!(at(1000, HONEST, &perturbed, &plain).await, expected);
    assert_ne!(at(1000, LEAKING, &perturbed, &plain).await, at(1000, LEAKING, &known, &plain).await);
}
