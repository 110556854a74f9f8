//! `scorehouse query`: one SQL query over the lake.

use arrow::record_batch::RecordBatch;
use clap::{Args, ValueEnum};

use super::{common, output};
use crate::error::{Error, Result};
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
    let (schema, batches) = query::run(&profile, &arguments.sql).await?;
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
