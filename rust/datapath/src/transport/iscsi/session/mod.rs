//! The full-feature phase of one session, sans-IO.
//!
//! In: bytes ([`Session::handle_received`]), outcomes of commands, orders, the passing of time. Out:
//! actions ([`Session::poll_action`]) and bytes (the [`Outbox`]). Invariants:
//!
//! - A task is in the table from its command's PDU until its response is queued, or until it has
//!   ended without one. Its tag is not taken again before.
//! - An aborted task sends nothing, and holds the tokens of who waits until it has ended.
//! - What a peer can make the session hold is bounded by `limits`: tasks by the window, Data-Out by a
//!   budget that R2Ts wait for, Data-In by a budget that commands wait for, answers by not reading
//!   from a peer that does not read.

mod commands;
mod data_out;
mod management;
mod negotiation;
mod responses;
mod task_management;
mod task_set;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use crate::limits::{DATA_IN_BYTES_PER_SESSION_MAX, OUTBOX_BYTES_MAX, TEXT_BYTES_MAX};
use crate::scsi::buffers::BufferPool;
use crate::scsi::nexus::{EndToken, Ended};
use crate::scsi::slow_path::TaskManagementFunction;
use crate::scsi::{NexusId, Request};

use super::counters::SessionCounters;
use super::outbox::Outbox;
use super::parameters::SessionParameters;
use super::pdu::Bhs;
use super::pdu::initiator::{
    InitiatorPdu, LogoutRequest, Malformed, NopOut, TaskManagementRequest, TextRequest, decode,
};
use super::pdu::target::{RejectReason, TargetNumbers};
use super::receive::{Pdu, Receiver, Step};
use super::task::{Phase, Task};
use super::window::{CommandWindow, Turn};

use data_out::Inbound;
use management::Keepalive;
use negotiation::TextExchange;
use task_set::TaskSets;

/// What a peer did that leaves the stream, or the session, unusable. It ends the connection.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Violation {
    /// A header digest did not match: where the next PDU begins is unknown (RFC 7143, 7.7).
    #[error("a header digest does not match")]
    HeaderDigest,
    /// A data segment longer than we said we take.
    #[error("a data segment is longer than MaxRecvDataSegmentLength")]
    SegmentTooLong,
    /// An operation code that no initiator sends: this is no iSCSI stream any more.
    #[error("no initiator sends such an operation code")]
    Opcode,
    /// More data held for a PDU whose turn has not come than there is room for.
    #[error("too much data before its turn")]
    HeldTooMuch,
    /// Neither an answer to a ping nor any other PDU came in time.
    #[error("the initiator has gone silent")]
    Silent,
}

/// What the session asks of the loop around it.
#[derive(Debug)]
pub enum Action {
    /// Execute a command, then call `handle_completion` with this tag.
    Execute(u32, Request),
    /// Wait for tasks to end, finish the function, then call `handle_task_management`.
    TaskManagement(PendingFunction),
    /// Have a text request decided on, then call `handle_text_answer`; no other is given out before.
    Text {
        /// Its text.
        request: Bytes,
        /// It is the first of an exchange.
        begins: bool,
    },
    /// The initiator has logged out: close once the outbox is empty.
    Close,
}

/// A task management function whose tasks are ending.
#[derive(Debug)]
pub struct PendingFunction {
    /// Initiator Task Tag of the function.
    pub task_tag: u32,
    /// Delivered outside the command window.
    pub immediate: bool,
    /// The function.
    pub function: TaskManagementFunction,
    /// The eight LUN bytes.
    pub lun: u64,
    /// Resolves when the tasks have ended.
    pub ended: Ended,
    /// Set where tasks have to end that this session cannot tell: those of other sessions.
    pub of_units: Option<OfUnits>,
}

/// Tasks of logical units, in every session.
#[derive(Debug)]
pub struct OfUnits {
    /// The eight LUN bytes of the unit; `None` for every unit of the target.
    pub lun: Option<u64>,
    /// Tasks of this session admitted from here on came after the function.
    pub end_position: u64,
    /// Kept by each of the tasks until it has ended.
    pub token: EndToken,
}

/// A numbered PDU that waits for its turn.
#[derive(Debug)]
enum Held {
    /// A task in the table.
    Command(u32),
    TaskManagement(TaskManagementRequest),
    Text(TextRequest, Bytes),
    Logout(LogoutRequest),
    NopOut(NopOut, Bytes),
    /// It was rejected, or given up by ABORT TASK: its turn passes.
    Nothing,
}

/// Tags are few and bounded; they need spreading, not secrecy.
#[derive(Default)]
struct TagHasher(u64);

impl Hasher for TagHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, tag: u32) {
        self.0 = (self.0 ^ u64::from(tag)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_right(29);
    }
}

