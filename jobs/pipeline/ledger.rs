//! What a job read and wrote so far, so that a run that fails is recorded with what it did before.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::job::Written;

/// Filled by a job while it works, and by the jobs it is made of; emptied by who records it.
#[derive(Debug, Clone, Default)]
pub struct Ledger(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
pub struct Entries {
    /// Tables and the versions that were pinned.
    pub inputs: BTreeMap<String, u64>,
    pub outputs: Vec<Written>,
}

impl Ledger {
    pub fn read(&self, table: &str, version: u64) {
        self.entries().inputs.insert(table.to_string(), version);
    }

    pub fn wrote(&self, line: &Written) {
        self.entries().outputs.push(line.clone());
    }

    /// What was entered since the last time.
    pub fn take(&self) -> Entries {
        std::mem::take(&mut *self.entries())
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
