//! The generator against what it promises: same bytes, events within their days, labels that the events tell, and
//! probabilities that are true.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;

fn config(raw: &Path) -> Config {
    Config {
        raw: raw.to_path_buf(),
        users: 300,
        days: 200,
        start: NaiveDate::from_ymd_opt(2024, 1, 1).unwrap(),
        seed: 11,
        threads: 2,
        late_share: 0.0,
        redelivered_share: 0.0,
        corrected_share: 0.0,
    }
}

/// Path below the root → content, of all Parquet files.
fn contents(raw: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![raw.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "parquet") {
                let name = path.strip_prefix(raw).unwrap().to_str().unwrap().to_string();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

/// All files of a source: (path below the root, rows).
fn read(raw: &Path, source: &str) -> Vec<(String, RecordBatch)> {
    let files = contents(raw).into_iter().filter(|(name, _)| name.split('/').next() == Some(source));
    let read = files.map(|(name, content)| {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(content)).unwrap();
        let reader = reader.with_batch_size(1 << 20).build().unwrap();
        (name, reader.map(|batch| batch.unwrap()).next().unwrap())
    });
    read.collect()
}

fn texts(batch: &RecordBatch, column: &str) -> Vec<String> {
    let array = batch.column_by_name(column).unwrap().as_string::<i32>();
    (0..array.len()).map(|i| array.value(i).to_string()).collect()
}

fn times(batch: &RecordBatch, column: &str) -> Vec<i64> {
    batch.column_by_name(column).unwrap().as_primitive::<TimestampMicrosecondType>().values().to_vec()
}

#[test]
fn bytes_do_not_depend_on_threads_and_a_second_run_does_nothing() {
    let (one, four) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let shares = |raw: &Path| Config { late_share: 0.1, redelivered_share: 0.1, corrected_share: 0.1, ..config(raw) };
    let first = run(&Config { threads: 1, ..shares(one.path()) }, &|_| ()).unwrap();
    let second = run(&Config { threads: 4, ..shares(four.path()) }, &|_| ()).unwrap();
    assert_eq!(first, second);
    assert!(contents(one.path()) == contents(four.path()));
    assert_eq!(first.files, contents(one.path()).len() as u64);
    assert!(first.events.values().all(|n| *n > 0), "{first:?}");

    assert!(run(&shares(one.path()), &|_| ()).unwrap().unchanged);
    let lost = contents(one.path()).into_keys().next().unwrap();
    fs::remove_file(one.path().join(lost)).unwrap();
    assert!(!run(&shares(one.path()), &|_| ()).unwrap().unchanged);
    assert!(contents(one.path()) == contents(four.path()));
}

#[test]
fn an_earlier_generation_leaves_nothing_and_others_files_stay() {
    let (used, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(&Config { days: 40, late_share: 0.3, ..config(used.path()) }, &|_| ()).unwrap();
    let foreign = used.path().join("visit/day=2024-02-09/export.parquet");
    fs::write(&foreign, b"not ours").unwrap();
    let small = |raw: &Path| Config { users: 20, days: 10, ..config(raw) };
    run(&small(used.path()), &|_| ()).unwrap();
    run(&small(fresh.path()), &|_| ()).unwrap();
    fs::remove_file(foreign).unwrap();
    assert!(contents(used.path()) == contents(fresh.path()));
}

#[test]
fn progress_adds_up_to_the_events() {
    let raw = tempfile::tempdir().unwrap();
    let told = std::sync::atomic::AtomicU64::new(0);
    let summary = run(&config(raw.path()), &|n| {
        told.fetch_add(n, Ordering::Relaxed);
    });
    assert_eq!(told.into_inner(), summary.unwrap().total_events());
}

#[test]
fn files_hold_their_days_and_shares_decide_how_they_come() {
    let raw = tempfile::tempdir().unwrap();
    let shares = Config { late_share: 0.2, redelivered_share: 0.2, corrected_share: 0.2, ..config(raw.path()) };
    run(&shares, &|_| ()).unwrap();
    let plain = tempfile::tempdir().unwrap();
    run(&config(plain.path()), &|_| ()).unwrap();
    let on_time = contents(plain.path());
    let mut seen = BTreeMap::new();
    for (source, key, time) in [("payment", "payment_id", "paid_at"), ("repayment", "repayment_id", "recorded_at")] {
        for (name, batch) in read(raw.path(), source) {
            let (day, file) = name.split_once("day=").unwrap().1.split_once('/').unwrap();
            assert!(day <= "2024-07-18", "{name} comes after the last day");
            let kind = file.split('-').next().unwrap();
            *seen.entry(kind.to_string()).or_insert(0) += 1;
            let own = if kind == "part" { day } else { &file[kind.len() + 1..kind.len() + 11] };
            assert!(kind == "part" || own < day, "{name}");
            let start = own.parse::<NaiveDate>().unwrap().and_time(NaiveTime::MIN).and_utc().timestamp_micros();
            assert!(times(&batch, time).iter().all(|t| (start..start + DAY).contains(t)), "{name}");
            let original = &on_time[&format!("{source}/day={own}/part-00000.parquet")];
            let content = fs::read(raw.path().join(&name)).unwrap();
            assert_eq!(*original == content, kind != "corrected", "{name}");
            if kind == "corrected" {
                let (_, rows) = read(plain.path(), source).into_iter().find(|(n, _)| n.contains(own)).unwrap();
                let before: HashMap<_, _> = texts(&rows, key).into_iter().zip(times(&rows, time)).collect();
                for (key, time) in texts(&batch, key).into_iter().zip(times(&batch, time)) {
                    assert_eq!(before[&key], time, "{name}");
                }
            }
        }
    }
    for kind in ["part", "late", "redelivered", "corrected"] {
        assert!(seen[kind] > 20, "{seen:?}");
    }
}

#[test]
fn keys_are_unique_and_labels_follow_from_the_events() {
    let raw = tempfile::tempdir().unwrap();
    run(&Config { days: 300, ..config(raw.path()) }, &|_| ()).unwrap();
    let column = |source: &str, column: &str| -> Vec<String> {
        read(raw.path(), source).iter().flat_map(|(_, batch)| texts(batch, column)).collect()
    };
    let unique = |values: Vec<String>| {
        let set: std::collections::HashSet<_> = values.iter().collect();
        assert_eq!(set.len(), values.len());
        assert!(!values.is_empty());
    };
    for (source, key) in [("visit", "visit_id"), ("payment", "payment_id"), ("repayment", "repayment_id")] {
        unique(column(source, key));
    }
    unique(column("purchase_order", "purchase_id"));
    let outcomes = [("cancellation", "cancelled_at"), ("refusal", "refused_at"), ("return", "returned_at")];
    let mut bad = HashMap::new();
    for (source, time) in outcomes {
        for (_, batch) in read(raw.path(), source) {
            bad.extend(texts(&batch, "purchase_id").into_iter().zip(times(&batch, time)));
        }
    }
    let mut defaults = HashMap::new();
    for (_, batch) in read(raw.path(), "repayment") {
        let rows = texts(&batch, "loan_id").into_iter().zip(times(&batch, "recorded_at"));
        let kinds = texts(&batch, "kind");
        defaults.extend(rows.zip(kinds).filter(|(_, kind)| kind == "defaulted").map(|(row, _)| row));
    }
    for (truth, key, horizon, outcome) in
        [("truth_buying", "purchase_id", 30 * DAY, &bad), ("truth_credit", "loan_id", 90 * DAY, &defaults)]
    {
        let mut found = [0, 0];
        for (_, batch) in read(raw.path(), truth) {
            let labels = batch.column_by_name("label").unwrap().as_primitive::<Int32Type>().values().to_vec();
            for ((key, as_of), label) in texts(&batch, key).into_iter().zip(times(&batch, "as_of")).zip(labels) {
                let happened = outcome.get(&key).is_some_and(|at| (as_of + 1..as_of + horizon).contains(at));
                assert_eq!(happened, label == 1, "{truth} {key}");
                found[label as usize] += 1;
            }
        }
        assert!(found[0] > 100 && found[1] > 10, "{truth}: {found:?}");
    }
}

/// (label, p_full, p_aggregates) of every row of a truth.
fn truths(raw: &Path, source: &str) -> Vec<(f64, f64, f64)> {
    let mut rows = Vec::new();
    for (_, batch) in read(raw, source) {
        let labels = batch.column_by_name("label").unwrap().as_primitive::<Int32Type>();
        let float = |name| batch.column_by_name(name).unwrap().as_primitive::<Float64Type>().values().to_vec();
        let (full, aggregates) = (float("p_full"), float("p_aggregates"));
        rows.extend((0..batch.num_rows()).map(|i| (f64::from(labels.value(i)), full[i], aggregates[i])));
    }
    rows
}

fn auc(rows: &[(f64, f64)]) -> f64 {
    let mut rows = rows.to_vec();
    rows.sort_by(|a, b| a.1.total_cmp(&b.1));
    let bad = rows.iter().map(|r| r.0).sum::<f64>();
    let ranks: f64 = rows.iter().enumerate().map(|(i, r)| r.0 * (i + 1) as f64).sum();
    (ranks - bad * (bad + 1.0) / 2.0) / (bad * (rows.len() as f64 - bad))
}

#[test]
fn probabilities_are_calibrated_and_more_knowledge_ranks_better() {
    let raw = tempfile::tempdir().unwrap();
    run(&Config { users: 6000, days: 400, ..config(raw.path()) }, &|_| ()).unwrap();
    for (source, base) in [("truth_buying", 0.12..0.18), ("truth_credit", 0.08..0.12)] {
        let rows = truths(raw.path(), source);
        let rate = rows.iter().map(|r| r.0).sum::<f64>() / rows.len() as f64;
        assert!(base.contains(&rate), "{source}: {rate}");
        let beliefs = [|r: &(f64, f64, f64)| (r.0, r.1), |r: &(f64, f64, f64)| (r.0, r.2)];
        for belief in beliefs {
            let mut rows: Vec<(f64, f64)> = rows.iter().map(belief).collect();
            rows.sort_by(|a, b| a.1.total_cmp(&b.1));
            // Each tenth: the labels' sum within 4.5 standard deviations of what the probabilities say.
            for tenth in rows.chunks(rows.len() / 10) {
                let expected: f64 = tenth.iter().map(|r| r.1).sum();
                let found: f64 = tenth.iter().map(|r| r.0).sum();
                let deviation = tenth.iter().map(|r| r.1 * (1.0 - r.1)).sum::<f64>().sqrt();
                assert!((found - expected).abs() < 4.5 * deviation, "{source}: {found} of {expected:.1}");
            }
        }
        let full = auc(&rows.iter().map(beliefs[0]).collect::<Vec<_>>());
        let aggregates = auc(&rows.iter().map(beliefs[1]).collect::<Vec<_>>());
        assert!((0.72..0.80).contains(&aggregates), "{source}: {aggregates}");
        assert!(full > aggregates + 0.02, "{source}: {full} and {aggregates}");
    }
}

#[test]
fn configurations_that_cannot_be_are_refused_before_anything_is_written() {
    let raw = tempfile::tempdir().unwrap();
    let root = raw.path().join("raw");
    let wrong = [
        (Config { users: 0, ..config(&root) }, "number of users is 0"),
        (Config { days: 0, ..config(&root) }, "number of days is 0"),
        (Config { late_share: 1.5, ..config(&root) }, "late files is 1.5, expected 0 to 1"),
    ];
    for (config, message) in wrong {
        let error = run(&config, &|_| ()).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Definition);
        assert!(error.to_string().contains(message), "{error}");
    }
    assert!(!root.exists());
}

#[test]
fn a_root_that_cannot_be_written_is_named() {
    let raw = tempfile::tempdir().unwrap();
    let blocked = raw.path().join("file");
    fs::write(&blocked, b"").unwrap();
    let error = run(&config(&blocked), &|_| ()).unwrap_err();
    assert_eq!(error.kind(), crate::error::Kind::Temporary);
    assert!(error.to_string().contains("file"), "{error}");
}
