//! A night that is killed, overtaken, starved of disk or cut from power, and run again: every table of the lake, row by
//! row, is what an undisturbed night leaves.
//!
//! The nights are small (a dozen users, a source, two tables, a group, a sequence, a model), and have what makes re-runs
//! hard: late files, corrections, rows delivered twice, bad rows, a model that is retrained. The binary is the real one,
//! and so are SIGKILL and the file system. `SCOREHOUSE_TORTURE_KILLS` says how often to kill at random (`make torture`:
//! 1,000 times), `SCOREHOUSE_TORTURE_SEED` from which seed.

mod clock;
pub mod compare;
mod concurrent;
mod disk;
mod kills;
pub mod nights;
mod points;
mod power;
mod rotations;
mod shim;
mod upkeep;
