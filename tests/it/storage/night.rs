//! Nights in a bucket through `orchestration/s3.yaml`: row by row what the same nights leave on a local disk, and every
//! other job works there too.

use std::process::Command;

use super::proxy::Proxy;
use super::server::{Bucket, server};
use crate::agree::run::block_on;
use crate::support::Said;
use crate::torture::compare::{Dump, assert_same, assert_whole, dump_of};
use crate::torture::nights::{NIGHTLY, NIGHTS, date};

/// Everything in the lake of a bucket.
pub fn seen(bucket: &Bucket) -> Dump {
    let lake = bucket.lake();
    let names = block_on(lake.tables()).unwrap();
    comparable(dump_of(&lake, names))
}

/// What an undisturbed local disk has after so many nights.
pub fn expected(nights: usize) -> Dump {
    comparable(NIGHTLY.dumps[nights].clone())
}

/// Without the stamps by which unchanged raw files are known: a time on a local disk, an entity tag in a bucket.
fn comparable(mut dump: Dump) -> Dump {
    for row in dump.get_mut("manifest").into_iter().flatten() {
        *row = row.split(' ').filter(|cell| !cell.starts_with("stamp=")).collect::<Vec<_>>().join(" ");
    }
    dump.values_mut().for_each(|rows| rows.sort());
    dump
}

#[track_caller]
pub fn same(bucket: &Bucket, nights: usize, when: &str) {
    assert_same(&seen(bucket), &expected(nights), when);
}

#[track_caller]
pub fn whole(bucket: &Bucket, night: usize, when: &str) {
    assert_whole(&seen(bucket), &expected(night), &expected(night + 1), when);
}

/// `nightly` of one of the small nights, its raw files in the bucket.
pub fn command(bucket: &Bucket, night: usize) -> Command {
    let mut command = bucket.command(&["nightly", "--json", "--date", &date(night)]);
    command.arg("--project").arg(NIGHTLY.project());
    command
}

pub fn run(bucket: &Bucket, night: usize) -> Said {
    crate::support::said(command(bucket, night).output().unwrap())
}

/// A bucket of a test's own, as it is after so many nights, with the raw files of the next.
pub fn bucket_after(nights: usize) -> Option<Bucket> {
    let bucket = Bucket::new(server()?);
    for night in 0..nights {
        bucket.upload(&NIGHTLY.raw(night));
        run(&bucket, night).ok();
    }
    bucket.upload(&NIGHTLY.raw(nights.min(NIGHTS - 1)));
    Some(bucket)
}

#[test]
fn nights_in_a_bucket_leave_what_they_leave_on_disk() {
    let Some(server) = server() else { return };
    let bucket = Bucket::new(server);
    for night in 0..NIGHTS {
        bucket.upload(&NIGHTLY.raw(night));
        let proxy = Proxy::new(server.address(), Vec::new());
        run(&bucket.at(&proxy.endpoint), night).ok();
        same(&bucket, night + 1, &format!("night {night}"));
        println!("night {night}: {} requests: {:?}", proxy.requests().len(), proxy.counts());
    }
    let again = run(&bucket, NIGHTS - 1).ok();
    assert!(!again.stdout.contains("\"written\""), "a night that is run again writes nothing: {}", again.stdout);
}

#[test]
fn every_job_works_on_a_bucket() {
    let Some(bucket) = bucket_after(2) else { return };
    let project = NIGHTLY.project().display().to_string();
    let job = |arguments: &[&str]| bucket.run(&[arguments, &["--project", &project]].concat()).ok().stdout;
    let (last, next) = (date(1), date(2));
    let counted = bucket.run(&["query", "select count(*) as n from payments", "--json"]).ok().stdout;
    assert!(!counted.contains("\"n\":0"), "{counted}");
    let plan = job(&["plan", "--date", &next]);
    assert!(plan.contains("files"), "{plan}");
    assert!(job(&["verify", "--date", &last]).contains("holds"));
    assert!(job(&["verify", "--date", &last, "--sample", "3"]).contains("agrees"));
    job(&["replay", "--model", "again", "--entity", "u1", "--date", &last]);
    job(&["why", "pays.amount_sum_30d", "--entity", "u1", "--as-of", &last, "--date", &last]);
    job(&["backfill", "--from", &next, "--to", &next]);
    same(&bucket, 3, "a night by backfill");
    let runs = bucket.run(&["query", "select job, status from runs", "--json"]).ok().stdout;
    assert!(runs.contains("backfill") || runs.contains("ingest"), "{runs}");
    job(&["maintain", "--date", &next]);
    same(&bucket, 3, "after maintain");
    // Not u2: two bytes are found by chance, in the times that a checkpoint's footer has.
    job(&["erase", "--entity", "u10", "--date", &next]);
    let left = bucket.run(&["query", "select count(*) as n from payments where user_id = 'u10'", "--json"]).ok().stdout;
    assert!(left.contains("\"n\":0"), "{left}");
}
