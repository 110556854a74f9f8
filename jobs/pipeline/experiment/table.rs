//! `experiments/<name>`: a row per variant, segment and metric; a night's rows replace those of the same night.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, Schema, SchemaRef};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::define::Experiment;
use crate::error::{Error, Result};
use crate::lake::{Outcome, Replace, TableSpec, Unit, documented};
use crate::learn::comparison::Cell;
use crate::pipeline::job::Job;

/// One variant by one metric on one segment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    pub model: String,
    pub segment: String,
    pub variant: String,
    pub head: String,
    pub inputs: u32,
    pub metric: String,
    pub rows: u64,
    pub positives: u64,
    pub value: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
    /// Whether it is the best of its segment by its metric.
    pub best: bool,
    /// Whether it is better than the second by more than noise.
    pub more_than_noise: bool,
    /// Of the best: the second, and the difference from it.
    pub second: Option<String>,
    pub difference: Option<f64>,
    pub difference_low: Option<f64>,
    pub difference_high: Option<f64>,
}

impl Row {
    pub fn new(model: &str, variant: &str, (head, inputs): (&str, u32), cell: Cell, second: Option<String>) -> Row {
        let lead = cell.lead.as_ref();
        Row {
            model: model.to_string(),
            variant: variant.to_string(),
            head: head.to_string(),
            inputs,
            metric: cell.metric.to_string(),
            rows: cell.rows,
            positives: cell.positives,
            value: cell.value,
            low: cell.interval.map(|interval| interval.low),
            high: cell.interval.map(|interval| interval.high),
            best: lead.is_some(),
            more_than_noise: lead.is_some_and(|lead| lead.is_more_than_noise()),
            second,
            difference: lead.map(|lead| lead.difference),
            difference_low: lead.map(|lead| lead.low),
            difference_high: lead.map(|lead| lead.high),
            segment: cell.segment,
        }
    }
}

pub fn name(experiment: &Experiment) -> String {
    format!("experiments/{}", experiment.name)
}

fn schema() -> SchemaRef {
    use DataType::{Boolean, Date32, Float64, Int64, Utf8};
    Arc::new(Schema::new(vec![
        documented("logical_date", Date32, false, "The night."),
        documented("position", Int64, false, "The order in which the rows are shown."),
        documented("model", Utf8, false, "The model whose rows are learned from."),
        documented("segment", Utf8, false, "The rows that are compared on; all, or a segment of the model."),
        documented("variant", Utf8, false, "The variant."),
        documented("head", Utf8, false, "The kind of its head."),
        documented("inputs", Int64, false, "How many inputs it has."),
        documented("metric", Utf8, false, "The metric; default_rate is that among the accepted."),
        documented("rows", Int64, false, "Rows out of sample in the segment."),
        documented("positives", Int64, false, "Those of them whose label is true."),
        documented("value", Float64, true, "The metric, the mean over seeds; null where the rows do not define it."),
        documented("low", Float64, true, "Lower end of its bootstrap interval, drawn by entity."),
        documented("high", Float64, true, "Upper end."),
        documented("best", Boolean, false, "Whether it is the best of its segment by its metric."),
        documented("more_than_noise", Boolean, false, "Whether the paired interval of its lead leaves out zero."),
        documented("second", Utf8, true, "Of the best: the second best variant."),
        documented("difference", Float64, true, "Of the best: its metric less that of the second."),
        documented("difference_low", Float64, true, "Lower end of the paired bootstrap interval of the difference."),
        documented("difference_high", Float64, true, "Upper end."),
    ]))
}

/// Tonight's rows and their version, if this very unit of work was done.
pub async fn stored(job: &Job, experiment: &Experiment, unit: &Unit) -> Result<Option<(Vec<Row>, u64)>> {
    let Some(snapshot) = job.lake.snapshot(&name(experiment)).await? else { return Ok(None) };
    if snapshot.committed(&unit.key).await? != Some(unit.fingerprint) {
        return Ok(None);
    }
    let session = job.session()?;
    let tonight = BTreeSet::from([job.date.to_string()]);
    let batches = session.context().read_table(snapshot.provider_of(&tonight)?)?.collect().await?;
    let mut rows: Vec<(i64, Row)> = Vec::new();
    for batch in &batches {
        rows.extend(read(batch)?);
    }
    rows.sort_by_key(|(position, _)| *position);
    Ok(Some((rows.into_iter().map(|(_, row)| row).collect(), snapshot.version())))
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(name).ok_or_else(|| Error::data(format!("a comparison has no column {name}")))
}

