//! Ingest on a local lake: every kind of delivery, and one load of everything against night after night.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::util::pretty::pretty_format_batches;
use chrono::{Days, NaiveDate};
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::define::Project;
use crate::define::project::TextFile;
use crate::define::types::DAY;
use crate::engine::session::SessionOptions;
use crate::error::Kind;

mod forms;
mod hostile;
mod lies;
mod names;
mod rules;
mod structure;
mod torture;

const SOURCES: &str = "
sources:
  pay:
    location: pay/day={date}/*.parquet
    event_time: at
    key: [id]
    columns:
      id: string
      at: timestamp
      n: {type: int64, nullable: true, doc: How many.}
  visit:
    location: visit/day={date}/*.parquet
    event_time: at
    optional: true
    max_bad_share: 0.5
    columns: {id: string, at: timestamp}
  once:
    location: once.parquet
    event_time: at
    key: [id]
    optional: true
    columns: {id: string, at: timestamp, n: {type: int64, nullable: true}}
  person:
    location: person/**/*.parquet
    static: true
    key: [id]
    optional: true
    columns:
      id: string
      email: {type: string, nullable: true, pii: drop}
      phone: {type: string, nullable: true, pii: pseudonymise}
      digits: {type: int32, nullable: true, derive: \"length(regexp_replace(email, '[^0-9]', '', 'g'))\"}
";

/// A raw root, a lake and a project.
struct World {
    dir: TempDir,
    project: Project,
    session: Session,
    key: Vec<u8>,
}

/// (id, instant in microseconds, n)
type Row<'a> = (&'a str, Option<i64>, Option<i64>);

impl World {
    fn new() -> World {
        World::of(SOURCES)
    }

    fn of(sources: &str) -> World {
        let session = Session::new(&SessionOptions::default()).unwrap();
        let key = b"a key that is long enough".to_vec();
        World { dir: TempDir::new().unwrap(), project: project(sources), session, key }
    }

    fn raw(&self, path: &str) -> PathBuf {
        let path = self.dir.path().join("raw ü").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn put(&self, path: &str, rows: &[Row]) {
        std::fs::write(self.raw(path), parquet(&pays(rows))).unwrap();
    }

    fn lake(&self) -> Lake {
        Lake::open(self.dir.path().join("lake").to_str().unwrap(), HashMap::new()).unwrap()
    }

    /// Writes a raw text file.
    fn text(&self, path: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.raw(path), text).unwrap();
    }

    fn raw_root(&self) -> Raw {
        Raw::open(self.raw("").to_str().unwrap(), &HashMap::new()).unwrap()
    }

    fn night<'a>(&'a self, lake: &'a Lake, raw: &'a Raw, day: u64) -> Night<'a> {
        Night {
            lake,
            raw,
            session: &self.session,
            date: date(day),
            run_id: "r",
            entities: BTreeSet::new(),
            pii_key: Some(self.key.clone()),
            pii_variable: "KEY",
            // So that there is more than one range of days.
            rows_at_once: 8,
        }
    }

    async fn ingest(&self, source: &str, day: u64) -> Result<SourceReport> {
        let (lake, raw) = (self.lake(), self.raw_root());
        let sources = [&self.project.sources[source]];
        Ok(ingest(&self.night(&lake, &raw, day), &sources, || ()).await?.remove(0))
    }

    async fn query(&self, table: &str, sql: &str) -> String {
        let Some(snapshot) = self.lake().snapshot(table).await.unwrap() else { return "no table".into() };
        self.session.register("t", snapshot.provider().unwrap()).unwrap();
        let batches = self.session.sql(sql).await.unwrap().collect().await.unwrap();
        pretty_format_batches(&batches).unwrap().to_string()
    }

    /// (id, n, day known from, day known until) of all versions.
    async fn versions(&self, source: &str) -> Vec<(String, i64, i64, Option<i64>)> {
        let snapshot = self.lake().snapshot(&format!("tables/{source}")).await.unwrap().unwrap();
        self.session.register("t", snapshot.provider().unwrap()).unwrap();
        let sql = "select id, coalesce(n, -1), _known_from, _known_until from t order by id, _known_from, n";
        let mut versions = Vec::new();
        for batch in self.session.sql(sql).await.unwrap().collect().await.unwrap() {
            use arrow::array::{Array, AsArray};
            use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
            let from = batch.column(2).as_primitive::<TimestampMicrosecondType>();
            let until = batch.column(3).as_primitive::<TimestampMicrosecondType>();
            for row in 0..batch.num_rows() {
                versions.push((
                    batch.column(0).as_string::<i32>().value(row).to_string(),
                    batch.column(1).as_primitive::<Int64Type>().value(row),
                    from.value(row) / DAY,
                    until.is_valid(row).then(|| until.value(row) / DAY),
                ));
            }
        }
        versions
    }

    async fn version(&self, table: &str) -> Option<u64> {
        self.lake().snapshot(table).await.unwrap().map(|snapshot| snapshot.version())
    }
}

