//! Tables, commits and raw files on a local directory.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Decimal128Array, Float64Builder, Int64Array, ListBuilder, MapBuilder,
    RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use datafusion::prelude::SessionContext;
use serde_json::{Map, json};
use tempfile::TempDir;

use super::*;
use crate::error::Kind;

mod hostile;

fn lake(dir: &TempDir) -> Lake {
    Lake::open(dir.path().join("a lake č").to_str().unwrap(), HashMap::new()).unwrap()
}

fn utc() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn spec() -> TableSpec {
    let id = Field::new("id", DataType::Utf8, false).with_metadata([(COMMENT.into(), "Who \"pays\".".into())].into());
    let schema = Schema::new(vec![
        id,
        Field::new("amount", DataType::Decimal128(18, 2), true),
        Field::new("event_date", DataType::Date32, true),
        Field::new("n", DataType::Int64, false),
        Field::new("tags", DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))), true),
        Field::new("_known_from", utc(), false),
        Field::new("_known_until", utc(), true),
    ]);
    TableSpec {
        name: "tables/payment".into(),
        description: "What was paid.".into(),
        schema: Arc::new(schema),
        partition_by: Some("event_date".into()),
        no_statistics: vec!["id".into()],
    }
}

/// Rows of one day each: (day, n).
fn rows(days: &[(Option<i32>, i64)]) -> RecordBatch {
    let mut tags = ListBuilder::new(StringBuilder::new());
    for (_, n) in days {
        match n % 3 {
            0 => tags.append_null(),
            n => tags.append_value((0..n).map(|i| Some(format!("t{i}")))),
        }
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(days.iter().map(|(_, n)| format!("id{n}")))),
        Arc::new(
            Decimal128Array::from_iter(days.iter().map(|(_, n)| Some(i128::from(*n) * 100)))
                .with_precision_and_scale(18, 2)
                .unwrap(),
        ),
        Arc::new(Date32Array::from_iter(days.iter().map(|(day, _)| *day))),
        Arc::new(Int64Array::from_iter_values(days.iter().map(|(_, n)| *n))),
        Arc::new(tags.finish()),
        Arc::new(TimestampMicrosecondArray::from_iter_values(days.iter().map(|(_, n)| *n)).with_timezone("UTC")),
        Arc::new(TimestampMicrosecondArray::from_iter(days.iter().map(|_| None)).with_timezone("UTC")),
    ];
    RecordBatch::try_new(spec().schema, columns).unwrap()
}

fn unit(key: &str, fingerprint: i64) -> Unit {
    Unit { key: key.into(), fingerprint }
}

async fn write(
    lake: &Lake,
    days: &[(Option<i32>, i64)],
    replace: Replace,
    unit: &Unit,
) -> crate::error::Result<Outcome> {
    let mut writer = lake.writer(&spec()).await?;
    writer.write(&rows(days)).await?;
    writer.commit(replace, unit, Map::from_iter([("run_id".to_string(), json!("r1"))])).await
}

async fn query(snapshot: &Snapshot, sql: &str) -> Vec<RecordBatch> {
    let context = SessionContext::new();
    context.register_table("t", snapshot.provider().unwrap()).unwrap();
    context.sql(sql).await.unwrap().collect().await.unwrap()
}

