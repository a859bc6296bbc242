//! The few PDUs that a benchmark needs (RFC 7143, section 11): 48-byte headers, no digests, no AHS.

use std::io::{self, Read};

pub const BHS_BYTES: usize = 48;

pub const NOP_OUT: u8 = 0x00;
pub const SCSI_COMMAND: u8 = 0x01;
pub const LOGIN_REQUEST: u8 = 0x03;
pub const DATA_OUT: u8 = 0x05;
pub const LOGOUT_REQUEST: u8 = 0x06;
pub const NOP_IN: u8 = 0x20;
pub const SCSI_RESPONSE: u8 = 0x21;
pub const LOGIN_RESPONSE: u8 = 0x23;
pub const DATA_IN: u8 = 0x25;
pub const R2T: u8 = 0x31;

/// A basic header segment; fields by offset, as the RFC draws them.
#[derive(Clone)]
pub struct Header(pub [u8; BHS_BYTES]);

impl Header {
    #[must_use]
    pub fn new(opcode: u8, flags: u8) -> Self {
        let mut bytes = [0; BHS_BYTES];
        bytes[0] = opcode;
        bytes[1] = flags;
        Self(bytes)
    }

    #[must_use]
    pub fn opcode(&self) -> u8 {
        self.0[0] & 0x3F
    }

    #[must_use]
    pub fn u32(&self, offset: usize) -> u32 {
        u32::from_be_bytes([
            self.0[offset],
            self.0[offset + 1],
            self.0[offset + 2],
            self.0[offset + 3],
        ])
    }

    #[must_use]
    pub fn with_u32(mut self, offset: usize, value: u32) -> Self {
        self.0[offset..offset + 4].copy_from_slice(&value.to_be_bytes());
        self
    }

    #[must_use]
    pub fn with(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Sets DataSegmentLength, which must fit in 24 bits.
    #[must_use]
    pub fn with_data_length(self, length: usize) -> Self {
        let length = u32::try_from(length).unwrap_or(0).to_be_bytes();
        self.with(5, &length[1..])
    }

    #[must_use]
    pub fn data_length(&self) -> usize {
        (self.u32(4) & 0x00FF_FFFF) as usize
    }

    #[must_use]
    pub fn ahs_bytes(&self) -> usize {
        usize::from(self.0[4]) * 4
    }

    #[must_use]
    pub fn task_tag(&self) -> u32 {
        self.u32(16)
    }
}

/// Length of a data segment with its padding to four bytes.
#[must_use]
pub fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// Reads a PDU: its header, and its data segment into `data`.
pub fn read_pdu(stream: &mut impl Read, data: &mut Vec<u8>) -> io::Result<Header> {
    let mut header = Header([0; BHS_BYTES]);
    stream.read_exact(&mut header.0)?;
    let length = header.data_length();
    let whole = header.ahs_bytes() + padded(length);
    if data.len() < whole {
        data.resize(whole, 0);
    }
    stream.read_exact(&mut data[..whole])?;
    Ok(header)
}