fn project(sources: &str) -> Project {
    let (project, wrong) = Project::parse(&[TextFile { path: "sql/sources.yaml".into(), text: sources.into() }]);
    assert!(wrong.is_empty(), "{wrong:?}");
    project
}

/// Day 0 is 1970-01-01.
fn date(day: u64) -> NaiveDate {
    NaiveDate::default() + Days::new(day)
}

fn path(day: u64, name: &str) -> String {
    format!("pay/day={}/{name}.parquet", date(day))
}

fn hour(day: i64, hour: i64) -> Option<i64> {
    Some(day * DAY + hour * DAY / 24)
}

fn pays(rows: &[Row]) -> RecordBatch {
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.0)))),
        ("at", Arc::new(TimestampMicrosecondArray::from_iter(rows.iter().map(|r| r.1)))),
        ("n", Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.2)))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn parquet(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn v(id: &str, n: i64, from: i64, until: Option<i64>) -> (String, i64, i64, Option<i64>) {
    (id.into(), n, from, until)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_load_is_history_and_a_repeat_commits_nothing() {
    let world = World::new();
    world.put(&path(0, "a"), &[("p1", hour(0, 1), Some(1)), ("p2", hour(0, 2), Some(2))]);
    // Late for p3, a correction of p1, a duplicate of p2; and a file of tomorrow.
    world.put(
        &path(2, "a č%"),
        &[("p3", hour(0, 3), Some(3)), ("p1", hour(0, 1), Some(9)), ("p2", hour(0, 2), Some(2))],
    );
    world.put(&path(4, "a"), &[("p4", hour(4, 1), Some(4))]);
    let report = world.ingest("pay", 3).await.unwrap();
    assert_eq!((report.files, report.read, report.written, report.duplicate), (2, 5, 4, 1));
    assert_eq!(report.warnings, ["no file of 1970-01-04"]);
    let expected = [v("p1", 1, 1, Some(3)), v("p1", 9, 3, None), v("p2", 2, 1, None), v("p3", 3, 3, None)];
    assert_eq!(world.versions("pay").await, expected);
    let before = (world.version("tables/pay").await, world.version("manifest").await);
    let again = world.ingest("pay", 3).await.unwrap();
    assert_eq!((again.files, again.committed), (0, false));
    assert_eq!((world.version("tables/pay").await, world.version("manifest").await), before);
    assert_eq!(world.ingest("pay", 4).await.unwrap().written, 1);
    let shown = world.query("tables/pay", "select event_date, count(*) as n from t group by 1 order by 1").await;
    assert!(shown.contains("| 1970-01-01 | 4 |") && shown.contains("| 1970-01-05 | 1 |"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn late_files_are_known_from_the_latest_night() {
    let world = World::new();
    world.put(&path(5, "a"), &[("p1", hour(5, 1), Some(1))]);
    world.ingest("pay", 5).await.unwrap();
    world.put(&path(2, "late"), &[("p2", hour(2, 1), Some(2))]);
    // A night before the latest: what it finds was not known then.
    world.ingest("pay", 3).await.unwrap();
    assert_eq!(world.versions("pay").await, [v("p1", 1, 6, None), v("p2", 2, 6, None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_is_recognised_under_another_name_and_changes_under_the_same() {
    let world = World::new();
    world.put(&path(0, "a"), &[("p1", hour(0, 1), Some(1))]);
    world.ingest("pay", 0).await.unwrap();
    let table = world.version("tables/pay").await;
    world.put(&path(1, "copy"), &[("p1", hour(0, 1), Some(1))]);
    let copy = world.ingest("pay", 1).await.unwrap();
    assert_eq!((copy.files, copy.read, copy.duplicate, copy.committed), (1, 1, 1, false));
    assert_eq!(world.version("tables/pay").await, table);
    let shown = world.query("manifest", "select path, status from t order by sequence").await;
    assert!(shown.contains("copy.parquet | redelivered"), "{shown}");
    world.put(&path(0, "a"), &[("p1", hour(0, 1), Some(2))]);
    world.ingest("pay", 2).await.unwrap();
    // Back to what it was: that is news, too.
    world.put(&path(0, "a"), &[("p1", hour(0, 1), Some(1))]);
    world.ingest("pay", 3).await.unwrap();
    let expected = [v("p1", 1, 1, Some(3)), v("p1", 2, 3, Some(4)), v("p1", 1, 4, None)];
    assert_eq!(world.versions("pay").await, expected);
    // Touched, not changed.
    world.put(&path(0, "a"), &[("p1", hour(0, 1), Some(1))]);
    assert!(!world.ingest("pay", 3).await.unwrap().committed);
    assert_eq!(world.versions("pay").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_key_are_appended_and_bad_rows_quarantined() {
    let world = World::new();
    let rows = [("u1", hour(0, 1), None), ("u1", hour(0, 1), None), ("u2", None, None)];
    world.put(&format!("visit/day={}/a.parquet", date(0)), &rows);
    let report = world.ingest("visit", 0).await.unwrap();
    assert_eq!((report.read, report.written, report.quarantined), (3, 2, 1));
    assert_eq!(report.warnings, ["columns not declared: n"]);
    let shown = world.query("quarantine/visit", "select row, reason, data from t").await;
    assert!(shown.contains(r#"| 2   | null in event time `at` | {"id":"u2"} |"#), "{shown}");
    world.put(&format!("visit/day={}/b.parquet", date(0)), &rows[1..]);
    world.ingest("visit", 0).await.unwrap();
    let shown = world.query("tables/visit", "select count(*) as n from t").await;
    assert!(shown.contains("| 3 |"), "{shown}");
    world.put(&format!("visit/day={}/c.parquet", date(0)), &rows[2..]);
    let error = world.ingest("visit", 0).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Data);
    assert!(error.to_string().contains("1 of 1 rows are bad: null in event time `at` (1)"), "{error}");
    assert!(world.query("tables/visit", "select count(*) as n from t").await.contains("| 3 |"));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_files_are_named_and_nothing_of_their_source_is_loaded() {
    let good = parquet(&pays(&[("p1", hour(0, 1), Some(1))]));
    let without = parquet(&pays(&[("p1", hour(0, 1), Some(1))]).project(&[0, 1]).unwrap());
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let retyped = pays(&[("p1", hour(0, 1), Some(1))]);
    let retyped =
        RecordBatch::try_from_iter([("id", retyped.column(0).clone()), ("at", retyped.column(1).clone()), ("n", text)]);
    let cases: [(Vec<u8>, &[&str]); 5] = [
        (Vec::new(), &["is empty"]),
        (b"no parquet".to_vec(), &["not a readable Parquet file", "help: deliver it again"]),
        (good[..good.len() - 9].to_vec(), &["not a readable Parquet file"]),
        (without, &["column `n` is missing", "expected: int64", "found: the columns id, at"]),
        (parquet(&retyped.unwrap()), &["column `n` has another type", "expected: int64", "found: Utf8"]),
    ];
    for (bytes, says) in cases {
        let world = World::new();
        std::fs::write(world.raw(&path(0, "good")), &good).unwrap();
        std::fs::write(world.raw(&path(0, "bad")), bytes).unwrap();
        let error = world.ingest("pay", 0).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Data);
        let error = error.to_string();
        assert!(says.iter().chain(&["source pay", "bad.parquet"]).all(|say| error.contains(say)), "{error}");
        assert_eq!(world.versions("pay").await, []);
        assert!(world.query("manifest", "select path, status from t").await.contains("bad.parquet | unreadable"));
        let recorded = world.version("manifest").await;
        world.ingest("pay", 0).await.unwrap_err();
        assert_eq!(world.version("manifest").await, recorded, "recorded once");
        std::fs::remove_file(world.raw(&path(0, "bad"))).unwrap();
        assert_eq!(world.ingest("pay", 0).await.unwrap().written, 1);
        assert_eq!(world.versions("pay").await, [v("p1", 1, 1, None)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_files_an_empty_file_and_an_optional_source() {
    let world = World::new();
    let error = world.ingest("pay", 0).await.unwrap_err().to_string();
    assert!(error.contains("source pay: there are no files") && error.contains("pay/day={date}/*.parquet"), "{error}");
    world.put(&path(3, "later"), &[]);
    let error = world.ingest("pay", 0).await.unwrap_err().to_string();
    assert!(error.contains("up to 1970-01-01 (1 are of later days)"), "{error}");
    assert_eq!(world.ingest("visit", 0).await.unwrap().files, 0);
    assert!(world.query("tables/visit", "select count(*) as n from t").await.contains("| 0 |"));
    assert_eq!(world.ingest("pay", 3).await.unwrap().files, 1);
    assert_eq!(world.versions("pay").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undated_file_counts_for_the_days_of_its_rows_and_then_for_the_night() {
    let world = World::new();
    let first = [("p1", hour(0, 1), Some(1)), ("p2", hour(7, 1), Some(2))];
    world.put("once.parquet", &first);
    world.ingest("once", 9).await.unwrap();
    assert_eq!(world.versions("once").await, [v("p1", 1, 1, None), v("p2", 2, 8, None)]);
    world.put("once.parquet", &[first[0], ("p2", hour(7, 1), Some(3)), ("p3", hour(8, 1), None)]);
    let report = world.ingest("once", 10).await.unwrap();
    assert_eq!((report.read, report.written, report.duplicate), (3, 2, 1));
    let expected = [v("p1", 1, 1, None), v("p2", 2, 8, Some(11)), v("p2", 3, 11, None), v("p3", -1, 11, None)];
    assert_eq!(world.versions("once").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn reference_data_is_versioned_by_load_and_personal_data_hidden() {
    let world = World::new();
    let people = |rows: &[(&str, &str)]| {
        let column =
            |of: fn(&(&str, &str)) -> String| Arc::new(StringArray::from_iter_values(rows.iter().map(of))) as ArrayRef;
        let mail = column(|r| r.1.to_string());
        let batch =
            RecordBatch::try_from_iter([("id", column(|r| r.0.into())), ("email", mail.clone()), ("phone", mail)]);
        parquet(&batch.unwrap())
    };
    std::fs::write(world.raw("person/x/1.parquet"), people(&[("u1", "a77@x"), ("u2", "b@x")])).unwrap();
    std::fs::write(world.raw("person/2.parquet"), people(&[("u3", "c1@x")])).unwrap();
    world.ingest("person", 5).await.unwrap();
    let sql = "select id, phone, digits, _known_from, _known_until from t order by 1, 4";
    let shown = world.query("tables/person", sql).await;
    assert!(!shown.contains("@x") && shown.contains("1970-01-01T00:00:00Z"), "{shown}");
    assert!(!world.query("tables/person", "select * from t limit 1").await.contains("email"));
    // u2 is gone, u1 changed; the file with u3 stays as it was.
    std::fs::write(world.raw("person/x/1.parquet"), people(&[("u1", "a7@x")])).unwrap();
    let report = world.ingest("person", 6).await.unwrap();
    assert_eq!((report.files, report.read, report.written), (1, 1, 1));
    let shown = world.query("tables/person", "select id, digits, _known_until from t order by id, _known_from").await;
    let lines: Vec<&str> = shown.lines().filter(|line| line.contains("| u")).collect();
    assert_eq!(lines.len(), 4, "{shown}");
    assert!(lines[0].contains("| 2 ") && lines[0].contains("1970-01-08T00:00:00Z"), "{shown}");
    assert!(lines[1].contains("| 1 ") && !lines[1].contains("Z"), "{shown}");
    assert!(lines[2].contains("u2") && lines[2].contains("1970-01-08T00:00:00Z"), "{shown}");
    assert!(lines[3].contains("u3") && !lines[3].contains("Z"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pseudonyms_need_a_key_and_are_standard() {
    let world = World::new();
    let column: ArrayRef = Arc::new(StringArray::from(vec![Some("what do ya want for nothing?"), None]));
    // RFC 4231, test case 2.
    let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    let hidden = super::rows::pseudonyms(&column, b"Jefe").unwrap();
    let hidden = arrow::array::AsArray::as_string::<i32>(&hidden);
    assert_eq!(hidden.iter().collect::<Vec<_>>(), [Some(expected), None]);
    let (lake, raw) = (world.lake(), Raw::open(world.raw("").to_str().unwrap(), &HashMap::new()).unwrap());
    let night = Night {
        lake: &lake,
        raw: &raw,
        session: &world.session,
        date: date(0),
        run_id: "r",
        entities: BTreeSet::new(),
        pii_key: None,
        pii_variable: "SOME_KEY",
        rows_at_once: 8,
    };
    let error = ingest(&night, &[&world.project.sources["person"]], || ()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Definition);
    assert!(error.to_string().contains("SOME_KEY"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_may_be_declared_later() {
    let mut world = World::new();
    world.put(&path(0, "a"), &[("p1", hour(0, 1), Some(1)), ("p2", hour(0, 1), None)]);
    let without = SOURCES.replace("      n: {type: int64, nullable: true, doc: How many.}\n", "");
    world.project = project(&without);
    assert_eq!(world.ingest("pay", 0).await.unwrap().warnings, ["columns not declared: n"]);
    world.project = project(SOURCES);
    world.put(&path(1, "a"), &[("p1", hour(0, 1), Some(1)), ("p2", hour(0, 1), None)]);
    world.put(&path(1, "b"), &[("p3", hour(1, 1), Some(3))]);
    world.ingest("pay", 1).await.unwrap();
    // The same content as before, so it is not read again: what was not declared then stays unknown.
    assert_eq!(world.versions("pay").await, [v("p1", -1, 1, None), v("p2", -1, 1, None), v("p3", 3, 2, None)]);
    world.put(&path(2, "a"), &[("p1", hour(0, 1), Some(1)), ("p2", hour(0, 1), None), ("p3", hour(1, 1), Some(3))]);
    assert_eq!(world.ingest("pay", 2).await.unwrap().written, 1);
    let expected = [v("p1", -1, 1, Some(3)), v("p1", 1, 3, None), v("p2", -1, 1, None), v("p3", 3, 2, None)];
    assert_eq!(world.versions("pay").await, expected);
    world.project = project(&without);
    world.put(&path(3, "a"), &[("p4", hour(3, 1), None)]);
    let error = world.ingest("pay", 3).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Definition);
    assert!(error.to_string().contains("help: only nullable columns may be added"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_without_a_name_is_the_day_of_its_rows() {
    let world = World::new();
    world.put("pay/day=__HIVE_DEFAULT_PARTITION__/x.parquet", &[("p1", hour(2, 1), Some(1))]);
    world.ingest("pay", 4).await.unwrap();
    assert_eq!(world.versions("pay").await, [v("p1", 1, 3, None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_the_manifest_is_completed_by_the_next_run() {
    let world = World::new();
    let visits = |name: &str| format!("visit/day={}/{name}.parquet", date(0));
    world.put(&visits("a"), &[("u1", hour(0, 1), None)]);
    world.ingest("visit", 0).await.unwrap();
    std::fs::remove_dir_all(world.dir.path().join("lake/manifest")).unwrap();
    // More has come since; what was committed must not come twice.
    world.put(&visits("b"), &[("u2", hour(0, 1), None)]);
    world.ingest("visit", 1).await.unwrap();
    assert!(world.query("tables/visit", "select count(*) as n from t").await.contains("| 2 |"));
    let shown = world.query("manifest", "select path, rows_written from t order by path").await;
    assert!(shown.contains("a.parquet | 1") && shown.contains("b.parquet | 1"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_ingests_at_once_load_everything_once() {
    let world = Arc::new(World::new());
    for day in 0..5 {
        world.put(&path(day, "a"), &[("p1", hour(day as i64, 1), Some(1))]);
        world.put(&format!("visit/day={}/a.parquet", date(day)), &[("u1", hour(day as i64, 1), None)]);
    }
    for source in ["pay", "visit"] {
        let runs = (0..3).map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.ingest(source, 5).await.map(|r| r.written) })
        });
        for outcome in futures::future::join_all(runs).await {
            if let Err(error) = outcome.unwrap() {
                assert_eq!(error.kind(), Kind::Temporary, "{error}");
            }
        }
        world.ingest(source, 5).await.unwrap();
        let shown = world.query(&format!("tables/{source}"), "select count(*) as n from t").await;
        assert!(shown.contains("| 5 |"), "{source}: {shown}");
    }
}

/// Another run's commit comes between this run's look at the manifest and at the table.
#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_overtaken_before_it_begins_to_write_doubles_nothing() {
    for source in ["pay", "visit"] {
        let world = World::new();
        let file = |day: u64| format!("{source}/day={}/a.parquet", date(day));
        world.put(&file(0), &[("u1", hour(0, 1), None)]);
        world.ingest(source, 0).await.unwrap();
        world.put(&file(1), &[("u2", hour(1, 1), None), ("u3", hour(1, 2), None)]);
        let (lake, raw) = (world.lake(), world.raw_root());
        let night = world.night(&lake, &raw, 1);
        let mut manifest = Manifest::load(&lake, &world.session).await.unwrap();
        world.ingest(source, 1).await.unwrap();
        let suppressed = Suppressions::load(&lake, &world.session).await.unwrap();
        let definition = &world.project.sources[source];
        let late = one(&night, definition, &mut manifest, date(1), date(1), &suppressed).await.unwrap_err();
        assert_eq!(late.kind(), Kind::Temporary, "{late}");
        assert!(late.to_string().contains("run this job again"), "{late}");
        manifest.commit(&lake, &world.session).await.unwrap();
        world.ingest(source, 1).await.unwrap();
        assert!(world.query(&format!("tables/{source}"), "select count(*) as n from t").await.contains("| 3 |"));
        let shown = world.query("manifest", "select rows_written, duplicates from t order by sequence").await;
        let rows: Vec<&str> = shown.lines().filter(|line| line.contains("| 0 ")).collect();
        assert_eq!(rows.len(), 2, "{source}: {shown}");
        assert!(rows[0].starts_with("| 1 ") && rows[1].starts_with("| 2 "), "{source}: {shown}");
    }
}

/// The second finds what the first committed and did not record yet, and records it for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_two_runs_record_of_one_commit_is_recorded_once() {
    let world = World::new();
    for source in ["pay", "visit"] {
        world.put(&format!("{source}/day={}/a.parquet", date(0)), &[("u1", hour(0, 1), None)]);
        world.ingest(source, 0).await.unwrap();
    }
    let lake = world.lake();
    std::fs::remove_dir_all(world.dir.path().join("lake/manifest")).unwrap();
    let mut runs = [Manifest::default(), Manifest::default(), Manifest::default()];
    runs[0].recover(&lake, "pay").await.unwrap();
    for run in &mut runs[1..] {
        run.recover(&lake, "visit").await.unwrap();
        run.recover(&lake, "pay").await.unwrap();
    }
    let [first, second, third] = &mut runs;
    // One after the other, and two at once.
    first.commit(&lake, &world.session).await.unwrap();
    let both = tokio::join!(second.commit(&lake, &world.session), third.commit(&lake, &world.session));
    both.0.and(both.1).unwrap();
    let shown = world.query("manifest", "select source, sequence from t order by sequence").await;
    assert!(shown.contains("| pay    | 0 ") && shown.contains("| visit  | 1 "), "{shown}");
    assert_eq!(shown.lines().count(), 6, "{shown}");
}

/// (id, event day, n)
type Delivered = Vec<(u8, i64, i64)>;
/// Night, file name, rows.
type Delivery = (u64, u8, Delivered);

fn deliveries() -> impl Strategy<Value = Vec<Delivery>> {
    let row = (0u8..5, 0i64..4, 0i64..3);
    prop::collection::vec((0u64..6, 0u8..3, prop::collection::vec(row, 0..6)), 1..10)
}

/// A number that says the day, too.
fn told(day: i64, n: i64) -> i64 {
    day * 10 + n
}

/// What the semantics say, key by key, whatever the days: a different row of a later night closes the one before it.
fn naive(deliveries: &BTreeMap<(u64, String), Delivered>) -> Vec<(String, i64, i64, Option<i64>)> {
    let mut seen: Vec<&Delivered> = Vec::new();
    let mut nights: BTreeMap<u64, BTreeMap<u8, i64>> = BTreeMap::new();
    for ((night, _), rows) in deliveries {
        if seen.contains(&rows) {
            continue;
        }
        seen.push(rows);
        for (id, day, n) in rows {
            nights.entry(*night).or_default().insert(*id, told(*day, *n));
        }
    }
    let mut all: Vec<(String, i64, i64, Option<i64>)> = Vec::new();
    for (night, rows) in nights {
        let from = night as i64 + 1;
        for (id, n) in rows {
            let id = format!("p{id}");
            match all.iter_mut().find(|version| version.0 == id && version.3.is_none()) {
                Some(old) if old.1 == n => continue,
                Some(old) => old.3 = Some(from),
                None => {}
            }
            all.push((id, n, from, None));
        }
    }
    all.sort_by(|a, b| (&a.0, a.2).cmp(&(&b.0, b.2)));
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// One load of all deliveries, a load per night, and the obvious evaluator agree; whatever moves to another day.
    #[test]
    fn at_once_is_night_by_night(deliveries in deliveries()) {
        let mut files: BTreeMap<(u64, String), Delivered> = BTreeMap::new();
        for (night, name, rows) in deliveries {
            files.insert((night, path(night, &format!("f{name}"))), rows);
        }
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (once, nightly) = (World::new(), World::new());
            let write = |world: &World, path: &str, rows: &[(u8, i64, i64)]| {
                let rows: Vec<(String, i64, i64)> = rows.iter().map(|(id, day, n)| (format!("p{id}"), *day, *n)).collect();
                let rows: Vec<Row> = rows.iter().map(|(id, day, n)| (id.as_str(), hour(*day, 5), Some(told(*day, *n)))).collect();
                world.put(path, &rows);
            };
            for ((_, path), rows) in &files {
                write(&once, path, rows);
            }
            once.ingest("pay", 6).await.unwrap();
            for night in 0..7 {
                for ((_, path), rows) in files.iter().filter(|((n, _), _)| *n == night) {
                    write(&nightly, path, rows);
                }
                match nightly.ingest("pay", night).await {
                    Ok(report) => assert_eq!(report.read, report.written + report.duplicate + report.quarantined),
                    // Nothing was delivered yet.
                    Err(error) => assert!(error.to_string().contains("there are no files"), "{error}"),
                }
            }
            let expected = naive(&files);
            for world in [&once, &nightly] {
                assert_eq!(world.versions("pay").await, expected);
                let sql = "select count(*) as wrong from t where n / 10 <> date_part('day', event_date) - 1";
                assert!(world.query("tables/pay", sql).await.contains("| 0 "), "rows lie where their events are");
            }
        });
    }
}

/// A correction of the next night gives a payment another day: it is closed where it was, although nothing else of that
/// day was delivered; and it may come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_moves_to_another_day_is_closed_where_it_was() {
    let world = World::new();
    for day in 0..3 {
        let rows = [("a", day as i64 * 10), ("b", day as i64 * 10 + 1)].map(|(name, n)| (format!("{name}{day}"), n));
        let rows: Vec<Row> = rows.iter().map(|(id, n)| (id.as_str(), hour(day as i64, 4), Some(*n))).collect();
        world.put(&path(day, "a"), &rows);
    }
    world.ingest("pay", 2).await.unwrap();
    world.put(&path(3, "a"), &[("a0", hour(2, 1), Some(7)), ("c3", hour(3, 1), Some(30))]);
    let report = world.ingest("pay", 3).await.unwrap();
    assert_eq!((report.read, report.written, report.duplicate), (2, 2, 0));
    assert_eq!(world.versions("pay").await[..2], [v("a0", 0, 1, Some(4)), v("a0", 7, 4, None)]);
    let current = "select event_date, count(*) as n from t where _known_until is null group by 1 order by 1";
    let shown = world.query("tables/pay", current).await;
    let days: Vec<&str> = shown.lines().filter(|line| line.contains("1970")).collect();
    let expected = ["| 1970-01-01 | 1 |", "| 1970-01-02 | 2 |", "| 1970-01-03 | 3 |", "| 1970-01-04 | 1 |"];
    assert_eq!(days, expected);
    // Back again, as it was; then the same once more, which is a duplicate.
    world.put(&path(4, "a"), &[("a0", hour(0, 4), Some(0))]);
    assert_eq!(world.ingest("pay", 4).await.unwrap().written, 1);
    world.put(&path(5, "a"), &[("a0", hour(0, 4), Some(0)), ("a1", hour(1, 4), Some(10))]);
    let version = world.version("tables/pay").await;
    let report = world.ingest("pay", 5).await.unwrap();
    assert_eq!((report.written, report.duplicate), (0, 2));
    assert_eq!(world.version("tables/pay").await, version);
    let versions = [v("a0", 0, 1, Some(4)), v("a0", 7, 4, Some(5)), v("a0", 0, 5, None)];
    assert_eq!(world.versions("pay").await[..3], versions);
}

#[test]
fn the_manifest_survives_the_commit_it_is_recovered_from() {
    let entry: Value = json!({
        "source": "s", "path": "p", "checksum": "c", "size": 1, "stamp": "t", "night": "2024-02-29", "known_from": null,
        "rows_read": 1, "rows_written": 1, "duplicates": 0, "quarantined": 0, "suppressed": 0, "status": "ok",
        "error": null, "run_id": "r",
    });
    let parsed: super::manifest::Entry = serde_json::from_value(entry.clone()).unwrap();
    assert_eq!(serde_json::to_value(parsed).unwrap(), entry);
}
