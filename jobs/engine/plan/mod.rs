//! Between a parsed project and rows: typed plans of SQL tables.
//!
//! [`Catalog::compile`] plans every table against the schemas of what it reads, without data, and reports everything
//! that is wrong. [`known::build`] binds such a plan to stored inputs as of a night, so that every output row carries the
//! instant from which it was known. [`versions`] merges the result with what the table holds, [`audits`]
//! look at it before it is committed, and [`cases`] run a table's `given`/`expect` cases in memory. [`sql_features`] are
//! queries too, over tables and a spine.

pub mod audits;
pub mod cases;
pub mod catalog;
mod compile;
mod day;
mod fault;
mod join;
pub mod known;
pub mod lineage;
pub mod measures;
mod models;
mod planner;
mod relation;
mod rewrite;
mod scalars;
pub mod sql_features;
mod twin;
pub mod versions;

pub use catalog::Catalog;
pub use relation::{EVENT_DATE, KNOWN_FROM, KNOWN_UNTIL, Relation};
