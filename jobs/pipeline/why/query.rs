//! A feature that a query computes: its value, and of each table the rows about the entity that it could see.

use futures::TryStreamExt;

use super::evidence::evidence;
use super::{Answer, Because, Question, about, keys, named, spine, unknown, value};
use crate::define::SqlFeatures;
use crate::define::features::History;
use crate::error::Result;
use crate::pipeline::job::Job;
use crate::pipeline::{instants, sql_features, vectors};

pub async fn explain(job: &Job, question: Question<'_>, features: &SqlFeatures, feature: &str) -> Result<Answer> {
    let Some(column) = features.columns.get(feature) else {
        let message = format!("{} has no feature `{feature}`", features.name);
        return Err(unknown(question.name, message, feature, features.columns.keys().map(String::as_str)));
    };
    let as_of = question.as_of.unwrap_or(job.as_of());
    let session = job.session()?;
    let pins = job.pin(features.tables()).await?;
    let entities = pins.frame(&session, &features.entities, job.as_of())?;
    let keys = keys(&entities, &features.entity, question.entity)?;
    let stream = sql_features::compute(job, &session, &pins, features, spine(&session, &keys, as_of)?).await?;
    let schema = stream.schema();
    let one = vectors::one(schema, &stream.try_collect::<Vec<_>>().await?)?;
    let (mut tables, mut others) = (Vec::new(), Vec::new());
    for table in &features.inputs {
        let rows = pins.frame(&session, table, job.as_of())?;
        let is_key = |name: &String| rows.schema().has_column_with_unqualified_name(name);
        if job.project.event_time(table).is_none() || !features.entity.iter().all(is_key) {
            others.push(table.clone());
            continue;
        }
        let past = History { table: table.clone(), ..sql_features::population(features) };
        tables.push(evidence(job, &past, None, about(rows, &keys)?, as_of, question.limit).await?);
    }
    Ok(Answer {
        feature: question.name.to_string(),
        doc: column.doc.clone(),
        entity: named(&keys)?,
        as_of: instants::text(as_of),
        value: value(&one, feature)?,
        because: Because::Query { file: features.sql_file.clone(), tables, others },
    })
}
