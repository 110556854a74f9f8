//! DataFusion sessions, typed plans of SQL tables, point-in-time features and sequences, fast and naive, attributes of
//! decisions.

pub mod attributes;
#[cfg(feature = "ballista")]
pub mod cluster;
pub mod json;
pub mod naive;
pub mod physical;
pub mod pit;
pub mod plan;
pub mod session;

pub use plan::sql_features;
