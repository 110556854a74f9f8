//! Upkeep, erasure and backfill: killed at every fail point and at random, overtaken, and run again.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::compare::{Dump, assert_same, dump, without_numbers};
use super::kills::{every_run_is_accounted_for, kill, number};
use super::nights::{NIGHTLY, NIGHTS, date};
use super::points::traced;
use crate::support::{Said, said, scorehouse};

/// A job on the lake that so many nights left.
struct Job {
    name: &'static str,
    nights: usize,
    arguments: fn() -> Vec<String>,
    /// Also at every single file that is written or removed, not only around commits; how many places at least.
    places: usize,
}

const MAINTAIN: Job = Job { name: "maintain", nights: NIGHTS, arguments: || vec!["maintain".into()], places: 8 };
const ERASE: Job = Job {
    name: "erase",
    nights: NIGHTS,
    arguments: || vec!["erase".into(), "--entity".into(), "u1".into()],
    places: 12,
};
const BACKFILL: Job = Job {
    name: "backfill",
    nights: 1,
    arguments: || {
        let (from, to) = (date(1), date(NIGHTS - 1));
        ["backfill", "--from", &from, "--to", &to].map(String::from).to_vec()
    },
    places: 12,
};

/// Random instants per job, in a run of all tests.
const KILLS: usize = 3;

