//! A snapshot's image: the origin as it was, read-only.
//!
//! Chunk c of a snapshot is the exception of c with the smallest tag >= its epoch, else the origin. A
//! read of the origin may race with a write: so read, then look at the map again. An exception is
//! visible before the origin changes; if there is none after the read, the read saw the old data.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::engine::Engine;
use super::point::{Ended, SnapshotPoint};
use super::policy::SnapshotLedger;
use crate::block_io::{BlockIo, Growable, ReadResult};
use crate::error::IoError;
use crate::limits::MAPPED_RUN_CHUNKS_MAX;
use crate::snapmap::{Copied, Place, Record};
use crate::units::{ChunkIndex, Epoch};

/// A snapshot's image. Size, now, and addresses of the origin; outside of the snapshot's range reads fail.
pub struct Image<O, S, L> {
    engine: Arc<Engine<O, S, L>>,
    point: SnapshotPoint,
    ended: Ended,
}

impl<O: BlockIo, S: Growable, L: SnapshotLedger> Engine<O, S, L> {
    /// The image of the live snapshot of this epoch.
    pub fn image(self: &Arc<Self>, epoch: Epoch) -> Result<Image<O, S, L>, IoError> {
        let (point, ended) = self.live_point(epoch).ok_or(IoError::SnapshotInvalid)?;
        Ok(Image { engine: self.clone(), point, ended })
    }
}

impl<O: BlockIo, S: Growable, L: SnapshotLedger> Image<O, S, L> {
    /// The snapshot.
    pub fn point(&self) -> SnapshotPoint {
        self.point
    }

    async fn read(&self, offset_bytes: u64, mut buffer: BytesMut) -> ReadResult {
        let mut done = buffer.split_to(0);
        let mut offset = offset_bytes;
        while !buffer.is_empty() {
            let (copy, length) = self.next_run(offset, buffer.len() as u64);
            let piece = buffer.split_to(length as usize);
            let (outcome, piece) = match copy {
                Some(copy) => self.read_copy(&copy, offset, piece).await,
                None => self.read_origin(offset, piece).await,
            };
            done.unsplit(piece);
            if outcome.is_err() {
                done.unsplit(buffer);
                return (outcome, done);
            }
            offset += length;
        }
        (Ok(()), done)
    }

    fn fill_now(&self, offset_bytes: u64, buffer: &mut [u8]) -> bool {
        let (mut offset, mut rest) = (offset_bytes, buffer);
        while !rest.is_empty() {
            let (copy, length) = self.next_run(offset, rest.len() as u64);
            let Some(piece) = rest.split_off_mut(..length as usize) else { return false };
            let is_read = match copy {
                Some(copy) => {
                    let within = offset % self.engine.chunk.bytes();
                    self.engine.store.read_copy_now(&copy, within, piece)
                }
                None => {
                    self.engine.origin.read_now(offset, piece)
                        && self.next_run(offset, length) == (None, length)
                }
            };
            if !is_read {
                return false;
            }
            offset += length;
        }
        true
    }

    /// The rest of one preserved chunk, or everything up to the next preserved one.
    fn next_run(&self, offset_bytes: u64, length_bytes: u64) -> (Option<Record>, u64) {
        let chunk = self.engine.chunk;
        let (first, last) = chunk.chunks_of(offset_bytes, length_bytes);
        let end_of = |index: u32| chunk.offset_of(ChunkIndex(index)) + chunk.bytes();
        if let Some(copy) = self.find(first) {
            return (Some(copy), length_bytes.min(end_of(first.0) - offset_bytes));
        }
        let preserved =
            (first.0..=last.0).skip(1).find(|index| self.find(ChunkIndex(*index)).is_some());
        match preserved {
            Some(index) => (None, chunk.offset_of(ChunkIndex(index)) - offset_bytes),
            None => (None, length_bytes),
        }
    }

    /// Reads chunks that are not preserved, and those again from their copies that were meanwhile.
    async fn read_origin(&self, offset_bytes: u64, buffer: BytesMut) -> ReadResult {
        let chunk = self.engine.chunk;
        let length_bytes = buffer.len() as u64;
        let (outcome, mut buffer) = self.engine.origin.read_at(offset_bytes, buffer).await;
        if outcome.is_err() {
            return (outcome, buffer);
        }
        let (first, last) = chunk.chunks_of(offset_bytes, length_bytes);
        for index in first.0..=last.0 {
            let Some(copy) = self.find(ChunkIndex(index)) else { continue };
            let start = chunk.offset_of(ChunkIndex(index)).max(offset_bytes);
            let end = (chunk.offset_of(ChunkIndex(index)) + chunk.bytes())
                .min(offset_bytes + length_bytes);
            let mut piece = buffer.split_off((start - offset_bytes) as usize);
            let rest = piece.split_off((end - start) as usize);
            let (outcome, piece) = self.read_copy(&copy, start, piece).await;
            buffer.unsplit(piece);
            buffer.unsplit(rest);
            if outcome.is_err() {
                return (outcome, buffer);
            }
        }
        (Ok(()), buffer)
    }

