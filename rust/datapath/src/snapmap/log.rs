//! Writing the log: batches at its tail, checkpoints, and the root.
//!
//! All of it happens under the store's log lock, one at a time.

use bytes::Bytes;
use bytes::BytesMut;

use super::layout::{
    BLOCK_BYTES, BlockHeader, Commit, RECORDS_PER_BLOCK, Record, Slot, encode_block,
};
use super::store::ExceptionStore;
use crate::block_io::Growable;
use crate::error::IoError;
use crate::limits::LOG_MARK_BLOCKS;
use crate::units::Epoch;

/// The log of an open store.
#[derive(Debug)]
pub struct Log {
    /// The root as it is on disk.
    pub root: Commit,
    /// Where the chain ends.
    pub tail: Tail,
    /// The slots that the chain lies in, that of the tail's next address, and those ahead.
    pub slots: Vec<Slot>,
    /// Blocks from the head to the tail.
    pub blocks: u64,
    /// A commit of a root failed: nobody knows which root is on disk, so no batch may follow.
    pub in_doubt: bool,
}

/// The end of a chain of log blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The last block's sequence number.
    pub sequence: u64,
    /// The last block's checksum; 0 where the chain is empty.
    pub checksum: u32,
    /// Where the next block goes.
    pub next_address: u64,
    /// The two slots that the log goes on in after that block's.
    pub ahead: [Slot; 2],
}

/// What the blocks of one chain have in common.
#[derive(Clone, Copy, Debug)]
struct Chain {
    life: u64,
    durable_sequence: u64,
    highest_tag: Epoch,
    /// They are one batch.
    one_batch: bool,
}

/// Blocks that were written at the end of a chain, and the slots that were taken for them.
struct Written {
    tail: Tail,
    slots: Vec<Slot>,
    blocks: u64,
}

impl Log {
    /// Whether a log of `compact_blocks` instead would be enough shorter.
    fn is_long(&self, compact_blocks: u64, slack_blocks: u64) -> bool {
        self.blocks > 2 * compact_blocks + slack_blocks
    }
}

impl<S: Growable> ExceptionStore<S> {
    /// Writes one batch and makes it durable, with the data that its records speak of. Now and then
    /// the flush takes along a root that says how much of the log is durable.
    pub(super) async fn append(&self, log: &mut Log, records: &[Record]) -> Result<(), IoError> {
        if log.in_doubt {
            return Err(in_doubt());
        }
        let chain = self.chain(log, records, true);
        let written = self.write_chain(log.tail, chain, records).await?;
        let outcome = async {
            let due = log.tail.sequence - log.root.verified_sequence >= LOG_MARK_BLOCKS;
            let marked = if due { Some(self.write_mark(log).await?) } else { None };
            self.space.flush().await.map(|()| marked)
        };
        match outcome.await {
            Ok(marked) => log.root = marked.unwrap_or_else(|| log.root.clone()),
            Err(error) => {
                self.release_slots(&written.slots);
                return Err(error);
            }
        }
        log.tail = written.tail;
        log.blocks += written.blocks;
        log.slots.extend(written.slots);
        Ok(())
    }

    /// Writes, unflushed, a root of the present chain that calls all of it durable, as it is.
    async fn write_mark(&self, log: &Log) -> Result<Commit, IoError> {
        let root = Commit {
            sequence: log.root.sequence + 1,
            verified_sequence: log.tail.sequence,
            highest_tag: self.highest_tag(),
            ..log.root.clone()
        };
        self.space.write_at(root.address(), Bytes::copy_from_slice(&root.encode(self.id))).await?;
        Ok(root)
    }

    /// Before a flush of the members: sees to it that the last batch is told from a torn one after
    /// the flush, where nobody is writing to the log. Nothing depends on it.
    pub async fn mark_for_flush(&self) {
        let Ok(mut log) = self.log.try_lock() else { return };
        if !log.in_doubt
            && log.tail.sequence > log.root.verified_sequence
            && let Ok(root) = self.write_mark(&log).await
        {
            log.root = root;
        }
    }

    fn chain(&self, log: &Log, records: &[Record], one_batch: bool) -> Chain {
        let highest = records.iter().map(|record| record.tag).max().unwrap_or_default();
        Chain {
            life: log.root.life,
            durable_sequence: log.tail.sequence,
            highest_tag: highest.max(self.highest_tag()),
            one_batch,
        }
    }

    /// Replaces the log by a compact one where that is worth it. A failure leaves the old one,
    /// unless it leaves the root in doubt.
    pub(super) async fn checkpoint_when_due(&self, log: &mut Log) {
        let compact_blocks = self.map.count().div_ceil(RECORDS_PER_BLOCK as u64);
        let compact_slots = compact_blocks * BLOCK_BYTES as u64 / self.chunk.bytes() + 4;
        let room = self.slots().free() > compact_slots;
        if !log.in_doubt && room && log.is_long(compact_blocks, self.log_slack_blocks()) {
            // Nothing depends on it: the old log says the same, only longer.
            drop(self.checkpoint(log).await);
        }
    }