type TagMap<T> = HashMap<u32, T, BuildHasherDefault<TagHasher>>;

/// How many bytes of Data-Out to solicit for a command at a LUN.
pub type DataOutToSolicit = Box<dyn Fn(u64, &[u8]) -> u32>;

/// A session in full-feature phase.
pub struct Session {
    nexus: NexusId,
    data_out_to_solicit: DataOutToSolicit,
    parameters: SessionParameters,
    receiver: Receiver,
    window: CommandWindow<Held>,
    stat_sn: u32,
    tasks: TagMap<Task>,
    /// Tags of tasks that are `Ready`, in order.
    ready: VecDeque<u32>,
    /// Tags of tasks whose R2Ts wait for room, in order.
    waiting_for_room: VecDeque<u32>,
    immediate_in_progress: u32,
    task_sets: TaskSets,
    /// Tasks that were given room for all of their Data-Out.
    granted_count: u32,
    /// Tasks whose turn has come so far.
    admitted_count: u64,
    data_out_bytes: u64,
    data_in_bytes: u64,
    /// The Data-Out PDU that is coming in.
    inbound: Option<Inbound>,
    next_transfer_tag: u32,
    actions: VecDeque<Action>,
    outbox: Outbox,
    text: TextExchange,
    logout: Option<LogoutRequest>,
    closing: bool,
    keepalive: Keepalive,
    counters: Arc<SessionCounters>,
}

impl Session {
    /// A session at the start of its full-feature phase.
    pub fn new(
        nexus: NexusId,
        parameters: SessionParameters,
        data_out_to_solicit: DataOutToSolicit,
        counters: Arc<SessionCounters>,
    ) -> Self {
        let (header_digest, data_digest) = (parameters.header_digest, parameters.data_digest);
        Self {
            nexus,
            data_out_to_solicit,
            receiver: Receiver::new(
                header_digest,
                data_digest,
                parameters.max_receive_segment_bytes,
            ),
            window: CommandWindow::new(parameters.cmd_sn),
            stat_sn: parameters.stat_sn,
            tasks: TagMap::default(),
            ready: VecDeque::new(),
            waiting_for_room: VecDeque::new(),
            immediate_in_progress: 0,
            task_sets: TaskSets::default(),
            granted_count: 0,
            admitted_count: 0,
            data_out_bytes: 0,
            data_in_bytes: 0,
            inbound: None,
            next_transfer_tag: 0,
            actions: VecDeque::new(),
            outbox: Outbox::new(header_digest, data_digest),
            text: TextExchange::default(),
            logout: None,
            closing: false,
            keepalive: Keepalive::default(),
            counters,
            parameters,
        }
    }

    /// Takes whole PDUs, and as much of a Data-Out as there is, from the start of `input`.
    pub fn handle_received(&mut self, input: &mut BytesMut) -> Result<(), Violation> {
        self.keepalive.heard();
        // Ends because every step but `More` takes bytes away or moves the receiver's stage on.
        while !self.closing {
            match self.receiver.step(input)? {
                Step::More => break,
                Step::Pdu(pdu) => self.handle_pdu(pdu)?,
                Step::DataOut(bhs) => self.begin_data_out(bhs),
                Step::Data(length) => self.data_out_bytes(&input.split_to(length)),
                Step::DataOutEnd(tail) => self.end_data_out(tail),
            }
        }
        Ok(())
    }

    /// Where the next bytes from the socket belong, and how many: a command's own buffer in the
    /// middle of a long segment; `None` where the receive buffer is the place. The caller appends
    /// and then calls `handle_direct`.
    pub fn direct_buffer(&mut self) -> Option<(&mut BytesMut, usize)> {
        if let Some(remaining) = self.receiver.data_out_remaining() {
            return Some((self.inbound.as_mut()?.destination(&mut self.tasks), remaining));
        }
        self.receiver.segment_buffer()
    }

    /// `length` bytes were appended to the direct buffer.
    pub fn handle_direct(&mut self, length: usize) {
        self.keepalive.heard();
        self.receiver.data_out_received(length);
    }

    /// Whether bytes may be received: not while a peer leaves its answers unread.
    pub fn wants_input(&self) -> bool {
        !self.closing && self.outbox.bytes() < OUTBOX_BYTES_MAX
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        if let Some(action) = self.actions.pop_front() {
            return Some(action);
        }
        if self.outbox.bytes() >= OUTBOX_BYTES_MAX {
            return None;
        }
        let tag = *self.ready.front()?;
        let task = self.tasks.get_mut(&tag).expect("a queued task is in the table");
        let wanted = task.data_in_wanted();
        if self.data_in_bytes > 0 && self.data_in_bytes + wanted > DATA_IN_BYTES_PER_SESSION_MAX {
            return None;
        }
        self.ready.pop_front();
        self.data_in_bytes += wanted;
        task.data_in_budget_bytes = wanted;
        task.phase = Phase::Running;
        Some(Action::Execute(tag, task.request(self.nexus)))
    }

