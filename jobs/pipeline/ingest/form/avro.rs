//! Avro: typed; how many rows there are is known when they have been read.

use std::io::Cursor;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::arrow_avro::reader::{Reader, ReaderBuilder};

use super::{PIECE_ROWS, Piece, Pieces, Places, unreadable};
use crate::error::{Error, Result};

pub(super) fn schema(bytes: &Bytes) -> Result<SchemaRef> {
    Ok(open(bytes.clone())?.schema())
}

pub(super) fn read(bytes: Bytes, columns: &[&str]) -> Result<Pieces> {
    let reader = open(bytes)?;
    let schema = reader.schema();
    let wanted: Vec<usize> = columns.iter().filter_map(|name| schema.index_of(name).ok()).collect();
    let mut read = 0;
    let mut failed = false;
    Ok(Box::new(reader.map_while(move |batch| {
        if failed {
            return None;
        }
        let piece = batch.and_then(|batch| batch.project(&wanted)).map_err(wrong).map(|batch| {
            let places = Places::From(read);
            read += batch.num_rows() as u64;
            Piece { batch, places, broken: Vec::new() }
        });
        failed = piece.is_err();
        Some(piece)
    })))
}

fn open(bytes: Bytes) -> Result<Reader<Cursor<Bytes>>> {
    ReaderBuilder::new().with_batch_size(PIECE_ROWS).build(Cursor::new(bytes)).map_err(wrong)
}

fn wrong(e: impl std::fmt::Display) -> Error {
    unreadable("Avro", e)
}
