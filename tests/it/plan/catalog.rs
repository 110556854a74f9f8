//! What compiling a project says: types of good ones, and everything that is wrong with bad ones.

use arrow::datatypes::DataType;
use scorehouse::define::diagnostic::Diagnostic;
use scorehouse::define::types::timestamp;

use super::{compile, one_table, parse};

const PAY: &str = "materialized: full";

fn shown(out: &[Diagnostic]) -> String {
    out.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n---\n")
}

fn only(out: &[Diagnostic]) -> &Diagnostic {
    assert_eq!(out.len(), 1, "{}", shown(out));
    &out[0]
}

#[test]
fn a_source_is_its_columns_without_dropped_pii_and_its_day() {
    let (_, catalog, out) = compile(&[]);
    assert_eq!(shown(&out), "");
    let schema = catalog.relation_schema("payment").unwrap();
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["payment_id", "user_id", "order_id", "amount", "phone", "paid_at", "event_date"]);
    assert_eq!(schema.field_with_name("phone").unwrap().data_type(), &DataType::Utf8);
    assert_eq!(schema.field_with_name("amount").unwrap().metadata()["comment"], "What was paid. [PLN]");
    assert_eq!(schema.field_with_name("event_date").unwrap().data_type(), &DataType::Date32);
    assert!(catalog.relation_schema("country").unwrap().field_with_name("event_date").is_err());
    let stored = catalog.storage_schema("country").unwrap();
    assert_eq!(stored.field(3).name(), "_known_until");
    assert!(!stored.field_with_name("_known_from").unwrap().is_nullable());
}

#[test]
fn a_table_has_its_queries_columns_in_stored_types_and_its_day() {
    let (_, catalog, out) = one_table(
        "select payment_id, paid_at, event_date, cast(paid_at as timestamp) as naive, 1 as n, 'x' as s, \
         cast(amount as real) as r, count(*) over (partition by event_date) as rows from payment",
        "materialized: incremental\nevent_time: paid_at\nkey: [payment_id]",
        "payment_id paid_at naive n s r rows",
    );
    assert_eq!(shown(&out), "");
    let schema = catalog.relation_schema("t").unwrap();
    let types: Vec<(&str, &DataType)> = schema.fields().iter().map(|f| (f.name().as_str(), f.data_type())).collect();
    let at = timestamp();
    assert_eq!(
        types,
        [
            ("payment_id", &DataType::Utf8),
            ("paid_at", &at),
            ("naive", &at),
            ("n", &DataType::Int64),
            ("s", &DataType::Utf8),
            ("r", &DataType::Float64),
            ("rows", &DataType::Int64),
            ("event_date", &DataType::Date32),
        ]
    );
    assert_eq!(schema.field(0).metadata()["comment"], "A column.");
}

#[test]
fn unknown_columns_are_all_placed_and_the_nearest_name_offered() {
    let (_, _, out) = one_table("select amuont,\n  payment_id,\n  usr_id\nfrom payment", PAY, "payment_id");
    let places: Vec<_> = out.iter().map(|d| (d.file.as_str(), d.line, d.column, d.help.as_deref())).collect();
    assert_eq!(
        places,
        [("sql/t.sql", 1, 8, Some("did you mean `amount`?")), ("sql/t.sql", 3, 3, Some("did you mean `user_id`?"))],
        "{}",
        shown(&out)
    );
    let (_, _, out) = one_table("select p.payment_id from payment p\nwhere p.emial is null", PAY, "payment_id");
    assert_eq!((only(&out).line, only(&out).column), (2, 7), "{}", shown(&out));
    // Dropped at ingest, so it is simply not there.
    let (_, _, out) = one_table("select email from payment", PAY, "email");
    assert!(only(&out).message.contains("unknown column `email`"), "{}", shown(&out));
    assert!(one_table("select _known_from as x from payment", PAY, "x").2[0].message.contains("unknown column"));
}

#[test]
fn type_errors_and_wrong_functions_are_found() {
    for (sql, says) in [
        ("select paid_at + amount as x from payment", "Cannot"),
        ("select payment_id as x from payment where amount", "boolean"),
        ("select no_such(amount) as x from payment", "no_such"),
        ("select sum(payment_id, 2) as x from payment", "sum"),
        (
            "select user_id as x from payment p join purchase_order o on p.order_id = o.order_id",
            "more than one relation",
        ),
        ("select now() as x from payment", "another result at every run"),
        ("select null as x from payment", "type that is not stored"),
        ("select paid_at - paid_at as x from payment", "type that is not stored"),
        ("select payment_id as x, user_id as x from payment", "`x`"),
        ("select payment_id as \"X y\" from payment", "`X y`"),
        ("select payment_id from payment union all select 1, 2", "different number of columns"),
    ] {
        let (_, catalog, out) = one_table(sql, PAY, "x");
        assert!(only(&out).message.to_lowercase().contains(&says.to_lowercase()), "{sql}: {}", shown(&out));
        assert_eq!(only(&out).file, "sql/t.sql", "{sql}");
        assert!(catalog.relation_schema("t").is_none(), "{sql}");
    }
}

