//! The loop around a ring: the only file here with a UIO device. It holds no rules of the protocol.
//!
//! One task a ring. Each round takes orders and outcomes, looks at the ring, begins commands, and wakes
//! the kernel once for all that was answered. The task sleeps only when a round has moved nothing, and
//! then the device says whether the kernel has put something in since it was last asked: it counts
//! that up after cmd_head, so nothing is missed between the look and the sleep.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use compio::runtime::fd::PollFd;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, read, write};

use crate::block_io::BlockIo;
use crate::limits::COMMANDS_PER_RING_TURN;
use crate::scsi::buffers::BufferPool;
use crate::scsi::nexus::{Mailbox, Order, end_token};
use crate::scsi::slow_path::TaskManagementFunction;
use crate::scsi::{Completion, NexusId, Request, Target};
use crate::transport::running::Commands;

use super::dispatch::{Dispatcher, Job, OnceCodes, Step};
use super::entry::TaskManagement;
use super::handle::{EndReason, RingHandle};
use super::mailbox::RingError;
use super::mapping::Mapping;
use super::records::Records;
use super::region::Region;
use super::ring::Ring;

/// What a device's count of events, or a write to it, is long.
const DOORBELL_BYTES: usize = 4;
/// Rounds before others of the thread get their turn.
const ROUNDS_MAX: usize = 16;

/// A TCMU device that is to be served.
pub struct RingDevice {
    /// Its memory.
    pub mapping: Arc<Mapping>,
    /// What it is waited for and woken by: reads and writes of four bytes.
    pub doorbell: OwnedFd,
    /// The record file of its ring.
    pub records: Records,
    /// Which commands must not be carried out twice.
    pub once: OnceCodes,
    /// The unit that its commands are for.
    pub lun: u64,
}

/// A ring's place at its target; given up when dropped, so also where it never came to serving.
pub(in crate::transport) struct Attachment<D: BlockIo> {
    target: Arc<Target<D>>,
    handle: RingHandle,
    device: Option<RingDevice>,
    reason: EndReason,
}

impl<D: BlockIo> Attachment<D> {
    /// Makes the ring known to its target.
    pub(in crate::transport) fn new(
        device: RingDevice,
        target: Arc<Target<D>>,
        nexus: NexusId,
    ) -> Self {
        let handle = RingHandle::new(nexus);
        target.attach(nexus, Arc::clone(handle.mailbox()));
        Self { target, handle, device: Some(device), reason: EndReason::Stopped }
    }

    /// Refers to the ring.
    pub(in crate::transport) fn handle(&self) -> RingHandle {
        self.handle.clone()
    }

    /// Serves the ring to its end.
    pub(in crate::transport) async fn serve(mut self) {
        if let Some(device) = self.device.take() {
            self.reason = serve(device, Arc::clone(&self.target), &self.handle).await;
        }
    }
}

impl<D: BlockIo> Drop for Attachment<D> {
    fn drop(&mut self) {
        self.target.detach(self.handle.nexus());
        // Orders that came last concern no task any more; who posted them is waiting.
        drop(self.handle.mailbox().take());
        self.handle.set_ended(self.reason);
    }
}

/// What the commands of a ring share.
struct Shared<D> {
    target: Arc<Target<D>>,
    buffers: BufferPool,
    nexus: NexusId,
    lun: u64,
}