fn read(batch: &RecordBatch) -> Result<Vec<(i64, Row)>> {
    let texts = |name: &str| cast(column(batch, name)?, &DataType::Utf8).map_err(Error::from);
    let (model, segment, variant, head) = (texts("model")?, texts("segment")?, texts("variant")?, texts("head")?);
    let (metric, second) = (texts("metric")?, texts("second")?);
    let text = |values: &ArrayRef, row: usize| values.as_string::<i32>().value(row).to_string();
    let mut rows = Vec::new();
    for row in 0..batch.num_rows() {
        let number = |name: &str| Ok::<_, Error>(column(batch, name)?.as_primitive::<Int64Type>().value(row));
        let count = |name: &str| Ok::<_, Error>(u64::try_from(number(name)?).unwrap_or_default());
        let flag = |name: &str| Ok::<_, Error>(column(batch, name)?.as_boolean().value(row));
        let float = |name: &str| {
            let values = column(batch, name)?.as_primitive::<Float64Type>();
            Ok::<_, Error>(values.is_valid(row).then(|| values.value(row)))
        };
        let one = Row {
            model: text(&model, row),
            segment: text(&segment, row),
            variant: text(&variant, row),
            head: text(&head, row),
            inputs: u32::try_from(number("inputs")?).unwrap_or_default(),
            metric: text(&metric, row),
            rows: count("rows")?,
            positives: count("positives")?,
            value: float("value")?,
            low: float("low")?,
            high: float("high")?,
            best: flag("best")?,
            more_than_noise: flag("more_than_noise")?,
            second: second.is_valid(row).then(|| text(&second, row)),
            difference: float("difference")?,
            difference_low: float("difference_low")?,
            difference_high: float("difference_high")?,
        };
        rows.push((number("position")?, one));
    }
    Ok(rows)
}

pub async fn store(
    job: &Job,
    experiment: &Experiment,
    rows: &[Row],
    unit: &Unit,
    info: Map<String, Value>,
) -> Result<Outcome> {
    let spec = TableSpec {
        name: name(experiment),
        description: format!(
            "Variants of {}, compared on identical rows. {}",
            experiment.rows.name, experiment.description
        )
        .trim_end()
        .to_string(),
        schema: schema(),
        partition_by: Some("logical_date".into()),
        no_statistics: Vec::new(),
    };
    let mut writer = job.lake.writer(&spec).await?;
    writer.write(&batch(job, rows)?).await?;
    writer.commit(Replace::Partitions(BTreeSet::from([job.date.to_string()])), unit, info).await
}

fn batch(job: &Job, rows: &[Row]) -> Result<RecordBatch> {
    let text =
        |of: fn(&Row) -> &str| Arc::new(rows.iter().map(|row| Some(of(row))).collect::<StringArray>()) as ArrayRef;
    let number = |of: fn(&Row) -> u64| {
        Arc::new(rows.iter().map(|row| i64::try_from(of(row)).ok()).collect::<Int64Array>()) as ArrayRef
    };
    let float = |of: fn(&Row) -> Option<f64>| Arc::new(rows.iter().map(of).collect::<Float64Array>()) as ArrayRef;
    let flag =
        |of: fn(&Row) -> bool| Arc::new(rows.iter().map(|row| Some(of(row))).collect::<BooleanArray>()) as ArrayRef;
    let seconds: StringArray = rows.iter().map(|row| row.second.as_deref()).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Date32Array::from(vec![job.date.to_epoch_days(); rows.len()])),
        Arc::new(Int64Array::from_iter_values(0..rows.len() as i64)),
        text(|row| &row.model),
        text(|row| &row.segment),
        text(|row| &row.variant),
        text(|row| &row.head),
        number(|row| u64::from(row.inputs)),
        text(|row| &row.metric),
        number(|row| row.rows),
        number(|row| row.positives),
        float(|row| row.value),
        float(|row| row.low),
        float(|row| row.high),
        flag(|row| row.best),
        flag(|row| row.more_than_noise),
        Arc::new(seconds),
        float(|row| row.difference),
        float(|row| row.difference_low),
        float(|row| row.difference_high),
    ];
    Ok(RecordBatch::try_new(schema(), columns)?)
}
