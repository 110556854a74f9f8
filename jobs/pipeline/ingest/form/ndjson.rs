//! NDJSON: a JSON object per line. Lines go to Arrow's decoder, which gives up at the first fault; so a batch that it
//! refuses is halved until the lines at fault stand alone. Numbers stay the text that was delivered; what is declared
//! `json` is cut out of its line as it stands.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringBuilder};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use bytes::Bytes;

use super::{Broken, Piece, Pieces, Place, Places, pieces};
use crate::define::Source;
use crate::define::types::DataType as Declared;
use crate::error::Result;

/// Lines whose keys are looked at for columns that nobody has declared.
const SAMPLE: usize = 1_000;

/// The lines of a file that are not blank.
pub(super) struct Lines {
    text: Bytes,
    lines: Vec<(Range<usize>, u64)>,
    /// Declared columns that hold JSON.
    json: BTreeSet<String>,
    names: Vec<String>,
}

impl Lines {
    pub(super) fn new(source: &Source, text: Bytes) -> Lines {
        let mut lines = Vec::new();
        let mut start = 0;
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            if !line.trim_ascii().is_empty() {
                lines.push((start..start + line.len(), index as u64 + 1));
            }
            start += line.len() + 1;
        }
        let json = source.raw_columns().filter(|(_, column)| column.data_type == Declared::Json);
        let json = json.map(|(name, _)| name.clone()).collect();
        let mut names: Vec<String> = source.raw_columns().map(|(name, _)| name.clone()).collect();
        for (range, _) in lines.iter().take(SAMPLE) {
            for (key, _) in std::str::from_utf8(&text[range.clone()]).map(members).unwrap_or_default() {
                if !names.iter().any(|name| name == key) {
                    names.push(key.to_string());
                }
            }
        }
        Lines { text, lines, json, names }
    }

    pub(super) fn len(&self) -> u64 {
        self.lines.len() as u64
    }

    /// Every declared column, for a key that a line lacks is a null; then what else the first lines have.
    pub(super) fn schema(&self) -> SchemaRef {
        texts(self.names.iter().map(String::as_str))
    }

    pub(super) fn read(self, columns: &[&str]) -> Result<Pieces> {
        let columns: Vec<String> = columns.iter().map(|name| name.to_string()).collect();
        Ok(Box::new(pieces(self.lines.len()).map(move |range| self.piece(range, &columns))))
    }

    fn piece(&self, range: Range<usize>, columns: &[String]) -> Result<Piece> {
        let plain = columns.iter().map(String::as_str).filter(|name| !self.json.contains(*name));
        let mut decoded = Decoded { schema: texts(plain), parts: Vec::new(), good: Vec::new(), broken: Vec::new() };
        let lines: Vec<(usize, &[u8])> = range.map(|row| (row, &self.text[self.lines[row].0.clone()])).collect();
        decoded.read(&lines);
        let place = |row: usize| Place { row: row as u64, line: Some(self.lines[row].1) };
        let broken = decoded.broken.iter().map(|(row, reason)| {
            let text = String::from_utf8_lossy(&self.text[self.lines[*row].0.clone()]).trim_end().to_string();
            Broken { place: place(*row), reason: reason.clone(), text }
        });
        let broken = broken.collect();
        let whole = concat_batches(&decoded.schema, &decoded.parts)?;
        let good: Vec<&str> = decoded.good.iter().map(|row| self.line(*row)).collect();
        let all = columns.iter().map(|name| match whole.column_by_name(name) {
            Some(column) => Arc::clone(column),
            None => nested(&good, name),
        });
        let all: Vec<ArrayRef> = all.collect();
        let options = RecordBatchOptions::new().with_row_count(Some(good.len()));
        let batch = RecordBatch::try_new_with_options(texts(columns.iter().map(String::as_str)), all, &options)?;
        let places = Places::Each(decoded.good.into_iter().map(place).collect());
        Ok(Piece { batch, places, broken })
    }

    /// A line that has been decoded.
    fn line(&self, row: usize) -> &str {
        std::str::from_utf8(&self.text[self.lines[row].0.clone()]).unwrap_or_default()
    }
}

/// What became of some lines.
struct Decoded {
    schema: SchemaRef,
    parts: Vec<RecordBatch>,
    good: Vec<usize>,
    broken: Vec<(usize, String)>,
}

impl Decoded {
    fn read(&mut self, lines: &[(usize, &[u8])]) {
        match decode(&self.schema, lines) {
            Ok(Some(batch)) => {
                self.parts.push(batch);
                self.good.extend(lines.iter().map(|(row, _)| *row));
            }
            Ok(None) => {}
            Err(reason) if lines.len() == 1 => self.broken.push((lines[0].0, reason)),
            Err(_) => {
                let (left, right) = lines.split_at(lines.len() / 2);
                self.read(left);
                self.read(right);
            }
        }
    }
}

