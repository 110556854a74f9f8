//! Nights through a proxy that breaks what can be broken: a fault that passes is retried and nobody notices; one that
//! stays ends the job with 75 and leaves every table whole; and a clean run completes the night.

use std::process::Command;

use super::night::{bucket_after, command, run, same, whole};
use super::proxy::{Fault, Proxy, Rule};
use super::server::{Bucket, server};
use crate::support::{Said, said};

const NIGHT: usize = 0;

/// The night through a proxy, and what the proxy did.
fn through(bucket: &Bucket, rules: Vec<Rule>) -> (Said, Vec<(Fault, String)>) {
    let proxy = Proxy::new(server().unwrap().address(), rules);
    let said = said(command(&bucket.at(&proxy.endpoint), NIGHT).output().unwrap());
    let faults = proxy.faults();
    assert!(!faults.is_empty(), "nothing was broken: {}", said.stderr);
    (said, faults)
}

/// By default a request is tried again for a minute; a test has none to spare for each.
fn impatient(bucket: &Bucket) -> Command {
    let mut command = command(bucket, NIGHT);
    command.env("AWS_TIMEOUT", "1 second").env("AWS_RETRY_TIMEOUT", "1s").env("AWS_MAX_RETRIES", "2");
    command
}

/// Each kind of fault that passes, at reads, lists, writes of files and commits.
#[test]
fn faults_that_pass_are_retried_and_change_nothing() {
    use Fault::*;
    let kinds = |fault| match fault {
        ResetRequest => vec![Rule::new(fault, "PUT", ".parquet"), Rule::new(fault, "PUT", "_delta_log/")],
        ResetAnswer => vec![Rule::new(fault, "GET", "raw/pay"), Rule::new(fault, "GET", "list-type=2").times(2)],
        _ => vec![
            Rule::new(fault, "GET", "raw/pay").times(2),
            Rule::new(fault, "GET", "list-type=2").times(2),
            Rule::new(fault, "PUT", ".parquet").times(2),
            Rule::new(fault, "PUT", "_delta_log/0").from(3),
        ],
    };
    for fault in [SlowDown, ResetRequest, ResetAnswer, Slow, Silence] {
        let Some(bucket) = bucket_after(NIGHT) else { return };
        let (said, faults) = through(&bucket, kinds(fault));
        assert_eq!(said.code, 0, "{fault:?} {faults:?}\n{}", said.stderr);
        same(&bucket, NIGHT + 1, &format!("{fault:?}"));
    }
}

/// The commit is made and its answer lost, or its next try meets it: neither doubled nor taken for somebody else's.
#[test]
fn a_commit_whose_answer_is_lost_is_known_as_our_own() {
    for fault in [Fault::Lost, Fault::LostThenSlowDown] {
        let Some(bucket) = bucket_after(NIGHT) else { return };
        // Every second log entry, from the first on: creations of tables and commits.
        let rules = (0..12).map(|n| Rule::new(fault, "PUT", "_delta_log/0").from(n * 3)).collect();
        let (said, faults) = through(&bucket, rules);
        assert_eq!(said.code, 0, "{fault:?} {faults:?}\n{}", said.stderr);
        assert!(faults.len() > 5, "{faults:?}");
        same(&bucket, NIGHT + 1, &format!("{fault:?}"));
        assert!(run(&bucket, NIGHT).ok().stdout.contains("unchanged"));
        same(&bucket, NIGHT + 1, "and run again");
    }
}

/// A fault that stays, from the n-th request of its kind on.
#[test]
fn a_fault_that_stays_asks_for_a_retry_and_leaves_nothing_half_written() {
    use Fault::*;
    let Some(bucket) = bucket_after(NIGHT) else { return };
    let stays = [
        Rule::new(Silence, "GET", "raw/pay"),
        Rule::new(SlowDown, "GET", "raw/pay").from(2),
        Rule::new(SlowDown, "PUT", "_delta_log/0").from(4),
        Rule::new(ResetRequest, "PUT", ".parquet").from(2),
        Rule::new(ResetAnswer, "GET", ".parquet").from(1),
        Rule::new(Silence, "PUT", "_delta_log/0").from(9),
        Rule::new(SlowDown, "GET", "list-type=2").from(12),
    ];
    for rule in stays {
        let proxy = Proxy::new(server().unwrap().address(), vec![rule.clone().times(usize::MAX)]);
        let said = said(impatient(&bucket.at(&proxy.endpoint)).output().unwrap());
        assert!(!proxy.faults().is_empty(), "{rule:?} never matched");
        assert_eq!(said.code, 75, "{rule:?}\n{}", said.stderr);
        whole(&bucket, NIGHT, &format!("{rule:?}"));
    }
    run(&bucket, NIGHT).ok();
    same(&bucket, NIGHT + 1, "after all of them");
}

/// Any fault at any request, as they come. `SCOREHOUSE_TORTURE_SEED` says from which seed.
#[test]
fn faults_by_chance_lose_and_double_nothing() {
    let Some(bucket) = bucket_after(NIGHT) else { return };
    let first = std::env::var("SCOREHOUSE_TORTURE_SEED").map_or(1, |seed| seed.parse().unwrap());
    let (mut codes, mut faults) = (Vec::new(), 0);
    for seed in first..first + 6 {
        let proxy = Proxy::by_chance(server().unwrap().address(), seed, 12);
        let said = said(impatient(&bucket.at(&proxy.endpoint)).output().unwrap());
        let when = format!("seed {seed}: {:?}", proxy.faults());
        assert!([0, 75].contains(&said.code), "{when}\n{}", said.stderr);
        whole(&bucket, NIGHT, &when);
        codes.push(said.code);
        faults += proxy.faults().len();
    }
    println!("{faults} faults; the runs ended with {codes:?}");
    assert!(faults > 10, "hardly anything was broken");
    run(&bucket, NIGHT).ok();
    same(&bucket, NIGHT + 1, "after all of them");
}