/// Serves a ring until it ends; every command that was begun has ended when this returns.
async fn serve<D: BlockIo>(
    device: RingDevice,
    target: Arc<Target<D>>,
    handle: &RingHandle,
) -> EndReason {
    let RingDevice { mapping, doorbell, records, once, lun } = device;
    let nexus = handle.nexus();
    let ring = match Ring::attach(Region::of(mapping)) {
        Ok(ring) => ring,
        Err(error) => return error.into(),
    };
    let doorbell = match set_nonblocking(&doorbell).and_then(|()| PollFd::new(File::from(doorbell)))
    {
        Ok(doorbell) => doorbell,
        Err(error) => return EndReason::Doorbell(error.kind()),
    };
    let counters = Arc::clone(handle.ring_counters());
    if records.was_damaged() {
        counters.record_failed();
    }
    let shared = Rc::new(Shared { target, buffers: BufferPool::default(), nexus, lun });
    let starting = Rc::clone(&shared);
    let start = move |request: Request| {
        let shared = Rc::clone(&starting);
        async move { shared.target.execute(request, &shared.buffers).await }
    };
    let mut served = Served {
        doorbell,
        dispatcher: Dispatcher::new(ring, records, &once, nexus, lun, counters),
        shared,
        mailbox: Arc::clone(handle.mailbox()),
        handle,
        commands: Commands::new(start),
        functions: FuturesUnordered::new(),
        // A former handler may have died between its last answer and telling of it.
        wake: true,
        is_settled: false,
        is_broken: false,
        end: None,
    };
    std::future::poll_fn(|context| served.poll(context)).await
}

struct Served<'a, D, F, S> {
    doorbell: PollFd<File>,
    dispatcher: Dispatcher,
    shared: Rc<Shared<D>>,
    mailbox: Arc<Mailbox>,
    handle: &'a RingHandle,
    commands: Commands<Job, F, S>,
    functions: FuturesUnordered<LocalBoxFuture<'static, ()>>,
    /// The kernel is to be woken.
    wake: bool,
    is_settled: bool,
    /// The ring is not to be touched any more.
    is_broken: bool,
    end: Option<EndReason>,
}

