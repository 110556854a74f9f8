//! The kernel of feature groups: lanes over one entity, then derived columns over the batch.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Decimal128Builder, Float64Builder, Int64Builder};
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::physical_expr::PhysicalExpr;

use crate::engine::session;
use crate::error::{Context, Result};

use super::chunk::Chunk;
use super::compile::{self, MeasureKind, Reading};
use super::input::Layout;
use super::kernel::{self, Fault};
use super::lane::Lane;
use super::output::{Column, Picked};
use super::visible::Visible;

/// The compiled group, shared by the partitions.
#[derive(Debug)]
pub struct Factory {
    lanes: Vec<compile::Lane>,
    features: Vec<compile::Output>,
    derived: Vec<(Arc<dyn PhysicalExpr>, Arc<arrow::datatypes::Field>)>,
    layout: Layout,
}

impl Factory {
    pub fn new(group: &compile::Group) -> Arc<Factory> {
        Arc::new(Factory {
            lanes: group.lanes.clone(),
            features: group.features.clone(),
            derived: group.derived.iter().map(|d| (d.expr.clone(), d.field.clone())).collect(),
            layout: group.inputs.layout(),
        })
    }

    fn column(&self, index: usize) -> Column {
        let data_type = &self.features[index].data_type;
        for lane in &self.lanes {
            for measure in lane.windows.iter().flat_map(|w| &w.measures).filter(|m| m.feature == index) {
                let picked = matches!(
                    measure.kind,
                    MeasureKind::First | MeasureKind::Last | MeasureKind::Accumulated(_, Reading::Extreme)
                );
                if let (true, Some(value)) = (picked, lane.value) {
                    return Column::Picked { value, rows: Picked::new(data_type.clone()) };
                }
            }
        }
        match data_type {
            DataType::Int64 => Column::Int(Int64Builder::new()),
            DataType::Decimal128(..) => Column::Decimal(Decimal128Builder::new().with_data_type(data_type.clone())),
            _ => Column::Float(Float64Builder::new()),
        }
    }
}

impl kernel::Factory for Factory {
    fn kernel(&self) -> Box<dyn kernel::Kernel> {
        Box::new(Kernel {
            lanes: self.lanes.iter().map(Lane::new).collect(),
            columns: (0..self.features.len()).map(|index| self.column(index)).collect(),
            fields: self.features.iter().map(|f| f.name.clone()).collect(),
            derived: self.derived.clone(),
            layout: self.layout.clone(),
            visible: Visible::default(),
            entity: 0..0,
        })
    }
}

struct Kernel {
    lanes: Vec<Lane>,
    columns: Vec<Column>,
    fields: Vec<String>,
    derived: Vec<(Arc<dyn PhysicalExpr>, Arc<arrow::datatypes::Field>)>,
    layout: Layout,
    visible: Visible,
    entity: Range<usize>,
}

impl kernel::Kernel for Kernel {
    fn load(&mut self, chunk: &Chunk) -> Result<()> {
        self.visible.load(chunk, &self.layout)?;
        for lane in &mut self.lanes {
            lane.load(chunk, &self.layout)?;
        }
        for column in &mut self.columns {
            if let Column::Picked { value, rows } = column {
                rows.load(chunk.batch.column(self.layout.values + *value))?;
            }
        }
        self.entity = 0..0;
        Ok(())
    }

    fn row(&mut self, entity: Range<usize>, as_of: i64) -> Result<(), Fault> {
        let (before, all_known) = match entity.is_empty() {
            true => (0..0, true),
            false => self.visible.before(entity.clone(), as_of),
        };
        if !entity.is_empty() && entity != self.entity {
            self.lanes.iter_mut().for_each(|lane| lane.enter(&entity));
            self.entity = entity;
        }
        for lane in &mut self.lanes {
            lane.sweep(&self.visible, &before, all_known, as_of, &mut self.columns)?;
        }
        Ok(())
    }

    fn finish(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
        let mut columns = batch.columns().to_vec();
        for (name, column) in self.fields.iter().zip(&mut self.columns) {
            let array = column.finish()?;
            fields.push(Arc::new(arrow::datatypes::Field::new(name, array.data_type().clone(), true)));
            columns.push(array);
        }
        for (expr, field) in &self.derived {
            let schema = Arc::new(Schema::new(fields.clone()));
            let sofar = RecordBatch::try_new(schema, columns.clone())?;
            let value = expr.evaluate(&sofar).and_then(|value| value.into_array(sofar.num_rows()));
            columns.push(value.map_err(session::error).with_context(|| format!("derived {}", field.name()))?);
            fields.push(field.clone());
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }
}
