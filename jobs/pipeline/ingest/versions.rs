//! New rows against what a table has: which are versions, which old ones they close, which say nothing new.
//!
//! Nights are taken in the order in which they were known. Of several rows of a key in one night the source's rule says
//! which one counts; they come in the order of delivery (files by day and path, rows by position). A row equal to the current version is a duplicate; a different one closes it and opens the next.
//!
//! A day is merged by itself. A key that is new to its day may have come from another one: its hash is told, so that
//! the load can look for it there (`load/moved.rs`).

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::make_comparator;
use arrow::array::{Array, ArrayRef, AsArray, DynComparator, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::{SortOptions, concat_batches, take};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use arrow::util::display::array_value_to_string;

use crate::define::source::Duplicates;
use crate::engine::plan::versions::hashes;
use crate::engine::plan::{EVENT_DATE, KNOWN_FROM, KNOWN_UNTIL};
use crate::error::{Error, Result};

/// How rows of a table are told apart and ordered.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// On disk.
    pub schema: SchemaRef,
    /// Columns that identify a row; empty: every row is a row of its own.
    pub key: Vec<usize>,
    /// Columns by which rows are stored in order.
    pub order: Vec<usize>,
    /// A load is complete: keys that it lacks are closed.
    pub complete: bool,
    /// Which of several rows of a key counts in a night.
    pub rule: Duplicates,
}

impl Layout {
    /// Whether rows lie by the day of their event.
    pub(super) fn has_days(&self) -> bool {
        self.schema.index_of(EVENT_DATE).is_ok()
    }

    /// The columns of the key.
    pub(super) fn key_of(&self, batch: &RecordBatch) -> Vec<ArrayRef> {
        self.key.iter().map(|i| Arc::clone(batch.column(*i))).collect()
    }
}

/// Rows of one file. `counted` is false for a file that was ingested before and is only read again.
#[derive(Debug, Clone)]
pub(super) struct Incoming {
    pub file: usize,
    pub counted: bool,
    pub batch: RecordBatch,
}

#[derive(Debug, Default)]
pub(super) struct Merged {
    /// All versions, in order; `None` if nothing changed.
    pub rows: Option<RecordBatch>,
    /// By file: rows that became versions, and rows that said nothing new.
    pub counts: Vec<Counts>,
    /// Of a table with days: hashes of keys that have a current version now and had none before.
    pub arrived: Vec<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub written: u64,
    pub duplicate: u64,
}

/// Why rows cannot be merged.
#[derive(Debug)]
pub(super) enum Stopped {
    /// Two rows of one night that differ, where the source allows none; the files, if they came just now.
    Conflict {
        key: String,
        files: [Option<usize>; 2],
    },
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Stopped {
    fn from(e: E) -> Stopped {
        Stopped::Failed(e.into())
    }
}

/// All versions of the rows of one day (or table), old and new. `incoming` comes in the order of the files' paths.
pub(super) fn merge(layout: &Layout, existing: &[RecordBatch], incoming: &[Incoming]) -> Result<Merged, Stopped> {
    let mut merge = Merge::new(layout, existing, incoming)?;
    if layout.key.is_empty() {
        merge.append();
    } else {
        merge.sweep()?;
    }
    let counts = merge.counts();
    let arrived = merge.arrived()?;
    let rows = if merge.changed { Some(merge.finish()?) } else { None };
    Ok(Merged { rows, counts, arrived })
}

/// These versions in the order of the table.
pub(super) fn in_order(layout: &Layout, versions: &[RecordBatch]) -> Result<RecordBatch> {
    Merge::new(layout, versions, &[])?.finish()
}

struct Merge<'a> {
    layout: &'a Layout,
    all: RecordBatch,
    /// How many rows, from the first, were there before.
    old: usize,
    from: Vec<i64>,
    until: Vec<Option<i64>>,
    keep: Vec<bool>,
    /// Of each new row: its file, and whether it is counted.
    file: Vec<(usize, bool)>,
    /// New rows that became versions.
    opened: Vec<bool>,
    /// New rows that are the current version of a key that had none.
    arrived: Vec<usize>,
    changed: bool,
}

