//! Entity and event time as one number, so that the sort below the operator compares numbers instead of rows of bytes.
//!
//! Sorting is most of the operator's time. Where the entity is one 64-bit integer and nothing depends on the order of
//! rows with equal event time, (entity, event time) is a 128-bit integer that sorts as the two do; the columns
//! themselves need not be carried along, and are taken apart again above the sort.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Decimal128Type, Field, Int64Type, Schema, TimestampMicrosecondType};
use datafusion::common::config::ConfigOptions;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::MemoryLimit;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use crate::define::types::timestamp;

/// Flips the sign bit: the order of signed numbers becomes that of unsigned ones.
const SIGN: u64 = 1 << 63;
/// A 128-bit integer; its precision is not enforced.
const PACKED: DataType = DataType::Decimal128(38, 0);

/// Bytes of a partition that are sorted as one batch. Numbers are sorted so faster than in batches that are merged;
/// rows of bytes are not.
const SORTED_AT_ONCE: usize = 64 << 20;

/// The context for a sort by a packed column below.
pub fn context_to_sort(context: &TaskContext) -> Arc<TaskContext> {
    let mut config = context.session_config().clone();
    if matches!(context.memory_pool().memory_limit(), MemoryLimit::Infinite) {
        config.options_mut().execution.sort_in_place_threshold_bytes = SORTED_AT_ONCE;
    }
    Arc::new(TaskContext::new(
        context.task_id(),
        context.session_id(),
        config,
        context.scalar_functions().clone(),
        context.higher_order_functions().clone(),
        context.aggregate_functions().clone(),
        context.window_functions().clone(),
        context.runtime_env(),
    ))
}

/// (entity, event time) of a row as one number.
pub fn pack(entity: Expr, time: Expr) -> Expr {
    ScalarUDF::from(Pack { signature: Signature::any(2, Volatility::Immutable) }).call(vec![entity, time])
}

/// The entity of a packed column, to partition by.
pub fn entity_of(packed: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    let function = Arc::new(ScalarUDF::from(EntityOf { signature: Signature::any(1, Volatility::Immutable) }));
    let field = Arc::new(Field::new("entity_of", DataType::Int64, false));
    let options = Arc::new(ConfigOptions::default());
    Arc::new(ScalarFunctionExpr::new("entity_of", function, vec![packed], field, options))
}

/// The two functions, for who has to find them by name.
#[cfg(feature = "ballista")]
pub fn functions() -> [ScalarUDF; 2] {
    let pack = Pack { signature: Signature::any(2, Volatility::Immutable) };
    let entity_of = EntityOf { signature: Signature::any(1, Volatility::Immutable) };
    [ScalarUDF::from(pack), ScalarUDF::from(entity_of)]
}

/// Entity, event time and the rest, of a packed column and the rest.
pub fn unpack(batch: &RecordBatch) -> Result<RecordBatch> {
    let packed = numbers(batch.column(0))?;
    let entities = Int64Array::from_iter_values(packed.values().iter().map(|packed| (packed >> 64) as i64));
    let times = packed.values().iter().map(|packed| (*packed as u64 ^ SIGN) as i64);
    let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
    let mut columns: Vec<ArrayRef> = vec![Arc::new(entities), Arc::new(times)];
    columns.extend(batch.columns()[1..].iter().cloned());
    let schema = batch.schema();
    let mut fields =
        vec![Arc::new(Field::new("k0", DataType::Int64, true)), Arc::new(Field::new("t", timestamp(), true))];
    fields.extend(schema.fields()[1..].iter().cloned());
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn numbers(array: &ArrayRef) -> Result<&Decimal128Array> {
    let packed = array.as_primitive_opt::<Decimal128Type>();
    packed.ok_or_else(|| DataFusionError::Internal(format!("{} is no packed column", array.data_type())))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Pack {
    signature: Signature,
}

impl ScalarUDFImpl for Pack {
    fn name(&self) -> &str {
        "pack_entity_and_time"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(PACKED)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let wrong = || DataFusionError::Internal("an entity and an event time were expected".into());
        let [entities, times] = arrays.as_slice() else { return Err(wrong()) };
        let entities = entities.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?.values();
        let times = times.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?.values();
        let pairs = entities.iter().zip(times.iter());
        let packed = pairs.map(|(entity, time)| (i128::from(*entity) << 64) | i128::from(*time as u64 ^ SIGN));
        let packed = Decimal128Array::from_iter_values(packed).with_data_type(PACKED);
        Ok(ColumnarValue::Array(Arc::new(packed)))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct EntityOf {
    signature: Signature,
}

impl ScalarUDFImpl for EntityOf {
    fn name(&self) -> &str {
        "entity_of"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let packed = arrays.first().ok_or_else(|| DataFusionError::Internal("a packed column was expected".into()))?;
        let entities = numbers(packed)?.values().iter().map(|packed| (packed >> 64) as i64);
        Ok(ColumnarValue::Array(Arc::new(Int64Array::from_iter_values(entities))))
    }
}
