//! Merging a recomputed set of rows with the versions a table holds, so that what any past night knew stays as it was.
//!
//! Unchanged rows keep their `_known_from`; a changed or vanished row is closed tonight, and the changed one opened
//! anew. What tonight itself did before is undone first, so a night that runs twice leaves what it left after once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, TimestampMicrosecondArray, new_null_array};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{Date32Type, Field, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::row::{OwnedRow, Row, RowConverter, Rows, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use datafusion::common::hash_utils::{RandomState, create_hashes};
use datafusion::common::{Column, ScalarValue};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::MemTable;
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::SessionContext;

use super::relation::{EVENT_DATE, KNOWN_FROM, KNOWN_UNTIL};
use crate::define::types::timestamp;
use crate::engine::session::error;
use crate::error::{Error, Result};

/// The rows of a first build: their `_known_from` stands, and all are current. Lazy: nothing is computed here.
///
/// # Errors
/// Of kind `Internal` if the rows lack `_known_from`.
pub fn first(computed: DataFrame) -> Result<DataFrame> {
    let instant = lit(ScalarValue::TimestampMicrosecond(None, Some("UTC".into())));
    computed.with_column(KNOWN_UNTIL, instant).map_err(error)
}

/// Keys by a hash of 64 bits: the same for the same key, and hardly ever for another.
pub fn hashes(key: &[ArrayRef]) -> Result<Vec<u64>> {
    let mut hashes = vec![0; key.first().map_or(0, |column| column.len())];
    create_hashes(key, &RandomState::default(), &mut hashes)?;
    Ok(hashes)
}

/// Hashes of the keys that were current in these versions before tonight.
///
/// # Errors
/// What the frame fails with.
pub async fn current(held: DataFrame, key: &[String], night: i64) -> Result<HashSet<u64>> {
    let tonight = || lit(ScalarValue::TimestampMicrosecond(Some(night), Some("UTC".into())));
    let column = |name: &str| Expr::Column(Column::from_name(name));
    let open = column(KNOWN_UNTIL).is_null().or(column(KNOWN_UNTIL).eq(tonight()));
    let rows = held.filter(column(KNOWN_FROM).lt(tonight()).and(open)).map_err(error)?;
    let rows = rows.select(key.iter().map(|name| column(name)).collect::<Vec<_>>()).map_err(error)?;
    let mut found = HashSet::new();
    for batch in rows.collect().await.map_err(error)? {
        found.extend(hashes(batch.columns())?);
    }
    Ok(found)
}

/// [`Merge::merge`] over frames, in memory: `held` is every version of the affected days, `computed` their rows as of
/// `night` ([`super::known::build`]). Days without held rows count as built for the first time. `elsewhere` are keys that
/// were [`current`] on days which are merged apart from these.
///
/// # Errors
/// As [`Merge::merge`], and what the frames fail with.
pub async fn merge(
    held: DataFrame,
    computed: DataFrame,
    (key, elsewhere): (&[String], &HashSet<u64>),
    night: i64,
) -> Result<DataFrame> {
    let state = computed.clone().into_parts().0;
    // What may be null is for the table's own schema to say, when the rows are written.
    let nullable = |field: &Arc<Field>| Field::new(field.name(), field.data_type().clone(), true);
    let mut fields: Vec<Field> = computed.schema().fields().iter().map(nullable).collect();
    fields.push(Field::new(KNOWN_UNTIL, timestamp(), true));
    let schema = Arc::new(Schema::new(fields));
    let by_day = schema.index_of(EVENT_DATE).is_ok();
    let held = held.collect().await.map_err(error)?;
    let computed = computed.collect().await.map_err(error)?;
    let merged = Merge { schema: schema.clone(), key, elsewhere, by_day, last: None, night }.merge(&held, &computed)?;
    let rows = MemTable::try_new(schema, vec![merged.rows]).map_err(error)?;
    SessionContext::new_with_state(state).read_table(Arc::new(rows)).map_err(error)
}

