//! Task management, orders from outside, logout, NOP.

use std::cmp::Reverse;

use bytes::Bytes;

use crate::limits::{IMMEDIATE_COMMANDS_MAX, OUTBOX_BYTES_MAX, PEER_GONE_AFTER_S, PING_AFTER_S};
use crate::scsi::nexus::{EndToken, end_token};
use crate::scsi::slow_path::TaskManagementFunction;

use super::super::pdu::initiator::{LogoutRequest, NopOut, TaskManagementRequest};
use super::super::pdu::target::{
    AsyncMessage, LogoutResponse, NopIn, RejectReason, TargetPdu, TaskManagementResponse, encode,
};
use super::super::pdu::{Bhs, NO_TAG, word};
use super::super::receive::Pdu;
use super::super::task::{Phase, Task};
use super::super::window::{Turn, is_before};
use super::{Action, Held, OfUnits, PendingFunction, Session, Violation};

/// Response codes of task management (RFC 7143, 11.6.1).
const FUNCTION_COMPLETE: u8 = 0;
const TASK_DOES_NOT_EXIST: u8 = 1;
const REASSIGNMENT_NOT_SUPPORTED: u8 = 4;
const FUNCTION_NOT_SUPPORTED: u8 = 5;
const FUNCTION_REJECTED: u8 = 255;

/// Asynchronous events (11.9.1).
const SCSI_EVENT: u8 = 0;
const LOGOUT_REQUESTED: u8 = 1;

/// Whether the initiator is still there.
#[derive(Debug, Default)]
pub(super) struct Keepalive {
    heard: bool,
    last_heard_s: u64,
    pinged: bool,
}

impl Keepalive {
    pub(super) fn heard(&mut self) {
        self.heard = true;
    }
}

impl Session {
    pub(super) fn on_task_management(&mut self, request: TaskManagementRequest, bhs: &Bhs) {
        if request.immediate && self.immediate_in_progress >= IMMEDIATE_COMMANDS_MAX {
            return self.reject(RejectReason::TooManyImmediate, bhs);
        }
        match self.take_turn(request.immediate, request.cmd_sn) {
            Turn::Never => {}
            Turn::Now => self.start_task_management(&request),
            Turn::Later => self.window.hold(request.cmd_sn, Held::TaskManagement(request)),
        }
    }

    /// A function that is not among those of RFC 7143; others need a protocol level that login does
    /// not offer.
    pub(super) fn on_unknown_function(&mut self, bhs: &Bhs) {
        if self.pass_turn(bhs) {
            let (response, task_tag) = (FUNCTION_NOT_SUPPORTED, word(bhs, 16));
            let pdu = TargetPdu::TaskManagement(TaskManagementResponse { response, task_tag });
            self.push_status(&pdu, Bytes::new());
        }
    }

    pub(super) fn start_task_management(&mut self, request: &TaskManagementRequest) {
        use TaskManagementFunction::{
            AbortTask, AbortTaskSet, ClearAca, ClearTaskSet, LogicalUnitReset, TargetColdReset,
            TargetWarmReset, TaskReassign,
        };
        self.counters.task_management.add(1);
        match request.immediate {
            true => self.immediate_in_progress += 1,
            false => self.window.begin(),
        }
        let (token, ended) = end_token();
        let lun = request.lun;
        let end_position = self.admitted_count;
        let of_units = match request.function {
            TaskReassign => return self.finish_function(request, REASSIGNMENT_NOT_SUPPORTED),
            AbortTask => match self.abort_one(request, &token) {
                FUNCTION_COMPLETE => None,
                response => return self.finish_function(request, response),
            },
            // Each I_T nexus has its own task set (TST 001b), so both mean the same.
            AbortTaskSet | ClearTaskSet => {
                self.abort_older_tasks(Some(lun), request.cmd_sn, &token);
                None
            }
            ClearAca => None,
            LogicalUnitReset => {
                self.abort_older_tasks(Some(lun), request.cmd_sn, &token);
                Some(OfUnits { lun: Some(lun), end_position, token })
            }
            TargetWarmReset | TargetColdReset => {
                self.abort_older_tasks(None, request.cmd_sn, &token);
                Some(OfUnits { lun: None, end_position, token })
            }
        };
        self.actions.push_back(Action::TaskManagement(PendingFunction {
            task_tag: request.task_tag,
            immediate: request.immediate,
            function: request.function,
            lun,
            ended,
            of_units,
        }));
    }