impl Job {
    fn command(&self, lake: &Path) -> Command {
        let arguments = (self.arguments)();
        let mut command = scorehouse(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        NIGHTLY.place(&mut command, NIGHTS - 1, lake);
        if self.name == "maintain" {
            // Nothing is kept: there is much to remove.
            command.arg("--profile").arg(NIGHTLY.profile("0d"));
        }
        command
    }

    fn run(&self, lake: &Path) -> Said {
        said(self.command(lake).output().unwrap())
    }

    /// What it leaves when nobody disturbs it, and how long that takes.
    fn undisturbed(&self) -> (Dump, Duration) {
        let dir = NIGHTLY.lake(self.nights);
        let lake = dir.path().join("lake");
        let started = Instant::now();
        let ended = self.run(&lake);
        assert_eq!(ended.code, 0, "{}: {}", self.name, ended.stderr);
        (seen(&lake), started.elapsed())
    }

    /// Runs it to its end, compares, and runs a night on top, which must be what it is on the undisturbed lake.
    fn completes(&self, lake: &Path, expected: &Dump, when: &str) {
        let again = self.run(lake);
        assert_eq!(again.code, 0, "{when}: {}", again.stderr);
        assert_same(&seen(lake), expected, when);
        every_run_is_accounted_for(lake);
    }
}

/// Not how an erasure went, nor hashes, whose salt is another in each lake.
fn seen(lake: &Path) -> Dump {
    let mut dump = dump(lake);
    dump.remove("erasures");
    for row in dump.get_mut("suppressions").into_iter().flatten() {
        *row = row.split(' ').find(|cell| cell.starts_with("column=")).unwrap_or_default().to_string();
    }
    dump
}

fn killed_at_every_place(job: &Job, of: &[&str]) {
    let (expected, _) = job.undisturbed();
    let dir = NIGHTLY.lake(job.nights);
    let lake = dir.path().join("lake");
    let places: Vec<String> = traced(job.command(&lake), &lake)
        .into_iter()
        .filter(|place| of.iter().any(|of| place.starts_with(of)))
        .collect();
    assert!(places.len() >= job.places, "{}: {places:#?}", job.name);
    for place in &places {
        let dir = NIGHTLY.lake(job.nights);
        let lake = dir.path().join("lake");
        let output = job.command(&lake).env("SCOREHOUSE_FAILPOINT", format!("{place}=kill")).output().unwrap();
        let when = format!("{} killed at {place}", job.name);
        assert_eq!(output.status.signal(), Some(9), "{when}: {}", String::from_utf8_lossy(&output.stderr));
        job.completes(&lake, &expected, &when);
    }
    println!("{}: {} places, each killed once on a lake of its own", job.name, places.len());
}

fn killed_at_random(job: &Job) {
    let kills = number("SCOREHOUSE_TORTURE_KILLS").map_or(KILLS, |kills| (kills as usize / 20).max(KILLS));
    let seed = number("SCOREHOUSE_TORTURE_SEED").unwrap_or(1);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (expected, mut takes) = job.undisturbed();
    let (mut killed, mut ended) = (0, 0);
    while killed < kills {
        let dir = NIGHTLY.lake(job.nights);
        let lake = dir.path().join("lake");
        // Up to three times on one lake.
        for _ in 0..random.random_range(1..=3) {
            let after = takes.mul_f64(random.random_range(0.0..1.0));
            if kill(job.command(&lake), after) {
                (killed, takes) = (killed + 1, takes.mul_f64(1.1));
            } else {
                (ended, takes) = (ended + 1, takes.mul_f64(0.7));
            }
        }
        job.completes(&lake, &expected, &format!("{}, seed {seed}, after {killed} kills", job.name));
    }
    println!("{}: {killed} kills at random instants, {ended} runs ended before theirs", job.name);
}

#[test]
fn upkeep_killed_around_every_commit_and_removal_changes_no_row() {
    let (maintained, _) = MAINTAIN.undisturbed();
    assert_same(&maintained, &NIGHTLY.dumps[NIGHTS], "upkeep changes no row");
    killed_at_every_place(&MAINTAIN, &["before-commit:", "after-commit:"]);
    killed_at_random(&MAINTAIN);
}

#[test]
fn an_erasure_killed_around_every_commit_is_completed_by_the_next_run() {
    killed_at_every_place(&ERASE, &["before-commit:", "after-commit:"]);
    killed_at_random(&ERASE);
}

#[test]
fn a_backfill_killed_around_every_commit_is_completed_by_the_next_run() {
    let (filled, _) = BACKFILL.undisturbed();
    assert_eq!(filled.keys().collect::<Vec<_>>(), NIGHTLY.dumps[NIGHTS].keys().collect::<Vec<_>>());
    killed_at_every_place(&BACKFILL, &["after-commit:"]);
    killed_at_random(&BACKFILL);
}

/// Each file that is written or removed, too: minutes, hence `make torture`.
#[test]
#[ignore = "slow: make torture"]
fn upkeep_erasure_and_backfill_killed_at_any_place_are_completed_by_the_next_run() {
    for job in [&MAINTAIN, &ERASE, &BACKFILL] {
        killed_at_every_place(job, &["before-", "after-"]);
    }
}

#[test]
fn upkeep_beside_upkeep_changes_no_row() {
    let dir = NIGHTLY.lake(NIGHTS);
    let lake = dir.path().join("lake");
    let both: Vec<_> = (0..2)
        .map(|_| MAINTAIN.command(&lake).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    for child in both {
        let said = said(child.wait_with_output().unwrap());
        assert!([0, 75].contains(&said.code), "{}", said.stderr);
    }
    let again = MAINTAIN.run(&lake);
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert_same(&dump(&lake), &NIGHTLY.dumps[NIGHTS], "upkeep beside upkeep");
    every_run_is_accounted_for(&lake);
}

fn assert_night(lake: &Path, night: usize, when: &str) {
    let expected = without_numbers(NIGHTLY.dumps[night + 1].clone());
    assert_same(&without_numbers(dump(lake)), &expected, when);
}

/// Nothing that one job of a night leaves is kept for the next: each looks at all rows.
#[test]
fn upkeep_that_keeps_nothing_between_the_jobs_of_a_night_changes_no_row() {
    let dir = NIGHTLY.lake(1);
    let lake = dir.path().join("lake");
    for night in 1..NIGHTS {
        for job in ["ingest", "tables", "features", "train", "gate", "score", "monitor"] {
            let mut command = scorehouse(&[job, "--date", &date(night)]);
            NIGHTLY.place(&mut command, night, &lake);
            said(command.output().unwrap()).ok();
            MAINTAIN.run(&lake).ok();
        }
        NIGHTLY.night(night, &lake).ok();
        assert_night(&lake, night, &format!("night {night}"));
    }
    every_run_is_accounted_for(&lake);
}

/// Upkeep begins at any instant of a night; whoever was in the way of the other is run again.
#[test]
fn a_night_beside_upkeep_changes_no_row() {
    let rounds = number("SCOREHOUSE_TORTURE_KILLS").map_or(1, |kills| (kills as usize / 20).max(1));
    let seed = number("SCOREHOUSE_TORTURE_SEED").unwrap_or(1);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut again, mut upkeeps) = (0, 0);
    for round in 0..rounds {
        let dir = NIGHTLY.lake(1);
        let lake = dir.path().join("lake");
        for night in 1..NIGHTS {
            let when = format!("seed {seed}, round {round}, night {night}");
            loop {
                let mut command = NIGHTLY.command(night, &lake);
                let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
                let waits = NIGHTLY.took[night].mul_f64(random.random_range(0.0..1.0));
                std::thread::sleep(waits);
                // As it is by default: nothing that a job under way may read is taken away.
                let mut beside = scorehouse(&["maintain"]);
                NIGHTLY.place(&mut beside, night, &lake);
                let upkeep = said(beside.output().unwrap());
                assert!([0, 75].contains(&upkeep.code), "{when}: {}", upkeep.stderr);
                upkeeps += 1;
                let ended = said(child.wait_with_output().unwrap());
                assert!([0, 75].contains(&ended.code), "{when}: {}", ended.stderr);
                if ended.code == 0 {
                    break;
                }
                again += 1;
            }
            NIGHTLY.night(night, &lake).ok();
            assert_night(&lake, night, &when);
        }
        every_run_is_accounted_for(&lake);
    }
    println!("{upkeeps} times upkeep beside a night, which had to be run again {again} times");
}

/// A retention of nothing takes away what a night under way reads: it may end with 3, and is not harmed for good.
#[test]
fn a_night_beside_upkeep_that_keeps_nothing_is_completed_by_the_next_run() {
    let rounds = number("SCOREHOUSE_TORTURE_KILLS").map_or(1, |kills| (kills as usize / 20).max(1));
    let seed = number("SCOREHOUSE_TORTURE_SEED").unwrap_or(1);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for round in 0..rounds {
        let dir = NIGHTLY.lake(1);
        let lake = dir.path().join("lake");
        for night in 1..NIGHTS {
            let when = format!("seed {seed}, round {round}, night {night}");
            let mut command = NIGHTLY.command(night, &lake);
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            std::thread::sleep(NIGHTLY.took[night].mul_f64(random.random_range(0.0..1.0)));
            let upkeep = MAINTAIN.run(&lake);
            assert!([0, 75].contains(&upkeep.code), "{when}: {}", upkeep.stderr);
            let ended = said(child.wait_with_output().unwrap());
            assert!([0, 3, 75].contains(&ended.code), "{when}: {}", ended.stderr);
            println!("{when}: {}", ended.stderr.lines().last().unwrap_or_default());
            let last = NIGHTLY.night(night, &lake);
            assert_eq!(last.code, 0, "{when}: {}", last.stderr);
            assert_night(&lake, night, &when);
        }
    }
}

#[test]
fn an_erasure_waits_for_other_jobs() {
    let dir = NIGHTLY.lake(2);
    let (lake, go) = (dir.path().join("lake"), dir.path().join("go"));
    let mut night = NIGHTLY.command(2, &lake);
    night.env("SCOREHOUSE_FAILPOINT", format!("before-commit:tables/pay=hold:{}", go.display()));
    let mut night = night.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !dir.path().join("go.held").exists() {
        assert!(night.try_wait().unwrap().is_none(), "it ended before it was held");
        std::thread::sleep(Duration::from_millis(10));
    }
    ERASE.run(&lake).refuses(75, &["the job ingest of 2024-03-08 is under way"]);
    std::fs::write(&go, "").unwrap();
    assert!(night.wait().unwrap().success());
    // What a killed night was writing holds the entity, and has no name that a listing shows.
    let staged = lake.join("tables/pay/part-1.parquet#17");
    std::fs::write(&staged, "u1").unwrap();
    assert_eq!(ERASE.run(&lake).code, 0);
    assert!(!staged.exists());
}
