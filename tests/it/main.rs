//! The one integration binary: every further one would link DataFusion and LightGBM again.

// Clippy knows tests, but not the helpers of tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

mod agree;
mod attributes;
mod audits;
mod backfill;
mod bad_definitions;
mod bad_input;
mod erase;
mod experiment;
mod functions;
mod gate;
mod guarantees;
mod hostile;
mod house;
mod incremental;
mod interleave;
mod keys;
mod leaks;
mod lender;
mod lineage;
mod logs;
mod maintain;
mod metrics;
mod mlflow;
mod models;
mod moved;
mod naive;
mod night;
mod night_plan;
mod nights;
mod pit;
mod plan;
mod point_in_time;
mod query;
mod real_data;
mod release;
mod replay;
mod rotation;
mod runs;
mod shell;
mod small;
mod sources;
mod sql_features;
mod storage;
mod support;
mod torture;
mod verify;
mod why;
