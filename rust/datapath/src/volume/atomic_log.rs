//! The atomic log: one record of a write that is to be in place all or not at all. Its form, and why it
//! is read as it is: `docs/formats/atomic-log.md`.
//!
//! ```text
//! 0      header, one sector: whole or not at all, whatever a cut does
//! 512    header again, so that one that rots is no loss
//! 4096   the data of the write that the header tells of
//! ```
//! A header of length 0 says that no write is under way; so do zeros, which is what a new space holds.
//! A record counts if header and data have the right checksums, so not before all of it has arrived.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use crate::block_io::{BlockIo, Verdict};
use crate::checksum::crc32c;
use crate::error::{IoError, PoolError};
use crate::limits::{ATOMIC_BYTES_MAX, SECTOR_BYTES};
use crate::stripe::{bytes_at, is_sealed, put, seal, u32_at, u64_at};

const MAGIC: [u8; 8] = *b"SSNAPATM";
const VERSION: u32 = 2;
const HEADER_BYTES: usize = SECTOR_BYTES as usize;
/// Where the copies of the header lie.
const HEADER_ADDRESSES: [u64; 2] = [0, SECTOR_BYTES];
const HEADERS_BYTES: usize = HEADER_BYTES * HEADER_ADDRESSES.len();
const DATA_ADDRESS: u64 = 4096;
/// Bytes of a log.
pub const LOG_BYTES: u64 = DATA_ADDRESS + ATOMIC_BYTES_MAX;

/// A write that was under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtomicRecord {
    /// Where in the volume it goes.
    pub offset_bytes: u64,
    /// What it writes.
    pub data: Bytes,
}

/// A volume's log. Whoever uses it has it alone.
pub struct AtomicLog<S> {
    space: Arc<S>,
    volume: Uuid,
    /// Of the last record.
    sequence: u64,
    /// Whether the header may be anything but that of an empty log.
    stale: bool,
    /// Copies of the header, or data, that were found damaged and are right elsewhere.
    repaired: u64,
}

/// A header that has the right checksum and is this volume's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    sequence: u64,
    offset_bytes: u64,
    /// 0 where there is no record.
    length_bytes: u64,
    data_crc: u32,
}

/// What is at the place of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Zeros: nothing was ever recorded.
    New,
    Header(Header),
    /// A format that this code does not know.
    Version(u32),
    Damaged,
}

impl<S: BlockIo> AtomicLog<S> {
    /// The log in a new space, which reads as zeros.
    pub fn new(space: Arc<S>, volume: Uuid) -> Self {
        Self { space, volume, sequence: 0, stale: false, repaired: 0 }
    }

    /// The log in `space`, and the write that was under way. The caller puts it in place and clears the
    /// log, before anything else changes the volume. A record that did not arrive whole is none: its
    /// write has not begun.
    pub async fn open(
        space: Arc<S>,
        volume: Uuid,
    ) -> Result<(Self, Option<AtomicRecord>), PoolError> {
        let mut log = Self { stale: true, ..Self::new(space, volume) };
        let (found, damaged, equal) = log.find().await?;
        log.repaired = damaged;
        let header = match found {
            Found::New => return Ok((Self { stale: !equal, ..log }, None)),
            Found::Damaged => return Ok((log, None)),
            Found::Header(header) => header,
            Found::Version(version) => {
                return Err(PoolError::Damaged(format!(
                    "the atomic log of volume {volume} has format version {version}, which this release \
                     does not read"
                )));
            }
        };
        log.sequence = header.sequence;
        log.stale = header.length_bytes > 0 || !equal;
        let record = log.read_record(header).await?;
        Ok((log, record))
    }

    /// Copies of the header that were damaged when it was opened, and are written anew by [`Self::clear`].
    pub fn repaired(&self) -> u64 {
        self.repaired
    }

    /// Writes a record, durably. The log must be clear.
    pub async fn record(&mut self, offset_bytes: u64, data: &Bytes) -> Result<(), IoError> {
        assert!(!self.stale, "a record is written only where there is none");
        self.sequence += 1;
        self.stale = true;
        let length_bytes = data.len() as u64;
        let data_crc = crc32c(data);
        let header = Header { sequence: self.sequence, offset_bytes, length_bytes, data_crc };
        let mut block = BytesMut::zeroed(DATA_ADDRESS as usize);
        block[..HEADERS_BYTES].copy_from_slice(&header.encode_all(self.volume));
        block.extend_from_slice(data);
        self.space.write_at(HEADER_ADDRESSES[0], block.freeze()).await?;
        self.space.flush().await
    }

