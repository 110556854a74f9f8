//! Audits of what is about to be committed.

use std::collections::HashMap;

use datafusion::dataframe::DataFrame;
use datafusion::prelude::SessionContext;
use scorehouse::engine::plan::audits;
use scorehouse::engine::session::{Session, SessionOptions};

use super::compile;

const AUDITS: &str = "materialized: full
key: [id]
columns: {id: {doc: a}, user_id: {doc: a}, amount: {doc: a}, method: {doc: a}}
audits:
- not_null: [user_id, amount]
- unique: [user_id, method]
- accepted_values: {column: method, values: [card, \"o'clock\"]}
- relationships: {column: user_id, to: purchase_order.user_id}
- row_count: {min: 5, max: 6}
- {name: no_negative_amount, query: select * from this where amount < 0;}
";

const COLUMNS: &str = "(id, user_id, amount, method, _known_from, _known_until)";

async fn frame(ctx: &SessionContext, rows: &str, columns: &str) -> DataFrame {
    ctx.sql(&format!("select * from (values {rows}) as v{columns}")).await.unwrap()
}

async fn run(rows: &str) -> Vec<String> {
    let sql = "select payment_id as id, user_id, cast(amount as bigint) as amount, 'card' as method from payment";
    let (project, _, out) = compile(&[("sql/t.sql", sql), ("sql/t.yaml", AUDITS)]);
    assert_eq!(out, []);
    let table = &project.tables["t"];
    assert_eq!(table.audited_against(), ["purchase_order"]);
    let session = Session::new(&SessionOptions::default()).unwrap();
    let ctx = session.context();
    let others =
        frame(ctx, "('o1', 'u1', null), ('o2', 'u2', null), ('o3', 'u3', 7)", "(order_id, user_id, _known_until)")
            .await;
    let others = HashMap::from([("purchase_order".to_string(), others)]);
    let audited = audits::run(ctx, table, frame(ctx, rows, COLUMNS).await, &others).await.unwrap();
    let failures: Vec<_> = audited.into_iter().filter_map(|one| one.failure).collect();
    if let Some(error) = audits::into_error(table, failures.clone()) {
        assert_eq!(error.kind().code(), 3);
    }
    failures.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn good_rows_pass_whatever_closed_versions_say() {
    let good = "('1', 'u1', 1, 'card', 1, null), ('2', 'u2', 1, 'card', 1, null), ('3', 'u1', 2, 'o''clock', 1, null), \
                ('4', 'u2', 2, 'o''clock', 1, null), ('5', null, 0, null, 1, 2), ('6', 'u1', 0, null, 1, null)";
    assert_eq!(run(good).await, Vec::<String>::new());
}

#[tokio::test]
async fn bad_rows_are_counted_and_shown_where_the_audit_was_written() {
    let bad = "('1', 'u1', -1, 'card', 1, null), ('2', null, 1, 'card', 1, null), ('3', 'u1', null, 'card', 1, null), \
               ('3', 'u3', 1, 'cash', 1, null)";
    let found = run(bad).await;
    assert_eq!(
        found,
        [
            "sql/t.yaml:2:1: audit key is unique of t fails\n  found: 1 bad row, such as\n    {id: 3, rows: 2}\n  expected: none",
            "sql/t.yaml:5:11: audit not_null(user_id, amount) of t fails\n  found: 2 bad rows, such as\n    {id: 2, user_id: null, amount: 1, method: card}\n    {id: 3, user_id: u1, amount: null, method: card}\n  expected: none",
            "sql/t.yaml:6:9: audit unique(user_id, method) of t fails\n  found: 1 bad row, such as\n    {user_id: u1, method: card, rows: 2}\n  expected: none",
            "sql/t.yaml:7:18: audit accepted_values(method) of t fails\n  found: 1 bad row, such as\n    {id: 3, user_id: u3, amount: 1, method: cash}\n  expected: none",
            "sql/t.yaml:8:16: audit relationships(user_id → purchase_order.user_id) of t fails\n  found: 1 bad row, such as\n    {id: 3, user_id: u3, amount: 1, method: cash}\n  expected: none",
            "sql/t.yaml:9:12: audit row_count of t fails\n  found: 4 rows\n  expected: 5 to 6 rows",
            "sql/t.yaml:10:3: audit no_negative_amount of t fails\n  found: 1 bad row, such as\n    {id: 1, user_id: u1, amount: -1, method: card}\n  expected: none",
        ]
    );
}
