//! `scorehouse maintain`: packs small files, writes checkpoints, and removes what nobody may ask for any longer; or, with
//! `--rotate-key`, changes the key of pseudonyms.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::Args;
use serde_json::json;

use super::{common, output, rotate};
use crate::clock;
use crate::error::{Error, Result};
use crate::pipeline::maintain::{self, Kept};
use crate::pipeline::progress::{bytes, thousands};
use crate::pipeline::runs::recorded;
use crate::pipeline::{lineage, open};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The date under which the run is recorded; today (UTC) if none is given.
    #[arg(long, value_parser = common::date, value_name = "YYYY-MM-DD")]
    date: Option<NaiveDate>,
    /// Only say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Directory with sql/, features/ and models/.
    #[arg(long, default_value = ".", value_name = "DIR")]
    project: PathBuf,
    /// Tables by their names in the lake, such as `tables/payment` or `scores/*` (may be given several times).
    #[arg(long, value_name = "NAME")]
    select: Vec<String>,
    #[command(flatten)]
    rotate: rotate::Rotate,
    /// Results as JSON on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: common::Place,
}

pub async fn run(arguments: Arguments) -> Result<()> {
    let profile = arguments.place.resolve()?;
    let date = arguments.date.unwrap_or_else(|| clock::now().date_naive());
    let job = open::job(profile, &arguments.project, date, arguments.select)?;
    if arguments.rotate.is_asked() {
        if !job.select.is_empty() {
            return Err(Error::definition("--rotate-key is about the whole lake: give it without --select"));
        }
        let graph = lineage::run(&arguments.project)?;
        return rotate::run(&job, &graph, &arguments.rotate, arguments.dry_run, arguments.json).await;
    }
    let mut all = Vec::new();
    if arguments.dry_run {
        all = maintain::run(&job, true).await?;
    } else {
        recorded(&job, "maintain", async {
            all = maintain::run(&job, false).await?;
            Ok(all.iter().filter(|kept| kept.changed()).map(Kept::written).collect())
        })
        .await?;
    }
    if arguments.json {
        let value = json!({
            "job": "maintain", "date": date.to_string(), "run_id": job.run_id, "dry_run": arguments.dry_run, "tables": all,
        });
        return output::print(&format!("{}\n", serde_json::to_string_pretty(&value)?));
    }
    let head = ["table", "files", "size", "on storage", "log entries", "packed", "removed"];
    let mut text = output::columns(&head, all.iter().map(cells), &[1, 2, 3, 4, 5, 6]);
    let removed: u64 = all.iter().map(|kept| kept.removed_bytes).sum();
    let verb = if arguments.dry_run { "would be removed" } else { "removed" };
    text.push_str(&format!(
        "\n{} {verb}. Versions of the last {} can be read.\n",
        bytes(removed),
        job.profile.replay_retention
    ));
    output::print(&text)
}

fn cells(kept: &Kept) -> Vec<String> {
    let (before, after) = (&kept.before, &kept.after);
    let both = |a: String, b: String| if a == b { a } else { format!("{a} → {b}") };
    let count = |n: u64| if n == 0 { String::new() } else { thousands(n) };
    vec![
        kept.table.clone(),
        both(thousands(before.files), thousands(after.files)),
        both(bytes(before.bytes), bytes(after.bytes)),
        both(bytes(before.stored_bytes), bytes(after.stored_bytes)),
        both(thousands(before.log_entries), thousands(after.log_entries)),
        count(kept.packed),
        count(kept.removed_files),
    ]
}
