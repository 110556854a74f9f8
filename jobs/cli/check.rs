//! `scorehouse check`: every definition, without storage.

use std::path::PathBuf;

use clap::Args;

use super::output;
use crate::clock;
use crate::define::diagnostic;
use crate::error::{Error, Result};
use crate::pipeline::check;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Directory with sql/, features/ and models/.
    #[arg(long, default_value = ".", value_name = "DIR")]
    project: PathBuf,
    /// Results as JSON on stdout.
    #[arg(long)]
    json: bool,
}

pub async fn run(arguments: Arguments) -> Result<()> {
    let started = clock::instant();
    let checked = check::run(&arguments.project).await?;
    if arguments.json {
        output::print(&format!("{}\n", serde_json::to_string_pretty(&checked)?))?;
        return match checked.errors.len() {
            0 => Ok(()),
            n => Err(Error::definition(format!("{n} errors in the definitions"))),
        };
    }
    if !checked.errors.is_empty() {
        return Err(diagnostic::into_error(checked.errors));
    }
    output::print(&format!(
        "{} sources, {} tables, {} feature groups with {} features, {} sequences, {} models, {} experiments, {} cases: all good in {:.2} s\n",
        checked.sources,
        checked.tables,
        checked.feature_groups,
        checked.features,
        checked.sequences,
        checked.models,
        checked.experiments,
        checked.cases,
        started.elapsed().as_secs_f64(),
    ))
}
