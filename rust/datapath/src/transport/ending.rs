//! That a session or ring has ended, and why: said once by whoever serves it, and waited for.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// `R`: why it ended.
#[derive(Debug)]
pub(super) struct Ending<R> {
    reason: Mutex<Option<R>>,
    ended: Condvar,
}

impl<R> Default for Ending<R> {
    fn default() -> Self {
        Self { reason: Mutex::new(None), ended: Condvar::new() }
    }
}

impl<R: Copy> Ending<R> {
    pub(super) fn set(&self, reason: R) {
        *self.lock() = Some(reason);
        self.ended.notify_all();
    }

    /// `None` until it has ended.
    pub(super) fn reason(&self) -> Option<R> {
        *self.lock()
    }

    /// Blocks until it has ended, or `timeout` (`None`: none) has passed.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> Option<R> {
        let running = |reason: &mut Option<R>| reason.is_none();
        let reason = self.lock();
        *match timeout {
            None => self.ended.wait_while(reason, running).unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => {
                let waited = self.ended.wait_timeout_while(reason, timeout, running);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<R>> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
