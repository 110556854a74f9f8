//! A lane at work: the rows that pass its condition, followed by its accumulators.

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder};
use arrow::buffer::{BooleanBuffer, ScalarBuffer};
use arrow::datatypes::Float64Type;
use arrow::row::Rows;
use std::sync::Arc;

use crate::error::Result;

use super::chunk::Chunk;
use super::compile;
use super::input::Layout;
use super::kernel::{Fault, unexpected};
use super::output::Column;
use super::rings::Rings;
use super::state::{Accumulator, Change, Load, OUT, RETRACTED, Ring, Window, Writer};

pub struct Lane {
    plan: compile::Lane,
    accumulators: Vec<Followed>,
    /// The lane's ring for each of the kernel's.
    onto: Vec<Ring>,
    /// Rows of the chunk that pass; `None` if all do.
    passes: Option<BooleanBuffer>,
    changes: Vec<Change>,
    windows: Vec<Ring>,
}

struct Followed {
    state: Box<dyn Accumulator>,
    lost: bool,
    saved: BinaryBuilder,
}

impl Lane {
    pub fn new(plan: &compile::Lane, rings: &Rings) -> Lane {
        let own = plan.rings();
        let followed = |spec: &compile::Spec| Followed {
            state: spec.build(plan.data_type.as_ref(), own.count()),
            lost: false,
            saved: BinaryBuilder::new(),
        };
        Lane {
            accumulators: plan.accumulators.iter().map(followed).collect(),
            onto: rings.onto(&own),
            passes: None,
            changes: Vec::new(),
            windows: plan.windows.iter().map(|window| own.ring(window.length)).collect(),
            plan: plan.clone(),
        }
    }

    pub fn load(
        &mut self,
        chunk: &Chunk,
        layout: &Layout,
        times: &ScalarBuffer<i64>,
        order: Option<&Rows>,
    ) -> Result<()> {
        self.passes = self.mask(chunk, layout)?;
        let value = self.plan.value.map(|value| chunk.batch.column(layout.values + value));
        let load = Load { times, value, order, rows: self.passes.as_ref() };
        self.accumulators.iter_mut().try_for_each(|followed| followed.state.load(&load))
    }

    pub fn clear(&mut self) {
        for followed in &mut self.accumulators {
            followed.state.clear();
            followed.lost = false;
        }
    }

    /// Follows what concerns the lane; true if an accumulator lost track.
    pub fn apply(&mut self, changes: &[Change]) -> Result<bool, Fault> {
        self.select(changes);
        let mut lost = false;
        if !self.changes.is_empty() {
            for followed in &mut self.accumulators {
                followed.lost |= followed.state.apply(&self.changes)?;
                lost |= followed.lost;
            }
        }
        Ok(lost)
    }

    pub fn rebuild(&mut self, rows: &[Change]) -> Result<(), Fault> {
        self.select(rows);
        for followed in self.accumulators.iter_mut().filter(|followed| followed.lost) {
            followed.state.clear();
            followed.state.apply(&self.changes)?;
            followed.lost = false;
        }
        Ok(())
    }

    pub fn read(&mut self, as_of: i64, columns: &mut [Column]) -> Result<(), Fault> {
        for (plan, ring) in self.plan.windows.iter().zip(&self.windows) {
            let from = plan.length.map_or(i64::MIN, |length| as_of.saturating_sub(length));
            let window = Window { ring: *ring, from, as_of };
            for measure in &plan.measures {
                let state = &mut self.accumulators[measure.accumulator].state;
                let read = state.read(&measure.reading, &window, &mut columns[measure.feature]);
                read.map_err(|fault| Fault(format!("{}: {}", measure.name, fault.0)))?;
            }
        }
        Ok(())
    }

    pub fn save(&mut self, writer: &mut Writer) {
        for followed in &mut self.accumulators {
            writer.bytes.clear();
            followed.state.save(writer);
            followed.saved.append_option(Some(&writer.bytes).filter(|bytes| !bytes.is_empty()));
        }
    }

    /// As it was saved: one column per accumulator; returns how many.
    pub fn keep(&mut self, columns: &[&BinaryArray], row: usize) -> usize {
        for (followed, column) in self.accumulators.iter_mut().zip(columns) {
            followed.saved.append_option(column.is_valid(row).then(|| column.value(row)));
        }
        self.accumulators.len()
    }

    pub fn finish_state(&mut self) -> impl Iterator<Item = ArrayRef> {
        self.accumulators.iter_mut().map(|followed| {
            let saved = followed.saved.finish();
            // As much is expected again.
            followed.saved = BinaryBuilder::with_capacity(saved.len(), saved.value_data().len());
            Arc::new(saved) as ArrayRef
        })
    }

    /// One column per accumulator; returns how many.
    pub fn restore(&mut self, columns: &[&BinaryArray], row: usize) -> Result<usize> {
        for (followed, column) in self.accumulators.iter_mut().zip(columns) {
            followed.lost = false;
            let bytes: &[u8] = if column.is_null(row) { &[] } else { column.value(row) };
            followed.state.restore(bytes)?;
        }
        Ok(self.accumulators.len())
    }

    /// The changes of rows that pass, in the lane's own rings.
    fn select(&mut self, changes: &[Change]) {
        let onto = |ring: Ring| match ring {
            OUT | RETRACTED => ring,
            ring => self.onto[usize::from(ring)],
        };
        self.changes.clear();
        for change in changes {
            let (from, to) = (onto(change.from), onto(change.to));
            let absent = from == OUT && (to == OUT || to == RETRACTED);
            let passes = self.passes.as_ref().is_none_or(|passes| passes.value(change.row as usize));
            if passes && from != to && !absent {
                self.changes.push(Change { row: change.row, from, to });
            }
        }
    }

    /// Which rows of the chunk pass; `None` if all do.
    fn mask(&self, chunk: &Chunk, layout: &Layout) -> Result<Option<BooleanBuffer>> {
        let mut masks: Vec<BooleanBuffer> = Vec::new();
        if let Some(condition) = self.plan.condition {
            let column = chunk.batch.column(layout.conditions + condition);
            let passes = column.as_boolean_opt().ok_or_else(|| unexpected(column.data_type()))?;
            masks.push(passes.values().clone());
            masks.extend(passes.nulls().map(|nulls| nulls.inner().clone()));
        }
        if let Some(value) = self.plan.value {
            let column = chunk.batch.column(layout.values + value);
            masks.extend(column.nulls().map(|nulls| nulls.inner().clone()));
            if self.plan.finite {
                let floats = column.as_primitive_opt::<Float64Type>().ok_or_else(|| unexpected(column.data_type()))?;
                masks.push(floats.values().iter().map(|value| value.is_finite()).collect());
            }
        }
        Ok(masks.into_iter().reduce(|a, b| &a & &b))
    }
}