    /// As reads do it: ask the origin, then look at the map again.
    async fn find_mapped(&self, offset: u64, length: u64) -> Result<(bool, u64), IoError> {
        let chunk_bytes = self.engine.chunk.bytes();
        let length = length.min(MAPPED_RUN_CHUNKS_MAX * chunk_bytes - offset % chunk_bytes);
        let is_mapped = |copy: Record| copy.place != Place::Zeros;
        let (copy, run) = self.next_run(offset, length);
        if let Some(copy) = copy {
            return Ok((is_mapped(copy), run));
        }
        let (mapped, run) = self.engine.origin.mapped_run(offset, run).await?;
        let (copy, run) = self.next_run(offset, run);
        Ok((copy.map_or(mapped, is_mapped), run))
    }

    /// Reads from a copy. Where it is damaged beyond repair the snapshot is given up.
    async fn read_copy(&self, copy: &Record, offset_bytes: u64, buffer: BytesMut) -> ReadResult {
        let within = offset_bytes % self.engine.chunk.bytes();
        let (outcome, buffer) = self.engine.store.read_copy(copy, within, buffer).await;
        let outcome = match outcome {
            Ok(Copied::Right | Copied::Repaired) => Ok(()),
            Ok(Copied::Damaged) => Err(self.engine.give_up_damaged(copy).await),
            Err(error) => Err(error),
        };
        (outcome, buffer)
    }

    fn find(&self, chunk: ChunkIndex) -> Option<Record> {
        self.engine.store.find(chunk, self.point.epoch)
    }

    fn fail_if_ended(&self) -> Result<(), IoError> {
        if self.ended.is_set() {
            return Err(IoError::SnapshotInvalid);
        }
        self.engine.fail_if_closed()
    }
}

impl<O: BlockIo, S: Growable, L: SnapshotLedger> BlockIo for Image<O, S, L> {
    fn size_bytes(&self) -> u64 {
        self.engine.size_bytes()
    }

    async fn read_at(&self, offset_bytes: u64, buffer: BytesMut) -> ReadResult {
        if let Err(error) = self.fail_if_ended() {
            return (Err(error), buffer);
        }
        if !self.point.range.contains(offset_bytes, buffer.len() as u64) {
            return (Err(IoError::OutsideSnapshot), buffer);
        }
        let (outcome, buffer) = self.read(offset_bytes, buffer).await;
        // A snapshot that ended meanwhile may have lost its slots to other data.
        (outcome.and(self.fail_if_ended()), buffer)
    }

    fn read_now(&self, offset_bytes: u64, buffer: &mut [u8]) -> bool {
        self.fail_if_ended().is_ok()
            && self.point.range.contains(offset_bytes, buffer.len() as u64)
            && self.fill_now(offset_bytes, buffer)
            && self.fail_if_ended().is_ok()
    }

    async fn write_at(&self, _offset_bytes: u64, _data: Bytes) -> Result<(), IoError> {
        Err(IoError::ReadOnly)
    }

    async fn flush(&self) -> Result<(), IoError> {
        self.fail_if_ended()
    }

    async fn discard(&self, _offset_bytes: u64, _length_bytes: u64) -> Result<(), IoError> {
        Err(IoError::ReadOnly)
    }

    async fn write_zeroes(&self, _offset_bytes: u64, _length_bytes: u64) -> Result<(), IoError> {
        Err(IoError::ReadOnly)
    }

    /// What lies outside of the snapshot's range is mapped: nobody can say that it reads as zeros.
    async fn mapped_run(
        &self,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Result<(bool, u64), IoError> {
        self.fail_if_ended()?;
        let (inside, length_bytes) = self.point.range.side(offset_bytes, length_bytes);
        if !inside {
            return Ok((true, length_bytes));
        }
        let run = self.find_mapped(offset_bytes, length_bytes).await?;
        self.fail_if_ended().map(|()| run)
    }

    fn unmap_granularity_bytes(&self) -> u64 {
        self.engine.unmap_granularity_bytes()
    }
}
