//! CSV: taken apart into records by the rules of the decoder (RFC 4180, any of `\n`, `\r`, `\r\n` ends a record), so
//! that each is known by its line and a broken one is left out; what is left goes to Arrow's decoder.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::csv::ReaderBuilder;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;

use super::{Broken, Piece, Pieces, Place, Places, pieces, unreadable};
use crate::define::format::Csv;
use crate::error::{Error, Result};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The records of a file, without its header.
pub(super) struct Records {
    text: Bytes,
    options: Csv,
    names: Vec<String>,
    records: Vec<Record>,
}

/// One record: its bytes with what ends it, the line it begins on, and how many fields it has.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    range: Range<usize>,
    line: u64,
    fields: usize,
}

impl Records {
    /// `declared` are the names of the columns where no header tells them.
    pub(super) fn new(options: &Csv, text: Bytes, declared: &[&str]) -> Result<Records> {
        let marked = text.starts_with(BYTE_ORDER_MARK);
        let text = if marked { text.slice(BYTE_ORDER_MARK.len()..) } else { text };
        let mut records = split(&text, options)?;
        let names = if options.header {
            if records.is_empty() {
                return Err(unreadable("CSV", "it has no header line"));
            }
            header(&text, options, &records.remove(0))?
        } else {
            declared.iter().map(|name| name.to_string()).collect()
        };
        Ok(Records { text, options: options.clone(), names, records })
    }

    pub(super) fn len(&self) -> u64 {
        self.records.len() as u64
    }

    pub(super) fn schema(&self) -> SchemaRef {
        texts(&self.names)
    }

    pub(super) fn read(self, columns: &[&str]) -> Result<Pieces> {
        let wanted: Vec<usize> =
            columns.iter().filter_map(|column| self.names.iter().position(|name| name == column)).collect();
        Ok(Box::new(pieces(self.records.len()).map(move |range| self.piece(range, &wanted))))
    }

    fn piece(&self, range: Range<usize>, columns: &[usize]) -> Result<Piece> {
        let (mut good, mut places, mut broken) = (Vec::<&Record>::new(), Vec::new(), Vec::new());
        for (row, record) in range.clone().zip(&self.records[range]) {
            let place = Place { row: row as u64, line: Some(record.line) };
            let bytes = &self.text[record.range.clone()];
            let reason = match std::str::from_utf8(bytes) {
                Err(_) => "not UTF-8 text".to_string(),
                Ok(_) if record.fields != self.names.len() => {
                    format!("{} fields, {} expected", record.fields, self.names.len())
                }
                Ok(_) => {
                    good.push(record);
                    places.push(place);
                    continue;
                }
            };
            let text = String::from_utf8_lossy(bytes).trim_end().to_string();
            broken.push(Broken { place, reason, text });
        }
        let batch = decode(&self.text, &self.options, &texts(&self.names), &good, Some(columns))?;
        Ok(Piece { batch, places: Places::Each(places), broken })
    }
}

fn texts(names: &[String]) -> SchemaRef {
    Arc::new(Schema::new(names.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect::<Vec<_>>()))
}

fn header(text: &[u8], options: &Csv, record: &Record) -> Result<Vec<String>> {
    let unnamed: Vec<String> = (0..record.fields).map(|index| index.to_string()).collect();
    let row = decode(text, options, &texts(&unnamed), &[record], None)?;
    Ok(row.columns().iter().map(|name| name.as_string::<i32>().value(0).trim().to_string()).collect())
}

fn decode(
    text: &[u8],
    options: &Csv,
    schema: &SchemaRef,
    records: &[&Record],
    columns: Option<&[usize]>,
) -> Result<RecordBatch> {
    let mut builder = ReaderBuilder::new(Arc::clone(schema))
        .with_delimiter(options.delimiter)
        .with_quote(options.quote)
        .with_batch_size(records.len() + 1);
    if let Some(columns) = columns {
        builder = builder.with_projection(columns.to_vec());
    }
    let wanted = columns.map_or_else(|| Ok(Arc::clone(schema)), |columns| schema.project(columns).map(Arc::new))?;
    let mut decoder = builder.build_decoder();
    let mut at = 0;
    while at < records.len() {
        // Neighbours go in as one.
        let mut end = at + 1;
        while end < records.len() && records[end].range.start == records[end - 1].range.end {
            end += 1;
        }
        for part in [&text[records[at].range.start..records[end - 1].range.end], b"\n"] {
            let mut rest = part;
            while !rest.is_empty() {
                let taken = decoder.decode(rest).map_err(|e| unreadable("CSV", e))?;
                if taken == 0 {
                    return Err(Error::internal("the CSV decoder took nothing"));
                }
                rest = &rest[taken..];
            }
        }
        at = end;
    }
    let batch = decoder.flush().map_err(|e| unreadable("CSV", e))?;
    let batch = batch.unwrap_or_else(|| RecordBatch::new_empty(wanted));
    if batch.num_rows() != records.len() {
        return Err(Error::internal(format!("{} CSV records decoded as {}", records.len(), batch.num_rows())));
    }
    Ok(batch)
}

