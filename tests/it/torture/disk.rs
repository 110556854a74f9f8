//! A disk that is full, at whatever byte: exit 75, every table whole, and the night ends well once there is room.

use std::path::Path;
use std::process::Command;

use super::compare::{assert_same, assert_whole, dump};
use super::nights::{NIGHTLY, copy};
use super::shim;
use crate::support::said;

const NIGHT: usize = 2;

#[test]
fn a_disk_that_is_full_at_any_byte_asks_for_a_retry_and_loses_nothing() {
    let Some(library) = shim::library() else { return };
    let dir = NIGHTLY.lake(NIGHT);
    let lake = dir.path().join("lake");
    let mut refused = 0;
    for space in (0..12).map(|step| step * 6_000) {
        let mut command = NIGHTLY.command(NIGHT, &lake);
        shim::watch(&mut command, &library, &lake);
        let said = said(command.env("SHIM_SPACE", space.to_string()).output().unwrap());
        let when = format!("{space} bytes of room");
        assert_whole(&dump(&lake), &NIGHTLY.dumps[NIGHT], &NIGHTLY.dumps[NIGHT + 1], &when);
        if said.code == 0 {
            break;
        }
        refused += 1;
        said.refuses(75, &["No space left on device"]);
    }
    assert!(refused > 2, "the disk was never full");
    let last = NIGHTLY.night(NIGHT, &lake);
    assert_eq!(last.code, 0, "{}", last.stderr);
    assert_same(&dump(&lake), &NIGHTLY.dumps[NIGHT + 1], "with room again");
}

/// A file system of its own, as small as it gets; it is unmounted when the test ends.
struct Small<'a>(&'a Path);

impl Small<'_> {
    fn mount(at: &Path, options: &str) -> bool {
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(at).output();
        mount.is_ok_and(|output| output.status.success())
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).output();
    }
}

#[test]
fn a_small_file_system_that_fills_up_loses_nothing() {
    let dir = tempfile::TempDir::new().unwrap();
    if !Small::mount(dir.path(), "size=16m") {
        eprintln!("skipped: this user may not mount a file system");
        return;
    }
    let _mounted = Small(dir.path());
    let lake = dir.path().join("lake");
    copy(&NIGHTLY.lake(NIGHT).path().join("lake"), &lake);
    let fill = dir.path().join("fill");
    for free in [0, 16 << 10, 64 << 10] {
        fill_up(&fill, free);
        let said = said(NIGHTLY.command(NIGHT, &lake).output().unwrap());
        std::fs::remove_file(&fill).unwrap();
        said.refuses(75, &["o space left on device"]);
        let when = format!("{free} bytes free");
        assert_whole(&dump(&lake), &NIGHTLY.dumps[NIGHT], &NIGHTLY.dumps[NIGHT + 1], &when);
    }
    let last = NIGHTLY.night(NIGHT, &lake);
    assert_eq!(last.code, 0, "{}", last.stderr);
    assert_same(&dump(&lake), &NIGHTLY.dumps[NIGHT + 1], "with room again");
}

/// Leaves so many bytes free.
fn fill_up(file: &Path, free: usize) {
    use std::io::Write;
    let mut fill = std::fs::File::create(file).unwrap();
    let page = [0u8; 4096];
    while fill.write_all(&page).is_ok() {}
    let full = fill.metadata().unwrap().len();
    fill.set_len(full.saturating_sub(free as u64)).unwrap();
}
