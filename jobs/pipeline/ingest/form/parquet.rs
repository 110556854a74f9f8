//! Parquet: typed, counted in its footer.
//!
//! A file is believed only after a walk over what it says of itself (`believable`); then every row is decoded and
//! counted. Nothing is filtered by statistics, bloom filters or page indexes, which may lie. Texts are read as views:
//! a value of a dictionary that a million rows name is then held once, and how long the rows would be is known before
//! they are made.

mod believable;
mod thrift;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type as Physical;
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::ColumnDescPtr;

use super::{FREE_BYTES, MOST_EXPANSION, PIECE_ROWS, Piece, Pieces, Places, unreadable};
use crate::error::Result;

/// An opened file: its bytes, what its footer says, and its columns as they were written.
pub(super) struct Opened {
    bytes: Bytes,
    metadata: ArrowReaderMetadata,
}

impl Opened {
    pub(super) fn new(bytes: Bytes) -> Result<Opened> {
        believable::footer(&bytes).map_err(wrong)?;
        let metadata = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new()).map_err(wrong)?;
        Ok(Opened { bytes, metadata })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    pub(super) fn rows(&self) -> Option<u64> {
        u64::try_from(self.metadata.metadata().file_metadata().num_rows()).ok()
    }

    pub(super) fn read(self, columns: &[&str]) -> Result<Pieces> {
        let most = self.bytes.len() as u64 * MOST_EXPANSION + FREE_BYTES;
        let file = Arc::clone(self.metadata.metadata());
        let roots: Vec<usize> = columns.iter().filter_map(|name| self.schema().index_of(name).ok()).collect();
        let mask = ProjectionMask::roots(file.file_metadata().schema_descr(), roots);
        check_pages(&self.bytes, &file, &mask)?;
        let options = ArrowReaderOptions::new().with_schema(as_read(self.schema(), &file));
        let metadata = ArrowReaderMetadata::try_new(Arc::clone(&file), options).map_err(wrong)?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes, metadata);
        let reader = builder.with_projection(mask).with_batch_size(PIECE_ROWS).build().map_err(wrong)?;
        let expected = u64::try_from(file.file_metadata().num_rows()).map_err(wrong)?;
        Ok(Box::new(Counted { reader, read: 0, expected, texts: 0, most, done: false }))
    }
}

/// The columns that are to be read must have pages that their bytes can hold.
fn check_pages(bytes: &Bytes, file: &ParquetMetaData, mask: &ProjectionMask) -> Result<()> {
    let mut left = bytes.len() as u64 * MOST_EXPANSION + FREE_BYTES;
    for (index, column) in file.file_metadata().schema_descr().columns().iter().enumerate() {
        if !mask.leaf_included(index) {
            continue;
        }
        let mut allowed = believable::Allowance { bytes: left, values: believable::most_rows(bytes.len()) };
        for group in file.row_groups() {
            let part = group.columns().get(index).ok_or_else(|| wrong("a row group has fewer columns"))?;
            let start = part.dictionary_page_offset().unwrap_or(part.data_page_offset());
            let start = u64::try_from(start).map_err(wrong)?;
            let length = u64::try_from(part.compressed_size()).map_err(wrong)?;
            let end = start.checked_add(length).ok_or_else(|| wrong("a column without an end"))?;
            let checked = believable::pages(bytes, start..end, part.num_values(), &mut allowed);
            checked.map_err(|reason| wrong(format!("column `{}`: {reason}", column.path().string())))?;
        }
        left = allowed.bytes;
    }
    Ok(())
}

/// The types to read: texts as views; the instants of a 96-bit integer in microseconds, for their nanoseconds wrap
/// around after 2262.
fn as_read(schema: &Schema, file: &ParquetMetaData) -> SchemaRef {
    let columns = file.file_metadata().schema_descr().columns();
    let wide = |field: &Field| {
        let is =
            |c: &ColumnDescPtr| c.physical_type() == Physical::INT96 && *c.path().parts() == [field.name().as_str()];
        columns.iter().any(is)
    };
    let instant = DataType::Timestamp(TimeUnit::Microsecond, None);
    let fields = schema.fields().iter().map(|field| match wide(field) {
        true => Arc::new(Field::clone(field).with_data_type(instant.clone())),
        false => viewed(field),
    });
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
}

