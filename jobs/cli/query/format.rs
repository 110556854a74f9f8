//! Rows as a table, CSV, JSON lines or Parquet, written as they come.
//!
//! Nothing here holds a result as a whole. A table is laid out in parts of so many rows, each under its own head, since
//! the width of a column is known only after its widest cell; a Parquet file gets a row group when its part is large
//! enough. A reader that has gone is no error: what is written then goes nowhere, and [`Rows::is_read`] says so.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::util::pretty::pretty_format_batches;
use clap::ValueEnum;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::error::{Context, Error, Result};

/// Rows that are laid out together, and bytes after which they are sooner.
const TABLE_ROWS: usize = 10_000;
const TABLE_BYTES: usize = 32 << 20;
/// Bytes after which a row group ends.
const ROW_GROUP_BYTES: usize = 64 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Csv,
    /// One JSON object a line.
    Json,
    /// A file, or a pipe.
    Parquet,
}

impl Format {
    /// By this name it is chosen.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default()
    }

    /// Names of formats that can follow each other in one place.
    pub fn texts() -> Vec<String> {
        let texts = Format::value_variants().iter().filter(|format| **format != Format::Parquet);
        texts.map(|format| format.name()).collect()
    }

    /// What the name of a file asks for.
    pub fn of_file(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()? {
            "csv" => Some(Format::Csv),
            "json" | "jsonl" | "ndjson" => Some(Format::Json),
            "parquet" => Some(Format::Parquet),
            _ => None,
        }
    }
}

/// Where rows go: stdout, or a file.
pub struct Sink {
    out: BufWriter<Box<dyn Write + Send>>,
    /// Shared with whoever writes rows: encoders keep the sink to themselves.
    gone: Arc<AtomicBool>,
    /// The file that the written one becomes.
    becomes: Option<(PathBuf, PathBuf)>,
}

impl Sink {
    fn new(out: impl Write + Send + 'static, becomes: Option<(PathBuf, PathBuf)>) -> Sink {
        Sink { out: BufWriter::new(Box::new(out)), gone: Arc::default(), becomes }
    }

    pub fn stdout() -> Sink {
        Sink::new(io::stdout(), None)
    }

    /// A file that gets its name when all is written; a device or a pipe is written as it is.
    pub fn file(path: &Path) -> Result<Sink> {
        if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
            let file = File::options().write(true).open(path).map_err(|error| unwritable(path, error))?;
            return Ok(Sink::new(file, None));
        }
        let name = path.file_name().ok_or_else(|| unwritable(path, ErrorKind::InvalidInput.into()))?;
        let unfinished = path.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
        let file = File::create(&unfinished).map_err(|error| unwritable(path, error))?;
        Ok(Sink::new(file, Some((unfinished, path.to_path_buf()))))
    }

    /// A file that rows of several queries go into, as they come.
    pub fn open_file(path: &Path) -> Result<Sink> {
        Ok(Sink::new(File::create(path).map_err(|error| unwritable(path, error))?, None))
    }

    /// Ends a file, and gives it its name.
    pub fn finish(mut self) -> Result<()> {
        self.flush()?;
        if let Some((unfinished, path)) = self.becomes.take() {
            std::fs::rename(&unfinished, &path).with_context(|| format!("naming {}", path.display()))?;
        }
        Ok(())
    }

    /// A closed pipe takes everything, and reads nothing.
    fn unless_gone<T>(
        &mut self,
        instead: T,
        write: impl FnOnce(&mut BufWriter<Box<dyn Write + Send>>) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.gone.load(Ordering::Relaxed) {
            return Ok(instead);
        }
        match write(&mut self.out) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.gone.store(true, Ordering::Relaxed);
                Ok(instead)
            }
            done => done,
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_gone(bytes.len(), |out| out.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_gone((), Write::flush)
    }
}

impl Drop for Sink {
    /// What was not finished leaves no file behind.
    fn drop(&mut self) {
        if let Some((unfinished, _)) = &self.becomes {
            let _ = std::fs::remove_file(unfinished);
        }
    }
}

