//! Says that an event waits somewhere in the process, so that who fetches events need not look again
//! and again.
//!
//! Events wait in queues of their pools and volumes. The signal is one for all of them: a pool is
//! opened and closed while somebody waits, and one thread waits for every pool.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

static COUNT: Mutex<u64> = Mutex::new(0);
static RAISED: Condvar = Condvar::new();

/// To be called after an event was put into a queue. Never waits for who fetches events.
pub fn raise() {
    *count() += 1;
    RAISED.notify_all();
}

/// Blocks until the signal was raised more than `seen` times since the process began, or until the
/// time is over; gives how often it was. With 0 at first, and the last answer from then on, nothing
/// that is raised between two calls is missed.
pub fn wait(seen: u64, timeout: Duration) -> u64 {
    let raised = RAISED.wait_timeout_while(count(), timeout, |count| *count <= seen);
    *raised.unwrap_or_else(PoisonError::into_inner).0
}

fn count() -> MutexGuard<'static, u64> {
    COUNT.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_was_raised_before_the_wait_is_not_missed() {
        let seen = wait(0, Duration::ZERO);
        raise();
        assert!(wait(seen, LONG) > seen);
    }

    #[test]
    fn a_wait_ends_when_the_signal_is_raised_elsewhere() {
        let seen = wait(0, Duration::ZERO);
        let waiting = thread::spawn(move || wait(seen, LONG));
        raise();
        assert!(waiting.join().expect("it does not panic") > seen);
    }
}
