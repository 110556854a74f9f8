//! The `verify` job.

pub mod difference;
