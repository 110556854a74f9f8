//! SQL-defined features: a query over tables and a spine, planned for its types and run for a given spine.
//!
//! The query sees every version of a table's rows with `_known_from` and `_known_until`, and the spine as a relation
//! `spine` (the entity's columns, `as_of`, `_row`). It gives `_row` and the features, at most one row per `_row`; a
//! spine row that it leaves out has nulls. The spine is read twice, by the query and to complete its result, so its
//! rows must be the same each time.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::util::display::array_value_to_string;
use datafusion::catalog::empty::EmptyTable;
use datafusion::common::Column;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{Expr, LogicalPlan, TableSource, cast};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::JoinType;
use futures::StreamExt;

use super::catalog::Catalog;
use super::compile::impure;
use super::fault::{Fault, faults};
use super::planner::Planner;
use crate::define::diagnostic::into_error;
use crate::define::sql_features::SPINE;
use crate::define::types::timestamp;
use crate::define::{Diagnostic, SqlFeatures};
use crate::engine::pit::expression::plain;
use crate::engine::pit::{AS_OF, ROW};
use crate::engine::session::{self, Session};
use crate::error::{Error, Result};

/// The query's `_row`, beside the spine's.
const RESULT_ROW: &str = "_result_row";

/// What [`compute`] gives, with each feature's documentation, or everything that is wrong with the query; `None` where a
/// table it reads did not compile, which has been said.
pub fn schema(catalog: &Catalog, features: &SqlFeatures) -> Option<Result<SchemaRef, Vec<Diagnostic>>> {
    let spine = spine(catalog, features)?;
    Some(match plan(catalog, features, &spine)? {
        Ok(plan) => check(features, &plan).map(|types| result_schema(features, &spine, types)),
        Err(error) => Err(placed(features, faults(&error))),
    })
}

/// The columns of the spine; `None` if nobody knows who exists.
pub(super) fn spine(catalog: &Catalog, features: &SqlFeatures) -> Option<Vec<Field>> {
    let entities = catalog.relation_schema(&features.entities)?;
    let mut spine: Vec<Field> = Vec::new();
    for name in &features.entity {
        spine.push(entities.field_with_name(name).ok()?.clone());
    }
    spine.push(Field::new(AS_OF, timestamp(), false));
    spine.push(Field::new(ROW, DataType::Int64, false));
    Some(spine)
}

/// The query over the schemas of its tables; `None` where one of them did not compile.
pub(super) fn plan(
    catalog: &Catalog,
    features: &SqlFeatures,
    spine: &[Field],
) -> Option<Result<LogicalPlan, DataFusionError>> {
    let source = |schema: SchemaRef| provider_as_source(Arc::new(EmptyTable::new(schema)));
    let mut sources: HashMap<String, Arc<dyn TableSource>> = HashMap::new();
    for name in &features.inputs {
        sources.insert(name.clone(), source(catalog.storage_schema(name)?));
    }
    sources.insert(SPINE.to_string(), source(Arc::new(Schema::new(spine.to_vec()))));
    Some(catalog.planner.over(sources).plan(&features.sql))
}

/// The features of every spine row: entity…, `as_of`, `_row`, the features; ordered by entity, `as_of` and `_row`.
///
/// `tables` are the query's inputs with all versions of their rows; `spine` has the entity's columns, `as_of` and a
/// `_row` that no two rows share.
///
/// # Errors
/// Definition: what [`schema`] reports. Data: two rows for one spine row, an expression that fails.
pub async fn compute(
    session: &Session,
    features: &SqlFeatures,
    tables: HashMap<String, DataFrame>,
    spine: DataFrame,
) -> Result<SendableRecordBatchStream> {
    let entity = features.entity.iter().map(|name| column(name));
    let clocks = [cast(column(AS_OF), timestamp()).alias(AS_OF), cast(column(ROW), DataType::Int64).alias(ROW)];
    let spine = spine.select(entity.chain(clocks).collect::<Vec<_>>()).map_err(session::error)?;
    let mut sources: HashMap<String, Arc<dyn TableSource>> = HashMap::new();
    for (name, frame) in tables.into_iter().chain([(SPINE.to_string(), spine.clone())]) {
        sources.insert(name, provider_as_source(frame.into_view()));
    }
    let state = session.context().state();
    let plan = Planner::new(state.clone()).over(sources).plan(&features.sql);
    let plan = plan.map_err(|error| into_error(placed(features, faults(&error))))?;
    let types = check(features, &plan).map_err(into_error)?;
    let fields: Vec<Field> = spine.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    let head: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
    let schema = result_schema(features, &fields, types);
    let result = DataFrame::new(state, plan).select(result_columns(features, &schema)).map_err(session::error)?;
    let complete = spine.join(result, JoinType::Left, &[ROW], &[RESULT_ROW], None).map_err(session::error)?;
    let every: Vec<Expr> = schema.fields().iter().map(|field| column(field.name())).collect();
    let order = head.iter().map(|name| column(name).sort(true, true)).collect();
    let sorted = complete.select(every).and_then(|frame| frame.sort(order)).map_err(session::error)?;
    let stream = sorted.execute_stream().await.map_err(session::error)?;
    Ok(one_row_each(stream, schema, features.name.clone()))
}