/// Writes the rows of one query.
pub struct Rows<'a> {
    writer: Writer<'a>,
    schema: SchemaRef,
    rows: u64,
    gone: Arc<AtomicBool>,
}

enum Writer<'a> {
    Table(Table<'a>),
    Csv(Box<arrow::csv::Writer<&'a mut Sink>>),
    Json(arrow::json::LineDelimitedWriter<&'a mut Sink>),
    Parquet(Box<ArrowWriter<&'a mut Sink>>),
}

impl<'a> Rows<'a> {
    pub fn new(format: Format, schema: &SchemaRef, sink: &'a mut Sink) -> Result<Rows<'a>> {
        let gone = Arc::clone(&sink.gone);
        let writer = match format {
            Format::Table => Writer::Table(Table { sink, held: Vec::new(), rows: 0, bytes: 0, began: false }),
            Format::Csv => {
                flat(schema)?;
                Writer::Csv(Box::new(arrow::csv::Writer::new(sink)))
            }
            Format::Json => Writer::Json(arrow::json::LineDelimitedWriter::new(sink)),
            Format::Parquet => {
                let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
                let writer = ArrowWriter::try_new(sink, SchemaRef::clone(schema), Some(properties));
                Writer::Parquet(Box::new(writer.map_err(parquet_error)?))
            }
        };
        Ok(Rows { writer, schema: SchemaRef::clone(schema), rows: 0, gone })
    }

    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        match &mut self.writer {
            Writer::Table(table) => table.write(batch)?,
            Writer::Csv(csv) => csv.write(batch)?,
            Writer::Json(json) => json.write(batch)?,
            Writer::Parquet(parquet) => {
                parquet.write(batch).map_err(parquet_error)?;
                if parquet.in_progress_size() > ROW_GROUP_BYTES {
                    parquet.flush().map_err(parquet_error)?;
                }
            }
        }
        Ok(())
    }

    /// Whether anybody still reads what is written.
    pub fn is_read(&self) -> bool {
        !self.gone.load(Ordering::Relaxed)
    }

    /// Ends what was written, and counts it. A result without rows has its head too.
    pub fn end(self) -> Result<u64> {
        let Rows { writer, schema, rows, .. } = self;
        match writer {
            Writer::Table(table) => table.end(schema)?,
            Writer::Csv(mut csv) if rows == 0 => csv.write(&RecordBatch::new_empty(schema))?,
            Writer::Csv(_) => {}
            Writer::Json(mut json) => json.finish()?,
            Writer::Parquet(parquet) => drop(parquet.close().map_err(parquet_error)?),
        }
        Ok(rows)
    }
}

/// Rows held until their widths are known.
struct Table<'a> {
    sink: &'a mut Sink,
    held: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    began: bool,
}

impl Table<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.rows += batch.num_rows();
        // Of slices of one large batch each counts as what it shows.
        let size = |column: &arrow::array::ArrayRef| column.to_data().get_slice_memory_size().unwrap_or_default();
        self.bytes += batch.columns().iter().map(size).sum::<usize>();
        self.held.push(batch.clone());
        if self.rows >= TABLE_ROWS || self.bytes >= TABLE_BYTES { self.part() } else { Ok(()) }
    }

    fn part(&mut self) -> Result<()> {
        let text = pretty_format_batches(&self.held)?;
        writeln!(self.sink, "{text}")?;
        (self.held, self.rows, self.bytes, self.began) = (Vec::new(), 0, 0, true);
        Ok(())
    }

    fn end(mut self, schema: SchemaRef) -> Result<()> {
        if self.held.is_empty() && !self.began {
            self.held.push(RecordBatch::new_empty(schema));
        }
        if self.held.is_empty() { Ok(()) } else { self.part() }
    }
}

fn unwritable(path: &Path, error: io::Error) -> Error {
    Error::definition(format!("{} cannot be written: {error}\n  help: name another file", path.display()))
}

