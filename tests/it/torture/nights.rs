//! Four nights of a small project, and what each leaves when nobody disturbs it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::compare::{Dump, dump};
use crate::small::{self, Pay, batch, write};
use crate::support::{Said, said, scorehouse};

pub const MODEL: &str = "\
model: again
description: Whether somebody pays within a day.
entity: user_id
spine: {population: people, every: 1d, history: 4d}
label: {table: payments, horizon: 1d}
inputs: [pays.*]
head: {kind: lightgbm, rounds: 4, early_stopping: 0, params: {min_data_in_leaf: 2, min_data_in_bin: 1}}
validation: {kind: cross_validation, folds: 2}
decisions: [{action: wait, below: 0.5}, {action: write}]
gate: {checks: {rank_agreement: {min: -1}, action_changes: {max: 1}, coverage: {min: 0}}}
retrain: 2d
";

pub const NIGHTS: usize = 4;

/// The project, the raw files as each night finds them, and the lake that each night leaves.
pub struct Nights {
    dir: TempDir,
    /// After no night, one night, two …
    pub dumps: Vec<Dump>,
    pub took: Vec<Duration>,
}

/// Shared by all tests: nobody writes into it.
pub static NIGHTLY: LazyLock<Nights> = LazyLock::new(Nights::new);

impl Nights {
    fn new() -> Nights {
        let mut nights = Nights { dir: TempDir::new().unwrap(), dumps: vec![Dump::default()], took: Vec::new() };
        project(&nights.project());
        (0..NIGHTS).for_each(|night| deliver(nights.dir.path(), night));
        for night in 0..NIGHTS {
            let lake = nights.lake_after(night + 1);
            copy(&nights.lake_after(night), &lake);
            let started = Instant::now();
            let code = nights.night(night, &lake).code;
            assert_eq!(code, 0, "{}", nights.night(night, &lake).stderr);
            nights.took.push(started.elapsed());
            nights.dumps.push(dump(&lake));
        }
        nights
    }

    /// A lake of a test's own, as it is after so many nights.
    pub fn lake(&self, nights: usize) -> TempDir {
        let dir = TempDir::new().unwrap();
        copy(&self.lake_after(nights), &dir.path().join("lake"));
        dir
    }

    /// Runs a night to its end.
    pub fn night(&self, night: usize, lake: &Path) -> Said {
        said(self.command(night, lake).output().unwrap())
    }

    pub fn command(&self, night: usize, lake: &Path) -> Command {
        let mut command = scorehouse(&["nightly", "--json", "--date", &date(night)]);
        self.place(&mut command, night, lake);
        command
    }

    /// This project and lake, and the raw files as a night finds them.
    pub fn place(&self, command: &mut Command, night: usize, lake: &Path) {
        command.arg("--project").arg(self.project()).arg("--lake").arg(lake);
        command.arg("--raw").arg(self.raw(night));
        command.env_remove("SCOREHOUSE_FAILPOINT");
    }

    /// A profile that keeps history for so long.
    pub fn profile(&self, retention: &str) -> PathBuf {
        let path = self.dir.path().join(format!("keeps-{retention}.yaml"));
        // In one step: a job of another test may be reading it.
        let new = tempfile::NamedTempFile::new_in(self.dir.path()).unwrap();
        std::fs::write(&new, format!("lake: lake\nraw: raw\nreplay_retention: {retention}\n")).unwrap();
        new.persist(&path).unwrap();
        path
    }

    /// The raw files as a night finds them.
    pub fn raw(&self, night: usize) -> PathBuf {
        self.dir.path().join(format!("raw-{night}"))
    }

    pub fn project(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    fn lake_after(&self, nights: usize) -> PathBuf {
        self.dir.path().join(format!("lake-{nights}"))
    }
}

pub fn date(night: usize) -> String {
    format!("2024-03-{:02}", night + 6)
}

fn project(dir: &Path) {
    let sources = small::SOURCES.replace("key: [id]", "key: [id]\n    max_bad_share: 0.5");
    let mut files = small::files();
    files[0].1 = &sources;
    files.push(("models/again.yaml", MODEL));
    for (path, text) in files {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// What lies in the raw folder when a night begins: all that lay there the night before, and what came since.
fn deliver(dir: &Path, night: usize) {
    let raw = dir.join(format!("raw-{night}"));
    if night > 0 {
        link(&dir.join(format!("raw-{}", night - 1)), &raw);
    }
    let days = if night == 0 { 0..6 } else { night + 5..night + 6 };
    for day in days {
        put(&raw, &format!("day=2024-03-{:02}/a.parquet", day + 1), &payments(day));
    }
    match night {
        // Late: three days ago, and a user whom nobody had heard of.
        1 => put(&raw, "day=2024-03-04/late.parquet", &[pay("late-1", "u3", 3, 7, 4200), pay("late-2", "v0", 3, 8, 1)]),
        // Corrected: the same payments, other amounts; one moves to another day.
        2 => put(
            &raw,
            "day=2024-03-08/corrected.parquet",
            &[pay("p5-1", "u1", 5, 3, 999_900), pay("p4-2", "u2", 5, 20, 5000), pay("p2-0", "u0", 2, 1, 77)],
        ),
        // Delivered again under another name, and once more with a row that breaks the contract.
        3 => {
            put(&raw, "day=2024-03-09/again.parquet", &payments(7));
            put(&raw, "day=2024-03-09/bad.parquet", &[pay("late-3", "u4", 6, 5, 10), ("bad".into(), None, None, 3)]);
        }
        _ => {}
    }
}

type Row = (String, Option<String>, Option<String>, i128);

fn pay(id: &str, user: &str, day: usize, hour: usize, amount: i128) -> Row {
    (id.into(), Some(user.into()), Some(format!("2024-03-{:02}T{hour:02}:00:00Z", day + 1)), amount)
}

/// What a dozen users paid on a day: each on some days, by a rule; one row twice, one of nobody.
fn payments(day: usize) -> Vec<Row> {
    let pays = |user: &usize| !(user * 7 + day * 5).is_multiple_of(3);
    let mut rows: Vec<Row> = (0..12)
        .filter(pays)
        .map(|user| {
            let amount = 1000 + (user * 389 + day * 173) as i128 % 9000;
            pay(&format!("p{day}-{user}"), &format!("u{user}"), day, user + 1, amount)
        })
        .collect();
    rows.push(rows[0].clone());
    rows.push((format!("n{day}"), None, Some(format!("2024-03-{:02}T13:00:00Z", day + 1)), 500));
    rows
}

fn put(raw: &Path, file: &str, rows: &[Row]) {
    let path = raw.join("pay").join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let whole: Vec<Pay> = rows.iter().map(|r| (r.0.as_str(), r.1.as_deref(), r.2.as_deref(), r.3)).collect();
    write(&path, &batch(&whole));
}

/// Copies a directory; one that does not exist has nothing in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    each(from, to, &|from, to| std::fs::copy(from, to).map(drop).unwrap());
}

/// The same files again, with the times at which they were written.
fn link(from: &Path, to: &Path) {
    each(from, to, &|from, to| std::fs::hard_link(from, to).unwrap());
}

fn each(from: &Path, to: &Path, f: &impl Fn(&Path, &Path)) {
    let Ok(entries) = std::fs::read_dir(from) else { return };
    for entry in entries {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            std::fs::create_dir_all(&to).unwrap();
            each(&from, &to, f);
        } else {
            f(&from, &to);
        }
    }
}