/// Types of the features, in the order of their documentation.
fn check(features: &SqlFeatures, plan: &LogicalPlan) -> Result<Vec<DataType>, Vec<Diagnostic>> {
    let mut faults = Vec::new();
    for name in impure(plan) {
        let fault = Fault::new(format!("`{name}()` gives another result at every run")).word(&name);
        faults.push(fault.help("take the time from `spine.as_of`, or from an event"));
    }
    let fields = plan.schema().fields();
    match fields.iter().find(|field| field.name() == ROW) {
        Some(row) if row.data_type().is_integer() => {}
        Some(row) => {
            let message = format!("`{ROW}` must be the spine's, and is of type {}", row.data_type());
            faults.push(Fault::new(message).word(ROW));
        }
        None => {
            let fault = Fault::new(format!("the query does not say which spine row a result is for: no `{ROW}`"));
            faults.push(fault.help("select s._row, and group by it where rows are aggregated"));
        }
    }
    for field in fields.iter().filter(|field| field.name() != ROW && !features.columns.contains_key(field.name())) {
        let fault = Fault::new(format!("output column `{}` is not documented", field.name())).word(field.name());
        faults.push(fault.help("add it to `columns` with `doc`, or leave it out"));
    }
    let mut types = Vec::new();
    let mut out = Vec::new();
    for name in features.columns.keys() {
        let Some(field) = fields.iter().find(|field| field.name() == name) else {
            let d = features.origin.at(&format!("columns.{name}"), format!("the query gives no column `{name}`"));
            out.push(d.expected_one_of(name, fields.iter().map(|field| field.name().as_str())));
            continue;
        };
        match plain(field.data_type()) {
            Some(data_type) => types.push(data_type),
            None => {
                let message = format!("`{name}` has a type that features cannot have: {}", field.data_type());
                let help = "cast it to string, bigint, double, boolean, date, timestamp or decimal";
                faults.push(Fault::new(message).word(name).help(help));
            }
        }
    }
    out.extend(placed(features, faults));
    if out.is_empty() { Ok(types) } else { Err(out) }
}

/// In the query's file.
fn placed(features: &SqlFeatures, faults: Vec<Fault>) -> Vec<Diagnostic> {
    faults.into_iter().map(|fault| fault.in_sql(&features.sql_file, &features.sql)).collect()
}

fn result_schema(features: &SqlFeatures, spine: &[Field], types: Vec<DataType>) -> SchemaRef {
    let mut fields = spine.to_vec();
    for ((name, doc), data_type) in features.columns.iter().zip(types) {
        let unit = doc.unit.as_ref().map_or(String::new(), |unit| format!(" [{unit}]"));
        let comment = HashMap::from([("comment".to_string(), format!("{}{unit}", doc.doc))]);
        fields.push(Field::new(name, data_type, true).with_metadata(comment));
    }
    Arc::new(Schema::new(fields))
}

fn result_columns(features: &SqlFeatures, schema: &Schema) -> Vec<Expr> {
    let row = cast(column(ROW), DataType::Int64).alias(RESULT_ROW);
    let typed = |name: &String| {
        let field = schema.field_with_name(name).ok()?;
        Some(cast(column(name), field.data_type().clone()).alias(name))
    };
    std::iter::once(row).chain(features.columns.keys().filter_map(typed)).collect()
}

/// The batches as they are, unless two rows in succession are of one spine row.
fn one_row_each(stream: SendableRecordBatchStream, schema: SchemaRef, name: String) -> SendableRecordBatchStream {
    let mut last: Option<i64> = None;
    let declared = schema.clone();
    let checked = stream.map(move |batch| {
        let batch = RecordBatch::try_new(declared.clone(), batch?.columns().to_vec())?;
        let rows = batch.column_by_name(ROW).and_then(|rows| rows.as_primitive_opt::<Int64Type>());
        let rows = rows.ok_or_else(|| DataFusionError::Internal("a spine without _row".into()))?;
        for (index, row) in rows.values().iter().enumerate() {
            if last == Some(*row) {
                return Err(DataFusionError::External(Box::new(twice(&name, &batch, index))));
            }
            last = Some(*row);
        }
        Ok(batch)
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, checked))
}

fn twice(name: &str, batch: &RecordBatch, row: usize) -> Error {
    let schema = batch.schema();
    let head = schema.fields().iter().take_while(|field| field.name() != ROW).enumerate();
    let place: Vec<String> = head
        .map(|(i, field)| {
            let value = array_value_to_string(batch.column(i), row).unwrap_or_default();
            format!("{} = {value}", field.name())
        })
        .collect();
    let help = "aggregate, or keep one of them: row_number() over (partition by s._row order by …) = 1";
    Error::data(format!("{name} has more than one row for {}\n  help: {help}", place.join(", ")))
}

fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}
