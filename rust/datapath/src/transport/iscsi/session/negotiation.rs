//! Text requests in full-feature phase: collecting a request, sending an answer in pieces.

use bytes::Bytes;

use crate::limits::TEXT_BYTES_MAX;

use super::super::pdu::initiator::TextRequest;
use super::super::pdu::target::{RejectReason, TargetPdu, TextResponse};
use super::super::pdu::{Bhs, NO_TAG};
use super::super::receive::Pdu;
use super::super::text;
use super::super::window::Turn;
use super::{Held, Session, Violation};

/// A text negotiation that is not over.
#[derive(Debug, Default)]
pub(super) struct TextExchange {
    /// What the initiator has said so far.
    request: Vec<u8>,
    /// What we still have to say.
    answer: Bytes,
    /// The tag under which the exchange goes on; `None` before its first answer.
    transfer_tag: Option<u32>,
}

impl Session {
    pub(super) fn on_text(&mut self, request: TextRequest, pdu: Pdu) -> Result<(), Violation> {
        if let Some(reason) = self.text_fault(&request, pdu.data.len()) {
            self.text = TextExchange::default();
            self.refuse(reason, &pdu.bhs);
            return Ok(());
        }
        match self.take_turn(request.immediate, request.cmd_sn) {
            Turn::Never => {}
            Turn::Now => self.start_text(&request, &pdu.data),
            Turn::Later => {
                let length = pdu.data.len();
                self.hold_with_data(request.cmd_sn, Held::Text(request, pdu.data), length)?;
            }
        }
        Ok(())
    }

    fn text_fault(&self, request: &TextRequest, length: usize) -> Option<RejectReason> {
        if request.last && request.continued {
            return Some(RejectReason::InvalidField);
        }
        if self.text.request.len() + length > TEXT_BYTES_MAX {
            return Some(RejectReason::LongOperation);
        }
        let goes_on = request.transfer_tag != NO_TAG;
        (goes_on && self.text.transfer_tag != Some(request.transfer_tag))
            .then_some(RejectReason::Protocol)
    }

    pub(super) fn start_text(&mut self, request: &TextRequest, data: &[u8]) {
        if request.transfer_tag == NO_TAG {
            self.text = TextExchange::default();
        }
        self.text.request.extend_from_slice(data);
        if request.continued || !self.text.answer.is_empty() {
            return self.continue_text(request);
        }
        let said = std::mem::take(&mut self.text.request);
        match text::answer(&said, &self.parameters) {
            Some(answer) => {
                if let Some(length) = answer.max_send_segment_bytes {
                    self.parameters.max_send_segment_bytes = length;
                }
                self.text.answer = answer.text.into();
                self.continue_text(request);
            }
            None => {
                self.text = TextExchange::default();
                self.reject(RejectReason::Protocol, &text_header(request));
            }
        }
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

fn text_header(request: &TextRequest) -> Bhs {
    super::super::pdu::initiator::encode(&super::InitiatorPdu::Text(request.clone()))
}
