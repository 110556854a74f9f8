//! What the planner complains about, in our words: DataFusion's errors as diagnostics with a place and a nearest name.

use datafusion::common::{DataFusionError, SchemaError, Span};

use crate::define::diagnostic::{Diagnostic, nearest};
use crate::define::project::position_of;
use crate::define::sql::syntax_error;
use crate::define::yaml::Origin;

/// One complaint. `span` is a place in the SQL text; `word` stands there where no span is known.
#[derive(Debug, Clone)]
pub struct Fault {
    span: Option<(usize, usize)>,
    word: Option<String>,
    message: String,
    found: Option<String>,
    expected: Option<String>,
    help: Option<String>,
}

impl Fault {
    pub fn new(message: impl Into<String>) -> Self {
        Fault { span: None, word: None, message: message.into(), found: None, expected: None, help: None }
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// What stands at the fault in the SQL text, to find its place by.
    pub fn word(mut self, word: impl Into<String>) -> Self {
        self.word = Some(word.into());
        self
    }

    /// Placed in a SQL file.
    pub fn in_sql(self, file: &str, sql: &str) -> Diagnostic {
        let by_word = || self.word.as_deref().map(|word| position_of(sql, word));
        let position = self.span.or_else(by_word).unwrap_or((1, 1));
        self.diagnostic(Diagnostic::new(file, position, ""))
    }

    /// Placed at a path of a YAML file; `what` says what the SQL there is for.
    pub fn in_yaml(mut self, origin: &Origin, path: &str, what: &str) -> Diagnostic {
        self.message = format!("{what}: {}", self.message);
        self.diagnostic(origin.at(path, ""))
    }

    fn diagnostic(self, place: Diagnostic) -> Diagnostic {
        Diagnostic { message: self.message, found: self.found, expected: self.expected, help: self.help, ..place }
    }
}

/// Every complaint in an error; the planner collects several where it can.
pub fn faults(error: &DataFusionError) -> Vec<Fault> {
    match error {
        DataFusionError::Collection(errors) => errors.iter().flat_map(faults).collect(),
        DataFusionError::Context(_, inner) => faults(inner),
        DataFusionError::Shared(inner) => faults(inner),
        DataFusionError::Diagnostic(diagnostic, inner) => {
            let mut inner = faults(inner);
            if let (Some(fault), Some(span)) = (inner.first_mut(), diagnostic.span) {
                fault.span = fault.span.or(Some(place(span)));
            }
            inner
        }
        DataFusionError::SchemaError(error, _) => vec![schema_fault(error)],
        DataFusionError::SQL(error, _) => {
            let d = syntax_error("", &error.to_string());
            let message = d.message.replace("sql parser error: ", "");
            vec![Fault { message, found: d.found, expected: d.expected, ..Fault::new("") }]
        }
        other => vec![planner_fault(&other.strip_backtrace())],
    }
}

fn schema_fault(error: &SchemaError) -> Fault {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let relation = field.relation.as_ref().map(|r| r.table().to_string());
            let of_relation = |c: &&datafusion::common::Column| match (&relation, &c.relation) {
                (Some(wanted), Some(has)) => wanted == has.table(),
                _ => true,
            };
            let mut names: Vec<&str> = valid_fields.iter().filter(of_relation).map(|c| c.name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            if names.is_empty() && relation.is_some() {
                let mut relations: Vec<String> =
                    valid_fields.iter().filter_map(|c| c.relation.as_ref()).map(|r| r.to_string()).collect();
                relations.dedup();
                let mut fault =
                    Fault::new(format!("unknown relation in `{}`", field.flat_name())).word(field.name.clone());
                fault.expected = Some(format!("one of {}", relations.join(", ")));
                fault.span = field.spans.first().map(place);
                return fault;
            }
            let near = nearest(&field.name, names.iter().copied()).map(|near| format!("did you mean `{near}`?"));
            Fault {
                span: field.spans.first().map(place),
                word: Some(field.name.clone()),
                message: format!("unknown column `{}`", field.name),
                found: Some(field.flat_name()),
                expected: Some(format!("one of {}", names.join(", "))),
                help: near,
            }
        }
        SchemaError::AmbiguousReference { field } => Fault {
            span: field.spans.first().map(place),
            ..Fault::new(format!("`{}` is a column of more than one relation", field.name))
                .word(field.name.clone())
                .help("say which: relation.column")
        },
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            two_columns(name)
        }
    }
}

fn place(span: Span) -> (usize, usize) {
    (span.start.line as usize, span.start.column as usize)
}

/// What the planner says in its own words, of which the most frequent are put in ours.
fn planner_fault(message: &str) -> Fault {
    let text = plain(message);
    let twice = text.strip_prefix("Projections require unique expression names");
    let name = twice.and_then(|rest| rest.split('"').nth(1)).and_then(|expr| expr.rsplit(" AS ").next());
    match name.map(|name| name.rsplit('.').next().unwrap_or(name)) {
        Some(name) => two_columns(name),
        None => Fault::new(text),
    }
}

/// Two output columns with one name.
pub fn two_columns(name: &str) -> Fault {
    Fault::new(format!("two output columns are called `{name}`")).word(name).help("give one another name, with `as`")
}

/// Without the words that DataFusion puts before and after what matters.
fn plain(message: &str) -> String {
    let mut text = message;
    for prefix in ["Error during planning: ", "Execution error: ", "type_coercion\ncaused by\n", "Schema error: "] {
        text = text.strip_prefix(prefix).unwrap_or(text);
    }
    let text = text.split("\nThis issue was likely caused by a bug").next().unwrap_or(text);
    text.trim().to_string()
}
