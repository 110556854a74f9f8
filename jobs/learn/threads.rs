//! Work spread over as many threads as a training may take.

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};

/// Runs `work` where rayon's parallel iterators take `threads` threads; 0 takes as many as there are.
pub fn on<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> Result<R> {
    Ok(pool(threads)?.install(work))
}

/// So many threads, for who needs them more than once; 0 for as many as there are.
pub fn pool(threads: usize) -> Result<ThreadPool> {
    let built = ThreadPoolBuilder::new().num_threads(threads).build();
    built.map_err(|e| Error::internal("no threads could be started").caused_by(e))
}
