//! Text requests in full-feature phase: collecting a request, sending an answer in pieces.

use bytes::Bytes;

use crate::limits::{SEGMENT_BYTES, TEXT_BYTES_MAX};

use super::super::pdu::initiator::{self, TextRequest};
use super::super::pdu::target::{RejectReason, TargetPdu, TextResponse};
use super::super::pdu::{Bhs, NO_TAG};
use super::super::receive::Pdu;
use super::super::text::TextAnswer;
use super::super::window::Turn;
use super::{Action, Held, InitiatorPdu, Session, Violation};

/// A text negotiation that is not over.
#[derive(Debug, Default)]
pub(super) struct TextExchange {
    /// What the initiator has said of the request that is not whole.
    request: Vec<u8>,
    /// The last PDU of a request that is being decided on.
    undecided: Option<TextRequest>,
    /// A request of the exchange has been decided on.
    begun: bool,
    /// What we still have to say.
    answer: Bytes,
    /// The tag under which the exchange goes on; `None` before its first answer.
    transfer_tag: Option<u32>,
}

impl Session {
    pub(super) fn on_text(&mut self, request: TextRequest, pdu: Pdu) -> Result<(), Violation> {
        if pdu.data.len() > TEXT_BYTES_MAX {
            self.refuse(RejectReason::LongOperation, &pdu.bhs);
            return Ok(());
        }
        match self.take_turn(request.immediate, request.cmd_sn) {
            Turn::Never => {}
            Turn::Now => self.start_text(request, &pdu.data),
            Turn::Later => {
                let length = pdu.data.len();
                self.hold_with_data(request.cmd_sn, Held::Text(request, pdu.data), length)?;
            }
        }
        Ok(())
    }

    pub(super) fn start_text(&mut self, request: TextRequest, data: &[u8]) {
        // There is one text request at a time (11.10): what is being decided on goes on.
        if self.text.undecided.is_some() {
            return self.reject(RejectReason::Protocol, &header(&request));
        }
        if let Some(reason) = self.text_fault(&request, data.len()) {
            return self.end_text(reason, &request);
        }
        if request.transfer_tag == NO_TAG {
            self.text = TextExchange::default();
        }
        if !self.text.answer.is_empty() {
            return self.continue_text(&request);
        }
        self.text.request.extend_from_slice(data);
        if request.continued {
            return self.continue_text(&request);
        }
        let said = std::mem::take(&mut self.text.request);
        let begins = !std::mem::replace(&mut self.text.begun, true);
        self.text.undecided = Some(request);
        self.actions.push_back(Action::Text { request: said.into(), begins });
    }

    fn text_fault(&self, request: &TextRequest, length: usize) -> Option<RejectReason> {
        if request.last && request.continued {
            return Some(RejectReason::InvalidField);
        }
        let goes_on = request.transfer_tag != NO_TAG;
        if goes_on && self.text.transfer_tag != Some(request.transfer_tag) {
            return Some(RejectReason::Protocol);
        }
        if goes_on && !self.text.answer.is_empty() && (length > 0 || request.continued) {
            // New text before all of our answer was fetched.
            return Some(RejectReason::Protocol);
        }
        let before = if goes_on { self.text.request.len() } else { 0 };
        (before + length > TEXT_BYTES_MAX).then_some(RejectReason::LongOperation)
    }

    /// What a request that `poll_action` gave out is answered; `None`: it is rejected.
    pub fn handle_text_answer(&mut self, answer: Option<TextAnswer>) {
        let Some(request) = self.text.undecided.take().filter(|_| !self.closing) else { return };
        let Some(TextAnswer { text, max_send_segment_bytes }) = answer else {
            return self.end_text(RejectReason::Protocol, &request);
        };
        assert!(SEGMENT_BYTES.contains(&max_send_segment_bytes));
        self.parameters.max_send_segment_bytes = max_send_segment_bytes;
        self.text.answer = text;
        self.continue_text(&request);
    }

    fn end_text(&mut self, reason: RejectReason, request: &TextRequest) {
        self.text = TextExchange::default();
        self.reject(reason, &header(request));
    }

    /// Sends the next piece of the answer; an empty one asks for the rest of the request.
    fn continue_text(&mut self, request: &TextRequest) {
        let room = self.parameters.max_send_segment_bytes as usize;
        let length = self.text.answer.len().min(room);
        let piece = self.text.answer.split_to(length);
        let continued = !self.text.answer.is_empty();
        let last = request.last && !continued;
        let transfer_tag = if last { NO_TAG } else { self.next_transfer_tag };
        if last {
            self.text = TextExchange::default();
        } else {
            self.next_transfer_tag = (self.next_transfer_tag + 1) % NO_TAG;
            self.text.transfer_tag = Some(transfer_tag);
        }
        let task_tag = request.task_tag;
        let pdu = TextResponse { last, continued, task_tag, transfer_tag };
        self.push_status(&TargetPdu::Text(pdu), piece);
    }
}

fn header(request: &TextRequest) -> Bhs {
    initiator::encode(&InitiatorPdu::Text(request.clone()))
}
