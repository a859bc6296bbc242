//! Counts of one ring; its thread writes them, anyone reads them.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Counters that go up, and a level.
#[derive(Debug, Default)]
pub struct RingCounters {
    commands: AtomicU64,
    found: AtomicU64,
    repeated: AtomicU64,
    from_records: AtomicU64,
    aborted: AtomicU64,
    refused: AtomicU64,
    functions: AtomicU64,
    record_failures: AtomicU64,
    unanswered: AtomicU64,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RingCounts {
    /// Commands that were begun.
    pub commands: u64,
    /// Commands that lay in the ring when it was attached.
    pub found: u64,
    /// Of the commands that were begun, those that may have been begun before.
    pub repeated: u64,
    /// Commands answered from a record, without being carried out.
    pub from_records: u64,
    /// Commands that were aborted before they had begun.
    pub aborted: u64,
    /// Commands that could not be carried out as they lay in the ring.
    pub refused: u64,
    /// Task management functions.
    pub functions: u64,
    /// Steps that could not be written to the record file, or the file itself at the start, where it
    /// was damaged.
    pub record_failures: u64,
    /// Commands that have come out of the ring and are not answered.
    pub unanswered: u64,
}

impl RingCounters {
    pub(super) fn begun(&self, repeated: bool) {
        add(&self.commands);
        if repeated {
            add(&self.repeated);
        }
    }

    pub(super) fn found(&self) {
        add(&self.found);
    }

    pub(super) fn answered_from_record(&self) {
        add(&self.from_records);
    }

    pub(super) fn aborted(&self) {
        add(&self.aborted);
    }

    pub(super) fn refused(&self) {
        add(&self.refused);
    }

    pub(super) fn function(&self) {
        add(&self.functions);
    }

    pub(super) fn record_failed(&self) {
        add(&self.record_failures);
    }

    pub(super) fn unanswered(&self, count: usize) {
        self.unanswered.store(count as u64, Ordering::Relaxed);
    }

    /// All of them; together they are not one point in time.
    pub fn counts(&self) -> RingCounts {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RingCounts {
            commands: load(&self.commands),
            found: load(&self.found),
            repeated: load(&self.repeated),
            from_records: load(&self.from_records),
            aborted: load(&self.aborted),
            refused: load(&self.refused),
            functions: load(&self.functions),
            record_failures: load(&self.record_failures),
            unanswered: load(&self.unanswered),
        }
    }
}

/// One thread writes: no need for more than a load and a store.
fn add(counter: &AtomicU64) {
    counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}
