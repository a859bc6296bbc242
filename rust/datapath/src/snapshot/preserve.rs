//! Preserving chunks: old data into a slot, record into the log, one flush for a batch.

use bytes::BytesMut;
use futures_util::future::join_all;

use super::engine::Engine;
use super::pending::Owned;
use super::policy::{Failure, FullPolicy, SnapshotLedger};
use crate::block_io::{BlockIo, Growable};
use crate::checksum::crc32c;
use crate::error::IoError;
use crate::limits::PRESERVING_CHUNKS_PER_WRITE_MAX;
use crate::snapmap::{Place, Record};
use crate::units::{ChunkIndex, Epoch};

impl<O: BlockIo, S: Growable, L: SnapshotLedger> Engine<O, S, L> {
    /// Preserves those of the owned chunks that a live snapshot needs, or sees to it by the volume's
    /// policy that none needs them.
    pub(super) async fn preserve_needed(&self, owned: &Owned<'_>) -> Result<(), IoError> {
        // Ends: a round preserves all or as many as one write may, fails, or leaves fewer snapshots or
        // more room.
        loop {
            let wanted: Vec<(ChunkIndex, Epoch)> = owned
                .chunks()
                .map(|chunk| (chunk, self.needed(chunk)))
                .filter(|(chunk, needed)| *needed > owned.tag(*chunk))
                .take(PRESERVING_CHUNKS_PER_WRITE_MAX)
                .collect();
            if wanted.is_empty() {
                return Ok(());
            }
            let room = self.preserving.acquire_many(wanted.len() as u32).await;
            let room = room.map_err(|_| IoError::Closed)?;
            self.fail_if_closed()?;
            let (preserved, outcome) = self.preserve(&wanted).await;
            preserved.iter().for_each(|record| owned.set_tag(record.chunk, record.tag));
            match outcome {
                Ok(()) => self.watch_thresholds(),
                Err(failure) => {
                    // Memory is given back before waiting for room in the store.
                    drop(room);
                    self.follow_policy(failure, owned).await?;
                }
            }
        }
    }

    /// Old data durable, and its exceptions durable, for the records that it returns: for all of
    /// `wanted` when there is no failure. Where snapshots may be dropped, what could be copied counts
    /// although the rest could not, so that a store with little room is filled, and a write of many
    /// chunks gets on; a write that is to fail leaves nothing behind.
    async fn preserve(&self, wanted: &[(ChunkIndex, Epoch)]) -> (Vec<Record>, Result<(), Failure>) {
        let copies = match wanted {
            [(chunk, tag)] => vec![self.copy(*chunk, *tag).await],
            _ => join_all(wanted.iter().map(|(chunk, tag)| self.copy(*chunk, *tag))).await,
        };
        let mut failed = Vec::new();
        let mut records = Vec::with_capacity(copies.len());
        for (copy, (chunk, _)) in copies.into_iter().zip(wanted) {
            match copy {
                Ok(record) => records.push(record),
                Err(error) => failed.push((*chunk, error)),
            }
        }
        if !failed.is_empty() && self.rules.load().policy == FullPolicy::FailWrite {
            self.abandon(&records);
            records.clear();
        }
        if !records.is_empty()
            && let Err(error) = self.store.commit(records.clone()).await
        {
            self.abandon(&records);
            failed.extend(records.drain(..).map(|record| (record.chunk, error.clone())));
        }
        let outcome = if failed.is_empty() { Ok(()) } else { Err(failure_of(failed)) };
        (records, outcome)
    }

    /// Writes the chunk's old data into a slot of the store, unflushed.
    async fn copy(&self, chunk: ChunkIndex, tag: Epoch) -> Result<Record, IoError> {
        let data = self.read_old(chunk).await?;
        if is_zeros(&data) {
            self.store.buffers().put(data);
            let (place, data_crc) = (Place::Zeros, self.store.zeros_crc());
            return Ok(Record { chunk, tag, place, data_crc });
        }
        let data_crc = crc32c(&data);
        let slot = self.store.allocate().await?;
        let data = data.freeze();
        let outcome = self.store.write_copy(slot, data.clone()).await;
        self.store.buffers().put_written(data);
        match outcome {
            Ok(()) => Ok(Record { chunk, tag, place: Place::At(slot), data_crc }),
            Err(error) => {
                self.store.abandon(slot);
                Err(error)
            }
        }
    }

    /// The chunk's data; zeros beyond the end of the origin.
    async fn read_old(&self, chunk: ChunkIndex) -> Result<BytesMut, IoError> {
        let mut buffer = self.store.buffers().take();
        let start = self.chunk.offset_of(chunk);
        let length = self.chunk.bytes().min(self.origin.size_bytes() - start) as usize;
        let mut beyond = buffer.split_off(length);
        beyond.fill(0);
        let (outcome, mut buffer) = self.origin.read_at(start, buffer).await;
        buffer.unsplit(beyond);
        outcome.map(|()| buffer)
    }

    fn abandon(&self, records: &[Record]) {
        for record in records {
            if let Place::At(slot) = record.place {
                self.store.abandon(slot);
            }
        }
    }
}

/// A full store is one failure for all; anything else names its chunks.
fn failure_of(failed: Vec<(ChunkIndex, IoError)>) -> Failure {
    let io = failed.iter().find(|(_, error)| *error != IoError::StoreFull);
    match io {
        None => Failure::Full,
        Some((_, error)) => {
            let error = error.clone();
            let chunks = failed.into_iter().filter(|(_, error)| *error != IoError::StoreFull);
            Failure::Io { chunks: chunks.map(|(chunk, _)| chunk).collect(), error }
        }
    }
}

/// Whether all of `data` is zeros; a block at a time, so that the first data ends it.
fn is_zeros(data: &[u8]) -> bool {
    data.chunks(256).all(|block| block.iter().fold(0, |all, byte| all | byte) == 0)
}
