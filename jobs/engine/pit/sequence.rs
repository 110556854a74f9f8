//! The kernel of sequences: the last K visible rows of an entity as aligned lists, oldest first.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Builder, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};

use super::chunk::Chunk;
use super::input::Layout;
use super::kernel::{self, Fault};
use super::lane::in_unit;
use super::lists::{ListField, Lists};
use super::output::Picked;
use super::visible::Visible;

/// The compiled sequence, shared by the partitions.
#[derive(Debug)]
pub struct Factory {
    length: usize,
    window: Option<i64>,
    fields: Vec<ListField>,
    layout: Layout,
    schema: SchemaRef,
}

impl Factory {
    pub fn new(lists: &Lists) -> Arc<Factory> {
        Arc::new(Factory {
            length: lists.length,
            window: lists.window,
            fields: lists.fields.clone(),
            layout: lists.inputs.layout(),
            schema: lists.schema.clone(),
        })
    }
}

impl kernel::Factory for Factory {
    fn kernel(&self) -> Box<dyn kernel::Kernel> {
        Box::new(Kernel {
            length: self.length,
            window: self.window,
            items: self.fields.iter().map(Items::new).collect(),
            fields: self.fields.clone(),
            layout: self.layout.clone(),
            schema: self.schema.clone(),
            visible: Visible::default(),
            offsets: vec![0],
            rows: Vec::new(),
        })
    }
}

/// The items of a list column, all lists one after the other.
enum Items {
    Picked(Picked),
    Floats(Float64Builder),
}

impl Items {
    fn new(field: &ListField) -> Items {
        match field {
            ListField::Value { data_type, .. } => Items::Picked(Picked::new(data_type.clone())),
            ListField::SincePrevious(_) | ListField::TimeSince(_) => Items::Floats(Float64Builder::new()),
        }
    }

    fn finish(&mut self) -> Result<ArrayRef> {
        Ok(match self {
            Items::Picked(picked) => picked.finish()?,
            Items::Floats(builder) => Arc::new(builder.finish()),
        })
    }
}

struct Kernel {
    length: usize,
    window: Option<i64>,
    fields: Vec<ListField>,
    items: Vec<Items>,
    layout: Layout,
    schema: SchemaRef,
    visible: Visible,
    /// Ends of the lists.
    offsets: Vec<i32>,
    rows: Vec<u32>,
}

impl kernel::Kernel for Kernel {
    fn load(&mut self, chunk: &Chunk) -> Result<()> {
        self.visible.load(chunk, &self.layout)?;
        for (field, items) in self.fields.iter().zip(&mut self.items) {
            if let (ListField::Value { index, .. }, Items::Picked(picked)) = (field, items) {
                picked.load(chunk.batch.column(self.layout.values + index))?;
            }
        }
        Ok(())
    }

    fn row(&mut self, entity: Range<usize>, as_of: i64) -> Result<(), Fault> {
        let before = if entity.is_empty() { 0..0 } else { self.visible.before(entity, as_of).0 };
        let from = self.window.map_or(i64::MIN, |window| as_of.saturating_sub(window));
        let visible = &self.visible;
        self.rows.clear();
        let newest_first = before.rev().take_while(|&row| visible.time(row) >= from);
        let known = newest_first.filter(|&row| visible.known(row, as_of));
        self.rows.extend(known.take(self.length).map(|row| row as u32));
        self.rows.reverse();
        for (field, items) in self.fields.iter().zip(&mut self.items) {
            match (field, items) {
                (ListField::SincePrevious(unit), Items::Floats(builder)) => {
                    let time = |at: usize| visible.time(self.rows[at] as usize);
                    for at in 0..self.rows.len() {
                        builder.append_option((at > 0).then(|| in_unit(time(at), time(at - 1), *unit)));
                    }
                }
                (ListField::TimeSince(unit), Items::Floats(builder)) => {
                    for &row in &self.rows {
                        builder.append_value(in_unit(as_of, visible.time(row as usize), *unit));
                    }
                }
                (_, Items::Picked(picked)) => picked.extend(&self.rows),
                (ListField::Value { .. }, Items::Floats(_)) => {}
            }
        }
        let end = self.offsets.last().copied().unwrap_or(0);
        let end = i32::try_from(self.rows.len()).ok().and_then(|rows| end.checked_add(rows));
        self.offsets.push(end.ok_or_else(|| Fault("the batch's lists hold more than 2^31 items".into()))?);
        Ok(())
    }

    fn finish(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let offsets = OffsetBuffer::new(std::mem::replace(&mut self.offsets, vec![0]).into());
        let mut columns = batch.columns().to_vec();
        for items in &mut self.items {
            let field = self.schema.field(columns.len());
            let DataType::List(item) = field.data_type() else {
                return Err(Error::internal(format!("sequence column {} is no list", field.name())));
            };
            let item: Arc<Field> = item.clone();
            columns.push(Arc::new(ListArray::try_new(item, offsets.clone(), items.finish()?, None)?));
        }
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}
