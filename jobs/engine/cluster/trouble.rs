//! What went wrong on a cluster, in our terms.
//!
//! Errors come as text. What a task of ours failed with carries its kind behind its message ([`Told`]); of what else there
//! is, the kind follows from the words that Ballista and this crate begin it with.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use datafusion::error::DataFusionError;

use crate::engine::pit::exec::wrap;
use crate::error::{Error, Kind, STORAGE_FAILED};

/// Words of errors that pass by themselves: nobody answers, an executor was lost too often, the storage is down.
const TEMPORARY: [&str; 10] = [
    "GrpcConnectionError",
    "transport error",
    "tcp connect error",
    "Connection refused",
    "connection closed",
    "Could not connect",
    "FetchFailed",
    "ExecutorLost",
    "no executors remain",
    STORAGE_FAILED,
];

/// Words of a cluster of another build, or of another version of Ballista.
const DEFINITION: [&str; 3] = ["run the same build everywhere", "client and scheduler", "ballista-version"];

/// An error that says, however it is printed, its message and then its kind and message so that they can be read again:
/// Ballista prints what it hands on as Rust does for debugging, some of it twice.
pub struct Told(pub Error);

const BEFORE: &str = "[scorehouse ";

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let message = self.0.to_string();
        write!(f, "{message} {BEFORE}{} {}]", self.0.kind().code(), STANDARD_NO_PAD.encode(&message))
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Told {}

/// What was told somewhere in a text.
fn told(text: &str) -> Option<Error> {
    let (_, rest) = text.split_once(BEFORE)?;
    let (code, message) = rest.split_once(']')?.0.split_once(' ')?;
    let message = String::from_utf8(STANDARD_NO_PAD.decode(message).ok()?).ok()?;
    Some(Error::new(Kind::of_code(code.parse().ok()?)?, message))
}

/// An error of ours, with the exit code that it deserves.
pub fn of(error: DataFusionError) -> DataFusionError {
    if let DataFusionError::External(inner) = &error
        && inner.downcast_ref::<Error>().is_some()
    {
        return error;
    }
    let text = error.strip_backtrace();
    wrap(told(&text).unwrap_or_else(|| Error::new(kind(&text), format!("the cluster failed: {text}"))))
}

fn kind(text: &str) -> Kind {
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&DEFINITION) {
        Kind::Definition
    } else if says(&TEMPORARY) {
        Kind::Temporary
    } else {
        Kind::Internal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed_on(error: Error) -> Error {
        let task = format!("{:?}", DataFusionError::External(Box::new(Told(error))));
        // What the scheduler makes of it, and the client of that.
        let job = format!("{:?}", format!("Job failed due to stage 3 failed: Task failed: {task}\n"));
        Error::from(of(DataFusionError::Execution(job)))
    }

    #[test]
    fn kind_and_message_come_through_whatever_is_in_them() {
        for kind in [Kind::Internal, Kind::Definition, Kind::Data, Kind::Gate, Kind::Temporary] {
            let message = "payment.amount: `1 000 €` is no number\n  help: \"amount\" [of row 7] \\ must be one";
            let error = passed_on(Error::new(kind, message));
            assert_eq!((error.kind(), error.to_string().as_str()), (kind, message));
        }
    }

    #[test]
    fn what_is_not_told_is_known_by_its_words() {
        let of_words = |words: &str| Error::from(of(DataFusionError::Execution(words.into()))).kind();
        assert_eq!(of_words("GrpcConnectionError(\"tcp connect error\")"), Kind::Temporary);
        assert_eq!(of_words("all executors were lost …; no executors remain to run the tasks"), Kind::Temporary);
        assert_eq!(of_words("packed by 0.1.0, this is 0.2.0; run the same build everywhere"), Kind::Definition);
        assert_eq!(of_words("something else"), Kind::Internal);
        assert_eq!(of_words("[scorehouse 3 ???]"), Kind::Internal);
    }
}