impl<D, F, S> Served<'_, D, F, S>
where
    D: BlockIo,
    F: Future<Output = Option<Completion>>,
    S: Fn(Request) -> F,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<EndReason> {
        self.mailbox.register(context);
        for _ in 0..ROUNDS_MAX {
            let mut moved = self.take_orders();
            moved |= self.poll_commands(context);
            moved |= self.poll_functions(context);
            moved |= self.take_from_ring(context);
            self.wake_kernel();
            if let Some(reason) = self.end
                && self.commands.is_empty()
                && self.functions.is_empty()
            {
                return Poll::Ready(reason);
            }
            if !moved && !self.poll_doorbell(context) {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Nothing more is begun; running commands go on to their ends.
    fn finish(&mut self, reason: EndReason) {
        self.end.get_or_insert(reason);
        // Whoever waits for their ends would wait for ever.
        self.dispatcher.forget_waiting();
    }

    /// What has happened to the ring; a broken one is not touched any more.
    fn check<T>(&mut self, outcome: Result<T, RingError>) -> Option<T> {
        match outcome {
            Ok(value) => Some(value),
            Err(error) => {
                self.finish(EndReason::Broken(error));
                self.is_broken = true;
                None
            }
        }
    }

    fn take_orders(&mut self) -> bool {
        let orders = self.mailbox.take();
        let moved = !orders.is_empty();
        for order in orders {
            match order {
                // The kernel waits for their answers: they go on, and are waited for. What has not
                // begun counts as having come later.
                Order::AbortTasks { units, token } => {
                    if self.shared.target.luns_of(&units).contains(&self.shared.lun) {
                        self.commands.tags_mut().for_each(|job| job.hold(token.clone()));
                    }
                }
                Order::Close => self.finish(EndReason::Stopped),
                // The kernel's initiators have no session with us that could be ended or told.
                Order::RequestLogout { .. } | Order::ReportEvent { .. } => {}
            }
        }
        moved
    }

    fn poll_commands(&mut self, context: &mut Context<'_>) -> bool {
        let mut moved = false;
        while let Some((job, completion)) = self.commands.poll_ended(context) {
            self.answer(job, completion);
            moved = true;
        }
        moved
    }

    fn answer(&mut self, job: Job, completion: Option<Completion>) {
        if !self.is_broken {
            let answered = self.dispatcher.finish(job, completion, &self.shared.buffers);
            self.check(answered);
        }
    }

    fn poll_functions(&mut self, context: &mut Context<'_>) -> bool {
        let mut moved = false;
        while !self.functions.is_empty()
            && let Poll::Ready(Some(())) = self.functions.poll_next_unpin(context)
        {
            moved = true;
        }
        moved
    }

    /// Looks at what the kernel has put in, and begins what there is room for.
    fn take_from_ring(&mut self, context: &mut Context<'_>) -> bool {
        let mut moved = false;
        for _ in 0..COMMANDS_PER_RING_TURN {
            if !self.step(context) {
                break;
            }
            moved = true;
        }
        if !self.is_settled && self.dispatcher.is_settled() {
            self.is_settled = true;
            self.handle.set_settled();
        }
        moved
    }

    /// What is behind a reset waits until the unit is reset: the kernel answers the reset when it has
    /// the answers of the commands that were before it, and does not wait for us.
    fn step(&mut self, context: &mut Context<'_>) -> bool {
        if self.end.is_some() {
            return false;
        }
        let may_fetch = !self.is_settled || self.functions.is_empty();
        let Shared { target, buffers, .. } = &*self.shared;
        let read_now = |request: &Request, room: &mut [u8]| target.read_now(request, room);
        let step = self.dispatcher.step(may_fetch, buffers, read_now);
        match self.check(step) {
            Some(Step::Begun(job, request)) => {
                if let Some((job, completion)) = self.commands.begin(job, request, context) {
                    self.answer(job, completion);
                }
            }
            Some(Step::Function(function)) => self.manage(function),
            Some(Step::Answered | Step::Waits) => {}
            Some(Step::Nothing) | None => return false,
        }
        true
    }

    /// The commands that are named go on to their answers; then the unit is reset, where that is asked
    /// for. What only ends commands asks nothing of the command set.
    fn manage(&mut self, function: TaskManagement) {
        self.dispatcher.counters().function();
        let (token, ended) = end_token();
        let named = |job: &&mut Job| function.identifiers.contains(&job.identifier());
        self.commands.tags_mut().filter(named).for_each(|job| job.hold(token.clone()));
        self.dispatcher.hold_aborted(&function, &token);
        if !resets_unit(function.function) {
            return;
        }
        let Shared { target, nexus, lun, .. } = &*self.shared;
        target.abort_tasks_of_others(*nexus, &target.numbers(Some(*lun)), &token);
        let shared = Rc::clone(&self.shared);
        drop(token);
        self.functions.push(Box::pin(async move {
            ended.await;
            let Shared { target, nexus, lun, .. } = &*shared;
            // The kernel has its own answer to the function.
            target.task_management(*nexus, *lun, TaskManagementFunction::LogicalUnitReset).await;
        }));
    }

    fn wake_kernel(&mut self) {
        self.wake |= self.dispatcher.take_wake();
        if !self.wake {
            return;
        }
        match write(&*self.doorbell, &[0; DOORBELL_BYTES]) {
            Err(Errno::INTR) => return,
            // Who has not read so many wake-ups will look at the ring when it reads one.
            Ok(_) | Err(Errno::WOULDBLOCK) => {}
            Err(error) => self.finish(EndReason::Doorbell(error.kind())),
        }
        self.wake = false;
    }

    /// Whether the kernel has put something in since it was last asked. If not, the task is woken
    /// when it does.
    fn poll_doorbell(&mut self, context: &mut Context<'_>) -> bool {
        if self.end.is_some() {
            return false;
        }
        match self.doorbell.poll_read_ready(context) {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => {
                self.finish(EndReason::Doorbell(error.kind()));
                return true;
            }
        }
        match read(&*self.doorbell, &mut [0; DOORBELL_BYTES]) {
            Ok(0) => self.finish(EndReason::Doorbell(io::ErrorKind::UnexpectedEof)),
            Ok(_) | Err(Errno::WOULDBLOCK | Errno::INTR) => {}
            Err(error) => self.finish(EndReason::Doorbell(error.kind())),
        }
        true
    }
}

/// LOGICAL UNIT RESET, and the resets of a target: of it the ring has one unit.
fn resets_unit(function: u8) -> bool {
    matches!(function, 5..=7)
}

fn set_nonblocking(descriptor: &OwnedFd) -> io::Result<()> {
    Ok(fcntl_setfl(descriptor, fcntl_getfl(descriptor)? | OFlags::NONBLOCK)?)
}
