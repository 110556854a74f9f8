//! What a table's files say about their columns, without being opened: from the statistics in the Delta log.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, NaiveDate};
use datafusion::catalog::TableProvider;
use serde_json::Value;

use super::snapshot::Snapshot;
use crate::error::Result;

/// Delta's readers and writers may cut timestamps to milliseconds; bounds are widened by that much.
const TIMESTAMP_PRECISION: i64 = 1000;
const DAY: i64 = 86_400_000_000;

/// A data file, and the bounds of the columns that were asked for, in that order.
#[derive(Debug, Clone)]
pub struct FileBounds {
    /// Relative to the table.
    pub path: String,
    pub bytes: u64,
    pub rows: Option<u64>,
    pub columns: Vec<Bounds>,
    /// How many nulls each has, if that is known.
    pub nulls: Vec<Option<u64>>,
}

/// The values of a column of integers, dates or timestamps in a file; those as microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bounds {
    /// Nothing is known.
    Unknown,
    /// There are only nulls.
    Null,
    /// From the least to the greatest; there may be nulls beside.
    Within(i64, i64),
}

impl Snapshot {
    pub fn bounds(&self, columns: &[&str]) -> Vec<FileBounds> {
        let files = self.state().log_data();
        let bounds = files.iter().map(|file| {
            let stats: Value = file.stats().and_then(|stats| serde_json::from_str(&stats).ok()).unwrap_or_default();
            let rows = file.num_records().and_then(|rows| u64::try_from(rows).ok());
            FileBounds {
                path: file.path().to_string(),
                bytes: u64::try_from(file.size()).unwrap_or_default(),
                rows,
                columns: columns.iter().map(|column| of_column(&stats, column, rows)).collect(),
                nulls: columns.iter().map(|column| stats["nullCount"][column].as_u64()).collect(),
            }
        });
        bounds.collect()
    }

    /// The partitions with a file in which one of these columns may have an instant in (`after`, `through`]. Both are
    /// whole milliseconds, and so are the instants: then bounds cut to milliseconds are exact.
    pub fn partitions_within(&self, columns: &[&str], after: i64, through: i64) -> BTreeSet<String> {
        let within = |bounds: &Bounds| match bounds {
            Bounds::Unknown => true,
            Bounds::Null => false,
            Bounds::Within(low, high) => high - TIMESTAMP_PRECISION > after && low + TIMESTAMP_PRECISION <= through,
        };
        let bounds = self.bounds(columns).into_iter();
        let moving: BTreeSet<String> =
            bounds.filter(|file| file.columns.iter().any(within)).map(|file| file.path).collect();
        self.data_files()
            .iter()
            .filter(|file| moving.contains(&file.path))
            .map(|file| self.partition_of(file))
            .collect()
    }

    /// Some files of the table, for DataFusion.
    pub fn provider_of_files(&self, paths: &BTreeSet<String>) -> Result<Arc<dyn TableProvider>> {
        let chosen = self.data_files().iter().filter(|file| paths.contains(&file.path)).cloned();
        self.provide(Arc::new(chosen.collect()))
    }
}

fn of_column(stats: &Value, column: &str, rows: Option<u64>) -> Bounds {
    let nulls = stats["nullCount"][column].as_u64();
    if nulls.is_some() && nulls == rows {
        return Bounds::Null;
    }
    match (micros(&stats["minValues"][column]), micros(&stats["maxValues"][column])) {
        (Some((low, _)), Some((_, high))) => Bounds::Within(low, high),
        _ => Bounds::Unknown,
    }
}

/// The least and the greatest that a written bound may stand for.
fn micros(value: &Value) -> Option<(i64, i64)> {
    if let Some(number) = value.as_i64() {
        return Some((number, number));
    }
    let text = value.as_str()?;
    if let Ok(date) = text.parse::<NaiveDate>() {
        let at = i64::from(date.to_epoch_days()) * DAY;
        return Some((at, at));
    }
    let at = DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros();
    Some((at.saturating_sub(TIMESTAMP_PRECISION), at.saturating_add(TIMESTAMP_PRECISION)))
}
