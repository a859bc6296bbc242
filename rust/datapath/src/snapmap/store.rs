//! The exception store: look up, allocate, write a copy, commit, sweep.
//!
//! A chunk is preserved in three steps by the floor above: [`ExceptionStore::allocate`] a slot (none
//! for a chunk of zeros), [`ExceptionStore::write_copy`], [`ExceptionStore::commit`] the record. When
//! the last returns `Ok`, copy and record are durable and the exception can be looked up.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use bytes::Bytes;
use serde::Serialize;
use uuid::Uuid;

use super::buffers::Buffers;
use super::commit::{CommitQueue, Turn};
use super::copies::KeptCopies;
use super::errors::{ChecksumErrors, ErrorCounters};
use super::growth::slot_count;
use super::layout::{Commit, HEAD_BYTES, Record, Slot};
use super::live::LiveSet;
use super::log::{Log, Tail};
use super::map::ExceptionMap;
use super::recover::Recovered;
use super::slots::SlotMap;
use crate::block_io::Growable;
use crate::checksum::crc32c;
use crate::error::IoError;
use crate::units::{ChunkIndex, ChunkSize, Epoch};

/// What may be set for a store.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreOptions {
    /// Instead of [`crate::limits::LOG_SLACK_BLOCKS`].
    pub log_slack_blocks: Option<u64>,
}

/// How full a store is.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub struct StoreUse {
    /// Bytes of slots in use, for data and log.
    pub used_bytes: u64,
    /// Bytes of the store space.
    pub capacity_bytes: u64,
    /// Preserved chunks.
    pub exceptions: u64,
}

/// The exceptions of one volume and the space that they lie in.
pub struct ExceptionStore<S> {
    pub(super) space: Arc<S>,
    pub(super) id: Uuid,
    pub(super) chunk: ChunkSize,
    pub(super) options: StoreOptions,
    pub(super) map: ExceptionMap,
    pub(super) slots: Mutex<SlotMap>,
    pub(super) log: tokio::sync::Mutex<Log>,
    pub(super) growing: tokio::sync::Mutex<()>,
    /// The last attempt to grow failed.
    pub(super) exhausted: AtomicBool,
    live: ArcSwap<LiveSet>,
    highest_tag: AtomicU32,
    queue: CommitQueue,
    buffers: Buffers,
    pub(super) kept: KeptCopies,
    pub(super) errors: ErrorCounters,
    zeros_crc: u32,
}

impl<S: Growable> ExceptionStore<S> {
    /// Makes an empty store in `space`, whose old content is lost. `id` is written into all of its
    /// structures; it must never have been used in this space before, unless the space was zeroed.
    pub async fn create(
        space: Arc<S>,
        chunk: ChunkSize,
        id: Uuid,
        options: StoreOptions,
    ) -> Result<Self, IoError> {
        let mut slots = SlotMap::new(slot_count(space.size_bytes(), chunk.bytes()));
        claim_head(&mut slots, chunk);
        let taken: Vec<Slot> = std::iter::from_fn(|| slots.take()).take(3).collect();
        let [head, first_ahead, second_ahead] = taken[..] else { return Err(IoError::NoSpace) };
        let (head_address, ahead) =
            (u64::from(head.0) * chunk.bytes(), [first_ahead, second_ahead]);
        let root = Commit {
            chunk_bytes: chunk.bytes() as u32,
            sequence: 0,
            life: 1,
            head_address,
            head_sequence: 1,
            verified_sequence: 0,
            highest_tag: Epoch(0),
            ahead,
            closed: false,
        };
        let tail = Tail { sequence: 0, checksum: 0, next_address: head_address, ahead };
        let log = Log { root, tail, slots: taken, blocks: 0, in_doubt: false };
        let map = ExceptionMap::new();
        let store = Self::assemble(
            space,
            chunk,
            id,
            options,
            Recovered { log, map, slots, highest_tag: Epoch(0), live: LiveSet::default() },
        );
        store.commit_present_root(|_| {}).await?;
        Ok(store)
    }

    /// An open store of what was recovered; a new root must be committed before its first batch.
    pub(super) fn assemble(
        space: Arc<S>,
        chunk: ChunkSize,
        id: Uuid,
        options: StoreOptions,
        recovered: Recovered,
    ) -> Self {
        let chunk_bytes = chunk.bytes() as usize;
        Self {
            space,
            id,
            chunk,
            options,
            map: recovered.map,
            slots: Mutex::new(recovered.slots),
            log: tokio::sync::Mutex::new(recovered.log),
            growing: tokio::sync::Mutex::new(()),
            exhausted: AtomicBool::new(false),
            live: ArcSwap::from_pointee(recovered.live),
            highest_tag: AtomicU32::new(recovered.highest_tag.0),
            queue: CommitQueue::default(),
            buffers: Buffers::new(chunk_bytes),
            kept: KeptCopies::default(),
            errors: ErrorCounters::default(),
            zeros_crc: crc32c(&vec![0; chunk_bytes]),
        }
    }

    /// Makes the tail the verified end of the log. The store must not be used afterwards.
    pub async fn close(&self) -> Result<(), IoError> {
        self.commit_present_root(|root| root.closed = true).await
    }

