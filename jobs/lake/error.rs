//! What a failure of storage means to the scheduler.

use crate::error::{Error, Kind};

impl From<object_store::Error> for Error {
    /// What [`super::remote`] says of a failure comes out as it was said.
    fn from(e: object_store::Error) -> Self {
        Error::within(&e).unwrap_or_else(|| Error::temporary(e.to_string()).caused_by(e))
    }
}

impl From<deltalake::kernel::Error> for Error {
    fn from(e: deltalake::kernel::Error) -> Self {
        deltalake::DeltaTableError::from(e).into()
    }
}

impl From<deltalake::DeltaTableError> for Error {
    /// Commit conflicts and storage are worth a retry; everything else is not.
    fn from(e: deltalake::DeltaTableError) -> Self {
        use deltalake::DeltaTableError as D;
        if let Some(ours) = Error::within(&e) {
            return ours;
        }
        let kind = match &e {
            D::ObjectStore { .. } | D::Transaction { .. } | D::VersionAlreadyExists(_) | D::Io { .. } => {
                Kind::Temporary
            }
            other if has_storage_cause(other) => Kind::Temporary,
            _ => Kind::Internal,
        };
        Error::new(kind, e.to_string()).caused_by(e)
    }
}

/// The kernel wraps what storage says, at times twice.
fn has_storage_cause(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = error.source();
    while let Some(e) = cause {
        if e.is::<object_store::Error>() || e.is::<std::io::Error>() {
            return true;
        }
        cause = e.source();
    }
    false
}
