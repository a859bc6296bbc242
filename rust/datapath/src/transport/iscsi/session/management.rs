//! Logout, NOP, asynchronous events.

use bytes::Bytes;

use crate::limits::{OUTBOX_BYTES_MAX, PEER_GONE_AFTER_S, PING_AFTER_S};
use crate::scsi::nexus::end_token;

use super::super::pdu::initiator::{LogoutRequest, NopOut};
use super::super::pdu::target::{
    AsyncMessage, LogoutResponse, NopIn, RejectReason, TargetPdu, encode,
};
use super::super::pdu::{Bhs, NO_TAG};
use super::super::receive::Pdu;
use super::super::task::Phase;
use super::super::window::Turn;
use super::{Action, Held, Session, Violation};

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
