//! Opening a store: what is on disk becomes an [`ExceptionStore`], or a reason why not.
//!
//! The root, the chain and the last batch's data are verified in this order; see "Torn or damaged" in
//! `docs/formats/snapshot-map.md` for the argument.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::BytesMut;
use thiserror::Error;
use uuid::Uuid;

use super::chain::{BlockReader, ChainBlock, Cursor};
use super::growth::slot_count;
use super::layout::{
    COMMIT_ADDRESSES, COMMIT_BYTES, Commit, HEAD_BYTES, Place, Record, Slot, foreign_version,
};
use super::live::LiveSet;
use super::log::{Log, Tail};
use super::map::ExceptionMap;
use super::slots::SlotMap;
use super::store::{ExceptionStore, StoreOptions, claim_head};
use crate::block_io::{Growable, Verdict};
use crate::checksum::crc32c;
use crate::error::IoError;
use crate::units::{ChunkSize, Epoch};

/// Why a store cannot be opened.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MapError {
    /// What is on disk is not a store of this volume, or parts of it are lost.
    #[error("the snapshot map is damaged: {0}")]
    Damaged(String),
    /// Records are lost that live snapshots up to this epoch may need; those above do not. Without
    /// the former it can be opened.
    #[error("the snapshot map is damaged: {reason}")]
    Lost {
        /// The highest epoch of a snapshot that may need one of them.
        up_to: Epoch,
        /// What is lost.
        reason: String,
    },
    /// It was written by another release.
    #[error("the snapshot map has format version {0}, which this release does not read")]
    Version(u32),
    /// It could not be read, or written anew.
    #[error(transparent)]
    Io(#[from] IoError),
}

/// What a store in memory consists of.
pub struct Recovered {
    pub log: Log,
    pub map: ExceptionMap,
    pub slots: SlotMap,
    pub highest_tag: Epoch,
    pub live: LiveSet,
}

/// The root and the chain of a space: in order and sound each for itself, the data of the last batch
/// not verified.
pub struct UnverifiedMap {
    pub root: Commit,
    /// The blocks that are there, in their order.
    pub blocks: Vec<ChainBlock>,
    /// Every block up to this one was flushed before the last batch began.
    pub durable_sequence: u64,
    /// The sequence numbers of the durable blocks that are not there.
    pub missing: Vec<u64>,
    /// What was wrong and is right again, in words.
    pub repaired: Vec<String>,
}

impl<S: Growable> ExceptionStore<S> {
    /// Opens the store in `space`. `live` are the live snapshots of the catalog.
    pub async fn open(
        space: Arc<S>,
        chunk: ChunkSize,
        id: Uuid,
        live: LiveSet,
        options: StoreOptions,
    ) -> Result<Self, MapError> {
        let mut map = UnverifiedMap::read(&*space, chunk, id).await?;
        map.fail_if_lost(&live)?;
        map.drop_unfinished_batch(&*space, chunk, &live).await?;
        let (repaired, lost) = (map.repaired.len() as u64, map.missing.len() as u64);
        let recovered = map.recover(slot_count(space.size_bytes(), chunk.bytes()), chunk, live)?;
        let store = Self::assemble(space, chunk, id, options, recovered);
        store.errors.add(repaired, lost);
        let change = |root: &mut Commit| {
            root.life += 1;
            root.closed = false;
        };
        if lost == 0 {
            store.commit_present_root(change).await?;
            return Ok(store);
        }
        {
            let mut log = store.log.lock().await;
            change(&mut log.root);
            store.checkpoint(&mut log).await.map_err(|error| match error {
                IoError::StoreFull => {
                    damaged("there is no room for a log without the damaged part")
                }
                error => error.into(),
            })?;
        }
        Ok(store)
    }
}

/// Before the members of a set are made equal: has what is in doubt of a map and its live data repaired
/// from whatever copy is right. What cannot be is for [`ExceptionStore::open`] to say.
pub async fn repair_in_doubt<S: Growable>(
    space: &S,
    chunk: ChunkSize,
    id: Uuid,
    live: &LiveSet,
) -> Result<(), MapError> {
    let map = UnverifiedMap::read(space, chunk, id).await?;
    let mut records = Vec::new();
    map.live_map(live).for_each(|record| records.push(record));
    for record in records {
        if let Place::At(slot) = record.place
            && (u64::from(slot.0) + 1) * chunk.bytes() <= space.size_bytes()
            && space.is_in_doubt(u64::from(slot.0) * chunk.bytes(), chunk.bytes())
        {
            verify_data(&record, space, chunk).await?;
        }
    }
    Ok(())
}

