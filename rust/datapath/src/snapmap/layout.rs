//! The bytes of the snapshot map; mirrors `docs/formats/snapshot-map.md`.
//!
//! Decoding yields a value only when magic, version, checksum, own address and store id are right:
//! a value of these types that came from disk is one that this store wrote at that address.

use uuid::Uuid;

use crate::checksum::{crc32c, crc32c_append};
use crate::units::{ChunkIndex, Epoch};

/// Bytes of a log block; also what each commit slot has for itself.
pub const BLOCK_BYTES: usize = 4096;
/// Bytes of a commit slot.
pub const COMMIT_BYTES: usize = 512;
/// Where the two commit slots lie.
pub const COMMIT_ADDRESSES: [u64; 2] = [0, BLOCK_BYTES as u64];
/// Bytes at the start of the space that hold the commit slots.
pub const HEAD_BYTES: u64 = 2 * BLOCK_BYTES as u64;
/// Records in a log block.
pub const RECORDS_PER_BLOCK: usize = (BLOCK_BYTES - RECORDS_OFFSET) / RECORD_BYTES;

const VERSION: u32 = 2;
const COMMIT_MAGIC: [u8; 8] = *b"SSNAPMAP";
const BLOCK_MAGIC: [u8; 8] = *b"SSNAPLOG";

const MAGIC_OFFSET: usize = 0;
const VERSION_OFFSET: usize = MAGIC_OFFSET + 8;
/// Chunk size in a commit slot, count of records in a log block.
const EXTENT_OFFSET: usize = VERSION_OFFSET + 4;
const STORE_OFFSET: usize = EXTENT_OFFSET + 4;
const SEQUENCE_OFFSET: usize = STORE_OFFSET + 16;
const ADDRESS_OFFSET: usize = SEQUENCE_OFFSET + 8;

const COMMIT_LIFE_OFFSET: usize = ADDRESS_OFFSET + 8;
const HEAD_ADDRESS_OFFSET: usize = COMMIT_LIFE_OFFSET + 8;
const HEAD_SEQUENCE_OFFSET: usize = HEAD_ADDRESS_OFFSET + 8;
const VERIFIED_OFFSET: usize = HEAD_SEQUENCE_OFFSET + 8;
const HIGHEST_TAG_OFFSET: usize = VERIFIED_OFFSET + 8;
const COMMIT_AHEAD_OFFSET: usize = HIGHEST_TAG_OFFSET + 4;
const CLOSED_OFFSET: usize = COMMIT_AHEAD_OFFSET + 8;
const COMMIT_CHECKSUM_OFFSET: usize = COMMIT_BYTES - 4;

const BLOCK_AHEAD_OFFSET: usize = ADDRESS_OFFSET + 8;
const BLOCK_LIFE_OFFSET: usize = BLOCK_AHEAD_OFFSET + 8;
const PREVIOUS_OFFSET: usize = BLOCK_LIFE_OFFSET + 8;
const REMAINING_OFFSET: usize = PREVIOUS_OFFSET + 4;
const DURABLE_OFFSET: usize = REMAINING_OFFSET + 4;
const BLOCK_HIGHEST_TAG_OFFSET: usize = DURABLE_OFFSET + 8;
const BLOCK_CHECKSUM_OFFSET: usize = BLOCK_HIGHEST_TAG_OFFSET + 4;
const RECORDS_OFFSET: usize = BLOCK_CHECKSUM_OFFSET + 4;
const RECORD_BYTES: usize = 16;

const _: () = assert!(CLOSED_OFFSET + 4 <= COMMIT_CHECKSUM_OFFSET);
const _: () = assert!(RECORDS_OFFSET == 88 && RECORDS_PER_BLOCK == 250);
const _: () = assert!(RECORDS_OFFSET + RECORDS_PER_BLOCK * RECORD_BYTES <= BLOCK_BYTES);

/// "No slot: the chunk is all zeros", in a record.
const ZERO_SLOT: u32 = u32::MAX;

/// A slot of the store space: one chunk size of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// Where a preserved chunk's data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this slot.
    At(Slot),
    /// Nowhere: it is all zeros.
    Zeros,
}

/// A preserved chunk: the exception (`chunk`, `tag`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The chunk of the origin.
    pub chunk: ChunkIndex,
    /// The epoch under which it was preserved.
    pub tag: Epoch,
    /// Where the data is.
    pub place: Place,
    /// The CRC-32C of the data.
    pub data_crc: u32,
}

