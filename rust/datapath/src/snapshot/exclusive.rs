//! Changes that are alone on their chunks: what is written depends on what was read, or must be
//! settled elsewhere before anybody else changes it.
//!
//! ```text
//! raise the word of attention     changes from now on own their chunks before they begin
//! own the chunks                  in line with everybody, all of them, in ascending order
//! close the gate, drain, open     changes of these chunks that had begun before have ended
//! read, compare, change           as often as wanted; every change through the choke point
//! pass the chunks on, lower       the next in line goes on
//! ```
//! Others wait for the drain; for the work itself only those wait who want the same chunks.
//!
//! Why nobody else changes the chunks in between: a change has its pass from before it looks at the
//! word to its end. One that found the word not raised passed the gate before it was closed, so the
//! drain waited for it; so it did for one that owned a chunk and let go when it had begun. Any other
//! passes after the gate was opened, finds the word raised, and gets in line for its chunks.
//!
//! Why nobody waits in a circle: the gate's holder waits for passes only, and nobody who has a pass
//! waits for chunks or for the gate. So whoever owns chunks gets the gate in the end, also from a
//! taker of snapshots, and chunks are taken in ascending order by everybody.

use bytes::{Bytes, BytesMut};

use super::attention::Wanted;
use super::engine::Engine;
use super::origin::Change;
use super::pending::Owned;
use super::policy::SnapshotLedger;
use crate::block_io::{BlockIo, Growable};
use crate::error::IoError;
use crate::limits::EXCLUSIVE_BYTES_MAX;

/// A range that nobody else changes until this is dropped.
pub struct Exclusive<'a, O, S, L> {
    engine: &'a Engine<O, S, L>,
    offset_bytes: u64,
    length_bytes: u64,
    owned: Owned<'a>,
    /// Lowered after the chunks are passed on: those in line for them own them, and need no word.
    _wanted: Wanted<'a>,
}

impl<O: BlockIo, S: Growable, L: SnapshotLedger> Engine<O, S, L> {
    /// Waits until nobody else changes the range: 1 to [`EXCLUSIVE_BYTES_MAX`] bytes.
    pub async fn own_exclusively(
        &self,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Result<Exclusive<'_, O, S, L>, IoError> {
        assert!((1..=EXCLUSIVE_BYTES_MAX).contains(&length_bytes), "the door checks the length");
        let (first, last) = self.chunk.chunks_of(offset_bytes, length_bytes);
        let wanted = self.attention.want_exclusive();
        let owned = self.pending.own(first.0..=last.0).await;
        let held = self.gate.holder().await.close();
        held.drain().await;
        drop(held);
        self.fail_if_closed()?;
        self.fail_if_sealed()?;
        Ok(Exclusive { engine: self, offset_bytes, length_bytes, owned, _wanted: wanted })
    }

    /// Writes `data` if the range holds `expected`, which is as long, and nobody changes it meanwhile.
    /// Otherwise the index of the first byte that differs, and nothing is written.
    pub async fn compare_and_write(
        &self,
        offset_bytes: u64,
        expected: Bytes,
        data: Bytes,
    ) -> Result<Option<u64>, IoError> {
        assert_eq!(expected.len(), data.len(), "the door checks the lengths");
        if data.is_empty() {
            return Ok(None);
        }
        let range = self.own_exclusively(offset_bytes, data.len() as u64).await?;
        let found = range.read().await?;
        if let Some(index) = found.iter().zip(&expected).position(|(is, wanted)| is != wanted) {
            return Ok(Some(index as u64));
        }
        range.write(data).await?;
        Ok(None)
    }

    /// Sets the bits of `data` in the range; nobody changes it meanwhile.
    pub async fn or_write(&self, offset_bytes: u64, data: Bytes) -> Result<(), IoError> {
        if data.is_empty() {
            return Ok(());
        }
        let range = self.own_exclusively(offset_bytes, data.len() as u64).await?;
        let mut bits = range.read().await?;
        bits.iter_mut().zip(&data).for_each(|(is, set)| *is |= set);
        range.write(bits.freeze()).await
    }
}

impl<O: BlockIo, S: Growable, L: SnapshotLedger> Exclusive<'_, O, S, L> {
    /// The whole range as it is.
    pub async fn read(&self) -> Result<BytesMut, IoError> {
        let buffer = BytesMut::zeroed(self.length_bytes as usize);
        let (outcome, buffer) = self.engine.read_at(self.offset_bytes, buffer).await;
        outcome.map(|()| buffer)
    }

    /// Writes the whole range, at once: a snapshot holds all of it or nothing. Where a chunk cannot
    /// be preserved, nothing was written.
    pub async fn write(&self, data: Bytes) -> Result<(), IoError> {
        assert_eq!(data.len() as u64, self.length_bytes, "all of the range is written");
        let permit = self.engine.permit(&self.owned).await?;
        self.engine.origin.apply(&permit, self.offset_bytes, Change::Write(data)).await
    }

    /// Refuses every later change of the volume, until it is opened again. Reads go on.
    pub fn seal(&self) {
        self.engine.attention.seal();
    }
}
