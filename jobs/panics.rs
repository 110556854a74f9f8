//! Panics of other people's code, made into values.
//!
//! A decoder that is given a broken file may panic. That is a fault of the file, to be told by its name, and no news
//! for stderr: what runs inside of [`contained`] prints nothing when it panics. Anywhere else a panic is a bug of ours
//! and is printed as ever.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Whether the job is over: what still runs is cut off, and may panic about it.
static OVER: AtomicBool = AtomicBool::new(false);
static LISTEN: Once = Once::new();

/// Sets a thread back when the work ends, however it ends.
struct Inside(bool);

impl Drop for Inside {
    fn drop(&mut self) {
        CONTAINED.set(self.0);
    }
}

/// Runs work on this thread.
///
/// # Errors
/// What it said when it panicked.
pub fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    LISTEN.call_once(listen);
    let inside = Inside(CONTAINED.replace(true));
    // What the work was about to change is dropped with it.
    let done = catch_unwind(AssertUnwindSafe(work));
    drop(inside);
    done.map_err(|_| SAID.take().unwrap_or_else(|| "a panic".into()))
}

/// From now on no panic is news: the job has ended, and its outcome is known.
pub fn over() {
    LISTEN.call_once(listen);
    OVER.store(true, Ordering::Relaxed);
}

/// Panics of contained work are kept for whoever contained it; the others go to whoever listened before.
fn listen() {
    let before = take_hook();
    set_hook(Box::new(move |panic| {
        if OVER.load(Ordering::Relaxed) {
            return;
        }
        if !CONTAINED.get() {
            return before(panic);
        }
        let said = panic.payload_as_str().unwrap_or("a panic");
        let place = panic.location().map_or(String::new(), |place| {
            let file = place.file().rsplit(['/', '\\']).next().unwrap_or_default();
            format!(", at {file}:{}", place.line())
        });
        SAID.replace(Some(format!("{said}{place}")));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_what_it_said() {
        assert_eq!(contained(|| 7), Ok(7));
        let error = contained(|| -> u8 { panic!("row {}", 3) }).unwrap_err();
        assert!(error.starts_with("row 3, at panics.rs:"), "{error}");
        let none = "no number".parse::<u8>().ok();
        assert!(contained(|| none.unwrap()).unwrap_err().contains("None"));
        assert!(!CONTAINED.get());
    }
}
