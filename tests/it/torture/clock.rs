//! A wall clock that jumps back and forth at each reading, for the whole process, libraries included.

use super::compare::{assert_same, dump};
use super::nights::{NIGHTLY, NIGHTS};
use super::shim;
use crate::support::{World, said};

#[test]
fn a_clock_that_jumps_changes_no_row() {
    let Some(library) = shim::library() else { return };
    for seconds in ["3600", "-40000000"] {
        let dir = NIGHTLY.lake(0);
        let lake = dir.path().join("lake");
        for night in 0..NIGHTS {
            let mut command = NIGHTLY.command(night, &lake);
            shim::watch(&mut command, &library, &lake);
            let said = said(command.env("SHIM_CLOCK", seconds).output().unwrap());
            assert_eq!(said.code, 0, "{}", said.stderr);
            assert_same(&dump(&lake), &NIGHTLY.dumps[night + 1], &format!("a clock that jumps by {seconds} s"));
        }
        let asked = "select count(distinct date_trunc('hour', started_at)) as hours from runs";
        let world = World::with(&[]);
        std::fs::rename(&lake, world.lake()).unwrap();
        let hours = world.query(asked)[0]["hours"].as_u64().unwrap();
        assert!(hours > 2, "the clock did not jump: all runs began within {hours} hours");
    }
}
