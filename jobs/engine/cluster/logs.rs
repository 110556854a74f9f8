//! What Ballista says goes where our own logs go: it speaks through `log`, we through `tracing`.

use log::{Level, LevelFilter, Log, Metadata, Record};

struct Forward;

impl Log for Forward {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= log::max_level() && metadata.target().starts_with("ballista")
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let said = record.args();
        match record.level() {
            Level::Error => tracing::error!("{said}"),
            Level::Warn => tracing::warn!("{said}"),
            _ => tracing::info!("{said}"),
        }
    }

    fn flush(&self) {}
}

/// Passes on what is at least a warning, from now on.
pub fn forward() {
    // Fails where somebody listens already, who will do.
    if log::set_logger(&Forward).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}
