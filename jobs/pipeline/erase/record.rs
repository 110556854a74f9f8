//! The `erasures` table: what was erased when, from where, and that nothing was found afterwards. It names nobody.
//!
//! A row per table says its first version that can be read: what was pinned before is `erased`, not merely old. A row with
//! the table `*` is the proof.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use serde_json::Map;

use super::Report;
use crate::error::Result;
use crate::lake::{Replace, TableSpec, Unit, documented};
use crate::pipeline::job::{Job, fingerprint};

pub const TABLE: &str = "erasures";

pub async fn append(job: &Job, column: &str, hash: &str, report: &Report) -> Result<()> {
    let tables = &report.tables;
    let rows = tables.len() + 1;
    let same = |value: &str| Arc::new(StringArray::from(vec![value.to_string(); rows])) as ArrayRef;
    let number = |values: Vec<Option<u64>>| {
        Arc::new(values.into_iter().map(|value| value.and_then(|v| i64::try_from(v).ok())).collect::<Int64Array>())
            as ArrayRef
    };
    let none = || std::iter::repeat_n(None, tables.len());
    let names = tables.iter().map(|erased| Some(erased.table.as_str())).chain([Some("*")]);
    let columns = vec![
        same(&job.run_id),
        Arc::new(Date32Array::from(vec![job.date.to_epoch_days(); rows])),
        same(column),
        same(hash),
        Arc::new(names.collect::<StringArray>()),
        number(
            tables.iter().map(|erased| Some(erased.rows)).chain([Some(tables.iter().map(|t| t.rows).sum())]).collect(),
        ),
        number(tables.iter().map(|erased| erased.first_version).chain([None]).collect()),
        number(none().chain([Some(report.proof.objects)]).collect()),
        number(none().chain([Some(report.proof.bytes)]).collect()),
        number(none().chain([Some(report.proof.found)]).collect()),
    ];
    let spec = TableSpec {
        name: TABLE.into(),
        description: "What was erased, by run and table, and the proof that nothing is left.".into(),
        schema: schema(),
        partition_by: None,
        no_statistics: vec!["hash".into()],
    };
    let mut writer = job.lake.writer(&spec).await?;
    writer.write(&RecordBatch::try_new(schema(), columns)?).await?;
    let unit = Unit { key: TABLE.into(), fingerprint: fingerprint(&[&job.run_id]) };
    writer.commit(Replace::Nothing, &unit, Map::new()).await?;
    Ok(())
}

fn schema() -> SchemaRef {
    let field = |name: &str, data_type: DataType, doc: &str| documented(name, data_type, false, doc);
    let maybe = |name: &str, doc: &str| documented(name, DataType::Int64, true, doc);
    Arc::new(Schema::new(vec![
        field("run_id", DataType::Utf8, "The run, as in runs."),
        field("logical_date", DataType::Date32, "The date of the run."),
        field("column", DataType::Utf8, "The column that names the entity."),
        field("hash", DataType::Utf8, "The entity, as in suppressions."),
        field("table", DataType::Utf8, "The table below the lake's root; * is the lake as a whole."),
        maybe("rows", "Rows that were taken out of its newest version."),
        maybe("first_version", "The first version that can be read; those before held the entity, and are erased."),
        maybe("objects", "Of *: objects looked through afterwards."),
        maybe("bytes", "Of *: their bytes."),
        maybe("found", "Of *: how often the entity was found in them."),
    ]))
}
