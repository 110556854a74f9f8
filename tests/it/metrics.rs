//! Each run leaves a file of metrics for Prometheus, whatever came of it, and none fails for it.

use std::path::{Path, PathBuf};

use crate::small::{self, two_days};
use crate::support::{Said, World, said};
use crate::torture::nights::NIGHTLY;

const DAY: &str = "2024-02-29";

fn world() -> World {
    let world = small::world();
    two_days(&world);
    world
}

fn directory(world: &World) -> PathBuf {
    let directory = world.dir.path().join("metrics");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

fn ingest(world: &World, directory: &Path) -> Said {
    let (project, directory) = (world.project.display().to_string(), directory.display().to_string());
    world.run(&["ingest", "--date", DAY, "--project", &project, "--metrics-dir", &directory])
}

/// The value of a series.
#[track_caller]
fn value(directory: &Path, job: &str, series: &str) -> f64 {
    let text = std::fs::read_to_string(directory.join(format!("scorehouse_{job}.prom"))).unwrap();
    let found = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no {series} in\n{text}"))
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_run_tells_what_it_came_to_also_when_it_fails() {
    let world = world();
    let dir = directory(&world);
    ingest(&world, &dir).ok();
    assert_eq!(names(&dir), ["scorehouse_ingest.prom"], "nothing unfinished is left");
    let of = |name: &str| value(&dir, "ingest", &format!("{name}{{scorehouse_job=\"ingest\"}}"));
    assert_eq!((of("scorehouse_last_run_success"), of("scorehouse_last_run_exit_code")), (1.0, 0.0));
    let first = of("scorehouse_last_success_timestamp_seconds");
    assert!(first > 1.7e9 && first == of("scorehouse_last_run_timestamp_seconds"));
    assert!(of("scorehouse_last_run_duration_seconds") > 0.0);
    assert!(of("scorehouse_last_run_peak_memory_bytes") > f64::from(1 << 20));
    let pay = "{scorehouse_job=\"ingest\",table=\"tables/pay\"}";
    let rows = world.query("select count(*) as n from pay")[0]["n"].as_f64().unwrap();
    assert_eq!(value(&dir, "ingest", &format!("scorehouse_last_run_written_rows{pay}")), rows);
    assert!(value(&dir, "ingest", &format!("scorehouse_last_run_written_bytes{pay}")) > 100.0);
    // Input that breaks its contract.
    std::fs::write(world.raw().join("pay/day=2024-02-29/bad.parquet"), "no Parquet").unwrap();
    ingest(&world, &dir).refuses(3, &[]);
    assert_eq!((of("scorehouse_last_run_success"), of("scorehouse_last_run_exit_code")), (0.0, 3.0));
    assert_eq!(of("scorehouse_last_success_timestamp_seconds"), first);
    // A definition that is wrong, so that no job begins.
    world.write("features/pays.yaml", "group: 7\n");
    ingest(&world, &dir).refuses(2, &[]);
    assert_eq!(of("scorehouse_last_run_exit_code"), 2.0);
    let counted = |outcome: &str| {
        value(&dir, "ingest", &format!("scorehouse_runs_total{{scorehouse_job=\"ingest\",outcome=\"{outcome}\"}}"))
    };
    assert_eq!((counted("ok"), counted("failed")), (1.0, 2.0));
}

#[test]
fn a_night_has_a_file_for_itself_and_each_of_its_jobs() {
    let world = World { project: NIGHTLY.project(), ..World::with(&[]) };
    std::fs::rename(NIGHTLY.lake(2).path().join("lake"), world.lake()).unwrap();
    let dir = directory(&world);
    let mut command = NIGHTLY.command(2, &world.lake());
    said(command.arg("--metrics-dir").arg(&dir).output().unwrap()).ok();
    let jobs = ["features", "gate", "ingest", "monitor", "nightly", "report", "score", "tables", "train"];
    assert_eq!(names(&dir), jobs.map(|job| format!("scorehouse_{job}.prom")));
    let table = "scorehouse_last_run_written_rows{scorehouse_job=\"nightly\",table=\"features/pays\"}";
    assert!(value(&dir, "nightly", table) > 0.0);
}

#[test]
fn metrics_that_cannot_be_written_fail_no_run_and_are_said() {
    let world = world();
    let nowhere = world.dir.path().join("nowhere");
    let said = ingest(&world, &nowhere).ok();
    assert!(said.stderr.contains("the metrics of this run could not be written"), "{}", said.stderr);
    assert!(said.stderr.contains("nowhere/scorehouse_ingest.prom"), "{}", said.stderr);
    let project = world.project.display().to_string();
    let arguments = ["ingest", "--date", DAY, "--project", &project, "--metrics-dir", "s3://bucket/metrics"];
    world.run(&arguments).refuses(2, &["--metrics-dir", "a path on this machine"]);
}

#[test]
fn the_profile_names_the_directory_and_the_flag_another() {
    let world = world();
    let (dir, other) = (directory(&world), world.dir.path().join("other"));
    std::fs::create_dir(&other).unwrap();
    let profile = world.dir.path().join("profile.yaml");
    std::fs::write(&profile, format!("lake: l\nraw: r\nmetrics_dir: {}\n", dir.display())).unwrap();
    let (project, profile) = (world.project.display().to_string(), profile.display().to_string());
    let mut arguments = vec!["ingest", "--date", DAY, "--project", &project, "--profile", &profile];
    world.run(&arguments).ok();
    assert_eq!(names(&dir), ["scorehouse_ingest.prom"]);
    std::fs::remove_dir_all(&dir).unwrap();
    let other = other.display().to_string();
    arguments.extend(["--metrics-dir", other.as_str()]);
    world.run(&arguments).ok();
    assert_eq!(names(Path::new(&other)), ["scorehouse_ingest.prom"]);
}
