//! Every command on one page, for people who read rather than ask: `scorehouse man --markdown`.
//!
//! The page is written from what the command line is parsed by, as `--help` and the manual pages are. Options that most
//! jobs have come once.

use std::fmt::Write as _;

use clap::{Arg, Args, Command};

use super::common::Place;

const HEAD: &str = "\
# Every command

Made by `scorehouse man --markdown` from what the command line is parsed by; do not edit it here. `scorehouse JOB --help`
says the same. Results go to stdout, logs and progress to stderr.
";

const CODES: &str = "\
## Exit codes

| code | meaning | what to do |
|---|---|---|
| 0 | done, or nothing to do | go on |
| 1 | internal error | report it |
| 2 | wrong command line, profile or definition | mend it; the message names file and line |
| 3 | input data broke its contract, or what is asked for is not in the lake | talk to whoever delivers it |
| 4 | the gate refused a candidate model | look at it; scoring went on with the champion |
| 75 | temporary: storage, or a concurrent commit | retry |

What schedulers make of them: [a night, every night](../howto/schedule.md).

## Environment

| variable | what |
|---|---|
| `SCOREHOUSE_LOG` | how much is logged: `off`, `error`, `warn`, `info`, `debug` or `trace` |
| `SCOREHOUSE_PII_KEY`, or what `pii_key` of the profile names | the [key of pseudonyms](../howto/rotate-key.md) |
| what `storage_secrets` of the profile names, `AWS_…`, `AZURE_…`, `GOOGLE_…` | keys and settings of [object storage](../howto/object-storage.md) |
| `MLFLOW_TRACKING_URI` and other `MLFLOW_…` | the server that is [told of models](../howto/mlflow.md) |
| `SCOREHOUSE_FLIGHT_TOKEN` | what clients of `scorehouse flight` must show |
| `SCOREHOUSE_FAILPOINT` | for tests: [where a job is killed](../guarantees.md#how-it-is-tested) |
";

const SHARED: &str = "\
## Of most jobs

Where and with what a job runs: options of every command that says so.
";

/// The page.
pub fn page(command: &Command) -> String {
    let mut page = format!("{HEAD}\n| command | what |\n|---|---|\n");
    for job in visible(command) {
        let _ = writeln!(page, "| [{}](#{}) | {} |", job.get_name(), job.get_name(), about(job));
    }
    for job in visible(command) {
        section(&mut page, job, "##", job.get_name());
    }
    let shared = shared();
    let _ = write!(page, "\n{SHARED}\n");
    table(&mut page, shared.get_arguments());
    let _ = write!(page, "\n{CODES}");
    page
}

fn section(page: &mut String, command: &Command, level: &str, name: &str) {
    let _ = write!(page, "\n{level} {name}\n\n{}\n", about(command));
    let shared = shared();
    let ids: Vec<&str> = shared.get_arguments().map(|argument| argument.get_id().as_str()).collect();
    let is_shared = |argument: &Arg| ids.contains(&argument.get_id().as_str());
    let all = command.get_arguments().filter(|argument| is_shared(argument)).count() == ids.len();
    let own: Vec<&Arg> = command.get_arguments().filter(|argument| !(all && is_shared(argument))).collect();
    if !own.is_empty() {
        page.push('\n');
        table(page, own.into_iter());
    }
    if all {
        page.push_str("\nAnd the options [of most jobs](#of-most-jobs).\n");
    }
    for part in visible(command) {
        section(page, part, "###", &format!("{name} {}", part.get_name()));
    }
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|part| !part.is_hide_set())
}

/// A command that has the shared options and no others.
fn shared() -> Command {
    Place::augment_args(Command::new("shared"))
}

fn about(command: &Command) -> String {
    sentence(&command.get_about().map(ToString::to_string).unwrap_or_default())
}

fn table<'a>(page: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    page.push_str("| argument | default | what |\n|---|---|---|\n");
    for argument in arguments.filter(|argument| !argument.is_hide_set()) {
        let _ = writeln!(page, "| `{}` | {} | {} |", written(argument), default(argument), told(argument));
    }
}

/// As it is typed.
fn written(argument: &Arg) -> String {
    let value = || match argument.get_value_names() {
        Some(names) => names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        None => argument.get_id().as_str().to_uppercase(),
    };
    let name = match (argument.get_short(), argument.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (None, Some(long)) => format!("--{long}"),
        (Some(short), None) => format!("-{short}"),
        (None, None) => return value(),
    };
    if argument.get_action().takes_values() { format!("{name} {}", value()) } else { name }
}

fn default(argument: &Arg) -> String {
    let values: Vec<String> =
        argument.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
    match (argument.is_required_set(), values.is_empty() || !argument.get_action().takes_values()) {
        (true, _) => "**required**".to_string(),
        (false, true) => "–".to_string(),
        (false, false) => values.join(", "),
    }
}

fn told(argument: &Arg) -> String {
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    let words: Vec<String> = match argument.get_action().takes_values() {
        true => argument.get_possible_values().iter().map(|word| format!("`{}`", word.get_name())).collect(),
        false => Vec::new(),
    };
    let help = sentence(&help);
    match words.as_slice() {
        [] => help,
        words => format!("{help} One of {}.", words.join(", ")).trim_start().to_string(),
    }
}

/// Whole, on one line, in a cell of a table. The command line's own form of help has no full stop.
fn sentence(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('<', "&lt;");
    if text.is_empty() || text.ends_with(['.', '?', ')']) { text } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Arguments;

    #[test]
    fn the_page_of_commands_is_what_the_command_line_takes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/commands.md");
        let stored = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            stored == page(&Arguments::command()),
            "docs/reference/commands.md is stale; renew it by: scorehouse man --markdown > docs/reference/commands.md"
        );
    }

    #[test]
    fn every_command_and_option_says_what_it_does() {
        fn silent(command: &Command, found: &mut Vec<String>) {
            if about(command).is_empty() {
                found.push(command.get_name().to_string());
            }
            let arguments = command.get_arguments().filter(|argument| told(argument).is_empty());
            found.extend(arguments.map(|argument| format!("{} {}", command.get_name(), written(argument))));
            command.get_subcommands().for_each(|part| silent(part, found));
        }
        let mut found = Vec::new();
        Arguments::command().get_subcommands().for_each(|job| silent(job, &mut found));
        assert!(found.is_empty(), "without a documentation comment: {found:?}");
    }
}
