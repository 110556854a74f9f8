//! The command line: raw arguments → validated once → one call into `pipeline` → output and exit code.
//!
//! stdout carries results (a short table, or JSON with `--json`), stderr logs and progress.

mod about;
mod backfill;
mod ballista;
mod check;
mod commands;
mod common;
mod erase;
mod experiment;
mod flight;
mod gate;
mod generate;
mod job;
mod lineage;
mod logs;
mod maintain;
mod models;
mod output;
mod plan;
mod query;
mod replay;
mod report;
mod rotate;
mod runs;
mod schema;
mod verify;
mod why;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::error::{Error, Kind};
use crate::panics::{contained, over};

/// Nightly point-in-time features, models, scores and decisions: raw event Parquet in, Delta tables out.
///
/// Exit codes: 0 done or nothing to do, 1 internal error, 2 usage or definition error, 3 input data broke its contract,
/// 4 the gate refused a model, 75 temporary: retry.
#[derive(Debug, Parser)]
#[command(name = "scorehouse", version = about::version(), long_version = about::long_version())]
struct Arguments {
    #[command(subcommand)]
    job: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write synthetic events of a marketplace with a pay-later arm.
    Generate(generate::Arguments),
    /// Check every definition, without touching storage.
    Check(check::Arguments),
    /// What a night would do: which way, how much, and why.
    Plan(plan::Arguments),
    /// Raw files → source tables.
    Ingest(job::Arguments),
    /// SQL tables from source tables.
    Tables(job::Arguments),
    /// Features and sequences of every entity at the end of the date.
    Features(job::Arguments),
    /// Train the models that are due: candidates, which the gate judges.
    Train(job::Arguments),
    /// Judge candidates; promote those that pass every check.
    Gate(gate::Arguments),
    /// Scores and decisions by the champions.
    Score(job::Arguments),
    /// What has drifted since the champions were trained, and how past scores turned out.
    Monitor(job::Arguments),
    /// Pages that people read: what became of each model in a night.
    Report(report::Arguments),
    /// The whole night: ingest, tables, features, train, gate, score, monitor, report.
    Nightly(job::Arguments),
    /// Versions of models: list, show, promote, rollback.
    Models(models::Arguments),
    /// The nights of a range of dates, for less than they cost one by one.
    Backfill(backfill::Arguments),
    /// The processes of a cluster, for profiles with `engine: ballista`.
    Ballista(ballista::Arguments),
    /// Erase an entity from everything below the lake's root, and prove it.
    Erase(erase::Arguments),
    /// Compare variants of a model on identical rows.
    Experiment(experiment::Arguments),
    /// Answer queries over the lake by Arrow Flight SQL, for tools that connect by ADBC or JDBC.
    Flight(flight::Arguments),
    /// Pack small files, write checkpoints, and remove what nobody may ask for any longer.
    Maintain(maintain::Arguments),
    /// What a column, feature or model comes from and goes into.
    Lineage(lineage::Arguments),
    /// SQL over the lake.
    Query(query::Arguments),
    /// A score of an earlier night once more, from the versions it was recorded with.
    Replay(replay::Arguments),
    /// The last runs of each job: what became of them, how long they took, what they wrote.
    Runs(runs::Arguments),
    /// JSON Schema of the kinds of files, so that editors complete and check them.
    Schema(schema::Arguments),
    /// Prove that no feature sees the future, or compare stored features with a naive evaluation.
    Verify(verify::Arguments),
    /// Explain a feature's value by the rows that count, and by those that do not.
    Why(why::Arguments),
    /// Print completions for a shell.
    Completions(about::Completions),
    /// Print the manual page, or write those of all jobs; or every command as a page of Markdown.
    Man(about::Manual),
}

/// Parses the process's arguments and runs the job.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            return not_run(&error);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&Error::from(error)),
    };
    let outcome = contained(|| match arguments.job {
        Command::Generate(arguments) => generate::run(arguments),
        Command::Check(arguments) => runtime.block_on(check::run(arguments)),
        Command::Plan(arguments) => runtime.block_on(plan::run(arguments)),
        Command::Ingest(arguments) => runtime.block_on(job::run("ingest", arguments)),
        Command::Tables(arguments) => runtime.block_on(job::run("tables", arguments)),
        Command::Features(arguments) => runtime.block_on(job::run("features", arguments)),
        Command::Train(arguments) => runtime.block_on(job::run("train", arguments)),
        Command::Gate(arguments) => runtime.block_on(gate::run(arguments)),
        Command::Models(arguments) => runtime.block_on(models::run(arguments)),
        Command::Monitor(arguments) => runtime.block_on(job::run("monitor", arguments)),
        Command::Score(arguments) => runtime.block_on(job::run("score", arguments)),
        Command::Report(arguments) => runtime.block_on(report::run(arguments)),
        Command::Nightly(arguments) => runtime.block_on(job::run("nightly", arguments)),
        Command::Backfill(arguments) => runtime.block_on(backfill::run(arguments)),
        Command::Ballista(arguments) => runtime.block_on(ballista::run(arguments)),
        Command::Erase(arguments) => runtime.block_on(erase::run(arguments)),
        Command::Experiment(arguments) => runtime.block_on(experiment::run(arguments)),
        Command::Flight(arguments) => runtime.block_on(flight::run(arguments)),
        Command::Maintain(arguments) => runtime.block_on(maintain::run(arguments)),
        Command::Lineage(arguments) => lineage::run(arguments),
        Command::Query(arguments) => runtime.block_on(query::run(arguments)),
        Command::Replay(arguments) => runtime.block_on(replay::run(arguments)),
        Command::Runs(arguments) => runtime.block_on(runs::run(arguments)),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Verify(arguments) => runtime.block_on(verify::run(arguments)),
        Command::Why(arguments) => runtime.block_on(why::run(arguments)),
        Command::Completions(arguments) => about::completions(&arguments, Arguments::command()),
        Command::Man(arguments) => about::manual(&arguments, Arguments::command()),
    });
    over();
    // A bug, which the scheduler knows by its code.
    let outcome =
        outcome.unwrap_or_else(|said| Err(Error::internal(format!("{said}\n  help: report it with this text"))));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &Error) -> ExitCode {
    logs::failure(error);
    ExitCode::from(error.kind().code())
}

/// Help or the version was asked for, or the command line is wrong.
fn not_run(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    let code = Kind::Definition.code();
    match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => logs::last_line(code, "error: no job was named"),
        _ => logs::last_line(code, &error.render().to_string()),
    }
    ExitCode::from(code)
}
