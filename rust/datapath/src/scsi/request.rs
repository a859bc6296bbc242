//! A command on its way down and its outcome on the way up; no transport is known here.

use bytes::{Bytes, BytesMut};

/// An I_T nexus: one initiator port with one target port (SAM-5, 4.7). Unique while it lives and
/// not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NexusId(pub u64);

/// Task attributes (SAM-5, 8.6), with the codes of RFC 7143, 11.3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskAttribute {
    /// No attribute given; handled as SIMPLE.
    Untagged = 0,
    /// SIMPLE.
    Simple = 1,
    /// ORDERED.
    Ordered = 2,
    /// HEAD OF QUEUE.
    HeadOfQueue = 3,
    /// ACA.
    Aca = 4,
}

/// A CDB as it came. The usual sixteen bytes need no allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cdb {
    /// What a transport's fixed field holds; bytes past the operation code's own length are
    /// whatever the initiator sent.
    Fixed([u8; 16]),
    /// A longer one (SPC-5, 4.2.3: operation codes 7Eh and 7Fh).
    Long(Box<[u8]>),
}

impl std::ops::Deref for Cdb {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Long(bytes) => bytes,
        }
    }
}

/// The direction in which the initiator expects data to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedDirection {
    /// In neither.
    None = 0,
    /// Data-In.
    In = 1,
    /// Data-Out.
    Out = 2,
    /// The transport does not say, and cannot report a residual: a buffer of the kernel's ring.
    Unsaid = 3,
}

/// What the initiator expects to move, which its command may contradict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Which way.
    pub direction: ExpectedDirection,
    /// How much: the Expected Data Transfer Length (RFC 7143, 11.3.4).
    pub bytes: u32,
}

impl Expected {
    /// How much room there is for Data-In.
    pub fn data_in_room_bytes(self) -> u32 {
        match self.direction {
            ExpectedDirection::In | ExpectedDirection::Unsaid => self.bytes,
            ExpectedDirection::None | ExpectedDirection::Out => 0,
        }
    }
}

/// A SCSI command with its whole Data-Out buffer.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where it comes from.
    pub nexus: NexusId,
    /// The eight LUN bytes (SAM-5, 4.7), in their usual form.
    pub lun: u64,
    /// The CDB.
    pub cdb: Cdb,
    /// The task attribute.
    pub attribute: TaskAttribute,
    /// What the initiator sent: at least what the CDB asks for, unless it expects to send less or the
    /// CDB asks for more than a command may transfer. What was sent unasked may be more.
    pub data_out: Bytes,
    /// What the initiator expects to move.
    pub expected: Expected,
    /// It was begun before, by a process that died before it could say how it ended.
    pub repeated: bool,
}

/// The outcome of a command.
#[derive(Debug, Default)]
pub struct Completion {
    /// The status code (SAM-5, 5.3): 00h GOOD, 02h CHECK CONDITION …
    pub status: u8,
    /// Sense data, empty where the status has none.
    pub sense: Bytes,
    /// The Data-In buffer, already cut to the allocation length, not to the initiator's room.
    pub data_in: BytesMut,
    /// How many bytes of Data-Out the CDB asked for; the transport derives residuals from it.
    pub data_out_wanted_bytes: u64,
}
