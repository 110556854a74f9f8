//! Whatever is wrong with the input: the message says what and where, the exit code is the documented one, and nothing
//! half-written can be seen in the lake.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};

use crate::small::{self, batch, deliver, two_days};
use crate::support::World;

const DAY: &str = "2024-02-29";

/// A world whose second day has this file beside the good one.
fn with_bad_file(bytes: &[u8]) -> World {
    let world = small::world();
    two_days(&world);
    std::fs::write(world.raw().join("pay/day=2024-02-29/bad.parquet"), bytes).unwrap();
    world
}

/// A good Parquet file's bytes.
fn parquet(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn good() -> RecordBatch {
    batch(&[("p9", Some("u9"), Some("2024-02-29T01:00:00Z"), 100)])
}

/// The source's table shows nothing of a load that failed.
fn nothing_visible(world: &World) {
    let said = world.run(&["query", "select count(*) as n from pay", "--json"]);
    assert!(said.code == 2 || said.stdout.trim() == r#"{"n":0}"#, "{said:#?}");
}

#[test]
fn a_missing_column_is_named_with_its_file() {
    let without = good().project(&[0, 1, 2]).unwrap();
    let world = with_bad_file(&parquet(&without));
    world.job("ingest", DAY).refuses(3, &["pay/day=2024-02-29/bad.parquet", "`amount`", "decimal(18,2)"]);
    nothing_visible(&world);
}

#[test]
fn a_wrong_type_is_named_with_what_was_found() {
    let number = Arc::new(Int32Array::from(vec![1])) as ArrayRef;
    let columns = good();
    let mut arrays = columns.columns().to_vec();
    arrays[0] = number;
    let names = ["id", "user_id", "paid_at", "amount"];
    let wrong = RecordBatch::try_from_iter(names.into_iter().zip(arrays)).unwrap();
    let world = with_bad_file(&parquet(&wrong));
    world.job("ingest", DAY).refuses(3, &["bad.parquet", "`id`", "string", "Int32"]);
    nothing_visible(&world);
}

#[test]
fn corrupt_truncated_and_empty_files_are_named_and_commit_nothing() {
    let bytes = parquet(&good());
    let mut corrupt = bytes.clone();
    let middle = corrupt.len() / 2;
    corrupt[..middle].fill(0x5a);
    for bad in [b"this is no parquet".to_vec(), bytes[..bytes.len() / 2].to_vec(), Vec::new(), corrupt] {
        let world = with_bad_file(&bad);
        world.job("ingest", DAY).refuses(3, &["pay/day=2024-02-29/bad.parquet"]);
        nothing_visible(&world);
    }
}

#[test]
fn after_the_bad_file_is_replaced_the_same_command_succeeds() {
    let world = with_bad_file(b"this is no parquet");
    world.job("ingest", DAY).refuses(3, &["bad.parquet"]);
    std::fs::write(world.raw().join("pay/day=2024-02-29/bad.parquet"), parquet(&good())).unwrap();
    world.job("ingest", DAY).ok();
    assert_eq!(world.query("select count(*) as n from pay")[0]["n"], 6);
}

#[test]
fn a_parquet_without_rows_is_fine() {
    let world = with_bad_file(&parquet(&good().slice(0, 0)));
    world.job("ingest", DAY).ok();
    assert_eq!(world.query("select count(*) as n from pay")[0]["n"], 5);
}

#[test]
fn rows_that_break_the_contract_go_to_quarantine_with_their_reason() {
    let world = small::world();
    two_days(&world);
    world.write("sql/sources.yaml", &small::SOURCES.replace("    key:", "    max_bad_share: 0.5\n    key:"));
    let bad = batch(&[("p7", Some("u7"), None, 100), ("p8", Some("u8"), Some("2024-02-29T02:00:00Z"), 700)]);
    deliver(&world, "day=2024-02-29/b.parquet", &bad);
    let line = world.job("ingest", DAY).ok().line("tables/pay");
    assert_eq!((&line["details"]["quarantined"], &line["rows"]), (&1.into(), &6.into()));
    let rows = world.query("select file, row, reason from quarantine.pay");
    assert_eq!(rows.len(), 1);
    assert!(rows[0]["reason"].as_str().unwrap().contains("paid_at"), "{rows:?}");
    // Beyond the declared share the run fails, and says which share it was.
    let world = small::world();
    deliver(&world, "day=2024-02-29/b.parquet", &bad);
    world.job("ingest", DAY).refuses(3, &["pay", "paid_at"]);
    nothing_visible(&world);
}

#[test]
fn an_empty_day_is_a_warning() {
    let world = small::world();
    two_days(&world);
    for job in ["ingest", "tables", "features"] {
        world.job(job, "2024-03-01").ok();
    }
    let rows = world.query("select payments_1d, payments_30d from features.pays where user_id = 'u1'");
    assert_eq!((&rows[0]["payments_1d"], &rows[0]["payments_30d"]), (&0.into(), &3.into()));
}

#[test]
fn a_source_without_any_file_says_where_it_looked() {
    small::world().job("ingest", DAY).refuses(3, &["pay", "pay/day={date}/*.parquet"]);
}

#[test]
fn an_unknown_date_is_a_usage_error() {
    let world = small::world();
    for date in ["2024-02-30", "yesterday", ""] {
        world.job("ingest", date).refuses(2, &["2024-03-31"]);
    }
    world.run(&["nightly"]).refuses(2, &["--date"]);
}

#[test]
fn an_unwritable_lake_says_so_and_may_be_retried() {
    let world = small::world();
    two_days(&world);
    std::fs::write(world.lake(), "a file where the lake should be").unwrap();
    world.job("ingest", DAY).refuses(75, &["lake"]);
    assert_eq!(std::fs::read_to_string(world.lake()).unwrap(), "a file where the lake should be");
}

/// `check` on the small project with one file changed.
fn check(path: &str, from: &str, to: &str, says: &[&str]) {
    let world = small::world();
    let (_, text) = small::files().into_iter().find(|(p, _)| *p == path).unwrap();
    assert!(text.contains(from), "{from} is not in {path}");
    world.write(path, &text.replace(from, to));
    let project = world.project.display().to_string();
    world.run(&["check", "--project", &project]).refuses(2, says);
    // A night refuses it too, before it touches anything.
    two_days(&world);
    world.job("nightly", DAY).refuses(2, says);
    assert!(world.versions().is_empty());
}

#[test]
fn definitions_that_are_wrong_are_refused_with_line_and_help() {
    check(
        "features/pays.yaml",
        "over: [1d, 30d]}\n  - {fn: count",
        "ovr: [1d]}\n  - {fn: count",
        &["features/pays.yaml:6:", "unknown key `ovr`", "did you mean `over`?"],
    );
    check(
        "features/pays.yaml",
        "of: amount",
        "of: amuont",
        &["features/pays.yaml:6:", "amuont", "did you mean `amount`?"],
    );
    check(
        "features/pays.yaml",
        "table: payments",
        "table: payment",
        &["features/pays.yaml:4:1", "did you mean `payments`?"],
    );
    check("sql/marts/payments.sql", "from pay", "form pay", &["sql/marts/payments.sql:1:"]);
    check("sql/marts/payments.sql", "amount from", "amonut from", &["sql/marts/payments.sql:1:", "amonut", "amount"]);
    check(
        "sql/marts/payments.yaml",
        "key: [id]",
        "key: [ide]",
        &["sql/marts/payments.yaml:3:", "ide", "did you mean `id`?"],
    );
    check("sql/sources.yaml", "id: string", "id: sting", &["sql/sources.yaml:8:", "did you mean `string`?"]);
}

#[test]
fn a_case_that_fails_shows_both_sides() {
    let world = small::world();
    let wrong = small::PAYMENTS.replace("expect: [{id: p1, amount: '10.00'}]", "expect: [{id: p1, amount: '11.00'}]");
    world.write("sql/marts/payments.yaml", &wrong);
    let project = world.project.display().to_string();
    let says = ["sql/marts/payments.yaml:", "a payment stays a payment", "10.00", "11.00"];
    world.run(&["check", "--project", &project]).refuses(2, &says);
}

#[test]
fn all_errors_are_reported_at_once() {
    let world = small::world();
    world.write("features/pays.yaml", &small::FEATURES.replace("of: amount", "of: amuont"));
    world.write("sql/marts/payments.yaml", &small::PAYMENTS.replace("key: [id]", "key: [ide]"));
    let project = world.project.display().to_string();
    let says = ["features/pays.yaml", "sql/marts/payments.yaml", "errors in the definitions"];
    world.run(&["check", "--project", &project]).refuses(2, &says);
}

#[test]
fn tables_that_read_each_other_in_a_cycle_are_named() {
    let world = small::world();
    world.write("sql/marts/people.sql", "select user_id from payments group by user_id");
    world.write("sql/marts/payments.sql", "select p.* from pay p join people using (user_id)");
    let project = world.project.display().to_string();
    world.run(&["check", "--project", &project]).refuses(2, &["cycle", "payments", "people", "→"]);
}

#[test]
fn a_model_that_names_an_unknown_feature_is_refused() {
    let model = "model: m\nentity: user_id\nspine: {population: people, every: 7d, history: 30d}\n\
        label: {table: payments, horizon: 7d}\ninputs: [pays.amount_sun_30d]\nhead: {kind: lightgbm}\n\
        validation: {kind: time, test: 7d, valid: 7d}\ndecisions: [{action: a}]\n";
    let world = small::world();
    world.write("models/m.yaml", model);
    let project = world.project.display().to_string();
    let says = ["models/m.yaml:5:", "pays.amount_sun_30d", "did you mean `pays.amount_sum_30d`?"];
    world.run(&["check", "--project", &project]).refuses(2, &says);
}

#[test]
fn a_failing_audit_commits_nothing() {
    let world = small::world();
    two_days(&world);
    deliver(&world, "day=2024-02-29/b.parquet", &batch(&[("p6", Some("u6"), Some("2024-02-29T09:00:00Z"), -5)]));
    world.job("ingest", DAY).ok();
    world
        .job("tables", DAY)
        .refuses(3, &["sql/marts/payments.yaml:", "positive", "p6", "nothing of payments was committed"]);
    let said = world.run(&["query", "select count(*) as n from payments", "--json"]);
    assert!(said.code == 2 || said.stdout.trim() == r#"{"n":0}"#, "{said:#?}");
}

#[test]
fn a_project_that_is_not_there_and_a_profile_that_is_not_there_say_so() {
    let world = small::world();
    world.run(&["check", "--project", "/no/such/project"]).refuses(2, &["/no/such/project", "--project"]);
    let said = crate::support::scorehouse(&["ingest", "--date", DAY, "--profile", "/no/such/profile.yaml"]).output();
    crate::support::said(said.unwrap()).refuses(2, &["/no/such/profile.yaml", "--profile"]);
}

#[test]
fn a_query_that_is_wrong_helps() {
    let world = small::world();
    two_days(&world);
    world.job("ingest", DAY).ok();
    world.run(&["query", "select * from pya"]).refuses(2, &["pya", "did you mean `pay`?"]);
    world.run(&["query", "select amuont from pay"]).refuses(2, &["amuont"]);
    world.run(&["query", "drop table pay"]).refuses(2, &[]);
    let rows = world.query("select id, user_id from pay where user_id is null");
    assert_eq!(rows.len(), 1);
    let text = StringArray::from(vec!["p5"]);
    assert_eq!(rows[0]["id"], text.value(0));
}
