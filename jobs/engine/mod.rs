//! DataFusion sessions, typed plans of SQL tables, point-in-time features and sequences, fast and naive.

pub mod naive;
pub mod physical;
pub mod pit;
pub mod plan;
pub mod session;