/// With texts as views, also inside of lists and structs.
fn viewed(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Dictionary(_, value) if matches!(**value, DataType::Utf8 | DataType::LargeUtf8) => DataType::Utf8View,
        DataType::List(item) => DataType::List(viewed(item)),
        DataType::LargeList(item) => DataType::LargeList(viewed(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(viewed).collect::<Fields>()),
        DataType::Map(entries, sorted) => DataType::Map(viewed(entries), *sorted),
        _ => return Arc::clone(field),
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}

/// The rows, which must be as many as the footer says, and not longer than the file can honestly have.
struct Counted {
    reader: ParquetRecordBatchReader,
    read: u64,
    expected: u64,
    /// Bytes of texts so far, each row with its own.
    texts: u64,
    most: u64,
    done: bool,
}

impl Counted {
    fn piece(&mut self) -> Result<Option<Piece>> {
        let Some(batch) = self.reader.next().transpose().map_err(wrong)? else {
            let (expected, read) = (self.expected, self.read);
            let complete = read == expected;
            return if complete {
                Ok(None)
            } else {
                Err(wrong(format!("{expected} rows by its footer, {read} inside")))
            };
        };
        let places = Places::From(self.read);
        self.read += batch.num_rows() as u64;
        if self.read > self.expected {
            return Err(wrong(format!("{} rows by its footer, more inside", self.expected)));
        }
        self.texts += batch.columns().iter().map(text_bytes).sum::<u64>();
        if self.texts > self.most {
            return Err(wrong(format!("its texts expand to more than {} bytes", self.most)));
        }
        Ok(Some(Piece { batch, places, broken: Vec::new() }))
    }
}

impl Iterator for Counted {
    type Item = Result<Piece>;

    fn next(&mut self) -> Option<Result<Piece>> {
        if self.done {
            return None;
        }
        let piece = self.piece().transpose();
        self.done = !matches!(piece, Some(Ok(_)));
        piece
    }
}

/// How long the texts of a column are, row by row.
fn text_bytes(column: &ArrayRef) -> u64 {
    let length = |view: &u128| u64::from(*view as u32);
    match column.data_type() {
        DataType::Utf8View => column.as_string_view().views().iter().map(length).sum(),
        DataType::BinaryView => column.as_binary_view().views().iter().map(length).sum(),
        DataType::List(_) => text_bytes(column.as_list::<i32>().values()),
        DataType::LargeList(_) => text_bytes(column.as_list::<i64>().values()),
        DataType::Struct(_) => column.as_struct().columns().iter().map(text_bytes).sum(),
        DataType::Map(_, _) => column.as_map().entries().columns().iter().map(text_bytes).sum(),
        _ => 0,
    }
}

fn wrong(e: impl std::fmt::Display) -> crate::error::Error {
    unreadable("Parquet", e)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panics::contained;

    /// Reads all rows of a file.
    fn rows(bytes: Bytes) -> Result<u64> {
        let opened = Opened::new(bytes)?;
        let names: Vec<String> = opened.schema().fields().iter().map(|field| field.name().clone()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        opened.read(&names)?.map(|piece| Ok(piece?.rows())).sum()
    }

    /// The files that other readers are tested with, where they are: `SCOREHOUSE_PARQUET_CORPUS` names a directory, such
    /// as a copy of apache/parquet-testing. Those under `bad_data` and the encrypted ones are refused; of the others it is
    /// said which are.
    #[test]
    fn corpora_of_other_readers_are_read_or_refused() {
        let Some(root) = crate::clock::env("SCOREHOUSE_PARQUET_CORPUS") else {
            return println!("SCOREHOUSE_PARQUET_CORPUS names no corpus: skipped");
        };
        let mut waiting = vec![std::path::PathBuf::from(root)];
        let (mut read, mut refused) = (0, 0);
        while let Some(path) = waiting.pop() {
            if path.is_dir() {
                waiting.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let name = path.display().to_string();
            if !name.contains(".parquet") || name.ends_with(".json") || name.ends_with(".md") {
                continue;
            }
            let bytes = Bytes::from(std::fs::read(&path).unwrap());
            match contained(|| rows(bytes)) {
                Ok(Ok(rows)) => {
                    read += 1;
                    assert!(!name.contains("encrypted"), "{name}: {rows} rows");
                    println!("{name}: {rows} rows");
                }
                Ok(Err(error)) => {
                    refused += 1;
                    println!("{name}: {error}");
                }
                Err(panic) => {
                    refused += 1;
                    println!("{name}: panics: {panic}");
                }
            }
        }
        println!("{read} files were read, {refused} refused");
        assert!(read + refused > 0, "no files of Parquet");
    }
}
