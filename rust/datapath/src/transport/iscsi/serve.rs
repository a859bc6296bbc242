//! The loop around a session: the only file here with a socket. It holds no rules of the protocol.
//!
//! One task a connection. Each round takes orders, outcomes and bytes, starts commands, and sends all
//! that came of it with one call.
//!
//! The socket is used by readiness: calls do not block, the runtime only waits. So bytes go straight
//! into whichever buffer they belong to, and nothing is in flight when the connection is dropped.

use std::future::Future;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use compio::runtime::fd::PollFd;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, Stream};
use tokio::sync::oneshot;

use crate::block_io::BlockIo;
use crate::limits::RECEIVE_BYTES;
use crate::scsi::buffers::BufferPool;
use crate::scsi::nexus::{Mailbox, Order};
use crate::scsi::slow_path::{FunctionAnswer, TaskManagementFunction};
use crate::scsi::{Completion, NexusId, Request, Target};

use crate::transport::running::Commands;

use super::handle::{EndReason, SessionHandle};
use super::receive::GATHER_BYTES;
use super::session::{Action, OfUnits, PendingFunction, Session};
use super::text::{TextAnswer, TextNegotiator};

/// How often silence is looked at.
const TICK: Duration = Duration::from_secs(5);
/// Parts of PDUs sent by one call: some 64 PDUs; more would cost each call more to set up.
const SLICES: usize = 128;
/// After a long segment the next receive reads no more than this beside it, so that of the next long
/// segment little has to be copied.
const AFTER_LONG_SEGMENT_BYTES: usize = 4 << 10;
/// Rounds before other sessions of the thread get their turn.
const ROUNDS_MAX: usize = 16;

/// What the commands of a session share.
struct Shared<D> {
    target: Arc<Target<D>>,
    buffers: BufferPool,
    nexus: NexusId,
}

/// Serves a connection until it ends; every command has ended when this returns.
pub(crate) async fn serve<D: BlockIo>(
    socket: TcpStream,
    session: Session,
    target: Arc<Target<D>>,
    negotiator: Arc<dyn TextNegotiator>,
    handle: &SessionHandle,
    received: BytesMut,
) -> EndReason {
    let shared = Rc::new(Shared { target, buffers: BufferPool::default(), nexus: handle.nexus() });
    let starting = Rc::clone(&shared);
    let start = move |request: Request| {
        let shared = Rc::clone(&starting);
        async move { shared.target.execute(request, &shared.buffers).await }
    };
    let poll_fd = match socket.set_nonblocking(true).and_then(|()| PollFd::new(socket)) {
        Ok(poll_fd) => poll_fd,
        Err(error) => return EndReason::Socket(error.kind()),
    };
    let mut connection = Connection {
        socket: Some(poll_fd),
        session,
        shared,
        mailbox: Arc::clone(handle.mailbox()),
        commands: Commands::new(start),
        functions: FuturesUnordered::new(),
        negotiator,
        text: None,
        input: received,
        receive_bytes: RECEIVE_BYTES,
        readable: false,
        writable: true,
        closing: None,
        timer: Box::pin(compio::runtime::time::sleep(TICK)),
        started: Instant::now(),
        end: None,
    };
    std::future::poll_fn(|context| connection.poll(context)).await
}

/// How a task management function ended.
struct FunctionOutcome {
    task_tag: u32,
    immediate: bool,
    function: TaskManagementFunction,
    answer: Option<FunctionAnswer>,
}

struct Connection<D, F, S> {
    /// Gone once the connection is to end.
    socket: Option<PollFd<TcpStream>>,
    session: Session,
    shared: Rc<Shared<D>>,
    mailbox: Arc<Mailbox>,
    commands: Commands<u32, F, S>,
    functions: FuturesUnordered<LocalBoxFuture<'static, FunctionOutcome>>,
    negotiator: Arc<dyn TextNegotiator>,
    /// The text request that is being decided on.
    text: Option<oneshot::Receiver<TextAnswer>>,
    input: BytesMut,
    receive_bytes: usize,
    /// The socket may have more to give than was taken.
    readable: bool,
    /// The socket took all that it was given.
    writable: bool,
    /// Why it is to end once everything is sent.
    closing: Option<EndReason>,
    timer: Pin<Box<dyn Future<Output = ()>>>,
    started: Instant,
    end: Option<EndReason>,
}

