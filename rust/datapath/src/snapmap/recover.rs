//! Opening a store: what is on disk becomes an [`ExceptionStore`], or a reason why not.
//!
//! The root, the chain and the last batch's data are verified in this order; see "After a power cut" in
//! `docs/formats/snapshot-map.md` for the argument.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::BytesMut;
use thiserror::Error;
use uuid::Uuid;

use super::growth::slot_count;
use super::layout::{
    BLOCK_BYTES, COMMIT_ADDRESSES, COMMIT_BYTES, Commit, HEAD_BYTES, Place, Record, Slot,
    decode_block,
};
use super::live::LiveSet;
use super::log::{Log, Tail};
use super::map::ExceptionMap;
use super::slots::SlotMap;
use super::store::{ExceptionStore, StoreOptions, claim_head};
use crate::block_io::Growable;
use crate::checksum::crc32c;
use crate::error::IoError;
use crate::units::{ChunkSize, Epoch};

/// Why a store cannot be opened.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MapError {
    /// What is on disk is not a store of this volume, or parts of it are lost.
    #[error("the snapshot map is damaged: {0}")]
    Damaged(String),
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

/// A block of the chain, with its records.
pub struct ChainBlock {
    pub address: u64,
    pub sequence: u64,
    pub remaining: u32,
    pub checksum: u32,
    pub next_address: u64,
    pub records: Vec<Record>,
}

/// The root and the chain of a space: in order and sound each for itself, the data of the last batch
/// not verified.
pub struct UnverifiedMap {
    pub root: Commit,
    pub blocks: Vec<ChainBlock>,
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
        map.drop_unfinished_batch(&*space, chunk, &live).await?;
        let recovered = map.recover(slot_count(space.size_bytes(), chunk.bytes()), chunk, live)?;
        let store = Self::assemble(space, chunk, id, options, recovered);
        store.commit_present_root(|root| root.life += 1).await?;
        Ok(store)
    }
}

impl UnverifiedMap {
    /// Reads root and chain.
    pub async fn read<S: Growable>(
        space: &S,
        chunk: ChunkSize,
        id: Uuid,
    ) -> Result<Self, MapError> {
        let root = read_root(space, chunk, id).await?;
        let mut reader = BlockReader { space, chunk, held: None };
        let mut blocks = Vec::new();
        let mut tail = Tail {
            sequence: root.head_sequence.wrapping_sub(1),
            checksum: 0,
            next_address: root.head_address,
        };
        // Ends because addresses do not repeat.
        let mut seen = BTreeSet::new();
        while seen.insert(tail.next_address) {
            let bytes = reader.read(tail.next_address).await?;
            let Some(block) = follow(&bytes, tail, &root, id) else { break };
            if !is_block_address(block.next_address, space.size_bytes()) {
                return Err(damaged("a log block names a successor outside the space"));
            }
            tail = Tail {
                sequence: block.sequence,
                checksum: block.checksum,
                next_address: block.next_address,
            };
            blocks.push(block);
        }
        if tail.sequence.wrapping_add(1) < root.verified_sequence.wrapping_add(1) {
            return Err(damaged(format!(
                "the log ends at block {} of {} that were durable",
                tail.sequence, root.verified_sequence
            )));
        }
        Ok(Self { root, blocks })
    }

    /// Drops the last batch if parts of it, or of its live data, did not reach the medium.
    async fn drop_unfinished_batch<S: Growable>(
        &mut self,
        space: &S,
        chunk: ChunkSize,
        live: &LiveSet,
    ) -> Result<(), MapError> {
        let verified = self.root.verified_sequence;
        let is_new = |block: &ChainBlock| block.sequence > verified;
        let Some(last) = self.blocks.last().filter(|block| is_new(block)) else { return Ok(()) };
        let complete = last.remaining == 0;
        let start = self.last_batch_start(verified);
        if complete && self.batch_data_is_sound(start, space, chunk, live).await? {
            return Ok(());
        }
        self.blocks.truncate(start);
        Ok(())
    }

