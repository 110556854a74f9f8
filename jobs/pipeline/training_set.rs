//! `training_sets/<model>`: what the last version of a model was trained from, row by row.
//!
//! A commit says which version it is of, so that the gate and monitoring find the rows of a version even after a later
//! one was trained, for as long as the table's history is kept.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use serde_json::json;

use super::job::Job;
use super::spine::{self, Spine};
use super::vectors;
use crate::define::Model;
use crate::define::inputs::Input;
use crate::error::{Error, Result};
use crate::lake::{Replace, TableSpec, Unit};
use crate::learn::train::Fitted;

/// What the commit says of itself.
const VERSION: &str = "model_version";

/// Keeps what a version was trained from: spine, label, part, inputs (`group__feature`), out-of-sample probability.
pub async fn store(
    job: &Job,
    model: &Model,
    version: &str,
    spine: &Spine,
    vectors: &RecordBatch,
    fitted: &Fitted,
) -> Result<()> {
    let rows = spine.rows.num_rows();
    let mut parts: Vec<Option<&str>> = vec![None; rows];
    let mut probabilities: Vec<Option<f64>> = vec![None; rows];
    for prediction in &fitted.predictions {
        parts[prediction.row] = Some(prediction.part.name());
        probabilities[prediction.row] = Some(prediction.probability);
    }
    let mut fields: Vec<Field> = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    let identity =
        model.entity.iter().map(String::as_str).chain(["as_of"]).chain(model.spine_key().iter().map(String::as_str));
    for name in identity {
        let index = spine.rows.schema().index_of(name)?;
        if fields.iter().all(|f| f.name() != name) {
            fields.push(spine.rows.schema().field(index).clone());
            columns.push(spine.rows.column(index).clone());
        }
    }
    fields.push(Field::new("label", DataType::Boolean, false));
    columns.push(Arc::new(BooleanArray::from(spine.labels.clone())));
    fields.push(Field::new("part", DataType::Utf8, true));
    columns.push(Arc::new(StringArray::from(parts)));
    fields.push(Field::new("probability", DataType::Float64, true));
    columns.push(Arc::new(Float64Array::from(probabilities)));
    for (index, field) in vectors.schema().fields().iter().enumerate() {
        fields.push(field.as_ref().clone().with_name(stored_name(field.name())));
        columns.push(vectors.column(index).clone());
    }
    fields.push(Field::new(VERSION, DataType::Utf8, false));
    columns.push(Arc::new(StringArray::from(vec![version; rows])));
    let schema = Arc::new(Schema::new(fields));
    let spec = TableSpec {
        name: format!("training_sets/{}", model.name),
        description: format!("What the last version of {} was trained from.", model.name),
        schema: schema.clone(),
        partition_by: None,
        no_statistics: job.project.identifying("training_sets", &schema),
    };
    let mut writer = job.lake.writer(&spec).await?;
    writer.write(&RecordBatch::try_new(schema, columns)?).await?;
    let unit = Unit { key: format!("train:{}:{}", model.name, version), fingerprint: 1 };
    let info = [(VERSION.to_string(), json!(version)), ("run_id".to_string(), json!(job.run_id))];
    writer.commit(Replace::All, &unit, info.into_iter().collect()).await?;
    Ok(())
}

/// The rows that a version was trained from or measured on.
#[derive(Debug)]
pub struct TrainingSet {
    rows: RecordBatch,
    pub entities: Vec<String>,
    pub as_of: Vec<i64>,
    pub labels: Vec<bool>,
    /// By a model that did not see the row; `None` where there was none.
    pub out_of_sample: Vec<Option<f64>>,
    pub parts: Vec<Option<String>>,
}

/// Reads them; `None` where they are not kept any longer.
pub async fn of_version(job: &Job, model: &Model, version: &str) -> Result<Option<TrainingSet>> {
    let path = format!("training_sets/{}", model.name);
    let Some(newest) = job.lake.snapshot(&path).await? else { return Ok(None) };
    let of = |info: &serde_json::Map<String, serde_json::Value>| info.get(VERSION) == Some(&json!(version));
    let Some((at, _)) = newest.commit_where(of).await? else { return Ok(None) };
    let Some(snapshot) = job.lake.snapshot_at(&path, at).await? else { return Ok(None) };
    if !snapshot.missing(None).await?.is_empty() {
        return Ok(None);
    }
    let session = job.session()?;
    let frame = session.context().read_table(snapshot.provider()?)?;
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let rows = vectors::one(schema, &frame.collect().await?)?;
    let column = |name: &str| rows.column_by_name(name).ok_or_else(|| Error::internal(format!("{path} lacks {name}")));
    let labels = column("label")?.as_boolean().iter().map(|label| label == Some(true)).collect();
    let out_of_sample = column("probability")?.as_primitive::<Float64Type>().iter().collect();
    let parts = column("part")?.as_string::<i32>().iter().map(|part| part.map(str::to_string)).collect();
    let entities = spine::entity_texts(&rows, &model.entity)?;
    let as_of = spine::instants(&rows, "as_of")?;
    Ok(Some(TrainingSet { entities, as_of, labels, out_of_sample, parts, rows }))
}

impl TrainingSet {
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Inputs of some of its rows, by their names; `None` if it does not have one of them.
    pub fn vectors(&self, inputs: &[Input], chosen: &[bool]) -> Result<Option<RecordBatch>> {
        let mut fields = Vec::new();
        let mut columns = Vec::new();
        for input in inputs {
            let Ok(index) = self.rows.schema().index_of(&stored_name(&input.name())) else { return Ok(None) };
            fields.push(self.rows.schema().field(index).clone().with_name(input.name()).with_nullable(true));
            columns.push(self.rows.column(index).clone());
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(self.len()));
        let all = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)?;
        Ok(Some(spine::only(&all, chosen.to_vec())?))
    }
}

/// A name that every reader of tables can select without quotes.
fn stored_name(input: &str) -> String {
    input.replace('.', "__")
}
