//! Input and lakes that somebody else has had a hand in, as a scheduler meets them: the documented exit code, a message
//! that says what and where, and no panic.

use std::path::PathBuf;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use serde_json::{Value, json};

use crate::small::{self, two_days};
use crate::support::{Said, World, said, scorehouse};

const DAY: &str = "2024-02-29";
const VARIABLE: &str = "SCOREHOUSE_PII_KEY";

/// The small project with users as pseudonyms.
fn pseudonymous() -> World {
    let world = small::world();
    let sources = small::SOURCES
        .replace("user_id: {type: string, nullable: true", "user_id: {type: string, nullable: true, pii: pseudonymise");
    assert_ne!(sources, small::SOURCES);
    world.write("sql/sources.yaml", &sources);
    two_days(&world);
    world
}

fn with_key(world: &World, key: Option<&std::ffi::OsStr>) -> Said {
    let project = world.project.display().to_string();
    let mut command = scorehouse(&["ingest", "--date", DAY, "--project", &project]);
    command.arg("--raw").arg(world.raw()).arg("--lake").arg(world.lake());
    match key {
        Some(key) => command.env(VARIABLE, key),
        None => command.env_remove(VARIABLE),
    };
    said(command.output().unwrap())
}

#[test]
fn keys_that_are_none_short_or_others_are_refused_and_not_shown() {
    use std::os::unix::ffi::OsStrExt;
    let world = pseudonymous();
    let refused = |key: Option<&[u8]>, says: &str| {
        let said = with_key(&world, key.map(std::ffi::OsStr::from_bytes))
            .refuses(2, &[says, VARIABLE, "help: use the same key"]);
        let text = String::from_utf8_lossy(key.unwrap_or_default()).into_owned();
        let text = text.trim();
        assert!(text.is_empty() || !(said.stderr + &said.stdout).contains(text));
        assert!(!world.versions().contains_key("tables/pay") || world.query("select * from tables.pay").len() < 6);
    };
    refused(None, "there is no key");
    refused(Some(b""), "there is no key");
    refused(Some(b"\xff\xfe not text, but long enough"), "there is no key");
    refused(Some(b"fifteen-bytes-k"), "found: 15 bytes");
    refused(Some(b"   short key          "), "found: 9 bytes");
    refused(Some("žžžžžžž".as_bytes()), "found: 14 bytes");
    with_key(&world, Some("sixteen-bytes-ok".as_ref())).ok();
    let rows = world.query("select distinct user_id from tables.pay where user_id is not null");
    assert!(rows.iter().all(|row| row["user_id"].as_str().unwrap().len() == 64), "{rows:?}");
    refused(Some(b"sixteen-bytes-no"), "another key");
    refused(Some(b"sixteen-bytes-ok\n"), "another key");
}

#[test]
fn two_sources_that_claim_one_file_or_one_name_are_named_with_their_lines() {
    let check = |sources: &str, says: &[&str]| {
        let world = small::world();
        world.write("sql/sources.yaml", sources);
        world.run(&["check", "--project", world.project.to_str().unwrap()]).refuses(2, says);
        two_days(&world);
        world.job("ingest", DAY).refuses(2, says);
        assert!(world.versions().is_empty());
    };
    let another = |name: &str, location: &str| {
        let columns = "    event_time: at\n    columns: {id: string, at: timestamp}\n";
        format!("{}  {name}:\n    location: \"{location}\"\n{columns}", small::SOURCES)
    };
    let first = 1 + small::SOURCES.lines().position(|line| line.contains("location:")).unwrap();
    let second = small::SOURCES.lines().count() + 2;
    let (here, there) = (format!("sql/sources.yaml:{second}:"), format!("at sql/sources.yaml:{first}"));
    for location in ["pay/**/*.parquet", "*/day=2024-02-29/*", "pay/day=2024-*/[a]*.parquet", "**"] {
        check(&another("other", location), &[&here, "sources pay and other claim the same files", &there]);
    }
    // A day that no calendar has, another ending, another depth: apart.
    for location in ["pay/day=2023-02-29/*.parquet", "pay/day=*/*.csv", "pay/*.parquet"] {
        let world = small::world();
        world.write("sql/sources.yaml", &another("other", location));
        world.run(&["check", "--project", world.project.to_str().unwrap()]).ok();
    }
    check(
        &another("payments", "other/*"),
        &[
            "sql/marts/payments.yaml:",
            "`payments` is a source and a table",
            &format!("sql/sources.yaml:{}", second - 1),
        ],
    );
    check(
        &another("manifest", "other/*"),
        &[&format!("sql/sources.yaml:{}", second - 1), "`manifest` is a table of Scorehouse's own"],
    );
    check(&another("pay", "other/*"), &["sql/sources.yaml:", "duplicate"]);
    let world = small::world();
    world.write("sql/marts/runs.sql", "select * from pay");
    world.write("sql/marts/runs.yaml", "key: [id]\nmaterialized: full\n");
    let says = ["sql/marts/runs.yaml:", "`runs` is a table of Scorehouse's own"];
    world.run(&["check", "--project", world.project.to_str().unwrap()]).refuses(2, &says);
}