    /// Writes all live records as a new chain and makes it the log.
    pub(super) async fn checkpoint(&self, log: &mut Log) -> Result<(), IoError> {
        let mut records = Vec::with_capacity(self.map.count() as usize);
        self.map.for_each(|record| records.push(record));
        records.sort_unstable_by_key(|record| (record.chunk, record.tag));
        let head = self.take_log_slots()?;
        let start = Tail {
            sequence: log.tail.sequence,
            checksum: 0,
            next_address: self.address_of(head[0]),
            ahead: [head[1], head[2]],
        };
        let chain = self.chain(log, &records, false);
        let written = match self.write_chain(start, chain, &records).await {
            Ok(written) => written,
            Err(error) => {
                self.release_slots(&head);
                return Err(error);
            }
        };
        if let Err(error) = self.space.flush().await {
            self.release_slots(&head);
            self.release_slots(&written.slots);
            return Err(error);
        }
        let root = Commit {
            head_address: start.next_address,
            head_sequence: start.sequence + 1,
            verified_sequence: written.tail.sequence,
            ahead: start.ahead,
            ..log.root.clone()
        };
        self.commit_root(log, root).await?;
        let slots = head.into_iter().chain(written.slots).collect();
        let old = std::mem::replace(&mut log.slots, slots);
        log.tail = written.tail;
        log.blocks = written.blocks;
        self.release_slots(&old);
        Ok(())
    }

    /// The slots that a new log begins with: the head's and the two ahead.
    pub(super) fn take_log_slots(&self) -> Result<[Slot; 3], IoError> {
        let mut slots = self.slots();
        let taken: Vec<Slot> = std::iter::from_fn(|| slots.take()).take(3).collect();
        taken.try_into().map_err(|taken: Vec<Slot>| {
            taken.iter().for_each(|slot| slots.release(*slot));
            IoError::StoreFull
        })
    }

    /// Commits `root`: both commit slots say it, one after the other. Its sequence is given here.
    pub(super) async fn commit_root(&self, log: &mut Log, root: Commit) -> Result<(), IoError> {
        if log.in_doubt {
            return Err(in_doubt());
        }
        log.in_doubt = true;
        let sequence = log.root.sequence;
        log.root = root;
        log.root.sequence = sequence;
        log.root.highest_tag = self.highest_tag();
        for _ in 0..2 {
            log.root.sequence += 1;
            let bytes = Bytes::copy_from_slice(&log.root.encode(self.id));
            self.space.write_at(log.root.address(), bytes).await?;
            self.space.flush().await?;
        }
        log.in_doubt = false;
        Ok(())
    }

    /// Writes `records` as blocks after `tail`, unflushed. On failure no slot stays taken.
    async fn write_chain(
        &self,
        mut tail: Tail,
        chain: Chain,
        records: &[Record],
    ) -> Result<Written, IoError> {
        let mut slots = Vec::new();
        let blocks = records.chunks(RECORDS_PER_BLOCK);
        let count = blocks.len() as u64;
        for (index, records) in blocks.enumerate() {
            let remaining = if chain.one_batch { count - 1 - index as u64 } else { 0 };
            match self.write_block(tail, chain, remaining as u32, records, &mut slots).await {
                Ok(next) => tail = next,
                Err(error) => {
                    self.release_slots(&slots);
                    return Err(error);
                }
            }
        }
        Ok(Written { tail, slots, blocks: count })
    }

    async fn write_block(
        &self,
        tail: Tail,
        chain: Chain,
        remaining: u32,
        records: &[Record],
        slots: &mut Vec<Slot>,
    ) -> Result<Tail, IoError> {
        let address = tail.next_address;
        let (mut next_address, mut ahead) = (address + BLOCK_BYTES as u64, tail.ahead);
        if next_address.is_multiple_of(self.chunk.bytes()) {
            let slot = self.take_log_slot().ok_or(IoError::StoreFull)?;
            slots.push(slot);
            next_address = self.address_of(ahead[0]);
            ahead = [ahead[1], slot];
        }
        let header = BlockHeader {
            sequence: tail.sequence + 1,
            address,
            ahead: tail.ahead,
            life: chain.life,
            previous_checksum: tail.checksum,
            remaining,
            durable_sequence: chain.durable_sequence,
            highest_tag: chain.highest_tag,
        };
        let mut block = BytesMut::zeroed(BLOCK_BYTES);
        let bytes = block.as_mut().try_into().expect("a block's length");
        let checksum = encode_block(&header, records, self.id, bytes);
        self.space.write_at(address, block.freeze()).await?;
        Ok(Tail { sequence: header.sequence, checksum, next_address, ahead })
    }
}

fn in_doubt() -> IoError {
    IoError::failed("the exception store takes no change until it is opened anew")
}
