//! SQL-defined features in the `features` job and for a model's spine.
//!
//! Stored as groups are: `features/<name>`, a partition per night. Each night computes everybody, since a query says
//! nothing about which of its rows may have changed.

use std::collections::HashMap;

use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{Expr, ExprFunctionExt};
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::prelude::DataFrame;
use futures::StreamExt;

use super::features::{dated, everybody, stored_schema};
use super::fingerprints;
use super::job::{Job, Pins, Written, definition_text, quoted};
use super::progress::thousands;
use crate::define::SqlFeatures;
use crate::define::features::{History, Visibility};
use crate::engine::session::Session;
use crate::engine::sql_features;
use crate::error::Result;
use crate::lake::{Replace, TableSpec};

/// Why a night computes everybody.
pub const WHY_ALL: &str = "a query does not say which of its rows changed";

/// Everybody's features tonight.
pub async fn night(job: &Job, features: &SqlFeatures) -> Result<Written> {
    let path = format!("features/{}", features.name);
    let step = job.progress.step(&path);
    let pins = job.pin(features.tables()).await?;
    let text = definition_text(features)?;
    let unit = job.unit("features", &path, &text, &pins);
    let existing = job.lake.snapshot(&path).await?;
    if let Some(existing) = &existing
        && existing.committed(&unit.key).await? == Some(unit.fingerprint)
    {
        step.done("unchanged");
        return Ok(Written::unchanged(path, "unchanged", Some(existing.version())));
    }
    let session = job.session()?;
    let people = population(features);
    let spine = numbered(everybody(job, &session, &pins, &people)?, &features.entity)?;
    let mut stream = compute(job, &session, &pins, features, spine).await?;
    let schema = stored_schema(&stream.schema(), &features.entity, existing.as_ref(), |_| None);
    let spec = TableSpec {
        name: path.clone(),
        description: features.description.clone(),
        schema: schema.clone(),
        partition_by: Some("logical_date".into()),
        no_statistics: job.project.identifying(&path, &schema),
    };
    let mut writer = job.lake.writer(&spec).await?;
    while let Some(batch) = stream.next().await {
        writer.write(&dated(&batch?, &schema, job.date)?).await?;
    }
    let mut info = job.commit_info("features", &text, &pins);
    info.insert("columns".into(), fingerprints::value(&fingerprints::query(features)?));
    let outcome = writer.commit(Replace::Partitions([job.date.to_string()].into()), &unit, info).await?;
    let written = Written::new(path, &outcome, step.seconds()).detail("way", "snapshot").detail("why", WHY_ALL);
    step.done(&format!("{} entities × {} columns", thousands(written.rows), features.columns.len()));
    Ok(written)
}

/// The features for a spine of (entity, as_of, _row), from what was known tonight.
pub async fn compute(
    job: &Job,
    session: &Session,
    pins: &Pins,
    features: &SqlFeatures,
    spine: DataFrame,
) -> Result<SendableRecordBatchStream> {
    let mut tables = HashMap::new();
    for name in &features.inputs {
        tables.insert(name.clone(), pins.frame(session, name, job.as_of())?);
    }
    sql_features::compute(session, features, tables, spine).await
}

/// Who is described, as a history without events.
pub fn population(features: &SqlFeatures) -> History {
    History {
        entity: features.entity.clone(),
        entities: features.entities.clone(),
        table: features.entities.clone(),
        event_time: None,
        visibility: Visibility::Known,
        filter: None,
    }
}

/// `_row` by the order of entities, which is the same whenever the spine is read.
fn numbered(spine: DataFrame, entity: &[String]) -> Result<DataFrame> {
    let order = entity.iter().map(|name| Expr::from(quoted(name)).sort(true, true)).collect();
    Ok(spine.with_column("_row", row_number().order_by(order).build()?)?)
}
