//! A gate that changes of a volume or a logical unit pass, and that a hold closes.
//!
//! Passing costs one addition and one load on memory of the thread's own, and one subtraction on the
//! way out; nobody waits. A hold sets `held`, then waits until every counter was seen at zero.
//!
//! Why that is enough: a passer adds to its counter and then loads `held`; a holder stores `held` and
//! then loads the counters. All four are `SeqCst`, so one of the two comes first for both: either the
//! passer sees the hold and backs out, or the holder sees the passer and waits for it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_utils::CachePadded;
use tokio::sync::{Notify, oneshot};

/// More threads than this share counters.
const COUNTERS: usize = 16;

/// The gate.
#[derive(Debug, Default)]
pub struct Gate {
    passing: [CachePadded<AtomicUsize>; COUNTERS],
    held: AtomicBool,
    drained: Notify,
    waiting: Mutex<VecDeque<oneshot::Sender<()>>>,
    /// One hold at a time; the next in the order they came.
    holder: tokio::sync::Mutex<()>,
}

/// A change on its way through; dropped when it is done.
pub struct Pass<'a> {
    gate: &'a Gate,
    counter: usize,
}

/// The right to hold the gate, before it is held.
pub struct Holder<'a> {
    gate: &'a Gate,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

/// The gate is closed; dropping this opens it.
pub struct Held<'a> {
    holder: Holder<'a>,
}

impl Gate {
    /// Passes, when no hold is on.
    pub async fn enter(&self) -> Pass<'_> {
        // Ends with the hold; another one may come first, as often as snapshots are taken.
        loop {
            if let Some(pass) = self.try_enter() {
                return pass;
            }
            let Some(opened) = self.wait_in_line() else { continue };
            // An error says that the hold was dropped together with everything: look again.
            let _ = opened.await;
        }
    }

    fn try_enter(&self) -> Option<Pass<'_>> {
        let counter = counter_of_this_thread();
        self.passing[counter].fetch_add(1, Ordering::SeqCst);
        let pass = Pass { gate: self, counter };
        // Backing out is dropping the pass.
        (!self.held.load(Ordering::SeqCst)).then_some(pass)
    }

    fn wait_in_line(&self) -> Option<oneshot::Receiver<()>> {
        let mut waiting = self.waiting();
        // The hold may have ended since; it does so under this lock.
        if !self.held.load(Ordering::SeqCst) {
            return None;
        }
        let (opened, line) = oneshot::channel();
        waiting.push_back(opened);
        Some(line)
    }

    /// Waits for its turn to hold.
    pub async fn holder(&self) -> Holder<'_> {
        Holder { _turn: self.holder.lock().await, gate: self }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<oneshot::Sender<()>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Holder<'a> {
    /// Closes the gate. Changes that are past it go on.
    pub fn close(self) -> Held<'a> {
        self.gate.held.store(true, Ordering::SeqCst);
        Held { holder: self }
    }
}

impl Held<'_> {
    /// Waits until no change is past the gate.
    pub async fn drain(&self) {
        let gate = self.holder.gate;
        for counter in &gate.passing {
            // A counter seen at zero stays: whoever adds to it now sees the hold and backs out.
            while counter.load(Ordering::SeqCst) != 0 {
                gate.drained.notified().await;
            }
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let gate = self.holder.gate;
        let mut waiting = gate.waiting();
        gate.held.store(false, Ordering::SeqCst);
        for opened in waiting.drain(..) {
            // Whoever is gone does not wait.
            let _ = opened.send(());
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let before = self.gate.passing[self.counter].fetch_sub(1, Ordering::SeqCst);
        if before == 1 && self.gate.held.load(Ordering::SeqCst) {
            // Kept for the holder if it does not wait yet.
            self.gate.drained.notify_one();
        }
    }
}

fn counter_of_this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    OWN.with(|own| {
        own.get().unwrap_or_else(|| {
            let counter = NEXT.fetch_add(1, Ordering::Relaxed) % COUNTERS;
            own.set(Some(counter));
            counter
        })
    })
}
