//! Quantities that must not be mixed, and the only conversions between them.

use serde::{Deserialize, Serialize};

/// A chunk of a volume, counted from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ChunkIndex(pub u32);

/// A volume's snapshot counter: each snapshot takes the next. 0 is before the first snapshot.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(pub u32);

/// The size of a volume's chunks: a power of two of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSize {
    shift: u32,
}

impl ChunkSize {
    /// `None` where `bytes` is no power of two within the limits.
    pub fn new(bytes: u64) -> Option<Self> {
        use crate::limits::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN};
        let valid = bytes.is_power_of_two() && (CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&bytes);
        valid.then(|| Self { shift: bytes.trailing_zeros() })
    }

    /// Bytes of a chunk.
    pub fn bytes(self) -> u64 {
        1 << self.shift
    }

    /// The chunk that holds byte `offset_bytes`.
    pub fn chunk_of(self, offset_bytes: u64) -> ChunkIndex {
        ChunkIndex(
            u32::try_from(offset_bytes >> self.shift).expect("volumes have at most 2^32 chunks"),
        )
    }

    /// The first byte of `chunk`.
    pub fn offset_of(self, chunk: ChunkIndex) -> u64 {
        u64::from(chunk.0) << self.shift
    }

    /// The chunks that a range of at least one byte touches, first and last.
    pub fn chunks_of(self, offset_bytes: u64, length_bytes: u64) -> (ChunkIndex, ChunkIndex) {
        (self.chunk_of(offset_bytes), self.chunk_of(offset_bytes + length_bytes - 1))
    }
}
