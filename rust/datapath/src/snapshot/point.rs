//! A live snapshot as the engine knows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::snapmap::LivePoint;
use crate::units::{ChunkSize, Epoch};

/// The bytes of the origin that a snapshot covers; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointRange {
    /// The first byte.
    pub first_byte: u64,
    /// How many.
    pub length_bytes: u64,
}

impl PointRange {
    /// Whether it holds all of `length_bytes` from `offset_bytes` on.
    pub fn contains(&self, offset_bytes: u64, length_bytes: u64) -> bool {
        offset_bytes >= self.first_byte
            && offset_bytes + length_bytes <= self.first_byte + self.length_bytes
    }

    /// Whether it holds byte `offset_bytes`, and for how many of `length_bytes` that goes on.
    pub fn side(&self, offset_bytes: u64, length_bytes: u64) -> (bool, u64) {
        let end = self.first_byte + self.length_bytes;
        if offset_bytes < self.first_byte {
            (false, length_bytes.min(self.first_byte - offset_bytes))
        } else if offset_bytes < end {
            (true, length_bytes.min(end - offset_bytes))
        } else {
            (false, length_bytes)
        }
    }
}

/// A live snapshot from the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPoint {
    /// Its epoch.
    pub epoch: Epoch,
    /// What it covers.
    pub range: PointRange,
}

impl SnapshotPoint {
    /// The same in chunks: all those that it touches.
    pub fn live(&self, chunk: ChunkSize) -> LivePoint {
        let (first, last) = chunk.chunks_of(self.range.first_byte, self.range.length_bytes);
        LivePoint { epoch: self.epoch, first, last }
    }
}

/// Whether a snapshot may still be read; shared by the engine and the snapshot's images.
///
/// It is set before the first slot of the snapshot is freed. A reader looks after its read: if it is
/// not set, no slot had been freed when the data was read. `SeqCst` on both sides: the flag and the
/// I/O on the slots must be seen in one order by all threads.
#[derive(Clone, Debug, Default)]
pub struct Ended(Arc<AtomicBool>);

impl Ended {
    /// Ends it.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it has ended.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
