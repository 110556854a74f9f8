//! Who a process is in logs and in `runs`: one id for both, so that either leads to the other.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

static OURS: OnceLock<String> = OnceLock::new();
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The id that every log line of this process carries.
pub fn of_process() -> &'static str {
    OURS.get_or_init(new)
}

/// The id of a job: that of the process for its first, which is the only one but in tests.
pub fn of_job() -> String {
    if TAKEN.swap(true, Ordering::Relaxed) { new() } else { of_process().to_string() }
}

fn new() -> String {
    uuid::Uuid::new_v4().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_of_one_process_are_told_apart() {
        let ids = [of_job(), of_job(), of_job()];
        assert!(ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
        assert_eq!(of_process(), of_process());
    }
}
