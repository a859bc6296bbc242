//! Task management functions (RFC 7143, 11.5 and 11.6, and RFC 7144).
//!
//! A function ends tasks here, where it is, and names the units whose tasks have to end in other
//! sessions. What it does beside ending tasks is the command set's, which is asked once they have.

use std::cmp::Reverse;

use bytes::Bytes;

use crate::limits::IMMEDIATE_COMMANDS_MAX;
use crate::scsi::lun::usual_form;
use crate::scsi::nexus::{EndToken, end_token};
use crate::scsi::slow_path::{FunctionAnswer, TaskManagementFunction};

use super::super::pdu::initiator::TaskManagementRequest;
use super::super::pdu::target::{RejectReason, TargetPdu, TaskManagementResponse};
use super::super::pdu::{Bhs, word};
use super::super::task::{Phase, Task};
use super::super::window::{Turn, is_before};
use super::{Action, Held, OfUnits, PendingFunction, Session};

/// Response codes of task management (RFC 7143, 11.6.1; the seventh of RFC 7144).
const FUNCTION_COMPLETE: u8 = 0;
const TASK_DOES_NOT_EXIST: u8 = 1;
const REASSIGNMENT_NOT_SUPPORTED: u8 = 4;
const FUNCTION_NOT_SUPPORTED: u8 = 5;
const FUNCTION_SUCCEEDED: u8 = 7;
const FUNCTION_REJECTED: u8 = 255;

/// From this protocol level on there are the functions of RFC 7144.
const SCSI_FEATURES_LEVEL: u8 = 2;

impl Session {
    pub(super) fn on_task_management(&mut self, mut request: TaskManagementRequest, bhs: &Bhs) {
        request.lun = usual_form(request.lun);
        if request.immediate && self.immediate_in_progress >= IMMEDIATE_COMMANDS_MAX {
            return self.reject(RejectReason::TooManyImmediate, bhs);
        }
        match self.take_turn(request.immediate, request.cmd_sn) {
            Turn::Never => {}
            Turn::Now => self.start_task_management(&request),
            Turn::Later => self.window.hold(request.cmd_sn, Held::TaskManagement(request)),
        }
    }

    /// A function that is in no RFC.
    pub(super) fn on_unknown_function(&mut self, bhs: &Bhs) {
        if self.pass_turn(bhs) {
            let (answer, task_tag) = (FUNCTION_NOT_SUPPORTED.into(), word(bhs, 16));
            let pdu = TargetPdu::TaskManagement(TaskManagementResponse { answer, task_tag });
            self.push_status(&pdu, Bytes::new());
        }
    }

    pub(super) fn start_task_management(&mut self, request: &TaskManagementRequest) {
        use TaskManagementFunction::{
            AbortTask, AbortTaskSet, ClearAca, ClearTaskSet, LogicalUnitReset, NexusReset,
            QueryAsynchronousEvent, QueryTask, QueryTaskSet, TargetColdReset, TargetWarmReset,
            TaskReassign,
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
            QueryTask | QueryTaskSet | NexusReset | QueryAsynchronousEvent
                if self.parameters.protocol_level < SCSI_FEATURES_LEVEL =>
            {
                return self.finish_function(request, FUNCTION_NOT_SUPPORTED);
            }
            QueryTask | QueryTaskSet if self.has_task(request) => {
                return self.finish_function(request, FUNCTION_SUCCEEDED);
            }
            // Where no task is found, the command set knows whether there is such a unit.
            QueryTask | QueryTaskSet | QueryAsynchronousEvent => None,
            NexusReset => {
                self.abort_older_tasks(None, request.cmd_sn, &token);
                None
            }
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

    /// Whether the task that QUERY TASK means is there, or any that QUERY TASK SET does.
    fn has_task(&self, request: &TaskManagementRequest) -> bool {
        let is_there = |task: &Task| task.lun == request.lun && task.phase != Phase::Aborted;
        match request.function {
            TaskManagementFunction::QueryTask => {
                self.tasks.get(&request.referenced_task_tag).is_some_and(is_there)
            }
            _ => self.tasks.values().any(is_there),
        }
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

    pub(super) fn abort_where(&mut self, is_meant: impl Fn(&Task) -> bool, token: &EndToken) {
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
        self.respond_to_function(request.task_tag, request.immediate, response.into());
    }

    /// The function's tasks have ended and the command set has answered.
    pub fn handle_task_management(
        &mut self,
        task_tag: u32,
        immediate: bool,
        answer: Option<FunctionAnswer>,
    ) {
        let answer = answer.unwrap_or(FUNCTION_REJECTED.into());
        self.respond_to_function(task_tag, immediate, answer);
    }

    fn respond_to_function(&mut self, task_tag: u32, immediate: bool, answer: FunctionAnswer) {
        match immediate {
            true => self.immediate_in_progress -= 1,
            false => self.window.end(),
        }
        let pdu = TargetPdu::TaskManagement(TaskManagementResponse { answer, task_tag });
        self.push_status(&pdu, Bytes::new());
    }
}
