//! Definition text → validated types → graph. Pure: no I/O, no clock.
//!
//! An engineer's files come in as text ([`project::TextFile`]) and leave as a [`Project`], or as every diagnostic there
//! is. Each kind of file has raw types that mirror its YAML (`deny_unknown_fields`) and a validated type that cannot
//! be wrong; in between stands one `validate`. What was wrong points at file, line and column ([`yaml::Origin`]).
//!
//! Types of columns and expressions are not known here: they come from plans, which the engine makes.

pub mod aggregation;
pub mod attributes;
pub mod diagnostic;
pub mod expectation;
pub mod experiment;
pub mod features;
pub mod format;
mod graph;
pub mod identity;
pub mod inputs;
pub mod lineage;
pub mod map;
pub mod model;
pub mod overlap;
pub mod personal;
pub mod profile;
pub mod project;
pub mod schema;
pub mod sequence;
pub mod source;
pub mod sql;
pub mod sql_features;
pub mod table;
pub mod trend;
pub mod types;
pub mod yaml;

pub use attributes::Attributes;
pub use diagnostic::Diagnostic;
pub use experiment::Experiment;
pub use features::FeatureGroup;
pub use model::Model;
pub use project::{Project, TextFile};
pub use sequence::Sequence;
pub use source::Source;
pub use sql_features::SqlFeatures;
pub use table::Table;
