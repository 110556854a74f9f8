//! Work spread over as many threads as a training may take.

use rayon::ThreadPoolBuilder;

use crate::error::{Error, Result};

/// Runs `work` where rayon's parallel iterators take `threads` threads; 0 takes as many as there are.
pub fn on<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> Result<R> {
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|e| Error::internal("no threads could be started").caused_by(e))?;
    Ok(pool.install(work))
}
