//! The shell's own commands: lines that begin with a backslash.

use clap::ValueEnum;

use super::format::Format;
use crate::error::{Error, Result};

/// Name, arguments, and what it does.
pub const COMMANDS: [(&str, &str, &str); 7] = [
    ("d", "[TABLE]", "the tables of the lake, or a table's columns with types and comments"),
    ("format", "table|csv|json", "how rows are written"),
    ("o", "[FILE]", "write rows to a file; without one, here again"),
    ("timing", "[on|off]", "say how long each query took"),
    ("nohistory", "", "remember nothing of what is typed from now on"),
    ("?", "", "this list"),
    ("q", "", "leave (also Ctrl-D)"),
];

/// What is asked of the shell.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    Tables,
    Columns(String),
    Format(Option<Format>),
    Output(Option<String>),
    /// None: the other way round.
    Timing(Option<bool>),
    NoHistory,
    Help,
    Quit,
}

/// Whether a line is a command and no SQL.
pub fn is_command(line: &str) -> bool {
    let line = line.trim();
    line.starts_with('\\') || ["quit", "exit", "help"].contains(&line.trim_end_matches(';'))
}

/// Reads a command.
///
/// # Errors
/// `Definition` for one that is not known, or has other arguments.
pub fn parse(line: &str) -> Result<Command> {
    let line = line.trim().trim_end_matches(';').trim_end();
    let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let argument = Some(argument.trim()).filter(|argument| !argument.is_empty());
    match (name, argument) {
        ("\\d", None) => Ok(Command::Tables),
        ("\\d", Some(table)) => Ok(Command::Columns(table.to_string())),
        ("\\format", None) => Ok(Command::Format(None)),
        ("\\format", Some(name)) => format(name).map(|format| Command::Format(Some(format))),
        ("\\o", file) => Ok(Command::Output(file.map(String::from))),
        ("\\timing", None) => Ok(Command::Timing(None)),
        ("\\timing", Some("on")) => Ok(Command::Timing(Some(true))),
        ("\\timing", Some("off")) => Ok(Command::Timing(Some(false))),
        ("\\nohistory", None) => Ok(Command::NoHistory),
        ("\\?" | "\\h" | "\\help" | "help", None) => Ok(Command::Help),
        ("\\q" | "\\quit" | "quit" | "exit", None) => Ok(Command::Quit),
        _ => Err(Error::definition(format!("there is no command `{line}`\n  help: \\? lists them"))),
    }
}

fn format(name: &str) -> Result<Format> {
    match Format::from_str(name, false) {
        Ok(Format::Parquet) => Err(Error::definition(
            "Parquet is no text\n  help: scorehouse query \"select …\" --format parquet --output FILE",
        )),
        Ok(format) => Ok(format),
        Err(_) => {
            let expected = Format::texts().join(", ");
            Err(Error::definition(format!("there is no format {name}\n  expected: {expected}")))
        }
    }
}

/// The list of commands.
pub fn help() -> String {
    let line =
        |(name, arguments, what): &(&str, &str, &str)| format!("  {:<24}{what}\n", format!("\\{name} {arguments}"));
    let commands: String = COMMANDS.iter().map(line).collect();
    format!("SQL ends with a `;` and may have several lines. Tab completes; Ctrl-C cancels a query.\n{commands}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read() {
        for (line, command) in [
            ("\\d", Command::Tables),
            ("\\d features.payments;", Command::Columns("features.payments".into())),
            ("\\format csv", Command::Format(Some(Format::Csv))),
            ("\\o my file.csv", Command::Output(Some("my file.csv".into()))),
            ("\\o", Command::Output(None)),
            ("\\timing", Command::Timing(None)),
            ("\\timing off", Command::Timing(Some(false))),
            ("\\nohistory", Command::NoHistory),
            ("\\?", Command::Help),
            (" exit; ", Command::Quit),
        ] {
            assert!(is_command(line), "{line}");
            assert_eq!(parse(line).unwrap(), command, "{line}");
        }
        for (line, says) in [
            ("\\x", "no command `\\x`"),
            ("\\q now", "no command"),
            ("\\format xml", "expected: table, csv, json"),
            ("\\format parquet", "--output FILE"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
        assert!(!is_command("select 1"));
    }

    #[test]
    fn every_command_is_in_the_list() {
        let help = help();
        for (name, _, _) in COMMANDS {
            assert!(help.contains(&format!("\\{name} ")), "{name}");
            assert!(parse(&format!("\\{name}")).is_ok(), "{name}");
        }
    }
}
