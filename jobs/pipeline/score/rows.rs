//! A row of scores: who, when, what was predicted, what is decided, and why.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Float64Array, Int32Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::define::Model;
use crate::define::model::{ScoreScale, Scoring};
use crate::define::types::timestamp;
use crate::error::{Error, Result};
use crate::lake::documented;
use crate::learn::score::{Decisions, Scale};
use crate::learn::scorecard::Points;
use crate::pipeline::artifacts::Predictions;
use crate::pipeline::job::Job;

/// What a score says before there is a champion.
pub const NO_CHAMPION: &str = "no_champion";

/// What the rows were scored by.
#[derive(Debug, Clone, Copy)]
pub struct Scored<'a> {
    pub model_version: &'a str,
    pub feature_version: Option<&'a str>,
}

/// What a model decides on a probability.
pub struct Policy {
    scale: Scale,
    decisions: Decisions,
    /// Upper bound and limit of each band; two may have one action.
    limits: Vec<(Option<f64>, Option<f64>)>,
}

impl Policy {
    pub fn of(model: &Model) -> Result<Policy> {
        let scale = match model.score {
            ScoreScale::Linear { from, to } => Scale::new(from, to)?,
            ScoreScale::Points { points, at_odds, double_odds } => {
                Scale::Points(Points::new(points, at_odds, double_odds)?)
            }
        };
        let decisions = Decisions::new(model.decisions.iter().map(|d| (d.action.clone(), d.below)).collect())?;
        let limits = model.decisions.iter().map(|d| (d.below, d.limit)).collect();
        Ok(Policy { scale, decisions, limits })
    }

    pub fn score(&self, probability: f64) -> f64 {
        self.scale.score(probability)
    }

    pub fn action(&self, probability: f64) -> &str {
        self.decisions.decide(probability)
    }

    /// How much may be lent at this probability; `None` where the band has no limit.
    pub fn limit(&self, probability: f64) -> Option<f64> {
        let holds = |(below, _): &&(Option<f64>, Option<f64>)| below.is_none_or(|below| probability < below);
        self.limits.iter().find(holds).and_then(|(_, limit)| *limit)
    }
}

/// Rows of scores, in the order of the rows that were scored; without predictions nothing is decided.
pub fn scored(
    job: &Job,
    model: &Model,
    rows: &RecordBatch,
    said: Option<&Predictions>,
    by: &Scored<'_>,
) -> Result<RecordBatch> {
    let count = rows.num_rows();
    if said.is_some_and(|said| said.probability.len() != count) {
        return Err(Error::internal(format!("{count} rows to score and another number of scores")));
    }
    let policy = Policy::of(model)?;
    let (mut fields, mut columns) = identity(model, rows)?;
    let mut push = |name: &str, data_type: DataType, nullable: bool, doc: &str, column: ArrayRef| {
        fields.push(documented(name, data_type, nullable, doc));
        columns.push(column);
    };
    let numbers = |get: &dyn Fn(&Predictions, usize) -> Option<f64>| -> ArrayRef {
        Arc::new((0..count).map(|row| said.and_then(|said| get(said, row))).collect::<Float64Array>())
    };
    let number = DataType::Float64;
    let what = if model.description.is_empty() { &model.name } else { &model.description };
    push(
        "margin",
        number.clone(),
        true,
        "What the model says before it is a probability.",
        numbers(&|s, r| Some(s.margin[r])),
    );
    let doc = "The probability before calibration.";
    push("uncalibrated", number.clone(), true, doc, numbers(&|s, r| Some(s.uncalibrated[r])));
    let doc = format!("Probability, calibrated, on which is decided: {what}");
    push("probability", number.clone(), true, &doc, numbers(&|s, r| Some(s.probability[r])));
    let doc = "The probability on the declared scale.";
    push("score", number.clone(), true, doc, numbers(&|s, r| Some(policy.score(s.probability[r]))));
    let decided: StringArray = match said {
        Some(said) => said.probability.iter().map(|p| Some(policy.action(*p))).collect(),
        None => StringArray::from(vec![NO_CHAMPION; count]),
    };
    push("decision", DataType::Utf8, false, "The action taken.", Arc::new(decided));
    let doc = "How much may be lent, or sold on delivery, in this band; null without a limit.";
    push("limit", number, true, doc, numbers(&|s, r| policy.limit(s.probability[r])));
    let [codes, sentences] = reasons(model, said, count);
    let doc = "Codes of what speaks most for the outcome, the weightiest first; null where the model gives none.";
    push("reason_codes", codes.data_type().clone(), true, doc, codes);
    push("reasons", sentences.data_type().clone(), true, "A sentence for each code.", sentences);
    let missing: Int32Array = (0..count).map(|row| said.map(|said| said.missing[row] as i32)).collect();
    push("missing_inputs", DataType::Int32, true, "How many of the model's inputs are missing.", Arc::new(missing));
    let versions = Arc::new(StringArray::from(vec![by.model_version; count]));
    push("model_version", DataType::Utf8, false, "The artifact is models/<model>/<version>/.", versions);
    let versions = Arc::new(StringArray::from(vec![by.feature_version; count]));
    push("feature_version", DataType::Utf8, true, "Fingerprint of the definitions of the model's inputs.", versions);
    let dates = Arc::new(Date32Array::from_value(job.date.to_epoch_days(), count));
    push("logical_date", DataType::Date32, false, "The night that scored.", dates);
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// Codes and sentences per row.
fn reasons(model: &Model, said: Option<&Predictions>, count: usize) -> [ArrayRef; 2] {
    let builder = || ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true));
    let (mut codes, mut sentences) = (builder(), builder());
    let groups: Vec<_> = model.reasons.iter().flat_map(|reasons| reasons.groups.values()).collect();
    for row in 0..count {
        let given = said.and_then(|said| said.reasons.as_ref()).map(|reasons| &reasons[row]);
        for group in given.into_iter().flatten().filter_map(|index| groups.get(usize::from(*index))) {
            codes.values().append_value(&group.code);
            sentences.values().append_value(&group.sentence);
        }
        codes.append(given.is_some());
        sentences.append(given.is_some());
    }
    [Arc::new(codes.finish()), Arc::new(sentences.finish())]
}

/// Columns that say whom a row is about: the entity, when, and which of its decisions.
pub fn key(model: &Model) -> Vec<&str> {
    let key: &[String] = if matches!(model.scoring, Scoring::Applications(_)) { model.spine_key() } else { &[] };
    let mut names: Vec<&str> = Vec::new();
    for name in model.entity.iter().map(String::as_str).chain(["as_of"]).chain(key.iter().map(String::as_str)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Those columns of a batch, documented.
pub fn identity(model: &Model, rows: &RecordBatch) -> Result<(Vec<Field>, Vec<ArrayRef>)> {
    let mut fields: Vec<Field> = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for name in key(model) {
        let doc = match name {
            "as_of" => "The instant of the decision; nothing younger was used.",
            name if model.entity.iter().any(|e| e == name) => "The entity.",
            _ => "Identifies the decision.",
        };
        let column = rows.column_by_name(name).ok_or_else(|| Error::internal(format!("no column {name}")))?;
        let data_type = if name == "as_of" { timestamp() } else { column.data_type().clone() };
        let nullable = name != "as_of" && !model.entity.iter().any(|e| e == name);
        columns.push(arrow::compute::cast(column, &data_type)?);
        fields.push(documented(name, data_type, nullable, doc));
    }
    Ok((fields, columns))
}
