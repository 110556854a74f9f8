//! A power cut: what was not synced is gone, and the lake is whole without it.
//!
//! The real binary runs with every change of the file system recorded. From the record follows what a disk holds after
//! a cut at any instant, if it keeps no more than it must: a name is there once its directory was synced after it was
//! given, a content once its file was synced after it was written. (A disk may keep more, in any order; that a name
//! without its content is possible is what makes the order matter.)

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::compare::{assert_same, assert_whole, dump};
use super::nights::NIGHTLY;
use super::shim;
use crate::support::said;

const NIGHT: usize = 2;

/// A change below the lake, in order.
#[derive(Debug, Clone)]
struct Change {
    what: String,
    path: PathBuf,
    /// The new name, of a link or a rename.
    to: PathBuf,
}

/// A file system that keeps what it must.
#[derive(Debug, Default, Clone)]
struct Disk {
    /// Names that programs see, and the file behind each.
    names: BTreeMap<PathBuf, usize>,
    /// Names that survive.
    kept: BTreeMap<PathBuf, usize>,
    /// Files whose content survives, as it is.
    synced: BTreeSet<usize>,
    directories: BTreeSet<PathBuf>,
    files: usize,
}

impl Disk {
    /// All that lies there, from before.
    fn of(dir: &Path) -> Disk {
        let mut disk = Disk::default();
        walk(dir, &mut |path| match path.is_dir() {
            true => disk.make(path),
            false => disk.create(path),
        });
        disk.kept = disk.names.clone();
        disk.synced = (0..disk.files).collect();
        disk
    }

    fn create(&mut self, path: &Path) {
        if !self.names.contains_key(path) {
            self.names.insert(path.to_path_buf(), self.files);
            self.files += 1;
        }
    }

    fn make(&mut self, directory: &Path) {
        self.create(directory);
        self.directories.insert(directory.to_path_buf());
    }

    fn apply(&mut self, Change { what, path, to }: &Change) {
        match what.as_str() {
            "create" => self.create(path),
            "mkdir" => self.make(path),
            "write" => {
                self.create(path);
                self.synced.remove(&self.names[path]);
            }
            "link" => {
                let file = self.names[path];
                self.names.insert(to.clone(), file);
            }
            "rename" => {
                let file = self.names.remove(path).unwrap();
                self.names.insert(to.clone(), file);
            }
            "unlink" => {
                self.names.remove(path);
            }
            "sync" if self.is_file(path) => {
                self.synced.insert(self.names[path]);
            }
            // Of a directory: its names are what they are.
            _ => {
                let below = |name: &Path| name.parent() == Some(path);
                self.kept.retain(|name, _| !below(name));
                self.kept.extend(self.names.iter().filter(|(name, _)| below(name)).map(|(n, f)| (n.clone(), *f)));
            }
        }
    }

    fn is_file(&self, path: &Path) -> bool {
        self.names.contains_key(path) && !self.directories.contains(path)
    }

    fn is_named(&self, path: &Path, root: &Path) -> bool {
        path.ancestors().take_while(|dir| *dir != root).all(|dir| self.kept.contains_key(dir))
    }

    /// Whether a file is there after a cut, under this name and every directory's, with its content.
    fn survives(&self, path: &Path, root: &Path) -> bool {
        self.is_named(path, root) && self.synced.contains(&self.kept[path])
    }
}

fn walk(dir: &Path, f: &mut impl FnMut(&Path)) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        f(&path);
        if path.is_dir() {
            walk(&path, f);
        }
    }
}

/// A night on a copy of the lake, with every change below it.
struct Recorded {
    _dir: tempfile::TempDir,
    lake: PathBuf,
    before: Disk,
    changes: Vec<Change>,
}

fn record() -> Option<Recorded> {
    let library = shim::library()?;
    let dir = NIGHTLY.lake(NIGHT);
    let lake = dir.path().join("lake").canonicalize().unwrap();
    let before = Disk::of(&lake);
    let trace = dir.path().join("trace");
    let mut command = NIGHTLY.command(NIGHT, &lake);
    shim::watch(&mut command, &library, &lake);
    let said = said(command.env("SHIM_TRACE", &trace).output().unwrap());
    assert_eq!(said.code, 0, "{}", said.stderr);
    let text = std::fs::read_to_string(&trace).unwrap();
    let change = |line: &str| {
        let parts: Vec<&str> = line.split('\t').collect();
        Change { what: parts[0].into(), path: parts[1].into(), to: parts[2].into() }
    };
    let changes: Vec<Change> = text.lines().map(change).collect();
    assert!(changes.len() > 100, "{text}");
    Some(Recorded { _dir: dir, lake, before, changes })
}

