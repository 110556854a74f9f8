//! Everything a reader of a lake can see, as text, so that two lakes can be compared row by row.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use arrow::array::Array;
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use scorehouse::engine::session::{Session, SessionOptions};
use scorehouse::lake::Lake;

use crate::agree::run::block_on;

/// Tables and directories of files by name, each with its rows in order. Not `runs`, which is a diary.
pub type Dump = BTreeMap<String, Vec<String>>;

pub fn dump(lake: &Path) -> Dump {
    let mut names = Vec::new();
    tables(lake, lake, &mut names);
    dump_of(&Lake::open(lake.to_str().unwrap(), HashMap::new()).unwrap(), names)
}

/// The same of a lake that lies anywhere: these of its tables, and its models.
pub fn dump_of(opened: &Lake, names: Vec<String>) -> Dump {
    let mut seen = Dump::new();
    for name in names.into_iter().filter(|name| name != "runs") {
        seen.insert(name.clone(), block_on(rows(opened, &name)));
    }
    for model in block_on(opened.directories("models")).unwrap() {
        for version in block_on(opened.directories(&format!("models/{model}"))).unwrap() {
            let dir = format!("models/{model}/{version}");
            // A directory without its list does not exist.
            if let Some(files) = block_on(opened.get_files(&dir)).unwrap() {
                seen.insert(dir, files.into_iter().map(|(name, bytes)| format!("{name} {bytes:?}")).collect());
            }
        }
    }
    seen
}

/// The rows of one table, whatever it is called; in their order of text.
pub async fn rows(lake: &Lake, table: &str) -> Vec<String> {
    let Some(snapshot) = lake.snapshot(table).await.unwrap() else { return Vec::new() };
    let session = Session::new(&SessionOptions::default()).unwrap();
    let frame = session.context().read_table(snapshot.provider().unwrap()).unwrap();
    let mut rows: Vec<String> = frame.collect().await.unwrap().iter().flat_map(texts).collect();
    rows.sort();
    rows
}

/// Each row with the names of its columns; not which run wrote it, nor a fingerprint of the files that it read: in
/// another lake the same rows lie in files of other names.
fn texts(batch: &RecordBatch) -> Vec<String> {
    let schema = batch.schema();
    let cell = |column: usize, row: usize| {
        let array = batch.column(column);
        let value = if array.is_null(row) { "null".into() } else { array_value_to_string(array, row).unwrap() };
        format!("{}={value}", schema.field(column).name())
    };
    let is_told = |name: &str| name != "run_id" && name != "inputs";
    let told: Vec<usize> = (0..batch.num_columns()).filter(|i| is_told(schema.field(*i).name())).collect();
    let text = |row| told.iter().map(|column| cell(*column, row)).collect::<Vec<_>>().join(" ");
    (0..batch.num_rows()).map(text).collect()
}

/// Not the numbers that audits have from the commits of their table, which upkeep adds to.
pub fn without_numbers(mut dump: Dump) -> Dump {
    for row in dump.get_mut("audits").into_iter().flatten() {
        let told = row.split_once(" sequence=").map(|(told, _)| told.to_string());
        *row = told.unwrap_or_default();
    }
    dump
}

fn tables(root: &Path, dir: &Path, names: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for path in entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        if path.join("_delta_log").is_dir() {
            names.push(path.strip_prefix(root).unwrap().display().to_string());
        }
        tables(root, &path, names);
    }
}

/// The same tables with the same rows.
#[track_caller]
pub fn assert_same(found: &Dump, expected: &Dump, when: &str) {
    for name in expected.keys().chain(found.keys()) {
        let (found, expected) = (found.get(name), expected.get(name));
        assert!(found == expected, "{when}: {name} differs\n  found: {found:#?}\n  expected: {expected:#?}");
    }
}

/// Each table as it was before the night, or as it is after, or created and still empty: nothing in between. What audits
/// found comes table by table; what became of a model comes by commits, of which each is its events of one kind: a version
/// is trained, and then judged.
#[track_caller]
pub fn assert_whole(found: &Dump, before: &Dump, after: &Dump, when: &str) {
    let (found, before, after) = (commits(found), commits(before), commits(after));
    for (name, rows) in &found {
        let old = before.get(name);
        let whole = Some(rows) == after.get(name) || Some(rows) == old || old.is_none() && rows.is_empty();
        assert!(whole, "{when}: {name} is neither as before nor as after the night: {rows:#?}");
    }
}

/// What is committed at once, by name.
fn commits(dump: &Dump) -> Dump {
    let mut commits = Dump::new();
    for (name, rows) in dump {
        let of = |row: &str| match name.as_str() {
            "audits" => row.split(' ').find(|cell| cell.starts_with("table=")).unwrap_or_default().to_string(),
            "registry" => if row.contains(" event=trained ") { "trained" } else { "judged" }.to_string(),
            _ => String::new(),
        };
        commits.entry(format!("{name} ")).or_default();
        for row in rows {
            commits.entry(format!("{name} {}", of(row))).or_default().push(row.clone());
        }
    }
    commits
}