/// What is merged, and when.
#[derive(Debug, Clone)]
pub struct Merge<'a> {
    /// The schema on disk, `_known_from` and `_known_until` included.
    pub schema: SchemaRef,
    /// Columns that identify a row. Empty: rows cannot be told apart, so they are replaced as they are.
    pub key: &'a [String],
    /// Hashes of keys that were current on other days: a row of one of them is not new, but comes from there.
    pub elsewhere: &'a HashSet<u64>,
    /// True if rows are built day by day (incremental tables), so that a day without rows is built the first time.
    pub by_day: bool,
    /// The night that was merged before; `None` takes the latest instant in the existing rows.
    pub last: Option<i64>,
    /// Tonight, in microseconds.
    pub night: i64,
}

/// The complete new content of the affected days (or of the table).
#[derive(Debug)]
pub struct Merged {
    pub rows: Vec<RecordBatch>,
    /// False if it is what was there before.
    pub changed: bool,
    pub unchanged_rows: usize,
    /// New rows, and new versions of changed ones.
    pub opened_rows: usize,
    /// Changed and vanished rows.
    pub closed_rows: usize,
}

impl Merge<'_> {
    /// `existing`: all versions, current and closed, of the affected days. `computed`: the rows of those days as of
    /// tonight, with `_known_from`. Columns are matched by name and cast to the schema.
    ///
    /// A row whose key is new takes its `_known_from`, the latest of what it is made of. But where the table could
    /// have had the row before and had not (a day that was built, parts known by the last night), it was not known
    /// then: it takes tonight. So does a row that was on another day until tonight, when it is closed there.
    ///
    /// # Errors
    /// Of kind `Data` if two computed rows share a key; `Internal` if the table holds versions later than tonight.
    pub fn merge(&self, existing: &[RecordBatch], computed: &[RecordBatch]) -> Result<Merged> {
        let existing = self.aligned(existing)?;
        let computed = self.aligned(computed)?;
        if existing.is_empty() && self.elsewhere.is_empty() {
            let opened_rows = computed.iter().map(RecordBatch::num_rows).sum();
            let changed = opened_rows > 0;
            return Ok(Merged { rows: computed, changed, unchanged_rows: 0, opened_rows, closed_rows: 0 });
        }
        if self.key.is_empty() {
            return self.replaced(&existing, computed);
        }
        let encoder = Encoder::new(&self.schema, self.key)?;
        let old: Vec<Old> = existing.iter().map(|batch| self.old(batch, &encoder)).collect::<Result<_>>()?;
        let mut matching = Matching::new(&old);
        let rule = NewKeys::new(self, &existing, &old);
        let mut opened = Vec::new();
        let mut seen: HashSet<OwnedRow> = HashSet::new();
        for batch in &computed {
            let (keys, values) = encoder.encode(batch)?;
            let mut from = known_from(batch)?.values().to_vec();
            let mut keep = vec![true; batch.num_rows()];
            let moved = self.moved(batch)?;
            for row in 0..batch.num_rows() {
                if !seen.insert(keys.row(row).owned()) {
                    return Err(self.twice(batch, row));
                }
                keep[row] = match matching.see(keys.row(row), values.row(row)) {
                    Seen::Unchanged => false,
                    Seen::Changed => {
                        from[row] = self.night;
                        true
                    }
                    Seen::New => {
                        let is_moved = moved.get(row).is_some_and(|moved| *moved);
                        from[row] = if is_moved { self.night } else { rule.known_from(batch, row, from[row]) };
                        true
                    }
                };
                if keep[row] {
                    matching.restore(keys.row(row), values.row(row), from[row] == self.night);
                }
            }
            opened.push(self.with_instants(batch, &keep, from, vec![None; batch.num_rows()])?);
        }
        self.finish(&existing, matching, opened)
    }

    /// Whether each row's key was current on another day; empty if none was.
    fn moved(&self, batch: &RecordBatch) -> Result<Vec<bool>> {
        if self.elsewhere.is_empty() {
            return Ok(Vec::new());
        }
        let key: Vec<ArrayRef> = self.key.iter().filter_map(|name| batch.column_by_name(name)).cloned().collect();
        Ok(hashes(&key)?.iter().map(|hash| self.elsewhere.contains(hash)).collect())
    }

    fn finish(&self, existing: &[RecordBatch], matching: Matching, opened: Vec<RecordBatch>) -> Result<Merged> {
        let opened_rows: usize = opened.iter().map(RecordBatch::num_rows).sum();
        let mut rows = Vec::new();
        let (mut closed_rows, mut closed_again, mut reopened, mut unchanged_rows) = (0, 0, 0, 0);
        for (index, batch) in existing.iter().enumerate() {
            let old = &matching.old[index];
            let mut until = old.until.clone();
            for (row, until) in until.iter_mut().enumerate() {
                reopened += usize::from(old.reopened[row]);
                if !old.is_current(row) {
                    continue;
                }
                if matching.unchanged[index][row] {
                    unchanged_rows += 1;
                } else {
                    *until = Some(self.night);
                    closed_rows += 1;
                    closed_again += usize::from(old.reopened[row]);
                }
            }
            rows.push(self.with_instants(batch, &old.keep, old.from.clone(), until)?);
        }
        let dropped = matching.dropped.len();
        let same = opened_rows == matching.restored
            && dropped == opened_rows
            && closed_rows == closed_again
            && reopened == closed_again;
        rows.extend(opened);
        rows.retain(|batch| batch.num_rows() > 0);
        Ok(Merged { rows, changed: !same, unchanged_rows, opened_rows, closed_rows })
    }

    /// Without a key: the computed rows, whatever was there.
    fn replaced(&self, existing: &[RecordBatch], computed: Vec<RecordBatch>) -> Result<Merged> {
        let fields = self.schema.fields().iter().map(|f| SortField::new(f.data_type().clone())).collect();
        let converter = RowConverter::new(fields)?;
        let sorted = |batches: &[RecordBatch]| -> Result<Vec<OwnedRow>> {
            let mut all = Vec::new();
            for batch in batches {
                all.extend(converter.convert_columns(batch.columns())?.iter().map(|row| row.owned()));
            }
            all.sort();
            Ok(all)
        };
        let changed = sorted(existing)? != sorted(&computed)?;
        let opened_rows = computed.iter().map(RecordBatch::num_rows).sum();
        let closed_rows = existing.iter().map(RecordBatch::num_rows).sum();
        Ok(Merged { rows: computed, changed, unchanged_rows: 0, opened_rows, closed_rows })
    }

    /// Batches in the schema on disk; empty ones left out. Rows without `_known_until` are current.
    fn aligned(&self, batches: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
        let align = |batch: &RecordBatch| -> Result<RecordBatch> {
            let column = |name: &str, data_type| match batch.column_by_name(name) {
                Some(column) => Ok(cast(column, data_type)?),
                None if name == KNOWN_UNTIL => Ok(new_null_array(data_type, batch.num_rows())),
                None => Err(Error::internal(format!("rows of the table lack the column {name}"))),
            };
            let columns: Result<Vec<ArrayRef>> =
                self.schema.fields().iter().map(|field| column(field.name(), field.data_type())).collect();
            RecordBatch::try_new(self.schema.clone(), columns?)
                .map_err(|e| Error::data(format!("rows break the table's schema: {e}")))
        };
        batches.iter().filter(|batch| batch.num_rows() > 0).map(align).collect()
    }

    /// Existing versions as they were before tonight.
    fn old(&self, batch: &RecordBatch, encoder: &Encoder) -> Result<Old> {
        let (keys, values) = encoder.encode(batch)?;
        let from = known_from(batch)?.values().to_vec();
        let until: Vec<Option<i64>> = instants(batch, KNOWN_UNTIL)?.iter().collect();
        let latest = from.iter().copied().chain(until.iter().flatten().copied()).max();
        if latest.is_some_and(|latest| latest > self.night) {
            return Err(Error::internal("the table holds versions of a later night: nights run in order"));
        }
        let reopened: Vec<bool> = until.iter().map(|until| *until == Some(self.night)).collect();
        let until = until.into_iter().map(|until| until.filter(|until| *until != self.night)).collect();
        let keep = from.iter().map(|from| *from != self.night).collect();
        Ok(Old { keys, values, from, until, reopened, keep })
    }

    fn with_instants(
        &self,
        batch: &RecordBatch,
        keep: &[bool],
        from: Vec<i64>,
        until: Vec<Option<i64>>,
    ) -> Result<RecordBatch> {
        let mut columns = batch.columns().to_vec();
        let from = TimestampMicrosecondArray::from(from).with_timezone("UTC");
        columns[self.schema.index_of(KNOWN_FROM)?] = Arc::new(from);
        let until = TimestampMicrosecondArray::from(until).with_timezone("UTC");
        columns[self.schema.index_of(KNOWN_UNTIL)?] = Arc::new(until);
        let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
        Ok(filter_record_batch(&batch, &BooleanArray::from(keep.to_vec()))?)
    }

    fn twice(&self, batch: &RecordBatch, row: usize) -> Error {
        let value = |name: &String| {
            let column = batch.column_by_name(name)?;
            let text = ArrayFormatter::try_new(column, &FormatOptions::default().with_null("null")).ok()?;
            Some(format!("{name} = {}", text.value(row)))
        };
        let values: Vec<String> = self.key.iter().filter_map(value).collect();
        let key = self.key.join(", ");
        Error::data(format!(
            "two rows have the same key ({})\n  expected: one row per {key}, as `key` says\n  help: aggregate \
             or filter in the query, or declare the key that it has",
            values.join(", ")
        ))
    }
}

