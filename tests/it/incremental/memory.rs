//! Nights of the shipped project in 64 MiB, against the same without a limit.

use super::project::{copied, stored};
use crate::support::{Said, World};

const FIRST: &str = "2025-06-29";
const SECOND: &str = "2025-06-30";

fn run(world: &World, job: &str, date: &str, more: &[&str]) -> Said {
    world.run(&[&[job, "--date", date, "--json"], more].concat()).ok()
}

#[test]
fn a_night_from_states_in_little_memory() {
    let world = World::new();
    world.run(&["generate", "--users", "3000", "--days", "150", "--seed", "6", "--date", SECOND]).ok();
    let profile = world.dir.path().join("small.yaml");
    std::fs::write(&profile, "lake: l\nraw: r\nmemory_limit: 64MiB\nthreads: 2\n").unwrap();
    let little = ["--profile", profile.to_str().unwrap()];
    for date in [FIRST, SECOND] {
        for job in ["ingest", "tables"] {
            run(&world, job, date, &[]);
        }
        let copy = copied(&world);
        let predicted = predicted(&world, date, &little);
        let said = run(&world, "features", date, &little);
        let ratio = predicted as f64 / said.json()["peak_memory"].as_f64().unwrap();
        assert!((0.5..2.0).contains(&ratio), "{predicted} bytes were predicted, {ratio} of what was measured");
        run(&copy, "features", date, &["--full"]);
        let outputs = said.json()["outputs"].as_array().unwrap().clone();
        assert!(outputs.len() >= 8, "{said:#?}");
        for line in outputs {
            let table = line["table"].as_str().unwrap().replace('/', ".");
            // A query is computed for everybody every night.
            let way = if date == FIRST || table == "features.open_loans" { "snapshot" } else { "incremental" };
            assert_eq!(line["details"]["way"], way, "{line:#}");
            let (expected, found) = (stored(&copy, &table, date), stored(&world, &table, date));
            assert!(found.num_rows() > 1000);
            assert!(expected == found, "{table} on {date}");
        }
    }
}

/// What the plan says of the night's hungriest step.
fn predicted(world: &World, date: &str, more: &[&str]) -> u64 {
    let steps = run(world, "plan", date, more).json()["steps"].as_array().unwrap().clone();
    steps.iter().filter_map(|step| step["peak_memory"].as_u64()).max().unwrap()
}
