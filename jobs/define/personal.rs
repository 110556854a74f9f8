//! Which columns hold personal data, beyond the sources.
//!
//! One rule: personal data flow by value. A column that is computed from one with `pii: keep` is personal too, and says
//! so, or says that it no longer is, under the key `pii` of the definition that makes it:
//!
//! ```yaml
//! pii: {email: keep, email_domain: none}
//! ```
//!
//! What is joined, filtered, grouped or ordered by alone does not flow: it decides on rows and is not shown by them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::map::Map;
use super::yaml::Origin;

/// What a column says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Personal")]
pub enum Class {
    /// Personal: whatever is computed from it has to say so in turn.
    Keep,
    /// No longer personal.
    None,
}

/// What a definition says of its columns.
#[derive(Debug, Clone)]
pub struct Declared {
    pub classes: Map<Class>,
    pub origin: Origin,
}
