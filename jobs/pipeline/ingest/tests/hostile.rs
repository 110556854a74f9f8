//! Files and names that nobody should deliver: a clear error or a quarantine record, never a panic or an endless run.

use arrow::array::{Date32Array, TimestampSecondArray};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn parquet_that_lies_or_hides_is_named() {
    let good = parquet(&pays(&[("p1", hour(0, 1), Some(1)), ("p2", hour(0, 1), Some(1))]));
    let mut encrypted = good.clone();
    encrypted[..4].copy_from_slice(b"PARE");
    let end = encrypted.len() - 4;
    encrypted[end..].copy_from_slice(b"PARE");
    let mut long_footer = good.clone();
    long_footer[end - 4..end].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut magic_only = b"PAR1".to_vec();
    magic_only.extend(b"\0\0\0\0PAR1");
    for bytes in [encrypted, long_footer, magic_only] {
        let world = World::new();
        std::fs::write(world.raw(&path(0, "bad")), bytes).unwrap();
        let error = world.ingest("pay", 0).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Data, "{error}");
        assert!(error.to_string().contains("bad.parquet: not a readable Parquet file"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instants_that_no_calendar_has_go_to_quarantine() {
    let world = World::of(&SOURCES.replacen("    key: [id]\n", "    key: [id]\n    max_bad_share: 1\n", 1));
    let edge = |year| (chrono::NaiveDate::from_ymd_opt(year, 1, 1).unwrap().to_epoch_days() as i64) * DAY;
    let rows = [
        ("first", Some(edge(1)), None),
        ("before", Some(edge(1) - 1), None),
        ("last", Some(edge(10_000) - 1), None),
        ("after", Some(edge(10_000)), None),
        ("max", Some(i64::MAX), None),
        ("min", Some(i64::MIN), None),
    ];
    world.put(&path(0, "a"), &rows);
    let seconds: ArrayRef = Arc::new(TimestampSecondArray::from(vec![Some(i64::MAX / 2), Some(0)]));
    let ids: ArrayRef = Arc::new(StringArray::from(vec!["beyond", "fine"]));
    let n: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(1)]));
    let columns = RecordBatch::try_from_iter_with_nullable([("id", ids, true), ("at", seconds, true), ("n", n, true)]);
    std::fs::write(world.raw(&path(0, "b")), parquet(&columns.unwrap())).unwrap();
    let report = world.ingest("pay", 0).await.unwrap();
    assert_eq!((report.read, report.written, report.quarantined), (8, 3, 5));
    let shown = world.query("quarantine/pay", "select reason, count(*) as n from t group by reason").await;
    assert!(shown.contains("| `at` is in no year from 1 to 9999 | 4 |"), "{shown}");
    assert!(shown.contains("| `at` is no timestamp              | 1 |"), "{shown}");
    let shown = world.query("tables/pay", "select id, event_date from t order by event_date").await;
    assert!(shown.contains("| first | 0001-01-01 |") && shown.contains("| last  | 9999-12-31 |"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_twice_or_retyped_is_named_with_what_was_expected() {
    let batch = pays(&[("p1", hour(0, 1), Some(1))]);
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![0]));
    let retyped = [("id", batch.column(0).clone()), ("at", dates), ("n", batch.column(2).clone())];
    let twice = [0, 1, 2, 2].map(|i| (batch.schema().field(i).name().clone(), batch.column(i).clone()));
    for (columns, says) in [
        (RecordBatch::try_from_iter(retyped).unwrap(), "expected: timestamp\n  found: Date32"),
        (RecordBatch::try_from_iter(twice).unwrap(), "column `n` is there more than once"),
    ] {
        let world = World::new();
        std::fs::write(world.raw(&path(0, "a")), parquet(&columns)).unwrap();
        let error = world.ingest("pay", 0).await.unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("a.parquet"), "{error}");
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn links_in_circles_end_and_odd_names_are_names() {
    let world = World::of(&SOURCES.replace("pay/day={date}/*.parquet", "pay/**/*.parquet"));
    let names = ["a b", "50%", "%2e%2e%2fx", "žluťoučký", "day=..%2f..", "-rf", "'; drop table pay; --"];
    for (n, name) in names.iter().enumerate() {
        world.put(&format!("pay/{name}/{name}.parquet"), &[(name, hour(0, 1), Some(n as i64))]);
    }
    let link = |to: &str, from: &str| std::os::unix::fs::symlink(world.raw(to), world.raw(from)).unwrap();
    link("pay", "pay/up");
    link("pay/a b/ping", "pay/50%/pong");
    link("pay/50%", "pay/a b/ping");
    link("pay/self", "pay/self");
    link("pay/nowhere at all", "pay/dangling.parquet");
    let report = world.ingest("pay", 0).await.unwrap();
    assert_eq!(report.written, names.len() as u64, "{report:?}");
    let shown = world.query("tables/pay", "select count(distinct id) as n from t").await;
    assert!(shown.contains(&format!("| {} |", names.len())), "{shown}");
}

#[test]
fn definitions_that_claim_too_much_are_refused() {
    let wrong = |change: (&str, &str)| {
        let text = SOURCES.replacen(change.0, change.1, 1);
        assert_ne!(text, SOURCES);
        let (_, out) = Project::parse(&[TextFile { path: "sql/sources.yaml".into(), text }]);
        out.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let pay = "location: pay/day={date}/*.parquet";
    for (to, says) in [
        ("location: visit/day={date}/*.parquet", "claim the same files"),
        ("location: ../pay/*.parquet", "no pattern below the raw root"),
        ("location: /etc/*", "no pattern below the raw root"),
        ("location: pay/{date}/{date}.parquet", "no pattern below the raw root"),
        ("format: csv\n    location: pay/*\n    csv: {delimiter: ab}", "`delimiter` is not one character"),
        ("location: pay/*\n    csv: {}", "options of CSV files for files that are none"),
        ("location: pay/*\n    compression: gzip", "`compression` is of text files"),
        ("location: pay/*\n    format: xlsx", "unknown value `xlsx`"),
        ("location: pay/*\n    volume: 7", "not a range around the usual"),
        ("location: pay/*\n    volume: {at_least: 0.1, day: 3}", "unknown key `day`"),
        ("location: pay/*\n    freshness: soon", "soon"),
    ] {
        let said = wrong((pay, to));
        assert!(said.contains(says) && said.contains("sql/sources.yaml:"), "{to}: {said}");
    }
    assert!(wrong(("static: true", "static: true\n    freshness: 1d")).contains("without event time"));
    assert!(
        wrong(("static: true", "static: true\n    unreadable: skip")).contains("a load of this source is complete")
    );
    assert!(
        wrong(("    max_bad_share: 0.5\n", "    duplicates: first\n")).contains("`duplicates` of a source without")
    );
    let twice = "sources:\n  a:\n    location: a/*\n  a:\n    location: b/*\n";
    let (_, out) = Project::parse(&[TextFile { path: "sql/sources.yaml".into(), text: twice.into() }]);
    assert!(out[0].to_string().contains("duplicate"), "{out:?}");
}
