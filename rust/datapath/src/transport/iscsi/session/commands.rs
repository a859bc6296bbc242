//! SCSI commands: arrival, admission in CmdSN order, the end of a task.

use bytes::Bytes;

use crate::limits::{IMMEDIATE_COMMANDS_MAX, TRANSFER_BYTES_MAX};
use crate::scsi::lun::usual_form;
use crate::scsi::{Cdb, Expected, ExpectedDirection, NexusId, Request, TaskAttribute};

use super::super::pdu::ahs;
use super::super::pdu::initiator::ScsiCommand;
use super::super::pdu::target::RejectReason;
use super::super::receive::Pdu;
use super::super::task::{DataOutBuffer, DeliveryFault, Phase, Task};
use super::super::window::Turn;
use super::{Held, Session};

impl Session {
    pub(super) fn on_command(&mut self, command: ScsiCommand, pdu: Pdu) {
        if self.logout.is_some() {
            return self.refuse(RejectReason::WaitingForLogout, &pdu.bhs);
        }
        if self.tasks.contains_key(&command.task_tag) {
            return self.refuse(RejectReason::TaskInProgress, &pdu.bhs);
        }
        if command.immediate && self.immediate_in_progress >= IMMEDIATE_COMMANDS_MAX {
            return self.reject(RejectReason::TooManyImmediate, &pdu.bhs);
        }
        // Bidirectional commands are not offered; none is in the command set. Both bits may be set
        // where one of the two lengths is zero (RFC 7143, 11.3.1).
        let Some(headers) = ahs::decode(&pdu.ahs)
            .filter(|headers| headers.bidirectional_read_bytes.is_none_or(|bytes| bytes == 0))
        else {
            return self.refuse(RejectReason::InvalidField, &pdu.bhs);
        };
        let turn = self.take_turn(command.immediate, command.cmd_sn);
        if turn == Turn::Never {
            return;
        }
        let cdb = match headers.extended_cdb.is_empty() {
            true => Cdb::Fixed(command.cdb),
            false => Cdb::Long([&command.cdb[..], &headers.extended_cdb].concat().into()),
        };
        let tag = command.task_tag;
        let cmd_sn = command.cmd_sn;
        let task = self.task(command, cdb, pdu.data);
        self.data_out_bytes += task.data_out.budget_bytes;
        self.tasks.insert(tag, task);
        match turn {
            Turn::Now => self.admit(tag),
            Turn::Later | Turn::Never => self.window.hold(cmd_sn, Held::Command(tag)),
        }
    }

    fn task(&mut self, command: ScsiCommand, cdb: Cdb, data: Bytes) -> Task {
        let fault = self.immediate_data_fault(&command, data.len());
        let data = if fault.is_some() { Bytes::new() } else { data };
        let expected = expected(&command);
        let wanted_bytes = match expected.direction {
            ExpectedDirection::Out => expected.bytes,
            _ => 0,
        };
        // A sequence that was not agreed to is not waited for.
        let unsolicited_open = command.write && !command.last && !self.parameters.initial_r2t;
        let mut data_out = DataOutBuffer::new(data, unsolicited_open);
        let unasked = match unsolicited_open {
            true => self.parameters.first_burst_bytes.min(expected.bytes),
            false => data_out.received_bytes,
        };
        data_out.budget_bytes = u64::from(unasked);
        if command.immediate {
            self.immediate_in_progress += 1;
        }
        Task {
            phase: Phase::Collecting,
            lun: usual_form(command.lun),
            lun_as_sent: command.lun,
            cdb,
            attribute: command.attribute,
            expected,
            wanted_bytes,
            immediate: command.immediate,
            cmd_sn: command.cmd_sn,
            admitted: false,
            position: 0,
            dormant: false,
            data_out,
            fault,
            data_in_budget_bytes: 0,
            tokens: Vec::new(),
        }
    }

    fn immediate_data_fault(&self, command: &ScsiCommand, length: usize) -> Option<DeliveryFault> {
        let unsolicited_follows = command.write && !command.last;
        if unsolicited_follows && self.parameters.initial_r2t {
            return Some(DeliveryFault::UnexpectedUnsolicited);
        }
        if length == 0 {
            return None;
        }
        if !command.write || !self.parameters.immediate_data {
            return Some(DeliveryFault::UnexpectedUnsolicited);
        }
        let room = self.parameters.first_burst_bytes.min(command.expected_bytes);
        (length > room as usize).then_some(DeliveryFault::IncorrectAmount)
    }

    /// The turn of a task's CmdSN has come.
    pub(super) fn admit(&mut self, tag: u32) {
        // A held task may have been aborted: then only its turn passes.
        let Some(task) = self.tasks.get_mut(&tag) else { return };
        task.admitted = true;
        task.position = self.admitted_count;
        self.admitted_count += 1;
        let is_simple = matches!(task.attribute, TaskAttribute::Simple | TaskAttribute::Untagged);
        if !task.immediate {
            self.window.begin();
        }
        if !is_simple || !self.task_sets.is_empty() {
            self.enter_task_set(tag);
        }
        self.progress(tag);
    }

    /// Takes a task out of the table and gives back what it held.
    pub(super) fn end_task(&mut self, tag: u32) -> Option<Task> {
        let task = self.tasks.remove(&tag)?;
        match (task.immediate, task.admitted) {
            (true, _) => self.immediate_in_progress -= 1,
            (false, true) => self.window.end(),
            (false, false) => {}
        }
        // Only tasks that are given up wait in a queue still; a peer may give up any number.
        match task.phase {
            Phase::Ready => self.ready.retain(|other| *other != tag),
            Phase::Collecting => self.waiting_for_room.retain(|other| *other != tag),
            Phase::Running | Phase::Aborted => {}
        }
        self.data_out_bytes -= task.data_out.budget_bytes;
        self.data_in_bytes -= task.data_in_budget_bytes;
        self.granted_count -= u32::from(task.data_out.granted);
        self.grant_waiting();
        if task.admitted && !self.task_sets.is_empty() {
            self.leave_task_set(tag, &task);
        }
        Some(task)
    }
}

/// With both bits set the length is that of the Data-Out, and there is no room for Data-In.
fn expected(command: &ScsiCommand) -> Expected {
    let direction = match (command.read, command.write) {
        (_, true) => ExpectedDirection::Out,
        (true, false) => ExpectedDirection::In,
        (false, false) => ExpectedDirection::None,
    };
    Expected { direction, bytes: command.expected_bytes }
}

impl Task {
    /// How much Data-In it may bring.
    pub(super) fn data_in_wanted(&self) -> u64 {
        u64::from(self.expected.data_in_room_bytes().min(TRANSFER_BYTES_MAX))
    }

    pub(super) fn request(&mut self, nexus: NexusId) -> Request {
        Request {
            nexus,
            lun: self.lun,
            cdb: self.cdb.clone(),
            attribute: self.attribute,
            data_out: self.data_out.take(),
            expected: self.expected,
            repeated: false,
        }
    }
}
