//! Keys are used and never shown: not in logs at any level, not in errors, not in what a job writes.

use super::night::{bucket_after, command, run};
use super::proxy::{Fault, Proxy, Rule};
use super::server::{Bucket, KEY, SECRET, server};
use crate::agree::run::block_on;
use crate::support::{Said, said};

fn told(said: &Said) -> String {
    format!("{}{}", said.stdout, said.stderr)
}

#[track_caller]
fn shows_no_key(text: &str, what: &str) {
    for secret in [KEY, SECRET] {
        let at = text.find(secret);
        assert!(
            at.is_none(),
            "{what} shows a key: …{}…",
            &text[at.unwrap_or_default().saturating_sub(200)..][..300.min(text.len())]
        );
    }
}

fn at_every_level(bucket: &Bucket, endpoint: &str) -> Vec<(String, Said)> {
    let levels = ["trace", "info"].into_iter();
    levels
        .map(|level| {
            let mut command = command(&bucket.at(endpoint), 0);
            command.env("SCOREHOUSE_LOG", level).env("AWS_RETRY_TIMEOUT", "1s").env("AWS_MAX_RETRIES", "1");
            (level.to_string(), said(command.output().unwrap()))
        })
        .collect()
}

#[test]
fn keys_are_in_no_log_no_error_and_no_object() {
    let Some(bucket) = bucket_after(0) else { return };
    let address = server().unwrap().address();
    let broken =
        Proxy::new(address, vec![Rule::new(Fault::SlowDown, "PUT", "tables/payments/_delta_log/0").times(usize::MAX)]);
    for (level, said) in at_every_level(&bucket, &broken.endpoint) {
        assert_eq!(said.code, 75, "{}", said.stderr);
        shows_no_key(&told(&said), &format!("a night that failed, at level {level}"));
    }
    for (level, said) in at_every_level(&bucket, &server().unwrap().endpoint) {
        assert_eq!(said.code, 0);
        // The log is what it is asked to be: requests are in it.
        assert_eq!(level == "trace", said.stderr.contains("127.0.0.1"), "{level}: {}", said.stderr);
        shows_no_key(&told(&said), &format!("a night at level {level}"));
    }
    let lake = bucket.lake();
    let mut objects = 0;
    for object in block_on(lake.stored("")).unwrap() {
        let bytes = block_on(lake.content(&object)).unwrap().unwrap_or_default();
        shows_no_key(&String::from_utf8_lossy(&bytes), &object.name);
        objects += 1;
    }
    assert!(objects > 30, "{objects}");
    let runs = bucket.run(&["query", "select * from runs", "--json"]).ok();
    assert!(runs.stdout.contains("the storage failed: s3://scorehouse"), "{}", runs.stdout);
    shows_no_key(&told(&runs), "the table of runs");
    shows_no_key(&told(&run(&bucket, 0)), "a night that is done");
}

#[test]
fn a_level_that_does_not_exist_is_refused() {
    let mut command = crate::support::scorehouse(&["query", "select 1"]);
    said(command.env("SCOREHOUSE_LOG", "loud").output().unwrap())
        .refuses(2, &["SCOREHOUSE_LOG", "expected: off, error"]);
}
