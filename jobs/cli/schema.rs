//! JSON Schema of the kinds of files, for editors, and the page that says the same to people.

use std::path::PathBuf;

use clap::Args;

use super::output;
use crate::define::schema::{Kind, kinds, reference};
use crate::error::{Context, Result};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The kind of file, or the folder, whose schema to print; without it, they are listed.
    kind: Option<String>,
    /// Write all of them into this directory, as KIND.schema.json.
    #[arg(long, value_name = "DIR", conflicts_with = "kind")]
    out: Option<PathBuf>,
    /// Print every key of every file as a page of Markdown: docs/reference/yaml.md.
    #[arg(long, conflicts_with_all = ["kind", "out"])]
    markdown: bool,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.markdown {
        return output::print(&reference::page());
    }
    if let Some(directory) = &arguments.out {
        let doing = || format!("writing schemas to {}", directory.display());
        std::fs::create_dir_all(directory).with_context(doing)?;
        for kind in kinds() {
            std::fs::write(directory.join(format!("{}.schema.json", kind.name)), text(kind)?).with_context(doing)?;
        }
        return Ok(());
    }
    match &arguments.kind {
        Some(name) => output::print(&text(Kind::find(name)?)?),
        None => {
            let line = |kind: &Kind| vec![kind.name.to_string(), kind.files.to_string(), kind.what.to_string()];
            output::print(&output::columns(&["kind", "files", "what"], kinds().map(line), &[]))
        }
    }
}

fn text(kind: &Kind) -> Result<String> {
    Ok(format!("{}\n", serde_json::to_string_pretty(&kind.schema())?))
}