    /// Takes the record away. Not durable before a flush: see `atomic_write`.
    pub async fn clear(&mut self) -> Result<(), IoError> {
        if !self.stale {
            return Ok(());
        }
        let header =
            Header { sequence: self.sequence, offset_bytes: 0, length_bytes: 0, data_crc: 0 };
        let block = Bytes::from(header.encode_all(self.volume));
        self.space.write_at(HEADER_ADDRESSES[0], block).await?;
        self.stale = false;
        Ok(())
    }

    /// Overwrites all of the log with zeros, durably: what was written atomically is not left here.
    pub async fn erase(&mut self) -> Result<(), IoError> {
        self.space.write_zeroes(0, LOG_BYTES).await?;
        self.space.flush().await?;
        self.stale = false;
        Ok(())
    }

    /// What is wrong with it while no write is under way; a damaged copy of the header is written anew.
    pub async fn check(&mut self) -> Result<Option<String>, IoError> {
        let (found, damaged, _) = self.find().await?;
        if damaged > 0 {
            self.stale = true;
            self.clear().await?;
            return Ok(Some(format!(
                "{damaged} copies of the atomic log's header were damaged, and are written anew"
            )));
        }
        Ok(match found {
            Found::New | Found::Header(Header { length_bytes: 0, .. }) => None,
            Found::Header(header) => {
                Some(format!("the atomic log holds record {} of no write", header.sequence))
            }
            Found::Version(version) => Some(format!("the atomic log has version {version}")),
            Found::Damaged => Some("the atomic log's header is damaged".into()),
        })
    }

    /// It in words, a line.
    pub async fn dump(&self) -> Result<String, IoError> {
        Ok(match self.find().await?.0 {
            Found::New => "atomic log: never used".into(),
            Found::Header(header) => match self.read_record(header).await? {
                Some(record) => format!(
                    "atomic log: record {} of bytes {}+{} crc {:08x}",
                    header.sequence, record.offset_bytes, header.length_bytes, header.data_crc
                ),
                None => format!("atomic log: no record, the last was {}", header.sequence),
            },
            Found::Version(version) => format!("atomic log: version {version}"),
            Found::Damaged => "atomic log: the header is damaged".into(),
        })
    }

    /// What the copies of the header say together, how many of them are damaged, and whether all say
    /// the same.
    async fn find(&self) -> Result<(Found, u64, bool), IoError> {
        let volume = self.volume;
        let all = move |block: &[u8]| {
            let copies = HEADER_ADDRESSES.iter().zip(block.chunks(HEADER_BYTES));
            copies.map(move |(at, copy)| Header::decode(copy, *at, volume)).collect::<Vec<_>>()
        };
        let is_right = |block: &[u8]| !all(block).contains(&Found::Damaged);
        let buffer = BytesMut::zeroed(HEADERS_BYTES);
        let at = HEADER_ADDRESSES[0];
        let (outcome, block) = self.space.read_verified(at, buffer, is_right).await;
        let repaired = u64::from(outcome? == Verdict::Repaired);
        let found = all(&block);
        let damaged = found.iter().filter(|copy| **copy == Found::Damaged).count() as u64;
        let equal = found.iter().all(|copy| *copy == found[0]);
        Ok((Found::together(&found), repaired + damaged, equal))
    }

    async fn read_record(&self, header: Header) -> Result<Option<AtomicRecord>, IoError> {
        if !(1..=ATOMIC_BYTES_MAX).contains(&header.length_bytes) {
            return Ok(None);
        }
        let buffer = BytesMut::zeroed(header.length_bytes as usize);
        let is_right = |data: &[u8]| crc32c(data) == header.data_crc;
        let (outcome, data) = self.space.read_verified(DATA_ADDRESS, buffer, is_right).await;
        let whole = outcome? != Verdict::Wrong;
        let offset_bytes = header.offset_bytes;
        Ok(whole.then(|| AtomicRecord { offset_bytes, data: data.freeze() }))
    }
}

