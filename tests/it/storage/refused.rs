//! What is wrong with the storage rather than with the moment: said with exit code 2. What is only gone: 75, in time.

use std::time::{Duration, Instant};

use super::night::bucket_after;
use super::server::{Bucket, KEY, SECRET, server};
use crate::support::said;

const ASK: [&str; 3] = ["query", "select count(*) from runs", "--json"];

#[test]
fn a_wrong_secret_is_an_error_of_configuration_and_is_not_repeated() {
    let Some(bucket) = bucket_after(0) else { return };
    let wrong = "another-secret-not-to-be-seen";
    let said = said(bucket.command(&ASK).env("AWS_SECRET_ACCESS_KEY", wrong).output().unwrap());
    let said = said.refuses(2, &["the storage refused: access to", "SignatureDoesNotMatch", "storage_secrets"]);
    assert!(!said.stderr.contains(wrong) && !said.stderr.contains(KEY), "{}", said.stderr);
}

#[test]
fn an_unknown_key_is_an_error_of_configuration() {
    let Some(bucket) = bucket_after(0) else { return };
    let said = said(bucket.command(&ASK).env("AWS_ACCESS_KEY_ID", "AKIANOBODY").output().unwrap());
    let said = said.refuses(2, &["the storage refused: access to", "InvalidAccessKeyId"]);
    assert!(!said.stderr.contains(SECRET) && !said.stderr.contains("AKIANOBODY"), "{}", said.stderr);
}

#[test]
fn a_secret_that_is_not_set_is_named() {
    let Some(bucket) = bucket_after(0) else { return };
    let said = said(bucket.command(&ASK).env_remove("AWS_SECRET_ACCESS_KEY").output().unwrap());
    said.refuses(2, &["aws_secret_access_key", "environment variable AWS_SECRET_ACCESS_KEY", "not set"]);
}

#[test]
fn a_bucket_that_does_not_exist_is_not_an_empty_lake() {
    let Some(server) = server() else { return };
    let bucket = Bucket::new(server);
    let project = crate::torture::nights::NIGHTLY.project().display().to_string();
    for arguments in [ASK.to_vec(), vec!["nightly", "--date", "2024-03-06", "--project", &project]] {
        let mut command = crate::support::scorehouse(&arguments);
        command.args(["--profile", "orchestration/s3.yaml", "--lake", "s3://nowhere/lake"]);
        command.args(["--raw", &bucket.url("raw")]);
        bucket.reach(&mut command);
        said(command.output().unwrap()).refuses(2, &["bucket s3://nowhere does not exist", "--lake"]);
    }
}

#[test]
fn storage_that_is_not_there_asks_for_a_retry_and_does_not_take_for_ever() {
    let Some(server) = server() else { return };
    let bucket = Bucket::new(server).at("http://127.0.0.1:9");
    let mut command = bucket.command(&ASK);
    // By default it is a minute.
    command.env("AWS_RETRY_TIMEOUT", "1s").env("AWS_MAX_RETRIES", "3");
    let started = Instant::now();
    said(command.output().unwrap()).refuses(75, &["the storage failed: s3://scorehouse"]);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}
