//! The lake as a catalogue, whose tables are opened when a plan names them: what there is costs a listing of folders.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;

use super::opened;
use super::tables::names;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::lake::Lake;

/// What DataFusion calls its catalogue, and in it the schema of names that stand alone.
pub const CATALOG: &str = "datafusion";
const ALONE: &str = "public";

/// Every table of the lake, by the names that queries have: `payment`, `tables.payment`, `features.payments`, `runs`.
pub async fn register(lake: &Lake, session: &Session) -> Result<()> {
    let mut schemas = BTreeMap::from([(ALONE.to_string(), Vec::new())]);
    schemas.insert("tables".to_string(), lake.directories("tables").await?);
    for name in names(lake).await? {
        let (schema, table) = name.split_once('.').unwrap_or((ALONE, &name));
        schemas.entry(schema.to_string()).or_insert_with(Vec::new).push(table.to_string());
    }
    let catalog = session.context().catalog(CATALOG).ok_or_else(|| Error::internal("no default catalog"))?;
    for (schema, tables) in schemas {
        let folder = (schema != ALONE).then(|| schema.clone());
        let provider = Folder { lake: lake.clone(), context: session.context().clone(), folder, tables };
        catalog.register_schema(&schema, Arc::new(provider))?;
    }
    Ok(())
}

/// The tables of one folder, or those whose names stand alone.
struct Folder {
    lake: Lake,
    context: SessionContext,
    folder: Option<String>,
    tables: Vec<String>,
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Folder").field("folder", &self.folder).field("tables", &self.tables).finish_non_exhaustive()
    }
}

#[async_trait]
impl SchemaProvider for Folder {
    fn table_names(&self) -> Vec<String> {
        self.tables.clone()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        if !self.table_exist(name) {
            return Ok(None);
        }
        let found = opened(&self.lake, &self.context, self.folder.as_deref(), name).await;
        found.map_err(|error| DataFusionError::External(Box::new(error)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.tables.iter().any(|table| table == name)
    }
}