/// The format version of a commit slot of this store that has another than ours.
pub fn foreign_version(bytes: &[u8], store: Uuid) -> Option<u32> {
    let bytes: &[u8; COMMIT_BYTES] = bytes.get(..COMMIT_BYTES)?.try_into().ok()?;
    let version = u32_at(bytes, VERSION_OFFSET);
    let whole = u32_at(bytes, COMMIT_CHECKSUM_OFFSET) == crc32c(&bytes[..COMMIT_CHECKSUM_OFFSET]);
    let ours = bytes[MAGIC_OFFSET..VERSION_OFFSET] == COMMIT_MAGIC
        && bytes[STORE_OFFSET..SEQUENCE_OFFSET] == store.into_bytes();
    (whole && ours && version != VERSION).then_some(version)
}

/// A root of the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Size of chunks and slots.
    pub chunk_bytes: u32,
    /// Commits so far.
    pub sequence: u64,
    /// How often the store was opened.
    pub life: u64,
    /// The first log block.
    pub head_address: u64,
    /// The first log block's sequence number.
    pub head_sequence: u64,
    /// Blocks up to this one need no verification, and must be there.
    pub verified_sequence: u64,
    /// The highest tag ever recorded.
    pub highest_tag: Epoch,
    /// The two slots that the log goes on in after the first block's.
    pub ahead: [Slot; 2],
    /// The store was closed in order: there is no block after the verified ones.
    pub closed: bool,
}

impl Commit {
    /// Which of [`COMMIT_ADDRESSES`] a commit of this sequence goes to.
    pub fn address(&self) -> u64 {
        COMMIT_ADDRESSES[(self.sequence % 2) as usize]
    }

    /// The bytes of the commit slot.
    pub fn encode(&self, store: Uuid) -> [u8; COMMIT_BYTES] {
        let mut bytes = [0; COMMIT_BYTES];
        put(&mut bytes, MAGIC_OFFSET, COMMIT_MAGIC);
        put(&mut bytes, VERSION_OFFSET, VERSION.to_le_bytes());
        put(&mut bytes, EXTENT_OFFSET, self.chunk_bytes.to_le_bytes());
        put(&mut bytes, STORE_OFFSET, store.into_bytes());
        put(&mut bytes, SEQUENCE_OFFSET, self.sequence.to_le_bytes());
        put(&mut bytes, ADDRESS_OFFSET, self.address().to_le_bytes());
        put(&mut bytes, COMMIT_LIFE_OFFSET, self.life.to_le_bytes());
        put(&mut bytes, HEAD_ADDRESS_OFFSET, self.head_address.to_le_bytes());
        put(&mut bytes, HEAD_SEQUENCE_OFFSET, self.head_sequence.to_le_bytes());
        put(&mut bytes, VERIFIED_OFFSET, self.verified_sequence.to_le_bytes());
        put(&mut bytes, HIGHEST_TAG_OFFSET, self.highest_tag.0.to_le_bytes());
        put_ahead(&mut bytes, COMMIT_AHEAD_OFFSET, self.ahead);
        put(&mut bytes, CLOSED_OFFSET, u32::from(self.closed).to_le_bytes());
        let checksum = crc32c(&bytes[..COMMIT_CHECKSUM_OFFSET]);
        put(&mut bytes, COMMIT_CHECKSUM_OFFSET, checksum.to_le_bytes());
        bytes
    }

    /// The commit slot read from `address`; `None` where it is not one of this store's.
    pub fn decode(bytes: &[u8], address: u64, store: Uuid) -> Option<Self> {
        let bytes: &[u8; COMMIT_BYTES] = bytes.get(..COMMIT_BYTES)?.try_into().ok()?;
        let sound = is_ours(bytes, COMMIT_MAGIC, address, store)
            && u32_at(bytes, COMMIT_CHECKSUM_OFFSET) == crc32c(&bytes[..COMMIT_CHECKSUM_OFFSET]);
        let commit = Self {
            chunk_bytes: u32_at(bytes, EXTENT_OFFSET),
            sequence: u64_at(bytes, SEQUENCE_OFFSET),
            life: u64_at(bytes, COMMIT_LIFE_OFFSET),
            head_address: u64_at(bytes, HEAD_ADDRESS_OFFSET),
            head_sequence: u64_at(bytes, HEAD_SEQUENCE_OFFSET),
            verified_sequence: u64_at(bytes, VERIFIED_OFFSET),
            highest_tag: Epoch(u32_at(bytes, HIGHEST_TAG_OFFSET)),
            ahead: ahead_at(bytes, COMMIT_AHEAD_OFFSET),
            closed: u32_at(bytes, CLOSED_OFFSET) != 0,
        };
        (sound && commit.address() == address).then_some(commit)
    }
}

