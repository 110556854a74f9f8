//! SIGKILL at random instants.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::compare::{assert_same, assert_whole, dump};
use super::nights::{NIGHTLY, NIGHTS};
use crate::support::World;

/// Fits into a run of all tests.
const KILLS: usize = 12;

/// How often a night is killed at most before it may end.
const IN_A_ROW: usize = 3;

pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn a_night_killed_at_random_instants_ends_as_if_it_had_not_been() {
    let kills = number("SCOREHOUSE_TORTURE_KILLS").map_or(KILLS, |kills| kills as usize);
    let seed = number("SCOREHOUSE_TORTURE_SEED").unwrap_or(1);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut killed, mut ended, mut rounds) = (0, 0, 0);
    // How long a night takes: longer or shorter than it did, as the machine has other things to do.
    let mut takes = NIGHTLY.took.clone();
    let started = Instant::now();
    while killed < kills {
        let dir = NIGHTLY.lake(0);
        let lake = dir.path().join("lake");
        rounds += 1;
        for (night, takes) in takes.iter_mut().enumerate() {
            for _ in 0..random.random_range(1..=IN_A_ROW) {
                let when = takes.mul_f64(random.random_range(0.0..1.0));
                let said = format!("seed {seed}, round {rounds}, night {night}, killed after {when:?}");
                if kill(NIGHTLY.command(night, &lake), when) {
                    killed += 1;
                    *takes = takes.mul_f64(1.1);
                } else {
                    ended += 1;
                    *takes = takes.mul_f64(0.7);
                }
                assert_whole(&dump(&lake), &NIGHTLY.dumps[night], &NIGHTLY.dumps[night + 1], &said);
            }
            let again = NIGHTLY.night(night, &lake);
            assert_eq!(again.code, 0, "seed {seed}, round {rounds}, night {night}: {}", again.stderr);
            assert_same(
                &dump(&lake),
                &NIGHTLY.dumps[night + 1],
                &format!("seed {seed}, round {rounds}, night {night}"),
            );
        }
        every_run_is_accounted_for(&lake);
    }
    let took = started.elapsed().as_secs();
    println!("{killed} kills in {rounds} rounds of {NIGHTS} nights, {ended} nights ended before theirs; {took} s");
}

/// Whether the night was killed; it may have ended before.
pub fn kill(mut command: Command, after: Duration) -> bool {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while started.elapsed() < after && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    !child.wait().unwrap().success()
}

/// Each run has a row per job, and none is still said to be under way.
pub fn every_run_is_accounted_for(lake: &Path) {
    let world = World::with(&[]);
    std::fs::rename(lake, world.lake()).unwrap();
    let doubled = world.query("select run_id, job, count(*) as n from runs group by 1, 2 having count(*) > 1");
    assert!(doubled.is_empty(), "{doubled:#?}");
    let said = world.query("select status, exit_code, count(*) as n from runs group by 1, 2");
    let known = |row: &serde_json::Value| match row["status"].as_str().unwrap() {
        "ok" => row["exit_code"] == 0,
        "lost" => row["exit_code"] == 137,
        "failed" => row["exit_code"] == 75,
        _ => false,
    };
    assert!(said.iter().all(known), "{said:#?}");
    let names = std::fs::read_dir(world.lake().join("running")).into_iter().flatten().map(|e| e.unwrap().file_name());
    // A name with a # is of a file that was being written: no reader sees it.
    let open: Vec<_> = names.filter(|name| !name.to_str().unwrap().contains('#')).collect();
    assert!(open.is_empty(), "said to be under way: {open:?}");
    std::fs::rename(world.lake(), lake).unwrap();
}
