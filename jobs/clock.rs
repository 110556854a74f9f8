//! The only file that reads the clock and the environment. Everything else is told, so that a re-run is a re-run.

use std::time::Instant;

use chrono::{DateTime, Utc};

/// The wall clock, for logs and the `runs` table; never for data.
#[allow(clippy::disallowed_methods)]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// A monotonic instant, for durations.
#[allow(clippy::disallowed_methods)]
pub fn instant() -> Instant {
    Instant::now()
}

/// The value of an environment variable; `None` where it is unset or not UTF-8.
#[allow(clippy::disallowed_methods)]
pub fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
