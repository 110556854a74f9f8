//! Raw files of every form, opened and read as pieces: some rows, where each stands, and what was no row at all.
//!
//! Parquet and Avro know their types and how many rows they have; a fault in them is a fault of the file. Text is
//! taken apart row by row first, so that one broken line costs one line; its values are all text until they are
//! converted. The decoders are DataFusion's.

mod avro;
mod csv;
mod ndjson;
mod parquet;

use std::io::Read;
use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;

use super::contract;
use crate::define::Source;
use crate::define::format::{Compression, Format};
use crate::error::{Error, Result};
use crate::panics::contained;

/// Rows of a piece, at most.
const PIECE_ROWS: usize = 64 << 10;

/// What is decompressed may be so many times as long as its file, beyond a first `FREE_BYTES`.
const MOST_EXPANSION: u64 = 1_100;
const FREE_BYTES: u64 = 64 << 20;

/// Some rows of a file, in its order.
pub(super) struct Piece {
    /// The columns that were asked for, as far as the file has them, in the file's types; of text all are text.
    pub batch: RecordBatch,
    places: Places,
    /// What cannot be taken apart.
    pub broken: Vec<Broken>,
}

enum Places {
    /// One after the other, from here.
    From(u64),
    Each(Vec<Place>),
}

/// Where a row stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// From 0.
    pub row: u64,
    /// Of text, from 1.
    pub line: Option<u64>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}"),
            None => write!(f, "row {}", self.row),
        }
    }
}

/// A row that is none.
pub(super) struct Broken {
    pub place: Place,
    pub reason: String,
    pub text: String,
}

pub(super) type Pieces = Box<dyn Iterator<Item = Result<Piece>>>;

/// A file that keeps the contract, as far as its schema says.
pub(super) struct Opened {
    schema: SchemaRef,
    content: Content,
}

enum Content {
    Parquet(Box<parquet::Opened>),
    Avro(avro::Blocks),
    Csv(csv::Records),
    Ndjson(ndjson::Lines),
}

impl Piece {
    pub(super) fn place(&self, index: usize) -> Place {
        match &self.places {
            Places::From(first) => Place { row: first + index as u64, line: None },
            Places::Each(places) => places[index],
        }
    }

    pub(super) fn rows(&self) -> u64 {
        (self.batch.num_rows() + self.broken.len()) as u64
    }
}

impl Opened {
    /// # Errors
    /// `Data` if it is no readable file of the source's form, or breaks the contract.
    pub(super) fn new(source: &Source, path: &str, bytes: Bytes) -> Result<Opened> {
        if bytes.is_empty() {
            let form = source.format.name();
            return Err(Error::data(format!(
                "the file is empty (0 bytes); {} {form} file was expected",
                article(form)
            )));
        }
        let (schema, content) = match &source.format {
            Format::Parquet => {
                let opened = parquet::Opened::new(bytes)?;
                (opened.schema().clone(), Content::Parquet(Box::new(opened)))
            }
            Format::Avro => {
                let blocks = avro::Blocks::new(bytes)?;
                (blocks.schema(), Content::Avro(blocks))
            }
            Format::Csv { csv, compression } => {
                let declared: Vec<&str> = source.raw_columns().map(|(name, _)| name.as_str()).collect();
                let records = csv::Records::new(csv, decompressed(*compression, path, bytes)?, &declared)?;
                (records.schema(), Content::Csv(records))
            }
            Format::Ndjson { compression } => {
                let lines = ndjson::Lines::new(source, decompressed(*compression, path, bytes)?);
                (lines.schema(), Content::Ndjson(lines))
            }
        };
        contract::check(source, &schema)?;
        Ok(Opened { schema, content })
    }

    pub(super) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// How many rows it has, where that can be said without reading them.
    pub(super) fn rows(&self) -> Option<u64> {
        match &self.content {
            Content::Parquet(opened) => opened.rows(),
            Content::Avro(blocks) => Some(blocks.len()),
            Content::Csv(records) => Some(records.len()),
            Content::Ndjson(lines) => Some(lines.len()),
        }
    }

    /// The rows with these of its columns.
    pub(super) fn read(self, columns: &[&str]) -> Result<Pieces> {
        match self.content {
            Content::Parquet(opened) => opened.read(columns),
            Content::Avro(blocks) => blocks.read(columns),
            Content::Csv(records) => records.read(columns),
            Content::Ndjson(lines) => lines.read(columns),
        }
    }
}

/// Runs what reads a file, on a thread that may block: that it panics is the file's fault. Whatever decodes other
/// people's files goes through here.
pub(super) async fn guarded<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let help = "help: deliver it again, or remove it from where the source looks";
    let gave_up = move |said| Error::data(format!("the reader gave the file up ({said})\n  {help}"));
    let done = tokio::task::spawn_blocking(move || contained(work).unwrap_or_else(|said| Err(gave_up(said)))).await;
    done.map_err(|e| Error::internal(format!("a worker ended: {e}")))?
}

/// `Data` for what the reader of a form says.
fn unreadable(form: &str, e: impl std::fmt::Display) -> Error {
    Error::data(format!(
        "not a readable {form} file ({e})\n  help: deliver it again, or remove it from where the source looks"
    ))
}

fn decompressed(declared: Option<Compression>, path: &str, bytes: Bytes) -> Result<Bytes> {
    let kind = match declared.unwrap_or_else(|| Compression::of(path)) {
        Compression::None => return Ok(bytes),
        Compression::Gzip => FileCompressionType::GZIP,
        Compression::Bzip2 => FileCompressionType::BZIP2,
        Compression::Xz => FileCompressionType::XZ,
        Compression::Zstd => FileCompressionType::ZSTD,
    };
    let most = bytes.len() as u64 * MOST_EXPANSION + FREE_BYTES;
    let mut text = Vec::new();
    let read = kind.convert_read(std::io::Cursor::new(bytes))?.take(most + 1).read_to_end(&mut text);
    read.map_err(|e| unreadable("compressed text", e))?;
    if text.len() as u64 > most {
        return Err(unreadable("compressed text", format!("it expands to more than {most} bytes")));
    }
    Ok(Bytes::from(text))
}

/// `len` things in pieces.
fn pieces(len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(PIECE_ROWS).map(move |start| start..len.min(start + PIECE_ROWS))
}

fn article(form: &str) -> &'static str {
    if form.starts_with(['A', 'N']) { "an" } else { "a" }
}
