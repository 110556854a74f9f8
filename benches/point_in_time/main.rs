//! `scorehouse-bench`: the point-in-time operator on Parquet files, for comparison with peers that read and write the
//! same (see benches/README.md). Definitions are those of benches/point_in_time/project, read by the product's own code.
//!
//! `snapshot` joins payments with their orders and computes all features of everybody at one instant; `history` computes
//! three features over four windows for rows at any instant. `train` and `score` are those of ../learning.

#[path = "../learning/bench.rs"]
mod learning;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::ParquetReadOptions;
use futures::StreamExt;
use parquet::arrow::ArrowWriter;
use scorehouse::define::features::RawGroup;
use scorehouse::define::{FeatureGroup, yaml};
use scorehouse::engine::pit::Compiled;
use scorehouse::engine::session::{Session, SessionOptions};

pub type Failure = Box<dyn std::error::Error>;

const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/point_in_time/project");
const HISTORY: &str = "group: history\nentity: user_id\nentities: users\ntable: payment\naggregations:\n\
    - {fn: count, as: payments, over: [7d, 30d, 90d, 365d]}\n\
    - {of: amount, fn: [sum, max], over: [7d, 30d, 90d, 365d]}\n";

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    Snapshot {
        #[arg(long)]
        payments: String,
        #[arg(long)]
        orders: String,
        #[arg(long)]
        as_of: String,
        #[command(flatten)]
        common: Common,
    },
    History {
        #[arg(long)]
        payments: String,
        #[arg(long)]
        spine: String,
        #[command(flatten)]
        common: Common,
    },
    Train(learning::Learning),
    Score(learning::Learning),
}

#[derive(Debug, Args)]
struct Common {
    #[arg(long)]
    out: PathBuf,
    /// Such as 1GiB.
    #[arg(long)]
    memory_limit: Option<String>,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    scorehouse::allocator::configure();
    match Arguments::parse().bench {
        Bench::Snapshot { payments, orders, as_of, common } => snapshot(&payments, &orders, &as_of, &common).await,
        Bench::History { payments, spine, common } => history(&payments, &spine, &common).await,
        Bench::Train(asked) => learning::train(&asked),
        Bench::Score(asked) => learning::score(&asked),
    }
}

async fn snapshot(payments: &str, orders: &str, as_of: &str, common: &Common) -> Result<(), Failure> {
    let session = open(common)?;
    let options = || ParquetReadOptions::default();
    session.context().register_parquet("payment", payments, options()).await?;
    session.context().register_parquet("purchase_order", orders, options()).await?;
    let joined = session.sql(&std::fs::read_to_string(format!("{PROJECT}/sql/order_payments.sql"))?).await?;
    let group = group(&std::fs::read_to_string(format!("{PROJECT}/features/bench.yaml"))?)?;
    let compiled = compiled(&session, &group, &joined)?;
    let as_of = chrono::DateTime::parse_from_rfc3339(as_of)?.timestamp_micros();
    // Everybody who has events: the peers know of nobody else either.
    let nobody =
        session.sql("select cast(null as bigint) as user_id, cast(null as timestamp) as as_of, 0 as _row limit 0");
    let stream = compiled.snapshot(joined, nobody.await?, as_of).await?;
    write(stream, &compiled, &["as_of", "_row"], &common.out).await
}

async fn history(payments: &str, spine: &str, common: &Common) -> Result<(), Failure> {
    let session = open(common)?;
    let events = session.context().read_parquet(payments, ParquetReadOptions::default()).await?;
    let spine = session.context().read_parquet(spine, ParquetReadOptions::default()).await?;
    let compiled = compiled(&session, &group(HISTORY)?, &events)?;
    let stream = compiled.history(events, spine).await?;
    write(stream, &compiled, &["as_of", "user_id"], &common.out).await
}

fn open(common: &Common) -> Result<Session, Failure> {
    let threads = std::thread::available_parallelism()?.get();
    let memory_limit = match common.memory_limit.as_deref() {
        None => None,
        Some(text) => Some(text.trim_end_matches("GiB").parse::<usize>()? << 30),
    };
    Ok(Session::new(&SessionOptions { threads, memory_limit, ..SessionOptions::default() })?)
}

fn group(text: &str) -> Result<FeatureGroup, Failure> {
    let mut wrong = Vec::new();
    let (raw, origin) = yaml::parse::<RawGroup>("bench.yaml", text, &mut wrong).ok_or("the group cannot be parsed")?;
    let group = FeatureGroup::validate(raw, &origin, &mut wrong);
    if wrong.is_empty() { Ok(group) } else { Err(format!("{wrong:?}").into()) }
}

fn compiled(session: &Session, group: &FeatureGroup, events: &DataFrame) -> Result<Compiled, Failure> {
    let schema = events.schema().as_arrow();
    Compiled::group(session, group, "paid_at", &["payment_id".into()], schema).map_err(|e| format!("{e:?}").into())
}

/// The definition's columns but some, as one Parquet file.
async fn write(
    mut stream: SendableRecordBatchStream,
    compiled: &Compiled,
    without: &[&str],
    out: &Path,
) -> Result<(), Failure> {
    let (schema, results) = (stream.schema(), compiled.schema());
    let wanted = |index: &usize| !without.contains(&results.field(*index).name().as_str());
    let indices: Vec<usize> = (0..results.fields().len()).filter(wanted).collect();
    let file = std::fs::File::create(out)?;
    let mut writer = ArrowWriter::try_new(file, Arc::new(schema.project(&indices)?), None)?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch?.project(&indices)?;
        rows += batch.num_rows();
        writer.write(&batch)?;
    }
    writer.close()?;
    println!("{rows} rows");
    Ok(())
}