/// One row per line, or why not. Reasons tell no values: they may be personal.
fn decode(schema: &SchemaRef, lines: &[(usize, &[u8])]) -> Result<Option<RecordBatch>, String> {
    let builder = ReaderBuilder::new(Arc::clone(schema)).with_coerce_primitive(true);
    let decoder = builder.with_batch_size(lines.len() + 1).build_decoder();
    let mut decoder = decoder.map_err(|e| e.to_string())?;
    for (count, (_, line)) in lines.iter().enumerate() {
        if std::str::from_utf8(line).is_err() {
            return Err("not UTF-8 text".into());
        }
        let taken = decoder.decode(line).map_err(|_| "not a JSON object")?;
        if taken < line.trim_ascii_end().len() || decoder.has_partial_record() || decoder.len() != count + 1 {
            return Err("not one JSON object on one line".into());
        }
    }
    decoder.flush().map_err(|_| {
        if lines.iter().any(|(_, line)| !line.trim_ascii().starts_with(b"{")) {
            return "not a JSON object".to_string();
        }
        let fields = schema.fields().iter().map(|field| field.name().as_str());
        let names: Vec<&str> =
            fields.filter(|name| schema.fields().len() == 1 || decode(&texts([*name]), lines).is_err()).collect();
        format!("an object or list where a value is declared: `{}`", names.join("`, `"))
    })
}

fn texts<'a>(names: impl IntoIterator<Item = &'a str>) -> SchemaRef {
    Arc::new(Schema::new(names.into_iter().map(|name| Field::new(name, DataType::Utf8, true)).collect::<Vec<_>>()))
}

/// What the lines have under a key, as they have it; a text that holds JSON is taken out of its quotes.
fn nested(lines: &[&str], name: &str) -> ArrayRef {
    let mut column = StringBuilder::new();
    for line in lines {
        let value = members(line).into_iter().rev().find(|(key, _)| *key == name).map(|(_, value)| value);
        match value.filter(|value| *value != "null") {
            Some(text) if text.starts_with('"') => column.append_option(serde_json::from_str::<String>(text).ok()),
            other => column.append_option(other),
        }
    }
    Arc::new(column.finish())
}

/// The keys and values of the object on a line, both as they are written.
fn members(line: &str) -> Vec<(&str, &str)> {
    let mut members = Vec::new();
    let Some(inside) = line.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else { return members };
    let bytes = inside.as_bytes();
    let (mut depth, mut quoted, mut escaped) = (0_i64, false, false);
    let (mut start, mut colon) = (0, None);
    let mut member = |start: usize, colon: Option<usize>, end: usize| {
        if let Some(colon) = colon {
            members.push((inside[start..colon].trim().trim_matches('"'), inside[colon + 1..end].trim()));
        }
    };
    for (index, &byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b':' if depth == 0 && colon.is_none() => colon = Some(index),
            b',' if depth == 0 => {
                member(start, colon.take(), index);
                start = index + 1;
            }
            _ => {}
        }
    }
    member(start, colon, bytes.len());
    members
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;
    use crate::define::{Project, TextFile};

    fn source() -> Source {
        let text = "sources:\n  s:\n    location: s/*.json\n    static: true\n    format: ndjson\n    columns:\n      a: string\n      n: {type: int64, nullable: true}\n      j: {type: json, nullable: true}\n";
        let (project, out) = Project::parse(&[TextFile { path: "sql/sources.yaml".into(), text: text.into() }]);
        assert!(out.is_empty(), "{out:?}");
        project.sources["s"].clone()
    }

    #[test]
    fn lines_at_fault_stand_alone_and_nested_values_are_cut_out() {
        let text = br#"{"a":"x","n":12345678901234567890.10,"j":{"k":[1, 2.50],"l":"},\"{"}}
{"a":1,"n":null,"j":"{\"k\":3}","new":true}

{"a":{"b":1},"n":2}
{"a":"y"
{"a":"z"} {"a":"w"}
[1]
{"n":"7","a":"last","j":[]}"#;
        let lines = Lines::new(&source(), Bytes::from_static(text));
        assert_eq!(lines.names, ["a", "n", "j", "new"]);
        let piece = lines.read(&["a", "n", "j"]).unwrap().next().unwrap().unwrap();
        let column = |i: usize| piece.batch.column(i).as_string::<i32>().iter().collect::<Vec<_>>();
        assert_eq!(column(0), [Some("x"), Some("1"), Some("last")]);
        assert_eq!(column(1), [Some("12345678901234567890.10"), None, Some("7")]);
        assert_eq!(column(2), [Some(r#"{"k":[1, 2.50],"l":"},\"{"}"#), Some(r#"{"k":3}"#), Some("[]")]);
        assert_eq!(piece.place(2), Place { row: 6, line: Some(8) });
        let broken: Vec<_> = piece.broken.iter().map(|b| (b.place.line.unwrap(), b.reason.as_str())).collect();
        assert_eq!(broken[0], (4, "an object or list where a value is declared: `a`"));
        assert_eq!(broken.iter().map(|b| b.0).collect::<Vec<_>>(), [4, 5, 6, 7]);
    }
}