impl<'a> Merge<'a> {
    fn new(layout: &'a Layout, existing: &[RecordBatch], incoming: &[Incoming]) -> Result<Merge<'a>> {
        let batches = existing.iter().chain(incoming.iter().map(|i| &i.batch)).map(|batch| {
            // Fields may differ in their metadata only.
            RecordBatch::try_new(Arc::clone(&layout.schema), batch.columns().to_vec())
        });
        let all = concat_batches(&layout.schema, &batches.collect::<Result<Vec<_>, _>>()?)?;
        let old = existing.iter().map(RecordBatch::num_rows).sum();
        let from = instants(&all, KNOWN_FROM)?.values().to_vec();
        let until: Vec<Option<i64>> = instants(&all, KNOWN_UNTIL)?.iter().collect();
        let keep = (0..all.num_rows()).map(|row| row < old).collect();
        let file = incoming.iter().flat_map(|i| std::iter::repeat_n((i.file, i.counted), i.batch.num_rows())).collect();
        let opened = vec![false; all.num_rows() - old];
        Ok(Merge { layout, all, old, from, until, keep, file, opened, arrived: Vec::new(), changed: false })
    }

    fn append(&mut self) {
        for row in self.old..self.all.num_rows() {
            self.open(row);
        }
    }

    fn sweep(&mut self) -> Result<(), Stopped> {
        let (group, groups) = self.groups()?;
        let mut current: Vec<Option<usize>> = vec![None; groups];
        for row in (0..self.old).filter(|row| self.until[*row].is_none()) {
            current[group[row]] = Some(row);
        }
        let had: Vec<bool> = current.iter().map(Option::is_some).collect();
        let comparators = if groups < self.all.num_rows() { self.contents()? } else { Vec::new() };
        let mut arriving: Vec<usize> = (self.old..self.all.num_rows()).collect();
        arriving.sort_by_key(|row| self.from[*row]);
        let mut last: Vec<Option<usize>> = vec![None; groups];
        let mut start = 0;
        while start < arriving.len() {
            let night = self.from[arriving[start]];
            let end = start + arriving[start..].partition_point(|row| self.from[*row] == night);
            for row in &arriving[start..end] {
                let counts = &mut last[group[*row]];
                match (self.layout.rule, *counts) {
                    (Duplicates::Last, _) | (_, None) => *counts = Some(*row),
                    (Duplicates::Fail, Some(other)) if differ(&comparators, other, *row) => {
                        return Err(self.conflict(other, *row)?);
                    }
                    (Duplicates::First | Duplicates::Fail, Some(_)) => {}
                }
            }
            for row in &arriving[start..end] {
                if last[group[*row]] == Some(*row) {
                    self.arrive(*row, &mut current[group[*row]], night, &comparators)?;
                }
            }
            if self.layout.complete {
                self.close_absent(&mut current, &last, night);
            }
            arriving[start..end].iter().for_each(|row| last[group[*row]] = None);
            start = end;
        }
        self.arrived = current.into_iter().zip(had).filter_map(|(now, had)| now.filter(|_| !had)).collect();
        Ok(())
    }

    fn arrive(
        &mut self,
        row: usize,
        current: &mut Option<usize>,
        night: i64,
        comparators: &[DynComparator],
    ) -> Result<(), Stopped> {
        if let Some(old) = *current {
            if !differ(comparators, old, row) {
                return Ok(());
            }
            // An earlier run of the same night brought the other one; a complete load is to replace it.
            match self.layout.rule {
                Duplicates::First if self.from[old] == night && !self.layout.complete => return Ok(()),
                Duplicates::Fail if self.from[old] == night && !self.layout.complete => {
                    return Err(self.conflict(old, row)?);
                }
                _ => self.close(old, night),
            }
        }
        self.open(row);
        *current = Some(row);
        Ok(())
    }

    fn conflict(&self, one: usize, other: usize) -> Result<Stopped> {
        let schema = &self.layout.schema;
        let value = |column: &usize| -> Result<String> {
            let value = array_value_to_string(self.all.column(*column), other)?;
            Ok(format!("{} = {value}", schema.field(*column).name()))
        };
        let key = self.layout.key.iter().map(value).collect::<Result<Vec<_>>>()?.join(", ");
        let file = |row: usize| row.checked_sub(self.old).map(|row| self.file[row].0);
        Ok(Stopped::Conflict { key, files: [file(one), file(other)] })
    }

    fn close_absent(&mut self, current: &mut [Option<usize>], last: &[Option<usize>], night: i64) {
        for (current, last) in current.iter_mut().zip(last) {
            if last.is_none()
                && let Some(row) = current.take()
            {
                self.close(row, night);
            }
        }
    }

    fn open(&mut self, row: usize) {
        self.keep[row] = true;
        self.changed = true;
        self.opened[row - self.old] = true;
    }

    /// What became of the new rows, by file.
    fn counts(&self) -> Vec<Counts> {
        let files = self.file.iter().map(|(file, _)| file + 1).max().unwrap_or_default();
        let mut counts = vec![Counts::default(); files];
        for ((file, _), opened) in self.file.iter().zip(&self.opened).filter(|((_, counted), _)| *counted) {
            let counts = &mut counts[*file];
            *(if *opened { &mut counts.written } else { &mut counts.duplicate }) += 1;
        }
        counts
    }

    fn arrived(&self) -> Result<Vec<u64>> {
        if self.arrived.is_empty() || !self.layout.has_days() {
            return Ok(Vec::new());
        }
        let hashes = hashes(&self.layout.key_of(&self.all))?;
        Ok(self.arrived.iter().map(|row| hashes[*row]).collect())
    }

    /// A version that nobody could ever have seen is dropped.
    fn close(&mut self, row: usize, night: i64) {
        self.until[row] = Some(night);
        self.keep[row] = self.from[row] < night;
        self.changed = true;
    }

    /// A number per distinct key, for each row.
    fn groups(&self) -> Result<(Vec<usize>, usize)> {
        let columns = self.layout.key_of(&self.all);
        let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
        let rows = RowConverter::new(fields)?.convert_columns(&columns)?;
        let mut numbers = HashMap::with_capacity(self.all.num_rows());
        let group = rows
            .iter()
            .map(|row| {
                let next = numbers.len();
                *numbers.entry(row).or_insert(next)
            })
            .collect();
        let groups = numbers.len();
        Ok((group, groups))
    }

    /// Comparisons of everything but our own columns.
    fn contents(&self) -> Result<Vec<DynComparator>> {
        let schema = Arc::clone(&self.layout.schema);
        let ours = [EVENT_DATE, KNOWN_FROM, KNOWN_UNTIL];
        let theirs = (0..schema.fields().len()).filter(|i| !ours.contains(&schema.field(*i).name().as_str()));
        theirs.map(|i| self.comparator(i)).collect()
    }

    fn comparator(&self, column: usize) -> Result<DynComparator> {
        let column = self.all.column(column);
        Ok(make_comparator(column, column, SortOptions::default())?)
    }

    /// The versions that stay, in the order of the table.
    fn finish(&mut self) -> Result<RecordBatch> {
        let order = self.layout.order.iter().map(|i| self.comparator(*i)).collect::<Result<Vec<_>>>()?;
        let mut rows: Vec<u32> = (0..self.all.num_rows() as u32).filter(|row| self.keep[*row as usize]).collect();
        rows.sort_by(|a, b| {
            let (a, b) = (*a as usize, *b as usize);
            let by_order = order.iter().map(|compare| compare(a, b)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal);
            by_order.then_with(|| self.from[a].cmp(&self.from[b]))
        });
        let rows = UInt32Array::from(rows);
        let until = Arc::new(TimestampMicrosecondArray::from(std::mem::take(&mut self.until)).with_timezone("UTC"));
        let schema = Arc::clone(&self.layout.schema);
        let columns = schema.fields().iter().enumerate().map(|(i, field)| {
            let column: &dyn Array = if field.name() == KNOWN_UNTIL { &*until } else { self.all.column(i) };
            take(column, &rows, None)
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        Ok(RecordBatch::try_new(schema, columns)?)
    }
}

fn differ(comparators: &[DynComparator], one: usize, other: usize) -> bool {
    comparators.iter().any(|compare| compare(one, other).is_ne())
}

fn instants<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a TimestampMicrosecondArray> {
    let column = batch.column_by_name(name).ok_or_else(|| Error::internal(format!("no column {name}")))?;
    Ok(column.as_primitive::<TimestampMicrosecondType>())
}
