//! A lane at work: the rows that pass its condition, swept from the newest to the oldest through all of its windows.
//!
//! Windows are nested, so each row enters the accumulators once and every window reads them where it begins. All rows
//! of a spine row are looked at for each spine row; an entity's cost is its spine rows times the events in the longest
//! window.

use std::ops::Range;

use arrow::array::{Array, AsArray};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Float64Type;

use crate::define::features::TimeUnit;
use crate::error::Result;

use super::accumulate::{self, Accumulate};
use super::chunk::Chunk;
use super::compile;
use super::input::Layout;
use super::kernel::{Fault, unexpected};
use super::output::Column;
use super::visible::Visible;

pub struct Lane {
    plan: compile::Lane,
    accumulators: Vec<Box<dyn Accumulate>>,
    /// Rows of the chunk that pass.
    rows: Vec<u32>,
    /// Those of the current entity, as positions in `rows`.
    entity: Range<usize>,
    /// Those of the current spine row, where not all were known.
    seen: Vec<u32>,
}

impl Lane {
    pub fn new(plan: &compile::Lane) -> Lane {
        let accumulators = plan.accumulators.iter().map(accumulate::new).collect();
        Lane { plan: plan.clone(), accumulators, rows: Vec::new(), entity: 0..0, seen: Vec::new() }
    }

    pub fn load(&mut self, chunk: &Chunk, layout: &Layout) -> Result<()> {
        let mask = self.mask(chunk, layout)?;
        self.rows.clear();
        match mask {
            Some(mask) => self.rows.extend(mask.set_indices_u32()),
            None => self.rows.extend(0..chunk.batch.num_rows() as u32),
        }
        self.entity = 0..0;
        if let Some(value) = self.plan.value {
            let column = chunk.batch.column(layout.values + value);
            for accumulator in &mut self.accumulators {
                accumulator.load(column)?;
            }
        }
        Ok(())
    }

    /// Moves to an entity after the current one.
    pub fn enter(&mut self, entity: &Range<usize>) {
        let rest = &self.rows[self.entity.end..];
        let start = self.entity.end + rest.partition_point(|&row| (row as usize) < entity.start);
        let length = self.rows[start..].partition_point(|&row| (row as usize) < entity.end);
        self.entity = start..start + length;
    }

    /// Appends one value to each of the lane's columns. `before` are the entity's rows before `as_of`; `all_known` says
    /// that none of them has to be left out.
    pub fn sweep(
        &mut self,
        visible: &Visible,
        before: &Range<usize>,
        all_known: bool,
        as_of: i64,
        columns: &mut [Column],
    ) -> Result<(), Fault> {
        let candidates = &self.rows[self.entity.clone()];
        let end = candidates.partition_point(|&row| (row as usize) < before.end);
        let start = self.plan.windows.last().map_or(0, |longest| first_in(&candidates[..end], visible, longest, as_of));
        let candidates = &candidates[start..end];
        let seen = if all_known {
            candidates
        } else {
            self.seen.clear();
            self.seen.extend(candidates.iter().filter(|&&row| visible.known(row as usize, as_of)));
            &self.seen
        };
        self.accumulators.iter_mut().for_each(|accumulator| accumulator.clear());
        let mut entered = seen.len();
        for window in &self.plan.windows {
            let first = first_in(&seen[..entered], visible, window, as_of);
            if first < entered {
                for accumulator in &mut self.accumulators {
                    accumulator.add(&seen[first..entered])?;
                }
            }
            entered = first;
            for measure in &window.measures {
                let column = &mut columns[measure.feature];
                write(&measure.kind, &seen[first..], visible, as_of, &mut self.accumulators, column)
                    .map_err(|fault| Fault(format!("{}: {}", measure.name, fault.0)))?;
            }
        }
        Ok(())
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

/// The first of sorted rows that lies in a window ending at `as_of`.
fn first_in(rows: &[u32], visible: &Visible, window: &compile::Window, as_of: i64) -> usize {
    match window.length {
        Some(length) => {
            let from = as_of.saturating_sub(length);
            rows.partition_point(|&row| visible.time(row as usize) < from)
        }
        None => 0,
    }
}

fn write(
    kind: &compile::MeasureKind,
    rows: &[u32],
    visible: &Visible,
    as_of: i64,
    accumulators: &mut [Box<dyn Accumulate>],
    column: &mut Column,
) -> Result<(), Fault> {
    let age = |row: Option<&u32>, unit: TimeUnit| row.map(|&row| in_unit(as_of, visible.time(row as usize), unit));
    match kind {
        compile::MeasureKind::Count => column.int(rows.len() as i64),
        compile::MeasureKind::First => column.row(rows.first().copied()),
        compile::MeasureKind::Last => column.row(rows.last().copied()),
        compile::MeasureKind::SinceFirst(unit) => column.float(age(rows.first(), *unit)),
        compile::MeasureKind::SinceLast(unit) => column.float(age(rows.last(), *unit)),
        compile::MeasureKind::Accumulated(index, reading) => accumulators[*index].read(*reading, rows, column)?,
    }
    Ok(())
}

/// The time from one instant to a later one. Instants may be so far apart that their difference is no i64.
pub fn in_unit(later: i64, earlier: i64, unit: TimeUnit) -> f64 {
    (i128::from(later) - i128::from(earlier)) as f64 / unit.micros() as f64
}
