//! One error type for every job: what went wrong, where it happened, what caused it, and what the scheduler should do.
//!
//! A job ends with the exit code of its error's [`Kind`]. The kinds are the scheduler's view, not ours: it retries 75,
//! pages somebody for 1 and 3, and sends 2 back to whoever wrote the definition.

use std::fmt;
use std::sync::Arc;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use parquet::errors::ParquetError;

/// What the scheduler should make of an error. `code` gives the documented exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A bug, or a machine that is broken.
    Internal,
    /// A command line, profile or definition that is wrong.
    Definition,
    /// Input data that broke its contract.
    Data,
    /// The gate refused a candidate.
    Gate,
    /// Storage or a concurrent commit; the same command may succeed later.
    Temporary,
}

impl Kind {
    /// The process exit code.
    pub fn code(self) -> u8 {
        match self {
            Kind::Internal => 1,
            Kind::Definition => 2,
            Kind::Data => 3,
            Kind::Gate => 4,
            Kind::Temporary => 75,
        }
    }

    /// The kind that ends with this exit code.
    pub fn of_code(code: u8) -> Option<Kind> {
        [Kind::Internal, Kind::Definition, Kind::Data, Kind::Gate, Kind::Temporary]
            .into_iter()
            .find(|k| k.code() == code)
    }

    /// Of two kinds, the one that decides the exit code: 1, 2, 3, 75, 4 in this order.
    pub fn worst(self, other: Kind) -> Kind {
        let rank = |k: Kind| match k {
            Kind::Internal => 0,
            Kind::Definition => 1,
            Kind::Data => 2,
            Kind::Temporary => 3,
            Kind::Gate => 4,
        };
        if rank(self) <= rank(other) { self } else { other }
    }
}

/// How an error of storage begins that may pass, and one that will not: see [`Error::within`].
pub const STORAGE_FAILED: &str = "the storage failed: ";
pub const STORAGE_REFUSED: &str = "the storage refused: ";

/// An error with its kind, the chain of what was being done, and its cause.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    context: Vec<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), context: Vec::new(), source: None }
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    pub fn definition(message: impl Into<String>) -> Self {
        Self::new(Kind::Definition, message)
    }

    pub fn data(message: impl Into<String>) -> Self {
        Self::new(Kind::Data, message)
    }

    pub fn temporary(message: impl Into<String>) -> Self {
        Self::new(Kind::Temporary, message)
    }

    /// The cause, kept for the chain that is printed.
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// One of ours within another library's error: among its causes, or, where that library made text of it, as Parquet
    /// and Delta do on their ways, known by its first words.
    pub fn within(error: &(dyn std::error::Error + 'static)) -> Option<Error> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(ours) = error.downcast_ref::<Error>() {
                return Some(Error::new(ours.kind(), ours.to_string()));
            }
            cause = error.source();
        }
        let text = error.to_string();
        let known = [(STORAGE_FAILED, Kind::Temporary), (STORAGE_REFUSED, Kind::Definition)];
        // DataFusion puts a request to report a bug of its own behind what it does not know.
        let text = text.split(".\nThis issue was likely caused by a bug").next().unwrap_or_default();
        known.into_iter().find_map(|(words, kind)| Some(Error::new(kind, &text[text.find(words)?..])))
    }

    /// What an error of DataFusion is that belongs to somebody else: its kind and its words.
    pub fn of_datafusion(error: &DataFusionError) -> Error {
        Error::within(error).unwrap_or_else(|| Error::new(datafusion_kind(error), error.strip_backtrace()))
    }

    /// The same of an error of Arrow.
    pub fn of_arrow(error: &ArrowError) -> Error {
        Error::within(error).unwrap_or_else(|| Error::new(arrow_kind(error), error.to_string()))
    }

    /// Whether some Parquet file cannot be read, and it is not said which.
    pub fn is_unreadable_parquet(&self) -> bool {
        // As DataFusion says it of an error that several streams share.
        self.kind == Kind::Data && [UNREADABLE, "Parquet error: "].iter().any(|words| self.message.starts_with(words))
    }

    /// What was being done when the error came up; the outermost is printed first.
    pub fn context(mut self, doing: impl Into<String>) -> Self {
        self.context.push(doing.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for doing in self.context.iter().rev() {
            write!(f, "{doing}: ")?;
        }
        f.write_str(&self.message)?;
        let mut cause = self.source.as_deref().map(|e| e as &dyn std::error::Error);
        while let Some(error) = cause {
            let text = error.to_string();
            if !self.message.contains(&text) {
                write!(f, "\n  caused by: {text}")?;
            }
            cause = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as &dyn std::error::Error)
    }
}

