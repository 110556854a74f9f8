//! The `query` job: SQL over the lake.
//!
//! `payment` is the current rows of `tables/payment` without our bookkeeping; `tables.payment` is everything stored,
//! closed versions too. `features.payments`, `sequences.…`, `scores.credit`, `quarantine.…`, `training_sets.…`,
//! `experiments.…`, `searches.…`, `runs`, `manifest` and `registry` are the Delta tables of these names. Only what a
//! query names is opened.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::catalog::{MemorySchemaProvider, SchemaProvider};
use datafusion::common::Column;
use datafusion::common::TableReference;
use datafusion::logical_expr::{Expr, col};
use datafusion::prelude::DataFrame;
use datafusion::sql::parser::DFParser;
use datafusion::sql::resolve::resolve_table_references;

use super::features::state::SUFFIX;
use super::open;
use super::rotation;
use crate::define::diagnostic::nearest;
use crate::define::profile::Profile;
use crate::define::types::OWN_TABLES;
use crate::engine::session::Session;
use crate::error::{Error, Result};
use crate::lake::Lake;

/// Folders of the lake that hold tables by name.
const FOLDERS: [&str; 14] = [
    "tables",
    "features",
    "sequences",
    "scores",
    "scores_current",
    "gates",
    "differences",
    "fairness",
    "monitoring",
    "quarantine",
    "training_sets",
    "labels",
    "experiments",
    "searches",
];

/// Runs one query and collects its rows.
pub async fn run(profile: &Profile, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let (lake, session) = (open::lake(profile)?, open::session(profile)?);
    rotation::refuse(&lake).await?;
    let mut statements = DFParser::parse_sql(sql).map_err(wrong)?;
    let statement = match (statements.pop_front(), statements.len()) {
        (Some(statement), 0) => statement,
        (None, _) => return Err(Error::definition("there is no query\n  expected: one SQL statement")),
        _ => return Err(Error::definition("there are several statements\n  expected: one SQL statement")),
    };
    let (tables, _) = resolve_table_references(&statement, true).map_err(wrong)?;
    for table in tables {
        register(&lake, &session, &table).await?;
    }
    let options = datafusion::execution::context::SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    let frame = session.context().sql_with_options(sql, options).await.map_err(wrong)?;
    let schema = Arc::new(frame.schema().as_arrow().clone());
    Ok((schema, frame.collect().await?))
}

fn wrong(error: datafusion::error::DataFusionError) -> Error {
    Error::definition(error.strip_backtrace())
}

async fn register(lake: &Lake, session: &Session, table: &TableReference) -> Result<()> {
    let context = session.context();
    let (folder, name) = (table.schema(), table.table());
    let path = match folder {
        Some(folder) => format!("{folder}/{name}"),
        None => name.to_string(),
    };
    if let Some(snapshot) = lake.snapshot(&path).await? {
        if let Some(folder) = folder {
            schema(session, folder)?;
        }
        context.register_table(table.clone(), snapshot.provider()?)?;
        return Ok(());
    }
    if folder.is_none()
        && let Some(snapshot) = lake.snapshot(&format!("tables/{name}")).await?
    {
        let frame = current(context.read_table(snapshot.provider()?)?)?;
        context.register_table(table.clone(), frame.into_view())?;
        return Ok(());
    }
    let names = names(lake).await?;
    let near = nearest(&path.replace('/', "."), names.iter().map(String::as_str));
    let help = near.map_or(String::new(), |near| format!("\n  help: did you mean `{near}`?"));
    let there = if names.is_empty() { "nothing yet: run `scorehouse nightly`".to_string() } else { names.join(", ") };
    Err(Error::definition(format!("there is no table `{table}` in the lake\n  expected: one of {there}{help}")))
}

/// Open versions, without bookkeeping.
fn current(frame: DataFrame) -> Result<DataFrame> {
    let has = |name: &str| frame.schema().has_column_with_unqualified_name(name);
    let open = if has("_known_until") { frame.clone().filter(col("_known_until").is_null())? } else { frame.clone() };
    let fields = frame.schema().fields();
    let kept = fields.iter().map(|f| f.name()).filter(|name| !name.starts_with('_'));
    let columns: Vec<Expr> = kept.map(|name| Expr::from(Column::from_name(name))).collect();
    Ok(open.select(columns)?)
}

fn schema(session: &Session, folder: &str) -> Result<()> {
    let context = session.context();
    let catalog = context.catalog("datafusion").ok_or_else(|| Error::internal("no default catalog"))?;
    if catalog.schema(folder).is_none() {
        let provider: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
        catalog.register_schema(folder, provider)?;
    }
    Ok(())
}

/// Everything a query can name, but for what is internal.
pub async fn names(lake: &Lake) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in FOLDERS {
        for name in lake.directories(folder).await?.into_iter().filter(|name| !name.ends_with(SUFFIX)) {
            names.push(if folder == "tables" { name } else { format!("{folder}.{name}") });
        }
    }
    for name in OWN_TABLES {
        if lake.snapshot(name).await?.is_some() {
            names.push(name.to_string());
        }
    }
    Ok(names)
}
