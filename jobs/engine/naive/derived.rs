//! Derived columns: SQL over the other columns, in which `a / b` is `ratio(a, b)`.

use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Field, Float64Type};
use datafusion::common::DFSchema;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, visit_expressions_mut};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

use super::Table;
use super::history::plain;
use crate::define::FeatureGroup;
use crate::engine::physical;
use crate::engine::session::Session;
use crate::error::{Context, Error, Result};

/// Appends the group's derived columns, each of which may use those before it.
pub fn append(session: &Session, group: &FeatureGroup, table: &mut Table) -> Result<()> {
    session.context().register_udf(ratio());
    for derived in &group.derived {
        let column =
            compute(session, &derived.expression, table).with_context(|| format!("derived {}", derived.name))?;
        table.fields.push(Field::new(&derived.name, column.data_type().clone(), true));
        table.columns.push(column);
    }
    Ok(())
}

fn compute(session: &Session, expression: &str, table: &Table) -> Result<ArrayRef> {
    let batch = table.batch()?;
    let schema = DFSchema::try_from(batch.schema())?;
    let sql = with_ratios(expression).map_err(|e| Error::definition(e.to_string()))?;
    let expr = session.context().parse_sql_expr(&sql, &schema)?;
    let value = physical::compile(session.context(), expr, &schema)?.evaluate(&batch)?;
    plain(&value.into_array(batch.num_rows())?)
}

fn with_ratios(sql: &str) -> Result<String, ParserError> {
    let parse = |sql: &str| Parser::new(&PostgreSqlDialect {}).try_with_sql(sql)?.parse_expr();
    let mut expr = parse(sql)?;
    let wrong = visit_expressions_mut(&mut expr, |expr: &mut Expr| {
        if let Expr::BinaryOp { left, op: BinaryOperator::Divide, right } = expr {
            match parse(&format!("ratio(cast({left} as double precision), cast({right} as double precision))")) {
                Ok(ratio) => *expr = ratio,
                Err(error) => return ControlFlow::Break(error),
            }
        }
        ControlFlow::Continue(())
    });
    match wrong {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(expr.to_string()),
    }
}

/// Division in float64, null where the divisor is zero.
fn ratio() -> ScalarUDF {
    let divide = |arguments: &[ColumnarValue]| {
        let arguments = ColumnarValue::values_to_arrays(arguments)?;
        let pairs = arguments[0].as_primitive::<Float64Type>().iter().zip(arguments[1].as_primitive::<Float64Type>());
        let quotients = pairs.map(|pair| match pair {
            (Some(above), Some(below)) if below != 0.0 => Some(above / below),
            _ => None,
        });
        Ok(ColumnarValue::Array(Arc::new(quotients.collect::<Float64Array>())))
    };
    let floats = vec![DataType::Float64, DataType::Float64];
    create_udf("ratio", floats, DataType::Float64, Volatility::Immutable, Arc::new(divide))
}
