//! Two runs of the same night at once: one commits, the other finds it done or asks for a retry.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::compare::{assert_same, dump};
use super::kills::every_run_is_accounted_for;
use super::nights::{NIGHTLY, NIGHTS};
use crate::support::said;

fn start(night: usize, lake: &Path) -> Child {
    let mut command = NIGHTLY.command(night, lake);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Nothing but 0 and 75 may come of a night that somebody else runs too.
fn ended(child: Child) {
    let said = said(child.wait_with_output().unwrap());
    let told = said.code == 0 || said.code == 75 && said.stderr.contains("run this job again");
    assert!(told, "{}", said.stderr);
}

#[test]
fn two_runs_of_one_night_leave_what_one_does() {
    let dir = NIGHTLY.lake(0);
    let lake = dir.path().join("lake");
    for night in 0..NIGHTS {
        let runs = [start(night, &lake), start(night, &lake)];
        runs.into_iter().for_each(ended);
        let last = NIGHTLY.night(night, &lake);
        assert_eq!(last.code, 0, "{}", last.stderr);
        assert_same(&dump(&lake), &NIGHTLY.dumps[night + 1], &format!("night {night}"));
    }
    every_run_is_accounted_for(&lake);
}

/// The first run is held where its files are written and no version names them, until the second has ended.
#[test]
fn a_run_that_is_overtaken_at_its_commit_doubles_nothing() {
    for table in ["tables/pay", "tables/payments", "features/pays__state", "registry", "scores/again"] {
        let dir = NIGHTLY.lake(2);
        let (lake, go) = (dir.path().join("lake"), dir.path().join("go"));
        let mut first = NIGHTLY.command(2, &lake);
        first.env("SCOREHOUSE_FAILPOINT", format!("before-commit:{table}=hold:{}", go.display()));
        let mut first = first.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while !dir.path().join("go.held").exists() {
            assert!(first.try_wait().unwrap().is_none(), "{table}: it ended before it was held");
            std::thread::sleep(Duration::from_millis(10));
        }
        let second = NIGHTLY.night(2, &lake);
        assert_eq!(second.code, 0, "{table}: {}", second.stderr);
        std::fs::write(&go, "").unwrap();
        ended(first);
        let last = NIGHTLY.night(2, &lake);
        assert_eq!(last.code, 0, "{table}: {}", last.stderr);
        assert_same(&dump(&lake), &NIGHTLY.dumps[3], table);
    }
}
