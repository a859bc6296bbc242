//! Any bytes to a session in full-feature phase: it neither panics nor holds more than its limits.
//!
//! The first byte chooses what was negotiated. Then come steps: a byte below C0h feeds four times as
//! many of the next bytes to the session; the others end a command, end a function, abort, or let
//! time pass.
#![no_main]

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

use datapath::limits::*;
use datapath::scsi::nexus::end_token;
use datapath::scsi::{Completion, NexusId, data_out};
use datapath::transport::iscsi::session::{Action, DataOutToSolicit, Session, Violation};
use datapath::transport::iscsi::{SessionParameters, TextAnswer};

const HELD_BYTES_MAX: u64 = DATA_OUT_BYTES_PER_SESSION_MAX
    + DATA_IN_BYTES_PER_SESSION_MAX
    + FIRST_BURST_BYTES_MAX as u64 * (COMMAND_WINDOW + IMMEDIATE_COMMANDS_MAX) as u64
    + 2 * OUTBOX_BYTES_MAX as u64;

struct Loop {
    session: Session,
    input: BytesMut,
    started: VecDeque<u32>,
    functions: VecDeque<(u32, bool)>,
    text: Option<Bytes>,
    now_s: u64,
}

/// As of a unit with blocks of 512 bytes, at every LUN.
fn to_solicit() -> DataOutToSolicit {
    Box::new(|_, cdb| data_out::to_solicit(cdb, 512))
}

impl Loop {
    fn new(options: u8) -> Self {
        let option = |bit: u8| options & 1 << bit != 0;
        let parameters = SessionParameters {
            header_digest: option(0),
            data_digest: option(1),
            initial_r2t: option(2),
            immediate_data: option(3),
            max_receive_segment_bytes: if option(4) { 512 } else { 65536 },
            max_send_segment_bytes: if option(5) { 512 } else { 65536 },
            first_burst_bytes: if option(6) { 512 } else { 65536 },
            max_burst_bytes: if option(7) { 65536 } else { 262_144 },
            ..SessionParameters::default()
        };
        Self {
            session: Session::new(NexusId(1), parameters, to_solicit(), Default::default()),
            input: BytesMut::new(),
            started: VecDeque::new(),
            functions: VecDeque::new(),
            text: None,
            now_s: 0,
        }
    }

    /// Feeds bytes as the loop around a session would: into its own buffer where it has one.
    fn feed(&mut self, mut bytes: &[u8]) -> Result<(), Violation> {
        while !bytes.is_empty() {
            let taken = match self.session.direct_buffer() {
                Some((buffer, wanted)) => {
                    let taken = bytes.len().min(wanted).min(buffer.capacity() - buffer.len());
                    buffer.extend_from_slice(&bytes[..taken]);
                    self.session.handle_direct(taken);
                    taken
                }
                None => {
                    self.input.extend_from_slice(bytes);
                    bytes.len()
                }
            };
            bytes = &bytes[taken..];
            self.session.handle_received(&mut self.input)?;
            self.collect();
        }
        Ok(())
    }

    fn collect(&mut self) {
        while let Some(action) = self.session.poll_action() {
            match action {
                Action::Execute(tag, _request) => self.started.push_back(tag),
                Action::TaskManagement(function) => {
                    self.functions.push_back((function.task_tag, function.immediate));
                }
                Action::Text { request, .. } => {
                    assert!(request.len() <= TEXT_BYTES_MAX);
                    assert!(self.text.replace(request).is_none(), "one at a time");
                }
                Action::Close => {}
            }
        }
        assert!(self.session.held_bytes() <= HELD_BYTES_MAX);
        assert!(self.session.queued_count() <= self.session.task_count());
        assert!(
            self.session.task_count() <= (COMMAND_WINDOW * 2 + IMMEDIATE_COMMANDS_MAX) as usize
        );
    }

    /// What happens beside the stream.
    fn act(&mut self, step: u8) -> Result<(), Violation> {
        match step & 7 {
            0..=3 => {
                if let Some(tag) = self.started.pop_front() {
                    let completion = Completion {
                        status: if step & 1 == 0 { 0 } else { 2 },
                        sense: Bytes::from(vec![0; if step & 1 == 0 { 0 } else { 18 }]),
                        data_in: BytesMut::zeroed(usize::from(step & 8) * 1024),
                        data_out_wanted_bytes: u64::from(step & 16) * 512,
                    };
                    let answered = (step & 7 != 3).then_some(completion);
                    self.session.handle_completion(tag, answered);
                }
            }
            4 => {
                if let Some((tag, immediate)) = self.functions.pop_front() {
                    self.session.handle_task_management(tag, immediate, Some(0.into()));
                }
            }
            5 => {
                let (token, _ended) = end_token();
                self.session.abort_tasks(if step & 8 == 0 { &[0] } else { &[] }, None, &token);
            }
            6 if step & 8 == 0 => {
                if let Some(text) = self.text.take() {
                    let answer = TextAnswer { text, max_send_segment_bytes: 512 };
                    self.session.handle_text_answer((step & 16 == 0).then_some(answer));
                }
            }
            6 => {
                self.now_s += u64::from(step & 31);
                self.session.handle_tick(self.now_s)?;
            }
            _ => drop(self.session.take_output()),
        }
        self.collect();
        Ok(())
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((options, mut rest)) = data.split_first() else { return };
    let mut session = Loop::new(*options);
    while let Some((step, after)) = rest.split_first() {
        let outcome = match *step {
            step @ 0xC0.. => {
                rest = after;
                session.act(step)
            }
            count => {
                let (fed, unread) = after.split_at(after.len().min(usize::from(count) * 4));
                rest = unread;
                session.feed(fed)
            }
        };
        if outcome.is_err() {
            return;
        }
    }
});
