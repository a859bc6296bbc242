//! Little-endian numbers at fixed places of a block: what every on-disk structure here is made of.

use crate::checksum::crc32c;

pub(crate) fn put<const N: usize>(block: &mut [u8], at: usize, bytes: [u8; N]) {
    block[at..at + N].copy_from_slice(&bytes);
}

pub(crate) fn bytes_at<const N: usize>(block: &[u8], at: usize) -> [u8; N] {
    block[at..at + N].try_into().expect("the range has that length")
}

pub(crate) fn u16_at(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes_at(block, at))
}

pub(crate) fn u32_at(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes_at(block, at))
}

pub(crate) fn u64_at(block: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes_at(block, at))
}

/// Puts the CRC-32C of all but the last four bytes of `block` into these.
pub(crate) fn seal(block: &mut [u8]) {
    let at = block.len() - 4;
    let crc = crc32c(&block[..at]);
    put(block, at, crc.to_le_bytes());
}

/// Whether the last four bytes are the CRC-32C of the rest.
pub(crate) fn is_sealed(block: &[u8]) -> bool {
    let at = block.len() - 4;
    u32_at(block, at) == crc32c(&block[..at])
}
