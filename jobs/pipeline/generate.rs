//! `generate`: synthetic events under the raw root.

use crate::error::Result;
pub use crate::generate::{Config, Summary};

/// Writes what is not there yet; `progress` is told how many more events have been written, from any thread.
///
/// # Errors
/// A configuration that cannot be, or a directory that cannot be written.
pub fn run(config: &Config, progress: &(dyn Fn(u64) + Sync)) -> Result<Summary> {
    let summary = crate::generate::run(config, progress)?;
    let raw = config.raw.display();
    if summary.unchanged {
        tracing::info!(%raw, files = summary.files, "nothing to do: the same events have been generated already");
    } else {
        tracing::info!(%raw, files = summary.files, events = summary.total_events(), "events generated");
    }
    Ok(summary)
}