/// The header of a log block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// One more than the predecessor's.
    pub sequence: u64,
    /// Where this block lies.
    pub address: u64,
    /// The two slots that the log goes on in after this block's.
    pub ahead: [Slot; 2],
    /// The life of the store in which it was written.
    pub life: u64,
    /// The predecessor's checksum, 0 at the head.
    pub previous_checksum: u32,
    /// Blocks of the same batch after this one.
    pub remaining: u32,
    /// Every block up to this one was flushed before this block's batch began.
    pub durable_sequence: u64,
    /// No record in this block, or in one before it, has a higher tag.
    pub highest_tag: Epoch,
}

/// Fills `block` with a log block of `records`, at most [`RECORDS_PER_BLOCK`]; returns its checksum.
pub fn encode_block(
    header: &BlockHeader,
    records: &[Record],
    store: Uuid,
    block: &mut [u8; BLOCK_BYTES],
) -> u32 {
    assert!(records.len() <= RECORDS_PER_BLOCK, "the caller splits batches");
    block.fill(0);
    put(block, MAGIC_OFFSET, BLOCK_MAGIC);
    put(block, VERSION_OFFSET, VERSION.to_le_bytes());
    put(block, EXTENT_OFFSET, (records.len() as u32).to_le_bytes());
    put(block, STORE_OFFSET, store.into_bytes());
    put(block, SEQUENCE_OFFSET, header.sequence.to_le_bytes());
    put(block, ADDRESS_OFFSET, header.address.to_le_bytes());
    put_ahead(block, BLOCK_AHEAD_OFFSET, header.ahead);
    put(block, BLOCK_LIFE_OFFSET, header.life.to_le_bytes());
    put(block, PREVIOUS_OFFSET, header.previous_checksum.to_le_bytes());
    put(block, REMAINING_OFFSET, header.remaining.to_le_bytes());
    put(block, DURABLE_OFFSET, header.durable_sequence.to_le_bytes());
    put(block, BLOCK_HIGHEST_TAG_OFFSET, header.highest_tag.0.to_le_bytes());
    for (record, bytes) in records.iter().zip(block[RECORDS_OFFSET..].chunks_mut(RECORD_BYTES)) {
        encode_record(record, bytes);
    }
    let checksum = block_checksum(block);
    put(block, BLOCK_CHECKSUM_OFFSET, checksum.to_le_bytes());
    checksum
}

/// The log block read from `address`: header, records and checksum; `None` where it is not one of
/// this store's.
pub fn decode_block(
    bytes: &[u8],
    address: u64,
    store: Uuid,
) -> Option<(BlockHeader, Vec<Record>, u32)> {
    let block: &[u8; BLOCK_BYTES] = bytes.try_into().ok()?;
    let checksum = u32_at(block, BLOCK_CHECKSUM_OFFSET);
    let count = u32_at(block, EXTENT_OFFSET) as usize;
    let sound = is_ours(block, BLOCK_MAGIC, address, store)
        && checksum == block_checksum(block)
        && count <= RECORDS_PER_BLOCK;
    if !sound {
        return None;
    }
    let header = BlockHeader {
        sequence: u64_at(block, SEQUENCE_OFFSET),
        address,
        ahead: ahead_at(block, BLOCK_AHEAD_OFFSET),
        life: u64_at(block, BLOCK_LIFE_OFFSET),
        previous_checksum: u32_at(block, PREVIOUS_OFFSET),
        remaining: u32_at(block, REMAINING_OFFSET),
        durable_sequence: u64_at(block, DURABLE_OFFSET),
        highest_tag: Epoch(u32_at(block, BLOCK_HIGHEST_TAG_OFFSET)),
    };
    let records = block[RECORDS_OFFSET..].chunks(RECORD_BYTES).take(count).map(decode_record);
    Some((header, records.collect(), checksum))
}