    /// Where the last batch begins: after the last block but one that ends a batch.
    fn last_batch_start(&self, verified: u64) -> usize {
        let before_last = &self.blocks[..self.blocks.len() - 1];
        let end = before_last
            .iter()
            .rposition(|block| block.remaining == 0 || block.sequence <= verified);
        end.map_or(0, |index| index + 1)
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
            if map.contains(record) && !data_is_sound(record, space, chunk).await? {
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
        let log_slots = self.log_slots(chunk);
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
        let tail = self.tail();
        let blocks = self.blocks.len() as u64;
        let log = Log { root: self.root, tail, slots: log_slots, blocks, in_doubt: false };
        Ok(Recovered { log, map, slots, highest_tag: highest_tag.unwrap_or_default(), live })
    }

    /// The end of the chain.
    pub fn tail(&self) -> Tail {
        match self.blocks.last() {
            Some(last) => Tail {
                sequence: last.sequence,
                checksum: last.checksum,
                next_address: last.next_address,
            },
            None => Tail {
                sequence: self.root.head_sequence.wrapping_sub(1),
                checksum: 0,
                next_address: self.root.head_address,
            },
        }
    }

    /// The slots that the chain lies in, and that of the tail's next address.
    fn log_slots(&self, chunk: ChunkSize) -> Vec<Slot> {
        let addresses = self.blocks.iter().map(|block| block.address);
        let slots = addresses.chain([self.tail().next_address]);
        let slots: BTreeSet<Slot> =
            slots.map(|address| Slot((address / chunk.bytes()) as u32)).collect();
        slots.into_iter().collect()
    }
}

/// Whether the slot holds the data that the record speaks of.
pub async fn data_is_sound<S: Growable>(
    record: &Record,
    space: &S,
    chunk: ChunkSize,
) -> Result<bool, IoError> {
    let Place::At(slot) = record.place else { return Ok(true) };
    if u64::from(slot.0) >= slot_count(space.size_bytes(), chunk.bytes()) {
        return Ok(false);
    }
    let buffer = BytesMut::zeroed(chunk.bytes() as usize);
    let (outcome, buffer) = space.read_at(u64::from(slot.0) * chunk.bytes(), buffer).await;
    outcome?;
    Ok(crc32c(&buffer) == record.data_crc)
}

/// The valid commit slot with the higher sequence.
async fn read_root<S: Growable>(space: &S, chunk: ChunkSize, id: Uuid) -> Result<Commit, MapError> {
    if space.size_bytes() < HEAD_BYTES + chunk.bytes() {
        return Err(damaged("the space is too small"));
    }
    let mut roots = Vec::new();
    for address in COMMIT_ADDRESSES {
        let (outcome, bytes) = space.read_at(address, BytesMut::zeroed(COMMIT_BYTES)).await;
        outcome?;
        roots.extend(Commit::decode(&bytes, address, id));
    }
    let root = roots.into_iter().max_by_key(|root| root.sequence);
    let root = root.ok_or_else(|| damaged("no commit slot is valid"))?;
    if u64::from(root.chunk_bytes) != chunk.bytes() {
        return Err(damaged(format!("its chunks have {} bytes", root.chunk_bytes)));
    }
    if !is_block_address(root.head_address, space.size_bytes()) {
        return Err(damaged("the head of the log lies outside the space"));
    }
    Ok(root)
}

/// The block in `bytes` if it is the successor of `tail` under `root`.
fn follow(bytes: &[u8], tail: Tail, root: &Commit, id: Uuid) -> Option<ChainBlock> {
    let (header, records, checksum) = decode_block(bytes, tail.next_address, id)?;
    let durable = header.sequence <= root.verified_sequence;
    let follows = header.sequence == tail.sequence.wrapping_add(1)
        && header.previous_checksum == tail.checksum
        && (durable || header.life == root.life);
    follows.then_some(ChainBlock {
        address: header.address,
        sequence: header.sequence,
        remaining: header.remaining,
        checksum,
        next_address: header.next_address,
        records,
    })
}

fn is_block_address(address: u64, size_bytes: u64) -> bool {
    let block_bytes = BLOCK_BYTES as u64;
    address.is_multiple_of(block_bytes)
        && (HEAD_BYTES..=size_bytes - block_bytes).contains(&address)
}

/// Reads blocks, a slot at a time.
struct BlockReader<'a, S> {
    space: &'a S,
    chunk: ChunkSize,
    held: Option<(u64, BytesMut)>,
}

impl<S: Growable> BlockReader<'_, S> {
    async fn read(&mut self, address: u64) -> Result<BytesMut, IoError> {
        let slot = address / self.chunk.bytes();
        let start = slot * self.chunk.bytes();
        if self.held.as_ref().is_none_or(|(held, _)| *held != slot) {
            let length = self.chunk.bytes().min(self.space.size_bytes() - start);
            let (outcome, bytes) =
                self.space.read_at(start, BytesMut::zeroed(length as usize)).await;
            outcome?;
            self.held = Some((slot, bytes));
        }
        let (_, bytes) = self.held.as_ref().expect("it was just read");
        let offset = (address - start) as usize;
        Ok(BytesMut::from(&bytes[offset..offset + BLOCK_BYTES]))
    }
}

fn damaged(reason: impl Into<String>) -> MapError {
    MapError::Damaged(reason.into())
}
