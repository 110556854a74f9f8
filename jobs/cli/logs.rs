//! What stderr gets: log lines, and the last line of a run that failed.
//!
//! As JSON, each line is an object with the run's id, the last one too. As text, a failure is told in full and then, if
//! that took several lines, once more in one: who reads only the end of a log reads what was wrong.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use super::common::LogFormat;
use super::output::cut;
use crate::clock;
use crate::error::{Error, Kind, Result};
use crate::pipeline::progress;
use crate::pipeline::run_id;

/// The environment variable that says how much is logged.
const LEVEL: &str = "SCOREHOUSE_LOG";
/// Characters of the last line.
const LONGEST: usize = 300;

static JSON: AtomicBool = AtomicBool::new(false);

/// Begins to log: by default our own events from INFO on, of others only warnings.
pub fn start(format: LogFormat) -> Result<()> {
    JSON.store(format == LogFormat::Json, Ordering::Relaxed);
    let default = Targets::new().with_default(LevelFilter::WARN).with_target("scorehouse", LevelFilter::INFO);
    let ours = level()?.map_or(default, |level| Targets::new().with_default(level));
    let registry = tracing_subscriber::registry().with(ours);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false);
    // A second initialisation, as in tests, keeps the first.
    let _ = match format {
        LogFormat::Text => registry.with(layer.without_time()).try_init(),
        LogFormat::Json => {
            progress::as_log_lines();
            let format = Format::default().json().flatten_event(true).with_target(false);
            registry.with(layer.fmt_fields(JsonFields::new()).event_format(WithRun(format))).try_init()
        }
    };
    Ok(())
}

/// What [`LEVEL`] asks for: one level for everything, our own events and those of libraries.
fn level() -> Result<Option<LevelFilter>> {
    let Some(text) = clock::env(LEVEL) else { return Ok(None) };
    let level = text.parse().map_err(|_| {
        Error::definition(format!("{LEVEL} is {text:?}\n  expected: off, error, warn, info, debug or trace"))
    })?;
    Ok(Some(level))
}

/// Tells of a failure. Whatever was logged, or not, this is the end.
pub fn failure(error: &Error) {
    let (what, code) = (name(error.kind()), error.kind().code());
    if JSON.load(Ordering::Relaxed) {
        let now = clock::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        eprintln!(
            "{}",
            json!({
                "timestamp": now, "level": "ERROR", "run_id": run_id::of_process(), "message": error.to_string(),
                "exit_code": code, "kind": format!("{:?}", error.kind()).to_lowercase(),
            })
        );
        return;
    }
    let text = format!("{what}: {error}");
    eprintln!("scorehouse: {text}");
    if text.trim_end().contains('\n') {
        last_line(code, &text);
    }
}

/// A failure in one line.
pub fn last_line(code: u8, text: &str) {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    eprintln!("scorehouse: exit code {code}: {}", cut(line, LONGEST));
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Internal => "internal error",
        Kind::Definition => "error",
        Kind::Data => "input data broke its contract",
        Kind::Gate => "the gate refused",
        Kind::Temporary => "temporary failure, retry",
    }
}

/// JSON lines that say whose they are: whatever thread or library they come from, it is this process.
struct WithRun<T>(Format<Json, T>);

impl<S, N, T> FormatEvent<S, N> for WithRun<T>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    Format<Json, T>: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        match line.strip_prefix('{') {
            Some(rest) => write!(writer, "{{\"run_id\":\"{}\",{rest}", run_id::of_process()),
            None => writer.write_str(&line),
        }
    }
}