/// Somebody else's error on one line, with what caused it.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Adds what was being done to the error of a result.
pub trait Context<T> {
    fn context(self, doing: impl Into<String>) -> Result<T>;
    fn with_context(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for Result<T, E> {
    fn context(self, doing: impl Into<String>) -> Result<T> {
        self.map_err(|e| e.into().context(doing))
    }

    fn with_context(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| e.into().context(doing()))
    }
}

macro_rules! internal_from {
    ($($t:ty),*) => {$(
        impl From<$t> for Error {
            fn from(e: $t) -> Self {
                Error::internal(e.to_string()).caused_by(e)
            }
        }
    )*};
}

impl From<ParquetError> for Error {
    fn from(e: ParquetError) -> Self {
        of_parquet(e)
    }
}

internal_from!(ArrowError, serde_json::Error, std::num::ParseIntError);

impl From<DataFusionError> for Error {
    /// One of ours that passed through a stream comes out as it went in; the others get the kind of what caused them.
    fn from(e: DataFusionError) -> Self {
        match e {
            DataFusionError::Context(doing, inner) => Error::from(*inner).context(doing),
            DataFusionError::Diagnostic(_, inner) => Error::from(*inner),
            DataFusionError::External(inner) => match inner.downcast::<Error>() {
                Ok(ours) => *ours,
                Err(other) => Error::within(other.as_ref()).unwrap_or_else(|| Error::internal(other.to_string())),
            },
            DataFusionError::ParquetError(parquet) => of_parquet(*parquet),
            DataFusionError::ArrowError(arrow, _) if matches!(*arrow, ArrowError::ParquetError(_)) => {
                Error::data(format!("{UNREADABLE}{arrow}"))
            }
            DataFusionError::Shared(shared) => match Arc::try_unwrap(shared) {
                Ok(inner) => Error::from(inner),
                Err(shared) => Error::of_datafusion(&shared),
            },
            other => match Error::within(&other) {
                Some(ours) => ours,
                None => Error::new(datafusion_kind(&other), other.strip_backtrace()).caused_by(other),
            },
        }
    }
}

/// How the error of a Parquet file begins that is not named.
const UNREADABLE: &str = "a Parquet file cannot be read: ";

/// What is read as Parquet was written by somebody: that it cannot be read is the data's fault.
fn of_parquet(error: ParquetError) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => Error::data(format!("{UNREADABLE}{other}")),
        },
        other => Error::data(format!("{UNREADABLE}{other}")),
    }
}

fn datafusion_kind(error: &DataFusionError) -> Kind {
    match error {
        DataFusionError::Shared(inner) => datafusion_kind(inner),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => datafusion_kind(inner),
        DataFusionError::External(inner) => inner.downcast_ref::<Error>().map_or(Kind::Internal, Error::kind),
        DataFusionError::ParquetError(parquet) => match parquet.as_ref() {
            ParquetError::External(inner) => inner.downcast_ref::<Error>().map_or(Kind::Data, Error::kind),
            _ => Kind::Data,
        },
        DataFusionError::ArrowError(arrow, _) => arrow_kind(arrow),
        DataFusionError::SQL(..) | DataFusionError::SchemaError(..) | DataFusionError::Plan(_) => Kind::Definition,
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => Kind::Temporary,
        _ => Kind::Internal,
    }
}

fn arrow_kind(error: &ArrowError) -> Kind {
    match error {
        // A row that an expression cannot be computed for.
        ArrowError::DivideByZero | ArrowError::ArithmeticOverflow(_) => Kind::Data,
        ArrowError::CastError(_) | ArrowError::ParseError(_) | ArrowError::ParquetError(_) => Kind::Data,
        ArrowError::IoError(..) => Kind::Temporary,
        _ => Kind::Internal,
    }
}

impl From<std::io::Error> for Error {
    /// A full or read-only disk may be mended and the job retried.
    fn from(e: std::io::Error) -> Self {
        Error::temporary(e.to_string()).caused_by(e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_kind_decides_the_exit_code() {
        assert_eq!(Kind::Gate.worst(Kind::Temporary).code(), 75);
        assert_eq!(Kind::Data.worst(Kind::Definition).code(), 2);
        assert_eq!(Kind::Internal.worst(Kind::Gate).code(), 1);
    }

    #[test]
    fn the_outermost_context_comes_first() {
        let error = Error::data("a null").context("row 3").context("payment.parquet");
        assert_eq!(error.to_string(), "payment.parquet: row 3: a null");
    }

    #[test]
    fn an_error_of_storage_is_known_when_it_has_become_text() {
        let text = format!("Parquet error: Generic S3 error: {STORAGE_FAILED}s3://bucket: reset");
        let error = Error::from(DataFusionError::Internal(text));
        assert_eq!(
            (error.kind(), error.to_string()),
            (Kind::Temporary, "the storage failed: s3://bucket: reset".into())
        );
        let error = Error::from(DataFusionError::External(format!("external: {STORAGE_REFUSED}no").into()));
        assert_eq!((error.kind(), error.to_string()), (Kind::Definition, "the storage refused: no".into()));
    }

    #[test]
    fn our_errors_survive_the_passage_through_a_stream() {
        let ours = DataFusionError::External(Box::new(Error::data("overflow")));
        let passed = DataFusionError::Shared(Arc::new(DataFusionError::Context("merge".into(), Box::new(ours))));
        let error = Error::from(passed);
        assert_eq!((error.kind(), error.to_string()), (Kind::Data, "merge: overflow".to_string()));
    }
}
