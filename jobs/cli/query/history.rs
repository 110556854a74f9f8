//! What was typed before, in a file of the user's own state that only they can read.
//!
//! A line with a secret is not remembered: one that holds the value of a variable by which the profile names a secret,
//! or that speaks of a password, a token or the like. Nor is a line that begins with a space, nor anything after
//! `\nohistory`.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustyline::Editor;
use rustyline::history::FileHistory;

use super::complete::Typist;
use crate::clock;
use crate::define::profile::Profile;

/// Entries that are kept.
pub const ENTRIES: usize = 10_000;

/// Words in whose company there is a secret; their parts may be joined by `_`, `-` or nothing. Rather a line too few.
const SECRET_WORDS: [&str; 13] = [
    "secret",
    "passw",
    "passphrase",
    "credential",
    "token",
    "apikey",
    "accesskey",
    "accountkey",
    "privatekey",
    "piikey",
    "bearer",
    "authorization",
    "signature=",
];
/// How keys begin that say so themselves: of AWS, web tokens, PEM files.
const SECRET_BEGINNINGS: [&str; 4] = ["AKIA", "ASIA", "eyJ", "-----BEGIN"];
/// Shorter values of variables are found in innocent lines.
const SECRET_LENGTH: usize = 4;

/// The file, and what must not be in it.
pub struct History {
    file: Option<PathBuf>,
    values: Vec<String>,
    /// Whether anything is remembered.
    pub on: bool,
}

impl History {
    pub fn new(profile: &Profile) -> History {
        let variables = profile.storage_secrets.values().chain([&profile.pii_key]);
        let values = variables.filter_map(|variable| clock::env(variable)).filter(|v| v.len() >= SECRET_LENGTH);
        History { file: file(clock::env), values: values.collect(), on: true }
    }

    /// Reads what was typed in earlier sessions.
    pub fn load(&mut self, editor: &mut Editor<Typist, FileHistory>) {
        let Some(file) = &self.file else { return };
        if let Err(error) = prepare(file) {
            tracing::warn!(%error, "no history: {} cannot be used", file.display());
            self.file = None;
        } else if file.exists()
            && let Err(error) = editor.load_history(file)
        {
            tracing::warn!(%error, "the history in {} cannot be read", file.display());
        }
    }

    /// Remembers a line, unless it holds a secret.
    pub fn remember(&mut self, editor: &mut Editor<Typist, FileHistory>, line: &str) {
        if !self.on || self.is_secret(line) {
            return;
        }
        let added = editor.add_history_entry(line).unwrap_or_default();
        if let (true, Some(file)) = (added, &self.file)
            && let Err(error) = editor.append_history(file)
        {
            tracing::warn!(%error, "no history: {} cannot be written", file.display());
            self.file = None;
        }
    }

    fn is_secret(&self, line: &str) -> bool {
        self.values.iter().any(|value| line.contains(value)) || speaks_of_a_secret(line)
    }
}

/// `$XDG_STATE_HOME/scorehouse/query_history`, by default below `~/.local/state`. A relative path is none, as the XDG
/// specification has it.
fn file(env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("scorehouse").join("query_history"))
}

/// The directory for the user alone; a file that others could read is closed to them.
fn prepare(file: &Path) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    match std::fs::metadata(file) {
        Ok(there) if there.permissions().mode() & 0o177 != 0 => {
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600))
        }
        _ => Ok(()),
    }
}

/// Whether a line names a secret, or has one that can be known as such.
fn speaks_of_a_secret(line: &str) -> bool {
    let joined: String = line.to_lowercase().chars().filter(|c| !"_- ".contains(*c)).collect();
    SECRET_WORDS.iter().any(|word| joined.contains(word)) || SECRET_BEGINNINGS.iter().any(|word| line.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lies_in_the_users_state_directory() {
        let of = |state: Option<&str>, home: Option<&str>| {
            let found = file(|name| if name == "HOME" { home } else { state }.map(String::from));
            found.map(|path| path.display().to_string())
        };
        assert_eq!(of(Some("/s"), Some("/h")).as_deref(), Some("/s/scorehouse/query_history"));
        assert_eq!(of(None, Some("/h")).as_deref(), Some("/h/.local/state/scorehouse/query_history"));
        assert_eq!(of(Some("s"), Some("/h")).as_deref(), Some("/h/.local/state/scorehouse/query_history"));
        assert_eq!(of(None, None), None);
    }

    #[test]
    fn others_cannot_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a/b/query_history");
        prepare(&file).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir.path().join("a/b")), 0o700);
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        prepare(&file).unwrap();
        assert_eq!(mode(&file), 0o600);
    }

    #[test]
    fn lines_with_secrets_are_known() {
        let history = History { file: None, values: vec!["hunter22".into()], on: true };
        for line in [
            "select * from payment where note = 'hunter22';",
            "-- storage_secrets: {aws_secret_access_key: X}",
            "select 'Bearer abc';",
            "select * from t where api_token = 'x';",
            "-- export SCOREHOUSE_PII_KEY=abc",
            "select 'AKIAIOSFODNN7EXAMPLE';",
            "select 'eyJhbGciOi';",
        ] {
            assert!(history.is_secret(line), "{line}");
        }
        for line in ["select user_id, sum(amount) from payment group by 1;", "\\d payment", "select key from t;"] {
            assert!(!history.is_secret(line), "{line}");
        }
    }
}
