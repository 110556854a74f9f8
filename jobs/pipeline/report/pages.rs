//! Where pages lie, and the index over all of them.
//!
//! ```text
//! reports/index.html                 a row per model, a link per page
//! reports/<model>/<date>.html        the page of one night
//! reports/<model>/<date>.json        what the index says of it, for machines
//! reports/experiments/<name>.html    the last comparison of an experiment
//! ```
//!
//! The index follows from what lies there, not from what was written just now: a page of an earlier night, or of one
//! model, leaves the others as they are.

use std::collections::BTreeMap;

use crate::error::{Context, Result};
use crate::pipeline::job::{Job, Written};
use crate::report::page::{Index, Summary};

const ROOT: &str = "reports";

/// Writes a page and what the index says of it.
pub async fn put(job: &Job, summary: &Summary, html: String, seconds: f64) -> Result<Written> {
    let name = format!("{ROOT}/{}/{}", summary.model, summary.date);
    let mut json = serde_json::to_vec_pretty(summary)?;
    json.push(b'\n');
    let line = write(job, format!("{name}.html"), html.into_bytes(), seconds).await?;
    write(job, format!("{name}.json"), json, 0.0).await?;
    Ok(line)
}

/// Writes the index of all pages.
pub async fn put_index(job: &Job) -> Result<Written> {
    let html = crate::report::index(&index(job).await?);
    write(job, format!("{ROOT}/index.html"), html.into_bytes(), 0.0).await
}

/// Writes a file, unless it is there with this very content.
pub async fn write(job: &Job, name: String, bytes: Vec<u8>, seconds: f64) -> Result<Written> {
    let size = bytes.len() as u64;
    let is_new = job.lake.put_document(&name, bytes).await?;
    let mut line = Written::unchanged(name, if is_new { "written" } else { "unchanged" }, None);
    (line.bytes, line.seconds) = (size, (seconds * 1000.0).round() / 1000.0);
    Ok(line)
}

/// The newest summary of each model, and the nights of all pages.
async fn index(job: &Job) -> Result<Index> {
    let mut nights: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut summaries = BTreeMap::new();
    for object in job.lake.stored(ROOT).await? {
        // Names come in order, so that the last summary of a model is its newest.
        let Some([model, file]) = object.name.strip_prefix("reports/").and_then(two) else { continue };
        if let Some(date) = file.strip_suffix(".html") {
            nights.entry(model.to_string()).or_default().push(date.to_string());
        } else if let Some(date) = file.strip_suffix(".json")
            // A page may be gone because it named somebody who was erased. `.html` comes before `.json`.
            && nights.get(model).is_some_and(|dates| dates.iter().any(|d| d == date))
            && let Some(content) = job.lake.content(&object).await?
        {
            let summary: Summary = serde_json::from_slice(&content).with_context(|| object.name.clone())?;
            summaries.insert(model.to_string(), summary);
        }
    }
    let newest_first = |(model, mut dates): (String, Vec<String>)| {
        dates.reverse();
        (model, dates)
    };
    Ok(Index { models: summaries.into_values().collect(), nights: nights.into_iter().map(newest_first).collect() })
}

/// `model/file`, and nothing deeper.
fn two(name: &str) -> Option<[&str; 2]> {
    let (model, file) = name.split_once('/')?;
    (!file.contains('/')).then_some([model, file])
}
