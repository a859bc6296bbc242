//! Whether something unusual is pending at a logical unit: a unit attention, a reservation of
//! another, anything that the command set must see before a READ or WRITE runs.
//!
//! Set from above, read here. While nothing is pending anywhere at the unit, asking costs one atomic
//! load. A command that asks while the gate is being closed may still pass: it counts as having come
//! before whatever closed it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::request::NexusId;

/// The gate of one logical unit.
#[derive(Debug, Default)]
pub struct Gate {
    /// Whether `pending` says anything at all.
    any: AtomicBool,
    pending: ArcSwap<Pending>,
    /// Held while `pending` is replaced: changes are rare, and must not undo each other.
    changing: Mutex<()>,
}

#[derive(Clone, Debug, Default)]
struct Pending {
    all: bool,
    nexuses: HashSet<NexusId>,
}

impl Gate {
    /// Whether a command of `nexus` may take the fast path.
    #[inline]
    pub fn is_clear(&self, nexus: NexusId) -> bool {
        if !self.any.load(Ordering::Acquire) {
            return true;
        }
        let pending = self.pending.load();
        !pending.all && !pending.nexuses.contains(&nexus)
    }

    /// Says that something is, or no longer is, pending for `nexus`; `None` means every nexus. The
    /// two are kept apart: clearing every nexus's flag leaves those of single ones.
    pub fn set_pending(&self, nexus: Option<NexusId>, pending: bool) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Pending::clone(&self.pending.load());
        match nexus {
            None => next.all = pending,
            Some(nexus) if pending => {
                next.nexuses.insert(nexus);
            }
            Some(nexus) => {
                next.nexuses.remove(&nexus);
            }
        }
        let any = next.all || !next.nexuses.is_empty();
        self.pending.store(Arc::new(next));
        self.any.store(any, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NexusId = NexusId(1);
    const B: NexusId = NexusId(2);

    #[test]
    fn one_nexus_and_all_are_kept_apart() {
        let gate = Gate::default();
        assert!(gate.is_clear(A));
        gate.set_pending(Some(A), true);
        assert!(!gate.is_clear(A) && gate.is_clear(B));
        gate.set_pending(None, true);
        assert!(!gate.is_clear(A) && !gate.is_clear(B));
        gate.set_pending(None, false);
        assert!(!gate.is_clear(A) && gate.is_clear(B));
        gate.set_pending(Some(A), false);
        assert!(gate.is_clear(A));
    }
}
