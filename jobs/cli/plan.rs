//! `scorehouse plan`: what a night would do, which way, and how much that is.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::Args;
use serde_json::json;

use super::{common, output};
use crate::error::Result;
use crate::pipeline::open;
use crate::pipeline::plan::{self, Line, Way};
use crate::pipeline::progress::{bytes, thousands};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Logical date D: the night sees the world as of D+1 00:00 UTC.
    #[arg(long, value_parser = common::date, value_name = "YYYY-MM-DD")]
    date: NaiveDate,
    /// Show these only (names or globs; may be given several times).
    #[arg(long, value_name = "NAME")]
    select: Vec<String>,
    /// As a night with --full.
    #[arg(long)]
    full: bool,
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
    let mut job = open::job(profile, &arguments.project, arguments.date, Vec::new())?;
    job.full = arguments.full;
    let lines = plan::run(&job, &arguments.select).await?;
    if arguments.json {
        let value = json!({"job": "plan", "date": job.date.to_string(), "steps": lines});
        return output::print(&format!("{}\n", serde_json::to_string_pretty(&value)?));
    }
    let head = ["", "way", "rows to read", "size", "rows to write", "columns", "memory", "why"];
    output::print(&output::columns(&head, lines.iter().map(cells), &[2, 3, 4, 5, 6]))
}

fn cells(line: &Line) -> Vec<String> {
    let rows = line.read.and_then(|read| read.rows).map_or_else(String::new, thousands);
    let size = line.read.map_or_else(String::new, |read| bytes(read.bytes));
    let write = line.write.and_then(|write| write.rows).map_or_else(String::new, thousands);
    let width = line.write.map_or_else(String::new, |write| write.columns.to_string());
    let memory = line.peak_memory.map_or_else(String::new, bytes);
    let way = match line.way {
        Way::Unchanged => "unchanged",
        Way::Files => "files",
        Way::Days => "days",
        Way::All => "all",
        Way::Incremental => "incremental",
        Way::Snapshot => "snapshot",
        Way::Due => "due",
        Way::NotDue => "not due",
    };
    vec![line.table.clone(), way.into(), rows, size, write, width, memory, line.why.clone()]
}