/// What becomes of a computed row.
enum Seen {
    Unchanged,
    Changed,
    New,
}

/// Versions of one existing batch, before tonight.
struct Old {
    keys: Rows,
    values: Rows,
    from: Vec<i64>,
    until: Vec<Option<i64>>,
    /// Closed by an earlier run of tonight, and open again until this one closes it.
    reopened: Vec<bool>,
    /// False for versions that an earlier run of tonight opened.
    keep: Vec<bool>,
}

impl Old {
    fn is_current(&self, row: usize) -> bool {
        self.keep[row] && self.until[row].is_none()
    }
}

/// Which existing rows the computed ones meet.
struct Matching<'a> {
    old: &'a [Old],
    current: HashMap<Row<'a>, (usize, usize)>,
    unchanged: Vec<Vec<bool>>,
    /// What an earlier run of tonight opened, by key.
    dropped: HashMap<Row<'a>, Row<'a>>,
    /// How much of that comes out the same again.
    restored: usize,
}

impl<'a> Matching<'a> {
    fn new(old: &'a [Old]) -> Self {
        let mut matching = Matching {
            old,
            current: HashMap::new(),
            unchanged: old.iter().map(|batch| vec![false; batch.from.len()]).collect(),
            dropped: HashMap::new(),
            restored: 0,
        };
        for (index, batch) in old.iter().enumerate() {
            for row in 0..batch.from.len() {
                if batch.is_current(row) {
                    matching.current.insert(batch.keys.row(row), (index, row));
                } else if !batch.keep[row] {
                    matching.dropped.insert(batch.keys.row(row), batch.values.row(row));
                }
            }
        }
        matching
    }

