//! Reading preserved chunks: no byte is given out before the whole chunk's CRC was found right.
//!
//! A chunk that is wanted whole is verified in the caller's buffer. One that is wanted in parts is read
//! whole, verified, and kept for a while, since its next part is likely to be wanted next. An exception
//! never changes, so what is kept stays right whatever becomes of its slot.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;

use super::layout::{Place, Record, Slot};
use super::store::ExceptionStore;
use crate::block_io::{Growable, Verdict};
use crate::checksum::crc32c;
use crate::error::IoError;
use crate::limits::KEPT_COPIES;

/// What a read of a preserved chunk found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// The data.
    Right,
    /// The data; some of it was wrong on a member and is right again.
    Repaired,
    /// No copy of it is right.
    Damaged,
}

/// Chunks that were verified and whose parts may be wanted soon; the one used last is the first.
#[derive(Debug, Default)]
pub struct KeptCopies(Mutex<VecDeque<(Record, BytesMut)>>);

impl KeptCopies {
    /// Fills `part` from `offset` within the chunk, if it is kept.
    fn give(&self, record: &Record, offset: usize, part: &mut [u8]) -> bool {
        let mut kept = self.lock();
        let Some(index) = kept.iter().position(|(one, _)| one == record) else { return false };
        part.copy_from_slice(&kept[index].1[offset..offset + part.len()]);
        kept.swap(0, index);
        true
    }

    /// Keeps a chunk; gives back the buffer of one that it keeps no longer.
    fn keep(&self, record: Record, data: BytesMut) -> Option<BytesMut> {
        let mut kept = self.lock();
        kept.push_front((record, data));
        if kept.len() > KEPT_COPIES { kept.pop_back().map(|(_, data)| data) } else { None }
    }

    /// Keeps nothing any more.
    pub fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Record, BytesMut)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Growable> ExceptionStore<S> {
    /// Reads preserved data, from `offset_bytes` within the chunk.
    pub async fn read_copy(
        &self,
        record: &Record,
        offset_bytes: u64,
        mut buffer: BytesMut,
    ) -> (Result<Copied, IoError>, BytesMut) {
        let Place::At(slot) = record.place else {
            buffer.fill(0);
            return (Ok(Copied::Right), buffer);
        };
        if buffer.len() as u64 == self.chunk.bytes() {
            return self.read_whole(record, slot, buffer).await;
        }
        if self.kept.give(record, offset_bytes as usize, &mut buffer) {
            return (Ok(Copied::Right), buffer);
        }
        let (outcome, whole) = self.read_whole(record, slot, self.buffers().take()).await;
        if matches!(outcome, Ok(Copied::Right | Copied::Repaired)) {
            self.keep_part(record, whole, offset_bytes, &mut buffer);
        }
        (outcome, buffer)
    }

    /// The same where that needs no waiting; where it is false nothing is said of the bytes.
    pub fn read_copy_now(&self, record: &Record, offset_bytes: u64, buffer: &mut [u8]) -> bool {
        let Place::At(slot) = record.place else {
            buffer.fill(0);
            return true;
        };
        let at = self.address_of(slot);
        if buffer.len() as u64 == self.chunk.bytes() {
            return self.space.read_now(at, buffer) && crc32c(buffer) == record.data_crc;
        }
        if self.kept.give(record, offset_bytes as usize, buffer) {
            return true;
        }
        let mut whole = self.buffers().take();
        let right = self.space.read_now(at, &mut whole) && crc32c(&whole) == record.data_crc;
        if right {
            self.keep_part(record, whole, offset_bytes, buffer);
        } else {
            self.buffers().put(whole);
        }
        right
    }

    fn keep_part(&self, record: &Record, whole: BytesMut, offset_bytes: u64, part: &mut [u8]) {
        let offset = offset_bytes as usize;
        part.copy_from_slice(&whole[offset..offset + part.len()]);
        if let Some(spare) = self.kept.keep(*record, whole) {
            self.buffers().put(spare);
        }
    }

    async fn read_whole(
        &self,
        record: &Record,
        slot: Slot,
        buffer: BytesMut,
    ) -> (Result<Copied, IoError>, BytesMut) {
        let (outcome, buffer) = self.space.read_at(self.address_of(slot), buffer).await;
        if outcome.is_ok() && crc32c(&buffer) == record.data_crc {
            return (Ok(Copied::Right), buffer);
        }
        self.read_damaged(record, slot, buffer).await
    }

    /// Reads a chunk whose first reading was wrong from wherever it is right. Its slot is pinned for
    /// that long, so that what is repaired is nobody else's; where the exception is gone by now, so is
    /// the snapshot that wanted it.
    pub(super) async fn read_damaged(
        &self,
        record: &Record,
        slot: Slot,
        buffer: BytesMut,
    ) -> (Result<Copied, IoError>, BytesMut) {
        let _pinned = self.pin(slot);
        if !self.map.contains(record) {
            return (Err(IoError::SnapshotInvalid), buffer);
        }
        let is_right = |data: &[u8]| crc32c(data) == record.data_crc;
        let at = self.address_of(slot);
        let (outcome, buffer) = self.space.read_verified(at, buffer, is_right).await;
        let outcome = outcome.map(|found| match found {
            Verdict::Right => Copied::Right,
            Verdict::Repaired => {
                self.errors.add(1, 0);
                Copied::Repaired
            }
            Verdict::Wrong => Copied::Damaged,
        });
        (outcome, buffer)
    }

    fn pin(&self, slot: Slot) -> Pinned<'_, S> {
        self.slots().pin(slot);
        Pinned { store: self, slot }
    }
}

/// A slot that is not given out again while this lives.
struct Pinned<'a, S: Growable> {
    store: &'a ExceptionStore<S>,
    slot: Slot,
}

impl<S: Growable> Drop for Pinned<'_, S> {
    fn drop(&mut self) {
        self.store.slots().unpin(self.slot);
    }
}
