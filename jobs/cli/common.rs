//! Arguments that all jobs share, and what they become.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Args, ValueEnum};

use super::logs;
use crate::define::profile::{LocalDir, Profile};
use crate::error::{Error, Result};

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
        logs::start(self.log_format)?;
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
