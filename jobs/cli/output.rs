//! Results on stdout: a short table for people, JSON for machines. A closed pipe ends the output, not the job.

use std::io::Write;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::pipeline::job::{Job, Written};
use crate::pipeline::nightly::Night;
use crate::pipeline::progress::{bytes, thousands};
use crate::pipeline::runs::peak_memory;

/// What a night wrote, and what its gates found.
pub fn night(job: &Job, night: &Night, as_json: bool) -> Result<()> {
    if as_json {
        let mut value = as_value(job, "nightly", &night.written);
        value["gates"] = json!(night.verdicts);
        return print(&format!("{}\n", serde_json::to_string_pretty(&value)?));
    }
    written(job, "nightly", &night.written, false)?;
    print(&super::gate::text(&night.verdicts))
}

fn as_value(job: &Job, name: &str, lines: &[Written]) -> Value {
    json!({
        "job": name,
        "date": job.date.to_string(),
        "run_id": job.run_id,
        "peak_memory": peak_memory(),
        "outputs": lines,
    })
}

/// What a job wrote, and how to look at it.
pub fn written(job: &Job, name: &str, lines: &[Written], as_json: bool) -> Result<()> {
    if as_json {
        return print(&format!("{}\n", serde_json::to_string_pretty(&as_value(job, name, lines))?));
    }
    let width = lines.iter().map(|line| line.table.chars().count()).max().unwrap_or(0).max(5);
    let mut text = format!("{:<width$}  {:>12}  {:>10}  {:>8}  status\n", "table", "rows", "size", "seconds");
    for line in lines {
        let wrote = line.status.starts_with("written");
        let (rows, size) = if wrote { (thousands(line.rows), bytes(line.bytes)) } else { Default::default() };
        text.push_str(&format!(
            "{:<width$}  {rows:>12}  {size:>10}  {:>8.1}  {}",
            line.table, line.seconds, line.status
        ));
        if let Some(auc) = line.details.get("roc_auc").and_then(|v| v.as_f64()) {
            text.push_str(&format!(", ROC AUC {auc:.4} out of sample"));
        }
        text.push('\n');
    }
    if lines.iter().all(|line| !line.status.starts_with("written")) {
        text.push_str("Nothing to do: inputs and definitions are what they were.\n");
    }
    text.push_str(&format!("\nPeak memory {}. Everything lies under {}.\n", bytes(peak_memory()), job.lake.url()));
    if let Some(scores) = lines.iter().find(|line| line.table.starts_with("scores/")) {
        let table = scores.table.replace('/', ".");
        let lake = job.profile.lake.as_str();
        let order = format!("select * from {table} where logical_date = '{}' order by score limit 10", job.date);
        text.push_str(&format!("Look at it:\n  scorehouse query --lake {lake} \"{order}\"\n"));
        text.push_str(&format!(
            "  python3 -c \"import deltalake; print(deltalake.DeltaTable('{lake}/{}').to_pandas())\"\n",
            scores.table
        ));
    }
    print(&text)
}

/// Cells under their heads, each column as wide as its widest cell, those of `numbers` to the right; nothing where
/// there are no rows.
pub fn columns(head: &[&str], rows: impl Iterator<Item = Vec<String>>, numbers: &[usize]) -> String {
    let mut lines: Vec<Vec<String>> = vec![head.iter().map(ToString::to_string).collect()];
    lines.extend(rows);
    if lines.len() == 1 {
        return String::new();
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<(usize, usize)> = (0..head.len()).map(|column| (column, width(column))).collect();
    let mut text = String::new();
    for line in &lines {
        let cell = |&(column, width): &(usize, usize)| match numbers.contains(&column) {
            true => format!("{:>width$}", line[column]),
            false => format!("{:<width$}", line[column]),
        };
        let cells: Vec<String> = widths.iter().filter(|(_, width)| *width > 0).map(cell).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A text of at most so many characters; a mark says that there was more.
pub fn cut(text: &str, characters: usize) -> String {
    let cut: String = text.chars().take(characters).collect();
    if cut.len() < text.len() { format!("{cut}…") } else { cut }
}

/// Writes to stdout; a reader that has gone is no error.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::from(error)),
        _ => Ok(()),
    }
}
