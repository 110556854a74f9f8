//! Feature vectors for a spine: one row per decision, one column per input of a model.
//!
//! Training and scoring come through here both, so that what a model learned from is what it is asked about.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::compute::{cast, concat_batches, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use datafusion::common::DFSchema;
use datafusion::common::TableReference;
use datafusion::physical_plan::{PhysicalExpr, SendableRecordBatchStream};
use futures::StreamExt;

use super::job::{Job, Pins};
use super::{attributes, features, sql_features};
use crate::define::inputs::{Input, mentioned};
use crate::define::model::AssertCase;
use crate::define::{Model, inputs};
use crate::engine::physical;
use crate::error::{Error, Result};

/// A model's inputs, and what its segments, groups of people and asserts look at besides.
pub fn columns(job: &Job, model: &Model) -> Result<(Vec<Input>, Vec<Input>)> {
    let chosen = inputs::resolve(&job.project, model).map_err(crate::define::diagnostic::into_error)?;
    let mut all = chosen.clone();
    extend(&mut all, looked_at(job, model));
    Ok((chosen, all))
}

/// What segments, groups of people and asserts look at.
pub fn looked_at(job: &Job, model: &Model) -> Vec<Input> {
    let groups = model.fairness.iter().flat_map(|fairness| fairness.groups.values());
    let asserts = model.gate.asserts.iter().filter_map(|assert| match &assert.case {
        AssertCase::Rows { condition, .. } => Some(condition),
        AssertCase::Entity(_) => None,
    });
    let mut all = Vec::new();
    for expression in model.segments.values().chain(groups).chain(asserts) {
        extend(&mut all, mentioned(&job.project, model, expression));
    }
    all
}

/// Adds inputs that are not there yet.
pub fn extend(all: &mut Vec<Input>, more: impl IntoIterator<Item = Input>) {
    for input in more {
        if !all.contains(&input) {
            all.push(input);
        }
    }
}

/// Lake tables that the features of `inputs` are computed from.
pub fn tables(job: &Job, inputs: &[Input]) -> Vec<String> {
    let mut tables = Vec::new();
    for input in inputs {
        if let Some(group) = job.project.groups.get(&input.group) {
            tables.extend([group.history.table.clone(), group.history.entities.clone()]);
        }
        if let Some(features) = job.project.sql_features.get(&input.group) {
            tables.extend(features.tables().map(str::to_string));
        }
        if let Some(attributes) = job.project.attributes.get(&input.group) {
            tables.extend(attributes.tables().map(str::to_string));
        }
    }
    tables
}

