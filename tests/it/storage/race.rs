//! Of two writers of one log entry one wins: shown of the server, of our store above it, and of two whole processes.

use std::process::{Child, Stdio};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload};

use super::night::{bucket_after, command, run, same};
use super::server::{Bucket, server};
use crate::agree::run::block_on;
use crate::support::said;

#[test]
fn of_writers_that_create_one_object_at_once_one_wins() {
    let Some(server) = server() else { return };
    let bucket = Bucket::new(server);
    let writers = 3;
    for round in 0..40 {
        let path: Path = format!("{}/race/{round}", bucket.prefix).into();
        let start = Arc::new(Barrier::new(writers));
        let threads: Vec<_> = (0..writers)
            .map(|writer| {
                let (path, start, store) = (path.clone(), start.clone(), bucket.store());
                std::thread::spawn(move || {
                    let payload = PutPayload::from(format!("{writer} ").repeat(2000));
                    start.wait();
                    match block_on(store.put_opts(&path, payload, PutMode::Create.into())) {
                        Ok(_) => true,
                        Err(Error::AlreadyExists { .. }) => false,
                        Err(other) => panic!("{other}"),
                    }
                })
            })
            .collect();
        let won: Vec<bool> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let winners: Vec<usize> = (0..writers).filter(|writer| won[*writer]).collect();
        assert_eq!(winners.len(), 1, "round {round}: {won:?}");
        let found = block_on(async { bucket.store().get(&path).await.unwrap().bytes().await.unwrap() });
        assert!(found.starts_with(format!("{} ", winners[0]).as_bytes()), "the loser's bytes are there");
    }
}

fn start(bucket: &Bucket, night: usize) -> Child {
    command(bucket, night).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: Child) {
    let said = said(child.wait_with_output().unwrap());
    let told = said.code == 0 || said.code == 75 && said.stderr.contains("run this job again");
    assert!(told, "{}", said.stderr);
}

#[test]
fn two_processes_that_run_one_night_leave_what_one_does() {
    let Some(bucket) = bucket_after(0) else { return };
    let runs = [start(&bucket, 0), start(&bucket, 0)];
    runs.into_iter().for_each(ended);
    run(&bucket, 0).ok();
    same(&bucket, 1, "two at once");
}

/// The first process is held with its files written, until the second has committed.
#[test]
fn a_process_that_is_overtaken_at_its_commit_doubles_nothing() {
    let Some(bucket) = bucket_after(0) else { return };
    let dir = tempfile::TempDir::new().unwrap();
    let go = dir.path().join("go");
    let mut first = command(&bucket, 0);
    first.env("SCOREHOUSE_FAILPOINT", format!("before-commit:tables/payments=hold:{}", go.display()));
    let mut first = first.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !dir.path().join("go.held").exists() {
        assert!(first.try_wait().unwrap().is_none(), "it ended before it was held");
        std::thread::sleep(Duration::from_millis(10));
    }
    run(&bucket, 0).ok();
    std::fs::write(&go, "").unwrap();
    ended(first);
    run(&bucket, 0).ok();
    same(&bucket, 1, "overtaken");
}
