//! A raw file → rows as the table has them: converted, derived, checked, pseudonymised, by day.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow::compute::{cast, concat, filter_record_batch, take_record_batch};
use arrow::datatypes::{Field, Schema, SchemaRef, TimestampMicrosecondType};
use bytes::Bytes;
use datafusion::common::DFSchema;
use datafusion::physical_expr::PhysicalExpr;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::convert::convert;
use super::faults::{Fault, Faults};
use super::form::{Opened, Piece};
use super::inspect::day_of;
use super::quarantine::Bad;
use super::{Known, Night};
use crate::define::Source;
use crate::define::source::Pii;
use crate::define::types::{DAY, DataType};
use crate::engine::plan::{EVENT_DATE, KNOWN_FROM, KNOWN_UNTIL, Relation};
use crate::error::{Context, Error, Result};
use crate::pipeline::job::hex;
use crate::pipeline::suppression::Suppressions;

/// Of a row that is none, in quarantine.
const SHOWN_CHARS: usize = 1_000;

/// Reads the files of one source.
pub(super) struct RowReader {
    pub source: Source,
    /// Of the table, on disk.
    pub schema: SchemaRef,
    /// Of a file, after conversion: declared columns that are not derived.
    raw: SchemaRef,
    derived: Vec<(String, Arc<dyn PhysicalExpr>)>,
    pii_key: Option<Vec<u8>>,
    suppressed: Suppressions,
}

/// Rows of one file within a range of days.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// By day of the event time, in days since 1970; everything under 0 where there is no event time. In the order of
    /// the file. With the schema of the table on disk.
    pub by_day: BTreeMap<i32, Vec<RecordBatch>>,
    pub read: u64,
    /// Rows of erased entities.
    pub suppressed: u64,
    /// Rows that broke the contract, whatever their day.
    pub bad: Vec<Bad>,
}

impl RowReader {
    pub(super) fn new(night: &Night<'_>, source: &Source) -> Result<RowReader> {
        let fields = source.raw_columns().map(|(name, column)| Field::new(name, column.data_type.arrow(), true));
        let raw: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let known = DFSchema::try_from(Arc::clone(&raw))?;
        let mut derived = Vec::new();
        for (name, column) in &source.columns {
            let Some(sql) = &column.derive else { continue };
            let context = night.session.context();
            let planned = context.parse_sql_expr(sql, &known).and_then(|e| context.create_physical_expr(e, &known));
            let planned = planned.map_err(|e| {
                Error::definition(format!("`derive` of column `{name}` cannot be planned: {}", e.strip_backtrace()))
            })?;
            derived.push((name.clone(), planned));
        }
        let schema = Relation::of_source(source).storage_schema();
        Ok(RowReader {
            source: source.clone(),
            schema,
            raw,
            derived,
            pii_key: night.pii_key.clone(),
            suppressed: Suppressions::default(),
        })
    }

    /// Leaves out the rows of erased entities.
    pub(super) fn suppressing(self, suppressed: &Suppressions) -> RowReader {
        RowReader { suppressed: suppressed.clone(), ..self }
    }

    /// Reads the rows of a file whose day is in `window`. Blocks: for a blocking thread.
    ///
    /// # Errors
    /// `Data` if the file cannot be read.
    pub(super) fn read(&self, path: &str, bytes: Bytes, known: Known, window: &Range<i32>) -> Result<Rows> {
        let mut rows = Rows::default();
        let mut by_day = BTreeMap::new();
        self.each(path, bytes, &mut rows, |good| self.by_day(good, known, window, &mut by_day))?;
        rows.by_day = by_day;
        Ok(rows)
    }

