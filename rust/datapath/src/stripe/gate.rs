//! A gate that changes pass and that can be closed: shared and exclusive, for any executor.
//!
//! Passing an open gate is one atomic addition. Closing it waits until everything that has passed
//! is through, while newcomers wait outside; closers queue first in, first out. Whoever holds a
//! pass must not close the gate.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Mutex, MutexGuard, Notify};

const CLOSED: u64 = 1 << 63;

/// The gate.
#[derive(Default)]
pub struct Gate {
    /// How many are inside, and whether it is closed.
    state: AtomicU64,
    closers: Mutex<()>,
    emptied: Notify,
    opened: Notify,
}

/// Being inside.
pub struct Pass<'a> {
    gate: &'a Gate,
}

/// Holding the gate closed, with nobody inside.
pub struct Closed<'a> {
    gate: &'a Gate,
    _turn: MutexGuard<'a, ()>,
}

impl Gate {
    /// Passes, as soon as the gate is open.
    pub async fn enter(&self) -> Pass<'_> {
        loop {
            if self.state.fetch_add(1, Ordering::AcqRel) & CLOSED == 0 {
                return Pass { gate: self };
            }
            self.leave();
            let mut opened = pin!(self.opened.notified());
            opened.as_mut().enable();
            if self.state.load(Ordering::Acquire) & CLOSED != 0 {
                opened.await;
            }
        }
    }

    /// Closes, and waits until nobody is inside.
    pub async fn close(&self) -> Closed<'_> {
        let turn = self.closers.lock().await;
        self.state.fetch_or(CLOSED, Ordering::AcqRel);
        let closed = Closed { gate: self, _turn: turn };
        loop {
            let mut emptied = pin!(self.emptied.notified());
            emptied.as_mut().enable();
            if self.state.load(Ordering::Acquire) == CLOSED {
                return closed;
            }
            emptied.await;
        }
    }

    fn leave(&self) {
        if self.state.fetch_sub(1, Ordering::AcqRel) == CLOSED + 1 {
            self.emptied.notify_waiters();
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.gate.leave();
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.gate.state.fetch_and(!CLOSED, Ordering::AcqRel);
        self.gate.opened.notify_waiters();
    }
}

#[cfg(feature = "simulation")]
#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::simulation::{Simulation, spawn, yield_now};

    #[test]
    fn nobody_is_inside_while_it_is_closed_and_everybody_gets_in() {
        for seed in 0..50 {
            let run = Simulation::new(seed).run(async {
                let gate = Rc::new(Gate::default());
                let inside = Rc::new(Cell::new(0));
                let mut tasks = Vec::new();
                for index in 0..20 {
                    let (gate, inside) = (gate.clone(), inside.clone());
                    tasks.push(spawn(async move {
                        for _ in 0..5 {
                            if index % 5 == 0 {
                                let _closed = gate.close().await;
                                assert_eq!(inside.get(), 0);
                                yield_now().await;
                                assert_eq!(inside.get(), 0);
                            } else {
                                let _pass = gate.enter().await;
                                inside.set(inside.get() + 1);
                                yield_now().await;
                                inside.set(inside.get() - 1);
                            }
                        }
                    }));
                }
                for task in tasks {
                    task.await;
                }
            });
            assert_eq!(run, Ok(()));
        }
    }
}
