//! The end, or a failure of storage, at every place around every write and commit.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use super::compare::{assert_same, assert_whole, dump};
use super::kills::every_run_is_accounted_for;
use super::nights::NIGHTLY;
use crate::support::{Said, said};

/// A night in which everything is written: late and corrected rows, a model that is due.
const NIGHT: usize = 2;

/// The places that a night comes through, each once, in order: `before-commit:tables/pay`.
fn places(night: usize, of: &str) -> Vec<String> {
    let dir = NIGHTLY.lake(night);
    let lake = dir.path().join("lake");
    let places = traced(NIGHTLY.command(night, &lake), &lake);
    let places: Vec<String> = places.into_iter().filter(|place| place.contains(of)).collect();
    assert!(places.len() > 10, "{places:#?}");
    places
}

/// The places that a job comes through, each once, in order.
pub fn traced(mut command: Command, lake: &Path) -> Vec<String> {
    let said = said(command.env("SCOREHOUSE_FAILPOINT", "any=trace").output().unwrap());
    let mut seen = BTreeSet::new();
    let reached = said.stderr.lines().filter_map(|line| line.split_once("reached ")).map(|(_, place)| place.trim());
    let below = lake.display().to_string();
    // Names of data files are new each time: their directories say enough.
    let place = |place: &str| {
        let place = place.replace(&format!("{below}/"), "");
        let cut = ["part-", "packed-", "cdc-"].iter().find_map(|name| place.split_once(name));
        cut.map_or(place.clone(), |(directory, _)| directory.to_string())
    };
    let all = reached.map(place).filter(|place| !place.contains("running/"));
    all.filter(|place| seen.insert(place.clone())).collect()
}

fn at(place: &str, action: &str, lake: &Path) -> (Option<i32>, Said) {
    let armed = format!("{place}={action}");
    let output = NIGHTLY.command(NIGHT, lake).env("SCOREHOUSE_FAILPOINT", armed).output().unwrap();
    (output.status.signal(), said(output))
}

/// One after the other on one lake: each run comes a step further than the one before.
fn one_by_one(places: &[String], check: impl Fn(&str, &Path)) {
    let dir = NIGHTLY.lake(NIGHT);
    let lake = dir.path().join("lake");
    for place in places {
        check(place, &lake);
        assert_whole(&dump(&lake), &NIGHTLY.dumps[NIGHT], &NIGHTLY.dumps[NIGHT + 1], place);
    }
    let last = NIGHTLY.night(NIGHT, &lake);
    assert_eq!(last.code, 0, "{}", last.stderr);
    assert_same(&dump(&lake), &NIGHTLY.dumps[NIGHT + 1], "after all");
    every_run_is_accounted_for(&lake);
}

fn killed(place: &str, lake: &Path) {
    let (signal, said) = at(place, "kill", lake);
    assert_eq!(signal, Some(9), "{place}: {}", said.stderr);
}

#[test]
fn a_night_killed_around_every_commit_ends_as_if_it_had_not_been() {
    one_by_one(&places(NIGHT, "-commit:"), killed);
}

#[test]
fn a_failure_of_storage_around_every_commit_asks_for_a_retry_and_leaves_nothing_half_written() {
    one_by_one(&places(NIGHT, "before-commit:"), |place, lake| {
        at(place, "error", lake).1.refuses(75, &["SCOREHOUSE_FAILPOINT fails"]);
    });
}

/// A put that failed may have worked: whoever is told so looks before it is made again.
#[test]
fn a_log_entry_that_was_written_and_reported_as_failed_is_not_written_twice() {
    for table in ["tables/pay/", "manifest/", "features/pays__state/", "registry/"] {
        let dir = NIGHTLY.lake(NIGHT);
        let lake = dir.path().join("lake");
        let place = format!("after-write:{table}_delta_log");
        let said = at(&place, "error", &lake).1;
        assert!([0, 75].contains(&said.code), "{place}: {}", said.stderr);
        let last = NIGHTLY.night(NIGHT, &lake);
        assert_eq!(last.code, 0, "{}", last.stderr);
        assert_same(&dump(&lake), &NIGHTLY.dumps[NIGHT + 1], &place);
    }
}

/// Each place on a lake of its own, writes as well as commits: minutes, hence `make torture`.
#[test]
#[ignore = "slow: make torture"]
fn a_night_killed_at_any_place_ends_as_if_it_had_not_been() {
    let places = places(NIGHT, "");
    for place in &places {
        let dir = NIGHTLY.lake(NIGHT);
        let lake = dir.path().join("lake");
        killed(place, &lake);
        assert_whole(&dump(&lake), &NIGHTLY.dumps[NIGHT], &NIGHTLY.dumps[NIGHT + 1], place);
        let again = NIGHTLY.night(NIGHT, &lake);
        assert_eq!(again.code, 0, "{place}: {}", again.stderr);
        assert_same(&dump(&lake), &NIGHTLY.dumps[NIGHT + 1], place);
    }
    println!("{} places, each killed once on a lake of its own", places.len());
}

#[test]
fn a_fail_point_that_does_not_exist_is_refused() {
    let dir = NIGHTLY.lake(0);
    at("before-lunch", "kill", &dir.path().join("lake")).1.refuses(2, &["before-commit", "is for tests"]);
}
