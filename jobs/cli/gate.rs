//! `scorehouse gate`: judge candidates, and show every check.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::Args;
use serde_json::json;

use super::job::opened;
use super::{common, output};
use crate::error::Result;
use crate::pipeline::gate::{self, Verdict};
use crate::pipeline::runs::recorded;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Logical date D: candidates are judged on the world as of D+1 00:00 UTC.
    #[arg(long, value_parser = common::date, value_name = "YYYY-MM-DD")]
    date: NaiveDate,
    /// Directory with sql/, features/ and models/.
    #[arg(long, default_value = ".", value_name = "DIR")]
    project: PathBuf,
    /// Judge candidates of these models only (names or globs; may be given several times).
    #[arg(long, value_name = "NAME")]
    select: Vec<String>,
    /// Results as JSON on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: common::Place,
}

pub async fn run(arguments: Arguments) -> Result<()> {
    let profile = arguments.place.resolve()?;
    let job = opened("gate", profile, &arguments.project, arguments.date, arguments.select)?;
    let mut verdicts = Vec::new();
    let outcome = recorded(&job, "gate", gate::run(&job, &mut verdicts)).await;
    match (&outcome, arguments.json) {
        (_, true) => {
            let lines = outcome.as_deref().unwrap_or_default();
            let date = job.date.to_string();
            let value = json!({"job": "gate", "date": date, "run_id": job.run_id, "outputs": lines, "gates": verdicts});
            output::print(&format!("{}\n", serde_json::to_string_pretty(&value)?))?;
        }
        (Ok(lines), false) if verdicts.is_empty() => {
            let said: Vec<String> = lines.iter().map(|line| format!("{}: {}\n", line.table, line.status)).collect();
            output::print(&said.concat())?;
        }
        _ => output::print(&text(&verdicts))?,
    }
    outcome.map(drop)
}

/// A table per candidate.
pub fn text(verdicts: &[Verdict]) -> String {
    let mut text = String::new();
    for verdict in verdicts {
        let against = verdict.champion.as_ref().map_or("no champion yet".into(), |name| format!("champion {name}"));
        let outcome = if verdict.passed { "promoted" } else { "refused" };
        let earlier = if verdict.earlier { ", judged before" } else { "" };
        text += &format!("\n{}: candidate {}, {against}: {outcome}{earlier}\n", verdict.model, verdict.candidate);
        let number = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.4}"));
        let line = |check: &gate::Check| {
            let bound = match (check.low, check.high) {
                (Some(low), Some(high)) => format!("{}, in [{low:.4}, {high:.4}]", check.bound()),
                _ => check.bound(),
            };
            let status = check.status.name().to_string();
            vec![
                check.metric.clone(),
                number(check.candidate),
                number(check.champion),
                bound,
                status,
                check.note.clone(),
            ]
        };
        let head = ["metric", "candidate", "champion", "threshold", "status", "note"];
        text += &output::columns(&head, verdict.checks.iter().map(line), &[1, 2]);
    }
    text
}
