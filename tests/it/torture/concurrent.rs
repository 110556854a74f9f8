//! Two runs of the same night at once: one commits, the other finds it done or asks for a retry.

use std::process::{Child, Stdio};

use super::compare::{assert_same, dump};
use super::kills::every_run_is_accounted_for;
use super::nights::{NIGHTLY, NIGHTS};
use crate::support::said;

fn start(night: usize, lake: &std::path::Path, failpoint: Option<&str>) -> Child {
    let mut command = NIGHTLY.command(night, lake);
    if let Some(failpoint) = failpoint {
        command.env("SCOREHOUSE_FAILPOINT", failpoint);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A scheduler's retries: nothing but 0 and 75 may come of a night that somebody else runs too.
fn together(night: usize, lake: &std::path::Path, first: Option<&str>, second: Option<&str>) -> Vec<i32> {
    let runs = [start(night, lake, first), start(night, lake, second)];
    let ended = runs.map(|child| said(child.wait_with_output().unwrap()));
    for said in &ended {
        assert!([0, 75].contains(&said.code), "{}", said.stderr);
        let told = said.code == 0 || said.stderr.contains("run this job again");
        assert!(told, "{}", said.stderr);
    }
    ended.iter().map(|said| said.code).collect()
}

#[test]
fn two_runs_of_one_night_leave_what_one_does() {
    let dir = NIGHTLY.lake(0);
    let lake = dir.path().join("lake");
    for night in 0..NIGHTS {
        together(night, &lake, None, None);
        let last = NIGHTLY.night(night, &lake);
        assert_eq!(last.code, 0, "{}", last.stderr);
        assert_same(&dump(&lake), &NIGHTLY.dumps[night + 1], &format!("night {night}"));
    }
    every_run_is_accounted_for(&lake);
}

/// The first run is held where its files are written and no version names them; the second overtakes it.
#[test]
fn a_run_that_is_overtaken_at_its_commit_doubles_nothing() {
    for table in ["tables/pay", "tables/payments", "features/pays__state", "registry", "scores/again"] {
        let dir = NIGHTLY.lake(2);
        let lake = dir.path().join("lake");
        let held = format!("before-commit:{table}=pause:{}", 3 * NIGHTLY.took[2].as_millis());
        let codes = together(2, &lake, Some(&held), None);
        assert_eq!(codes[1], 0, "{table}: who is not held ends well");
        let last = NIGHTLY.night(2, &lake);
        assert_eq!(last.code, 0, "{table}: {}", last.stderr);
        assert_same(&dump(&lake), &NIGHTLY.dumps[3], table);
    }
}