impl UnverifiedMap {
    /// Reads root and chain, and goes on behind blocks that are damaged where it can.
    pub async fn read<S: Growable>(
        space: &S,
        chunk: ChunkSize,
        id: Uuid,
    ) -> Result<Self, MapError> {
        let (root, mut repaired) = read_root(space, chunk, id).await?;
        let mut reader = BlockReader::new(space, chunk, id);
        let mut blocks: Vec<ChainBlock> = Vec::new();
        let mut cursor = Cursor::at_head(&root);
        // Ends because sequence numbers rise, and a cursor that finds no block soon has no address.
        while let Some(address) = cursor.address
            && !(root.closed && cursor.sequence > root.verified_sequence)
        {
            match reader.read(address, &cursor, &root).await? {
                Some((block, how)) => {
                    if how == Verdict::Repaired {
                        repaired.push(format!("block {} of the log", block.header.sequence));
                    }
                    cursor = Cursor::after(&block, chunk);
                    blocks.push(block);
                }
                None => cursor.skip(chunk),
            }
        }
        let known = blocks.iter().map(|block| block.header.durable_sequence).max();
        let durable_sequence = known.max(Some(root.verified_sequence)).unwrap_or_default();
        if cursor.sequence <= durable_sequence {
            return Err(damaged(format!(
                "the log cannot be followed from block {} to {durable_sequence}, which was durable",
                cursor.sequence
            )));
        }
        let there: BTreeSet<u64> = blocks.iter().map(|block| block.header.sequence).collect();
        let expected = root.head_sequence..=durable_sequence;
        let missing = expected.filter(|sequence| !there.contains(sequence)).collect();
        Ok(Self { root, blocks, durable_sequence, missing, repaired })
    }

    /// `Lost` where a live snapshot may need a record of a missing block.
    fn fail_if_lost(&self, live: &LiveSet) -> Result<(), MapError> {
        let Some(&last) = self.missing.last() else { return Ok(()) };
        let later = self.blocks.iter().find(|block| block.header.sequence > last);
        let up_to = later.map_or(self.root.highest_tag, |block| block.header.highest_tag);
        if live.points().iter().all(|point| point.epoch > up_to) {
            return Ok(());
        }
        let reason = format!("block {last} of its log, which was durable, cannot be read");
        Err(MapError::Lost { up_to, reason })
    }

    /// Drops the last batch if parts of it, or of its live data, did not reach the medium.
    async fn drop_unfinished_batch<S: Growable>(
        &mut self,
        space: &S,
        chunk: ChunkSize,
        live: &LiveSet,
    ) -> Result<(), MapError> {
        let start = self.batch_start();
        if self.batch_is_complete(start)
            && self.batch_data_is_sound(start, space, chunk, live).await?
        {
            return Ok(());
        }
        self.blocks.truncate(start);
        Ok(())
    }

    /// Where the blocks begin that nothing proves to be durable: one batch at most.
    fn batch_start(&self) -> usize {
        self.blocks.partition_point(|block| block.header.sequence <= self.durable_sequence)
    }

    fn batch_is_complete(&self, start: usize) -> bool {
        let mut batch = self.blocks[start..].iter().map(|block| &block.header);
        let in_order = batch.clone().zip(self.durable_sequence + 1..).all(|(header, sequence)| {
            header.sequence == sequence && header.durable_sequence == self.durable_sequence
        });
        in_order && batch.next_back().is_none_or(|header| header.remaining == 0)
    }

