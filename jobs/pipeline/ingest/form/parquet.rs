//! Parquet: typed, counted in its footer.

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::{PIECE_ROWS, Piece, Pieces, Places, unreadable};
use crate::error::Result;

pub(super) type Builder = ParquetRecordBatchReaderBuilder<Bytes>;

pub(super) fn open(bytes: Bytes) -> Result<Builder> {
    ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(wrong)
}

pub(super) fn read(builder: Builder, columns: &[&str]) -> Result<Pieces> {
    let schema: &SchemaRef = builder.schema();
    let roots: Vec<usize> = columns.iter().filter_map(|name| schema.index_of(name).ok()).collect();
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let expected = builder.metadata().file_metadata().num_rows();
    let reader = builder.with_projection(mask).with_batch_size(PIECE_ROWS).build().map_err(wrong)?;
    Ok(Box::new(Counted { reader, read: 0, expected, done: false }))
}

/// The rows, which must be as many as the footer says.
struct Counted {
    reader: ParquetRecordBatchReader,
    read: u64,
    expected: i64,
    done: bool,
}

impl Iterator for Counted {
    type Item = Result<Piece>;

    fn next(&mut self) -> Option<Result<Piece>> {
        if self.done {
            return None;
        }
        match self.reader.next() {
            Some(Ok(batch)) => {
                let places = Places::From(self.read);
                self.read += batch.num_rows() as u64;
                Some(Ok(Piece { batch, places, broken: Vec::new() }))
            }
            Some(Err(e)) => {
                self.done = true;
                Some(Err(wrong(e)))
            }
            None => {
                self.done = true;
                let wrongly = i64::try_from(self.read) != Ok(self.expected);
                wrongly.then(|| Err(wrong(format!("{} rows by its footer, {} inside", self.expected, self.read))))
            }
        }
    }
}

fn wrong(e: impl std::fmt::Display) -> crate::error::Error {
    unreadable("Parquet", e)
}
