//! Fail points: named places around every write and commit, at which a test may end, fail or hold the process.
//!
//! That a crash loses nothing is shown, not claimed: the tests kill the real binary at each of these places, make
//! storage fail there, or hold one run while another overtakes it, and compare the lake afterwards. The environment
//! arms one point, as `SCOREHOUSE_FAILPOINT=<point>[:<text>][#<n>]=<action>`: the n-th time (default: the first) that
//! the point is reached for a table or file whose name contains the text. `after-commit:tables/pay#2=kill` ends the
//! process by SIGKILL right after the second commit to a table called so. Not armed, a point costs one comparison.
//!
//! | point | where |
//! |---|---|
//! | `before-write` | a file is about to be written (local disk) |
//! | `after-write` | the file has its name, and nobody was told yet (local disk) |
//! | `before-commit` | a table's new files are there, and no version names them |
//! | `after-commit` | the version is there, and nobody was told yet |
//! | `before-remove` | upkeep is about to remove an object |
//!
//! | action | what |
//! |---|---|
//! | `kill` | SIGKILL |
//! | `error` | storage fails |
//! | `hold:<file>` | the process makes `<file>.held` and waits until there is `<file>` |
//! | `trace` | every point that matches is logged; nothing else |

use std::io;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::clock;
use crate::error::{Error, Result};

const VARIABLE: &str = "SCOREHOUSE_FAILPOINT";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Point {
    BeforeWrite,
    AfterWrite,
    BeforeCommit,
    AfterCommit,
    BeforeRemove,
}

const POINTS: [(&str, Point); 5] = [
    ("before-write", Point::BeforeWrite),
    ("after-write", Point::AfterWrite),
    ("before-commit", Point::BeforeCommit),
    ("after-commit", Point::AfterCommit),
    ("before-remove", Point::BeforeRemove),
];

#[derive(Debug, PartialEq, Eq)]
enum Action {
    Kill,
    Error,
    Hold(PathBuf),
    Trace,
}

#[derive(Debug)]
struct Armed {
    /// `None`: any.
    point: Option<Point>,
    text: String,
    /// From 1.
    turn: usize,
    action: Action,
    reached: AtomicUsize,
}

static ARMED: LazyLock<Option<Result<Armed, String>>> = LazyLock::new(|| clock::env(VARIABLE).map(|text| parse(&text)));

/// # Errors
/// `Definition` if the environment names a point or an action that does not exist.
pub(super) fn check() -> Result<()> {
    match &*ARMED {
        Some(Err(message)) => Err(Error::definition(message.clone())),
        _ => Ok(()),
    }
}

/// Does what is armed for this point and name; nothing otherwise.
///
/// # Errors
/// The error that is armed.
pub(super) fn reach(point: Point, name: &str) -> io::Result<()> {
    match &*ARMED {
        Some(Ok(armed)) => armed.reach(point, name),
        _ => Ok(()),
    }
}

impl Armed {
    fn reach(&self, point: Point, name: &str) -> io::Result<()> {
        if self.point.is_some_and(|armed| armed != point) || !name.contains(&self.text) {
            return Ok(());
        }
        let turn = self.reached.fetch_add(1, Ordering::SeqCst) + 1;
        let called = POINTS.iter().find(|(_, p)| *p == point).map_or("", |(called, _)| called);
        match &self.action {
            Action::Trace => tracing::info!("reached {called}:{name}"),
            _ if turn != self.turn => {}
            // SAFETY: raise takes no pointer; this signal ends the process at once, with nothing flushed or unwound.
            Action::Kill => unsafe {
                libc::raise(libc::SIGKILL);
            },
            Action::Error => return Err(io::Error::other(format!("{VARIABLE} fails {called}:{name}"))),
            Action::Hold(file) => hold(file)?,
        }
        Ok(())
    }
}

/// Says that it is held, and waits to be let go.
fn hold(file: &Path) -> io::Result<()> {
    let mut held = file.as_os_str().to_owned();
    held.push(".held");
    std::fs::write(held, "")?;
    while !file.exists() {
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn parse(text: &str) -> Result<Armed, String> {
    let wrong = || {
        let points = POINTS.map(|(called, _)| called).join(", ");
        format!(
            "{VARIABLE} is {text:?}\n  expected: <point>[:<text>][#<n>]=<action>, where a point is one of {points} or \
             any, and an action kill, error, hold:<file> or trace\n  help: unset it; it is for tests"
        )
    };
    let (place, action) = text.rsplit_once('=').ok_or_else(wrong)?;
    let action = match action.split_once(':') {
        None if action == "kill" => Action::Kill,
        None if action == "error" => Action::Error,
        None if action == "trace" => Action::Trace,
        Some(("hold", file)) => Action::Hold(file.into()),
        _ => return Err(wrong()),
    };
    let (place, turn) = match place.rsplit_once('#') {
        Some((place, turn)) => (place, turn.parse().map_err(|_| wrong())?),
        None => (place, 1),
    };
    let (called, text) = place.split_once(':').unwrap_or((place, ""));
    let point = match called {
        "any" => None,
        _ => Some(POINTS.iter().find(|(name, _)| *name == called).ok_or_else(wrong)?.1),
    };
    Ok(Armed { point, text: text.into(), turn, action, reached: AtomicUsize::new(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_matching_place_fails_and_no_other() {
        let armed = parse("after-commit:tables/pay#2=error").unwrap();
        let hit = |point, name| armed.reach(point, name).is_err();
        assert!(!hit(Point::AfterCommit, "tables/pay"));
        assert!(!hit(Point::BeforeCommit, "tables/pay"));
        assert!(!hit(Point::AfterCommit, "manifest"));
        assert!(hit(Point::AfterCommit, "tables/payments"));
        assert!(!hit(Point::AfterCommit, "tables/pay"));
    }

    #[test]
    fn what_names_no_point_is_refused() {
        for text in ["kill", "before-lunch=kill", "before-write=maim", "before-write#x=kill", "any=hold"] {
            assert!(parse(text).unwrap_err().contains("after-commit"), "{text}");
        }
        assert_eq!(parse("any=hold:/tmp/go").unwrap().action, Action::Hold("/tmp/go".into()));
    }
}
