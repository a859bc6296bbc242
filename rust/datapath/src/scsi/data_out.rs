//! How much Data-Out a CDB asks for.
//!
//! A transport has to know before the command set sees the command: it solicits so many bytes, and no
//! more. The command set's own opcode table says the same (a test compares the two for every row);
//! what is not in that table asks for nothing here.

use crate::limits::TRANSFER_BYTES_MAX;

const BYTE_CHECK_SHIFT: u8 = 1;
const NO_DATA_OUT_BUFFER: u8 = 0x01;
const FORMAT_DATA: u8 = 0x10;
const LONG_LIST: u8 = 0x20;

/// How many bytes of Data-Out `cdb` asks for, at a unit with logical blocks of `block_bytes`.
pub fn data_out_bytes(cdb: &[u8], block_bytes: u32) -> u64 {
    let Some(&operation_code) = cdb.first() else { return 0 };
    let byte = |at: usize| cdb.get(at).copied().unwrap_or(0);
    let number = |at: usize, width: usize| {
        (at..at + width).fold(0, |value: u64, at| value << 8 | u64::from(byte(at)))
    };
    let block = u64::from(block_bytes);
    match operation_code {
        // WRITE (6): zero means 256 blocks.
        0x0A => match number(4, 1) {
            0 => 256 * block,
            blocks => blocks * block,
        },
        // WRITE and WRITE AND VERIFY, of three lengths; ORWRITE (16), WRITE ATOMIC (16).
        0x2A | 0x2E => number(7, 2) * block,
        0xAA | 0xAE => number(6, 4) * block,
        0x8A | 0x8B | 0x8E => number(10, 4) * block,
        0x9C => number(12, 2) * block,
        // COMPARE AND WRITE: what to compare and what to write.
        0x89 => 2 * number(13, 1) * block,
        // WRITE SAME (10) and (16).
        0x41 => block,
        0x93 if byte(1) & NO_DATA_OUT_BUFFER == 0 => block,
        // VERIFY.
        0x2F => to_compare(byte(1), number(7, 2), block),
        0xAF => to_compare(byte(1), number(6, 4), block),
        0x8F => to_compare(byte(1), number(10, 4), block),
        // FORMAT UNIT: the header of its parameter list.
        0x04 if byte(1) & FORMAT_DATA != 0 => match byte(1) & LONG_LIST {
            0 => 4,
            _ => 8,
        },
        // PARAMETER LIST LENGTH of MODE SELECT, SEND DIAGNOSTIC, UNMAP, SANITIZE, LOG SELECT,
        // PERSISTENT RESERVE OUT, EXTENDED COPY, SET IDENTIFYING INFORMATION.
        0x15 => number(4, 1),
        0x1D => number(3, 2),
        0x42 | 0x48 | 0x4C | 0x55 => number(7, 2),
        0x5F => number(5, 4),
        0x83 => number(10, 4),
        0xA4 => number(6, 4),
        _ => 0,
    }
}

/// How many bytes of Data-Out are to be solicited for `cdb`, where the initiator expects to send as
/// many. None where the CDB asks for more than a command may transfer: the command set refuses it.
pub fn to_solicit(cdb: &[u8], block_bytes: u32) -> u32 {
    let wanted = u32::try_from(data_out_bytes(cdb, block_bytes)).unwrap_or(u32::MAX);
    if wanted <= TRANSFER_BYTES_MAX { wanted } else { 0 }
}

/// What VERIFY compares with, by BYTCHK: every block, or one with all.
fn to_compare(flags: u8, blocks: u64, block: u64) -> u64 {
    match flags >> BYTE_CHECK_SHIFT & 3 {
        1 => blocks * block,
        3 if blocks > 0 => block,
        _ => 0,
    }
}
