//! Scorehouse: raw event Parquet in, point-in-time features, models, scores and decisions as Delta tables out.

pub mod allocator;
pub mod cli;
pub mod clock;
pub mod define;
pub mod engine;
pub mod error;
pub mod generate;
pub mod lake;
pub mod learn;
pub mod panics;
pub mod pipeline;
pub mod report;