    /// What is to be sent.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// `length` bytes of the outbox were sent.
    pub fn handle_sent(&mut self, length: usize, buffers: &BufferPool) {
        self.keepalive.heard();
        self.outbox.advance(length, buffers);
    }

    /// Everything queued, taken out as one run of bytes.
    pub fn take_output(&mut self) -> BytesMut {
        self.outbox.take_bytes()
    }

    /// Bytes held for Data-Out and Data-In, for tests of the limits.
    pub fn held_bytes(&self) -> u64 {
        self.data_out_bytes + self.data_in_bytes + self.outbox.bytes() as u64
    }

    /// Tasks that wait in a queue: to be started, or for room.
    pub fn queued_count(&self) -> usize {
        self.ready.len() + self.waiting_for_room.len()
    }

    /// Tasks in progress.
    pub fn task_count(&self) -> usize {
        self.tasks.len()
    }

    fn handle_pdu(&mut self, pdu: Pdu) -> Result<(), Violation> {
        if !pdu.data_intact {
            // RFC 7143, 7.8: the PDU is discarded, whatever it was; if it had a CmdSN, that is still
            // to come.
            self.counters.digest_errors.add(1);
            self.reject(RejectReason::DataDigest, &pdu.bhs);
            return Ok(());
        }
        match decode(&pdu.bhs) {
            Ok(InitiatorPdu::ScsiCommand(command)) => self.on_command(command, pdu),
            Ok(InitiatorPdu::NopOut(nop)) => self.on_nop_out(nop, pdu)?,
            Ok(InitiatorPdu::TaskManagement(request)) => self.on_task_management(request, &pdu.bhs),
            Ok(InitiatorPdu::Text(request)) => self.on_text(request, pdu)?,
            Ok(InitiatorPdu::Logout(request)) => self.on_logout(request, &pdu.bhs),
            Ok(InitiatorPdu::Snack) => self.reject(RejectReason::Snack, &pdu.bhs),
            // The receiver hands Data-Out over in steps of its own.
            Ok(InitiatorPdu::DataOut(_)) => {}
            Err(Malformed::Field) => self.refuse(RejectReason::InvalidField, &pdu.bhs),
            Err(Malformed::Function) => self.on_unknown_function(&pdu.bhs),
            Err(Malformed::OutOfPlace) => self.reject(RejectReason::Protocol, &pdu.bhs),
            Err(Malformed::Opcode) => return Err(Violation::Opcode),
        }
        self.release_held();
        Ok(())
    }

    /// Acts on what was held and whose turn has come.
    fn release_held(&mut self) {
        while let Some(held) = self.window.next_held() {
            match held {
                Held::Command(tag) => self.admit(tag),
                Held::TaskManagement(request) => self.start_task_management(&request),
                Held::Text(request, data) => self.start_text(request, &data),
                Held::Logout(request) => self.start_logout(request),
                Held::NopOut(nop, data) => self.answer_nop(&nop, data),
                Held::Nothing => {}
            }
        }
    }

    /// The turn of a PDU; one that is due is taken.
    fn take_turn(&mut self, immediate: bool, cmd_sn: u32) -> Turn {
        if immediate {
            return Turn::Now;
        }
        let turn = self.window.turn(cmd_sn);
        if turn == Turn::Now {
            self.window.take_turn();
        }
        turn
    }

    fn hold_with_data(&mut self, cmd_sn: u32, held: Held, length: usize) -> Result<(), Violation> {
        if length > TEXT_BYTES_MAX {
            return Err(Violation::HeldTooMuch);
        }
        self.window.hold(cmd_sn, held);
        Ok(())
    }

    /// Rejects a numbered PDU, unless it is to be ignored.
    fn refuse(&mut self, reason: RejectReason, bhs: &Bhs) {
        if self.pass_turn(bhs) {
            self.reject(reason, bhs);
        }
    }

    /// Counts the CmdSN of a PDU that is not acted on as received, so that the session goes on. Says
    /// whether it lies in the window.
    fn pass_turn(&mut self, bhs: &Bhs) -> bool {
        let (immediate, cmd_sn) = (bhs[0] & super::pdu::IMMEDIATE != 0, super::pdu::word(bhs, 24));
        let turn = self.take_turn(immediate, cmd_sn);
        if turn == Turn::Later {
            self.window.hold(cmd_sn, Held::Nothing);
        }
        turn != Turn::Never
    }

    fn numbers(&self) -> TargetNumbers {
        TargetNumbers {
            stat_sn: self.stat_sn,
            exp_cmd_sn: self.window.exp_cmd_sn(),
            max_cmd_sn: self.window.max_cmd_sn(),
        }
    }
}