/// A small night, and the log of one of its tables.
fn night() -> World {
    let world = small::world();
    two_days(&world);
    world.job("nightly", DAY).ok();
    world
}

fn log(world: &World, table: &str) -> PathBuf {
    world.lake().join(table).join("_delta_log")
}

fn newest(world: &World, table: &str) -> u64 {
    let names = std::fs::read_dir(log(world, table)).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(".json")?.parse().ok()).max().unwrap()
}

fn entry(world: &World, table: &str, version: u64) -> PathBuf {
    log(world, table).join(format!("{version:020}.json"))
}

/// Adds an entry to a table's log, as another writer would.
fn commit(world: &World, table: &str, action: &Value) {
    std::fs::write(entry(world, table, newest(world, table) + 1), format!("{action}\n")).unwrap();
}

/// Every job that reads the source's table, or the one made of it, says what is wrong with it, and ends with 3.
fn all_refuse(world: &World, table: &str, says: &[&str]) {
    let name = table.rsplit('/').next().unwrap();
    let project = world.project.display().to_string();
    let mut all = says.to_vec();
    all.extend([table, "help:"]);
    std::fs::write(world.raw().join("pay/day=2024-02-29/more.parquet"), more()).unwrap();
    let query = format!("select count(*) as n, max(amount) as most from {name}");
    let job = |job| vec![job, "--date", DAY, "--project", project.as_str()];
    let mut jobs = vec![vec!["query", query.as_str()], job("maintain")];
    match name {
        "pay" => jobs.extend([job("ingest"), job("tables"), job("nightly")]),
        _ => jobs.extend([job("features"), [job("verify"), vec!["--sample", "2"]].concat()]),
    }
    for job in jobs {
        let said = world.run(&job).refuses(3, &all);
        assert!(!said.stderr.contains("panicked"), "{job:?}: {}", said.stderr);
    }
}

/// News for ingest, so that no job is done before it reads.
fn more() -> Vec<u8> {
    let batch = small::batch(&[("p7", Some("u1"), Some("2024-02-29T01:00:00Z"), 700)]);
    let mut bytes = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn a_table_with_deletion_vectors_is_refused_by_every_job() {
    let world = night();
    let features = ["deletionVectors"];
    let protocol =
        json!({"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": features, "writerFeatures": features});
    for table in ["tables/payments", "tables/pay"] {
        commit(&world, table, &json!({"protocol": protocol}));
        all_refuse(&world, table, &["deletionVectors"]);
    }
}

#[test]
fn a_table_whose_log_lost_an_entry_is_refused_by_every_job() {
    let world = night();
    std::fs::write(entry(&world, "tables/pay", 1), b"").unwrap();
    all_refuse(&world, "tables/pay", &["entry 1 of its log is empty"]);
    commit(&world, "tables/pay", &json!({"commitInfo": {}}));
    std::fs::remove_file(entry(&world, "tables/pay", 1)).unwrap();
    all_refuse(&world, "tables/pay", &["entry 1 of its log is missing"]);
}

#[test]
fn a_table_whose_log_was_cut_is_refused_by_every_job() {
    let world = night();
    let entry = entry(&world, "tables/pay", 1);
    let whole = std::fs::read(&entry).unwrap();
    std::fs::write(&entry, &whole[..whole.len() / 2]).unwrap();
    all_refuse(&world, "tables/pay", &["its log cannot be read"]);
}

#[test]
fn a_table_that_names_a_file_outside_of_it_is_refused_by_every_job() {
    let world = night();
    let add = json!({"path": "../../../secret.parquet", "size": 7, "partitionValues": {"event_date": DAY}, "modificationTime": 0, "dataChange": true});
    commit(&world, "tables/pay", &json!({"add": add}));
    all_refuse(&world, "tables/pay", &["names a data file outside of it: ../../../secret.parquet"]);
}

#[test]
fn a_data_file_that_is_gone_ends_each_job_that_reads_it_with_its_name() {
    let world = night();
    let day = world.lake().join("tables/pay/event_date=2024-02-29");
    let file = std::fs::read_dir(&day).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(&file).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap().to_string();
    let project = world.project.display().to_string();
    std::fs::write(world.raw().join("pay/day=2024-02-29/more.parquet"), more()).unwrap();
    for job in
        [vec!["query", "select max(amount) as most from pay"], vec!["ingest", "--date", DAY, "--project", &project]]
    {
        world.run(&job).refuses(3, &["tables/pay", &name, "is gone", "help:"]);
    }
}

/// Its size and footer are right: only who decodes its pages finds out.
#[test]
fn a_data_file_whose_pages_are_broken_ends_each_job_that_reads_it_with_its_name() {
    let world = night();
    let day = world.lake().join("tables/pay/event_date=2024-02-29");
    let file = std::fs::read_dir(&day).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    let footer = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap()) as usize;
    let pages = 4..bytes.len() - 8 - footer;
    bytes[pages].fill(0xff);
    std::fs::write(&file, bytes).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap().to_string();
    let project = world.project.display().to_string();
    std::fs::write(world.raw().join("pay/day=2024-02-29/more.parquet"), more()).unwrap();
    for job in
        [vec!["query", "select max(amount) as most from pay"], vec!["ingest", "--date", DAY, "--project", &project]]
    {
        let said = world.run(&job);
        assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
        said.refuses(3, &["tables/pay", &name, "is not a readable Parquet file", "help:"]);
    }
}

