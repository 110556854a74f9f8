//! From the rows of one source, day and block to the files in which they are delivered.
//!
//! Normally that is one file on the day itself. A declared share of them comes late (on a later day, and not at all on
//! its own), is delivered once more on a later day, or has some of its rows corrected on a later day: same key, same
//! event time, another attribute. Nothing is delivered after the last day.

use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use chrono::{Days, NaiveDate};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::columns::repeats;
use super::draw::Draw;
use super::tables::Table;
use super::{Config, Delivered};
use crate::error::{Context, Error, Result};

/// The latest a file may come after its day.
const LATEST: u32 = 3;
/// One row in so many is corrected, at least one.
const CORRECTED_ROWS: usize = 40;
/// Keeps the draws for deliveries apart from the users' own.
const DELIVERY_SEED: u64 = 0x6465_6c69_7665_7279;

/// When the files of one source, day and block are delivered, as days from the first.
#[derive(Debug, PartialEq)]
pub struct Plan {
    first: u32,
    again: Option<u32>,
    corrected: Option<u32>,
}

impl Plan {
    /// `source` is the number of the source among all.
    pub fn draw(config: &Config, source: usize, day: u32, block: u32) -> Self {
        let stream = (source as u64) << 48 | u64::from(day) << 28 | u64::from(block);
        let mut draw = Draw::new(config.seed ^ DELIVERY_SEED, stream);
        let last = config.days - 1;
        let mut later = |share: f64, from: u32| {
            let (wanted, days) = (draw.chance(share), 1 + draw.below(LATEST));
            Some((from + days).min(last)).filter(|at| wanted && *at > from)
        };
        let first = later(config.late_share, day).unwrap_or(day);
        Plan { first, again: later(config.redelivered_share, first), corrected: later(config.corrected_share, first) }
    }

    pub fn on_time(day: u32) -> Self {
        Plan { first: day, again: None, corrected: None }
    }
}

/// Writes the files of one source, day and block; returns their paths.
pub fn deliver<R: Table>(config: &Config, rows: &[R], day: u32, block: u32, plan: &Plan) -> Result<Delivered> {
    let mut delivered = Delivered { events: rows.len() as u64, ..Delivered::default() };
    if rows.is_empty() {
        return Ok(delivered);
    }
    let own = date(config, day)?;
    let file = |at: u32, prefix: &str| -> Result<PathBuf> {
        let name = match prefix {
            "part" => format!("part-{block:05}.parquet"),
            _ => format!("{prefix}-{own}-{block:05}.parquet"),
        };
        Ok(config.raw.join(R::SOURCE).join(format!("day={}", date(config, at)?)).join(name))
    };
    let bytes = parquet_bytes(&R::encode(rows)?)?;
    delivered.put(file(plan.first, if plan.first == day { "part" } else { "late" })?, &bytes)?;
    if let Some(at) = plan.again {
        delivered.put(file(at, "redelivered")?, &bytes)?;
    }
    if let Some(at) = plan.corrected {
        let mut corrected: Vec<R> =
            rows.iter().skip(day as usize % rows.len()).step_by(CORRECTED_ROWS).copied().collect();
        corrected.iter_mut().for_each(R::correct);
        delivered.put(file(at, "corrected")?, &parquet_bytes(&R::encode(&corrected)?)?)?;
    }
    Ok(delivered)
}

impl Delivered {
    fn put(&mut self, path: PathBuf, bytes: &[u8]) -> Result<()> {
        write_whole(&path, bytes)?;
        self.bytes += bytes.len() as u64;
        self.files.push(path);
        Ok(())
    }
}

/// Writes a file under another name and renames it, so that nobody ever sees a part of it.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let hidden = path.with_extension("tmp");
    let write = || {
        fs::write(&hidden, bytes).or_else(|_| {
            // The first file of its day; any other failure comes up again here.
            fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
            fs::write(&hidden, bytes)
        })?;
        fs::rename(&hidden, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// The calendar day that is `day` days after the first.
pub fn date(config: &Config, day: u32) -> Result<NaiveDate> {
    let date = config.start.checked_add_days(Days::new(u64::from(day)));
    date.ok_or_else(|| Error::definition(format!("{day} days after {} is beyond the calendar", config.start)))
}

fn parquet_bytes(batch: &RecordBatch) -> Result<Vec<u8>> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_created_by("scorehouse generate".to_string());
    for field in batch.schema().fields() {
        let column = ColumnPath::from(field.name().as_str());
        if repeats(field) {
            properties = properties.set_column_dictionary_enabled(column, true);
        } else if field.data_type().is_temporal() {
            properties = properties.set_column_statistics_enabled(column, EnabledStatistics::Chunk);
        }
    }
    // Without the embedded Arrow schema every reader sees the same: plain Parquet types.
    let options = ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true);
    let mut out = Vec::with_capacity(batch.get_array_memory_size() / 2 + 4096);
    let failed = |e| Error::internal("encoding Parquet failed").caused_by(e);
    let mut writer = ArrowWriter::try_new_with_options(&mut out, batch.schema(), options).map_err(failed)?;
    writer.write(batch).map_err(failed)?;
    writer.close().map_err(failed)?;
    Ok(out)
}
