//! `scorehouse experiment`: variants of a model on identical rows, side by side.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::Args;
use serde_json::json;

use super::{common, output};
use crate::error::{Error, Result};
use crate::pipeline::experiment::{self, Comparison, Row};
use crate::pipeline::job::{Job, Written};
use crate::pipeline::open;
use crate::pipeline::progress::thousands;
use crate::pipeline::runs::recorded;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The experiment: models/experiments/NAME.yaml.
    name: String,
    /// Logical date D: the job sees the world as of D+1 00:00 UTC.
    #[arg(long, value_parser = common::date, value_name = "YYYY-MM-DD")]
    date: NaiveDate,
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
    let job = open::job(profile, &arguments.project, arguments.date, Vec::new())?;
    let mut made = None;
    let work = async {
        let (comparison, lines) = experiment::run(&job, &arguments.name).await?;
        made = Some(comparison);
        Ok::<_, Error>(lines)
    };
    let lines = recorded(&job, "experiment", work).await?;
    let Some(comparison) = made else { return Ok(()) };
    if arguments.json {
        let mut value = serde_json::to_value(&comparison)?;
        value["job"] = json!("experiment");
        value["run_id"] = json!(job.run_id);
        value["outputs"] = serde_json::to_value(&lines)?;
        return output::print(&format!("{}\n", serde_json::to_string_pretty(&value)?));
    }
    output::print(&text(&comparison, &job, &lines))
}

fn text(comparison: &Comparison, job: &Job, lines: &[Written]) -> String {
    let Comparison { experiment, model, date, .. } = comparison;
    let mut text = format!("{experiment}: variants of {model} on identical rows, {date}\n");
    for rows in comparison.rows.chunk_by(|a, b| a.segment == b.segment) {
        text.push_str(&segment(rows));
    }
    text.push_str(&format!(
        "\n* best, by more than noise: the paired bootstrap of its lead over the second ({} % sure, {} repetitions, by \
         entity) leaves out zero.\n~ best, though not by more than noise.\nf1 calls a row positive from {} on.",
        comparison.confidence * 100.0,
        thousands(u64::from(comparison.repetitions)),
        comparison.threshold
    ));
    if let Some(rate) = comparison.acceptance_rate {
        text.push_str(&format!(" default_rate is that among the {} % with the lowest risk.", rate * 100.0));
    }
    let stored: Vec<String> = lines.iter().map(|line| format!("{} ({})", line.table, line.status)).collect();
    text.push_str(&format!("\nStored as {} under {}.\n", stored.join(" and "), job.lake.url()));
    text
}

/// A line per variant, a column per metric.
fn segment(rows: &[Row]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let title = format!(
        "\n{}: {} rows out of sample, {} of them positive\n",
        first.segment,
        thousands(first.rows),
        thousands(first.positives)
    );
    let metrics: Vec<&str> = rows.iter().filter(|r| r.variant == first.variant).map(|r| r.metric.as_str()).collect();
    let head: Vec<&str> = ["variant", "head", "inputs"].into_iter().chain(metrics).collect();
    let lines = rows.chunk_by(|a, b| a.variant == b.variant).map(|of| {
        let about = of.first().map(|row| [row.variant.clone(), row.head.clone(), row.inputs.to_string()]);
        about.into_iter().flatten().chain(of.iter().map(cell)).collect()
    });
    title + &output::columns(&head, lines, &[2])
}

fn cell(row: &Row) -> String {
    let Some(value) = row.value else { return "–".to_string() };
    let mark = match (row.best, row.more_than_noise) {
        (true, true) => " *",
        (true, false) => " ~",
        (false, _) => "",
    };
    match row.low.zip(row.high) {
        Some((low, high)) => format!("{value:.4} ({low:.4} to {high:.4}){mark}"),
        None => format!("{value:.4}{mark}"),
    }
}
