//! A first look at a raw file: is it what it should be, what is its content called, which days is it about.

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::contract;
use super::convert::convert;
use super::form::Opened;
use crate::define::Source;
use crate::define::types::{DAY, DataType};
use crate::error::Result;
use crate::pipeline::job::hex;

/// 0001-01-01 to 9999-12-31: the days that every reader of a table can write and read.
const DAYS: std::ops::Range<i64> = -719_162..2_932_897;

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
/// `Data` if it is no readable file of its form or breaks the contract.
pub(super) fn inspect(source: &Source, path: &str, bytes: Bytes) -> Result<Inspected> {
    let opened = Opened::new(source, path, bytes)?;
    let undeclared = contract::undeclared(source, opened.schema());
    let counted = opened.rows();
    let time = source.event_time.as_deref();
    let derived = time.is_some_and(|time| source.columns.get(time).is_some_and(|column| column.derive.is_some()));
    if let Some(rows) = counted
        && (time.is_none() || derived)
    {
        // What is derived is known when the whole row has been read.
        let days = derived.then_some((i32::MIN, i32::MAX - 1));
        return Ok(Inspected { rows, undeclared, days });
    }
    let (mut rows, mut days) = (0, derived.then_some((i32::MIN, i32::MAX - 1)));
    let wanted = time.filter(|_| !derived);
    for piece in opened.read(wanted.as_slice())? {
        let piece = piece?;
        rows += piece.rows();
        let Some(time) = wanted else { continue };
        let times = convert(&source.format, time, piece.batch.column(0), DataType::Timestamp)?.column;
        for day in times.as_primitive::<TimestampMicrosecondType>().iter().flatten().filter_map(day_of) {
            let (low, high) = days.unwrap_or((day, day));
            days = Some((day.min(low), day.max(high)));
        }
    }
    Ok(Inspected { rows, undeclared, days })
}

/// The day of an instant, in days since 1970; `None` for one that no calendar in use has.
pub(super) fn day_of(micros: i64) -> Option<i32> {
    let day = micros.div_euclid(DAY);
    if DAYS.contains(&day) { i32::try_from(day).ok() } else { None }
}
