//! The catalog on a member: two slots, written in turn. See `docs/formats/pool-label.md`.
//!
//! The catalog with sequence number s lies in slot s modulo 2, a header sector and the JSON text
//! behind it. The valid one with the highest number is in force; a torn write leaves the other.

use bytes::Bytes;
use uuid::Uuid;

use super::catalog::Catalog;
use crate::checksum::crc32c;
use crate::limits::SECTOR_BYTES;
use crate::stripe::{Layout, bytes_at, is_sealed, put, seal, u32_at, u64_at};

const MAGIC: [u8; 8] = *b"SSNAPCAT";
const VERSION: u32 = 1;
/// Bytes of a slot's header.
pub(super) const HEADER_BYTES: u64 = SECTOR_BYTES;

/// A slot's header, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotHeader {
    pub(super) sequence: u64,
    pub(super) length_bytes: u64,
    payload_crc: u32,
}

/// Where the catalog with that sequence number goes.
pub(super) fn address(layout: Layout, sequence: u64) -> u64 {
    layout.catalog_address + sequence % 2 * layout.catalog_slot_bytes
}

/// A slot's bytes; `None` where the catalog is too large for one.
pub(super) fn encode(
    layout: Layout,
    pool: Uuid,
    sequence: u64,
    catalog: &Catalog,
) -> Option<Bytes> {
    let text = serde_json::to_vec(catalog).expect("a catalog has nothing that JSON cannot say");
    let padded = text.len().next_multiple_of(SECTOR_BYTES as usize);
    if HEADER_BYTES + padded as u64 > layout.catalog_slot_bytes {
        return None;
    }
    let mut block = vec![0; HEADER_BYTES as usize];
    put(&mut block, 0, MAGIC);
    put(&mut block, 8, VERSION.to_le_bytes());
    put(&mut block, 16, address(layout, sequence).to_le_bytes());
    put(&mut block, 24, sequence.to_le_bytes());
    put(&mut block, 32, (text.len() as u64).to_le_bytes());
    put(&mut block, 40, pool.into_bytes());
    put(&mut block, 56, crc32c(&text).to_le_bytes());
    seal(&mut block);
    block.extend_from_slice(&text);
    block.resize(HEADER_BYTES as usize + padded, 0);
    Some(block.into())
}

/// The header at the start of `block`, read from the slot at `address`.
pub(super) fn decode_header(
    block: &[u8],
    layout: Layout,
    pool: Uuid,
    at: u64,
) -> Option<SlotHeader> {
    let header = &block[..HEADER_BYTES as usize];
    let found = SlotHeader {
        sequence: u64_at(header, 24),
        length_bytes: u64_at(header, 32),
        payload_crc: u32_at(header, 56),
    };
    let valid = is_sealed(header)
        && header[..8] == MAGIC
        && u32_at(header, 8) == VERSION
        && u64_at(header, 16) == at
        && bytes_at::<16>(header, 40) == *pool.as_bytes()
        && at == address(layout, found.sequence)
        && found.length_bytes <= layout.catalog_slot_bytes - HEADER_BYTES;
    valid.then_some(found)
}

/// The text behind a header, if it is the one the header speaks of.
pub(super) fn payload(block: &Bytes, header: SlotHeader) -> Option<Bytes> {
    let end = (HEADER_BYTES + header.length_bytes) as usize;
    let text = (block.len() >= end).then(|| block.slice(HEADER_BYTES as usize..end))?;
    (crc32c(&text) == header.payload_crc).then_some(text)
}
