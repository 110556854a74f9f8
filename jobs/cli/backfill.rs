//! `scorehouse backfill`: the nights of a range of dates.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::Args;
use serde_json::{Value, json};

use super::{common, output};
use crate::error::{Error, Kind, Result};
use crate::pipeline::backfill::{self, Night, Range};
use crate::pipeline::progress::{bytes, thousands};
use crate::pipeline::{load, open};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The first night.
    #[arg(long, value_parser = common::date, value_name = "YYYY-MM-DD")]
    from: NaiveDate,
    /// The last night.
    #[arg(long, value_parser = common::date, value_name = "YYYY-MM-DD")]
    to: NaiveDate,
    /// Groups and sequences to compute at a time; they share the memory limit.
    #[arg(long, default_value_t = 2, value_name = "N")]
    parallel: usize,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
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
    let range = Range::new(arguments.from, arguments.to, arguments.parallel)?;
    let profile = arguments.place.resolve()?;
    let job = open::job(profile, &arguments.project, arguments.from, Vec::new())?;
    let name = backfill::name(&range, &load::read(&arguments.project)?);
    if arguments.dry_run {
        let plan = backfill::plan(&job, &range, &name).await?;
        let files: u64 = plan.ingest.iter().map(|pending| pending.files).sum();
        let size: u64 = plan.ingest.iter().map(|pending| pending.bytes).sum();
        let ingest = format!("ingest: {} files are new or changed, {}\n", thousands(files), bytes(size));
        return print(&arguments, json!(plan), ingest + &nights(&plan.nights, true));
    }
    let filled = backfill::run(&job, &range, &name).await?;
    let rows: u64 = filled.ingest.iter().map(|line| line.rows).sum();
    let ingest = format!("ingest: {} rows written\n", thousands(rows));
    print(&arguments, json!(filled), ingest + &nights(&filled.nights, false))?;
    let refused = filled.nights.iter().rev().find_map(|night| Some((night.date, night.refused.as_ref()?)));
    refused.map_or(Ok(()), |(date, why)| Err(Error::new(Kind::Gate, format!("the night of {date}: {why}"))))
}

fn print(arguments: &Arguments, what: Value, text: String) -> Result<()> {
    if !arguments.json {
        return output::print(&text);
    }
    let mut value = json!({
        "job": "backfill", "from": arguments.from.to_string(), "to": arguments.to.to_string(),
        "dry_run": arguments.dry_run,
    });
    if let (Some(value), Value::Object(what)) = (value.as_object_mut(), what) {
        value.extend(what);
    }
    output::print(&format!("{}\n", serde_json::to_string_pretty(&value)?))
}

fn nights(nights: &[Night], dry_run: bool) -> String {
    let row = |night: &Night| {
        let steps = if night.steps.is_empty() { "nothing".to_string() } else { night.steps.join(", ") };
        let (rows, seconds) = if dry_run || night.steps.is_empty() {
            Default::default()
        } else {
            (thousands(night.rows), format!("{:.1}", night.seconds))
        };
        let refused = if night.refused.is_some() { "refused a candidate" } else { "" };
        vec![night.date.to_string(), steps, night.done.join(", "), rows, seconds, refused.into()]
    };
    let head = ["night", if dry_run { "to do" } else { "did" }, "done before", "rows", "seconds", ""];
    output::columns(&head, nights.iter().map(row), &[3, 4])
}
