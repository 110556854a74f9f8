//! DataFusion sessions, point-in-time features, sequences.

pub mod pit;
pub mod plan;
pub mod session;