    /// Commits a root that says what is now, all verified, after `change`.
    pub(super) async fn commit_present_root(
        &self,
        change: impl FnOnce(&mut Commit),
    ) -> Result<(), IoError> {
        let mut log = self.log.lock().await;
        let mut root = log.root.clone();
        root.verified_sequence = log.tail.sequence;
        change(&mut root);
        self.commit_root(&mut log, root).await
    }

    /// The size of chunks and slots.
    pub fn chunk(&self) -> ChunkSize {
        self.chunk
    }

    /// The highest tag that was ever recorded.
    pub fn highest_tag(&self) -> Epoch {
        Epoch(self.highest_tag.load(Ordering::Relaxed))
    }

    /// The exception of `chunk` with the smallest tag >= `epoch`: what a snapshot of this epoch reads.
    pub fn find(&self, chunk: ChunkIndex, epoch: Epoch) -> Option<Record> {
        self.map.find(chunk, epoch)
    }

    /// Calls `visit` with every exception's record, in no order.
    pub fn for_each(&self, visit: impl FnMut(Record)) {
        self.map.for_each(visit);
    }

    /// The same by chunk and tag, from `first` on, until `visit` breaks: costs what is visited.
    pub fn walk(&self, first: ChunkIndex, visit: impl FnMut(Record) -> ControlFlow<()>) {
        self.map.walk(first, visit);
    }

    /// The epochs of the live snapshots that read the exception; none where it is gone.
    pub fn readers(&self, record: &Record) -> Vec<Epoch> {
        if !self.map.contains(record) {
            return Vec::new();
        }
        let live = self.live();
        let readers = live.readers(record.chunk, self.map.tag_below(record), record.tag);
        readers.map(|point| point.epoch).collect()
    }

    /// Counts data that is lost.
    pub fn count_lost(&self) {
        self.errors.add(0, 1);
    }

    /// Failed checksums since it was opened.
    pub fn checksum_errors(&self) -> ChecksumErrors {
        self.errors.get()
    }

    /// Writes a chunk's old data, whole, into a slot that was allocated for it.
    pub async fn write_copy(&self, slot: Slot, data: Bytes) -> Result<(), IoError> {
        assert_eq!(data.len() as u64, self.chunk.bytes(), "a copy is a whole chunk");
        self.space.write_at(self.address_of(slot), data).await
    }

    /// Makes `records`, and the copies that they speak of, durable in one batch with others, and then
    /// visible. On failure none of the records counts, and their slots are still the caller's.
    pub async fn commit(&self, records: Vec<Record>) -> Result<(), IoError> {
        let records = match self.queue.join(records) {
            Err(records) => records,
            Ok(turn) => match turn.await.expect("a leader answers or hands over") {
                Turn::Done(outcome) => return outcome,
                Turn::Lead(records) => records,
            },
        };
        let mut log = self.log.lock().await;
        let batch = self.queue.take(records);
        let outcome = self.append(&mut log, &batch.records).await;
        if outcome.is_ok() {
            self.publish(&batch.records);
        }
        batch.answer(&outcome);
        self.checkpoint_when_due(&mut log).await;
        drop(log);
        self.queue.hand_over();
        outcome
    }

    fn publish(&self, records: &[Record]) {
        for record in records {
            self.highest_tag.fetch_max(record.tag.0, Ordering::Relaxed);
            if let Some(slot) = self.map.publish(record, || self.live.load_full()) {
                self.release_slots(&[slot]);
            }
        }
    }

    /// Tells the live snapshots. An addition is told before anything is preserved for it.
    ///
    /// A record on its way that is dead by the new set is not published; see [`Self::sweep`].
    pub fn set_live(&self, live: LiveSet) {
        self.live.store(Arc::new(live));
    }

    /// Frees every exception that no live snapshot reads. The caller has made the end of the snapshots
    /// durable in the catalog before it told the live set, else a cut would find their slots reused.
    ///
    /// A commit that publishes at the same time asks for the live set under the shard's lock: before
    /// the sweep's turn with that shard the sweep sees what it published, after it the commit sees the
    /// new set.
    pub fn sweep(&self) {
        let live = self.live.load_full();
        self.map.sweep(&live, |slot| self.release_slots(&[slot]));
        self.kept.forget();
    }

    /// The live snapshots as last told.
    pub fn live(&self) -> Arc<LiveSet> {
        self.live.load_full()
    }

    /// Buffers of a chunk's size.
    pub fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// The CRC of a chunk of zeros.
    pub fn zeros_crc(&self) -> u32 {
        self.zeros_crc
    }

    pub(super) fn address_of(&self, slot: Slot) -> u64 {
        u64::from(slot.0) * self.chunk.bytes()
    }
}

/// Takes the slots that hold the commit slots.
pub(super) fn claim_head(slots: &mut SlotMap, chunk: ChunkSize) {
    for slot in 0..HEAD_BYTES.div_ceil(chunk.bytes()) {
        // A space too small for them has no slot left for the log either, which is found then.
        let _taken = slots.claim(Slot(slot as u32));
    }
}
