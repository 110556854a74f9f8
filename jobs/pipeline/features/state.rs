//! The states that a night leaves for the next: `<features table>__state`, a row per entity that has any, a binary
//! column per state. Which night they are of, and from which versions of the tables, is in the commit.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{and, filter_record_batch, is_not_null, is_null, not};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::JoinType;
use datafusion::functions::expr_fn::coalesce;
use datafusion::logical_expr::Expr;
use datafusion::prelude::DataFrame;

use crate::engine::pit::REBUILD;
use crate::error::{Error, Result};
use crate::lake::{TableSpec, documented};
use crate::pipeline::job::quoted;

/// How names of tables of states end.
pub const SUFFIX: &str = "__state";

/// Where the states of a features table lie.
pub fn path(of: &str) -> String {
    format!("{of}{SUFFIX}")
}

pub fn spec(of: &str, result: &Schema, entity: &[String], states: &[String]) -> TableSpec {
    let mut fields: Vec<Field> = Vec::new();
    for field in result.fields().iter().filter(|field| entity.contains(field.name())) {
        fields.push(documented(field.name(), field.data_type().clone(), false, "The entity."));
    }
    fields.extend(states.iter().map(|name| {
        documented(name, DataType::Binary, true, "Internal: a state, in bytes that only scorehouse reads.")
    }));
    TableSpec {
        name: path(of),
        description: format!(
            "Internal: what the next night computes {of} from. It may be deleted; that night then reads all rows."
        ),
        schema: Arc::new(Schema::new(fields)),
        partition_by: None,
        no_statistics: entity.iter().chain(states).cloned().collect(),
    }
}

/// A result in its parts: rows of the spine, rows with states, and entities to rebuild.
pub struct Parts {
    pub answers: RecordBatch,
    pub states: RecordBatch,
    pub lost: RecordBatch,
}

/// `schema` is the states'.
pub fn parts(result: &RecordBatch, schema: &SchemaRef) -> Result<Parts> {
    let column =
        |name: &str| result.column_by_name(name).ok_or_else(|| Error::internal(format!("a result without {name}")));
    let kept = match result.column_by_name(REBUILD) {
        Some(rebuild) => not(rebuild.as_boolean())?,
        None => BooleanArray::from(vec![true; result.num_rows()]),
    };
    let asked = is_not_null(column("_row")?)?;
    let indices: Vec<usize> =
        schema.fields().iter().map(|field| result.schema().index_of(field.name())).collect::<Result<_, _>>()?;
    let states = result.project(&indices)?;
    let mut nothing = BooleanArray::from(vec![true; result.num_rows()]);
    for (field, column) in schema.fields().iter().zip(states.columns()) {
        if field.data_type() == &DataType::Binary {
            nothing = and(&nothing, &is_null(column)?)?;
        }
    }
    let states = filter_record_batch(&states, &and(&kept, &not(&nothing)?)?)?;
    Ok(Parts {
        answers: filter_record_batch(result, &and(&kept, &asked)?)?,
        states: RecordBatch::try_new(schema.clone(), states.columns().to_vec())?,
        lost: filter_record_batch(result, &not(&kept)?)?,
    })
}

/// Saved states beside those that were missing: every entity of either, a state that neither has is null.
pub fn beside(saved: DataFrame, missing: DataFrame, entity: &[String], names: &[String]) -> Result<DataFrame> {
    let renamed: Vec<String> = entity.iter().map(|name| format!("_missing_{name}")).collect();
    let has = |frame: &DataFrame, name: &str| frame.schema().has_column_with_unqualified_name(name);
    let of_missing: Vec<String> = names.iter().filter(|name| !has(&saved, name)).cloned().collect();
    let mut columns: Vec<_> =
        entity.iter().zip(&renamed).map(|(name, new)| Expr::from(quoted(name)).alias(new)).collect();
    columns.extend(of_missing.iter().map(|name| Expr::from(quoted(name))));
    let missing = missing.select(columns)?;
    let left: Vec<&str> = entity.iter().map(String::as_str).collect();
    let right: Vec<&str> = renamed.iter().map(String::as_str).collect();
    let joined = saved.join(missing, JoinType::Full, &left, &right, None)?;
    let either = |name: &String, new: &String| coalesce(vec![quoted(name).into(), quoted(new).into()]).alias(name);
    let keys = entity.iter().zip(&renamed).map(|(name, new)| either(name, new));
    let states = names.iter().map(|name| Expr::from(quoted(name)));
    Ok(joined.select(keys.chain(states).collect::<Vec<_>>())?)
}
