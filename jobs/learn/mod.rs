//! Matrices, encoders, models, metrics, artifacts. The only user of LightGBM and of what the other heads learn with.
//!
//! Plain types and Arrow batches go in, bytes and Arrow batches come out: nothing here reads storage, a clock or a
//! definition file. [`train::fit`] makes a model and its honest metrics from rows; [`artifact::Artifact`] carries it
//! as a set of files; [`scorer::Scorer`] turns feature batches into probabilities; [`score`] turns those into scores
//! and decisions.

pub mod agreement;
pub mod artifact;
pub mod baseline;
pub mod bootstrap;
pub mod calibrate;
pub mod comparison;
pub mod curves;
pub mod encode;
pub mod evaluate;
pub mod exact;
pub mod fairness;
pub mod feature;
#[cfg(test)]
mod fixture;
pub mod heads;
pub mod inputs;
pub mod lightgbm;
pub mod matrix;
pub mod metrics;
pub mod ordered_target;
pub mod params;
pub mod predict;
pub mod prior;
pub mod ranked;
pub mod reasons;
#[cfg(test)]
mod reference;
pub mod reject;
pub mod score;
pub mod scorecard;
pub mod scorer;
pub mod search;
pub mod shares;
pub mod split;
pub mod stability;
pub mod threads;
pub mod train;
