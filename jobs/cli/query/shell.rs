//! `scorehouse query` on a terminal: one question after another.
//!
//! A question runs beside the shell, which goes on listening: Ctrl-C ends the question, never the shell, and an error
//! is printed where an answer would be. Each question sees the lake as it is when it is asked.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use futures::FutureExt;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::super::output;
use super::command::{self, Command};
use super::complete::Typist;
use super::format::{Format, Rows, Sink};
use super::history::{ENTRIES, History};
use super::statement::split;
use crate::clock;
use crate::define::profile::Profile;
use crate::error::{Error, Result};
use crate::pipeline::about::VERSION;
use crate::pipeline::progress::thousands;
use crate::pipeline::query::tables::{self, Catalogue};
use crate::pipeline::query::{Answer, Reader};

const PROMPT: &str = "scorehouse> ";
/// Batches that may wait to be written.
const AHEAD: usize = 2;

/// How the shell begins.
pub struct Settings {
    pub format: Format,
    pub output: Option<PathBuf>,
}

struct Shell {
    reader: Reader,
    format: Format,
    timing: bool,
    output: Option<(PathBuf, Sink)>,
    interrupts: Signal,
}

/// What becomes of a session after a line.
#[derive(PartialEq)]
enum Then {
    GoOn,
    ForgetHistory,
    Leave,
}

/// Reads lines until the user leaves.
pub async fn run(profile: &Profile, settings: Settings) -> Result<()> {
    let reader = Reader::open(profile)?;
    let catalogue = Catalogue::default();
    // Names arrive while the user types.
    let learning = tokio::spawn(catalogue.clone().learn(reader.lake().clone()));
    let mut shell = Shell {
        reader,
        format: settings.format,
        timing: false,
        output: None,
        interrupts: signal(SignalKind::interrupt())?,
    };
    if let Some(file) = settings.output {
        shell.redirect(file)?;
    }
    let mut editor = editor(catalogue)?;
    let mut history = History::new(profile);
    history.load(&mut editor);
    output::print(&format!("Scorehouse {}: \\? for help, \\q to leave\n", VERSION))?;
    loop {
        let line = match editor.readline(PROMPT) {
            Ok(line) => line,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(terminal(error)),
        };
        history.remember(&mut editor, line.trim_end());
        match shell.line(&line).await {
            Then::GoOn => {}
            Then::ForgetHistory => history.on = false,
            Then::Leave => break,
        }
    }
    learning.abort();
    shell.redirect_no_more()
}

fn editor(catalogue: Catalogue) -> Result<Editor<Typist, FileHistory>> {
    let config = Config::builder()
        .max_history_size(ENTRIES)
        .map_err(terminal)?
        .history_ignore_space(true)
        .completion_type(rustyline::CompletionType::List)
        .build();
    let mut editor = Editor::with_config(config).map_err(terminal)?;
    editor.set_helper(Some(Typist { catalogue }));
    Ok(editor)
}

fn terminal(error: ReadlineError) -> Error {
    Error::internal(format!("the terminal cannot be read: {error}")).caused_by(error)
}

impl Shell {
    /// Does what a line says, and prints what is wrong with it.
    async fn line(&mut self, line: &str) -> Then {
        if command::is_command(line) {
            let done = match command::parse(line) {
                Ok(command) => self.command(command).await,
                Err(error) => Err(error),
            };
            return done.unwrap_or_else(|error| {
                eprintln!("error: {error}");
                Then::GoOn
            });
        }
        for sql in split(line).complete {
            let begin = clock::instant();
            let outcome = self.ask(sql).await;
            if let Err(error) = &outcome {
                eprintln!("error: {error}");
            }
            if self.timing {
                let _ = output::print(&format!("Time: {}\n", duration(begin.elapsed())));
            }
            // What follows was typed on the belief that this would be done.
            if outcome.is_err() {
                break;
            }
        }
        Then::GoOn
    }

