//! `scorehouse ingest | tables | features | train | score | monitor | nightly`: one job for one logical date.

use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use clap::Args;

use super::{common, output};
use crate::define::profile::Profile;
use crate::error::{Error, Result};
use crate::pipeline::job::Job;
use crate::pipeline::runs::recorded;
use crate::pipeline::{features, metrics, monitor, nightly, open, score, tables, train};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Logical date D: the job sees the world as of D+1 00:00 UTC.
    #[arg(long, value_parser = common::date, value_name = "YYYY-MM-DD")]
    date: NaiveDate,
    /// Directory with sql/, features/ and models/.
    #[arg(long, default_value = ".", value_name = "DIR")]
    project: PathBuf,
    /// Work on these only (names or globs; may be given several times).
    #[arg(long, value_name = "NAME")]
    select: Vec<String>,
    /// Compute features from all rows, even where last night's state would do.
    #[arg(long)]
    full: bool,
    /// Results as JSON on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: common::Place,
}

pub async fn run(name: &str, arguments: Arguments) -> Result<()> {
    let profile = arguments.place.resolve()?;
    let mut job = opened(name, profile, &arguments.project, arguments.date, arguments.select)?;
    job.full = arguments.full;
    if name == "nightly" {
        let night = nightly::run(&job).await?;
        output::night(&job, &night, arguments.json)?;
        return night.verdict();
    }
    let lines = match name {
        "ingest" => recorded(&job, name, nightly::ingest_lines(&job)).await?,
        "tables" => recorded(&job, name, tables::run(&job)).await?,
        "features" => recorded(&job, name, features::run(&job)).await?,
        "train" => recorded(&job, name, train::run(&job)).await?,
        "score" => recorded(&job, name, score::run(&job)).await?,
        "monitor" => recorded(&job, name, monitor::run(&job)).await?,
        other => return Err(Error::internal(format!("no job {other}"))),
    };
    output::written(&job, name, &lines, arguments.json)
}

/// As [`open::job`]; a job that cannot begin has failed too, and its metrics say so.
pub fn opened(name: &str, profile: Profile, project: &Path, date: NaiveDate, select: Vec<String>) -> Result<Job> {
    let opened = open::job(profile.clone(), project, date, select);
    opened.inspect_err(|error| metrics::write_failure(&profile, name, error))
}
