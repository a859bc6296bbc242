//! Data-Out: immediate, unsolicited and solicited data of a command come together here.
//!
//! What the CDB asks for is solicited, within what the initiator expects to send; so the Data-Out of a
//! command that begins is short only where the initiator expects to send less.
//!
//! A fault in delivery ends the command with sense data, but only after the sequences that were
//! announced have come to their end (RFC 7143, 7.8): until then their data is discarded. A sequence
//! that was not agreed to is not waited for. Nothing limits how long an agreed one may take: it ends
//! with its last PDU, with the task, or with the session.

use std::collections::VecDeque;

use bytes::BytesMut;

use crate::limits::DATA_OUT_BYTES_PER_SESSION_MAX;
use crate::scsi::TaskAttribute;

use super::super::pdu::initiator::{DataOut, InitiatorPdu, decode};
use super::super::pdu::target::{R2t, RejectReason, TargetPdu};
use super::super::pdu::{Bhs, NO_TAG, data_length};
use super::super::receive::{GATHER_BYTES, Tail};
use super::super::task::{DeliveryFault, Phase, Solicited, Task};
use super::{Session, TagMap};

/// A Data-Out PDU whose data is coming in.
#[derive(Debug)]
pub(super) struct Inbound {
    bhs: Bhs,
    pdu: DataOut,
    /// Where in the command's buffer its data begins; `None` where it is discarded.
    start: Option<usize>,
    discarded: BytesMut,
}

impl Inbound {
    /// The buffer its data is appended to. The command may have been aborted meanwhile.
    pub(super) fn destination<'a>(&'a mut self, tasks: &'a mut TagMap<Task>) -> &'a mut BytesMut {
        let task = self.start.and_then(|_| tasks.get_mut(&self.pdu.task_tag));
        match task.filter(|task| task.phase == Phase::Collecting) {
            Some(task) => task.data_out.buffer(),
            None => {
                self.discarded.clear();
                self.discarded.reserve(GATHER_BYTES);
                &mut self.discarded
            }
        }
    }
}

impl Session {
    pub(super) fn begin_data_out(&mut self, bhs: Bhs) {
        let Ok(InitiatorPdu::DataOut(pdu)) = decode(&bhs) else { return };
        let start = self.place(&pdu, data_length(&bhs));
        self.inbound = Some(Inbound { bhs, pdu, start, discarded: BytesMut::new() });
    }

    pub(super) fn data_out_bytes(&mut self, bytes: &[u8]) {
        if let Some(inbound) = &mut self.inbound
            && inbound.start.is_some()
        {
            inbound.destination(&mut self.tasks).extend_from_slice(bytes);
        }
    }

    /// Checks a Data-Out against what its command expects. Says where its data goes.
    fn place(&mut self, pdu: &DataOut, length: usize) -> Option<usize> {
        let first_burst_bytes = self.parameters.first_burst_bytes;
        let task = self.tasks.get_mut(&pdu.task_tag);
        let Some(task) = task.filter(|task| task.phase == Phase::Collecting) else {
            // Data of a task that was aborted may still be under way.
            self.counters.stray_data_out.add(1);
            return None;
        };
        match task.expects(pdu, length, first_burst_bytes) {
            Err(fault) => {
                task.fault.get_or_insert(fault);
                None
            }
            Ok(_) if task.fault.is_some() => None,
            Ok(reserve_bytes) => {
                task.data_out.reserve(reserve_bytes);
                Some(task.data_out.buffer().len())
            }
        }
    }

    pub(super) fn end_data_out(&mut self, tail: Tail) {
        let Some(inbound) = self.inbound.take() else { return };
        let Some(task) = self.tasks.get_mut(&inbound.pdu.task_tag) else { return };
        if task.phase != Phase::Collecting {
            return;
        }
        let length = data_length(&inbound.bhs) as u32;
        let intact = match inbound.start {
            Some(start) => tail.matches(&task.data_out.buffer()[start..]),
            None => true,
        };
        task.took(&inbound.pdu, length, intact);
        if !intact {
            self.counters.digest_errors.add(1);
            self.reject(RejectReason::DataDigest, &inbound.bhs);
        }
        self.progress(inbound.pdu.task_tag);
    }

    /// Moves a collecting task on, as far as what has come allows.
    pub(super) fn progress(&mut self, tag: u32) {
        let max_outstanding = usize::from(self.parameters.max_outstanding_r2t);
        let max_burst_bytes = self.parameters.max_burst_bytes;
        let Some(task) = self.tasks.get_mut(&tag) else { return };
        let data = &mut task.data_out;
        let waits = !task.admitted || task.dormant || data.unsolicited_open;
        if waits || task.phase != Phase::Collecting {
            return;
        }
        if let Some(fault) = task.fault {
            if data.solicited.is_empty() {
                self.respond_fault(tag, fault);
            }
            return;
        }
        if data.received_bytes < task.wanted_bytes && !data.granted {
            // What the CDB does not ask for is not solicited.
            let to_solicit = (self.data_out_to_solicit)(task.lun, &task.cdb);
            task.wanted_bytes = task.wanted_bytes.min(to_solicit);
        }
        if data.received_bytes >= task.wanted_bytes {
            task.phase = Phase::Ready;
            enqueue(&mut self.ready, tag, task.attribute);
            return;
        }
        if !task.data_out.granted && !self.grant(tag) {
            return;
        }
        // Ends because each R2T asks for at least one byte more.
        while let Some(task) = self.tasks.get_mut(&tag)
            && task.data_out.solicited.len() < max_outstanding
            && task.data_out.asked_bytes < task.wanted_bytes
        {
            let transfer_tag = self.next_transfer_tag;
            self.next_transfer_tag = (self.next_transfer_tag + 1) % NO_TAG;
            let r2t = task.solicit(tag, transfer_tag, max_burst_bytes);
            self.push(&TargetPdu::R2t(r2t));
        }
    }