#[test]
fn a_twin_names_output_columns_only_and_documents_all() {
    let (_, _, out) = one_table(
        "select payment_id, amount, paid_at from payment",
        "materialized: full\nkey: [payment]\ntie_breaker: [amont]\nevent_time: paid\naudits:\n\
         - not_null: [payment_id, amnt]\n- unique: [id]\n- accepted_values: {column: method, values: [a]}\n\
         - relationships: {column: payment_id, to: purchase_order.id}\n- relationships: {column: amount, to: nowhere.id}\n\
         - relationships: {column: amount, to: purchase_order.order_id}\n- {name: q, query: 'select * from this where amuont > 0'}",
        "payment_id amout",
    );
    let found: Vec<(usize, &str)> = out.iter().map(|d| (d.line, d.message.as_str())).collect();
    let expect = [
        (2, "`key` of t"),
        (3, "`tie_breaker` of t"),
        (4, "`event_time` of t"),
        (15, "`columns` of t names no column"),
        (13, "columns without documentation"),
        (6, "`not_null` of t"),
        (7, "`unique` of t"),
        (8, "`accepted_values` of t"),
        (9, "`id` is no column of purchase_order"),
        (10, "no table `nowhere`"),
        (11, "different types"),
        (12, "unknown column `amuont`"),
    ];
    assert_eq!(found.len(), expect.len(), "{}", shown(&out));
    for ((line, message), (at, says)) in found.iter().zip(expect) {
        assert!(*line == at && message.contains(says), "{line} {message}, expected {at} {says}");
    }
    let undocumented = out.iter().find(|d| d.message.contains("without documentation")).unwrap();
    assert_eq!(undocumented.found.as_deref(), Some("amount, paid_at"));
    let (_, _, out) =
        one_table("select payment_id from payment", "materialized: full\nevent_time: payment_id", "payment_id");
    assert_eq!((only(&out).line, only(&out).expected.as_deref()), (2, Some("timestamp")), "{}", shown(&out));
}

#[test]
fn readers_of_a_failed_table_are_not_blamed() {
    let (_, _, out) = compile(&[
        ("sql/a.sql", "select nothing from payment"),
        ("sql/a.yaml", PAY),
        ("sql/b.sql", "select x from a"),
        ("sql/b.yaml", PAY),
        ("sql/c.sql", "select nothing_either from b"),
        ("sql/c.yaml", PAY),
        ("sql/d.sql", "select also_nothing from payment"),
        ("sql/d.yaml", PAY),
    ]);
    let files: Vec<&str> = out.iter().map(|d| d.file.as_str()).collect();
    assert_eq!(files, ["sql/a.sql", "sql/d.sql"], "{}", shown(&out));
}

#[test]
fn models_are_checked_against_their_tables() {
    let model = "model: credit
entity: usr
spine:
  table: payment
  as_of: user_id
  key: [payment_id]
  attributes: [amount, mood]
  where: amount + 1
label:
  table: purchase_order
  match: [payment_id]
  where: delivery_method = nothing
  eligible: amuont > 0
  horizon: 90d
inputs: [spine.amount]
head: {kind: lightgbm}
validation: {kind: time, test: 60d, valid: 45d}
decisions: [{action: a}]
";
    let (_, _, out) = compile(&[("models/credit.yaml", model)]);
    let found: Vec<(usize, &str)> = out.iter().map(|d| (d.line, d.message.as_str())).collect();
    let expect = [
        (2, "`entity` of model credit"),
        (8, "is no condition"),
        (7, "`spine.attributes` of model credit"),
        (5, "is no instant"),
        (13, "unknown column `amuont`"),
        (11, "`label.match` of model credit"),
        (12, "unknown column `nothing`"),
    ];
    assert_eq!(found.len(), expect.len(), "{}", shown(&out));
    for ((line, message), (at, says)) in found.iter().zip(expect) {
        assert!(*line == at && message.contains(says), "{line} {message}, expected {at} {says}\n{}", shown(&out));
    }
}

#[test]
fn compiling_a_project_of_twenty_tables_is_quick() {
    let mut files = Vec::new();
    for i in 0..20 {
        let from = if i == 0 { "payment".to_string() } else { format!("t{}", i - 1) };
        let sql = format!(
            "with o as (select order_id, max(ordered_at) as ordered_at from purchase_order group by order_id)
             select p.payment_id, p.user_id, p.order_id, p.amount, p.paid_at,
               row_number() over (partition by p.user_id order by p.paid_at) as n
             from {from} p left join o on p.order_id = o.order_id where p.amount > 0"
        );
        files.push((format!("sql/t{i}.sql"), sql));
        let docs = "columns: {payment_id: {doc: a}, user_id: {doc: a}, order_id: {doc: a}, amount: {doc: a}, paid_at: {doc: a}, n: {doc: a}}";
        files.push((
            format!("sql/t{i}.yaml"),
            format!("materialized: full\nevent_time: paid_at\nkey: payment_id\n{docs}"),
        ));
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let (project, parsed) = parse(&files);
    assert_eq!(parsed, []);
    let start = scorehouse::clock::instant();
    let (_, out) = scorehouse::engine::plan::catalog::Catalog::compile(&project);
    let took = start.elapsed();
    assert_eq!(shown(&out), "");
    eprintln!("20 tables compiled in {took:?}");
    assert!(took.as_millis() < 1000, "{took:?}");
}
