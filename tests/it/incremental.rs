//! Nights from last night's states, through the binary: each the same, bit for bit, as the night from all rows.
//!
//! Every night runs twice: in its lake, where it may start from the states, and with `--full` in a copy of that lake.
//! Tests say which way a night must have gone, since two snapshots would always agree.

mod definitions;
mod memory;
pub mod project;
mod rows;
mod script;
