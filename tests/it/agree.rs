//! What the tests of features share: random histories, definitions over them, and both ways to compute them.

pub mod data;
pub mod definitions;
pub mod run;
