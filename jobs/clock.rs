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

/// The environment variables whose names begin so; those that are not UTF-8 are left out.
#[allow(clippy::disallowed_methods)]
pub fn env_with_prefix(prefix: &str) -> Vec<(String, String)> {
    let all =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut found: Vec<(String, String)> = all.filter(|(name, _)| name.starts_with(prefix)).collect();
    found.sort();
    found
}

/// The name of this machine, to tell its processes from those of another.
pub fn machine() -> String {
    let mut name = [0u8; 256];
    // SAFETY: gethostname writes at most the given length into a buffer that we own; the last byte stays zero.
    let failed = unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) } != 0;
    let length = name.iter().position(|byte| *byte == 0).unwrap_or_default();
    if failed { String::new() } else { String::from_utf8_lossy(&name[..length]).into_owned() }
}

/// Whether a process of this machine is there.
pub fn is_running(process: u32) -> bool {
    let Ok(process) = libc::pid_t::try_from(process) else { return false };
    // SAFETY: signal 0 is sent to nobody; it only asks.
    let asked = unsafe { libc::kill(process, 0) };
    asked == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}
