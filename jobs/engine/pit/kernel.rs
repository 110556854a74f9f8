//! What a kernel is: the computation for one spine row over one entity's events, and the errors it can have.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};

use super::chunk::Chunk;

/// Makes one kernel per partition.
pub trait Factory: Send + Sync + std::fmt::Debug {
    fn kernel(&self) -> Box<dyn Kernel>;
}

/// Computes columns for spine rows. The calls come in this order: a chunk of whole entities, any number of spine rows
/// over entities of that chunk in ascending order, the next chunk …; `finish` at any point between rows.
pub trait Kernel: Send {
    /// Events to look at from now on.
    fn load(&mut self, chunk: &Chunk) -> Result<()>;

    /// One spine row; the entity's rows in the chunk, empty where it has no events.
    fn row(&mut self, entity: Range<usize>, as_of: i64) -> Result<(), Fault>;

    /// The columns of the spine rows since the last call; `batch` has the spine's columns of the same rows.
    fn finish(&mut self, batch: &RecordBatch) -> Result<RecordBatch>;
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
