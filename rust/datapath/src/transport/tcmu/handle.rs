//! A ring that is served, as whoever attached it sees it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use thiserror::Error;

use crate::scsi::NexusId;
use crate::scsi::nexus::{Mailbox, Order};

use super::super::ending::Ending;
use super::counters::{RingCounters, RingCounts};
use super::mailbox::RingError;

/// Why a ring is not served any more.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EndReason {
    /// It was stopped from this side.
    #[error("the ring was stopped")]
    Stopped,
    /// It cannot be used. Its commands are not answered before the kernel has reset it.
    #[error("the ring is broken: {0}")]
    Broken(#[from] RingError),
    /// The device that the kernel is waited for and woken by failed.
    #[error("the ring's device failed: {0}")]
    Doorbell(io::ErrorKind),
}

/// Refers to a ring that is served; copies refer to the same one.
#[derive(Clone, Debug)]
pub struct RingHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    nexus: NexusId,
    mailbox: Arc<Mailbox>,
    counters: Arc<RingCounters>,
    settled: AtomicBool,
    end: Ending<EndReason>,
}

impl RingHandle {
    pub(super) fn new(nexus: NexusId) -> Self {
        let (mailbox, counters, settled, end) = Default::default();
        Self { shared: Arc::new(Shared { nexus, mailbox, counters, settled, end }) }
    }

    pub(super) fn nexus(&self) -> NexusId {
        self.shared.nexus
    }

    pub(super) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.shared.mailbox
    }

    pub(super) fn ring_counters(&self) -> &Arc<RingCounters> {
        &self.shared.counters
    }

    pub(super) fn set_settled(&self) {
        self.shared.settled.store(true, Ordering::Release);
    }

    pub(super) fn set_ended(&self, reason: EndReason) {
        self.shared.end.set(reason);
    }

    /// Begins to stop: nothing more is begun, what has begun is answered. Does not wait.
    pub fn stop(&self) {
        self.shared.mailbox.post(Order::Close);
    }

    /// Whether every command that lay in the ring at the start has been answered.
    pub fn is_settled(&self) -> bool {
        self.shared.settled.load(Ordering::Acquire)
    }

    /// Why the ring is not served any more; `None` while it is. Once it says why, every command that
    /// had begun has ended and the command set knows that the nexus is lost.
    pub fn end_reason(&self) -> Option<EndReason> {
        self.shared.end.reason()
    }

    /// Blocks until the ring is not served any more. Never to be called on a worker's thread.
    pub fn wait_ended(&self) -> EndReason {
        self.shared.end.wait(None).expect("without a timeout it waits until the ring has ended")
    }

    /// What was done so far.
    pub fn counts(&self) -> RingCounts {
        self.shared.counters.counts()
    }
}
