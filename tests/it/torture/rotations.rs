//! A rotation of the key of pseudonyms that is killed at random instants, and run again: what an undisturbed one leaves.

use std::path::PathBuf;
use std::time::Instant;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::compare::{Dump, assert_same};
use super::kills::{kill, number};
use super::nights::MODEL;
use crate::rotation::{NEW, OLD, ROTATE, command, copied, holding, nights, pseudonyms, run, seen, world};
use crate::support::{World, visit};

/// Fits into a run of all tests.
const KILLS: usize = 4;

/// A lake with everything that holds pseudonyms: tables, states, lists, scores, and what a gate compared as a page and a
/// CSV.
fn begun() -> World {
    let world = world();
    world.write("models/again.yaml", MODEL);
    nights(&world, OLD, 2..5);
    world
}

/// Every table, and every file of the reports.
fn left(world: &World) -> Dump {
    let mut left = seen(world);
    visit(&world.lake().join("reports"), &mut |path| {
        let name = path.strip_prefix(world.lake()).unwrap().display().to_string();
        left.insert(name, vec![String::from_utf8(std::fs::read(path).unwrap()).unwrap()]);
    });
    left
}

#[test]
fn a_rotation_killed_at_random_instants_is_completed_by_the_next_run() {
    let kills = number("SCOREHOUSE_TORTURE_KILLS").map_or(KILLS, |kills| (kills as usize / 10).max(KILLS));
    let seed = number("SCOREHOUSE_TORTURE_SEED").unwrap_or(1);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let begun = begun();
    let old = pseudonyms(&begun, OLD);
    let undisturbed = copied(&begun);
    let started = Instant::now();
    run(&undisturbed, OLD, &ROTATE).ok();
    let mut takes = started.elapsed();
    let expected = left(&undisturbed);
    // A page that is written anew has customers of equal scores in the order of their new names.
    nights(&undisturbed, NEW, 4..5);
    let expected_then = left(&undisturbed);
    let (mut killed, mut ended) = (0, 0);
    while killed < kills {
        let world = copied(&begun);
        let when = format!("seed {seed}, after {killed} kills");
        // Up to three times on one lake.
        for _ in 0..random.random_range(1..=3) {
            if kill(command(&world, OLD, &ROTATE), takes.mul_f64(random.random_range(0.0..1.0))) {
                (killed, takes) = (killed + 1, takes.mul_f64(1.1));
            } else {
                (ended, takes) = (ended + 1, takes.mul_f64(0.7));
            }
        }
        let done = run(&world, OLD, &ROTATE).ok().json();
        assert!(done["nothing_to_do"] == true || done["proof"]["found"] == 0, "{when}: {done:#}");
        assert_eq!(holding(&world.lake(), &old), Vec::<PathBuf>::new(), "{when}");
        assert_same(&left(&world), &expected, &when);
        // The next job finds nothing that is half done.
        nights(&world, NEW, 4..5);
        assert_same(&left(&world), &expected_then, &when);
    }
    println!("{killed} kills of rotations at random instants, {ended} ended before theirs");
}

/// What people are given to open: the customers whose action would change, one file a night.
#[test]
fn no_file_of_the_reports_has_an_old_pseudonym_after_a_rotation() {
    let world = begun();
    let old = pseudonyms(&world, OLD);
    let reports = world.lake().join("reports");
    let before = holding(&reports, &old);
    let is_list = |path: &PathBuf| path.ends_with("differences.csv");
    assert!(before.iter().any(is_list) && before.iter().any(|path| !is_list(path)), "{before:?}");
    let lines = |path: &PathBuf| std::fs::read_to_string(path).unwrap().lines().count();
    let told: Vec<usize> = before.iter().map(lines).collect();
    run(&world, OLD, &ROTATE).ok();
    assert_eq!(holding(&reports, &old), Vec::<PathBuf>::new());
    let new = pseudonyms(&world, NEW);
    assert_eq!(holding(&reports, &new), before, "the same files, by the new names");
    assert_eq!(before.iter().map(lines).collect::<Vec<_>>(), told);
}
