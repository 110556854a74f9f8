//! SQL-defined features: a query over tables and a spine, from its text to the lake and to a model's training set.

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
