//! Write intents: which regions may differ between members after a crash.
//!
//! A region's bit is durable on every member in sync before the first change of the region, and
//! is cleared only after everything in the region was flushed with no change in flight. So after a
//! crash only regions with a bit need to be compared.
//!
//! Several changes that need new bits share one write and one flush: whoever gets the commit lock
//! first writes the bits of all who wait.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use uuid::Uuid;

use super::intent_format;
use crate::limits::DIRTY_REGIONS_MAX;

/// The bitmap in memory.
pub(super) struct Intents {
    pool: Uuid,
    region_bytes: u64,
    /// Durable on every member in sync.
    durable: Box<[AtomicU64]>,
    /// Durable, or about to be written.
    wanted: Box<[AtomicU64]>,
    durable_count: AtomicUsize,
    pub(super) commit: tokio::sync::Mutex<()>,
}

impl Intents {
    pub(super) fn new(pool: Uuid, data_bytes: u64, region_bytes: u64) -> Self {
        let words = data_bytes.div_ceil(region_bytes).div_ceil(64) as usize;
        let bitmap = || (0..words).map(|_| AtomicU64::new(0)).collect();
        Self {
            pool,
            region_bytes,
            durable: bitmap(),
            wanted: bitmap(),
            durable_count: AtomicUsize::new(0),
            commit: tokio::sync::Mutex::new(()),
        }
    }

    /// Whether a change of these member offsets needs no new bit. One load for most.
    pub(super) fn cover(&self, range: &Range<u64>) -> bool {
        self.regions(range).all(|region| is_set(&self.durable, region))
    }

    pub(super) fn want(&self, range: &Range<u64>) {
        for region in self.regions(range) {
            self.wanted[region / 64].fetch_or(1 << (region % 64), Ordering::AcqRel);
        }
    }

    /// What to write: taken by the holder of the commit lock, and handed to `written`.
    pub(super) fn snapshot(&self) -> Vec<u64> {
        self.wanted.iter().map(|word| word.load(Ordering::Acquire)).collect()
    }

    pub(super) fn encode(&self, words: &[u64]) -> Vec<u8> {
        intent_format::encode(self.pool, |region| {
            words.get(region / 64).is_some_and(|word| word >> (region % 64) & 1 == 1)
        })
    }

    /// `words` are durable on every member in sync.
    pub(super) fn written(&self, words: &[u64]) {
        for (word, value) in self.durable.iter().zip(words) {
            word.store(*value, Ordering::Release);
        }
        let count: u32 = words.iter().map(|word| word.count_ones()).sum();
        self.durable_count.store(count as usize, Ordering::Release);
    }

    /// Before the bits on the members are cleared: none of them is relied on any more. With no
    /// change in flight, after a flush of all members.
    pub(super) fn distrust(&self) {
        for word in self.durable.iter().chain(&self.wanted) {
            word.store(0, Ordering::Release);
        }
    }

    /// No member has a bit any more.
    pub(super) fn cleared(&self) {
        self.durable_count.store(0, Ordering::Release);
    }

    /// Whether no member has a bit.
    pub(super) fn is_empty(&self) -> bool {
        self.durable_count.load(Ordering::Acquire) == 0
    }

    /// So many bits that a crash would cost too much.
    pub(super) fn are_too_many(&self) -> bool {
        self.durable_count.load(Ordering::Acquire) > DIRTY_REGIONS_MAX
    }

    fn regions(&self, range: &Range<u64>) -> Range<usize> {
        let first = range.start / self.region_bytes;
        first as usize..range.end.div_ceil(self.region_bytes) as usize
    }
}

fn is_set(bitmap: &[AtomicU64], region: usize) -> bool {
    bitmap[region / 64].load(Ordering::Acquire) >> (region % 64) & 1 == 1
}