/// Computes `inputs` for a spine batch whose columns include the entity, `as_of` and the attributes; row for row.
pub async fn assemble(job: &Job, pins: &Pins, inputs: &[Input], spine: &RecordBatch) -> Result<RecordBatch> {
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    let mut groups: Vec<&str> = Vec::new();
    for input in inputs.iter().filter(|input| input.group != "spine") {
        if !groups.contains(&input.group.as_str()) {
            groups.push(&input.group);
        }
    }
    let mut computed = Vec::new();
    for name in groups {
        let step = job.progress.step(format!("features at the spine: {name}"));
        let wanted: Vec<&str> = inputs.iter().filter(|i| i.group == name).map(|i| i.feature.as_str()).collect();
        computed.push((name, at_spine(job, pins, name, &wanted, spine).await?));
        step.done(&format!("{} rows × {} features", spine.num_rows(), wanted.len()));
    }
    for input in inputs {
        let batch = match computed.iter().find(|(group, _)| *group == input.group) {
            Some((_, batch)) => batch,
            None => spine,
        };
        let index = batch.schema().index_of(&input.feature)?;
        let field = batch.schema().field(index).clone().with_name(input.name()).with_nullable(true);
        fields.push(field);
        columns.push(batch.column(index).clone());
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// The `wanted` features of one definition, row for row.
async fn at_spine(job: &Job, pins: &Pins, name: &str, wanted: &[&str], spine: &RecordBatch) -> Result<RecordBatch> {
    let session = job.session()?;
    let frame = |entity: &[String]| Ok::<_, Error>(session.context().read_batch(keys(spine, entity)?)?);
    let stream = if let Some(group) = job.project.groups.get(name) {
        features::compute(job, &session, pins, group, frame(&group.history.entity)?).await?
    } else if let Some(definition) = job.project.sql_features.get(name) {
        sql_features::compute(job, &session, pins, definition, frame(&definition.entity)?).await?
    } else if let Some(definition) = job.project.attributes.get(name) {
        return attributes::compute(job, &session, pins, definition, spine).await;
    } else {
        return Err(Error::internal(format!("no features {name}")));
    };
    in_row_order(stream, wanted, spine.num_rows()).await
}

/// The spine's entity, as_of and row number, which is all that features may look at.
fn keys(spine: &RecordBatch, entity: &[String]) -> Result<RecordBatch> {
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for name in entity.iter().map(String::as_str).chain(["as_of"]) {
        let index = spine.schema().index_of(name)?;
        fields.push(spine.schema().field(index).clone());
        columns.push(spine.column(index).clone());
    }
    fields.push(Field::new("_row", DataType::UInt64, false));
    columns.push(Arc::new(UInt64Array::from_iter_values(0..spine.num_rows() as u64)));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// Collects `wanted` columns in the order of `_row`, which must be 0..rows.
async fn in_row_order(mut stream: SendableRecordBatchStream, wanted: &[&str], rows: usize) -> Result<RecordBatch> {
    let mut batches = Vec::new();
    let mut positions: Vec<u64> = vec![u64::MAX; rows];
    let mut at: u64 = 0;
    let indices: Vec<usize> = wanted.iter().map(|name| stream.schema().index_of(name)).collect::<Result<_, _>>()?;
    let schema: SchemaRef = Arc::new(stream.schema().project(&indices)?);
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let row = batch.column_by_name("_row").ok_or_else(|| Error::internal("features came back without _row"))?;
        for row in cast(row, &DataType::UInt64)?.as_primitive::<UInt64Type>().values() {
            positions[*row as usize] = at;
            at += 1;
        }
        batches.push(batch.project(&indices)?);
    }
    if at != rows as u64 || positions.contains(&u64::MAX) {
        return Err(Error::internal(format!("{at} feature rows for {rows} spine rows")));
    }
    let positions = UInt64Array::from(positions);
    let mut columns = Vec::with_capacity(indices.len());
    for index in 0..indices.len() {
        let parts: Vec<&dyn Array> = batches.iter().map(|b| b.column(index).as_ref()).collect();
        let whole = match parts.is_empty() {
            true => arrow::array::new_empty_array(schema.field(index).data_type()),
            false => arrow::compute::concat(&parts)?,
        };
        columns.push(take(&whole, &positions, None)?);
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

/// The stored features of tonight that `inputs` are of, pinned.
///
/// # Errors
/// `Data` if some are not in the lake yet: the table of a group, or a feature that its definition has had since.
pub async fn pin_stored(job: &Job, inputs: &[Input]) -> Result<Pins> {
    let mut pins = Pins::default();
    for input in inputs {
        let path = stored_path(input);
        let missing = |what: &str| {
            let help = format!("run `scorehouse features --date {}` first", job.date);
            Error::data(format!("{what} of {} is not in the lake yet\n  help: {help}", job.date))
        };
        if !pins.0.contains_key(&path) {
            let snapshot = job.lake.snapshot(&path).await?;
            let tonight = snapshot.filter(|snapshot| snapshot.partitions().contains_key(&job.date.to_string()));
            pins.0.insert(path.clone(), tonight.ok_or_else(|| missing(&path))?);
        }
        if pins.get(&path)?.schema().index_of(&input.feature).is_err() {
            return Err(missing(&format!("feature {} in {path}", input.name())));
        }
    }
    pins.enter(&job.ledger);
    Ok(pins)
}

/// Where the stored values of an input lie in the lake.
pub fn stored_path(input: &Input) -> String {
    format!("features/{}", input.group)
}

/// Tonight's stored vectors for `spine` (entities at the night's as_of).
pub async fn stored(
    job: &Job,
    pins: &Pins,
    inputs: &[Input],
    model: &Model,
    spine: &RecordBatch,
) -> Result<RecordBatch> {
    let stream = stored_stream(job, pins, inputs, model, spine).await?;
    let names: Vec<String> = inputs.iter().map(Input::name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    in_row_order(stream, &names, spine.num_rows()).await
}

/// As [`stored`], in batches as they come: rows in any order, with their number in `_row`.
pub async fn stored_stream(
    job: &Job,
    pins: &Pins,
    inputs: &[Input],
    model: &Model,
    spine: &RecordBatch,
) -> Result<SendableRecordBatchStream> {
    let session = job.session()?;
    let context = session.context();
    context.register_batch("spine", keys(spine, &model.entity)?)?;
    let mut select = Vec::new();
    let mut joins = String::new();
    let mut groups: Vec<&str> = Vec::new();
    for input in inputs {
        if !groups.contains(&input.group.as_str()) {
            groups.push(&input.group);
        }
        select.push(format!(r#""{}"."{}" as "{}""#, input.group, input.feature, input.name()));
    }
    for name in groups {
        let snapshot = pins.get(&format!("features/{name}"))?;
        context.register_table(name, features::stored(&session, snapshot, job.date)?.into_view())?;
        let entity = job.project.entity(name).unwrap_or(&model.entity);
        let on: Vec<String> = entity.iter().map(|e| format!(r#"spine."{e}" = "{name}"."{e}""#)).collect();
        joins.push_str(&format!(r#" left join "{name}" on {}"#, on.join(" and ")));
    }
    let sql = format!("select {}, spine._row from spine{joins}", select.join(", "));
    Ok(session.sql(&sql).await?.execute_stream().await?)
}

/// Which rows of the vectors each segment holds: (name, mask), `all` first.
pub fn segments(job: &Job, model: &Model, vectors: &RecordBatch) -> Result<Vec<(String, Vec<bool>)>> {
    let mut masks = vec![("all".to_string(), vec![true; vectors.num_rows()])];
    for (name, expression) in &model.segments {
        let what = || format!("segment {name} of {}", model.name);
        masks.push((name.clone(), Expression::new(job, expression, &vectors.schema())?.mask(vectors, what)?));
    }
    Ok(masks)
}

/// An expression over the columns of vectors, written `group.feature`.
pub struct Expression(Arc<dyn PhysicalExpr>);

impl Expression {
    pub fn new(job: &Job, text: &str, schema: &Schema) -> Result<Expression> {
        let (session, schema) = (job.session()?, qualified(schema)?);
        let expr = session.context().parse_sql_expr(text, &schema)?;
        Ok(Expression(physical::compile(session.context(), expr, &schema)?))
    }

    pub fn values(&self, vectors: &RecordBatch) -> Result<ArrayRef> {
        Ok(self.0.evaluate(vectors)?.into_array(vectors.num_rows())?)
    }

    /// The rows for which it is true.
    ///
    /// # Errors
    /// `Definition`, about `what`, if it is no condition.
    pub fn mask(&self, vectors: &RecordBatch, what: impl Fn() -> String) -> Result<Vec<bool>> {
        let values = self.values(vectors)?;
        let mask = values.as_boolean_opt().ok_or_else(|| Error::definition(format!("{} is no condition", what())))?;
        Ok(mask.iter().map(|flag| flag == Some(true)).collect())
    }
}

/// `group.feature` columns as SQL sees them: qualified names.
pub fn qualified(schema: &Schema) -> Result<DFSchema> {
    let fields = schema.fields().iter().map(|field| match field.name().split_once('.') {
        Some((group, feature)) => {
            (Some(TableReference::bare(group)), Arc::new(field.as_ref().clone().with_name(feature)))
        }
        None => (None, field.clone()),
    });
    Ok(DFSchema::new_with_metadata(fields.collect(), Default::default())?)
}

/// One batch of many, in order.
pub fn one(schema: SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch> {
    Ok(concat_batches(&schema, batches)?)
}