    async fn command(&mut self, command: Command) -> Result<Then> {
        match command {
            Command::Tables => {
                let names = tables::names(self.reader.lake()).await?;
                let none = "The lake has no tables yet: `scorehouse nightly` makes them.\n".to_string();
                output::print(&if names.is_empty() { none } else { names.join("\n") + "\n" })?;
            }
            Command::Columns(table) => {
                let columns = tables::describe(self.reader.lake(), &table).await?;
                let line = |column: tables::Described| {
                    let null = if column.nullable { "" } else { "not null" };
                    vec![column.name, column.data_type, null.to_string(), column.comment]
                };
                let head = ["column", "type", "", "comment"];
                output::print(&output::columns(&head, columns.into_iter().map(line), &[]))?;
            }
            Command::Format(None) => output::print(&format!("The format is {}.\n", self.format.name()))?,
            Command::Format(Some(format)) => self.format = format,
            Command::Output(None) => self.redirect_no_more()?,
            Command::Output(Some(file)) => self.redirect(home(&file))?,
            Command::Timing(wanted) => {
                self.timing = wanted.unwrap_or(!self.timing);
                output::print(&format!("Timing is {}.\n", if self.timing { "on" } else { "off" }))?;
            }
            Command::NoHistory => {
                output::print("Nothing is remembered from now on.\n")?;
                return Ok(Then::ForgetHistory);
            }
            Command::Help => output::print(&command::help())?,
            Command::Quit => return Ok(Then::Leave),
        }
        Ok(Then::GoOn)
    }

    fn redirect(&mut self, file: PathBuf) -> Result<()> {
        self.redirect_no_more()?;
        let sink = Sink::open_file(&file)?;
        self.output = Some((file, sink));
        Ok(())
    }

    fn redirect_no_more(&mut self) -> Result<()> {
        self.output.take().map_or(Ok(()), |(_, sink)| sink.finish())
    }

    /// Asks one question and writes what comes, until all has come or the user has had enough.
    async fn ask(&mut self, sql: &str) -> Result<()> {
        // What was pressed before is no answer to this.
        while self.interrupts.recv().now_or_never().is_some() {}
        let (send, mut receive) = mpsc::channel(AHEAD);
        let (reader, sql) = (self.reader.clone(), sql.to_string());
        // Beside this thread, which waits for Ctrl-C too: an operator need not pause to be ended.
        let question = Question(tokio::spawn(async move { answer(&reader, &sql, send).await }));
        let mut stdout = Sink::stdout();
        let (sink, file) = match &mut self.output {
            Some((file, sink)) => (sink, Some(file.display().to_string())),
            None => (&mut stdout, None),
        };
        let mut count = 0;
        if let Some(Part::Schema(schema)) = next(&mut receive, &mut self.interrupts).await? {
            let mut rows = Rows::new(self.format, &schema, sink)?;
            while rows.is_read()
                && let Some(Part::Rows(batch)) = next(&mut receive, &mut self.interrupts).await?
            {
                rows.write(&batch)?;
            }
            drop(receive);
            question.end().await?;
            count = rows.end()?;
        } else {
            question.end().await?;
        }
        sink.flush()?;
        let counted = format!("{} row{}", thousands(count), if count == 1 { "" } else { "s" });
        match file {
            Some(file) => output::print(&format!("{counted} to {file}\n")),
            None if self.format == Format::Table => output::print(&format!("({counted})\n")),
            None => Ok(()),
        }
    }
}

/// A question under way; it ends when nobody waits for it any longer.
struct Question(JoinHandle<Result<()>>);

impl Question {
    async fn end(mut self) -> Result<()> {
        (&mut self.0).await.map_err(|error| Error::internal(format!("the query broke off: {error}")))?
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What comes next; an error where the user wants nothing more.
async fn next(receive: &mut mpsc::Receiver<Part>, interrupts: &mut Signal) -> Result<Option<Part>> {
    tokio::select! {
        biased;
        _ = interrupts.recv() => Err(Error::definition("cancelled")),
        part = receive.recv() => Ok(part),
    }
}

/// What comes of a question.
enum Part {
    Schema(arrow::datatypes::SchemaRef),
    Rows(arrow::array::RecordBatch),
}

/// Sends what comes, as long as somebody wants it.
async fn answer(reader: &Reader, sql: &str, send: mpsc::Sender<Part>) -> Result<()> {
    let mut answer: Answer = reader.ask(sql).await?;
    let mut wanted = send.send(Part::Schema(answer.schema.clone())).await.is_ok();
    while wanted && let Some(batch) = answer.next().await {
        wanted = send.send(Part::Rows(batch?)).await.is_ok();
    }
    Ok(())
}

/// `~/x` as the user's shell would have it.
fn home(file: &str) -> PathBuf {
    match (file.strip_prefix("~/"), clock::env("HOME")) {
        (Some(below), Some(home)) => PathBuf::from(home).join(below),
        _ => PathBuf::from(file),
    }
}

fn duration(took: Duration) -> String {
    match took.as_secs_f64() {
        short if short < 1.0 => format!("{:.1} ms", short * 1000.0),
        long => format!("{long:.2} s"),
    }
}
