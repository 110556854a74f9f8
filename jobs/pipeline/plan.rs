//! The `plan` job: what a night would do, and why, without doing it.
//!
//! Only logs, listings, the manifest and the registry are read: no raw file and no data file is opened. A step is
//! planned as if the steps before it had been done; what those will have written is estimated from the sizes of what
//! is there ([`expected`]), and everything else is what the job itself would find.

mod expected;
mod features;
pub mod memory;
mod models;
mod tables;

use serde::Serialize;
use serde_json::{Map, Value, json};

use self::expected::{Expected, Size};
use super::ingest::pending::{Pending, pending};
use super::job::Job;
use super::rotation;
use crate::define::inputs::glob;
use crate::error::{Context, Result};

const UNCHANGED: &str = "inputs and definition are what they were";

/// What would become of one table or model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The job that would do it.
    pub job: &'static str,
    pub table: String,
    pub way: Way,
    pub why: String,
    /// Rows and bytes of the files to read; `None` where nothing says.
    pub read: Option<Read>,
    pub write: Option<Write>,
    /// Predicted peak memory of the process, in bytes.
    pub peak_memory: Option<u64>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    Unchanged,
    /// Of a source: new files.
    Files,
    /// Of a table: some of its days.
    Days,
    /// All of it.
    All,
    Incremental,
    Snapshot,
    /// Of a model.
    Due,
    NotDue,
}

/// The files to read; the rows in them as far as they can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Read {
    pub rows: Option<u64>,
    pub bytes: u64,
}

/// The rows as far as they can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Write {
    pub rows: Option<u64>,
    pub columns: usize,
}

impl Line {
    fn new(job: &'static str, table: impl Into<String>, way: Way, why: impl Into<String>) -> Line {
        Line {
            job,
            table: table.into(),
            way,
            why: why.into(),
            read: None,
            write: None,
            peak_memory: None,
            details: Map::new(),
        }
    }

    fn read(mut self, size: Size) -> Line {
        self.read = Some(Read { rows: Some(size.rows), bytes: size.bytes });
        self
    }

    fn write(mut self, rows: Option<u64>, columns: usize) -> Line {
        self.write = Some(Write { rows, columns });
        self
    }

    fn detail(mut self, key: &str, value: impl Into<Value>) -> Line {
        self.details.insert(key.into(), value.into());
        self
    }
}

/// The night of the job's date, in the order in which it would be done; those `shown` whose names match. The job itself
/// selects nothing: what is not shown may change what is.
pub async fn run(job: &Job, shown: &[String]) -> Result<Vec<Line>> {
    rotation::refuse(&job.lake).await?;
    let mut lines = Vec::new();
    let mut expected = Expected::default();
    for source in pending(job).await? {
        lines.push(files(&source));
        expected.arrive(job, &source).await?;
    }
    for table in job.project.tables.values() {
        let line = tables::plan(job, table, &mut expected).await;
        lines.push(line.with_context(|| format!("table {}", table.name))?);
    }
    lines.extend(features::plan(job, &expected).await?);
    lines.extend(models::plan(job).await?);
    let name = |line: &Line| line.table.rsplit('/').next().unwrap_or_default().to_string();
    lines.retain(|line| shown.is_empty() || shown.iter().any(|pattern| glob(pattern, &name(line))));
    Ok(lines)
}

fn files(source: &Pending) -> Line {
    let table = format!("tables/{}", source.source);
    if source.files == 0 {
        return Line::new("ingest", table, Way::Unchanged, "no file is new");
    }
    let what = if source.files == 1 { "file is" } else { "files are" };
    let line = Line::new("ingest", table, Way::Files, format!("{} {what} new or changed", source.files));
    let read = Some(Read { rows: source.rows, bytes: source.bytes });
    Line { read, ..line.detail("files", json!(source.files)) }
}
