//! What can be held to the leakage proof: anything that computes features for a spine from tables.

use std::collections::HashMap;

use async_trait::async_trait;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::DataFrame;

use crate::define::Diagnostic;
use crate::define::features::{History, Visibility};
use crate::engine::session::Session;
use crate::error::Result;

/// A definition as the proof sees it: tables in, features out.
#[async_trait]
pub trait Subject: Send + Sync {
    /// As people call it: `group payments`.
    fn name(&self) -> String;

    /// Who is described.
    fn people(&self) -> &History;

    /// Whether the spine has all columns of those who are described, not just their names.
    fn reads_spine(&self) -> bool {
        false
    }

    fn reads(&self) -> Vec<Read>;

    /// The features for a spine of (entity…, as_of, _row), with `_row` among them, from what it reads, by name, with all
    /// row versions.
    async fn compute(
        &self,
        session: &Session,
        tables: HashMap<String, DataFrame>,
        spine: DataFrame,
    ) -> Result<SendableRecordBatchStream>;

    /// Where a column is defined, with a message about it.
    fn at(&self, column: &str, message: String) -> Diagnostic;
}

/// A table that a definition reads, and what of its rows a decision may see.
#[derive(Debug, Clone)]
pub struct Read {
    /// As the definition calls it.
    pub name: String,
    pub table: String,
    /// Columns that are times of the same event to several readers: a row is seen from the first of them on. None: its
    /// rows have no time, only versions.
    pub event_times: Vec<String>,
    pub visibility: Visibility,
    /// A row is about somebody whose columns (second) equal its own (first).
    pub on: Vec<(String, String)>,
}

impl Read {
    /// Of a table that calls the entity what everybody calls it.
    pub fn new(table: &str, event_times: &[&str], entity: &[String]) -> Read {
        Read {
            name: table.to_string(),
            table: table.to_string(),
            event_times: event_times.iter().map(ToString::to_string).collect(),
            visibility: Visibility::Known,
            on: entity.iter().map(|name| (name.clone(), name.clone())).collect(),
        }
    }
}