fn is_entry(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "json") && path.parent().is_some_and(|dir| dir.ends_with("_delta_log"))
}

/// The data files that a log entry adds.
fn added(entry: &Path) -> Vec<PathBuf> {
    let table = entry.parent().unwrap().parent().unwrap();
    let text = std::fs::read_to_string(entry).unwrap_or_else(|e| panic!("{}: {e}", entry.display()));
    let actions = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let paths = actions.filter_map(|action| Some(action["add"]["path"].as_str()?.to_string()));
    paths.map(|path| table.join(path)).collect()
}

#[test]
fn a_log_entry_gets_its_name_after_all_it_names_is_on_disk() {
    let Some(Recorded { _dir, lake, before, changes }) = record() else { return };
    let mut disk = before;
    let mut entries: Vec<PathBuf> = Vec::new();
    for change in &changes {
        if change.what == "link" && is_entry(&change.to) {
            for earlier in &entries {
                assert!(
                    disk.survives(earlier, &lake),
                    "{} while {} may vanish",
                    change.to.display(),
                    earlier.display()
                );
            }
            let content = disk.names[&change.path];
            assert!(disk.synced.contains(&content), "{} may be empty", change.to.display());
            for file in added(&change.to) {
                assert!(disk.survives(&file, &lake), "{} names {}", change.to.display(), file.display());
            }
            entries.push(change.to.clone());
        }
        disk.apply(change);
    }
    assert!(entries.len() > 15, "{entries:?}");
    for entry in &entries {
        assert!(disk.survives(entry, &lake), "{} was reported and may vanish", entry.display());
    }
}

#[test]
fn a_night_cut_from_power_ends_as_if_it_had_not_been() {
    let Some(Recorded { _dir, lake, before, changes }) = record() else { return };
    let mut disk = before;
    let cuts = 8;
    for (at, change) in changes.iter().enumerate() {
        disk.apply(change);
        if (at + 1) % (changes.len() / cuts) != 0 {
            continue;
        }
        let dir = tempfile::TempDir::new().unwrap();
        let after = dir.path().join("lake");
        survivors(&disk, &lake, &after);
        let when = format!("cut after {at} of {} changes", changes.len());
        assert_whole(&dump(&after), &NIGHTLY.dumps[NIGHT], &NIGHTLY.dumps[NIGHT + 1], &when);
        let again = NIGHTLY.night(NIGHT, &after);
        assert_eq!(again.code, 0, "{when}: {}", again.stderr);
        assert_same(&dump(&after), &NIGHTLY.dumps[NIGHT + 1], &when);
    }
}

/// What the disk holds after the cut. Contents are those at the end of the night, since files never change; those
/// that are gone by then were notes of runs under way.
fn survivors(disk: &Disk, lake: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for (path, file) in &disk.kept {
        let target = to.join(path.strip_prefix(lake).unwrap());
        if !disk.is_named(path, lake) {
            continue;
        }
        if disk.directories.contains(path) {
            std::fs::create_dir_all(&target).unwrap();
        } else if disk.synced.contains(file) && path.is_file() {
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::copy(path, &target).unwrap();
        } else {
            std::fs::write(&target, "").unwrap();
        }
    }
}

/// The model itself: what is not synced is lost, whichever half was forgotten.
#[test]
fn the_disk_of_these_tests_keeps_only_what_was_synced() {
    let root = Path::new("/lake");
    let change = |(what, path, to): (&str, &str, &str)| Change { what: what.into(), path: path.into(), to: to.into() };
    let good = [
        ("create", "/lake/t/1.json#1", ""),
        ("write", "/lake/t/1.json#1", ""),
        ("sync", "/lake/t/1.json#1", ""),
        ("link", "/lake/t/1.json#1", "/lake/t/1.json"),
        ("unlink", "/lake/t/1.json#1", ""),
        ("sync", "/lake/t", ""),
    ];
    let survives = |left_out: Option<usize>| {
        let mut disk = Disk::default();
        disk.apply(&change(("mkdir", "/lake/t", "")));
        disk.apply(&change(("sync", "/lake", "")));
        good.iter().enumerate().filter(|(i, _)| Some(*i) != left_out).for_each(|(_, c)| disk.apply(&change(*c)));
        disk.survives(Path::new("/lake/t/1.json"), root)
    };
    assert!(survives(None));
    assert!(!survives(Some(2)), "the file was not synced");
    assert!(!survives(Some(5)), "the directory was not synced");
}
