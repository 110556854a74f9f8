//! What went wrong on a cluster, in our terms. Errors come as text; what they are follows from the words that DataFusion,
//! Ballista and this crate begin them with.

use datafusion::error::DataFusionError;

use crate::engine::pit::exec::wrap;
use crate::error::{Error, Kind, STORAGE_FAILED};

/// Words of errors that pass by themselves: nobody answers, an executor was lost too often, the storage is down.
const TEMPORARY: [&str; 9] = [
    "GrpcConnectionError",
    "transport error",
    "tcp connect error",
    "Connection refused",
    "connection closed",
    "Could not connect",
    "FetchFailed",
    "ExecutorLost",
    STORAGE_FAILED,
];

/// Words of errors of a row that an expression cannot be computed for, or of a file that cannot be read.
const DATA: [&str; 11] = [
    "Cast error",
    "CastError",
    "Parser error",
    "ParseError",
    "Divide by zero",
    "DivideByZero",
    "Arithmetic overflow",
    "ArithmeticOverflow",
    "overflow",
    "Parquet error",
    "Invalid Parquet",
];

/// Words of a cluster of another build, or of another version of Ballista.
const DEFINITION: [&str; 3] = ["run the same build everywhere", "client and scheduler", "ballista-version"];

/// An error of ours, with the exit code that it deserves.
pub fn of(error: DataFusionError) -> DataFusionError {
    if let DataFusionError::External(inner) = &error
        && inner.downcast_ref::<Error>().is_some()
    {
        return error;
    }
    let text = error.strip_backtrace();
    wrap(Error::new(kind(&text), format!("the cluster failed: {text}")))
}

fn kind(text: &str) -> Kind {
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&DEFINITION) {
        Kind::Definition
    } else if says(&DATA) {
        Kind::Data
    } else if says(&TEMPORARY) {
        Kind::Temporary
    } else {
        Kind::Internal
    }
}
