//! PDUs of the full-feature phase as bytes and as values (RFC 7143, clause 11).
//!
//! ```text
//! byte  0      I bit and operation code        byte  8..16  LUN, or fields of the operation code
//! byte  1..4   flags, opcode-specific          byte 16..20  Initiator Task Tag
//! byte  4      TotalAHSLength, in words        byte 20..48  fields of the operation code
//! byte  5..8   DataSegmentLength, in bytes
//! ```
//!
//! That is the Basic Header Segment. After it come the Additional Header Segments, the header digest,
//! the data segment padded to a word, and the data digest. Numbers are big-endian; digests are
//! CRC-32C with their least significant byte first (RFC 7143, 13.1 and the examples of RFC 3720,
//! B.4).
//!
//! [`initiator`] holds what initiators send, [`target`] what targets send. Both are encoded and
//! decoded here, so that a session and a scripted initiator speak through the same tables.

pub mod ahs;
pub mod initiator;
pub mod target;

/// Length of the Basic Header Segment.
pub const BHS_BYTES: usize = 48;
/// Length of a digest.
pub const DIGEST_BYTES: usize = 4;
/// The reserved value of Initiator and Target Task Tags: no tag.
pub const NO_TAG: u32 = 0xFFFF_FFFF;

/// A Basic Header Segment.
pub type Bhs = [u8; BHS_BYTES];

/// Operation codes (RFC 7143, 11.2.1.2).
pub mod opcode {
    #![allow(missing_docs)]
    pub const NOP_OUT: u8 = 0x00;
    pub const SCSI_COMMAND: u8 = 0x01;
    pub const TASK_MANAGEMENT_REQUEST: u8 = 0x02;
    pub const LOGIN_REQUEST: u8 = 0x03;
    pub const TEXT_REQUEST: u8 = 0x04;
    pub const DATA_OUT: u8 = 0x05;
    pub const LOGOUT_REQUEST: u8 = 0x06;
    pub const SNACK_REQUEST: u8 = 0x10;
    pub const NOP_IN: u8 = 0x20;
    pub const SCSI_RESPONSE: u8 = 0x21;
    pub const TASK_MANAGEMENT_RESPONSE: u8 = 0x22;
    pub const LOGIN_RESPONSE: u8 = 0x23;
    pub const TEXT_RESPONSE: u8 = 0x24;
    pub const DATA_IN: u8 = 0x25;
    pub const LOGOUT_RESPONSE: u8 = 0x26;
    pub const R2T: u8 = 0x31;
    pub const ASYNC_MESSAGE: u8 = 0x32;
    pub const REJECT: u8 = 0x3F;
}

/// The immediate-delivery bit of byte 0.
pub const IMMEDIATE: u8 = 0x40;
/// The final bit of byte 1.
pub const FINAL: u8 = 0x80;

/// The operation code of a header.
pub fn opcode_of(bhs: &Bhs) -> u8 {
    bhs[0] & 0x3F
}

/// Bytes of the Additional Header Segments, from TotalAHSLength.
pub fn ahs_length(bhs: &Bhs) -> usize {
    usize::from(bhs[4]) * 4
}

/// DataSegmentLength, without padding.
pub fn data_length(bhs: &Bhs) -> usize {
    u32::from_be_bytes([0, bhs[5], bhs[6], bhs[7]]) as usize
}

/// Bytes that pad a data segment to a word.
pub fn padding(data_length: usize) -> usize {
    data_length.wrapping_neg() & 3
}

/// Sets DataSegmentLength; lengths past its 24 bits are a broken invariant.
pub fn set_data_length(bhs: &mut Bhs, length: usize) {
    assert!(length < 1 << 24, "a data segment's length has 24 bits");
    bhs[5..8].copy_from_slice(&(length as u32).to_be_bytes()[1..]);
}

/// Four bytes of a header.
pub(crate) fn word(bhs: &Bhs, at: usize) -> u32 {
    u32::from_be_bytes([bhs[at], bhs[at + 1], bhs[at + 2], bhs[at + 3]])
}

pub(crate) fn half(bhs: &Bhs, at: usize) -> u16 {
    u16::from_be_bytes([bhs[at], bhs[at + 1]])
}

/// The LUN field, as a number of its eight bytes.
pub(crate) fn lun(bhs: &Bhs) -> u64 {
    u64::from(word(bhs, 8)) << 32 | u64::from(word(bhs, 12))
}

pub(crate) fn put_word(bhs: &mut Bhs, at: usize, value: u32) {
    bhs[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

pub(crate) fn put_lun(bhs: &mut Bhs, value: u64) {
    bhs[8..16].copy_from_slice(&value.to_be_bytes());
}
