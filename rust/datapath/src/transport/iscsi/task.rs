//! One SCSI command of a session, from its PDU to its response, and the Data-Out it collects.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::scsi::nexus::EndToken;
use crate::scsi::{Cdb, Expected, TaskAttribute};

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Data-Out is missing, its CmdSN's turn has not come, or it is dormant.
    Collecting,
    /// Complete; waits to be started.
    Ready,
    /// With the device server.
    Running,
    /// With the device server; its outcome will be dropped.
    Aborted,
}

/// What went wrong in delivering Data-Out; the conditions of RFC 7143, 11.4.7.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryFault {
    /// Unsolicited data that was not agreed to.
    UnexpectedUnsolicited,
    /// Too much, too little, or not in sequence.
    IncorrectAmount,
    /// A data digest did not match.
    Digest,
}

impl DeliveryFault {
    /// Fixed-format sense data: ABORTED COMMAND with the additional sense code of the table. Only
    /// the transport knows these conditions, so it alone makes this sense data.
    pub fn sense(self) -> Bytes {
        let (code, qualifier) = match self {
            Self::UnexpectedUnsolicited => (0x0C, 0x0C),
            Self::IncorrectAmount => (0x0C, 0x0D),
            Self::Digest => (0x47, 0x05),
        };
        let mut sense = [0; 18];
        (sense[0], sense[2], sense[7]) = (0x70, 0x0B, 10);
        (sense[12], sense[13]) = (code, qualifier);
        Bytes::copy_from_slice(&sense)
    }
}

/// An R2T that the initiator is answering.
#[derive(Debug)]
pub struct Solicited {
    /// Target Transfer Tag.
    pub transfer_tag: u32,
    /// Where its data begins.
    pub offset_bytes: u32,
    /// How much it asked for.
    pub length_bytes: u32,
    /// How much has come.
    pub received_bytes: u32,
    /// The DataSN that comes next.
    pub data_sn: u32,
}

/// The Data-Out of a task. Data comes in order of its offset (DataPDUInOrder and
/// DataSequenceInOrder are Yes), so it is only ever appended.
#[derive(Debug, Default)]
pub struct DataOutBuffer {
    /// Immediate data, as long as nothing else has come.
    immediate: Bytes,
    /// All of it, once anything else has come.
    buffer: BytesMut,
    /// Bytes taken, from offset 0.
    pub received_bytes: u32,
    /// Unsolicited Data-Out PDUs are still coming.
    pub unsolicited_open: bool,
    /// The DataSN of the next of them.
    pub unsolicited_data_sn: u32,
    /// The R2Ts that are not answered, oldest first.
    pub solicited: VecDeque<Solicited>,
    /// Where the next R2T begins.
    pub asked_bytes: u32,
    /// R2Ts sent so far.
    pub r2t_sn: u32,
    /// Bytes that the session's budget holds for this task.
    pub budget_bytes: u64,
    /// Whether the session has room for all of it, so that R2Ts may be sent.
    pub granted: bool,
}

impl DataOutBuffer {
    /// Starts with what came in the command's own PDU.
    pub fn new(immediate: Bytes, unsolicited_open: bool) -> Self {
        let received_bytes = immediate.len() as u32;
        Self { immediate, received_bytes, unsolicited_open, ..Self::default() }
    }

    /// Makes room for `total` bytes, and for appending at all.
    pub fn reserve(&mut self, total: usize) {
        if self.buffer.is_empty() {
            self.buffer.reserve(total.max(self.immediate.len()));
            self.buffer.extend_from_slice(&std::mem::take(&mut self.immediate));
        }
        self.buffer.reserve(total.saturating_sub(self.buffer.len()));
    }

    /// The buffer to append to; after `reserve`.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// All that came.
    pub fn take(&mut self) -> Bytes {
        if self.buffer.is_empty() {
            return std::mem::take(&mut self.immediate);
        }
        std::mem::take(&mut self.buffer).freeze()
    }
}

/// A SCSI command in progress.
#[derive(Debug)]
pub struct Task {
    /// Where it is.
    pub phase: Phase,
    /// The eight LUN bytes in their usual form.
    pub lun: u64,
    /// The eight LUN bytes as they came.
    pub lun_as_sent: u64,
    /// The CDB.
    pub cdb: Cdb,
    /// The task attribute.
    pub attribute: TaskAttribute,
    /// What the initiator expects to move.
    pub expected: Expected,
    /// How much Data-Out has to come before it is complete: what is expected, until it is known that
    /// the CDB asks for less.
    pub wanted_bytes: u32,
    /// Delivered outside the command window.
    pub immediate: bool,
    /// Its CmdSN.
    pub cmd_sn: u32,
    /// Its CmdSN's turn has come.
    pub admitted: bool,
    /// How many tasks were admitted before it, once it is.
    pub position: u64,
    /// Waits for others by its task attribute, or theirs.
    pub dormant: bool,
    /// Its Data-Out.
    pub data_out: DataOutBuffer,
    /// Set once its Data-Out went wrong.
    pub fault: Option<DeliveryFault>,
    /// Bytes that the session's Data-In budget holds for it while it runs.
    pub data_in_budget_bytes: u64,
    /// Held until it has ended.
    pub tokens: Vec<EndToken>,
}
