//! Slots of the store space: giving them out, taking them back, and growing the space.
//!
//! The space grows ahead of need: one writer that finds few slots left grows it while the others go
//! on. Only when none is left does everybody wait for the one who grows.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use super::layout::Slot;
use super::slots::SlotMap;
use super::store::{ExceptionStore, StoreUse};
use crate::block_io::Growable;
use crate::error::IoError;
use crate::limits::{
    LOG_RESERVED_SLOTS, LOG_SLACK_BLOCKS, PRESERVING_CHUNKS_MAX, STORE_GROWTH_BYTES_MAX,
    STORE_GROWTH_BYTES_MIN, STORE_SLOTS_MAX,
};

impl<S: Growable> ExceptionStore<S> {
    /// A slot for a copy. `StoreFull` when there is none and the space cannot grow.
    pub async fn allocate(&self) -> Result<Slot, IoError> {
        let (slot, free) = self.take_data_slot();
        if let Some(slot) = slot {
            let low =
                free < PRESERVING_CHUNKS_MAX as u64 && !self.exhausted.load(Ordering::Relaxed);
            if low && let Ok(_growing) = self.growing.try_lock() {
                // This slot is there already: whether the next will be is for the next to find out.
                drop(self.grow().await);
            }
            return Ok(slot);
        }
        let _growing = self.growing.lock().await;
        if let (Some(slot), _) = self.take_data_slot() {
            return Ok(slot);
        }
        match self.grow().await {
            Ok(()) | Err(IoError::NoSpace) => {}
            Err(error) => return Err(error),
        }
        self.take_data_slot().0.ok_or(IoError::StoreFull)
    }

    /// Gives back a slot whose copy was never committed.
    pub fn abandon(&self, slot: Slot) {
        self.release_slots(&[slot]);
    }

    /// Whether the space could not grow when it was last tried.
    pub fn is_exhausted(&self) -> bool {
        self.exhausted.load(Ordering::Relaxed)
    }

    /// The space may have more room now than when it was last tried.
    pub fn may_grow_again(&self) {
        self.exhausted.store(false, Ordering::Relaxed);
    }

    /// How full the store is.
    pub fn usage(&self) -> StoreUse {
        let slots = self.slots();
        StoreUse {
            used_bytes: slots.used() * self.chunk.bytes(),
            capacity_bytes: slots.capacity() * self.chunk.bytes(),
            exceptions: self.map.count(),
        }
    }

    /// Adds room: a quarter of what there is, or as much of that as the pool gives.
    async fn grow(&self) -> Result<(), IoError> {
        let capacity_bytes = self.slots().capacity() * self.chunk.bytes();
        let wanted = (capacity_bytes / 4).clamp(STORE_GROWTH_BYTES_MIN, STORE_GROWTH_BYTES_MAX);
        let mut additional = wanted.next_multiple_of(self.chunk.bytes());
        // Ends because `additional` halves down to one chunk.
        loop {
            match self.space.grow(additional).await {
                Ok(size_bytes) => {
                    self.exhausted.store(false, Ordering::Relaxed);
                    self.slots().extend(slot_count(size_bytes, self.chunk.bytes()));
                    return Ok(());
                }
                Err(IoError::NoSpace) if additional > self.chunk.bytes() => {
                    additional = (additional / 2).next_multiple_of(self.chunk.bytes());
                }
                Err(error) => {
                    self.exhausted.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    }

    fn take_data_slot(&self) -> (Option<Slot>, u64) {
        let mut slots = self.slots();
        let free = slots.free();
        (if free > LOG_RESERVED_SLOTS { slots.take() } else { None }, free)
    }

    pub(super) fn take_log_slot(&self) -> Option<Slot> {
        self.slots().take()
    }

    pub(super) fn release_slots(&self, freed: &[Slot]) {
        let mut slots = self.slots();
        freed.iter().for_each(|slot| slots.release(*slot));
    }

    pub(super) fn slots(&self) -> MutexGuard<'_, SlotMap> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A small store has little slack, so that its log does not crowd out the data.
    pub(super) fn log_slack_blocks(&self) -> u64 {
        let capacity_blocks = self.space.size_bytes() / super::layout::BLOCK_BYTES as u64;
        (capacity_blocks / 32).min(self.options.log_slack_blocks.unwrap_or(LOG_SLACK_BLOCKS))
    }
}

/// Slots in a space of `size_bytes`.
pub fn slot_count(size_bytes: u64, chunk_bytes: u64) -> u64 {
    (size_bytes / chunk_bytes).min(STORE_SLOTS_MAX)
}
