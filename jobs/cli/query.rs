//! `scorehouse query`: one SQL query over the lake.

use std::path::PathBuf;

use arrow::record_batch::RecordBatch;
use clap::{Args, ValueEnum};

use super::{common, output};
use crate::engine::session::{Session, SessionOptions};
use crate::error::{Error, Result};
use crate::lake::Lake;
use crate::pipeline::job::storage_options;
use crate::pipeline::query;

#[derive(Debug, Args)]
pub struct Arguments {
    /// SQL. `payment` is the current rows of a table; `features.…`, `scores.…`, `runs` … are the tables of the lake.
    sql: String,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The same as --format json.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: common::Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Csv,
    /// One JSON object a line.
    Json,
}

pub async fn run(arguments: Arguments) -> Result<()> {
    let profile = arguments.place.resolve()?;
    let lake = Lake::open(&profile.lake, storage_options(&profile)?)?;
    let session = Session::new(&SessionOptions {
        threads: profile.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get())),
        memory_limit: profile.memory_limit.map(|bytes| bytes.0),
        spill_dir: profile.spill_dir.as_ref().map(PathBuf::from),
    })?;
    let (schema, batches) = query::run(&lake, &session, &arguments.sql).await?;
    let format = if arguments.json { Format::Json } else { arguments.format };
    let text = match format {
        Format::Table => {
            let shown = if batches.is_empty() { vec![RecordBatch::new_empty(schema)] } else { batches };
            format!("{}\n", arrow::util::pretty::pretty_format_batches(&shown)?)
        }
        Format::Csv => {
            let mut bytes = Vec::new();
            let mut writer = arrow::csv::Writer::new(&mut bytes);
            let shown = if batches.is_empty() { vec![RecordBatch::new_empty(schema)] } else { batches };
            for batch in &shown {
                writer.write(batch)?;
            }
            drop(writer);
            utf8(bytes)?
        }
        Format::Json => {
            let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
            for batch in &batches {
                writer.write(batch)?;
            }
            writer.finish()?;
            utf8(writer.into_inner())?
        }
    };
    output::print(&text)
}

fn utf8(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|e| Error::internal("output is not UTF-8").caused_by(e))
}
