//! `given`/`expect` cases.

use scorehouse::define::diagnostic::Diagnostic;
use scorehouse::engine::plan::cases;

use super::compile;

const SQL: &str = "select p.payment_id, p.paid_at, p.amount, o.delivery_method, cast(p.amount as double) / 3 as third
from payment p left join purchase_order o on p.order_id = o.order_id and p.event_date = o.event_date";

async fn run(tests: &str) -> Vec<Diagnostic> {
    let docs = "columns: {payment_id: {doc: a}, paid_at: {doc: a}, amount: {doc: a}, delivery_method: {doc: a}, third: {doc: a}}";
    let yaml = format!("materialized: incremental\nevent_time: paid_at\nkey: payment_id\n{docs}\ntests:\n{tests}");
    let (project, catalog, out) = compile(&[("sql/t.sql", SQL), ("sql/t.yaml", &yaml)]);
    assert_eq!(out, []);
    cases::run(&catalog, &project.tables["t"]).await.unwrap()
}

#[tokio::test]
async fn values_take_the_types_of_the_schema_and_left_out_ones_are_null() {
    let found = run(
        "
- name: a partner on the same day
  given:
    payment:
      - {payment_id: p1, order_id: o1, amount: '10.00', paid_at: '2024-01-01T10:00:00Z'}
      - {payment_id: 2, order_id: o1, amount: 10, paid_at: '2024-01-02T00:00:00Z'}
      - {payment_id: p3}
    purchase_order: [{order_id: o1, delivery_method: courier, ordered_at: '2024-01-01 09:00:00'}]
  expect:
    - {payment_id: '2', amount: 10.0, delivery_method: null, event_date: 2024-01-02, third: 3.3333333333}
    - {payment_id: p3, amount: null}
    - {payment_id: p1, amount: '10.00', delivery_method: courier, paid_at: '2024-01-01T10:00:00Z', event_date: '2024-01-01', third: 3.3333333333}
- name: nothing of nothing
  given: {}
  expect: []
",
    )
    .await;
    assert_eq!(found, []);
}

#[tokio::test]
async fn a_failing_case_shows_both_sides() {
    let found = run("
- name: fine
  given: {payment: [{payment_id: p1}]}
  expect: [{payment_id: p1}]
- name: wrong
  given: {payment: [{payment_id: p1, amount: 1}, {payment_id: p2, amount: 2}]}
  expect: [{payment_id: p2, amount: 2}, {payment_id: p1, amount: 3}]
- name: too few
  given: {payment: [{payment_id: p1}, {payment_id: p1}]}
  expect: [{payment_id: p1}]
- name: too many
  given: {}
  expect: [{payment_id: p1}]
")
    .await;
    let text: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        [
            "sql/t.yaml:10:7: case `wrong` fails (1 other rows are as expected)\n  found: {payment_id: p1, amount: 1.00}\n  expected: {payment_id: p1, amount: 3.00}",
            "sql/t.yaml:13:7: case `too few` fails (1 other rows are as expected)\n  found: {payment_id: p1}\n  expected: no such row",
            "sql/t.yaml:16:7: case `too many` fails\n  found: no such row\n  expected: {payment_id: p1}",
        ]
    );
}

#[tokio::test]
async fn unknown_columns_and_wrong_values_are_placed() {
    let found = run("
- name: wrong
  given:
    payment:
      - {payment_id: p1, amout: 1}
      - {paid_at: yesterday, amount: [1]}
  expect: [{payment: p1, amount: much}]
")
    .await;
    let text: Vec<(usize, usize, &str)> = found.iter().map(|d| (d.line, d.column, d.message.as_str())).collect();
    assert_eq!(
        text,
        [
            (10, 26, "`amout` is no column of payment"),
            (11, 30, "`amount`: [1] is not of type decimal(18,2)"),
            (11, 10, "`paid_at`: `yesterday` is not of type timestamp"),
            (12, 13, "`payment` is no column of t"),
            (12, 26, "`amount`: `much` is not of type decimal(18,2)"),
        ],
        "{found:#?}"
    );
    assert_eq!(found[0].help.as_deref(), Some("did you mean `amount`?"));
}

#[tokio::test]
async fn a_hundred_cases_take_less_than_a_second() {
    let case = "- {name: c, given: {payment: [{payment_id: p1}]}, expect: [{payment_id: p1}]}\n";
    let start = scorehouse::clock::instant();
    assert_eq!(run(&case.repeat(100)).await, []);
    let took = start.elapsed();
    eprintln!("100 cases ran in {took:?}");
    assert!(took.as_millis() < 1000, "{took:?}");
}
