//! What a person sees while a job runs: a bar per step on a terminal, a log line per step elsewhere.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::clock;

/// Whether whoever reads the log is a machine, even at a terminal.
static LOG_LINES: AtomicBool = AtomicBool::new(false);

/// From now on a step is a log line wherever stderr goes.
pub fn as_log_lines() {
    LOG_LINES.store(true, Ordering::Relaxed);
}

/// Starts steps; knows whether a person is watching.
#[derive(Debug, Clone)]
pub struct Progress {
    terminal: bool,
}

/// One step under way.
#[derive(Debug)]
pub struct Step {
    name: String,
    bar: ProgressBar,
    started: Instant,
    terminal: bool,
}

impl Progress {
    /// Bars on a terminal only; log lines otherwise.
    pub fn new() -> Self {
        Progress { terminal: std::io::stderr().is_terminal() && !LOG_LINES.load(Ordering::Relaxed) }
    }

    /// A step without a known end.
    pub fn step(&self, name: impl Into<String>) -> Step {
        self.start(name.into(), ProgressBar::new_spinner(), "{spinner} {elapsed:>4} {prefix} {msg}")
    }

    /// A step of `total` parts.
    pub fn steps(&self, name: impl Into<String>, total: u64) -> Step {
        self.start(name.into(), ProgressBar::new(total), "{spinner} {elapsed:>4} {prefix} {bar:24} {pos}/{len} {msg}")
    }

    fn start(&self, name: String, bar: ProgressBar, template: &str) -> Step {
        if self.terminal {
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(name.clone());
            bar.enable_steady_tick(Duration::from_millis(120));
        } else {
            bar.set_draw_target(indicatif::ProgressDrawTarget::hidden());
        }
        Step { name, bar, started: clock::instant(), terminal: self.terminal }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Step {
    pub fn advance(&self, parts: u64) {
        self.bar.inc(parts);
    }

    /// What is known so far, beside the bar.
    pub fn say(&self, text: &str) {
        self.bar.set_message(text.to_string());
    }

    pub fn length(&self, total: u64) {
        self.bar.set_length(total);
    }

    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Ends the step with what came of it.
    pub fn done(self, outcome: &str) {
        let seconds = self.seconds();
        self.bar.finish_and_clear();
        if self.terminal {
            eprintln!("✓ {:<34} {:>7.1} s  {}", self.name, seconds, outcome);
        } else {
            tracing::info!(step = self.name, seconds = (seconds * 1000.0).round() / 1000.0, "{outcome}");
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// `1234567` → `1,234,567`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the largest binary unit that keeps one digit before the point.
pub fn bytes(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 || unit == "GiB" {
            return if unit == "B" { format!("{n} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{n} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
    }
}