    async fn batch_data_is_sound<S: Growable>(
        &self,
        start: usize,
        space: &S,
        chunk: ChunkSize,
        live: &LiveSet,
    ) -> Result<bool, MapError> {
        let map = self.live_map(live);
        for record in self.blocks[start..].iter().flat_map(|block| &block.records) {
            if map.contains(record) && verify_data(record, space, chunk).await? == Verdict::Wrong {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The live exceptions among the chain's records.
    pub fn live_map(&self, live: &LiveSet) -> ExceptionMap {
        let map = ExceptionMap::new();
        for record in self.blocks.iter().flat_map(|block| &block.records) {
            map.insert(record);
        }
        map.sweep(live, |_| {});
        map
    }

    fn recover(
        self,
        capacity: u64,
        chunk: ChunkSize,
        live: LiveSet,
    ) -> Result<Recovered, MapError> {
        let map = self.live_map(&live);
        let mut slots = SlotMap::new(capacity);
        claim_head(&mut slots, chunk);
        let mut log_slots = self.log_slots(chunk);
        let mut taken = log_slots.iter().all(|slot| slots.claim(*slot));
        map.for_each(|record| {
            if let Place::At(slot) = record.place {
                taken &= slots.claim(slot);
            }
        });
        if !taken {
            return Err(damaged("two uses of one slot, or one outside the space"));
        }
        let records = self.blocks.iter().flat_map(|block| &block.records);
        let highest_tag = records.map(|record| record.tag).max().max(Some(self.root.highest_tag));
        let end = self.end(chunk);
        let no_room = || damaged("there is no slot for the log to go on in");
        let mut ahead = || match slots.take() {
            Some(slot) => {
                log_slots.push(slot);
                Ok(slot)
            }
            None => Err(no_room()),
        };
        // Of the slots ahead, the last may not be on disk yet.
        let second = |slot: Option<Slot>, ahead: &mut dyn FnMut() -> Result<Slot, MapError>| {
            slot.map_or_else(ahead, Ok)
        };
        let ahead = [second(end.ahead[0], &mut ahead)?, second(end.ahead[1], &mut ahead)?];
        let tail = Tail {
            sequence: self.durable_sequence.max(end.sequence - 1),
            checksum: end.checksum.unwrap_or_default(),
            next_address: end.address.ok_or_else(no_room)?,
            ahead,
        };
        let blocks = self.blocks.len() as u64;
        let log = Log { root: self.root, tail, slots: log_slots, blocks, in_doubt: false };
        Ok(Recovered { log, map, slots, highest_tag: highest_tag.unwrap_or_default(), live })
    }

    /// Behind the last block that is there.
    pub fn end(&self, chunk: ChunkSize) -> Cursor {
        let last = self.blocks.last();
        last.map_or_else(|| Cursor::at_head(&self.root), |last| Cursor::after(last, chunk))
    }

    /// The slots that the chain lies in, as far as it is there, and those that it goes on in.
    fn log_slots(&self, chunk: ChunkSize) -> Vec<Slot> {
        let end = self.end(chunk);
        let addresses = self.blocks.iter().map(|block| block.header.address).chain(end.address);
        let slots = addresses.map(|address| Slot((address / chunk.bytes()) as u32));
        let slots: BTreeSet<Slot> = slots.chain(end.ahead.into_iter().flatten()).collect();
        slots.into_iter().collect()
    }
}

/// Whether the slot holds the data that the record speaks of, somewhere.
pub async fn verify_data<S: Growable>(
    record: &Record,
    space: &S,
    chunk: ChunkSize,
) -> Result<Verdict, IoError> {
    let Place::At(slot) = record.place else { return Ok(Verdict::Right) };
    if u64::from(slot.0) >= slot_count(space.size_bytes(), chunk.bytes()) {
        return Ok(Verdict::Wrong);
    }
    let buffer = BytesMut::zeroed(chunk.bytes() as usize);
    let is_right = |data: &[u8]| crc32c(data) == record.data_crc;
    space.read_verified(u64::from(slot.0) * chunk.bytes(), buffer, is_right).await.0
}

/// The valid commit slot with the higher sequence; and which of them are damaged, in words. Whoever
/// opens the store writes both.
async fn read_root<S: Growable>(
    space: &S,
    chunk: ChunkSize,
    id: Uuid,
) -> Result<(Commit, Vec<String>), MapError> {
    if space.size_bytes() < HEAD_BYTES + chunk.bytes() {
        return Err(damaged("the space is too small"));
    }
    let (mut roots, mut wrong) = (Vec::new(), Vec::new());
    for address in COMMIT_ADDRESSES {
        let buffer = BytesMut::zeroed(COMMIT_BYTES);
        let is_right = |bytes: &[u8]| Commit::decode(bytes, address, id).is_some();
        let (outcome, bytes) = space.read_verified(address, buffer, is_right).await;
        if outcome? != Verdict::Right {
            wrong.push(format!("the commit slot at {address}"));
        }
        if let Some(version) = foreign_version(&bytes, id) {
            return Err(MapError::Version(version));
        }
        roots.extend(Commit::decode(&bytes, address, id));
    }
    let root = roots.into_iter().max_by_key(|root| root.sequence);
    let root = root.ok_or_else(|| damaged("no commit slot is valid"))?;
    if u64::from(root.chunk_bytes) != chunk.bytes() {
        return Err(damaged(format!("its chunks have {} bytes", root.chunk_bytes)));
    }
    Ok((root, wrong))
}

pub(super) fn damaged(reason: impl Into<String>) -> MapError {
    MapError::Damaged(reason.into())
}
