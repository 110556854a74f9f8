//! The DataFusion session every job computes in, set up once so that all of them mean the same by a string, a time
//! zone and a memory limit.
//!
//! Strings are `Utf8` inside and outside: the Parquet reader and the SQL parser would otherwise hand out views, and a
//! table's declared schema would differ from its result's. Times are UTC. Under a memory limit joins are sort-merge
//! joins, because the build side of a hash join does not spill.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::config::Dialect;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::error::{Error, Result};

use super::pit::node::Planner;

/// Rows per batch.
pub const BATCH_ROWS: usize = 8192;

/// Consumers that an out-of-memory error names.
const NAMED_CONSUMERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4);

/// Spilled runs merged at a time. A merge otherwise takes memory for as many as the pool has room for, and leaves
/// nothing to the operators above it.
const SPILL_MERGE_FAN_IN: usize = 16;

/// Partitions per thread. What a sort or the table of a join holds of one partition should fit a processor's cache,
/// which is worth more than the rows that smaller partitions hand around: a history of 20 million rows took 8.0 s with
/// one per thread, and 5.0 s with eight.
const PARTITIONS_PER_THREAD: usize = 8;
/// With that many threads, partitions are small enough.
const ENOUGH_PARTITIONS: usize = 64;
/// Under a memory limit a partition has at least so much of it, for its sorts to share.
const PARTITION_MEMORY: usize = 128 << 20;

#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// How many compute at a time.
    pub threads: usize,
    /// Bytes that operators may hold before they spill; `None` is no limit.
    pub memory_limit: Option<usize>,
    /// Where they spill to; `None` is the system's directory for temporary files.
    pub spill_dir: Option<PathBuf>,
    /// URL of the scheduler whose cluster computes what reads a lake; `None`: this process does.
    pub scheduler: Option<String>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        SessionOptions { threads: 1, memory_limit: None, spill_dir: None, scheduler: None }
    }
}

/// A DataFusion session with Scorehouse's settings.
#[derive(Clone)]
pub struct Session {
    context: SessionContext,
}

impl Session {
    pub fn new(options: &SessionOptions) -> Result<Session> {
        let mut runtime = RuntimeEnvBuilder::new();
        if let Some(limit) = options.memory_limit {
            let pool = TrackConsumersPool::new(FairSpillPool::new(limit), NAMED_CONSUMERS);
            runtime = runtime.with_memory_pool(Arc::new(pool)).with_max_spill_merge_fan_in(SPILL_MERGE_FAN_IN);
        }
        if let Some(directory) = &options.spill_dir {
            runtime = runtime.with_temp_file_path(directory);
        }
        let runtime = runtime.build_arc().map_err(error)?;
        let mut state = SessionStateBuilder::new()
            .with_config(config(options)?)
            .with_runtime_env(runtime)
            .with_default_features()
            .with_query_planner(Arc::new(Planner { scheduler: options.scheduler.clone() }))
            .build();
        super::json::register(&mut state).map_err(error)?;
        Ok(Session { context: SessionContext::new_with_state(state) })
    }

    pub fn context(&self) -> &SessionContext {
        &self.context
    }

    /// Makes a table readable as `name`, in place of one that was registered before.
    pub fn register(&self, name: &str, table: Arc<dyn TableProvider>) -> Result<()> {
        self.context.deregister_table(name).map_err(error)?;
        self.context.register_table(name, table).map_err(error)?;
        Ok(())
    }

    /// As [`Self::register`], for rows in memory.
    pub fn register_batches(&self, name: &str, schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<()> {
        let table = MemTable::try_new(schema, vec![batches]).map_err(error)?;
        self.register(name, Arc::new(table))
    }

    /// A query, planned. Statements that would change anything are refused.
    pub async fn sql(&self, query: &str) -> Result<DataFrame> {
        let only_queries = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
        self.context.sql_with_options(query, only_queries).await.map_err(error)
    }

    pub async fn table(&self, name: &str) -> Result<DataFrame> {
        self.context.table(name).await.map_err(error)
    }

    /// Runs a plan and holds its result in memory.
    pub async fn collect(&self, frame: DataFrame) -> Result<Vec<RecordBatch>> {
        frame.collect().await.map_err(error)
    }
}

fn config(options: &SessionOptions) -> Result<SessionConfig> {
    let partitions = partitions(options);
    let mut config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_batch_size(BATCH_ROWS)
        .with_information_schema(false);
    let set = config.options_mut();
    set.sql_parser.dialect = Dialect::PostgreSQL;
    set.sql_parser.map_string_types_to_utf8view = false;
    set.execution.parquet.schema_force_view_types = false;
    set.execution.time_zone = Some("UTC".into());
    if let Some(limit) = options.memory_limit {
        set.optimizer.prefer_hash_join = false;
        // Every sort sets this aside for its merge; two per partition must leave room for rows.
        let reserve = set.execution.sort_spill_reservation_bytes.min(limit / (partitions * 16));
        set.execution.sort_spill_reservation_bytes = reserve;
    }
    if options.scheduler.is_some() { distributed(config) } else { Ok(config) }
}

#[cfg(feature = "ballista")]
fn distributed(config: SessionConfig) -> Result<SessionConfig> {
    Ok(super::cluster::config(config))
}

#[cfg(not(feature = "ballista"))]
fn distributed(_: SessionConfig) -> Result<SessionConfig> {
    let help = "leave out `engine`, or build with `cargo build --features ballista`";
    Err(Error::definition(format!(
        "the profile's engine is ballista, which this build does not know
  help: {help}"
    )))
}

/// Into how many partitions rows are divided.
fn partitions(options: &SessionOptions) -> usize {
    let threads = options.threads.max(1);
    let room = options.memory_limit.map_or(usize::MAX, |limit| limit / PARTITION_MEMORY);
    threads.max((threads * PARTITIONS_PER_THREAD).min(ENOUGH_PARTITIONS).min(room))
}

/// DataFusion's error as ours; one of ours that passed through a stream comes out as it went in.
pub fn error(error: DataFusionError) -> Error {
    Error::from(error)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;
    use crate::error::Kind;

    #[tokio::test]
    async fn strings_stay_utf8_and_times_are_utc() {
        let session = Session::new(&SessionOptions::default()).unwrap();
        let frame = session.sql("select cast(1 as varchar) as a, upper('x') as b").await.unwrap();
        for field in frame.schema().fields() {
            assert_eq!(field.data_type(), &DataType::Utf8, "{field}");
        }
    }

    #[test]
    fn partitions_are_small_and_have_room() {
        let of =
            |threads, memory_limit| partitions(&SessionOptions { threads, memory_limit, ..SessionOptions::default() });
        assert_eq!([of(1, None), of(2, None), of(8, None), of(96, None)], [8, 16, 64, 96]);
        assert_eq!([of(2, Some(1 << 30)), of(2, Some(32 << 20))], [8, 2]);
    }

    #[tokio::test]
    async fn only_queries_run() {
        let session = Session::new(&SessionOptions::default()).unwrap();
        for statement in ["create table a as select 1", "set datafusion.execution.batch_size = 1", "drop table a"] {
            assert_eq!(session.sql(statement).await.unwrap_err().kind(), Kind::Definition, "{statement}");
        }
    }
}
