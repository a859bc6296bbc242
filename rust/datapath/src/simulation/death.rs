//! A process that is killed between two stores to what outlives it.
//!
//! Code that stores to memory or to a file that another process takes over says so before each
//! store. A test lets a thread live for so many of them; the next one unwinds instead of being made.

use std::cell::Cell;

/// What the thread that was killed unwinds with.
#[derive(Clone, Copy, Debug)]
pub struct Killed;

thread_local! {
    static STORES_LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Lets this thread live for `stores` more of them. Whether `work` came to its end.
pub fn after(stores: usize, work: impl FnOnce()) -> bool {
    STORES_LEFT.set(Some(stores));
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    STORES_LEFT.set(None);
    match ended {
        Ok(()) => true,
        Err(panic) if panic.is::<Killed>() => false,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A store follows, to memory, a file or a medium that outlives the process.
pub fn before_store() {
    match STORES_LEFT.get() {
        // `resume_unwind` does not tell the panic hook: nothing has gone wrong.
        Some(0) => std::panic::resume_unwind(Box::new(Killed)),
        Some(left) => STORES_LEFT.set(Some(left - 1)),
        None => {}
    }
}
