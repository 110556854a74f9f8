//! What is wrong with a definition: where, what was found, what was expected, and the nearest name.
//!
//! Checks collect diagnostics rather than stop at the first, so that an engineer sees everything that is wrong at once.

use std::fmt;

use serde::Serialize;

use crate::error::Error;

/// One thing that is wrong, at a place in a file. Lines and columns count from 1; 0 means the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Diagnostic {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Diagnostic {
    pub fn new(file: impl Into<String>, position: (usize, usize), message: impl Into<String>) -> Self {
        Diagnostic {
            file: file.into(),
            line: position.0,
            column: position.1,
            message: message.into(),
            found: None,
            expected: None,
            help: None,
        }
    }

    pub fn found(mut self, found: impl Into<String>) -> Self {
        self.found = Some(found.into());
        self
    }

    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says what names there are, and which of them is nearest to the one found.
    pub fn expected_one_of<'a>(mut self, found: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        let names: Vec<&str> = names.into_iter().collect();
        self.found = Some(found.to_string());
        self.expected = Some(match names.len() {
            0 => "nothing: there is none".to_string(),
            1..=24 => format!("one of {}", names.join(", ")),
            n => format!("one of {n} names, such as {}", names[..12].join(", ")),
        });
        if let Some(near) = nearest(found, names) {
            self.help = Some(format!("did you mean `{near}`?"));
        }
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message)?,
            _ => write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?,
        }
        for (label, text) in [("found", &self.found), ("expected", &self.expected), ("help", &self.help)] {
            if let Some(text) = text {
                write!(f, "\n  {label}: {}", text.replace('\n', "\n    "))?;
            }
        }
        Ok(())
    }
}

/// All diagnostics of a project as one error of the definitions, sorted by place.
pub fn into_error(mut diagnostics: Vec<Diagnostic>) -> Error {
    diagnostics.sort();
    diagnostics.dedup();
    let count = diagnostics.len();
    let text: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    let plural = if count == 1 { "" } else { "s" };
    Error::definition(format!("{}\n{count} error{plural} in the definitions", text.join("\n")))
}

/// The name most like `found`, if any is like it at all.
pub fn nearest<'a>(found: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found = found.to_lowercase();
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&found, &name.to_lowercase()), name))
        .filter(|(distance, name)| distance * 3 <= name.chars().count().max(found.chars().count()))
        .min()
        .map(|(_, name)| name)
}

/// What to add to an error about a name, where another is much like it: a line of help, or nothing.
pub fn did_you_mean<'a>(found: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(found, names).map_or_else(String::new, |near| format!("\n  help: did you mean `{near}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_only_if_near() {
        assert_eq!(nearest("amuont", ["amount", "paid_at"]), Some("amount"));
        assert_eq!(nearest("colour", ["amount", "paid_at"]), None);
    }

    #[test]
    fn a_diagnostic_reads_like_a_compiler_message() {
        let text = Diagnostic::new("features/a.yaml", (3, 5), "unknown column")
            .expected_one_of("amuont", ["amount", "paid_at"])
            .to_string();
        assert_eq!(
            text,
            "features/a.yaml:3:5: unknown column\n  found: amuont\n  expected: one of amount, paid_at\n  help: did you mean `amount`?"
        );
    }
}