    fn see(&mut self, key: Row<'_>, values: Row<'_>) -> Seen {
        match self.current.get(&key) {
            None => Seen::New,
            Some((batch, row)) if self.old[*batch].values.row(*row) == values => {
                self.unchanged[*batch][*row] = true;
                Seen::Unchanged
            }
            Some(_) => Seen::Changed,
        }
    }

    fn restore(&mut self, key: Row<'_>, values: Row<'_>, tonight: bool) {
        let same = self.dropped.get(&key).is_some_and(|dropped| *dropped == values);
        self.restored += usize::from(tonight && same);
    }
}

/// From when a row with a new key was known.
struct NewKeys {
    night: i64,
    last: i64,
    /// Days that were built; `None` if the table is built as a whole.
    built: Option<HashSet<i32>>,
}

impl NewKeys {
    fn new(merge: &Merge, existing: &[RecordBatch], old: &[Old]) -> Self {
        let before_tonight = |batch: &Old| {
            let from = batch.from.iter().zip(&batch.keep).filter(|(_, keep)| **keep).map(|(from, _)| *from).max();
            from.max(batch.until.iter().flatten().copied().max())
        };
        let last = merge.last.or_else(|| old.iter().filter_map(before_tonight).max()).unwrap_or(i64::MIN);
        let built = merge.by_day.then(|| {
            let mut days = HashSet::new();
            for (batch, old) in existing.iter().zip(old) {
                let Some(column) = batch.column_by_name(EVENT_DATE) else { continue };
                let dates = column.as_primitive::<Date32Type>();
                days.extend(
                    (0..dates.len()).filter(|row| old.keep[*row] && dates.is_valid(*row)).map(|row| dates.value(row)),
                );
            }
            days
        });
        NewKeys { night: merge.night, last, built }
    }

