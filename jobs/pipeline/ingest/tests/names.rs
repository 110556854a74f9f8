//! What may lie where files are looked for: names of any letters, pipes, directories with the names of files, files
//! that go or grow while they are read. The manifest and the quarantine have names exactly as they are.

#![cfg(unix)]

use arrow::array::AsArray;

use super::*;

/// The texts of a column.
async fn texts(world: &World, table: &str, sql: &str) -> Vec<String> {
    let snapshot = world.lake().snapshot(table).await.unwrap().unwrap();
    world.session.register("t", snapshot.provider().unwrap()).unwrap();
    let batches = world.session.sql(sql).await.unwrap().collect().await.unwrap();
    batches.iter().flat_map(|b| b.column(0).as_string::<i32>().iter().flatten().map(String::from)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_kept_exactly() {
    let pattern = SOURCES.replace("pay/day={date}/*.parquet", "pay/**/*.parquet");
    let world = World::of(&pattern.replacen("    key: [id]\n", "    key: [id]\n    max_bad_share: 1\n", 1));
    let mut names: Vec<String> = [
        "a b",
        "50%",
        "%2e%2e%2fx",
        "event_date=..%2F..%2Fetc",
        "žluť\u{202e}ťulž",
        "e\u{301} and é",
        "it's \"quoted\"",
        "two\nlines\ttabbed",
        "back\\slash",
        "*?[a]",
        "{date}",
        "-rf",
        " ",
        "$(reboot)",
        "__HIVE_DEFAULT_PARTITION__",
    ]
    .map(String::from)
    .to_vec();
    names.push("x".repeat(255 - ".parquet".len()));
    names.push("ž".repeat((255 - ".parquet".len()) / 2));
    let mut paths = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let below = if name.len() < 200 { format!("pay/{name}") } else { "pay".to_string() };
        let path = format!("{below}/{name}.parquet");
        // A good row and one that goes to quarantine.
        world.put(&path, &[(&format!("good {n}"), hour(0, 1), Some(1)), (&format!("bad {n}"), None, None)]);
        paths.push(path);
    }
    // Deeper than a path may be long in many a system's tools.
    let deep = format!("pay/{}/deep.parquet", vec!["d".repeat(200); 15].join("/"));
    world.put(&deep, &[("good deep", hour(0, 1), Some(1)), ("bad deep", None, None)]);
    paths.push(deep);
    paths.sort();
    let report = world.ingest("pay", 0).await.unwrap();
    let count = paths.len() as u64;
    assert_eq!((report.files, report.written, report.quarantined), (count, count, count));
    for (table, sql) in
        [("manifest", "select path from t order by path"), ("quarantine/pay", "select file from t order by file")]
    {
        assert_eq!(texts(&world, table, sql).await, paths, "{table}");
    }
    assert_eq!(world.ingest("pay", 0).await.unwrap().files, 0, "they are recognised");
    let outside = std::fs::read_dir(world.dir.path()).unwrap().count();
    assert_eq!(outside, 2, "nothing is written beside raw events and lake");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_is_not_waited_for() {
    let skip = SOURCES.replacen("    key: [id]\n", "    key: [id]\n    unreadable: skip\n", 1);
    for sources in [SOURCES, &skip] {
        let world = World::of(sources);
        world.put(&path(0, "good"), &[("p1", hour(0, 1), Some(1))]);
        // A directory is no file, whatever its name; what is in it is not asked for.
        world.put(&path(0, "directory.parquet/inner"), &[("p2", hour(0, 1), Some(1))]);
        let name = std::ffi::CString::new(world.raw(&path(0, "pipe")).to_str().unwrap()).unwrap();
        // SAFETY: a C string that lives as long as the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        std::os::unix::fs::symlink("/dev/zero", world.raw(&path(0, "zero"))).unwrap();
        let sparse = std::fs::File::create(world.raw(&path(0, "sparse"))).unwrap();
        sparse.set_len(1 << 40).unwrap();
        let done = tokio::time::timeout(std::time::Duration::from_secs(60), world.ingest("pay", 0));
        let done = done.await.expect("it waits for ever");
        if sources == SOURCES {
            let error = done.unwrap_err();
            assert_eq!(error.kind(), Kind::Data);
            for says in [
                "pipe.parquet: ",
                "zero.parquet: ",
                "a pipe or device where a file",
                "sparse.parquet: ",
                "1099511627776",
            ] {
                assert!(error.to_string().contains(says), "{says} in {error}");
            }
        } else {
            let report = done.unwrap();
            assert_eq!((report.written, report.unreadable), (1, 3), "{report:?}");
        }
    }
}

/// Files that another process is still writing, or takes away.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_change_while_they_are_read_are_read_whole_or_not_at_all() {
    let whole = parquet(&pays(&[("p1", hour(0, 1), Some(1)), ("p2", hour(0, 1), Some(2))]));
    let world = World::new();
    let file = world.raw(&path(0, "growing"));
    let (ended, end) = std::sync::mpsc::channel::<()>();
    let writer = std::thread::spawn({
        let (file, whole) = (file.clone(), whole.clone());
        move || {
            while end.try_recv().is_err() {
                for length in [0, whole.len() / 3, whole.len() - 1, whole.len()] {
                    std::fs::write(&file, &whole[..length]).unwrap();
                }
                let _ = std::fs::remove_file(&file);
            }
            std::fs::write(&file, &whole).unwrap();
        }
    });
    for _ in 0..60 {
        match world.ingest("pay", 0).await {
            Ok(report) => assert!([0, 2].contains(&report.written), "{report:?}"),
            Err(error) => {
                assert!([Kind::Data, Kind::Temporary].contains(&error.kind()), "{error}");
                assert!(error.to_string().contains("pay"), "{error}");
            }
        }
    }
    ended.send(()).unwrap();
    writer.join().unwrap();
    world.ingest("pay", 0).await.unwrap();
    assert_eq!(world.versions("pay").await, [v("p1", 1, 1, None), v("p2", 2, 1, None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_when_it_is_read_is_named_and_may_be_retried() {
    let world = World::new();
    let raw = Raw::open(world.raw("").to_str().unwrap(), &HashMap::new()).unwrap();
    world.put(&path(0, "a"), &[("p1", hour(0, 1), Some(1))]);
    let listed = raw.list("pay/day={date}/*.parquet").await.unwrap();
    std::fs::remove_file(world.raw(&path(0, "a"))).unwrap();
    let error = raw.read(&listed[0].path).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Temporary);
    assert!(error.to_string().contains("a.parquet"), "{error}");
}
