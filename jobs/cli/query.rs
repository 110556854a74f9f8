//! `scorehouse query`: SQL over the lake: one question, or a shell where a person asks many.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;

use clap::Args;

use self::format::{Format, Rows, Sink};
use super::common;
use crate::error::{Error, Result};
use crate::pipeline::query::Reader;

mod command;
mod complete;
mod format;
mod history;
mod shell;
mod statement;

/// A query is written by a person, or by a program for a person.
const LONGEST: u64 = 4 << 20;

#[derive(Debug, Args)]
pub struct Arguments {
    /// SQL. `payment` is the current rows of a table; `features.…`, `scores.…`, `runs` … are the tables of the lake.
    ///
    /// Without it, or as `-`, it is read from stdin; on a terminal there is a shell.
    sql: Option<String>,
    /// How rows are written [default: what the name of --output says, or table].
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The same as --format json.
    #[arg(long)]
    json: bool,
    /// Write rows to this file instead of stdout.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    place: common::Place,
}

pub async fn run(arguments: Arguments) -> Result<()> {
    let profile = arguments.place.resolve()?;
    let of_file = arguments.output.as_deref().and_then(Format::of_file);
    let format = match arguments.json {
        true => Format::Json,
        false => arguments.format.or(of_file).unwrap_or(Format::Table),
    };
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    let sql = match arguments.sql.filter(|sql| sql != "-") {
        Some(sql) => sql,
        None if !stdin.is_terminal() => read(stdin.lock())?,
        None if !stdout.is_terminal() => {
            let help = "give the query as an argument, or in a file: scorehouse query < FILE";
            return Err(Error::definition(format!("there is no query, and stdout is no terminal\n  help: {help}")));
        }
        None if format == Format::Parquet => {
            return Err(Error::definition(
                "the shell writes no Parquet\n  help: scorehouse query \"select …\" --format parquet --output FILE",
            ));
        }
        None => return shell::run(&profile, shell::Settings { format, output: arguments.output }).await,
    };
    if format == Format::Parquet && arguments.output.is_none() && stdout.is_terminal() {
        return Err(Error::definition("Parquet is nothing to look at\n  help: give --output FILE, or pipe it on"));
    }
    let mut answer = Reader::open(&profile)?.ask(&sql).await?;
    let mut sink = arguments.output.map_or_else(|| Ok(Sink::stdout()), |file| Sink::file(&file))?;
    let mut rows = Rows::new(format, &answer.schema, &mut sink)?;
    while rows.is_read()
        && let Some(batch) = answer.next().await
    {
        rows.write(&batch?)?;
    }
    rows.end()?;
    sink.finish()
}

/// All of a text that is no book.
fn read(from: impl Read) -> Result<String> {
    let mut text = String::new();
    from.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(Error::definition("the query on stdin is longer than 4 MiB\n  expected: one SQL statement"));
    }
    Ok(text)
}
