//! Tables that somebody else wrote to, and logs that lost something: read right, or refused with table, version and
//! what to do; never read half. The shapes are those of the corpora that Delta readers are tested with.

use std::path::PathBuf;

use serde_json::Value;

use super::*;

/// A table of three commits of a day each, whose log can be changed.
struct Tampered {
    _dir: TempDir,
    lake: Lake,
    log: PathBuf,
}

async fn tampered() -> Tampered {
    let dir = TempDir::new().unwrap();
    let lake = lake(&dir);
    for n in 1..=3 {
        write(&lake, &[(Some(n as i32), n)], Replace::Nothing, &unit("u", n)).await.unwrap();
    }
    let log = dir.path().join("a lake č/tables/payment/_delta_log");
    Tampered { _dir: dir, lake, log }
}

impl Tampered {
    fn entry(&self, version: u64) -> PathBuf {
        self.log.join(format!("{version:020}.json"))
    }

    fn table(&self) -> PathBuf {
        self.log.parent().unwrap().to_path_buf()
    }

    /// Writes a log entry of these actions.
    fn commit(&self, version: u64, actions: &[Value]) {
        let lines: String = actions.iter().map(|action| format!("{action}\n")).collect();
        std::fs::write(self.entry(version), lines).unwrap();
    }

    /// The actions of an entry.
    fn actions(&self, version: u64) -> Vec<Value> {
        let text = std::fs::read_to_string(self.entry(version)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn add(&self, version: u64) -> Value {
        self.actions(version).into_iter().find(|action| action.get("add").is_some()).unwrap()
    }

    async fn read(&self) -> Result<Vec<i64>, crate::error::Error> {
        let snapshot = self.lake.snapshot("tables/payment").await?;
        let snapshot = snapshot.ok_or_else(|| crate::error::Error::internal("no table"))?;
        let context = SessionContext::new();
        context.register_table("t", snapshot.provider()?)?;
        let mut numbers = Vec::new();
        for batch in context.sql("select n from t order by n").await?.collect().await? {
            numbers.extend(batch.column(0).as_primitive::<Int64Type>().values());
        }
        Ok(numbers)
    }

    /// Cannot be read, and the error says all of this.
    #[track_caller]
    fn refused(&self, read: Result<Vec<i64>, crate::error::Error>, says: &[&str]) {
        let error = read.expect_err("it was read");
        assert_eq!(error.kind(), Kind::Data, "{error}");
        let text = error.to_string();
        assert!(says.iter().chain(&["tables/payment", "help:"]).all(|say| text.contains(say)), "{says:?} in {text}");
    }
}

fn protocol(reader: u64, writer: u64, reader_features: &[&str], writer_features: &[&str]) -> Value {
    let mut protocol = json!({"minReaderVersion": reader, "minWriterVersion": writer});
    if reader == 3 {
        protocol["readerFeatures"] = json!(reader_features);
    }
    if writer == 7 {
        protocol["writerFeatures"] = json!(writer_features);
    }
    json!({"protocol": protocol})
}

#[tokio::test(flavor = "multi_thread")]
async fn features_that_a_reader_must_know_are_named() {
    for (protocol, says) in [
        (protocol(3, 7, &["deletionVectors"], &["deletionVectors"]), "deletionVectors"),
        (protocol(3, 7, &["columnMapping"], &["columnMapping"]), "columnMapping"),
        (protocol(3, 7, &["v2Checkpoint"], &["v2Checkpoint"]), "v2Checkpoint"),
        (protocol(3, 7, &["timestampNtz"], &["timestampNtz"]), "timestampNtz"),
        (protocol(3, 7, &["typeWidening"], &["typeWidening"]), "typeWidening"),
        (protocol(3, 7, &["fromTheFuture"], &["fromTheFuture"]), "fromTheFuture"),
        (protocol(2, 5, &[], &[]), "reader of version 2"),
        (protocol(99, 99, &[], &[]), "99"),
    ] {
        let table = tampered().await;
        table.commit(4, &[protocol]);
        table.refused(table.read().await, &[says]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn features_that_a_writer_must_heed_stop_writers_and_not_readers() {
    let append_only = |table: &Tampered| {
        let metadata = table.actions(0).into_iter().find(|action| action.get("metaData").is_some());
        let mut metadata = metadata.unwrap();
        metadata["metaData"]["configuration"]["delta.appendOnly"] = json!("true");
        metadata
    };
    let table = tampered().await;
    for (version, action, says) in [
        (
            4,
            protocol(1, 7, &[], &["rowTracking", "domainMetadata"]),
            "writer of version 7 with domainMetadata, rowTracking",
        ),
        (5, protocol(1, 4, &[], &[]), "writer of version 4"),
        (6, protocol(1, 99, &[], &[]), "99"),
        (7, protocol(1, 2, &[], &[]), ""),
        (8, append_only(&table), "delta.appendOnly"),
    ] {
        table.commit(version, &[action]);
        let written = write(&table.lake, &[(Some(9), 9)], Replace::All, &unit("w", 1)).await;
        if says.is_empty() {
            // It would be written to: nothing is in the way.
            std::fs::remove_file(table.entry(version + 1)).unwrap();
            assert!(written.is_ok());
            continue;
        }
        let error = written.unwrap_err();
        assert!(error.kind() == Kind::Data && error.to_string().contains(says), "{error}");
        assert!(error.to_string().contains("tables/payment, version"), "{error}");
        match table.read().await {
            Ok(numbers) => assert_eq!(numbers, [1, 2, 3]),
            read => table.refused(read, &[says]),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_lost_an_entry_or_a_part_of_one_is_refused() {
    let table = tampered().await;
    let whole = std::fs::read(table.entry(2)).unwrap();
    std::fs::write(table.entry(2), &whole[..whole.len() / 2]).unwrap();
    table.refused(table.read().await, &["its log cannot be read"]);
    std::fs::write(table.entry(2), b"").unwrap();
    table.refused(table.read().await, &["entry 2 of its log is empty (0 bytes)"]);
    std::fs::write(table.entry(2), b"\xff\xfe{}").unwrap();
    table.refused(table.read().await, &["its log cannot be read"]);
    std::fs::write(table.entry(2), b"{\"add\":{\"path\":7}}").unwrap();
    table.refused(table.read().await, &["its log cannot be read"]);
    std::fs::remove_file(table.entry(2)).unwrap();
    table.refused(table.read().await, &["entry 2 of its log is missing", "0 to 3"]);
    std::fs::write(table.entry(2), &whole).unwrap();
    assert_eq!(table.read().await.unwrap(), [1, 2, 3]);
    std::fs::remove_file(table.entry(0)).unwrap();
    table.refused(table.read().await, &["entry 0 of its log is missing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_checkpoint_that_is_corrupt_the_entries_tell_everything() {
    let dir = TempDir::new().unwrap();
    let lake = lake(&dir);
    for n in 1..=25 {
        write(&lake, &[(Some(1), n)], Replace::Partitions(["1970-01-02".to_string()].into()), &unit("u", n))
            .await
            .unwrap();
    }
    let log = dir.path().join("a lake č/tables/payment/_delta_log");
    let table = Tampered { _dir: dir, lake, log };
    let names = std::fs::read_dir(&table.log).unwrap().map(|entry| entry.unwrap().path());
    let checkpoint =
        names.into_iter().find(|path| path.display().to_string().ends_with(".checkpoint.parquet")).unwrap();
    let whole = std::fs::read(&checkpoint).unwrap();
    for bad in [whole[..whole.len() / 2].to_vec(), b"PAR1 no PAR1".to_vec()] {
        std::fs::write(&checkpoint, bad).unwrap();
        table.refused(table.read().await, &["its log cannot be read"]);
    }
    let mut flipped = whole.clone();
    flipped[8..200].fill(0xa5);
    std::fs::write(&checkpoint, flipped).unwrap();
    table.refused(table.read().await, &["its log cannot be read"]);
    std::fs::remove_file(&checkpoint).unwrap();
    table.refused(table.read().await, &["_last_checkpoint"]);
    std::fs::write(table.log.join("_last_checkpoint"), b"{\"version\":7").unwrap();
    assert_eq!(table.read().await.unwrap(), [25]);
    std::fs::remove_file(table.log.join("_last_checkpoint")).unwrap();
    assert_eq!(table.read().await.unwrap(), [25]);
    for version in 0..10 {
        std::fs::remove_file(table.entry(version)).unwrap();
    }
    table.refused(table.read().await, &["entry 0 of its log is missing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_outside_of_the_table_are_not_read() {
    for path in [
        "../secret.parquet",
        "event_date=1970-01-02/../../../secret.parquet",
        "%2e%2e/secret.parquet",
        "/etc/passwd",
        "file:///etc/passwd",
        "s3://elsewhere/secret.parquet",
        "",
    ] {
        let table = tampered().await;
        let mut add = table.add(1);
        add["add"]["path"] = json!(path);
        table.commit(4, &[add]);
        table.refused(table.read().await, &["version 4, names a data file outside of it"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_file_that_is_gone_cut_or_broken_is_named() {
    let table = tampered().await;
    let add = table.add(2);
    let name = add["add"]["path"].as_str().unwrap();
    let file = table.table().join(name);
    let name = name.rsplit('/').next().unwrap();
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 20]).unwrap();
    table.refused(table.read().await, &[name, "is not what was written", "expected:"]);
    let mut same_size = whole.clone();
    let end = same_size.len();
    same_size[end - 100..].fill(b'x');
    std::fs::write(&file, &same_size).unwrap();
    table.refused(table.read().await, &[name, "is not a readable Parquet file"]);
    std::fs::remove_file(&file).unwrap();
    table.refused(table.read().await, &[name, "is gone"]);
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(table.read().await.unwrap(), [1, 2, 3]);
}

/// As Spark writes them: the directory has the value percent-encoded, and the log that name once more.
#[tokio::test(flavor = "multi_thread")]
async fn partitions_of_odd_names_are_read_right() {
    for value in ["a b", "50%", "č/ž", "x=y", "..", "%2e%2e", "'\"\n", "a#b?c", "+1"] {
        let dir = TempDir::new().unwrap();
        let lake = lake(&dir);
        let mut spec = spec();
        spec.partition_by = Some("id".into());
        let mut writer = lake.writer(&spec).await.unwrap();
        let mut columns = rows(&[(Some(1), 7)]).columns().to_vec();
        columns[0] = Arc::new(StringArray::from(vec![value]));
        writer.write(&RecordBatch::try_new(Arc::clone(&spec.schema), columns).unwrap()).await.unwrap();
        writer.commit(Replace::Nothing, &unit("u", 1), Map::new()).await.unwrap();
        let log = dir.path().join("a lake č/tables/payment/_delta_log");
        let table = Tampered { _dir: dir, lake, log };
        let sql = format!("select n from t where id = '{}'", value.replace('\'', "''"));
        let found = |snapshot: Snapshot| async move {
            query(&snapshot, &sql).await.iter().map(RecordBatch::num_rows).sum::<usize>()
        };
        let before = table.lake.snapshot("tables/payment").await.unwrap().unwrap();
        assert_eq!(found.clone()(before).await, 1, "{value}");
        // The same file moved to where another writer would have put it.
        let mut add = table.add(1);
        let encoded: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let from = table.table().join(decoded(add["add"]["path"].as_str().unwrap()));
        let name = from.file_name().unwrap().to_str().unwrap().to_string();
        let to = table.table().join(format!("id={encoded}"));
        std::fs::create_dir_all(&to).unwrap();
        std::fs::rename(&from, to.join(&name)).unwrap();
        add["add"]["path"] = json!(format!("id={}/{name}", encoded.replace('%', "%25")));
        let mut actions = table.actions(1);
        actions.retain(|action| action.get("add").is_none());
        actions.push(add);
        table.commit(1, &actions);
        let after = table.lake.snapshot("tables/payment").await.unwrap().unwrap();
        assert_eq!(found(after).await, 1, "{value}");
    }
}

fn decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], path.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_value_of_another_type_and_none_at_all() {
    let table = tampered().await;
    let mut add = table.add(1);
    for value in ["..%2F..", "1970-13-01", "yesterday"] {
        add["add"]["partitionValues"]["event_date"] = json!(value);
        table.commit(4, &[add.clone()]);
        table.refused(table.read().await, &["date", value]);
    }
    for value in [json!(null), json!("")] {
        add["add"]["partitionValues"]["event_date"] = value;
        table.commit(4, &[add.clone()]);
        let snapshot = table.lake.snapshot("tables/payment").await.unwrap().unwrap();
        let batches = query(&snapshot, "select n from t where event_date is null").await;
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_file_of_another_schema_is_no_wrong_row() {
    let table = tampered().await;
    let add = table.add(1);
    let file = table.table().join(add["add"]["path"].as_str().unwrap());
    let text: ArrayRef = Arc::new(StringArray::from(vec!["seven"]));
    let batch = RecordBatch::try_from_iter([("n", text)]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    std::fs::write(&file, &bytes).unwrap();
    let mut foreign = add.clone();
    foreign["add"]["size"] = json!(bytes.len());
    let mut actions = table.actions(1);
    actions.retain(|action| action.get("add").is_none());
    actions.push(foreign);
    table.commit(1, &actions);
    let error = table.read().await.expect_err("a text was read as a number");
    assert_eq!(error.kind(), Kind::Data, "{error}");
}