    /// ABORT TASK. A task that is not there but whose command is missing before this function counts
    /// as received and aborted (RFC 7143, 11.6.1).
    fn abort_one(&mut self, request: &TaskManagementRequest, token: &EndToken) -> u8 {
        let tag = request.referenced_task_tag;
        if self.tasks.get(&tag).is_some_and(|task| task.lun == request.lun) {
            self.abort(tag, token);
            return FUNCTION_COMPLETE;
        }
        let missing = request.referenced_cmd_sn;
        if self.window.is_missing_before(missing, request.cmd_sn) {
            self.window.hold(missing, Held::Nothing);
            self.release_held();
            return FUNCTION_COMPLETE;
        }
        TASK_DOES_NOT_EXIST
    }

    /// Ends the tasks at `lun` (`None`: at every unit) that a function numbered `cmd_sn` finds, also
    /// those whose turn has not come.
    fn abort_older_tasks(&mut self, lun: Option<u64>, cmd_sn: u32, token: &EndToken) {
        let is_older = |task: &Task| task.admitted || is_before(task.cmd_sn, cmd_sn);
        self.abort_where(|task| lun.is_none_or(|lun| lun == task.lun) && is_older(task), token);
    }

    /// Ends every task at these LUNs, without status; `end_position` leaves out those admitted from
    /// there on, or not yet. Those that run end when their outcome comes; until then they hold
    /// `token`.
    pub fn abort_tasks(&mut self, luns: &[u64], end_position: Option<u64>, token: &EndToken) {
        let is_before_end =
            |task: &Task| end_position.is_none_or(|end| task.admitted && task.position < end);
        self.abort_where(|task| luns.contains(&task.lun) && is_before_end(task), token);
    }

    fn abort_where(&mut self, is_meant: impl Fn(&Task) -> bool, token: &EndToken) {
        let meant = self.tasks.iter().filter(|(_, task)| is_meant(task));
        let mut meant: Vec<_> =
            meant.map(|(tag, task)| (!task.dormant, Reverse(task.position), *tag)).collect();
        // Dormant tasks first, from the youngest on: so none is enabled only to be ended.
        meant.sort_unstable();
        meant.into_iter().for_each(|(.., tag)| self.abort(tag, token));
    }

    fn abort(&mut self, tag: u32, token: &EndToken) {
        let Some(task) = self.tasks.get_mut(&tag) else { return };
        match task.phase {
            Phase::Running | Phase::Aborted => {
                task.phase = Phase::Aborted;
                task.tokens.push(token.clone());
            }
            Phase::Collecting | Phase::Ready => {
                self.end_task(tag);
                self.counters.commands.add(1);
                self.counters.aborted.add(1);
            }
        }
    }

    fn finish_function(&mut self, request: &TaskManagementRequest, response: u8) {
        self.respond_to_function(request.task_tag, request.immediate, response);
    }

    /// The function's tasks have ended and the command set has answered.
    pub fn handle_task_management(&mut self, task_tag: u32, immediate: bool, code: Option<u8>) {
        self.respond_to_function(task_tag, immediate, code.unwrap_or(FUNCTION_REJECTED));
    }

    fn respond_to_function(&mut self, task_tag: u32, immediate: bool, response: u8) {
        match immediate {
            true => self.immediate_in_progress -= 1,
            false => self.window.end(),
        }
        let pdu = TargetPdu::TaskManagement(TaskManagementResponse { response, task_tag });
        self.push_status(&pdu, Bytes::new());
    }

    pub(super) fn on_logout(&mut self, request: LogoutRequest, bhs: &Bhs) {
        if request.reason > 2 {
            return self.refuse(RejectReason::InvalidField, bhs);
        }
        match self.take_turn(request.immediate, request.cmd_sn) {
            Turn::Never => {}
            Turn::Now => self.start_logout(request),
            Turn::Later => self.window.hold(request.cmd_sn, Held::Logout(request)),
        }
    }