    /// The chosen rows of a file, of all days, in the order of the file; as the table has them on disk. Blocks: for a
    /// blocking thread.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) fn choose(
        &self,
        path: &str,
        bytes: Bytes,
        known: Known,
        chosen: impl Fn(&RecordBatch) -> Result<BooleanArray>,
    ) -> Result<Vec<RecordBatch>> {
        let mut found = Vec::new();
        self.each(path, bytes, &mut Rows::default(), |good| {
            let stored = self.stored(good, &self.days(good)?, known)?;
            let rows = filter_record_batch(&stored, &chosen(&stored)?)?;
            found.extend(Some(rows).filter(|rows| rows.num_rows() > 0));
            Ok(())
        })?;
        Ok(found)
    }

    /// Reads a file, counts its rows, and hands on those that the table is to have.
    fn each(
        &self,
        path: &str,
        bytes: Bytes,
        rows: &mut Rows,
        mut take: impl FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let wanted: Vec<&str> = self.raw.fields().iter().map(|field| field.name().as_str()).collect();
        for piece in Opened::new(&self.source, path, bytes)?.read(&wanted)? {
            let piece = piece?;
            let (batch, faults) = self.whole(&piece.batch)?;
            let mut good = self.good(&piece, &batch, faults, &mut rows.bad)?;
            if let Some(out) = self.suppressed.of(&batch)? {
                let out: BTreeSet<u64> = (0..out.len()).filter(|&i| out.value(i)).map(|i| piece.place(i).row).collect();
                rows.bad.retain(|bad| !out.contains(&bad.place.row));
                rows.suppressed += out.len() as u64;
                good = self.suppressed.without(good)?;
            }
            rows.read += piece.rows();
            if good.num_rows() > 0 {
                take(&good)?;
            }
        }
        rows.bad.sort_by_key(|bad| bad.place.row);
        Ok(())
    }

    /// All declared columns, converted and derived, and what was lost on the way.
    pub(super) fn whole(&self, batch: &RecordBatch) -> Result<(RecordBatch, Faults)> {
        let mut faults = Faults::default();
        let mut columns = Vec::with_capacity(self.raw.fields().len());
        for (name, column) in self.source.raw_columns() {
            let found = batch.column_by_name(name);
            let found = found.ok_or_else(|| Error::internal(format!("column {name} was not read")))?;
            let converted = convert(&self.source.format, name, found, column.data_type)?;
            faults.note(converted.lost, &format!("`{name}` is no {}", column.data_type), true);
            columns.push(converted.column);
        }
        let raw = RecordBatch::try_new(Arc::clone(&self.raw), columns)?;
        let mut all: Vec<(&str, ArrayRef)> = Vec::with_capacity(self.source.columns.len());
        for (name, column) in &self.source.columns {
            let array = match self.derived.iter().find(|(derived, _)| derived == name) {
                None => raw.column_by_name(name).cloned(),
                Some((_, expression)) => {
                    Some(self.derive(name, expression, &column.data_type.arrow(), &raw, &mut faults)?)
                }
            };
            all.push((name, array.ok_or_else(|| Error::internal(format!("no column {name}")))?));
        }
        let all = all.into_iter().map(|(name, array)| (name, array, true));
        Ok((RecordBatch::try_from_iter_with_nullable(all)?, faults))
    }

    /// A derived column. Where it cannot be computed for all rows at once, each is tried alone.
    fn derive(
        &self,
        name: &str,
        expression: &Arc<dyn PhysicalExpr>,
        data_type: &arrow::datatypes::DataType,
        raw: &RecordBatch,
        faults: &mut Faults,
    ) -> Result<ArrayRef> {
        let value = |rows: &RecordBatch| -> Result<ArrayRef> {
            let value = expression.evaluate(rows)?.into_array(rows.num_rows())?;
            Ok(cast(&value, data_type)?)
        };
        let error = match value(raw) {
            Ok(column) => return Ok(column),
            Err(error) => error,
        };
        let mut values = Vec::with_capacity(raw.num_rows());
        for row in 0..raw.num_rows() {
            match value(&raw.slice(row, 1)) {
                Ok(one) => values.push(one),
                Err(_) => {
                    // What the engine says may quote the value.
                    let told = if self.hides() { String::new() } else { format!(": {error}") };
                    faults.note([row], &format!("`derive` of `{name}` cannot be computed{told}"), true);
                    values.push(new_null_array(data_type, 1));
                }
            }
        }
        let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
        concat(&values).with_context(|| format!("`derive` of column `{name}`"))
    }

    /// The rows that keep the contract; the others are noted with their first fault.
    fn good(&self, piece: &Piece, batch: &RecordBatch, faults: Faults, bad: &mut Vec<Bad>) -> Result<RecordBatch> {
        let hides = self.hides();
        bad.extend(piece.broken.iter().map(|broken| {
            let data = if hides { String::new() } else { broken.text.chars().take(SHOWN_CHARS).collect() };
            Bad { place: broken.place, reason: broken.reason.clone(), counts: true, data }
        }));
        let mut faults = self.broken_contract(batch, faults)?;
        let at = faults.rows();
        if at.is_empty() {
            return Ok(batch.clone());
        }
        let rows = UInt32Array::from_iter_values(at.iter().map(|row| *row as u32));
        // Text is shown as it was delivered: what was wrong with it is gone from the converted row.
        let shown = if self.source.format.is_text() { &piece.batch } else { batch };
        let shown = json_lines(&take_record_batch(&self.shown(shown)?, &rows)?)?;
        for (row, data) in at.iter().zip(shown) {
            if let Some(Fault { reason, counts }) = faults.take(*row) {
                bad.push(Bad { place: piece.place(*row), reason, counts, data });
            }
        }
        let keep: BooleanArray = (0..batch.num_rows()).map(|row| Some(!at.contains(&row))).collect();
        Ok(filter_record_batch(batch, &keep)?)
    }

    fn broken_contract(&self, batch: &RecordBatch, mut faults: Faults) -> Result<Faults> {
        let nulls = |column: &ArrayRef| -> Vec<usize> {
            if column.null_count() == 0 {
                Vec::new()
            } else {
                (0..column.len()).filter(|r| column.is_null(*r)).collect()
            }
        };
        if let Some(time) = &self.source.event_time
            && let Some(column) = batch.column_by_name(time)
        {
            faults.note(nulls(column), &format!("null in event time `{time}`"), !self.source.allow_null_event_time);
            let instants = column.as_primitive::<TimestampMicrosecondType>().iter().enumerate();
            let odd = instants.filter(|(_, instant)| instant.is_some_and(|instant| day_of(instant).is_none()));
            faults.note(odd.map(|(row, _)| row), &format!("`{time}` is in no year from 1 to 9999"), true);
        }
        for (name, declared) in &self.source.columns {
            let Some(column) = batch.column_by_name(name) else { continue };
            if self.source.key.contains(name) {
                faults.note(nulls(column), &format!("null in key `{name}`"), true);
            } else if !declared.nullable {
                faults.note(nulls(column), &format!("null in `{name}`, which is not nullable"), true);
            }
        }
        Ok(faults)
    }

    /// Whether rows have values that must not be shown.
    fn hides(&self) -> bool {
        self.source.columns.values().any(|column| matches!(column.pii, Some(Pii::Drop | Pii::Pseudonymise)))
    }

    /// What of a bad row may be shown: nothing that is dropped or pseudonymised, nor what is derived from it.
    fn shown(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let open = |name: &str| {
            let column = self.source.columns.get(name);
            column.is_some_and(|c| !matches!(c.pii, Some(Pii::Drop | Pii::Pseudonymise)) && c.derive.is_none())
        };
        let schema = batch.schema();
        let chosen: Vec<usize> = (0..batch.num_columns()).filter(|i| open(schema.field(*i).name())).collect();
        Ok(batch.project(&chosen)?)
    }

    fn by_day(
        &self,
        batch: &RecordBatch,
        known: Known,
        window: &Range<i32>,
        out: &mut BTreeMap<i32, Vec<RecordBatch>>,
    ) -> Result<()> {
        let days = self.days(batch)?;
        if self.source.event_time.is_none() {
            out.entry(0).or_default().push(self.stored(batch, &days, known)?);
            return Ok(());
        }
        let Some(first) = days.first().copied() else { return Ok(()) };
        if days.iter().all(|day| *day == first) {
            if window.contains(&first) {
                out.entry(first).or_default().push(self.stored(batch, &days, known)?);
            }
            return Ok(());
        }
        let mut order: Vec<u32> = (0..days.len() as u32).filter(|row| window.contains(&days[*row as usize])).collect();
        order.sort_by_key(|row| days[*row as usize]);
        let mut start = 0;
        while start < order.len() {
            let day = days[order[start] as usize];
            let length = order[start..].iter().take_while(|row| days[**row as usize] == day).count();
            let rows = UInt32Array::from(order[start..start + length].to_vec());
            let rows = take_record_batch(batch, &rows)?;
            out.entry(day).or_default().push(self.stored(&rows, &vec![day; length], known)?);
            start += length;
        }
        Ok(())
    }

    /// The day of each row; none where there is no event time.
    fn days(&self, batch: &RecordBatch) -> Result<Vec<i32>> {
        let Some(time) = &self.source.event_time else { return Ok(Vec::new()) };
        let times = batch.column_by_name(time).ok_or_else(|| Error::internal(format!("no column {time}")))?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        Ok(times.values().iter().filter_map(|micros| day_of(*micros)).collect())
    }

    /// As the table has them on disk.
    fn stored(&self, batch: &RecordBatch, days: &[i32], known: Known) -> Result<RecordBatch> {
        let from = match known {
            Known::At(instant) => vec![instant; batch.num_rows()],
            Known::OwnDay if days.is_empty() => vec![0; batch.num_rows()],
            Known::OwnDay => days.iter().map(|day| (i64::from(*day) + 1) * DAY).collect(),
        };
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            let column: ArrayRef = match field.name().as_str() {
                EVENT_DATE => Arc::new(Date32Array::from(days.to_vec())),
                KNOWN_FROM => Arc::new(TimestampMicrosecondArray::from(from.clone()).with_timezone("UTC")),
                KNOWN_UNTIL => new_null_array(field.data_type(), batch.num_rows()),
                name => self.disclosed(name, batch)?,
            };
            columns.push(column);
        }
        RecordBatch::try_new(Arc::clone(&self.schema), columns).context("rows of a file")
    }

    fn disclosed(&self, name: &str, batch: &RecordBatch) -> Result<ArrayRef> {
        let column = batch.column_by_name(name).ok_or_else(|| Error::internal(format!("no column {name}")))?;
        match (self.source.columns.get(name).and_then(|c| c.pii), &self.pii_key) {
            (Some(Pii::Pseudonymise), Some(key)) => pseudonyms(column, key),
            _ => Ok(Arc::clone(column)),
        }
    }
}

/// HMAC-SHA-256 of the value's text, in hexadecimal; null stays null.
pub(super) fn pseudonyms(column: &ArrayRef, key: &[u8]) -> Result<ArrayRef> {
    let mac =
        Hmac::<Sha256>::new_from_slice(key).map_err(|e| Error::definition(format!("the key of pseudonyms: {e}")))?;
    let texts = cast(column, &DataType::String.arrow())?;
    let texts: &StringArray = texts.as_string();
    let mut out = StringBuilder::with_capacity(texts.len(), texts.len() * 64);
    for text in texts {
        out.append_option(text.map(|text| {
            let mut mac = mac.clone();
            mac.update(text.as_bytes());
            hex(&mac.finalize().into_bytes())
        }));
    }
    Ok(Arc::new(out.finish()))
}

fn json_lines(batch: &RecordBatch) -> Result<Vec<String>> {
    if batch.num_columns() == 0 {
        return Ok(vec!["{}".into(); batch.num_rows()]);
    }
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    let text = String::from_utf8(writer.into_inner()).map_err(|e| Error::internal(e.to_string()))?;
    Ok(text.lines().map(String::from).collect())
}
