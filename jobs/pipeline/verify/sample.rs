//! A few entities, and the rows of a table that are about them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::logical_expr::{Expr, JoinType, cast};
use datafusion::prelude::DataFrame;
use futures::StreamExt;

use crate::define::features::History;
use crate::engine::plan::{KNOWN_FROM, KNOWN_UNTIL};
use crate::engine::session::Session;
use crate::error::Result;
use crate::pipeline::job::{Job, Pins, digest, quoted};
use crate::pipeline::{features, spine};

/// At most `count` of the entities of tonight, one row each, in the order of their keys: those whose hash with the seed
/// is least, so that the same are chosen in whatever order they come. A row has the entity's columns, or where `whole`
/// all of them.
pub async fn people(
    job: &Job,
    session: &Session,
    pins: &Pins,
    (history, whole): (&History, bool),
    count: usize,
    seed: u64,
) -> Result<RecordBatch> {
    let everybody = match whole {
        true => pins.current(session, &history.entities, job.as_of())?.drop_columns(&[KNOWN_FROM, KNOWN_UNTIL])?,
        false => features::everybody(job, session, pins, history)?.select(keys(&history.entity))?,
    };
    let schema = Arc::new(everybody.schema().as_arrow().clone());
    let mut stream = everybody.execute_stream().await?;
    let mut chosen: BTreeMap<Vec<u8>, (String, RecordBatch)> = BTreeMap::new();
    let seed = seed.to_string();
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        for (row, key) in spine::entity_texts(&batch, &history.entity)?.into_iter().enumerate() {
            chosen.insert(digest(&[&seed, &key]), (key, batch.slice(row, 1)));
            if chosen.len() > count {
                chosen.pop_last();
            }
        }
    }
    let mut chosen: Vec<(String, RecordBatch)> = chosen.into_values().collect();
    chosen.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(concat_batches(&schema, chosen.iter().map(|(_, batch)| batch))?)
}

/// The rows of a table about these people: those with a column (first) equal to one of theirs (second); all rows of a
/// table that has none of the columns.
pub fn rows_about(
    session: &Session,
    people: &RecordBatch,
    on: &[(String, String)],
    table: DataFrame,
) -> Result<DataFrame> {
    let (mut theirs, mut keys, mut renamed) = (Vec::new(), Vec::new(), Vec::new());
    for (name, of_people) in on {
        let Ok(field) = table.schema().field_with_unqualified_name(name) else { continue };
        let key = format!("sampled_{name}");
        keys.push(cast(Expr::from(quoted(of_people)), field.data_type().clone()).alias(&key));
        theirs.push(name.as_str());
        renamed.push(key);
    }
    if theirs.is_empty() {
        return Ok(table);
    }
    let people = session.context().read_batch(people.clone())?.select(keys)?;
    let renamed: Vec<&str> = renamed.iter().map(String::as_str).collect();
    Ok(table.join(people, JoinType::LeftSemi, &theirs, &renamed, None)?)
}

/// All rows of a frame in one batch.
pub async fn collect(frame: DataFrame) -> Result<RecordBatch> {
    let schema = Arc::new(frame.schema().as_arrow().clone());
    Ok(concat_batches(&schema, &frame.collect().await?)?)
}

pub fn keys(entity: &[String]) -> Vec<Expr> {
    entity.iter().map(|name| Expr::from(quoted(name))).collect()
}

/// Each person as a message names them: `user_id = u42`.
pub fn names(people: &RecordBatch, entity: &[String]) -> Result<Vec<String>> {
    let texts = spine::entity_texts(people, entity)?;
    let name = |text: String| {
        let keys = entity.iter().zip(text.split('\u{1f}')).map(|(key, value)| format!("{key} = {value}"));
        keys.collect::<Vec<_>>().join(", ")
    };
    Ok(texts.into_iter().map(name).collect())
}
