//! One file per job: the control flow, top to bottom.
pub mod generate;
