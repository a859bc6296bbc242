//! How often structures and preserved data of a store failed their checksum.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Failed checksums since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ChecksumErrors {
    /// What failed and is right again: another copy, parity or memory had it.
    pub repaired: u64,
    /// What failed and is nowhere else.
    pub lost: u64,
}

/// The counters behind it.
#[derive(Debug, Default)]
pub struct ErrorCounters {
    repaired: AtomicU64,
    lost: AtomicU64,
}

impl ErrorCounters {
    /// Counts more of them.
    pub fn add(&self, repaired: u64, lost: u64) {
        self.repaired.fetch_add(repaired, Ordering::Relaxed);
        self.lost.fetch_add(lost, Ordering::Relaxed);
    }

    /// What was counted.
    pub fn get(&self) -> ChecksumErrors {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ChecksumErrors { repaired: load(&self.repaired), lost: load(&self.lost) }
    }
}
