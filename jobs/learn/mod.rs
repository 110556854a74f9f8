//! Matrices, encoders, models, metrics, artifacts. The only user of `lightgbm3`.
//!
//! Plain types and Arrow batches go in, bytes and Arrow batches come out: nothing here reads storage, a clock or a
//! definition file. [`train::fit`] makes a model and its honest metrics from rows; [`artifact::Artifact`] carries it
//! as a set of files; [`scorer::Scorer`] turns feature batches into probabilities; [`score`] turns those into scores
//! and decisions.

pub mod artifact;
pub mod encode;
pub mod evaluate;
#[cfg(test)]
mod fixture;
pub mod lightgbm;
pub mod matrix;
pub mod metrics;
pub mod params;
pub mod predict;
pub mod prior;
pub mod score;
pub mod scorer;
pub mod shares;
pub mod split;
pub mod train;