#[test]
fn a_broken_raw_file_makes_no_noise_but_its_message() {
    let world = small::world();
    two_days(&world);
    let ids: ArrayRef = std::sync::Arc::new(StringArray::from(vec!["p1"; 100]));
    let at: ArrayRef = std::sync::Arc::new(TimestampMicrosecondArray::from(vec![0; 100]).with_timezone("UTC"));
    let n: ArrayRef = std::sync::Arc::new(Int64Array::from(vec![1; 100]));
    let batch =
        RecordBatch::try_from_iter([("id", ids.clone()), ("user_id", ids), ("paid_at", at), ("amount", n)]).unwrap();
    let path = world.raw().join("pay/day=2024-02-29/bad.parquet");
    small::write(&path, &batch);
    let whole = std::fs::read(&path).unwrap();
    for at in (4..whole.len() - 8).step_by(31) {
        let mut bytes = whole.clone();
        bytes[at..(at + 3).min(whole.len() - 8)].fill(0xff);
        std::fs::write(&path, bytes).unwrap();
        let said = world.run(&["ingest", "--date", DAY, "--project", world.project.to_str().unwrap()]);
        assert!([0, 3].contains(&said.code), "{at}: {said:#?}");
        assert!(!said.stderr.contains("panicked") && !said.stderr.contains("backtrace"), "{at}: {}", said.stderr);
        assert!(said.code == 0 || said.stderr.contains("bad.parquet"), "{at}: {}", said.stderr);
        if said.code == 0 {
            // What a byte more or less leaves readable: the lake has it; the next is tried on a new one.
            std::fs::remove_dir_all(world.lake()).unwrap();
        }
    }
}

/// No least and greatest value of whom or what a row is about, in any file or log of the lake.
#[test]
fn statistics_say_nothing_of_entities() {
    let world = night();
    let (mut files, mut entries, mut counted) = (0, 0, 0);
    let mut waiting = vec![world.lake()];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.display().to_string();
        if is_of_the_house(&name) {
            continue;
        }
        if name.ends_with(".json") && name.contains("_delta_log") {
            entries += 1;
            for line in std::fs::read_to_string(&path).unwrap().lines() {
                let action: Value = serde_json::from_str(line).unwrap();
                let Some(statistics) = action["add"]["stats"].as_str() else { continue };
                let statistics: Value = serde_json::from_str(statistics).unwrap();
                for kind in ["minValues", "maxValues", "nullCount"] {
                    let told: Vec<&String> =
                        statistics[kind].as_object().unwrap().keys().filter(|name| is_of_an_entity(name)).collect();
                    assert!(told.is_empty(), "{name}: {kind} of {told:?}");
                }
            }
        } else if name.ends_with(".parquet") && !name.contains("_delta_log") {
            files += 1;
            let file = std::fs::File::open(&path).unwrap();
            let reader = parquet::file::reader::SerializedFileReader::new(file).unwrap();
            let metadata = parquet::file::reader::FileReader::metadata(&reader);
            for column in metadata.row_groups().iter().flat_map(|group| group.columns()) {
                let root = &column.column_path().parts()[0];
                let is_silent = column.statistics().is_none() && column.column_index_offset().is_none();
                assert!(!is_of_an_entity(root) || is_silent, "{name}: {root}");
                counted += usize::from(column.statistics().is_some());
            }
        }
    }
    // Times and numbers have some: rows are skipped by them.
    assert!(files > 5 && entries > 5 && counted > 10, "{files} files, {entries} entries, {counted} columns");
}

fn is_of_an_entity(column: &str) -> bool {
    column == "id" || column.ends_with("_id")
}

/// Tables about runs and files, whose ids are nobody's.
fn is_of_the_house(path: &str) -> bool {
    ["/runs/", "/manifest/", "/audits/", "/registry/"].iter().any(|table| path.contains(table))
}
