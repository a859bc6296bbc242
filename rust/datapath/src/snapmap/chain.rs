//! Following the chain of log blocks on disk, also past blocks that are damaged.
//!
//! A chain fills its slots one after another, and each block names the two slots after its own. So the
//! address of a block follows from any block up to two slots before it.

use bytes::BytesMut;
use uuid::Uuid;

use super::layout::{BLOCK_BYTES, BlockHeader, Commit, HEAD_BYTES, Record, Slot, decode_block};
use super::recover::{MapError, damaged};
use crate::block_io::{Growable, Verdict};
use crate::error::IoError;
use crate::units::ChunkSize;

/// A block of the chain, with its records.
pub struct ChainBlock {
    pub header: BlockHeader,
    pub checksum: u32,
    pub records: Vec<Record>,
}

/// Where a block of the chain is looked for.
#[derive(Clone, Debug)]
pub struct Cursor {
    /// Its sequence number.
    pub sequence: u64,
    /// Its predecessor's checksum, where that was found.
    pub checksum: Option<u32>,
    /// Where it lies, as far as that is known.
    pub address: Option<u64>,
    /// The slots after its own, as far as they are known.
    pub ahead: [Option<Slot>; 2],
}

impl Cursor {
    /// At the first block.
    pub fn at_head(root: &Commit) -> Self {
        Self {
            sequence: root.head_sequence,
            checksum: Some(0),
            address: Some(root.head_address),
            ahead: root.ahead.map(Some),
        }
    }

    /// At the successor of `block`.
    pub fn after(block: &ChainBlock, chunk: ChunkSize) -> Self {
        let mut cursor = Self {
            sequence: block.header.sequence,
            checksum: None,
            address: Some(block.header.address),
            ahead: block.header.ahead.map(Some),
        };
        cursor.skip(chunk);
        cursor.checksum = Some(block.checksum);
        cursor
    }

    /// Goes on to the next block, although this one was not found.
    pub fn skip(&mut self, chunk: ChunkSize) {
        self.sequence += 1;
        self.checksum = None;
        let next = self.address.map(|address| address + BLOCK_BYTES as u64);
        self.address = match next {
            Some(address) if address.is_multiple_of(chunk.bytes()) => {
                let slot = self.ahead[0];
                self.ahead = [self.ahead[1], None];
                slot.map(|slot| u64::from(slot.0) * chunk.bytes())
            }
            next => next,
        };
    }

    /// The block in `bytes`, if it is the one that is looked for.
    fn accept(&self, bytes: &[u8], address: u64, root: &Commit, id: Uuid) -> Option<ChainBlock> {
        let (header, records, checksum) = decode_block(bytes, address, id)?;
        let durable = header.sequence <= root.verified_sequence;
        let follows = header.sequence == self.sequence
            && self.checksum.is_none_or(|checksum| header.previous_checksum == checksum)
            && (durable || header.life == root.life);
        follows.then_some(ChainBlock { header, checksum, records })
    }
}

/// Reads blocks, a slot at a time.
pub struct BlockReader<'a, S> {
    space: &'a S,
    chunk: ChunkSize,
    id: Uuid,
    held: Option<(u64, BytesMut)>,
}

impl<'a, S: Growable> BlockReader<'a, S> {
    /// Holds nothing yet.
    pub fn new(space: &'a S, chunk: ChunkSize, id: Uuid) -> Self {
        Self { space, chunk, id, held: None }
    }

    /// The block at `address` if some copy of it is the one that `cursor` looks for.
    pub async fn read(
        &mut self,
        address: u64,
        cursor: &Cursor,
        root: &Commit,
    ) -> Result<Option<(ChainBlock, Verdict)>, MapError> {
        if !is_block_address(address, self.space.size_bytes()) {
            return Err(damaged("the log goes on outside the space"));
        }
        let id = self.id;
        let in_doubt = self.space.is_in_doubt(address, BLOCK_BYTES as u64);
        let bytes = self.held_block(address).await?;
        if let Some(block) = cursor.accept(bytes, address, root, id).filter(|_| !in_doubt) {
            return Ok(Some((block, Verdict::Right)));
        }
        let is_right = |bytes: &[u8]| cursor.accept(bytes, address, root, id).is_some();
        let buffer = BytesMut::zeroed(BLOCK_BYTES);
        let (outcome, bytes) = self.space.read_verified(address, buffer, is_right).await;
        let how = outcome?;
        Ok(cursor.accept(&bytes, address, root, id).map(|block| (block, how)))
    }

    async fn held_block(&mut self, address: u64) -> Result<&[u8], IoError> {
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
        Ok(&bytes[offset..offset + BLOCK_BYTES])
    }
}

fn is_block_address(address: u64, size_bytes: u64) -> bool {
    let block_bytes = BLOCK_BYTES as u64;
    address.is_multiple_of(block_bytes)
        && (HEAD_BYTES..=size_bytes - block_bytes).contains(&address)
}