impl Found {
    /// The later of the copies counts. Of one record's, the one that says that it is cleared: what is
    /// cleared was in place, durably.
    fn together(copies: &[Self]) -> Self {
        let is_version = |copy: &&Self| matches!(copy, Self::Version(_));
        if let Some(version) = copies.iter().find(is_version) {
            return *version;
        }
        let headers = copies.iter().filter_map(|copy| match copy {
            Self::Header(header) => Some(*header),
            _ => None,
        });
        let rank = |header: &Header| (header.sequence, header.length_bytes == 0);
        match headers.max_by_key(rank) {
            Some(header) => Self::Header(header),
            None if copies.contains(&Self::New) => Self::New,
            None => Self::Damaged,
        }
    }
}

impl Header {
    fn encode_all(self, volume: Uuid) -> Vec<u8> {
        HEADER_ADDRESSES.iter().flat_map(|address| self.encode(*address, volume)).collect()
    }

    fn encode(self, address: u64, volume: Uuid) -> [u8; HEADER_BYTES] {
        let mut block = [0; HEADER_BYTES];
        put(&mut block, 0, MAGIC);
        put(&mut block, 8, VERSION.to_le_bytes());
        put(&mut block, 16, address.to_le_bytes());
        put(&mut block, 24, self.sequence.to_le_bytes());
        put(&mut block, 32, volume.into_bytes());
        put(&mut block, 48, self.offset_bytes.to_le_bytes());
        put(&mut block, 56, self.length_bytes.to_le_bytes());
        put(&mut block, 64, self.data_crc.to_le_bytes());
        seal(&mut block);
        block
    }

    fn decode(block: &[u8], address: u64, volume: Uuid) -> Found {
        if block.iter().all(|byte| *byte == 0) {
            return Found::New;
        }
        let ours = is_sealed(block)
            && block[..8] == MAGIC
            && u64_at(block, 16) == address
            && bytes_at::<16>(block, 32) == *volume.as_bytes();
        if !ours {
            return Found::Damaged;
        }
        match u32_at(block, 8) {
            VERSION => Found::Header(Self {
                sequence: u64_at(block, 24),
                offset_bytes: u64_at(block, 48),
                length_bytes: u64_at(block, 56),
                data_crc: u32_at(block, 64),
            }),
            version => Found::Version(version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_and_no_flipped_bit_passes() {
        let volume = Uuid::from_u128(7);
        let header = Header { sequence: 3, offset_bytes: 8192, length_bytes: 4096, data_crc: 9 };
        let block = header.encode(512, volume);
        let decode = |block: &[u8]| Header::decode(block, 512, volume);
        assert_eq!(decode(&block), Found::Header(header));
        assert_eq!(Header::decode(&block, 512, Uuid::from_u128(8)), Found::Damaged);
        assert_eq!(Header::decode(&block, 0, volume), Found::Damaged, "misdirected");
        assert_eq!(decode(&[0; HEADER_BYTES]), Found::New);
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = block;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), Found::Damaged, "bit {bit}");
        }
        let mut newer = block;
        put(&mut newer, 8, 9u32.to_le_bytes());
        seal(&mut newer);
        assert_eq!(decode(&newer), Found::Version(9));
    }

    #[test]
    fn of_two_copies_the_later_one_counts_and_one_that_is_cleared() {
        let header = |sequence, length_bytes| {
            Found::Header(Header { sequence, offset_bytes: 0, length_bytes, data_crc: 0 })
        };
        let cases = [
            ([Found::New, Found::New], Found::New),
            ([header(1, 512), Found::New], header(1, 512)),
            ([header(1, 0), header(2, 512)], header(2, 512)),
            ([header(2, 0), header(2, 512)], header(2, 0)),
            ([Found::Damaged, header(2, 512)], header(2, 512)),
            ([Found::Damaged, Found::Damaged], Found::Damaged),
            ([header(2, 512), Found::Version(9)], Found::Version(9)),
        ];
        for ([first, second], together) in cases {
            assert_eq!(Found::together(&[first, second]), together);
            assert_eq!(Found::together(&[second, first]), together);
        }
    }
}
