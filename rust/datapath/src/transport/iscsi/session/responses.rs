//! Outcomes of commands on their way out: Data-In, status, residuals, sense.

use bytes::{BufMut, Bytes, BytesMut};

use crate::scsi::{Completion, Expected, ExpectedDirection};

use super::super::pdu::Bhs;
use super::super::pdu::target::{
    DataIn, Reject, RejectReason, Residual, ScsiResponse, TargetPdu, encode,
};
use super::super::task::{DeliveryFault, Phase, Task};
use super::Session;

const GOOD: u8 = 0x00;
const CHECK_CONDITION: u8 = 0x02;
/// iSCSI response codes (RFC 7143, 11.4.3).
const COMPLETED: u8 = 0x00;
const TARGET_FAILURE: u8 = 0x01;

impl Session {
    /// The outcome of a command that `poll_action` gave out; `None` where the command set failed.
    pub fn handle_completion(&mut self, tag: u32, outcome: Option<Completion>) {
        let Some(task) = self.end_task(tag) else { return };
        self.counters.commands.add(1);
        match outcome {
            _ if task.phase == Phase::Aborted => self.counters.aborted.add(1),
            Some(completion) => self.respond(tag, &task, completion),
            None => self.respond_target_failure(tag),
        }
        self.logout_if_idle();
    }

    fn respond(&mut self, tag: u32, task: &Task, completion: Completion) {
        let Completion { status, sense, data_in, data_out_wanted_bytes } = completion;
        let residual = task.residual(data_in.len() as u64, data_out_wanted_bytes);
        if task.expected.direction == ExpectedDirection::Out {
            self.counters.written_bytes.add(task.data_out_taken(data_out_wanted_bytes));
        }
        let mut data_in = data_in.freeze();
        data_in.truncate(task.expected.data_in_room_bytes() as usize);
        let in_last_pdu = status == GOOD && !data_in.is_empty();
        let exp_data_sn = match data_in.is_empty() {
            true => task.data_out.r2t_sn,
            false => self.send_data_in(tag, data_in, in_last_pdu.then_some((status, residual))),
        };
        if !in_last_pdu {
            let pdu = TargetPdu::ScsiResponse(ScsiResponse {
                response: COMPLETED,
                status,
                task_tag: tag,
                exp_data_sn,
                residual,
            });
            self.push_status(&pdu, sense_segment(&sense));
        }
    }

    /// Sends Data-In in PDUs and sequences of the lengths that were negotiated; the last of them
    /// carries `status` where there is one. Returns how many PDUs it took.
    fn send_data_in(
        &mut self,
        task_tag: u32,
        mut data: Bytes,
        status: Option<(u8, Residual)>,
    ) -> u32 {
        self.counters.read_bytes.add(data.len() as u64);
        let segment_bytes = self.parameters.max_send_segment_bytes as usize;
        let burst_bytes = self.parameters.max_burst_bytes as usize;
        let (mut data_sn, mut offset_bytes, mut burst_room) = (0, 0, burst_bytes);
        // Ends because each round takes at least one byte away.
        while !data.is_empty() {
            let length = data.len().min(segment_bytes).min(burst_room);
            // The last piece is the buffer itself, so that it can be used again once sent.
            let piece = if length == data.len() {
                std::mem::take(&mut data)
            } else {
                data.split_to(length)
            };
            burst_room -= length;
            let status = status.filter(|_| data.is_empty());
            let pdu = TargetPdu::DataIn(DataIn {
                last: data.is_empty() || burst_room == 0,
                status: status.map(|(status, _)| status),
                task_tag,
                data_sn,
                offset_bytes,
                residual: status.map_or(Residual::None, |(_, residual)| residual),
            });
            match status {
                Some(_) => self.push_status(&pdu, piece),
                None => self.outbox.push(encode(&pdu, self.numbers()), piece),
            }
            data_sn += 1;
            offset_bytes += length as u32;
            if burst_room == 0 {
                burst_room = burst_bytes;
            }
        }
        data_sn
    }

    /// Ends a task whose Data-Out went wrong.
    pub(super) fn respond_fault(&mut self, tag: u32, fault: DeliveryFault) {
        let Some(task) = self.end_task(tag) else { return };
        self.counters.commands.add(1);
        let sense = fault.sense();
        self.respond(
            tag,
            &task,
            Completion { status: CHECK_CONDITION, sense, ..Completion::default() },
        );
        self.logout_if_idle();
    }

    fn respond_target_failure(&mut self, tag: u32) {
        let pdu = TargetPdu::ScsiResponse(ScsiResponse {
            response: TARGET_FAILURE,
            status: 0,
            task_tag: tag,
            exp_data_sn: 0,
            residual: Residual::None,
        });
        self.push_status(&pdu, Bytes::new());
    }

    /// Rejects a PDU; its header goes back as the data segment.
    pub(super) fn reject(&mut self, reason: RejectReason, bhs: &Bhs) {
        self.counters.rejected.add(1);
        self.push_status(&TargetPdu::Reject(Reject { reason }), Bytes::copy_from_slice(bhs));
    }

    /// Queues a PDU that takes the next StatSN.
    pub(super) fn push_status(&mut self, pdu: &TargetPdu, data: Bytes) {
        self.outbox.push(encode(pdu, self.numbers()), data);
        self.stat_sn = self.stat_sn.wrapping_add(1);
    }

    /// Queues a PDU that shows the next StatSN and leaves it.
    pub(super) fn push(&mut self, pdu: &TargetPdu) {
        self.outbox.push(encode(pdu, self.numbers()), Bytes::new());
    }
}

impl Task {
    /// How much of the Data-Out that came the command asked for.
    fn data_out_taken(&self, wanted_bytes: u64) -> u64 {
        wanted_bytes.min(self.data_out.received_bytes.into())
    }

    /// RFC 7143, 11.4.5: an overflow where the command would have moved more than was expected, an
    /// underflow where less was moved, in the direction that was expected. Where nothing was expected
    /// whatever the command would have moved had no room.
    fn residual(&self, data_in_bytes: u64, data_out_wanted_bytes: u64) -> Residual {
        let Expected { direction, bytes } = self.expected;
        let (wanted, moved) = match direction {
            _ if bytes == 0 => (data_in_bytes.max(data_out_wanted_bytes), 0),
            ExpectedDirection::Out => {
                (data_out_wanted_bytes, self.data_out_taken(data_out_wanted_bytes))
            }
            ExpectedDirection::None => (0, 0),
            ExpectedDirection::In | ExpectedDirection::Unsaid => (data_in_bytes, data_in_bytes),
        };
        let expected = u64::from(bytes);
        let count = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
        match wanted {
            _ if wanted > expected => Residual::Overflow(count(wanted - expected)),
            _ if moved < expected => Residual::Underflow(count(expected - moved)),
            _ => Residual::None,
        }
    }
}

/// The data segment of a SCSI Response (11.4.7): SenseLength, then the sense data.
fn sense_segment(sense: &Bytes) -> Bytes {
    if sense.is_empty() {
        return Bytes::new();
    }
    let mut segment = BytesMut::with_capacity(2 + sense.len());
    segment.put_u16(sense.len() as u16);
    segment.extend_from_slice(sense);
    segment.freeze()
}
