//! The kernel of feature groups: lanes over one entity, then derived columns over the batch.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use datafusion::physical_expr::PhysicalExpr;

use crate::engine::session;
use crate::error::{Context, Result};

use super::chunk::Chunk;
use super::compile;
use super::input::Layout;
use super::kernel::{self, Fault};
use super::lane::Lane;
use super::output::Column;
use super::rings::Rings;
use super::state::{Change, Writer};
use super::visible::Visible;

/// The compiled group, shared by the partitions.
#[derive(Debug)]
pub struct Factory {
    lanes: Vec<compile::Lane>,
    features: Vec<compile::Output>,
    derived: Vec<(Arc<dyn PhysicalExpr>, Arc<Field>)>,
    layout: Layout,
    rings: Rings,
    state: Vec<String>,
}

impl Factory {
    pub fn new(group: &compile::Group) -> Arc<Factory> {
        Arc::new(Factory {
            lanes: group.lanes.clone(),
            features: group.features.clone(),
            derived: group.derived.iter().map(|d| (d.expr.clone(), d.field.clone())).collect(),
            layout: group.inputs.layout(),
            rings: group.rings(),
            state: group.lanes.iter().flat_map(|lane| lane.state.iter().cloned()).collect(),
        })
    }
}

impl kernel::Factory for Factory {
    fn kernel(&self) -> Result<Box<dyn kernel::Kernel>> {
        let ordered = self.lanes.iter().flat_map(|lane| &lane.accumulators).any(compile::Spec::is_ordered);
        Ok(Box::new(Kernel {
            lanes: self.lanes.iter().map(|lane| Lane::new(lane, &self.rings)).collect(),
            columns: self.features.iter().map(|feature| Column::new(&feature.data_type)).collect(),
            features: self.features.clone(),
            derived: self.derived.clone(),
            layout: self.layout.clone(),
            ordered,
            writer: Writer::default(),
        }))
    }

    fn rings(&self) -> &Rings {
        &self.rings
    }

    fn state(&self) -> &[String] {
        &self.state
    }

    fn only(&self, states: &[String]) -> Arc<dyn kernel::Factory> {
        let lanes: Vec<compile::Lane> = self.lanes.iter().map(|lane| lane.only(states)).collect();
        let state = lanes.iter().flat_map(|lane| lane.state.iter().cloned()).collect();
        let (layout, rings) = (self.layout.clone(), self.rings.clone());
        Arc::new(Factory { lanes, features: Vec::new(), derived: Vec::new(), layout, rings, state })
    }
}

struct Kernel {
    lanes: Vec<Lane>,
    columns: Vec<Column>,
    features: Vec<compile::Output>,
    derived: Vec<(Arc<dyn PhysicalExpr>, Arc<Field>)>,
    layout: Layout,
    /// Whether the place of rows in the total order is asked for.
    ordered: bool,
    writer: Writer,
}

impl kernel::Kernel for Kernel {
    fn load(&mut self, chunk: &Chunk) -> Result<()> {
        let times = Visible::of(&chunk.batch, &self.layout)?.times;
        let order = if self.ordered { Some(order(chunk, &self.layout)?) } else { None };
        self.lanes.iter_mut().try_for_each(|lane| lane.load(chunk, &self.layout, &times, order.as_ref()))
    }

    fn clear(&mut self) {
        self.lanes.iter_mut().for_each(Lane::clear);
    }

    fn apply(&mut self, changes: &[Change]) -> Result<bool, Fault> {
        let mut lost = false;
        for lane in &mut self.lanes {
            lost |= lane.apply(changes)?;
        }
        Ok(lost)
    }

    fn rebuild(&mut self, rows: &[Change]) -> Result<(), Fault> {
        self.lanes.iter_mut().try_for_each(|lane| lane.rebuild(rows))
    }

    fn read(&mut self, as_of: i64) -> Result<(), Fault> {
        self.lanes.iter_mut().try_for_each(|lane| lane.read(as_of, &mut self.columns))
    }

    fn finish(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut fields: Vec<Arc<Field>> = batch.schema().fields().iter().cloned().collect();
        let mut columns = batch.columns().to_vec();
        for (feature, column) in self.features.iter().zip(&mut self.columns) {
            let array = column.finish()?;
            fields.push(Arc::new(Field::new(&feature.name, array.data_type().clone(), true)));
            columns.push(array);
        }
        for (expr, field) in &self.derived {
            let schema = Arc::new(Schema::new(fields.clone()));
            let sofar = RecordBatch::try_new(schema, columns.clone())?;
            let value = expr.evaluate(&sofar).and_then(|value| value.into_array(sofar.num_rows()));
            columns.push(value.map_err(session::error).with_context(|| format!("derived {}", field.name()))?);
            fields.push(field.clone());
        }
        let hidden = |field: &Field| self.features.iter().any(|f| f.hidden && f.name == *field.name());
        let shown: Vec<usize> = (0..fields.len()).filter(|&index| !hidden(&fields[index])).collect();
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?.project(&shown)?)
    }

    fn save(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.save(&mut self.writer));
    }

    fn keep(&mut self, columns: &[&BinaryArray], row: usize) {
        let mut rest = columns;
        for lane in &mut self.lanes {
            let taken = lane.keep(rest, row);
            rest = &rest[taken..];
        }
    }

    fn finish_state(&mut self) -> Vec<ArrayRef> {
        self.lanes.iter_mut().flat_map(Lane::finish_state).collect()
    }

    fn restore(&mut self, columns: &[&BinaryArray], row: usize) -> Result<()> {
        let mut rest = columns;
        for lane in &mut self.lanes {
            let taken = lane.restore(rest, row)?;
            rest = &rest[taken..];
        }
        Ok(())
    }
}

/// The places of a chunk's rows in the order of rows with equal event time.
pub fn order(chunk: &Chunk, layout: &Layout) -> Result<arrow::row::Rows> {
    let columns: Vec<ArrayRef> =
        layout.order[layout.keys + 1..].iter().map(|&index| chunk.batch.column(index).clone()).collect();
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    match columns.is_empty() {
        true => Ok(converter.empty_rows(0, 0)),
        false => Ok(converter.convert_columns(&columns)?),
    }
}
