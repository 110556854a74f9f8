//! What the command says of itself: versions, completions for shells, and manual pages.

use std::path::PathBuf;
use std::sync::OnceLock;

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{commands, output};
use crate::error::{Context, Error, Result};
use crate::pipeline::about::{COMMIT, LIBRARIES, VERSION};

#[derive(Debug, Args)]
pub struct Completions {
    /// Whose completions to print.
    shell: Shell,
}

#[derive(Debug, Args)]
pub struct Manual {
    /// Write a page for the command and each job into this directory; without it, the command's is printed.
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Print every command as a page of Markdown: docs/reference/commands.md.
    #[arg(long, conflicts_with = "directory")]
    markdown: bool,
}

/// `-V`: one line.
pub fn version() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| format!("{VERSION} ({COMMIT})"))
}

/// `--version`: the libraries too.
pub fn long_version() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let libraries: Vec<String> = LIBRARIES.iter().map(|(name, version)| format!("{name} {version}")).collect();
        format!("{VERSION}\ncommit {COMMIT}\n{}", libraries.join("\n"))
    })
}

pub fn completions(arguments: &Completions, mut command: Command) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "scorehouse", &mut text);
    output::print(&utf8(text)?)
}

pub fn manual(arguments: &Manual, command: Command) -> Result<()> {
    if arguments.markdown {
        return output::print(&commands::page(&command));
    }
    let Some(directory) = &arguments.directory else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page)?;
        return output::print(&utf8(page)?);
    };
    let doing = || format!("writing manual pages to {}", directory.display());
    std::fs::create_dir_all(directory).with_context(doing)?;
    clap_mangen::generate_to(command, directory).with_context(doing)
}

fn utf8(text: Vec<u8>) -> Result<String> {
    String::from_utf8(text).map_err(|error| Error::internal("a text is not UTF-8").caused_by(error))
}
