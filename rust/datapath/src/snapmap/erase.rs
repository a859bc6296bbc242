//! Overwriting everything that a store has ever held.
//!
//! With no live exceptions the log is replaced by an empty one, twice: first so that the slots of the
//! old log are free and are overwritten with all others, then so that the slot between is. At every
//! moment the root names a log that is whole, so a cut leaves a store that opens.

use bytes::Bytes;

use super::layout::Slot;
use super::store::ExceptionStore;
use crate::block_io::Growable;
use crate::error::IoError;
use crate::limits::{ERASED_SLOTS, ZEROS_BYTES};

static ZEROS: [u8; ZEROS_BYTES] = [0; ZEROS_BYTES];

impl<S: Growable> ExceptionStore<S> {
    /// Overwrites with zeros whatever slot is mapped, durably; the store is empty afterwards. The
    /// caller sees to it that nothing is preserved meanwhile and that no snapshot is live.
    pub async fn erase(&self) -> Result<(), IoError> {
        // Whoever ended the last snapshot may not have come to this yet.
        self.sweep();
        let mut log = self.log.lock().await;
        assert_eq!(self.map.count(), 0, "exceptions live as long as their snapshots");
        for _ in 0..2 {
            self.checkpoint(&mut log).await?;
            self.overwrite_free_slots().await?;
            self.space.flush().await?;
        }
        Ok(())
    }

    /// Slots are taken while they are overwritten, some at a time.
    async fn overwrite_free_slots(&self) -> Result<(), IoError> {
        let capacity = self.slots().capacity();
        for first in (0..capacity).step_by(ERASED_SLOTS) {
            let range = first..capacity.min(first + ERASED_SLOTS as u64);
            let taken: Vec<Slot> = {
                let mut slots = self.slots();
                range.map(|slot| Slot(slot as u32)).filter(|slot| slots.claim(*slot)).collect()
            };
            let mut outcome = Ok(());
            for slot in &taken {
                if outcome.is_ok() {
                    outcome = self.overwrite(*slot).await;
                }
            }
            self.release_slots(&taken);
            outcome?;
        }
        Ok(())
    }

    async fn overwrite(&self, slot: Slot) -> Result<(), IoError> {
        let mut at = self.address_of(slot);
        let end = at + self.chunk.bytes();
        while at < end {
            let (mapped, run_bytes) = self.space.mapped_run(at, end - at).await?;
            let length = if mapped { run_bytes.min(ZEROS_BYTES as u64) } else { run_bytes };
            if mapped {
                let zeros = Bytes::from_static(&ZEROS[..length as usize]);
                self.space.write_at(at, zeros).await?;
            }
            at += length;
        }
        Ok(())
    }
}
