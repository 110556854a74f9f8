//! Text files and Avro: what is read, what goes to quarantine, and what is the whole file's fault.

use arrow::array::{BooleanArray, Decimal128Array, Int32Array, ListArray};
use arrow::datatypes::Int32Type;
use datafusion::arrow_avro::writer::AvroWriter;

use super::*;

const CSV: &str = "
sources:
  pay:
    location: pay/{date}*
    format: csv
    csv: {delimiter: ';', nulls: ['', NA]}
    event_time: at
    key: [id]
    max_bad_share: 1
    columns:
      id: string
      at: timestamp
      n: {type: int64, nullable: true}
      price: {type: 'decimal(7,2)', nullable: true}
";

fn ndjson() -> String {
    let columns = "      payload: {type: json, nullable: true}\n";
    format!(
        "{}{columns}",
        CSV.replace("format: csv", "format: ndjson").replace("    csv: {delimiter: ';', nulls: ['', NA]}\n", "")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_is_read_by_its_options_and_broken_lines_are_told_by_number() {
    let world = World::of(CSV);
    world.text(
        "pay/1970-01-01.csv",
        "at;extra;id;price;n\r\n1970-01-01T01:00:00Z;x;p1;1.50;7\r\n1970-01-01 02:00:00;\"y;\n\";p2;NA;NA\r\n\
         noon;x;p3;;\r\n1970-01-01T03:00:00Z;x;p4;1.505;1\r\n1970-01-01T03:00:00Z;p5\r\n;x;p6;;\r\n",
    );
    let report = world.ingest("pay", 0).await.unwrap();
    assert_eq!((report.read, report.written, report.quarantined), (6, 2, 4));
    assert_eq!(report.warnings, ["columns not declared: extra"]);
    let shown = world.query("tables/pay", "select id, n, price from t order by id").await;
    assert!(shown.contains("| p1 | 7 | 1.50  |") && shown.contains("| p2 |   |       |"), "{shown}");
    let shown = world.query("quarantine/pay", "select file, row, line, reason, data from t order by row").await;
    for says in [
        r#"| pay/1970-01-01.csv | 2   | 5    | `at` is no timestamp       | {"id":"p3","at":"noon"}"#,
        "| 3   | 6    | `price` is no decimal(7,2) |",
        "| 4   | 7    | 2 fields, 5 expected       | 1970-01-01T03:00:00Z;p5 ",
        "| 5   | 8    | null in event time `at`    |",
    ] {
        assert!(shown.contains(says), "{says} in\n{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_lacks_a_column_and_one_that_has_it_twice_are_refused() {
    let cases: [(&[u8], &str); 5] = [
        (b"id;at;n\np1;1970-01-01;1\n", "column `price` is missing"),
        (b"id;at;n;price;n\n", "column `n` is there more than once"),
        (b"\n\n", "it has no header line"),
        (b"id;at;n;price\n\"p1;1970-01-01;1;\n", "the quote that opens on line 2 is never closed"),
        (b"", "a CSV file was expected"),
    ];
    for (bytes, says) in cases {
        let world = World::of(CSV);
        world.text("pay/1970-01-01.csv", bytes);
        let error = world.ingest("pay", 0).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Data);
        assert!(error.to_string().contains(says) && error.to_string().contains("1970-01-01.csv"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_header_columns_come_as_declared() {
    let world = World::of(&CSV.replace("csv: {", "csv: {header: false, "));
    world.text("pay/1970-01-01.csv", "p1;1970-01-01;1;2\np2;1970-01-01;;\n");
    assert_eq!(world.ingest("pay", 0).await.unwrap().written, 2);
    assert_eq!(world.versions("pay").await, [v("p1", 1, 1, None), v("p2", -1, 1, None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_lines_keep_numbers_exact_and_nested_values_as_text() {
    let world = World::of(&ndjson());
    world.text(
        "pay/1970-01-01.ndjson",
        r#"{"id":"p1","at":"1970-01-01T01:00:00Z","n":1.0,"price":12345.10,"payload":{"items":[{"sku":"a"},{"sku":"b"}]}}
{"id":2,"at":"1970-01-01T01:00:00Z","payload":"{\"items\":[]}","n":null}

{"id":"p3","at":"1970-01-01T01:00:00Z","n":1.5}
{"id":"p4","at":"1970-01-01T01:00:00Z","n":1
{"id":"p5","at":"1970-01-01T01:00:00Z","n":1}"#,
    );
    let report = world.ingest("pay", 0).await.unwrap();
    assert_eq!((report.read, report.written, report.quarantined), (5, 3, 2));
    let shown = world.query("tables/pay", "select id, n, price, payload from t order by id").await;
    assert!(shown.contains(r#"| p1 | 1 | 12345.10 | {"items":[{"sku":"a"},{"sku":"b"}]} |"#), "{shown}");
    assert!(shown.contains(r#"| 2  |   |          | {"items":[]} "#) && shown.contains("| p5 | 1 |"), "{shown}");
    let shown = world.query("quarantine/pay", "select line, reason from t order by line").await;
    assert!(
        shown.contains("| 4    | `n` is no int64 ") && shown.contains("| 5    | not one JSON object on one line |")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_derivation_that_fails_costs_its_row_and_personal_text_is_not_shown() {
    let sources = CSV.replace(
        "      n: {type: int64",
        "      email: {type: string, pii: drop}\n      digits: {type: int32, derive: \"cast(email as int)\"}\n      n: {type: int64",
    );
    let world = World::of(&sources);
    let rows = "id;at;email;n;price\np1;1970-01-01;7;;\np2;1970-01-01;me@x;;\np3;me@y\n";
    world.text("pay/1970-01-01.csv", rows);
    assert_eq!(world.ingest("pay", 0).await.unwrap().written, 1);
    let shown = world.query("quarantine/pay", "select * from t order by line").await;
    assert!(shown.contains("`derive` of `digits` cannot be computed") && shown.contains("2 fields"), "{shown}");
    assert!(!shown.contains("me@"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_text_is_told_by_its_ending_or_as_declared() {
    let gzip = "1f8b0800000000000203cb4cb14e2cb1ceb32e28ca4c4ee52a30b436b43437d0353004226b436b232e005c018ffd20000000";
    let bzip2 = "425a6839314159265359970c786e00000d59800010000270a82e215400200031434d30003532620d0f48d2cf102f9f2a8d401c\
                 a2e41a2c8935f177245385090970c786e0";
    let xz = "fd377a585a000004e6d6b4460200210110000000a8708e8601001f69643b61743b6e3b70726963650a70313b313937302d30312d3031\
              3b313b320a003543742ea7b468e5000138201829770c1fb6f37d010000000004595a";
    let zstd = "28b52ffd202001010069643b61743b6e3b70726963650a70313b313937302d30312d30313b313b320a";
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
    };
    for (ending, hex) in [("gz", gzip), ("bz2", bzip2), ("xz", xz), ("zst", zstd)] {
        let world = World::of(CSV);
        world.text(&format!("pay/1970-01-01.csv.{ending}"), bytes(hex));
        assert_eq!(world.ingest("pay", 0).await.unwrap().written, 1, "{ending}");
        let world = World::of(CSV);
        let cut = bytes(hex);
        world.text(&format!("pay/1970-01-01.csv.{ending}"), &cut[..cut.len() - 9]);
        let error = world.ingest("pay", 0).await.unwrap_err();
        assert!(error.kind() == Kind::Data && error.to_string().contains("not a readable"), "{ending}: {error}");
    }
    let world = World::of(&CSV.replace("    format: csv\n", "    format: csv\n    compression: zstd\n"));
    world.text("pay/1970-01-01.csv", bytes(zstd));
    assert_eq!(world.ingest("pay", 0).await.unwrap().written, 1);
}

pub(super) fn avro(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = AvroWriter::new(Vec::new(), batch.schema().as_ref().clone()).unwrap();
    writer.write(batch).unwrap();
    writer.finish().unwrap();
    writer.into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn avro_is_typed_and_held_to_the_contract() {
    let declared = "      payload: {type: json, nullable: true}\n      big: {type: int64}\n";
    let csv = "    format: csv\n    csv: {delimiter: ';', nulls: ['', NA]}\n";
    let world = World::of(&format!("{}{declared}", CSV.replace(csv, "    format: avro\n")));
    let money = Decimal128Array::from(vec![150, 25]).with_precision_and_scale(7, 2).unwrap();
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), Some(2)]), None]);
    let pays = pays(&[("p1", hour(0, 1), Some(7)), ("p2", None, None)]);
    let columns = |big: ArrayRef| {
        let mut columns: Vec<(String, ArrayRef, bool)> = ["id", "at", "n"]
            .iter()
            .map(|name| (name.to_string(), pays.column_by_name(name).unwrap().clone(), true))
            .collect();
        columns.push(("price".into(), Arc::new(money.clone()), true));
        columns.push(("payload".into(), Arc::new(list.clone()), true));
        columns.push(("big".into(), big, true));
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    };
    let bytes = avro(&columns(Arc::new(Int32Array::from(vec![1, 2]))));
    world.text("pay/1970-01-01.avro", &bytes);
    let report = world.ingest("pay", 0).await.unwrap();
    assert_eq!((report.read, report.written, report.quarantined), (2, 1, 1));
    let shown = world.query("tables/pay", "select id, n, price, payload, big from t").await;
    assert!(shown.contains("| p1 | 7 | 1.50  | [1,2]   | 1   |"), "{shown}");
    let retyped = avro(&columns(Arc::new(BooleanArray::from(vec![true, false]))));
    // The last block starts after the header's mark, which the file ends with, too: a count of rows, then a length.
    let mark = bytes[bytes.len() - 16..].to_vec();
    let count = bytes.windows(16).position(|window| window == mark).unwrap() + 16;
    let mut more = bytes.clone();
    assert_eq!(more[count], 2 * 2);
    more[count] = 2 * 3;
    let late = [&bytes[..bytes.len() / 2], &bytes[..bytes.len() - 20], &more, b"Obj\x01", b"no avro at all"];
    for (bad, says) in late.into_iter().map(|bad| (bad, "not a readable Avro file")).chain([
        (retyped.as_slice(), "column `big` has another type\n  expected: int64\n  found: Boolean"),
        (b"".as_slice(), "the file is empty (0 bytes); an Avro file was expected"),
    ]) {
        world.text("pay/1970-01-02.avro", bad);
        let error = world.ingest("pay", 1).await.unwrap_err();
        assert!(error.kind() == Kind::Data && error.to_string().contains(says), "{error}");
    }
}
