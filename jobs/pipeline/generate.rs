//! `generate`: synthetic events under the raw root.

use crate::error::Result;
pub use crate::generate::{Config, Summary};

/// Writes what is not there yet; `progress` is told how many more events have been written, from any thread.
///
/// # Errors
/// A configuration that cannot be, or a directory that cannot be written.
pub fn run(config: &Config, progress: &(dyn Fn(u64) + Sync)) -> Result<Summary> {
    crate::generate::run(config, progress)
}
