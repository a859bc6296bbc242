//! The commands of one session or ring that have begun and not ended.
//!
//! A command that completes at once costs neither a task nor an allocation: its future lives in a slot
//! that is used again.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, Stream};

use crate::scsi::{Completion, Request};

/// A future of `F` in a box that outlives it.
type Slot<F> = Pin<Box<Option<F>>>;

/// A command that has ended, by its tag. `None` where the command set failed to answer.
pub(super) type Ended<T> = (T, Option<Completion>);

/// Commands with a tag of `T` each, begun by `S`.
pub(super) struct Commands<T, F, S> {
    start: S,
    running: FuturesUnordered<Running<T, F>>,
    spare: Vec<Slot<F>>,
}

impl<T, F, S> Commands<T, F, S>
where
    T: Unpin,
    F: Future<Output = Option<Completion>>,
    S: Fn(Request) -> F,
{
    pub(super) fn new(start: S) -> Self {
        Self { start, running: FuturesUnordered::new(), spare: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// The tags of those that run.
    pub(super) fn tags_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.running.iter_mut().filter_map(|running| running.tag.as_mut())
    }

    /// Begins a command; gives its end where that comes at once.
    pub(super) fn begin(
        &mut self,
        tag: T,
        request: Request,
        context: &mut Context<'_>,
    ) -> Option<Ended<T>> {
        let mut slot = self.spare.pop().unwrap_or_else(|| Box::pin(None));
        slot.set(Some((self.start)(request)));
        let mut running = Running { tag: Some(tag), slot: Some(slot) };
        match Pin::new(&mut running).poll(context) {
            Poll::Ready(outcome) => Some(self.take(outcome)),
            Poll::Pending => {
                self.running.push(running);
                None
            }
        }
    }

    /// The next command that has ended, if one has.
    pub(super) fn poll_ended(&mut self, context: &mut Context<'_>) -> Option<Ended<T>> {
        if self.running.is_empty() {
            return None;
        }
        match Pin::new(&mut self.running).poll_next(context) {
            Poll::Ready(Some(outcome)) => Some(self.take(outcome)),
            _ => None,
        }
    }

    fn take(&mut self, (tag, outcome, slot): (T, Option<Completion>, Slot<F>)) -> Ended<T> {
        self.spare.push(slot);
        (tag, outcome)
    }
}

/// A command that did not complete at once.
struct Running<T, F> {
    tag: Option<T>,
    slot: Option<Slot<F>>,
}

impl<T: Unpin, F: Future<Output = Option<Completion>>> Future for Running<T, F> {
    type Output = (T, Option<Completion>, Slot<F>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let slot = self.slot.as_mut().expect("a command is not polled after its end");
        let future = slot.as_mut().as_pin_mut().expect("the slot of a running command is full");
        let outcome = std::task::ready!(future.poll(context));
        let mut slot = self.slot.take().expect("it was there above");
        slot.set(None);
        let tag = self.tag.take().expect("a running command has its tag");
        Poll::Ready((tag, outcome, slot))
    }
}
