//! What a rotation would find: where old pseudonyms are, whose raw values are lost, and what was computed from some.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::logical_expr::Expr;
use futures::{StreamExt, TryStreamExt, stream};

use super::Scanned;
use super::flow::Flow;
use super::marker::FOLDER;
use super::table::Rotation;
use super::words::Words;
use crate::error::{Error, Result};
use crate::lake::Snapshot;
use crate::pipeline::erase::objects;
use crate::pipeline::ingest::rekey;
use crate::pipeline::job::{Job, quoted};

/// Every object below the lake's root, and how many old pseudonyms it has.
pub async fn scan(job: &Job, words: &Arc<Words>) -> Result<Vec<Scanned>> {
    let tables = job.lake.tables().await?;
    let ours = format!("{FOLDER}/");
    let objects = objects(job).await?.into_iter().filter(|object| !object.name.starts_with(&ours));
    let work = objects.map(|object| {
        let table = tables.iter().find(|table| object.name.starts_with(&format!("{table}/"))).cloned();
        let words = Arc::clone(words);
        async move {
            let Some(content) = job.lake.content(&object).await? else { return Ok(None) };
            let name = object.name.clone();
            let found = tokio::task::spawn_blocking(move || words.scan(&name, &content)).await;
            let (found, binary) = found.map_err(|e| Error::internal(format!("a scan ended: {e}")))??;
            Ok::<_, Error>(Some(Scanned { object, table, found, binary }))
        }
    });
    let scanned = stream::iter(work).buffered(job.threads()).try_collect::<Vec<_>>().await?;
    Ok(scanned.into_iter().flatten().collect())
}

/// Pseudonyms in tables of sources whose raw values no file has any more, by column; tables that the rotation has behind
/// it do not count.
pub async fn lost(rotation: &Rotation<'_>) -> Result<BTreeMap<String, BTreeSet<String>>> {
    let job = rotation.job;
    let mut lost = BTreeMap::new();
    for source in job.project.sources.values() {
        let Some(snapshot) = job.lake.snapshot(&format!("tables/{}", source.name)).await? else { continue };
        if rotation.is_done(&snapshot).await? {
            continue;
        }
        for column in rekey::columns(source) {
            let unknown = |value: &str| !rotation.words.knows(value);
            let values = distinct(job, &snapshot, column, unknown).await?;
            if !values.is_empty() {
                lost.insert(format!("{}.{column}", source.name), values);
            }
        }
    }
    Ok(lost)
}

/// Columns with values that were computed from pseudonyms and are none: how many different ones, by table and column.
pub async fn computed(rotation: &Rotation<'_>, flow: &Flow, tables: &[String]) -> Result<BTreeMap<String, u64>> {
    let job = rotation.job;
    let mut computed = BTreeMap::new();
    for table in tables.iter().filter(|table| !is_source(job, table)) {
        let names: Vec<&str> = flow.columns(table).collect();
        if names.is_empty() {
            continue;
        }
        let Some(snapshot) = job.lake.snapshot(table).await? else { continue };
        for name in names {
            let field = snapshot.schema();
            let Ok(field) = field.field_with_name(name) else { continue };
            if field.data_type() != &DataType::Utf8 || rotation.is_done(&snapshot).await? {
                continue;
            }
            let others = |value: &str| rotation.words.count(value.as_bytes()) == 0;
            let values = distinct(job, &snapshot, name, others).await?.len() as u64;
            if values > 0 {
                computed.insert(format!("{table}.{name}"), values);
            }
        }
    }
    Ok(computed)
}

fn is_source(job: &Job, table: &str) -> bool {
    table.strip_prefix("tables/").is_some_and(|name| job.project.sources.contains_key(name))
}

/// The different values of a column that are such.
async fn distinct(job: &Job, snapshot: &Snapshot, column: &str, is: impl Fn(&str) -> bool) -> Result<BTreeSet<String>> {
    let mut values = BTreeSet::new();
    if snapshot.schema().field_with_name(column).is_err() {
        return Ok(values);
    }
    let session = job.session()?;
    let rows = session.context().read_table(snapshot.provider()?)?;
    let mut stream = rows.select(vec![Expr::from(quoted(column))])?.distinct()?.execute_stream().await?;
    while let Some(batch) = stream.next().await {
        let texts = cast(batch?.column(0), &DataType::Utf8)?;
        values.extend(texts.as_string::<i32>().iter().flatten().filter(|value| is(value)).map(String::from));
    }
    Ok(values)
}
