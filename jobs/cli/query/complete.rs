//! What the shell's line editor is told: how a word may go on, and whether Enter ends the statement or begins a line.

use std::collections::BTreeSet;

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper};

use super::command::{self, COMMANDS};
use super::format::Format;
use super::statement::{is_blank, split};
use crate::pipeline::query::tables::Catalogue;

/// What analysts write; not all that the parser knows.
const KEYWORDS: [&str; 74] = [
    "all",
    "and",
    "as",
    "asc",
    "avg",
    "between",
    "by",
    "case",
    "cast",
    "coalesce",
    "count",
    "cross",
    "current_date",
    "date",
    "date_trunc",
    "desc",
    "describe",
    "distinct",
    "else",
    "end",
    "except",
    "exists",
    "explain",
    "extract",
    "false",
    "filter",
    "first",
    "following",
    "from",
    "full",
    "group",
    "having",
    "in",
    "inner",
    "intersect",
    "interval",
    "is",
    "join",
    "last",
    "lateral",
    "left",
    "like",
    "limit",
    "max",
    "median",
    "min",
    "not",
    "null",
    "nullif",
    "nulls",
    "offset",
    "on",
    "or",
    "order",
    "outer",
    "over",
    "partition",
    "preceding",
    "qualify",
    "range",
    "recursive",
    "right",
    "row_number",
    "rows",
    "select",
    "sum",
    "then",
    "timestamp",
    "true",
    "union",
    "using",
    "values",
    "when",
    "where",
];

/// Helps somebody who types.
pub struct Typist {
    pub catalogue: Catalogue,
}

impl Helper for Typist {}
impl Highlighter for Typist {}

impl Hinter for Typist {
    type Hint = String;
}

impl Validator for Typist {
    /// A command is a line; SQL ends with a `;`.
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_complete(context.input()) { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Completer for Typist {
    type Candidate = String;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(self.candidates(line, at))
    }
}

impl Typist {
    /// Where the word at `at` begins, and what it may become.
    fn candidates(&self, line: &str, at: usize) -> (usize, Vec<String>) {
        let typed = &line[..at];
        if typed.trim_start().starts_with('\\') {
            return self.of_command(typed);
        }
        let begin = typed
            .rfind(|c| !is_word(c))
            .map_or(0, |found| found + typed[found..].chars().next().map_or(1, char::len_utf8));
        let word = &typed[begin..];
        let known = self.catalogue.known();
        let named: Vec<&Vec<String>> = words(line).filter_map(|word| known.get(word)).collect();
        let columns: BTreeSet<&String> = match named.is_empty() {
            true => known.values().flatten().collect(),
            false => named.into_iter().flatten().collect(),
        };
        let tables = known.keys().filter(|table| table.starts_with(word)).cloned();
        let mut found: Vec<String> = tables.collect();
        match word.rsplit_once('.') {
            // `p.amo`: a column of whatever `p` stands for.
            Some((table, part)) => {
                let columns = known.get(table).map_or(columns, |columns| columns.iter().collect());
                let starting = columns.into_iter().filter(|column| column.starts_with(part));
                found.extend(starting.map(|column| format!("{table}.{column}")));
            }
            None if word.is_empty() => {}
            None => {
                found.extend(columns.into_iter().filter(|column| column.starts_with(word)).cloned());
                found.extend(keywords(word));
            }
        }
        found.dedup();
        (begin, found)
    }

    fn of_command(&self, typed: &str) -> (usize, Vec<String>) {
        let begin = typed.rfind(char::is_whitespace).map_or(0, |found| found + 1);
        let word = &typed[begin..];
        let choices: Vec<String> = match typed[..begin].trim() {
            "" => COMMANDS.iter().map(|(name, _, _)| format!("\\{name}")).collect(),
            "\\d" => self.catalogue.known().into_keys().collect(),
            "\\format" => Format::texts(),
            "\\timing" => vec!["on".into(), "off".into()],
            _ => Vec::new(),
        };
        (begin, choices.into_iter().filter(|choice| choice.starts_with(word)).collect())
    }
}

/// Whether what was typed can be done.
pub fn is_complete(text: &str) -> bool {
    let typed = split(text);
    command::is_command(text) || is_blank(typed.rest) && (!typed.complete.is_empty() || text.trim().is_empty())
}

/// Keywords in the case in which they were begun.
fn keywords(word: &str) -> impl Iterator<Item = String> {
    let upper = word.starts_with(|c: char| c.is_ascii_uppercase());
    let lower = word.to_lowercase();
    let starting = KEYWORDS.into_iter().filter(move |keyword| keyword.starts_with(&lower));
    starting.map(move |keyword| if upper { keyword.to_uppercase() } else { keyword.to_string() })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '.'
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c| !is_word(c)).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(line: &str) -> Vec<String> {
        let columns = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let catalogue = Catalogue::of([
            ("payment".to_string(), columns(&["amount", "user_id"])),
            ("visit".to_string(), columns(&["at", "user_id"])),
            ("features.payments".to_string(), columns(&["amount_sum_30d"])),
        ]);
        let (begin, found) = Typist { catalogue }.candidates(line, line.len());
        found.into_iter().map(|word| format!("{}{word}", &line[..begin])).collect()
    }

    #[test]
    fn tables_columns_and_keywords_are_completed() {
        assert_eq!(after("sel"), ["select"]);
        assert_eq!(after("SEL"), ["SELECT"]);
        assert_eq!(after("select * from pay"), ["select * from payment"]);
        assert_eq!(after("select * from features.p"), ["select * from features.payments"]);
        assert_eq!(after("select amount_"), ["select amount_sum_30d"], "no table is named yet");
        assert_eq!(
            after("select * from visit where us"),
            ["user_id", "using"].map(|w| format!("select * from visit where {w}"))
        );
        assert_eq!(after("select * from visit where am"), [""; 0], "payment is not named");
        assert_eq!(after("select p.us from payment p where p.am"), ["select p.us from payment p where p.amount"]);
        assert_eq!(after("select visit.a"), ["select visit.at"]);
        assert_eq!(after("select 'ü' from vi"), ["select 'ü' from visit"]);
    }

    #[test]
    fn commands_are_completed() {
        assert_eq!(after("\\ti"), ["\\timing"]);
        assert_eq!(after("\\d vi"), ["\\d visit"]);
        assert_eq!(after("\\format c"), ["\\format csv"]);
    }

    #[test]
    fn enter_ends_a_statement_or_a_command() {
        for text in ["", "select 1;", "select 1; select 2;", "\\d", "\\d pay", "quit", "select 1; -- done"] {
            assert!(is_complete(text), "{text}");
        }
        for text in ["select 1", "select ';", "select 1; select", "-- note"] {
            assert!(!is_complete(text), "{text}");
        }
    }
}