    fn known_from(&self, batch: &RecordBatch, row: usize, parts: i64) -> i64 {
        let day = batch.column_by_name(EVENT_DATE).map(|column| column.as_primitive::<Date32Type>().value(row));
        let was_built = match (&self.built, day) {
            (Some(built), Some(day)) => built.contains(&day),
            _ => true,
        };
        if was_built && parts <= self.last { self.night } else { parts }
    }
}

/// Rows as comparable bytes: equal if every column is equal, nulls and NaNs included.
struct Encoder {
    key: (RowConverter, Vec<usize>),
    values: (RowConverter, Vec<usize>),
}

impl Encoder {
    fn new(schema: &SchemaRef, key: &[String]) -> Result<Self> {
        let part = |wanted: &dyn Fn(&str) -> bool| -> Result<(RowConverter, Vec<usize>)> {
            let columns: Vec<usize> = (0..schema.fields().len()).filter(|i| wanted(schema.field(*i).name())).collect();
            let fields = columns.iter().map(|i| SortField::new(schema.field(*i).data_type().clone())).collect();
            Ok((RowConverter::new(fields)?, columns))
        };
        let is_key = |name: &str| key.iter().any(|k| k == name);
        if let Some(missing) = key.iter().find(|name| schema.index_of(name).is_err()) {
            return Err(Error::internal(format!("the key column {missing} is not in the rows")));
        }
        Ok(Encoder { key: part(&is_key)?, values: part(&|name| !is_key(name) && !name.starts_with('_'))? })
    }

    fn encode(&self, batch: &RecordBatch) -> Result<(Rows, Rows)> {
        let part = |(converter, columns): &(RowConverter, Vec<usize>)| -> Result<Rows> {
            let arrays: Vec<ArrayRef> = columns.iter().map(|i| batch.column(*i).clone()).collect();
            match arrays.is_empty() {
                // Nothing but a key: all rows are equal, which an empty row per row says.
                true => Ok(RowConverter::new(vec![SortField::new(arrow::datatypes::DataType::Null)])?
                    .convert_columns(&[new_null_array(&arrow::datatypes::DataType::Null, batch.num_rows())])?),
                false => Ok(converter.convert_columns(&arrays)?),
            }
        };
        Ok((part(&self.key)?, part(&self.values)?))
    }
}

fn known_from(batch: &RecordBatch) -> Result<&TimestampMicrosecondArray> {
    let column = instants(batch, KNOWN_FROM)?;
    match column.null_count() {
        0 => Ok(column),
        _ => Err(Error::internal(format!("a row without {KNOWN_FROM}"))),
    }
}

fn instants<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a TimestampMicrosecondArray> {
    let column = batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
    column.ok_or_else(|| Error::internal(format!("rows lack the instant {name}")))
}