async fn numbers(snapshot: &Snapshot) -> Vec<i64> {
    let batches = query(snapshot, "select n from t order by n").await;
    batches.iter().flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

fn parquet_files(dir: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let count = |path: &Path| match path.is_dir() {
        true => parquet_files(path),
        false => usize::from(path.extension().is_some_and(|e| e == "parquet")),
    };
    entries.map(|e| count(&e.unwrap().path())).sum()
}

/// Shares per category are maps.
#[tokio::test(flavor = "multi_thread")]
async fn maps_are_written_and_read_back() {
    let dir = TempDir::new().unwrap();
    let lake = lake(&dir);
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
    maps.keys().append_value("card");
    maps.values().append_value(0.75);
    maps.append(true).unwrap();
    maps.append(false).unwrap();
    let maps: ArrayRef = Arc::new(maps.finish());
    let batch = RecordBatch::try_from_iter_with_nullable([("shares", maps, true)]).unwrap();
    let spec = TableSpec { schema: batch.schema(), partition_by: None, no_statistics: vec![], ..spec() };
    let mut writer = lake.writer(&spec).await.unwrap();
    writer.write(&batch).await.unwrap();
    writer.commit(Replace::All, &unit("u", 1), Map::new()).await.unwrap();
    let snapshot = lake.snapshot("tables/payment").await.unwrap().unwrap();
    let rows = query(&snapshot, "select shares['card'] as card, shares is null as missing from t").await;
    let text = arrow::util::pretty::pretty_format_batches(&rows).unwrap().to_string();
    assert!(text.contains("0.75") && text.contains("true"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_read_back_with_types_comments_and_lists() {
    let dir = TempDir::new().unwrap();
    let lake = lake(&dir);
    assert!(lake.snapshot("tables/payment").await.unwrap().is_none());
    let outcome = write(&lake, &[(Some(19_000), 1), (Some(19_000), 2), (None, 3)], Replace::Nothing, &unit("u", 1))
        .await
        .unwrap();
    assert!(matches!(outcome, Outcome::Committed { version: 1, rows: 3, files: 2, .. }), "{outcome:?}");

    let snapshot = lake.snapshot("tables/payment").await.unwrap().unwrap();
    assert_eq!((snapshot.version(), snapshot.rows(), snapshot.files()), (1, 3, 2));
    assert_eq!(snapshot.committed("u").await.unwrap(), Some(1));
    assert_eq!(snapshot.committed("v").await.unwrap(), None);
    assert_eq!(snapshot.commit_info().await.unwrap()["run_id"], "r1");
    let schema = snapshot.schema();
    assert_eq!(schema.field(0).metadata()[COMMENT], "Who \"pays\".");
    assert!(!schema.field(0).is_nullable());
    assert_eq!(schema.field(1).data_type(), &DataType::Decimal128(18, 2));
    assert_eq!(schema.field(5).data_type(), &utc());
    assert_eq!(snapshot.partitions().keys().collect::<Vec<_>>(), ["2022-01-08", NULL_PARTITION]);

    let batches = query(&snapshot, "select * from t order by n").await;
    let batch = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
    assert_eq!(batch.num_rows(), 3);
    assert_eq!(batch.schema().fields().len(), 7);
    assert_eq!(batch.column(2).data_type(), &DataType::Date32);
    assert!(batch.column(2).is_null(2));
    let grouped = query(&snapshot, "select distinct id from t union all select max(id) from t group by n").await;
    assert_eq!(grouped.iter().map(RecordBatch::num_rows).sum::<usize>(), 6);
    let tags = batch.column(4).as_list::<i32>();
    assert_eq!((tags.value_length(0), tags.value_length(1), tags.is_null(2)), (1, 2, true));
    assert_eq!(batch.column(6).null_count(), 3);
    let shown = arrow::util::pretty::pretty_format_batches(&[batch]).unwrap().to_string();
    assert!(shown.contains("| id1 | 1.00   | 2022-01-08 | 1 | [t0]     | 1970-01-01T00:00:00.000001Z |"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_replaces_exactly_its_partitions() {
    let dir = TempDir::new().unwrap();
    let lake = lake(&dir);
    write(&lake, &[(Some(1), 1), (Some(2), 2), (None, 3)], Replace::Nothing, &unit("u", 1)).await.unwrap();
    let replaced = Replace::Partitions(BTreeSet::from(["1970-01-03".to_string(), NULL_PARTITION.to_string()]));
    write(&lake, &[(Some(2), 20), (Some(2), 21)], replaced, &unit("u", 2)).await.unwrap();
    let snapshot = lake.snapshot("tables/payment").await.unwrap().unwrap();
    assert_eq!(numbers(&snapshot).await, [1, 20, 21]);
    let before = lake.snapshot_at("tables/payment", 1).await.unwrap().unwrap();
    assert_eq!(numbers(&before).await, [1, 2, 3]);
    write(&lake, &[(Some(9), 9)], Replace::All, &unit("u", 3)).await.unwrap();
    assert_eq!(numbers(&lake.snapshot("tables/payment").await.unwrap().unwrap()).await, [9]);
    assert_eq!(numbers(&before).await, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_work_is_not_committed_twice() {
    let dir = TempDir::new().unwrap();
    let lake = lake(&dir);
    write(&lake, &[(Some(1), 1)], Replace::Nothing, &unit("u", 7)).await.unwrap();
    let again = write(&lake, &[(Some(1), 1)], Replace::Nothing, &unit("u", 7)).await.unwrap();
    assert_eq!(again, Outcome::AlreadyDone { version: 1 });
    let snapshot = lake.snapshot("tables/payment").await.unwrap().unwrap();
    assert_eq!(numbers(&snapshot).await, [1]);
    assert_eq!(parquet_files(dir.path()), 1, "the second file is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_concurrent_runs_one_commits() {
    let dir = TempDir::new().unwrap();
    let lake = lake(&dir);
    for replace in [Replace::Nothing, Replace::All, Replace::Partitions(BTreeSet::from(["1970-01-02".to_string()]))] {
        let key = format!("{replace:?}");
        let mut first = lake.writer(&spec()).await.unwrap();
        let mut second = lake.writer(&spec()).await.unwrap();
        first.write(&rows(&[(Some(1), 1)])).await.unwrap();
        second.write(&rows(&[(Some(1), 1)])).await.unwrap();
        let before = parquet_files(dir.path());
        let first = first.commit(replace.clone(), &unit(&key, 5), Map::new()).await.unwrap();
        let same = second.commit(replace.clone(), &unit(&key, 5), Map::new()).await.unwrap();
        assert_eq!(same, Outcome::AlreadyDone { version: first.version() });
        assert!(parquet_files(dir.path()) <= before + 1);
    }

    let mut loser = lake.writer(&spec()).await.unwrap();
    loser.write(&rows(&[(Some(1), 3)])).await.unwrap();
    write(&lake, &[(Some(1), 2)], Replace::All, &unit("other", 1)).await.unwrap();
    let error = loser.commit(Replace::All, &unit("mine", 1), Map::new()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Temporary, "{error}");
    assert!(error.to_string().contains("run this job again"), "{error}");
    assert_eq!(numbers(&lake.snapshot("tables/payment").await.unwrap().unwrap()).await, [2]);

    let mut appends = lake.writer(&spec()).await.unwrap();
    appends.write(&rows(&[(Some(1), 3)])).await.unwrap();
    write(&lake, &[(Some(1), 4)], Replace::Nothing, &unit("append", 1)).await.unwrap();
    appends.commit(Replace::Nothing, &unit("append too", 1), Map::new()).await.unwrap();
    assert_eq!(numbers(&lake.snapshot("tables/payment").await.unwrap().unwrap()).await, [2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_first_writers_create_one_table() {
    let dir = TempDir::new().unwrap();
    let lake = lake(&dir);
    let opened = futures::future::join_all((0..8).map(|_| {
        let lake = lake.clone();
        tokio::spawn(async move { lake.writer(&spec()).await.map(|w| w.base().version()) })
    }));
    for version in opened.await {
        assert_eq!(version.unwrap().unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_does_not_commit_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let lake = lake(&dir);
    write(&lake, &[(Some(1), 1)], Replace::Nothing, &unit("u", 1)).await.unwrap();
    let mut writer = lake.writer(&spec()).await.unwrap();
    writer.write(&rows(&[(Some(1), 2), (Some(2), 3), (Some(3), 3)])).await.unwrap();
    drop(writer);
    assert_eq!(numbers(&lake.snapshot("tables/payment").await.unwrap().unwrap()).await, [1]);
    for _ in 0..100 {
        if parquet_files(dir.path()) == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("files stay behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_on_the_partition_prune_files() {
    let dir = TempDir::new().unwrap();
    let lake = lake(&dir);
    let days: Vec<(Option<i32>, i64)> = (0..60).map(|day| (Some(day), i64::from(day))).collect();
    write(&lake, &days, Replace::Nothing, &unit("u", 1)).await.unwrap();
    let snapshot = lake.snapshot("tables/payment").await.unwrap().unwrap();
    let sql = "select n, id from t where event_date >= '1970-02-10' and event_date < '1970-02-12' and n <> 41";
    let batches = query(&snapshot, sql).await;
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    let plan = query(&snapshot, &format!("explain {sql}")).await;
    let plan = arrow::util::pretty::pretty_format_batches(&plan).unwrap().to_string();
    assert_eq!(plan.matches(".parquet").count(), 2, "{plan}");
    let counted = query(&snapshot, "select count(*) as n from t where event_date is null").await;
    assert_eq!(counted[0].column(0).as_primitive::<Int64Type>().value(0), 0);
    let some = snapshot.provider_of(&BTreeSet::from(["1970-01-05".to_string(), "1999-01-01".to_string()])).unwrap();
    let context = SessionContext::new();
    let counted = context.read_table(some).unwrap().count().await.unwrap();
    assert_eq!(counted, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_full_replacement_may_take_columns_away() {
    let dir = TempDir::new().unwrap();
    let lake = lake(&dir);
    write(&lake, &[(Some(1), 1)], Replace::Nothing, &unit("u", 1)).await.unwrap();
    let mut narrow = spec();
    narrow.schema = Arc::new(narrow.schema.project(&[0, 2, 3]).unwrap());
    narrow.description = "Less.".into();
    for (replace, works) in [(Replace::Nothing, false), (Replace::All, true)] {
        let mut writer = lake.writer(&narrow).await.unwrap();
        writer.write(&rows(&[(Some(2), 2)])).await.unwrap();
        let outcome = writer.commit(replace, &unit("u", 2), Map::new()).await;
        assert_eq!(outcome.is_ok(), works);
        if let Err(error) = outcome {
            assert!(error.to_string().contains("found: id Utf8 not null, amount Decimal128(18, 2)"), "{error}");
        }
    }
    let snapshot = lake.snapshot("tables/payment").await.unwrap().unwrap();
    assert_eq!(snapshot.schema().fields().len(), 3);
    assert_eq!(numbers(&snapshot).await, [2]);

    // A nullable column more: the rows that are there have none.
    let mut wide = spec();
    wide.schema = Arc::new(wide.schema.project(&[1, 0, 2, 3]).unwrap());
    let mut writer = lake.writer(&wide).await.unwrap();
    writer.write(&rows(&[(Some(3), 3)])).await.unwrap();
    writer.commit(Replace::Nothing, &unit("u", 3), Map::new()).await.unwrap();
    let snapshot = lake.snapshot("tables/payment").await.unwrap().unwrap();
    let batches = query(&snapshot, "select amount, n from t order by n").await;
    let batch = arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap();
    assert!(batch.column(0).is_null(0) && batch.column(0).is_valid(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_rows_are_refused() {
    let dir = TempDir::new().unwrap();
    let lake = lake(&dir);
    let mut writer = lake.writer(&spec()).await.unwrap();
    let error = writer.write(&rows(&[(Some(1), 1)]).project(&[0, 1]).unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("lack column event_date"), "{error}");
    let mut columns = rows(&[(Some(1), 1)]).columns().to_vec();
    columns[0] = Arc::new(StringArray::from(vec![None::<&str>]));
    let fields: Vec<Field> = spec().schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    let nulls = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
    let error = writer.write(&nulls).await.unwrap_err();
    assert!(error.to_string().contains("non-nullable"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_kept_and_checkpoints_are_read() {
    let dir = TempDir::new().unwrap();
    let lake = lake(&dir);
    for n in 0..45 {
        write(&lake, &[(Some(1), n)], Replace::Partitions(["1970-01-02".to_string()].into()), &unit("u", n))
            .await
            .unwrap();
    }
    let log = dir.path().join("a lake č/tables/payment/_delta_log");
    let names: Vec<String> =
        std::fs::read_dir(&log).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.iter().filter(|n| n.ends_with(".json")).count(), 46, "{names:?}");
    assert_eq!(names.iter().filter(|n| n.ends_with(".checkpoint.parquet")).count(), 2, "{names:?}");
    let snapshot = lake.snapshot("tables/payment").await.unwrap().unwrap();
    assert_eq!(snapshot.committed("u").await.unwrap(), Some(44));
    assert_eq!(numbers(&snapshot).await, [44]);
    assert_eq!(numbers(&lake.snapshot_at("tables/payment", 30).await.unwrap().unwrap()).await, [29]);
    let first = std::fs::read_to_string(log.join("00000000000000000000.json")).unwrap();
    for setting in ["interval 400 days", "\"delta.enableExpiredLogCleanup\":\"false\"", "n,_known_from,_known_until"] {
        assert!(first.contains(setting), "{first}");
    }
    let second = std::fs::read_to_string(log.join("00000000000000000001.json")).unwrap();
    assert!(
        second.contains(r#"\"nullCount\":{\"_known_from\":0,\"_known_until\":1,\"amount\":0,\"n\":0}"#),
        "{second}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn strings_and_nothing_partition_too() {
    let dir = TempDir::new().unwrap();
    let lake = lake(&dir);
    let mut spec = spec();
    spec.partition_by = Some("id".into());
    let mut writer = lake.writer(&spec).await.unwrap();
    let mut columns = rows(&[(Some(1), 1), (Some(1), 2)]).columns().to_vec();
    columns[0] = Arc::new(StringArray::from(vec!["a/b %č=#1", ".."]));
    writer.write(&RecordBatch::try_new(Arc::clone(&spec.schema), columns).unwrap()).await.unwrap();
    writer.commit(Replace::Nothing, &unit("u", 1), Map::new()).await.unwrap();
    let snapshot = lake.snapshot("tables/payment").await.unwrap().unwrap();
    assert_eq!(snapshot.partitions().keys().collect::<Vec<_>>(), ["..", "a/b %č=#1"]);
    assert_eq!(numbers(&snapshot).await, [1, 2]);
    let found = query(&snapshot, "select n from t where id = 'a/b %č=#1'").await;
    assert_eq!(found[0].column(0).as_primitive::<Int64Type>().value(0), 1);

    spec.name = "runs".into();
    spec.partition_by = None;
    let mut writer = lake.writer(&spec).await.unwrap();
    writer.write(&rows(&[(Some(1), 1), (None, 2)])).await.unwrap();
    writer.commit(Replace::Nothing, &unit("u", 1), Map::new()).await.unwrap();
    let snapshot = lake.snapshot("runs").await.unwrap().unwrap();
    assert_eq!(snapshot.partitions().keys().collect::<Vec<_>>(), [""]);
    assert_eq!(numbers(&snapshot).await, [1, 2]);
}

#[test]
fn an_unwritable_lake_says_what_to_do() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Lake::open(file.join("lake").to_str().unwrap(), HashMap::new()).unwrap_err();
    assert_eq!(error.kind().code(), 75);
    assert!(error.to_string().contains("cannot be written to") && error.to_string().contains("--lake"), "{error}");
    let error = Lake::open(dir.path().join("50%25").to_str().unwrap(), HashMap::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::Definition, "{error}");
    let error = Lake::open("gopher://bucket/lake", HashMap::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::Definition, "{error}");
}

#[tokio::test]
async fn artifacts_are_complete_or_not_there_and_never_change() {
    let dir = TempDir::new().unwrap();
    let lake = lake(&dir);
    let files = vec![("model.txt".to_string(), b"tree".to_vec()), ("enc/ö.json".to_string(), b"{}".to_vec())];
    assert!(lake.get_files("models/credit/v1").await.unwrap().is_none());
    // A crash before the list was written.
    let half = dir.path().join("a lake č/models/credit/v1");
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(half.join("model.txt"), "tr").unwrap();
    assert!(lake.get_files("models/credit/v1").await.unwrap().is_none());
    lake.put_files("models/credit/v1", files.clone()).await.unwrap();
    lake.put_files("models/credit/v1", files.clone()).await.unwrap();
    let found = lake.get_files("models/credit/v1").await.unwrap().unwrap();
    assert_eq!(found.into_iter().collect::<HashMap<_, _>>(), files.into_iter().collect());
    let other = lake.put_files("models/credit/v1", vec![("model.txt".to_string(), b"other".to_vec())]).await;
    assert!(other.unwrap_err().to_string().contains("never overwritten"));
    std::fs::write(half.join("model.txt"), "tampered").unwrap();
    assert_eq!(lake.get_files("models/credit/v1").await.unwrap_err().kind(), Kind::Data);
    assert_eq!(lake.directories("models/credit").await.unwrap(), ["v1"]);
    assert_eq!(lake.directories("models/other").await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn raw_files_are_listed_by_pattern_whatever_their_names() {
    let dir = TempDir::new().unwrap();
    let root = dir.path().join("raw č %20#1");
    let names = [
        "payment/day=2024-01-02/b %41 #1.parquet",
        "payment/day=2024-01-01/ž.parquet",
        "payment/day=2024-01-01/.tmp.parquet",
        "payment/day=2024-01-01/notes.txt",
        "payment/day=__HIVE_DEFAULT_PARTITION__/x.parquet",
        "payment/day=soon/x.parquet",
        "demographics.parquet",
    ];
    for name in names {
        std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        std::fs::write(root.join(name), name).unwrap();
    }
    let raw = Raw::open(root.to_str().unwrap(), &HashMap::new()).unwrap();
    let files = raw.list("payment/day={date}/*.parquet").await.unwrap();
    let found: Vec<_> = files.iter().map(|f| (f.path.as_str(), f.date.map(|d| d.to_string()))).collect();
    assert_eq!(
        found,
        [(names[1], Some("2024-01-01".to_string())), (names[0], Some("2024-01-02".to_string())), (names[4], None),]
    );
    assert_eq!(raw.read(names[0]).await.unwrap(), names[0].as_bytes());
    assert_eq!(files[1].size, names[0].len() as u64);
    assert_eq!(raw.list("demographics.parquet").await.unwrap().len(), 1);
    assert_eq!(raw.list("**/*.parquet").await.unwrap().len(), 5);
    assert_eq!(raw.list("absent/day={date}/*.parquet").await.unwrap(), []);
    let nowhere = Raw::open(dir.path().join("nowhere").to_str().unwrap(), &HashMap::new()).unwrap();
    assert_eq!(nowhere.list("*.parquet").await.unwrap(), []);
}