/// CSV has no lists.
fn flat(schema: &Schema) -> Result<()> {
    let Some(nested) = schema.fields().iter().find(|field| field.data_type().is_nested()) else { return Ok(()) };
    let help = "--format json or parquet, or take it apart in SQL";
    Err(Error::definition(format!(
        "column {} is a {}, which CSV cannot hold\n  help: {help}",
        nested.name(),
        nested.data_type()
    )))
}

fn parquet_error(error: parquet::errors::ParquetError) -> Error {
    Error::internal(format!("Parquet cannot be written: {error}")).caused_by(error)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, ListArray};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn numbers(from: i64, to: i64) -> RecordBatch {
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(from..to)) as ArrayRef)]).unwrap()
    }

    fn written(format: Format, batches: &[RecordBatch]) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        let mut sink = Sink::file(&path).unwrap();
        let mut rows = Rows::new(format, &numbers(0, 0).schema(), &mut sink).unwrap();
        batches.iter().for_each(|batch| rows.write(batch).unwrap());
        let count = rows.end().unwrap();
        assert_eq!(count as usize, batches.iter().map(RecordBatch::num_rows).sum::<usize>());
        assert!(!path.exists(), "no file has that name before all is written");
        sink.finish().unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        std::fs::read(path).unwrap()
    }

    #[test]
    fn a_table_comes_in_parts_of_bounded_size() {
        let batches: Vec<RecordBatch> = (0..3).map(|n| numbers(n * 8_000, (n + 1) * 8_000)).collect();
        let text = String::from_utf8(written(Format::Table, &batches)).unwrap();
        assert_eq!(text.lines().filter(|line| line.contains("| n ")).count(), 2);
        assert_eq!(text.lines().filter(|line| line.starts_with("| ") && !line.contains('n')).count(), 24_000);
        let none = String::from_utf8(written(Format::Table, &[numbers(0, 0)])).unwrap();
        assert_eq!(none, "+---+\n| n |\n+---+\n+---+\n");
    }

    #[test]
    fn csv_and_json_are_lines() {
        assert_eq!(written(Format::Csv, &[numbers(1, 3)]), b"n\n1\n2\n");
        assert_eq!(written(Format::Csv, &[]), b"n\n");
        assert_eq!(written(Format::Json, &[numbers(1, 3)]), b"{\"n\":1}\n{\"n\":2}\n");
        assert_eq!(written(Format::Json, &[]), b"");
    }

    #[test]
    fn parquet_is_read_back() {
        let bytes = bytes::Bytes::from(written(Format::Parquet, &[numbers(0, 5), numbers(5, 7)]));
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes, 100).unwrap();
        let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
        assert_eq!(batches, [numbers(0, 7)]);
    }

    #[test]
    fn csv_says_that_it_has_no_lists() {
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1)])]);
        let batch = RecordBatch::try_from_iter([("amounts", Arc::new(lists) as ArrayRef)]).unwrap();
        let mut sink = Sink::new(io::sink(), None);
        let Err(error) = Rows::new(Format::Csv, &batch.schema(), &mut sink) else { panic!("CSV took a list") };
        assert!(error.to_string().starts_with("column amounts is a List"), "{error}");
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for format in [Format::Table, Format::Csv, Format::Json, Format::Parquet] {
            let mut sink = Sink::new(Closed, None);
            let mut rows = Rows::new(format, &numbers(0, 0).schema(), &mut sink).unwrap();
            let mut from = 0;
            while rows.is_read() && from < 1_000_000 {
                rows.write(&numbers(from, from + 8_192)).unwrap();
                from += 8_192;
            }
            assert!(!rows.is_read() || format == Format::Parquet, "{format:?}");
            rows.end().unwrap();
            sink.finish().unwrap();
        }
    }

    #[test]
    fn what_failed_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        drop(Sink::file(&dir.path().join("out.csv")).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(Sink::file(&dir.path().join("nowhere/out.csv")).is_err());
    }
}
