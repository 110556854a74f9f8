//! SQL tables from definitions to rows: types, known-from, versions, audits and cases.

mod audits;
mod cases;
mod catalog;
mod known;
mod local;
mod versions;

use scorehouse::define::diagnostic::Diagnostic;
use scorehouse::define::{Project, TextFile};
use scorehouse::engine::plan::catalog::Catalog;

/// Two event types, one static source.
const SOURCES: &str = "
sources:
  payment:
    location: payment/day={date}/*.parquet
    event_time: paid_at
    key: [payment_id]
    columns:
      payment_id: string
      user_id: {type: string, nullable: true, doc: Who pays.}
      order_id: {type: string, nullable: true}
      amount: {type: 'decimal(18,2)', nullable: true, unit: PLN, doc: What was paid.}
      email: {type: string, pii: drop}
      phone: {type: int64, pii: pseudonymise}
      paid_at: timestamp
  purchase_order:
    location: purchase_order/day={date}/*.parquet
    event_time: ordered_at
    key: [order_id]
    columns: {order_id: string, user_id: string, delivery_method: string, ordered_at: timestamp}
  country:
    location: country/*.parquet
    static: true
    key: [code]
    columns: {code: string, name: string}
";

/// A project of the sources above and the given files.
fn parse(files: &[(&str, &str)]) -> (Project, Vec<Diagnostic>) {
    let all = std::iter::once(&("sql/sources.yaml", SOURCES)).chain(files);
    let files: Vec<TextFile> =
        all.map(|(path, text)| TextFile { path: path.to_string(), text: text.to_string() }).collect();
    Project::parse(&files)
}

/// The same, compiled; parsing must find nothing wrong.
fn compile(files: &[(&str, &str)]) -> (Project, Catalog, Vec<Diagnostic>) {
    let (project, parsed) = parse(files);
    assert_eq!(parsed, []);
    let (catalog, out) = Catalog::compile(&project);
    (project, catalog, out)
}

/// One table called `t`, whose columns are documented as `docs` lists them.
fn one_table(sql: &str, head: &str, docs: &str) -> (Project, Catalog, Vec<Diagnostic>) {
    let docs: Vec<String> = docs.split_whitespace().map(|name| format!("  {name}: {{doc: A column.}}\n")).collect();
    let columns = if docs.is_empty() { String::new() } else { format!("columns:\n{}", docs.concat()) };
    compile(&[("sql/t.sql", sql), ("sql/t.yaml", &format!("{head}\n{columns}"))])
}