impl<D, F, S> Connection<D, F, S>
where
    D: BlockIo,
    F: Future<Output = Option<Completion>>,
    S: Fn(Request) -> F,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<EndReason> {
        self.mailbox.register(context);
        self.poll_timer(context);
        for _ in 0..ROUNDS_MAX {
            let mut moved = self.take_orders();
            moved |= self.poll_running(context);
            moved |= self.poll_functions(context);
            moved |= self.poll_text(context);
            moved |= self.receive(context);
            moved |= self.act(context);
            moved |= self.send(context);
            if let Some(reason) = self.end
                && self.commands.is_empty()
                && self.functions.is_empty()
            {
                return Poll::Ready(reason);
            }
            if !moved {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// The connection is over: the peer sees it at once, running commands go on to their ends.
    fn finish(&mut self, reason: EndReason) {
        self.end.get_or_insert(reason);
        if let Some(socket) = self.socket.take() {
            // A wait that the runtime still has to cancel keeps the descriptor open; the peer need
            // not wait for that. There is nothing to be done where the connection is gone already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn poll_timer(&mut self, context: &mut Context<'_>) {
        while self.timer.as_mut().poll(context).is_ready() {
            self.timer = Box::pin(compio::runtime::time::sleep(TICK));
            if let Err(violation) = self.session.handle_tick(self.started.elapsed().as_secs()) {
                self.finish(violation.into());
            }
        }
    }

    fn take_orders(&mut self) -> bool {
        let orders = self.mailbox.take();
        let moved = !orders.is_empty();
        for order in orders {
            match order {
                Order::AbortTasks { units, token } => {
                    let luns = self.shared.target.luns_of(&units);
                    self.session.abort_tasks(&luns, None, &token);
                }
                Order::Close => self.finish(EndReason::Closed),
                Order::RequestLogout { within_s } => self.session.request_logout(within_s),
                Order::ReportEvent { lun, sense } => self.session.report_event(lun, &sense),
            }
        }
        moved
    }

    fn poll_running(&mut self, context: &mut Context<'_>) -> bool {
        let mut moved = false;
        while let Some((tag, outcome)) = self.commands.poll_ended(context) {
            self.session.handle_completion(tag, outcome);
            moved = true;
        }
        moved
    }

    fn poll_functions(&mut self, context: &mut Context<'_>) -> bool {
        let mut moved = false;
        while !self.functions.is_empty()
            && let Poll::Ready(Some(outcome)) = Pin::new(&mut self.functions).poll_next(context)
        {
            let FunctionOutcome { task_tag, immediate, function, answer } = outcome;
            self.session.handle_task_management(task_tag, immediate, answer);
            let complete = answer.is_some_and(|answer| answer.response == 0);
            if function == TaskManagementFunction::TargetColdReset && complete {
                self.end_all_sessions();
            }
            moved = true;
        }
        moved
    }

    fn poll_text(&mut self, context: &mut Context<'_>) -> bool {
        let Some(reply) = &mut self.text else { return false };
        let Poll::Ready(answer) = Pin::new(reply).poll(context) else { return false };
        self.text = None;
        self.session.handle_text_answer(answer.ok());
        true
    }

    /// TARGET COLD RESET ends the sessions of the target (RFC 7143, 11.5.1); this one once it has
    /// its answer.
    fn end_all_sessions(&mut self) {
        self.shared.target.close_other_sessions(self.shared.nexus);
        self.closing = Some(EndReason::Closed);
    }

    fn receive(&mut self, context: &mut Context<'_>) -> bool {
        let mut moved = false;
        if !self.input.is_empty() && self.session.wants_input() {
            let before = self.input.len();
            self.handle_input();
            moved = self.input.len() < before;
        }
        let Some(socket) = &self.socket else { return moved };
        if !self.session.wants_input() {
            return moved;
        }
        if !self.readable {
            match socket.poll_read_ready(context) {
                Poll::Pending => return moved,
                Poll::Ready(Ok(())) => self.readable = true,
                Poll::Ready(Err(error)) => {
                    self.finish(EndReason::Socket(error.kind()));
                    return true;
                }
            }
        }
        self.input.reserve(GATHER_BYTES + self.receive_bytes);
        let direct = self.session.direct_buffer();
        let is_direct = direct.is_some();
        let received = receive(socket.as_raw_fd(), direct, &mut self.input, self.receive_bytes);
        match received {
            Ok(Received { direct: 0, input: 0, .. }) => self.finish(EndReason::PeerClosed),
            Ok(received) => {
                self.readable = received.is_full;
                self.session.handle_direct(received.direct);
                self.receive_bytes = match (is_direct, received.is_full) {
                    (true, _) => AFTER_LONG_SEGMENT_BYTES,
                    (false, true) => RECEIVE_BYTES,
                    (false, false) => self.receive_bytes,
                };
                self.handle_input();
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => self.finish(EndReason::Socket(error.kind())),
        }
        true
    }

    fn handle_input(&mut self) {
        if let Err(violation) = self.session.handle_received(&mut self.input) {
            self.finish(violation.into());
        }
    }

    fn act(&mut self, context: &mut Context<'_>) -> bool {
        let mut moved = false;
        while self.end.is_none()
            && let Some(action) = self.session.poll_action()
        {
            moved = true;
            match action {
                Action::Execute(tag, request) => self.execute(tag, request, context),
                Action::TaskManagement(mut function) => {
                    if let Some(tasks) = function.of_units.take() {
                        self.abort_tasks_of_units(&tasks);
                    }
                    self.functions.push(Box::pin(manage(Rc::clone(&self.shared), function)));
                }
                Action::Text { request, begins } => {
                    let (reply, answer) = oneshot::channel();
                    self.text = Some(answer);
                    self.negotiator.submit(request, begins, reply);
                }
                Action::Close => self.closing = Some(EndReason::LoggedOut),
            }
        }
        moved
    }

    /// Ends tasks of units wherever they are; here too where a unit is at several LUNs.
    fn abort_tasks_of_units(&mut self, tasks: &OfUnits) {
        let Shared { target, nexus, .. } = &*self.shared;
        let units = target.numbers(tasks.lun);
        let luns = target.luns_of(&units);
        self.session.abort_tasks(&luns, Some(tasks.end_position), &tasks.token);
        target.abort_tasks_of_others(*nexus, &units, &tasks.token);
    }

    fn execute(&mut self, tag: u32, request: Request, context: &mut Context<'_>) {
        if let Some((tag, outcome)) = self.commands.begin(tag, request, context) {
            self.session.handle_completion(tag, outcome);
        }
    }

    fn send(&mut self, context: &mut Context<'_>) -> bool {
        let mut moved = false;
        // Ends because each round sends bytes, or returns.
        while let Some(socket) = &self.socket {
            if self.session.outbox().is_empty() {
                if let Some(reason) = self.closing {
                    self.finish(reason);
                    return true;
                }
                break;
            }
            if !self.writable {
                match socket.poll_write_ready(context) {
                    Poll::Pending => break,
                    Poll::Ready(Ok(())) => self.writable = true,
                    Poll::Ready(Err(error)) => {
                        self.finish(EndReason::Socket(error.kind()));
                        return true;
                    }
                }
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.session.outbox().gather(&mut slices);
            match send(socket.as_raw_fd(), &slices[..count]) {
                Ok(length) => {
                    self.session.handle_sent(length, &self.shared.buffers);
                    moved = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.finish(EndReason::Socket(error.kind()));
                    return true;
                }
            }
        }
        moved
    }
}

/// Finishes a task management function: waits for the tasks that it ends, here and in other sessions,
/// then the command set has its say.
async fn manage<D: BlockIo>(shared: Rc<Shared<D>>, function: PendingFunction) -> FunctionOutcome {
    let PendingFunction { task_tag, immediate, function, lun, ended, .. } = function;
    ended.await;
    let answer = shared.target.task_management(shared.nexus, lun, function).await;
    FunctionOutcome { task_tag, immediate, function, answer }
}

/// What a receive brought.
struct Received {
    direct: usize,
    input: usize,
    /// Every byte of room was filled: there may be more.
    is_full: bool,
}

/// Receives into the direct buffer first, the rest into `input`; appends to both.
fn receive(
    socket: RawFd,
    direct: Option<(&mut BytesMut, usize)>,
    input: &mut BytesMut,
    input_room: usize,
) -> io::Result<Received> {
    let mut nothing = BytesMut::new();
    let (direct, wanted) = direct.unwrap_or((&mut nothing, 0));
    let direct_room = wanted.min(direct.capacity() - direct.len());
    let input_room = if direct_room < wanted { 0 } else { input_room };
    let mut slices = [
        io_slice(&mut direct.spare_capacity_mut()[..direct_room]),
        io_slice(&mut input.spare_capacity_mut()[..input_room]),
    ];
    // SAFETY: both slices are spare capacity of buffers that are borrowed exclusively until the call
    // returns; the kernel writes at most their lengths.
    let received = unsafe { libc::readv(socket, slices.as_mut_ptr(), slices.len() as libc::c_int) };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    let direct_length = received.min(direct_room);
    let input_length = received - direct_length;
    // SAFETY: readv has initialised the first `received` bytes of the slices, in their order, and
    // neither share is longer than its slice.
    unsafe {
        direct.advance_mut(direct_length);
        input.advance_mut(input_length);
    }
    let is_full = received == direct_room + input_room;
    Ok(Received { direct: direct_length, input: input_length, is_full })
}

fn io_slice(room: &mut [MaybeUninit<u8>]) -> libc::iovec {
    libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() }
}

/// Sends what the socket takes of `slices`.
fn send(socket: RawFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: all zeros is a valid msghdr: no address, no control data, no flags.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = slices.as_ptr().cast_mut().cast();
    message.msg_iovlen = slices.len() as _;
    // SAFETY: IoSlice has the layout of iovec, by its documentation; the slices and what they refer
    // to live until the call returns, and the kernel only reads them.
    let sent = unsafe { libc::sendmsg(socket, &message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}
