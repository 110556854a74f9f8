//! A first look at a raw file: is it what it should be, what is its content called, which days is it about.

use arrow::array::AsArray;
use arrow::compute::{max, min};
use arrow::datatypes::TimestampMicrosecondType;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest, Sha256};

use super::contract;
use crate::define::Source;
use crate::define::types::{DAY, DataType};
use crate::error::{Error, Result};
use crate::pipeline::job::hex;

/// What a first look says of a file.
#[derive(Debug, Clone)]
pub(super) struct Inspected {
    pub rows: u64,
    pub undeclared: Vec<String>,
    /// First and last day of the event times, in days since 1970; `None` if no row has one, or nobody knows.
    pub days: Option<(i32, i32)>,
}

pub(super) fn checksum(bytes: &Bytes) -> String {
    hex(&Sha256::digest(bytes))
}

/// # Errors
/// `Data` if it is no readable Parquet file or breaks the contract.
pub(super) fn inspect(source: &Source, bytes: Bytes) -> Result<Inspected> {
    let builder = open(bytes)?;
    let schema = builder.schema().clone();
    contract::check(source, &schema)?;
    let rows = builder.metadata().file_metadata().num_rows();
    let mut days = None;
    if let Some(time) = &source.event_time {
        match source.columns.get(time) {
            // What is derived is known when the whole row has been read.
            Some(column) if column.derive.is_some() => days = Some((i32::MIN, i32::MAX - 1)),
            _ => {
                let index = schema.index_of(time)?;
                let mask = ProjectionMask::roots(builder.parquet_schema(), [index]);
                for batch in builder.with_projection(mask).with_batch_size(64 << 10).build().map_err(unreadable)? {
                    let batch = batch.map_err(unreadable)?;
                    let times = contract::convert(time, batch.column(0), DataType::Timestamp)?;
                    let times = times.as_primitive::<TimestampMicrosecondType>();
                    if let (Some(low), Some(high)) = (min(times), max(times)) {
                        let (low, high) = (day_of(low), day_of(high));
                        let (a, b) = days.unwrap_or((low, high));
                        days = Some((a.min(low), b.max(high)));
                    }
                }
            }
        }
    }
    Ok(Inspected {
        rows: u64::try_from(rows).unwrap_or_default(),
        undeclared: contract::undeclared(source, &schema),
        days,
    })
}

pub(super) fn open(bytes: Bytes) -> Result<ParquetRecordBatchReaderBuilder<Bytes>> {
    if bytes.is_empty() {
        return Err(Error::data("the file is empty (0 bytes); a Parquet file was expected"));
    }
    ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(unreadable)
}

pub(super) fn unreadable(e: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::data(format!(
        "not a readable Parquet file ({e})\n  help: deliver it again, or remove it from where the source looks"
    ))
}

/// The day of an instant, in days since 1970.
pub(super) fn day_of(micros: i64) -> i32 {
    i32::try_from(micros.div_euclid(DAY)).unwrap_or(if micros < 0 { i32::MIN } else { i32::MAX })
}
