//! A running session, as whoever handed the connection over sees it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::Notify;

use crate::scsi::NexusId;
use crate::scsi::nexus::{Mailbox, Order};

use super::super::ending::Ending;
use super::counters::{SessionCounters, SessionCounts};
use super::session::Violation;

/// Why a session ended.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EndReason {
    /// The initiator logged out.
    #[error("the initiator logged out")]
    LoggedOut,
    /// It was closed from this side.
    #[error("the session was closed")]
    Closed,
    /// The initiator closed the connection without a logout.
    #[error("the initiator closed the connection")]
    PeerClosed,
    /// The initiator broke the protocol.
    #[error("{0}")]
    Violation(#[from] Violation),
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Socket(io::ErrorKind),
}

/// Refers to a session; copies refer to the same one.
#[derive(Clone, Debug)]
pub struct SessionHandle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    nexus: NexusId,
    mailbox: Arc<Mailbox>,
    counters: Arc<SessionCounters>,
    end: Ending<EndReason>,
    ended_async: Notify,
}

impl SessionHandle {
    pub(super) fn new(nexus: NexusId) -> Self {
        let (mailbox, counters, end, ended_async) = Default::default();
        Self { shared: Arc::new(Shared { nexus, mailbox, counters, end, ended_async }) }
    }

    pub(super) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.shared.mailbox
    }

    pub(super) fn session_counters(&self) -> &Arc<SessionCounters> {
        &self.shared.counters
    }

    pub(super) fn set_ended(&self, reason: EndReason) {
        self.shared.end.set(reason);
        self.shared.ended_async.notify_waiters();
    }

    /// The session's nexus.
    pub fn nexus(&self) -> NexusId {
        self.shared.nexus
    }

    /// Begins to close: the connection is dropped at once, the session has ended when its running
    /// commands have. Does not wait.
    pub fn close(&self) {
        self.shared.mailbox.post(Order::Close);
    }

    /// Why the session ended; `None` while it runs. Once it says why, every command of the session
    /// has ended and the command set knows that the nexus is lost.
    pub fn end_reason(&self) -> Option<EndReason> {
        self.shared.end.reason()
    }

    /// Blocks until the session has ended, or `timeout` (`None`: none) has passed. Says whether it
    /// has. Never to be called on a worker's thread, nor by the command that the session waits for.
    pub fn wait_ended(&self, timeout: Option<Duration>) -> bool {
        self.shared.end.wait(timeout).is_some()
    }

    /// Resolves when the session has ended.
    pub async fn ended(&self) -> EndReason {
        loop {
            let notified = self.shared.ended_async.notified();
            let mut notified = std::pin::pin!(notified);
            notified.as_mut().enable();
            if let Some(reason) = self.end_reason() {
                return reason;
            }
            notified.await;
        }
    }

    /// Asks the initiator to log out within so many seconds (Async Message, event 1).
    pub fn request_logout(&self, within_s: u16) {
        self.shared.mailbox.post(Order::RequestLogout { within_s });
    }

    /// Reports a SCSI asynchronous event (Async Message, event 0).
    pub fn report_event(&self, lun: u64, sense: Bytes) {
        self.shared.mailbox.post(Order::ReportEvent { lun, sense });
    }

    /// What the session has done so far.
    pub fn counts(&self) -> SessionCounts {
        self.shared.counters.counts()
    }
}
