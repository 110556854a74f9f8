//! What a kernel is: the state of one entity at a time, and the columns and states that are read from it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};

use super::chunk::Chunk;
use super::rings::Rings;
use super::state::Change;

/// Makes one kernel per partition.
pub trait Factory: Send + Sync + std::fmt::Debug {
    fn kernel(&self) -> Result<Box<dyn Kernel>>;

    fn rings(&self) -> &Rings;

    /// Names of the columns of a saved state: a binary each, named after what it is the state of, so that a column of
    /// the same name is a state of the same thing.
    fn state(&self) -> &[String];

    /// Kernels without results that keep some of the states.
    fn only(&self, states: &[String]) -> Arc<dyn Factory>;
}

/// Follows one entity at a time through its changes.
pub trait Kernel: Send {
    /// Events that changes speak of from now on.
    fn load(&mut self, chunk: &Chunk) -> Result<()>;

    /// Another entity, of which nothing is known.
    fn clear(&mut self);

    /// Follows changes; true if [`Self::rebuild`] must be given all rows that are in.
    fn apply(&mut self, changes: &[Change]) -> Result<bool, Fault>;

    /// Starts anew, where that was asked for, with all rows that are in, each as it enters its ring.
    fn rebuild(&mut self, rows: &[Change]) -> Result<(), Fault>;

    /// Appends a row of results.
    fn read(&mut self, as_of: i64) -> Result<(), Fault>;

    /// The result columns since the last call; `batch` has the spine's columns of the same rows.
    fn finish(&mut self, batch: &RecordBatch) -> Result<RecordBatch>;

    /// Appends a row of states.
    fn save(&mut self);

    /// Appends a row of states that was saved before.
    fn keep(&mut self, columns: &[&BinaryArray], row: usize);

    /// The states since the last call, one column per name of [`Factory::state`]; null where nothing is known.
    fn finish_state(&mut self) -> Vec<ArrayRef>;

    /// An entity as it was saved, in columns in the order of [`Factory::state`].
    fn restore(&mut self, columns: &[&BinaryArray], row: usize) -> Result<()>;
}

/// A value that cannot be computed for a spine row; whoever knows the entity makes an error of it.
#[derive(Debug)]
pub struct Fault(pub String);

/// Values of an array as 64-bit integers, whatever integer lies below its type. Nulls have arbitrary values.
pub fn longs(array: &ArrayRef) -> Result<ScalarBuffer<i64>> {
    let array = cast(array, &DataType::Int64)?;
    let values = array.as_primitive_opt::<Int64Type>().ok_or_else(|| unexpected(array.data_type()))?;
    Ok(values.values().clone())
}

pub fn floats(array: &ArrayRef) -> Result<ScalarBuffer<f64>> {
    let values = array.as_primitive_opt::<Float64Type>().ok_or_else(|| unexpected(array.data_type()))?;
    Ok(values.values().clone())
}

pub fn decimals(array: &ArrayRef) -> Result<ScalarBuffer<i128>> {
    let values = array.as_primitive_opt::<Decimal128Type>().ok_or_else(|| unexpected(array.data_type()))?;
    Ok(values.values().clone())
}

pub fn unexpected(data_type: &DataType) -> Error {
    Error::internal(format!("a kernel met a column of type {data_type}, which its plan does not have"))
}