    pub(super) fn start_logout(&mut self, request: LogoutRequest) {
        let response = match request.reason {
            0 => None,
            1 if request.connection_id == self.parameters.connection_id => None,
            1 => Some(1),
            _ => Some(2),
        };
        if let Some(response) = response {
            let pdu = LogoutResponse { response, task_tag: request.task_tag };
            return self.push_status(&TargetPdu::Logout(pdu), Bytes::new());
        }
        // What runs may still answer; what waits for data or for its turn will not get it.
        self.logout = Some(request);
        let (token, _ended) = end_token();
        self.abort_where(|task| matches!(task.phase, Phase::Collecting | Phase::Ready), &token);
        self.logout_if_idle();
    }

    /// Answers a logout once every task has ended.
    pub(super) fn logout_if_idle(&mut self) {
        if self.closing || !self.tasks.is_empty() {
            return;
        }
        let Some(request) = &self.logout else { return };
        let pdu = LogoutResponse { response: 0, task_tag: request.task_tag };
        self.push_status(&TargetPdu::Logout(pdu), Bytes::new());
        self.closing = true;
        self.actions.push_back(Action::Close);
    }

    pub(super) fn on_nop_out(&mut self, nop: NopOut, pdu: Pdu) -> Result<(), Violation> {
        // Without a task tag it wants no answer and takes no CmdSN (RFC 7143, 11.18.1).
        if nop.task_tag == NO_TAG {
            return Ok(());
        }
        match self.take_turn(nop.immediate, nop.cmd_sn) {
            Turn::Never => {}
            Turn::Now => self.answer_nop(&nop, pdu.data),
            Turn::Later => {
                let length = pdu.data.len();
                self.hold_with_data(nop.cmd_sn, Held::NopOut(nop, pdu.data), length)?;
            }
        }
        Ok(())
    }

    /// Ping data comes back, as much of it as the initiator takes.
    pub(super) fn answer_nop(&mut self, nop: &NopOut, mut data: Bytes) {
        data.truncate(self.parameters.max_send_segment_bytes as usize);
        let pdu = NopIn { lun: nop.lun, task_tag: nop.task_tag, transfer_tag: NO_TAG };
        self.push_status(&TargetPdu::NopIn(pdu), data);
    }

    /// Time has passed; `now_s` counts seconds from any point. Pings a silent initiator, and gives up
    /// one that stays silent.
    pub fn handle_tick(&mut self, now_s: u64) -> Result<(), Violation> {
        let alive = &mut self.keepalive;
        if std::mem::take(&mut alive.heard) {
            (alive.last_heard_s, alive.pinged) = (now_s, false);
            return Ok(());
        }
        let silent_s = now_s.saturating_sub(alive.last_heard_s);
        if silent_s >= PING_AFTER_S + PEER_GONE_AFTER_S {
            return Err(Violation::Silent);
        }
        if silent_s >= PING_AFTER_S && !alive.pinged && !self.closing {
            alive.pinged = true;
            let transfer_tag = self.next_transfer_tag;
            self.next_transfer_tag = (self.next_transfer_tag + 1) % NO_TAG;
            self.push(&TargetPdu::NopIn(NopIn { lun: 0, task_tag: NO_TAG, transfer_tag }));
        }
        Ok(())
    }

    /// Asks the initiator to log out (RFC 7143, 11.9.1: it has Parameter3 seconds for it).
    pub fn request_logout(&mut self, within_s: u16) {
        self.send_event(0, LOGOUT_REQUESTED, [0, 0, within_s], Bytes::new());
    }

    /// Reports a SCSI asynchronous event with its sense data; not to a peer that leaves its answers
    /// unread.
    pub fn report_event(&mut self, lun: u64, sense: &Bytes) {
        if self.outbox.bytes() >= OUTBOX_BYTES_MAX {
            return;
        }
        let segment = [&(sense.len() as u16).to_be_bytes()[..], sense].concat();
        self.send_event(lun, SCSI_EVENT, [0; 3], segment.into());
    }

    fn send_event(&mut self, lun: u64, event: u8, parameters: [u16; 3], data: Bytes) {
        if !self.closing {
            let pdu = AsyncMessage { lun, event, vendor_code: 0, parameters };
            let bhs = encode(&TargetPdu::AsyncMessage(pdu), self.numbers());
            self.outbox.push(bhs, data);
            self.stat_sn = self.stat_sn.wrapping_add(1);
        }
    }
}