/// Where each record begins and ends. A quote counts only at the beginning of a field, as for the decoder.
fn split(text: &[u8], options: &Csv) -> Result<Vec<Record>> {
    #[derive(Clone, Copy, PartialEq)]
    enum At {
        Field,
        Plain,
        Quoted,
        /// After a quote inside of quotes: the end of them, or the first half of a quote that is meant.
        Quote,
    }
    let mut records = Vec::new();
    let (mut line, mut opened) = (1, 1);
    let mut record: Option<Record> = None;
    let mut at = At::Field;
    for (index, &byte) in text.iter().enumerate() {
        let ends_line = byte == b'\n' || (byte == b'\r' && text.get(index + 1) != Some(&b'\n'));
        let ends = (byte == b'\n' || byte == b'\r') && at != At::Quoted;
        if ends {
            // Empty lines are no records; the second half of \r\n belongs to the first.
            if let Some(mut ended) = record.take() {
                ended.range.end = index + 1;
                records.push(ended);
            } else if byte == b'\n'
                && index > 0
                && text[index - 1] == b'\r'
                && let Some(last) = records.last_mut()
                && last.range.end == index
            {
                last.range.end += 1;
            }
            at = At::Field;
        } else {
            let record = record.get_or_insert(Record { range: index..index, line, fields: 1 });
            at = match at {
                At::Quoted if byte == options.quote => At::Quote,
                At::Quoted => At::Quoted,
                At::Quote if byte == options.quote => At::Quoted,
                _ if byte == options.delimiter => {
                    record.fields += 1;
                    At::Field
                }
                At::Field if byte == options.quote => {
                    opened = line;
                    At::Quoted
                }
                _ => At::Plain,
            };
        }
        line += u64::from(ends_line);
    }
    if at == At::Quoted {
        return Err(unreadable("CSV", format!("the quote that opens on line {opened} is never closed")));
    }
    if let Some(mut last) = record {
        last.range.end = text.len();
        records.push(last);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn options() -> Csv {
        Csv { header: true, delimiter: b';', quote: b'"', nulls: vec![String::new()] }
    }

    fn column(piece: &Piece, index: usize) -> Vec<Option<String>> {
        piece.batch.column(index).as_string::<i32>().iter().map(|text| text.map(str::to_string)).collect()
    }

    #[test]
    fn broken_records_are_left_out_by_line_and_the_others_read() {
        let text = b"\xef\xbb\xbfid; name \r\n1;a\r\n\r\n2;\"b;\r\n\"\"c\"\r\n3\r\n4;\xff\r\n5;d;e\r\n6;f";
        let records = Records::new(&options(), Bytes::from_static(text), &[]).unwrap();
        assert_eq!((records.names.clone(), records.len()), (vec!["id".to_string(), "name".to_string()], 6));
        let piece = records.read(&["name"]).unwrap().next().unwrap().unwrap();
        assert_eq!(column(&piece, 0), [Some("a".into()), Some("b;\r\n\"c".into()), Some("f".into())]);
        assert_eq!(piece.place(1), Place { row: 1, line: Some(4) });
        assert_eq!(piece.place(2), Place { row: 5, line: Some(9) });
        let broken: Vec<_> = piece.broken.iter().map(|b| (b.place.line.unwrap(), b.reason.as_str())).collect();
        assert_eq!(broken, [(6, "1 fields, 2 expected"), (7, "not UTF-8 text"), (8, "3 fields, 2 expected")]);
    }

    #[test]
    fn a_quote_that_is_never_closed_is_the_files_fault() {
        let error = Records::new(&options(), Bytes::from_static(b"id\n1\n\"2\n3\n"), &[]).err().unwrap().to_string();
        assert!(error.contains("the quote that opens on line 3 is never closed"), "{error}");
    }

    proptest! {
        /// The records are those that the decoder finds, whatever the text.
        #[test]
        fn records_are_the_decoders(text in "[a;\"\r\n]{0,40}") {
            let Ok(records) = split(text.as_bytes(), &options()) else { return Ok(()) };
            for record in &records {
                let slice = &text.as_bytes()[record.range.clone()];
                let schema = texts(&(0..record.fields).map(|i| i.to_string()).collect::<Vec<_>>());
                let mut decoder = ReaderBuilder::new(schema).with_delimiter(b';').with_batch_size(10).build_decoder();
                decoder.decode(slice).unwrap();
                decoder.decode(b"\n").unwrap();
                prop_assert_eq!(decoder.flush().unwrap().map(|b| b.num_rows()), Some(1), "{:?}", record);
            }
            let all: Vec<&Record> = records.iter().filter(|record| record.fields == 2).collect();
            let schema = texts(&["a".into(), "b".into()]);
            prop_assert_eq!(decode(text.as_bytes(), &options(), &schema, &all, None).unwrap().num_rows(), all.len());
        }
    }
}
