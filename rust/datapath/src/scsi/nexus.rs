//! How the task router reaches the sessions of a target, and how one learns that tasks have ended.
//!
//! A session owns its tasks and runs on its own thread. A task management function of one session
//! that concerns another's tasks is posted to that session's [`Mailbox`]; each task that it ends
//! holds an [`EndToken`] until it has ended, and [`Ended`] resolves when no token is left.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use tokio::sync::oneshot;

use crate::limits::EVENTS_WAITING_MAX;

use super::logical_unit::UnitNumber;

/// Held, in copies, by whatever has to end.
#[derive(Clone, Debug)]
pub struct EndToken {
    _all: Arc<oneshot::Sender<()>>,
}

/// Resolves when every copy of its token is gone.
#[derive(Debug)]
pub struct Ended(oneshot::Receiver<()>);

/// A token and the future that waits for its copies to go.
pub fn end_token() -> (EndToken, Ended) {
    let (sender, receiver) = oneshot::channel();
    (EndToken { _all: Arc::new(sender) }, Ended(receiver))
}

impl Ended {
    /// Waits on a thread that runs no tasks.
    pub fn wait(self) {
        // Nothing is ever sent: only the end is of interest.
        let _ = self.0.blocking_recv();
    }
}

impl Future for Ended {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // Nothing is ever sent: the receiver resolves when the sender has been dropped.
        Pin::new(&mut self.0).poll(context).map(drop)
    }
}

/// What a session is told from outside.
#[derive(Debug)]
pub enum Order {
    /// End every task at these logical units, without status.
    AbortTasks {
        /// The units, wherever the session's target shows them.
        units: Arc<[UnitNumber]>,
        /// Kept by each of those tasks until it has ended.
        token: EndToken,
    },
    /// Close the connection and end.
    Close,
    /// Ask the initiator to log out (RFC 7143, 11.9: asynchronous event 1).
    RequestLogout {
        /// How long it has.
        within_s: u16,
    },
    /// Report a SCSI asynchronous event (RFC 7143, 11.9: asynchronous event 0).
    ReportEvent {
        /// The logical unit it concerns.
        lun: u64,
        /// Sense data.
        sense: Bytes,
    },
}

/// Orders waiting for one session.
#[derive(Debug, Default)]
pub struct Mailbox {
    waiting: AtomicBool,
    orders: Mutex<Vec<Order>>,
    waker: AtomicWaker,
}

impl Mailbox {
    /// Leaves an order and wakes the session. Events that a session does not come round to report
    /// are lost beyond a limit: they are news, not state.
    pub fn post(&self, order: Order) {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let is_event = |order: &Order| matches!(order, Order::ReportEvent { .. });
        if is_event(&order)
            && orders.iter().filter(|order| is_event(order)).count() >= EVENTS_WAITING_MAX
        {
            return;
        }
        orders.push(order);
        drop(orders);
        self.waiting.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Who is to be woken by the next order.
    pub fn register(&self, context: &Context<'_>) {
        self.waker.register(context.waker());
    }

    /// Takes the orders that wait; one atomic load where there are none.
    pub fn take(&self) -> Vec<Order> {
        if !self.waiting.load(Ordering::Acquire) {
            return Vec::new();
        }
        self.waiting.store(false, Ordering::Relaxed);
        std::mem::take(&mut *self.orders.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn ended_waits_for_the_last_copy() {
        let (token, mut ended) = end_token();
        let copy = token.clone();
        drop(token);
        assert!((&mut ended).now_or_never().is_none());
        drop(copy);
        assert!((&mut ended).now_or_never().is_some());
    }
}
