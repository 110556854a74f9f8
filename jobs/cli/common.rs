//! Arguments that all jobs share, and what they become.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Args, ValueEnum};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::clock;
use crate::define::profile::{LocalDir, Profile};
use crate::error::{Error, Result};

/// The environment variable that says how much is logged.
const LEVEL: &str = "SCOREHOUSE_LOG";

/// Where and with what a job runs.
#[derive(Debug, Clone, Args)]
pub struct Place {
    /// Profile: where things lie and with what to run.
    #[arg(long, default_value = "orchestration/local.yaml", value_name = "FILE")]
    pub profile: PathBuf,
    /// Root URL of everything that is written; overrides the profile.
    #[arg(long, value_name = "URL")]
    pub lake: Option<String>,
    /// Root URL of the raw events; overrides the profile.
    #[arg(long, value_name = "URL")]
    pub raw: Option<String>,
    /// Leave a file of metrics for Prometheus in this directory after each run; overrides the profile.
    #[arg(long, value_name = "DIR", value_parser = directory)]
    pub metrics_dir: Option<LocalDir>,
    /// How logs are written to stderr.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

impl Place {
    /// The profile with the flags' overrides. Paths given by flags need no profile file.
    pub fn resolve(&self) -> Result<Profile> {
        logging(self.log_format, level()?);
        let file = self.profile.display().to_string();
        let text = match std::fs::read_to_string(&self.profile) {
            Ok(text) => text,
            Err(_) if self.lake.is_some() && self.raw.is_some() => "lake: ''\nraw: ''\n".to_string(),
            Err(error) => {
                let help = "give --profile FILE, or --lake and --raw";
                return Err(Error::definition(format!("the profile {file} cannot be read: {error}\n  help: {help}")));
            }
        };
        let mut profile = Profile::parse(&file, &text)?;
        if let Some(lake) = &self.lake {
            profile.lake = lake.clone();
        }
        if let Some(raw) = &self.raw {
            profile.raw = raw.clone();
        }
        if let Some(directory) = &self.metrics_dir {
            profile.metrics_dir = Some(directory.clone());
        }
        Ok(profile)
    }
}

/// A logical date, `YYYY-MM-DD`.
pub fn date(text: &str) -> Result<NaiveDate, String> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| "expected a date such as 2024-03-31".to_string())
}

fn directory(text: &str) -> Result<LocalDir, String> {
    LocalDir::try_from(text.to_string())
}

/// What [`LEVEL`] asks for: one level for everything, our own events and those of libraries.
fn level() -> Result<Option<LevelFilter>> {
    let Some(text) = clock::env(LEVEL) else { return Ok(None) };
    let level = text.parse().map_err(|_| {
        Error::definition(format!("{LEVEL} is {text:?}\n  expected: off, error, warn, info, debug or trace"))
    })?;
    Ok(Some(level))
}

/// By default our own events from INFO on, of others only warnings.
fn logging(format: LogFormat, level: Option<LevelFilter>) {
    let default = Targets::new().with_default(LevelFilter::WARN).with_target("scorehouse", LevelFilter::INFO);
    let ours = level.map_or(default, |level| Targets::new().with_default(level));
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false).with_ansi(false);
    let registry = tracing_subscriber::registry().with(ours);
    // A second initialisation, as in tests, keeps the first.
    let _ = match format {
        LogFormat::Text => registry.with(layer.without_time()).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
}
