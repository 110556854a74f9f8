//! What a source may declare: which duplicate counts, what becomes of unreadable files, what a night must bring.

use super::*;

fn with(declared: &str) -> World {
    World::of(&SOURCES.replacen("    key: [id]\n", &format!("    key: [id]\n{declared}"), 1))
}

/// Two files of one night; `b` is of the earlier day, so it comes first although its path is the later one.
fn twice(world: &World) {
    world.put(&path(1, "a"), &[("p1", hour(0, 1), Some(3)), ("p1", hour(0, 1), Some(4))]);
    world.put(&path(0, "b"), &[("p1", hour(0, 1), Some(1)), ("p1", hour(0, 1), Some(2)), ("p2", hour(0, 1), None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_declared_rule_says_which_of_several_rows_counts() {
    for (rule, n) in [("last", 4), ("first", 1)] {
        let world = with(&format!("    duplicates: {rule}\n    first_load: at_run\n"));
        twice(&world);
        let report = world.ingest("pay", 1).await.unwrap();
        assert_eq!((report.read, report.written, report.duplicate), (5, 2, 3), "{rule}");
        assert_eq!(world.versions("pay").await, [v("p1", n, 2, None), v("p2", -1, 2, None)], "{rule}");
        // The same night again, with one more; then the next night, whose row is a correction.
        world.put(&path(1, "c"), &[("p1", hour(0, 1), Some(5))]);
        world.ingest("pay", 1).await.unwrap();
        let n = if rule == "last" { 5 } else { n };
        assert_eq!(world.versions("pay").await[0], v("p1", n, 2, None), "{rule}");
        world.put(&path(2, "a"), &[("p1", hour(0, 1), Some(6))]);
        world.ingest("pay", 2).await.unwrap();
        assert_eq!(world.versions("pay").await[..2], [v("p1", n, 2, Some(3)), v("p1", 6, 3, None)], "{rule}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rows_that_differ_fail_where_that_is_declared() {
    let world = with("    duplicates: fail\n    first_load: at_run\n");
    world.put(&path(0, "a"), &[("p1", hour(0, 1), Some(1)), ("p1", hour(0, 1), Some(1))]);
    assert_eq!(world.ingest("pay", 0).await.unwrap().duplicate, 1, "equal rows are no conflict");
    world.put(&path(0, "b"), &[("p1", hour(0, 1), Some(2))]);
    let error = world.ingest("pay", 0).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Data);
    let says = ["id = p1", "an earlier run of the night", "b.parquet", "duplicates: last"];
    assert!(says.iter().all(|say| error.to_string().contains(say)), "{error}");
    assert_eq!(world.versions("pay").await, [v("p1", 1, 1, None)]);
    assert_eq!(world.ingest("pay", 1).await.unwrap().written, 1, "a later night corrects");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rule_holds_for_rows_of_several_days_too() {
    for (rule, n) in [("last", 3), ("first", 1)] {
        let world = with(&format!("    duplicates: {rule}\n    first_load: at_run\n"));
        // Of the file's rows, not of the days', which are in another order.
        world.put(
            &path(0, "a"),
            &[("p1", hour(4, 1), Some(1)), ("p1", hour(2, 1), Some(2)), ("p1", hour(3, 1), Some(3))],
        );
        let report = world.ingest("pay", 0).await.unwrap();
        assert_eq!((report.read, report.written, report.duplicate), (3, 1, 2), "{rule}");
        assert_eq!(world.versions("pay").await, [v("p1", n, 1, None)], "{rule}");
    }
    let world = with("    duplicates: fail\n    first_load: at_run\n");
    world.put(&path(0, "a"), &[("p1", hour(0, 1), Some(1)), ("p2", hour(0, 1), Some(2))]);
    world.ingest("pay", 0).await.unwrap();
    world.put(&path(0, "b"), &[("p1", hour(1, 1), Some(1))]);
    let error = world.ingest("pay", 0).await.unwrap_err();
    let says = ["id = p1", "an earlier run of the night", "b.parquet", "duplicates: last"];
    assert!(says.iter().all(|say| error.to_string().contains(say)), "{error}");
    assert_eq!(world.versions("pay").await, [v("p1", 1, 1, None), v("p2", 2, 1, None)]);
    assert_eq!(world.ingest("pay", 1).await.unwrap().written, 1, "a later night moves it");
    assert_eq!(world.versions("pay").await[..2], [v("p1", 1, 1, Some(2)), v("p1", 1, 2, None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_file_is_skipped_where_that_is_declared() {
    let world = with("    unreadable: skip\n");
    let good = parquet(&pays(&[("p1", hour(0, 1), Some(1))]));
    // Its columns other than the time are broken: found only when the rows are read.
    let rows: Vec<String> = (0..2000).map(|i| format!("id {i}")).collect();
    let rows: Vec<Row> = rows.iter().map(|id| (id.as_str(), hour(0, 2), Some(7))).collect();
    let mut late = parquet(&pays(&rows));
    late[4..60].fill(0xff);
    for (name, bytes) in [("a", good.as_slice()), ("late", &late), ("short", &good[..50]), ("z copy", &late)] {
        std::fs::write(world.raw(&path(0, name)), bytes).unwrap();
    }
    let report = world.ingest("pay", 0).await.unwrap();
    assert_eq!((report.files, report.read, report.written, report.unreadable), (1, 1, 1, 3));
    assert_eq!(report.warnings.len(), 3);
    assert_eq!(world.versions("pay").await, [v("p1", 1, 1, None)]);
    let shown = world.query("manifest", "select path, status, error from t where status = 'unreadable'").await;
    assert_eq!(shown.matches("not a readable Parquet file").count(), 2, "{shown}");
    assert!(shown.contains("z copy.parquet | unreadable | the content is that of another file"), "{shown}");
    let before = world.version("manifest").await;
    assert_eq!(world.ingest("pay", 0).await.unwrap().unreadable, 3, "said every time");
    assert_eq!(world.version("manifest").await, before, "recorded once");
    world.put(&path(0, "short"), &[("p2", hour(0, 2), Some(2))]);
    let report = world.ingest("pay", 1).await.unwrap();
    assert_eq!((report.written, report.unreadable), (1, 2));
    assert_eq!(world.versions("pay").await[1], v("p2", 2, 2, None));
}

/// `rows` rows of a day.
fn day(world: &World, day: u64, rows: usize) {
    let ids: Vec<String> = (0..rows).map(|row| format!("{day} {row}")).collect();
    let rows: Vec<Row> = ids.iter().map(|id| (id.as_str(), hour(day as i64, 1), None)).collect();
    world.put(&path(day, "a"), &rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_with_few_rows_warns_or_fails_as_declared() {
    for (declared, fails) in [("0.5", false), ("{at_least: 0.5, days: 5, otherwise: fail}", true)] {
        let world = with(&format!("    volume: {declared}\n"));
        for (number, rows) in [10, 12, 8, 10].into_iter().enumerate() {
            day(&world, number as u64, rows);
            let checks = world.ingest("pay", number as u64).await.unwrap().checks;
            assert_eq!(checks.first().map(|c| c.status), (number == 3).then_some("ok"), "too few days to compare");
        }
        day(&world, 4, 1);
        let says = "1 rows of 1970-01-05";
        for again in 0..2 {
            match world.ingest("pay", 4).await {
                Ok(report) => {
                    assert!(!fails && report.checks[0].status == "warn", "{report:?}");
                    assert!(report.warnings[0].contains(says) && report.warnings[0].contains("at least 5"));
                    assert_eq!(report.committed, again == 0);
                }
                Err(error) => {
                    assert!(fails && error.kind() == Kind::Data && error.to_string().contains(says), "{error}");
                    assert!(error.to_string().contains("10 is the median of the 4 days before it"), "{error}");
                }
            }
        }
        day(&world, 4, 9);
        assert_eq!(world.ingest("pay", 4).await.unwrap().checks[0].status, "ok");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_too_old_warn_or_fail_as_declared() {
    for (declared, fails) in [("36h", false), ("{within: 36h, otherwise: fail}", true)] {
        let world = with(&format!("    freshness: {declared}\n"));
        world.put(&path(0, "a"), &[("p1", hour(0, 12), None), ("future", hour(40, 1), None)]);
        assert_eq!(world.ingest("pay", 0).await.unwrap().checks[0].status, "ok");
        assert_eq!(world.ingest("pay", 1).await.unwrap().checks[0].status, "ok", "36 hours to the microsecond");
        match world.ingest("pay", 2).await {
            Ok(report) => assert!(!fails && report.warnings[1].contains("of 1970-01-01T12:00:00Z"), "{report:?}"),
            Err(error) => assert!(fails && error.to_string().contains("within 36h before the end of 1970-01-03")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_of_pseudonyms_is_refused() {
    let mut world = World::new();
    let people = |id: &str| {
        let column = || Arc::new(StringArray::from(vec![id])) as ArrayRef;
        parquet(&RecordBatch::try_from_iter([("id", column()), ("email", column()), ("phone", column())]).unwrap())
    };
    std::fs::write(world.raw("person/1.parquet"), people("u1")).unwrap();
    world.key = b"short".to_vec();
    let error = world.ingest("person", 0).await.unwrap_err();
    assert!(error.kind() == Kind::Definition && error.to_string().contains("5 bytes"), "{error}");
    world.key = b"the key of every night".to_vec();
    world.ingest("person", 0).await.unwrap();
    std::fs::write(world.raw("person/1.parquet"), people("u2")).unwrap();
    world.key = b"the key of another day".to_vec();
    let error = world.ingest("person", 1).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Definition);
    assert!(error.to_string().contains("not the key of the nights before"), "{error}");
    assert!(!error.to_string().contains("another day"), "{error}");
    // Sources without pseudonyms do not care.
    world.put(&path(0, "a"), &[("p1", hour(0, 1), Some(1))]);
    world.ingest("pay", 1).await.unwrap();
    world.key = b"the key of every night".to_vec();
    assert_eq!(world.ingest("person", 1).await.unwrap().written, 1);
    let shown = world.query("manifest", "select distinct pii_key from t where source = 'person'").await;
    assert_eq!(shown.lines().count(), 5, "one salt, one fingerprint: {shown}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Every row that is read is written, a duplicate or in quarantine, whatever comes, in whatever batches, by any rule.
    #[test]
    fn every_row_is_accounted_for(
        nights in prop::collection::vec(prop::collection::vec((0u8..4, prop::option::of(0i64..2), 0i64..3), 0..12), 1..5),
        first in prop::bool::ANY,
    ) {
        let rule = if first { "first" } else { "last" };
        let world = with(&format!("    duplicates: {rule}\n    max_bad_share: 1\n"));
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let (mut read, mut expected, mut seen) = (0, BTreeMap::new(), Vec::new());
            for (night, rows) in nights.iter().enumerate() {
                let ids: Vec<String> = rows.iter().map(|(id, ..)| format!("p{id}")).collect();
                let rows: Vec<Row> = ids.iter().zip(rows)
                    .map(|(id, (_, day, n))| (id.as_str(), day.map(|day| day * DAY), Some(*n))).collect();
                let half = rows.len() / 2;
                world.put(&path(night as u64, "a"), &rows[..half]);
                world.put(&path(night as u64, "b"), &rows[half..]);
                let report = world.ingest("pay", night as u64).await.unwrap();
                assert_eq!(report.read, report.written + report.duplicate + report.quarantined);
                // Content that came before is recognised by the file; its rows are duplicates, bad ones too.
                assert_eq!(report.read, rows.len() as u64);
                read += report.read;
                let mut tonight = BTreeMap::new();
                for file in [&nights[night][..half], &nights[night][half..]] {
                    if seen.contains(&file) {
                        continue;
                    }
                    seen.push(file);
                    for (id, day, n) in file.iter().filter(|(_, day, _)| day.is_some()) {
                        let slot = tonight.entry(*id).or_insert((*day, *n));
                        if !first { *slot = (*day, *n); }
                    }
                }
                expected.extend(tonight);
            }
            let sums = "select sum(rows_read) as r, sum(rows_written + duplicates + quarantined) as s from t";
            let shown = world.query("manifest", sums).await;
            assert_eq!(shown.matches(&format!(" {read} ")).count(), 2, "{shown}");
            let current: Vec<_> =
                world.versions("pay").await.into_iter().filter(|v| v.3.is_none()).map(|v| (v.0, v.1)).collect();
            let expected: Vec<_> = expected.into_iter().map(|(id, (_, n))| (format!("p{id}"), n)).collect();
            assert_eq!(current, expected, "one row of a key, whatever its day");
        });
    }
}
