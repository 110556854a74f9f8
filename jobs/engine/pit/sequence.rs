//! The kernel of sequences: the last K visible rows of an entity as aligned lists, oldest first.
//!
//! Values are held as the bytes of Arrow's row format, whatever their types, and become columns again at the end.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, BinaryBuilder, Float64Builder, ListArray};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};

use crate::define::features::TimeUnit;
use crate::error::{Error, Result};

use super::chunk::Chunk;
use super::group;
use super::input::Layout;
use super::kernel::{self, Fault};
use super::lists::{ListField, Lists};
use super::rings::Rings;
use super::state::{Change, OUT, Reader, Writer, in_unit};
use super::visible::Visible;

/// The compiled sequence, shared by the partitions.
#[derive(Debug, Clone)]
pub struct Factory {
    length: usize,
    fields: Vec<ListField>,
    layout: Layout,
    schema: SchemaRef,
    rings: Rings,
    state: Vec<String>,
}

impl Factory {
    pub fn new(lists: &Lists) -> Result<Arc<Factory>> {
        Converter::new(&lists.fields)?;
        Ok(Arc::new(Factory {
            length: lists.length,
            fields: lists.fields.clone(),
            layout: lists.inputs.layout(),
            schema: lists.schema.clone(),
            rings: Rings::new([lists.window]),
            state: vec![lists.state.clone()],
        }))
    }
}

impl kernel::Factory for Factory {
    fn kernel(&self) -> Result<Box<dyn kernel::Kernel>> {
        Ok(Box::new(Kernel {
            length: self.length,
            fields: self.fields.clone(),
            layout: self.layout.clone(),
            schema: self.schema.clone(),
            converter: Converter::new(&self.fields)?,
            times: ScalarBuffer::from(Vec::new()),
            order: Vec::new(),
            values: Vec::new(),
            held: VecDeque::new(),
            dropped: false,
            lists: Listed::new(&self.fields),
            saved: BinaryBuilder::new(),
        }))
    }

    fn rings(&self) -> &Rings {
        &self.rings
    }

    fn state(&self) -> &[String] {
        &self.state
    }

    /// There is one state, so some of it is all of it.
    fn only(&self, _: &[String]) -> Arc<dyn kernel::Factory> {
        Arc::new(self.clone())
    }
}

/// Values of all fields of a row ↔ bytes.
struct Converter {
    rows: RowConverter,
    /// The value columns that the fields take.
    columns: Vec<usize>,
}

impl Converter {
    fn new(fields: &[ListField]) -> Result<Converter> {
        let values = fields.iter().filter_map(|field| match field {
            ListField::Value { index, data_type } => Some((*index, SortField::new(data_type.clone()))),
            _ => None,
        });
        let (columns, types): (Vec<usize>, Vec<SortField>) = values.unzip();
        Ok(Converter { rows: RowConverter::new(types)?, columns })
    }
}

/// A row: event time, place among rows of that time, values.
type Event = (i64, Box<[u8]>, Box<[u8]>);

struct Kernel {
    length: usize,
    fields: Vec<ListField>,
    layout: Layout,
    schema: SchemaRef,
    converter: Converter,
    times: ScalarBuffer<i64>,
    order: Vec<Box<[u8]>>,
    values: Vec<Box<[u8]>>,
    /// The last rows, oldest first.
    held: VecDeque<Event>,
    /// Whether there were older ones.
    dropped: bool,
    lists: Listed,
    saved: BinaryBuilder,
}

/// Lists under construction, all items one after the other.
struct Listed {
    offsets: Vec<i32>,
    values: Vec<Box<[u8]>>,
    /// One per field; empty for those with values.
    floats: Vec<Float64Builder>,
}

impl Listed {
    fn new(fields: &[ListField]) -> Listed {
        let floats = fields.iter().map(|_| Float64Builder::new()).collect();
        Listed { offsets: vec![0], values: Vec::new(), floats }
    }
}

impl Kernel {
    fn event(&self, row: u32) -> Event {
        let row = row as usize;
        let at = |bytes: &[Box<[u8]>]| bytes.get(row).cloned().unwrap_or_default();
        (self.times[row], at(&self.order), at(&self.values))
    }

    fn enter(&mut self, event: Event) {
        if self.held.back().is_none_or(|last| *last <= event) {
            self.held.push_back(event);
        } else {
            let at = self.held.partition_point(|other| *other < event);
            self.held.insert(at, event);
        }
        if self.held.len() > self.length {
            self.held.pop_front();
            self.dropped = true;
        }
    }
}

