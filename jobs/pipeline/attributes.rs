//! Features over the attributes of decisions, for a model's spine. They are nobody's state, so no night stores them.

use std::collections::HashMap;

use arrow::record_batch::RecordBatch;

use super::job::{Job, Pins};
use super::load;
use crate::define::Attributes;
use crate::define::diagnostic::into_error;
use crate::engine::attributes;
use crate::engine::session::Session;
use crate::error::{Error, Result};

/// The features for each row of a spine, from what was known tonight.
pub async fn compute(
    job: &Job,
    session: &Session,
    pins: &Pins,
    definition: &Attributes,
    spine: &RecordBatch,
) -> Result<RecordBatch> {
    let compiled = load::attributes(session, &job.project, &job.catalog, definition);
    let compiled = compiled.ok_or_else(|| Error::internal(format!("no schema of {}", definition.spine)))?;
    let mut tables = HashMap::new();
    for (alias, lookup) in &definition.lookups {
        tables.insert(alias.clone(), pins.frame(session, &lookup.table, job.as_of())?);
    }
    attributes::compute(session, &compiled.map_err(into_error)?, tables, spine).await
}
