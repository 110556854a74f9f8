//! One file per job: the control flow, top to bottom.
//!
//! Here the parts meet that do not know each other: definitions, lake, engine, learner. A job is a function from a
//! [`job::Job`] (the compiled project, the lake, the night) to the lines of its result ([`job::Written`]).

pub mod about;
mod artifacts;
pub mod attributes;
pub mod audits;
pub mod backfill;
pub mod ballista;
pub mod check;
mod csv;
pub mod erase;
pub mod experiment;
pub mod features;
mod fingerprints;
pub mod flight;
pub mod gate;
pub mod generate;
pub mod ingest;
pub mod instants;
pub mod job;
mod label;
pub mod learning;
pub mod ledger;
pub mod lineage;
pub mod load;
pub mod maintain;
pub mod metrics;
mod mlflow;
pub mod models;
pub mod monitor;
pub mod nightly;
pub mod open;
pub mod personal;
pub mod plan;
mod population;
pub mod progress;
pub mod query;
pub mod registry;
pub mod replay;
pub mod report;
pub mod rotation;
pub mod run_id;
pub mod runs;
pub mod score;
pub mod search;
pub mod spine;
pub mod sql_features;
pub mod suppression;
pub mod tables;
pub mod train;
mod training_set;
mod underway;
pub mod vectors;
pub mod verify;
pub mod why;