fn encode_record(record: &Record, bytes: &mut [u8]) {
    let slot = match record.place {
        Place::At(slot) => slot.0,
        Place::Zeros => ZERO_SLOT,
    };
    put(bytes, 0, record.chunk.0.to_le_bytes());
    put(bytes, 4, record.tag.0.to_le_bytes());
    put(bytes, 8, slot.to_le_bytes());
    put(bytes, 12, record.data_crc.to_le_bytes());
}

fn decode_record(bytes: &[u8]) -> Record {
    let slot = u32_at(bytes, 8);
    Record {
        chunk: ChunkIndex(u32_at(bytes, 0)),
        tag: Epoch(u32_at(bytes, 4)),
        place: if slot == ZERO_SLOT { Place::Zeros } else { Place::At(Slot(slot)) },
        data_crc: u32_at(bytes, 12),
    }
}

fn is_ours(bytes: &[u8], magic: [u8; 8], address: u64, store: Uuid) -> bool {
    bytes[MAGIC_OFFSET..VERSION_OFFSET] == magic
        && u32_at(bytes, VERSION_OFFSET) == VERSION
        && bytes[STORE_OFFSET..SEQUENCE_OFFSET] == store.into_bytes()
        && u64_at(bytes, ADDRESS_OFFSET) == address
}

/// The checksum of a log block, its own field taken as zero.
fn block_checksum(block: &[u8; BLOCK_BYTES]) -> u32 {
    let before = crc32c(&block[..BLOCK_CHECKSUM_OFFSET]);
    crc32c_append(crc32c_append(before, &[0; 4]), &block[RECORDS_OFFSET..])
}

fn put_ahead(bytes: &mut [u8], offset: usize, ahead: [Slot; 2]) {
    put(bytes, offset, ahead[0].0.to_le_bytes());
    put(bytes, offset + 4, ahead[1].0.to_le_bytes());
}

fn ahead_at(bytes: &[u8], offset: usize) -> [Slot; 2] {
    [Slot(u32_at(bytes, offset)), Slot(u32_at(bytes, offset + 4))]
}

fn put<const N: usize>(bytes: &mut [u8], offset: usize, value: [u8; N]) {
    bytes[offset..offset + N].copy_from_slice(&value);
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit() -> Commit {
        Commit {
            chunk_bytes: 65536,
            sequence: 3,
            life: 7,
            head_address: 65536,
            head_sequence: 9,
            verified_sequence: 12,
            highest_tag: Epoch(5),
            ahead: [Slot(2), Slot(3)],
            closed: true,
        }
    }

    #[test]
    fn a_commit_slot_comes_back_and_no_flipped_bit_passes() {
        let store = Uuid::from_u128(1);
        let bytes = commit().encode(store);
        assert_eq!(Commit::decode(&bytes, 4096, store), Some(commit()));
        assert_eq!(Commit::decode(&bytes, 0, store), None, "misdirected");
        assert_eq!(Commit::decode(&bytes, 4096, Uuid::from_u128(2)), None, "another store's");
        for bit in 0..COMMIT_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Commit::decode(&flipped, 4096, store), None, "bit {bit}");
        }
    }

    #[test]
    fn a_full_log_block_comes_back_and_no_flipped_byte_passes() {
        let store = Uuid::from_u128(1);
        let header = BlockHeader {
            sequence: 4,
            address: 8192,
            ahead: [Slot(7), Slot(9)],
            life: 2,
            previous_checksum: 77,
            remaining: 1,
            durable_sequence: 3,
            highest_tag: Epoch(251),
        };
        let records: Vec<Record> = (0..RECORDS_PER_BLOCK as u32)
            .map(|number| Record {
                chunk: ChunkIndex(number),
                tag: Epoch(number + 1),
                place: if number % 2 == 0 { Place::Zeros } else { Place::At(Slot(number)) },
                data_crc: !number,
            })
            .collect();
        let mut block = [0xAA; BLOCK_BYTES];
        let checksum = encode_block(&header, &records, store, &mut block);
        assert_eq!(decode_block(&block, 8192, store), Some((header, records, checksum)));
        assert_eq!(decode_block(&block, 4096, store), None, "misdirected");
        for byte in 0..BLOCK_BYTES {
            let mut flipped = block;
            flipped[byte] ^= 0x10;
            assert_eq!(decode_block(&flipped, 8192, store), None, "byte {byte}");
        }
    }
}