    /// Gives a task room for all of its Data-Out, or has it wait for room. One gets it in any case:
    /// what others hold unasked may be of tasks that wait for this one.
    fn grant(&mut self, tag: u32) -> bool {
        let Some(task) = self.tasks.get_mut(&tag) else { return false };
        let more = u64::from(task.wanted_bytes).saturating_sub(task.data_out.budget_bytes);
        if self.granted_count > 0 && self.data_out_bytes + more > DATA_OUT_BYTES_PER_SESSION_MAX {
            if !self.waiting_for_room.contains(&tag) {
                enqueue(&mut self.waiting_for_room, tag, task.attribute);
            }
            return false;
        }
        self.granted_count += 1;
        self.data_out_bytes += more;
        task.data_out.budget_bytes += more;
        task.data_out.granted = true;
        task.data_out.asked_bytes = task.data_out.received_bytes;
        true
    }

    /// Room has come free: goes on with those who wait for it, oldest first.
    pub(super) fn grant_waiting(&mut self) {
        while let Some(tag) = self.waiting_for_room.pop_front() {
            if !self.grant(tag) {
                // It may have queued again at the end; its place was the first.
                self.waiting_for_room.retain(|other| *other != tag);
                self.waiting_for_room.push_front(tag);
                return;
            }
            self.progress(tag);
        }
    }
}

/// Queues a task; one that is HEAD OF QUEUE comes before all that wait.
fn enqueue(queue: &mut VecDeque<u32>, tag: u32, attribute: TaskAttribute) {
    match attribute {
        TaskAttribute::HeadOfQueue => queue.push_front(tag),
        _ => queue.push_back(tag),
    }
}

impl Task {
    /// Checks a Data-Out; says how much room the buffer is to have.
    fn expects(
        &self,
        pdu: &DataOut,
        length: usize,
        first_burst_bytes: u32,
    ) -> Result<usize, DeliveryFault> {
        let data = &self.data_out;
        let unsolicited = pdu.transfer_tag == NO_TAG;
        let (data_sn, end_bytes, room_bytes) = if unsolicited {
            if !data.unsolicited_open {
                return Err(DeliveryFault::UnexpectedUnsolicited);
            }
            let end_bytes = first_burst_bytes.min(self.expected.bytes);
            (data.unsolicited_data_sn, end_bytes, end_bytes)
        } else {
            let oldest = data.solicited.front().filter(|r2t| r2t.transfer_tag == pdu.transfer_tag);
            let r2t = oldest.ok_or(DeliveryFault::IncorrectAmount)?;
            (r2t.data_sn, r2t.offset_bytes + r2t.length_bytes, self.wanted_bytes)
        };
        let end = u64::from(pdu.offset_bytes) + length as u64;
        let in_sequence = pdu.data_sn == data_sn
            && (pdu.offset_bytes == data.received_bytes || self.fault.is_some())
            && end <= u64::from(end_bytes);
        in_sequence.then_some(room_bytes as usize).ok_or(DeliveryFault::IncorrectAmount)
    }

    /// A Data-Out has come to its end: counts it, and closes its sequence where it is the last.
    fn took(&mut self, pdu: &DataOut, length: u32, intact: bool) {
        if !intact {
            self.fault.get_or_insert(DeliveryFault::Digest);
        }
        let data = &mut self.data_out;
        if self.fault.is_none() {
            data.received_bytes += length;
        }
        if pdu.transfer_tag == NO_TAG {
            data.unsolicited_data_sn = data.unsolicited_data_sn.wrapping_add(1);
            data.unsolicited_open &= !pdu.last;
            return;
        }
        let oldest = data.solicited.front_mut();
        let Some(r2t) = oldest.filter(|r2t| r2t.transfer_tag == pdu.transfer_tag) else { return };
        r2t.data_sn = r2t.data_sn.wrapping_add(1);
        r2t.received_bytes = r2t.received_bytes.saturating_add(length);
        if pdu.last {
            if r2t.received_bytes != r2t.length_bytes {
                self.fault.get_or_insert(DeliveryFault::IncorrectAmount);
            }
            data.solicited.pop_front();
        }
    }

    fn solicit(&mut self, tag: u32, transfer_tag: u32, max_burst_bytes: u32) -> R2t {
        let data = &mut self.data_out;
        let offset_bytes = data.asked_bytes;
        let length_bytes = max_burst_bytes.min(self.wanted_bytes - offset_bytes);
        let solicited =
            Solicited { transfer_tag, offset_bytes, length_bytes, received_bytes: 0, data_sn: 0 };
        data.solicited.push_back(solicited);
        data.asked_bytes += length_bytes;
        let r2t_sn = data.r2t_sn;
        data.r2t_sn += 1;
        let lun = self.lun_as_sent;
        R2t { lun, task_tag: tag, transfer_tag, r2t_sn, offset_bytes, length_bytes }
    }
}
