//! `scorehouse erase`: an entity's right to be forgotten.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::Args;
use serde_json::json;

use super::{common, output};
use crate::clock;
use crate::error::Result;
use crate::pipeline::erase::{self, Report};
use crate::pipeline::job::Written;
use crate::pipeline::open;
use crate::pipeline::progress::{bytes, thousands};
use crate::pipeline::runs::recorded;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The entity's key, as raw files have it; COLUMN=KEY where several columns name entities.
    #[arg(long, value_name = "E")]
    entity: String,
    /// The date under which the run is recorded; today (UTC) if none is given.
    #[arg(long, value_parser = common::date, value_name = "YYYY-MM-DD")]
    date: Option<NaiveDate>,
    /// Only list what would go.
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
    let profile = arguments.place.resolve()?;
    let date = arguments.date.unwrap_or_else(|| clock::now().date_naive());
    let job = open::job(profile, &arguments.project, date, Vec::new())?;
    let mut report = Report::default();
    if arguments.dry_run {
        report = erase::run(&job, &arguments.entity, true).await?;
    } else {
        recorded(&job, "erase", async {
            report = erase::run(&job, &arguments.entity, false).await?;
            let written = |erased: &erase::Erased| Written::unchanged(&erased.table, "written", erased.first_version);
            Ok(report.tables.iter().map(written).collect())
        })
        .await?;
    }
    if arguments.json {
        let mut value = json!({"job": "erase", "run_id": job.run_id, "dry_run": arguments.dry_run});
        if let (Some(value), serde_json::Value::Object(report)) = (value.as_object_mut(), json!(report)) {
            value.extend(report);
        }
        return output::print(&format!("{}\n", serde_json::to_string_pretty(&value)?));
    }
    output::print(&text(&report, arguments.dry_run))
}

fn text(report: &Report, dry_run: bool) -> String {
    let row = |erased: &erase::Erased| {
        let first = erased.first_version.map_or_else(String::new, |version| version.to_string());
        vec![erased.table.clone(), thousands(erased.rows), thousands(erased.texts), thousands(erased.history), first]
    };
    let head = ["table", "rows", "texts", "old files and log entries", "readable from version"];
    let mut text = output::columns(&head, report.tables.iter().map(row), &[1, 2, 3, 4]);
    let list = |text: &mut String, title: &str, names: &[String]| {
        if !names.is_empty() {
            text.push_str(&format!("\n{title}\n"));
            names.iter().for_each(|name| text.push_str(&format!("  {name}\n")));
        }
    };
    list(&mut text, "Objects of no table, removed as a whole:", &report.objects);
    list(&mut text, "Raw files that hold it, for their owner to clean:", &report.raw);
    let (objects, size) = (thousands(report.proof.objects), bytes(report.proof.bytes));
    let found = thousands(report.proof.found);
    match dry_run {
        true => text.push_str(&format!("\nFound {found} times in {objects} objects, {size}. Nothing was changed.\n")),
        false => text.push_str(&format!(
            "\nProof: {objects} objects, {size}, every byte looked through; found {found} times.\n{} values are left out \
             by every ingest from now on.\n",
            thousands(report.suppressed)
        )),
    }
    text
}
