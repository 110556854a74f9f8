//! Avro object container files: a header with the schema, then blocks of so many rows, each ended by the header's mark.
//!
//! Arrow's reader trusts the blocks: it takes a file that was cut off for one that ends there, and waits for ever where
//! a block has bytes after its last row. So the file is walked first, and each block is given to a reader of its own,
//! which is asked for as many rows as the block says, once.

use std::io::{BufRead, Cursor, Read};
use std::ops::Range;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::arrow_avro::reader::{Reader, ReaderBuilder};
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;

use super::{FREE_BYTES, MOST_EXPANSION, Piece, Pieces, Places, unreadable};
use crate::error::{Error, Result};

const MAGIC: &[u8] = b"Obj\x01";
const MARK_BYTES: usize = 16;
/// Rows that a block may have: they are held at once.
const BLOCK_ROWS: usize = 1 << 24;

/// A file and where its parts are.
pub(super) struct Blocks {
    bytes: Bytes,
    schema: SchemaRef,
    /// Bytes of the header.
    header: usize,
    /// Where each block is, and how many rows it has.
    blocks: Vec<Block>,
    /// What blocks are compressed by, where that may expand without end.
    boundless: Option<FileCompressionType>,
}

impl Blocks {
    pub(super) fn new(bytes: Bytes) -> Result<Blocks> {
        let Walked { header, blocks, codec } =
            walk(&bytes).ok_or_else(|| wrong("its blocks do not add up to the file"))?;
        if let Some((_, rows)) = blocks.iter().find(|(_, rows)| *rows > BLOCK_ROWS) {
            return Err(wrong(format!("a block of {rows} rows")));
        }
        let schema = open(Cursor::new(bytes.slice(..header)), 1)?.schema();
        // What deflate and Snappy expand to is bounded by what they are.
        let boundless = match codec.as_slice() {
            b"bzip2" => Some(FileCompressionType::BZIP2),
            b"xz" => Some(FileCompressionType::XZ),
            b"zstandard" => Some(FileCompressionType::ZSTD),
            _ => None,
        };
        Ok(Blocks { bytes, schema, header, blocks, boundless })
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    pub(super) fn len(&self) -> u64 {
        self.blocks.iter().map(|(_, rows)| *rows as u64).sum()
    }

    pub(super) fn read(self, columns: &[&str]) -> Result<Pieces> {
        let wanted: Vec<usize> = columns.iter().filter_map(|name| self.schema.index_of(name).ok()).collect();
        let mut first = 0;
        let blocks = self.blocks.clone().into_iter().filter(|(_, rows)| *rows > 0);
        Ok(Box::new(blocks.map(move |(range, rows)| {
            let places = Places::From(first);
            first += rows as u64;
            self.piece(range, rows, &wanted, places)
        })))
    }

    fn piece(&self, range: Range<usize>, rows: usize, wanted: &[usize], places: Places) -> Result<Piece> {
        self.check_size(&range)?;
        let text = Cursor::new(self.bytes.slice(..self.header)).chain(Cursor::new(self.bytes.slice(range)));
        let batch = open(text, rows)?.next().transpose().map_err(wrong)?;
        let batch = batch.filter(|batch| batch.num_rows() == rows);
        let batch = batch.ok_or_else(|| wrong(format!("a block of {rows} rows has others")))?;
        Ok(Piece { batch: batch.project(wanted)?, places, broken: Vec::new() })
    }
}

impl Blocks {
    /// The decoder reserves whatever a block expands to; so that is counted first.
    fn check_size(&self, block: &Range<usize>) -> Result<()> {
        let Some(compression) = self.boundless else { return Ok(()) };
        let most = self.bytes.len() as u64 * MOST_EXPANSION + FREE_BYTES;
        // A block begins with how many rows and how many bytes it has, and ends with the mark.
        let mut rest = &self.bytes[block.clone()];
        long(&mut rest).and_then(|_| long(&mut rest)).ok_or_else(|| wrong("a block without a length"))?;
        let compressed = Cursor::new(self.bytes.slice_ref(&rest[..rest.len().saturating_sub(MARK_BYTES)]));
        let mut expanded = compression.convert_read(compressed)?.take(most + 1);
        let size = std::io::copy(&mut expanded, &mut std::io::sink()).map_err(wrong)?;
        if size > most { Err(wrong(format!("a block expands to more than {most} bytes"))) } else { Ok(()) }
    }
}

fn open<R: BufRead>(text: R, rows: usize) -> Result<Reader<R>> {
    ReaderBuilder::new().with_batch_size(rows).build(text).map_err(wrong)
}

/// Where a block lies in the file, and how many rows it declares.
type Block = (Range<usize>, usize);

/// How long the header is, where the blocks are, and what they are compressed by.
struct Walked {
    header: usize,
    blocks: Vec<Block>,
    codec: Vec<u8>,
}

/// `None` if the blocks are not one after the other to the file's end.
fn walk(bytes: &[u8]) -> Option<Walked> {
    let mut codec = Vec::new();
    let mut rest = bytes.strip_prefix(MAGIC)?;
    loop {
        let entries = long(&mut rest)?;
        if entries < 0 {
            long(&mut rest)?;
        }
        for _ in 0..entries.unsigned_abs() {
            let (key, value) = (text(&mut rest)?, text(&mut rest)?);
            if key == b"avro.codec" {
                codec = value.to_vec();
            }
        }
        if entries == 0 {
            break;
        }
    }
    let mark = take(&mut rest, MARK_BYTES)?;
    let header = bytes.len() - rest.len();
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        let start = bytes.len() - rest.len();
        let rows = usize::try_from(long(&mut rest)?).ok()?;
        let length = usize::try_from(long(&mut rest)?).ok()?;
        take(&mut rest, length)?;
        if take(&mut rest, MARK_BYTES)? != mark {
            return None;
        }
        blocks.push((start..bytes.len() - rest.len(), rows));
    }
    Some(Walked { header, blocks, codec })
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(long(rest)?).ok()?;
    take(rest, length)
}

/// A whole number as Avro writes it: zigzag, seven bits to a byte, the lowest first.
fn long(rest: &mut &[u8]) -> Option<i64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((number >> 1) as i64 ^ -((number & 1) as i64));
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

fn wrong(e: impl std::fmt::Display) -> Error {
    unreadable("Avro", e)
}
