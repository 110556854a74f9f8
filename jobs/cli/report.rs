//! `scorehouse report`: pages that people read, one per model and night, and an index.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::Args;

use super::job::opened;
use super::{common, output};
use crate::error::Result;
use crate::pipeline::progress::bytes;
use crate::pipeline::report;
use crate::pipeline::runs::recorded;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The night to report (default: the last one that trained or scored).
    #[arg(long, value_parser = common::date, value_name = "YYYY-MM-DD")]
    date: Option<NaiveDate>,
    /// Report these models only (names or globs; may be given several times).
    #[arg(long, value_name = "NAME")]
    model: Vec<String>,
    /// Directory with sql/, features/ and models/.
    #[arg(long, default_value = ".", value_name = "DIR")]
    project: PathBuf,
    /// Results as JSON on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: common::Place,
}

pub async fn run(arguments: Arguments) -> Result<()> {
    let profile = arguments.place.resolve()?;
    let date = arguments.date.unwrap_or_default();
    let mut job = opened("report", profile, &arguments.project, date, arguments.model)?;
    report::check_models(&job, &job.select)?;
    if arguments.date.is_none() {
        job.date = report::last_night(&job).await?;
    }
    let lines = recorded(&job, "report", report::run(&job)).await?;
    if arguments.json {
        return output::written(&job, "report", &lines, true);
    }
    // A file by its path, so that it can be opened; anything else by its URL.
    let root = job.lake.url();
    let place = |name: &str| match root.to_file_path() {
        Ok(path) => path.join(name).display().to_string(),
        Err(()) => format!("{}/{name}", root.as_str().trim_end_matches('/')),
    };
    let rows = lines.iter().map(|line| vec![place(&line.table), bytes(line.bytes), line.status.clone()]);
    output::print(&output::columns(&["page", "size", "status"], rows, &[1]))
}
