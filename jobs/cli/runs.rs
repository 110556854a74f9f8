//! `scorehouse runs`: the last runs of each job at a glance.
//!
//! A line per job, with a character per run where a number alone would hide a trend: of what was taken by its height,
//! of what went wrong by a mark.

use clap::Args;
use serde_json::json;

use super::{common, output};
use crate::error::Result;
use crate::pipeline::progress::{bytes, thousands};
use crate::pipeline::query::Reader;
use crate::pipeline::runs::summary::{self, JobRuns, Run};

/// Eighths of a line's height.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Characters of an error in a line.
const SHOWN: usize = 100;

#[derive(Debug, Args)]
pub struct Arguments {
    /// So many runs of each job.
    #[arg(long, default_value_t = 30, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    last: u32,
    /// Only this job, with a line for every run.
    #[arg(long, value_name = "NAME")]
    job: Option<String>,
    /// Results as JSON on stdout.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: common::Place,
}

pub async fn run(arguments: Arguments) -> Result<()> {
    let profile = arguments.place.resolve()?;
    let reader = Reader::open(&profile)?;
    let jobs = summary::last(&reader, arguments.job.as_deref(), arguments.last as usize).await?;
    if arguments.json {
        let value = json!({"lake": reader.lake().url().as_str(), "jobs": jobs});
        return output::print(&format!("{}\n", serde_json::to_string_pretty(&value)?));
    }
    if jobs.is_empty() {
        let lake = reader.lake().url();
        return output::print(&format!(
            "No run is recorded in {lake} yet.\n`scorehouse nightly --date YYYY-MM-DD` makes the first.\n"
        ));
    }
    let every = if arguments.job.is_some() { runs(&jobs) } else { String::new() };
    output::print(&(table(&jobs) + &every + &failures(&jobs)))
}

/// A line per job.
fn table(jobs: &[JobRuns]) -> String {
    let line = |of: &JobRuns| {
        let mut cells = vec![
            of.job.clone(),
            of.runs.len().to_string(),
            some(of.count("failed")),
            some(of.count("lost")),
            sparkline(&of.runs, |run| run.seconds),
            sparkline(&of.runs, |run| run.rows as f64),
        ];
        if let Some(run) = of.runs.last() {
            cells.extend([run.logical_date.to_string(), run.status.clone()]);
            cells.extend(figures(run));
        }
        cells
    };
    let head = [
        "job",
        "runs",
        "failed",
        "lost",
        "seconds of each",
        "rows of each",
        "last night",
        "status",
        "seconds",
        "rows",
        "size",
        "peak memory",
    ];
    output::columns(&head, jobs.iter().map(line), &[1, 2, 3, 8, 9, 10, 11])
}

/// A line per run, the newest first.
fn runs(jobs: &[JobRuns]) -> String {
    let line = |run: &Run| {
        let mut cells = vec![run.logical_date.to_string(), started(run), run.status.clone(), code(run)];
        cells.extend(figures(run));
        cells.push(run.run_id.clone());
        cells
    };
    let head = ["night", "started", "status", "exit code", "seconds", "rows", "size", "peak memory", "run"];
    let all = jobs.iter().flat_map(|of| of.runs.iter().rev());
    format!("\n{}", output::columns(&head, all.map(line), &[3, 4, 5, 6, 7]))
}

/// Whatever did not end well, or has not ended.
fn failures(jobs: &[JobRuns]) -> String {
    let mut wrong: Vec<(&str, &Run)> =
        jobs.iter().flat_map(|of| of.runs.iter().map(|run| (of.job.as_str(), run))).collect();
    wrong.retain(|(_, run)| run.status != "ok");
    wrong.sort_by_key(|(_, run)| std::cmp::Reverse(run.started_at));
    let line = |(job, run): (&str, &Run)| {
        let said = run.error.as_deref().and_then(|error| error.lines().next()).unwrap_or_default();
        vec![
            started(run),
            job.to_string(),
            run.logical_date.to_string(),
            run.status.clone(),
            code(run),
            run.run_id.clone(),
            output::cut(said, SHOWN),
        ]
    };
    let head = ["started", "job", "night", "status", "exit code", "run", "error"];
    let text = output::columns(&head, wrong.into_iter().map(line), &[4]);
    if text.is_empty() { text } else { format!("\nNot ended well:\n{text}") }
}

/// Seconds, rows, size and memory; nothing where they are not known.
fn figures(run: &Run) -> [String; 4] {
    if run.status == "lost" {
        return Default::default();
    }
    let seconds = format!("{:.1}", run.seconds);
    if run.status == "running" {
        return [seconds, String::new(), String::new(), String::new()];
    }
    [seconds, thousands(run.rows), bytes(run.bytes), bytes(run.peak_memory)]
}

fn started(run: &Run) -> String {
    run.started_at.format("%Y-%m-%d %H:%M:%S").to_string()
}

fn code(run: &Run) -> String {
    run.exit_code.map_or_else(String::new, |code| code.to_string())
}

fn some(count: usize) -> String {
    if count == 0 { String::new() } else { count.to_string() }
}

/// A character per run: its height within the greatest of them, from zero, so that twice as much looks like it.
fn sparkline(runs: &[Run], of: impl Fn(&Run) -> f64) -> String {
    let most = runs.iter().map(&of).fold(0.0, f64::max);
    let height = |run: &Run| {
        let share = if most > 0.0 { of(run) / most } else { 0.0 };
        let eighths = (share * HEIGHTS.len() as f64).ceil() as usize;
        HEIGHTS[eighths.clamp(1, HEIGHTS.len()) - 1]
    };
    let mark = |run: &Run| match run.status.as_str() {
        "failed" => '✗',
        "lost" => '?',
        "running" => '…',
        _ => height(run),
    };
    runs.iter().map(mark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(status: &str, seconds: f64) -> Run {
        let value = json!({
            "run_id": "r", "job": "ingest", "logical_date": "2024-02-29", "status": status, "exit_code": 0,
            "started_at": "2024-03-01T01:00:00Z", "seconds": seconds, "rows": 1000, "bytes": 2048, "peak_memory": 4096,
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_sparkline_shows_heights_from_zero_and_marks_what_went_wrong() {
        let seconds =
            [("ok", 0.0), ("ok", 1.0), ("ok", 4.0), ("ok", 8.0), ("failed", 3.0), ("lost", 0.0), ("running", 9.0)];
        let runs: Vec<Run> = seconds.map(|(status, seconds)| run(status, seconds)).to_vec();
        assert_eq!(sparkline(&runs[..6], |run| run.seconds), "▁▁▄█✗?");
        assert_eq!(sparkline(&runs[6..], |run| run.seconds), "…");
        assert_eq!(sparkline(&[run("ok", 0.0)], |run| run.seconds), "▁");
    }

    #[test]
    fn what_is_not_known_is_not_shown() {
        assert_eq!(figures(&run("ok", 1.25)), ["1.2", "1,000", "2.0 KiB", "4.0 KiB"]);
        assert_eq!(figures(&run("lost", 0.0)), [""; 4]);
        let all = [JobRuns { job: "ingest".into(), runs: vec![run("ok", 1.0)] }];
        assert_eq!(failures(&all), "");
        assert!(table(&all).lines().nth(1).unwrap().starts_with("ingest"));
    }
}
