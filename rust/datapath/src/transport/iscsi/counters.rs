//! Counts of one session; its thread writes them, anyone reads them.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// A count that one thread writes.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds, for the one writer: no locked instruction is needed.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a session has done.
#[derive(Debug, Default)]
pub struct SessionCounters {
    /// SCSI commands answered or ended.
    pub commands: Count,
    /// Data-In bytes.
    pub read_bytes: Count,
    /// Data-Out bytes.
    pub written_bytes: Count,
    /// Task management functions.
    pub task_management: Count,
    /// Tasks ended without status.
    pub aborted: Count,
    /// PDUs rejected.
    pub rejected: Count,
    /// Data digests that did not match.
    pub digest_errors: Count,
    /// Data-Out PDUs of tasks that do not exist, discarded.
    pub stray_data_out: Count,
}

/// A copy of the counts, for showing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs)]
pub struct SessionCounts {
    pub commands: u64,
    pub read_bytes: u64,
    pub written_bytes: u64,
    pub task_management: u64,
    pub aborted: u64,
    pub rejected: u64,
    pub digest_errors: u64,
    pub stray_data_out: u64,
}

impl SessionCounters {
    /// The counts as they are.
    pub fn counts(&self) -> SessionCounts {
        SessionCounts {
            commands: self.commands.get(),
            read_bytes: self.read_bytes.get(),
            written_bytes: self.written_bytes.get(),
            task_management: self.task_management.get(),
            aborted: self.aborted.get(),
            rejected: self.rejected.get(),
            digest_errors: self.digest_errors.get(),
            stray_data_out: self.stray_data_out.get(),
        }
    }
}