impl kernel::Kernel for Kernel {
    fn load(&mut self, chunk: &Chunk) -> Result<()> {
        self.times = Visible::of(&chunk.batch, &self.layout)?.times;
        let boxed = |rows: arrow::row::Rows| rows.iter().map(|row| Box::from(row.as_ref())).collect();
        self.order = boxed(group::order(chunk, &self.layout)?);
        let columns = self.converter.columns.iter();
        let columns: Vec<ArrayRef> =
            columns.map(|index| chunk.batch.column(self.layout.values + index).clone()).collect();
        self.values =
            if columns.is_empty() { Vec::new() } else { boxed(self.converter.rows.convert_columns(&columns)?) };
        Ok(())
    }

    fn clear(&mut self) {
        self.held.clear();
        self.dropped = false;
    }

    fn apply(&mut self, changes: &[Change]) -> Result<bool, Fault> {
        let mut lost = false;
        for change in changes {
            let event = self.event(change.row);
            if change.from == OUT {
                self.enter(event);
            } else if let Ok(at) = self.held.binary_search(&event) {
                self.held.remove(at);
                // What expires is the oldest; anything else leaves room for a row that was dropped.
                lost |= self.dropped && change.to != OUT;
            }
        }
        Ok(lost)
    }

    fn rebuild(&mut self, rows: &[Change]) -> Result<(), Fault> {
        self.clear();
        self.apply(rows).map(|_| ())
    }

    fn read(&mut self, as_of: i64) -> Result<(), Fault> {
        for (field, floats) in self.fields.iter().zip(&mut self.lists.floats) {
            let unit = |unit: &TimeUnit| unit.micros();
            match field {
                ListField::SincePrevious(u) => {
                    let mut before: Option<i64> = None;
                    for (time, ..) in &self.held {
                        floats.append_option(before.map(|before| in_unit(*time, before, unit(u))));
                        before = Some(*time);
                    }
                }
                ListField::TimeSince(u) => {
                    self.held.iter().for_each(|(time, ..)| floats.append_value(in_unit(as_of, *time, unit(u))));
                }
                ListField::Value { .. } => {}
            }
        }
        self.lists.values.extend(self.held.iter().map(|(_, _, values)| values.clone()));
        let end = self.lists.offsets.last().copied().unwrap_or(0);
        let end = i32::try_from(self.held.len()).ok().and_then(|rows| end.checked_add(rows));
        self.lists.offsets.push(end.ok_or_else(|| Fault("the lists of a batch hold more than 2^31 events".into()))?);
        Ok(())
    }

    fn finish(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let lists = std::mem::replace(&mut self.lists, Listed::new(&self.fields));
        let offsets = OffsetBuffer::new(lists.offsets.into());
        let parser = self.converter.rows.parser();
        let rows = lists.values.iter().map(|bytes| parser.parse(bytes));
        let mut values = match self.converter.columns.is_empty() {
            true => Vec::new(),
            false => self.converter.rows.convert_rows(rows)?,
        }
        .into_iter();
        let mut columns = batch.columns().to_vec();
        for ((field, mut floats), declared) in
            self.fields.iter().zip(lists.floats).zip(&self.schema.fields()[batch.num_columns()..])
        {
            let items = match field {
                ListField::Value { .. } => values.next().ok_or_else(|| Error::internal("a list without items"))?,
                _ => Arc::new(floats.finish()),
            };
            let DataType::List(item) = declared.data_type() else {
                return Err(Error::internal(format!("{} is no list", declared.name())));
            };
            let item: Arc<Field> = item.clone();
            columns.push(Arc::new(ListArray::try_new(item, offsets.clone(), items, None)?));
        }
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }

    fn save(&mut self) {
        let mut writer = Writer::default();
        if !self.held.is_empty() || self.dropped {
            writer.unsigned(u128::from(self.dropped));
        }
        for (time, order, values) in &self.held {
            writer.signed((*time).into());
            writer.blob(order);
            writer.blob(values);
        }
        self.saved.append_option(Some(&writer.bytes).filter(|bytes| !bytes.is_empty()));
    }

    fn keep(&mut self, columns: &[&BinaryArray], row: usize) {
        let saved = columns.first().filter(|column| column.is_valid(row)).map(|column| column.value(row));
        self.saved.append_option(saved);
    }

    fn finish_state(&mut self) -> Vec<ArrayRef> {
        vec![Arc::new(self.saved.finish())]
    }

    fn restore(&mut self, columns: &[&BinaryArray], row: usize) -> Result<()> {
        self.clear();
        let Some(column) = columns.first().filter(|column| column.is_valid(row)) else { return Ok(()) };
        let mut reader = Reader::new(column.value(row));
        self.dropped = reader.unsigned()? != 0;
        while !reader.is_empty() {
            self.held.push_back((reader.long()?, reader.blob()?.into(), reader.blob()?.into()));
        }
        Ok(())
    }
}
