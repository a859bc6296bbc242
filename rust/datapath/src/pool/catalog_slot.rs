//! The catalog on a member: two slots, written in turn. See `docs/formats/pool-label.md`.
//!
//! ```text
//! 0      header          one sector
//! 512    header again
//! 1024   the JSON text, and once more behind it where there is room
//! end    mark            the last sector of the slot
//! ```
//! The catalog with sequence number s lies in slot s modulo 2. The marks, one in each slot, name the
//! number of the catalog in force once that is durable: so one that was lost is told from one that a cut
//! kept from becoming whole.

use bytes::Bytes;
use uuid::Uuid;

use super::catalog::Catalog;
use crate::checksum::crc32c;
use crate::limits::SECTOR_BYTES;
use crate::stripe::{Layout, bytes_at, is_sealed, put, seal, u32_at, u64_at};

const MAGIC: [u8; 8] = *b"SSNAPCAT";
const MARK_MAGIC: [u8; 8] = *b"SSNAPCMK";
const VERSION: u32 = 2;
const HEADER_COPIES: u64 = 2;
/// Bytes of a slot before the text.
pub(super) const HEADERS_BYTES: u64 = HEADER_COPIES * SECTOR_BYTES;
/// Bytes of a mark.
pub(super) const MARK_BYTES: u64 = SECTOR_BYTES;

/// A slot's header, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotHeader {
    pub(super) sequence: u64,
    length_bytes: u64,
    copies: u32,
    text_crc: u32,
}

impl SlotHeader {
    /// Bytes of the headers and of all copies of the text.
    pub(super) fn image_bytes(self) -> u64 {
        HEADERS_BYTES + u64::from(self.copies) * self.padded_bytes()
    }

    fn padded_bytes(self) -> u64 {
        self.length_bytes.next_multiple_of(SECTOR_BYTES)
    }

    fn encode(self, layout: Layout, pool: Uuid, copy: u64) -> Vec<u8> {
        let mut block = vec![0; SECTOR_BYTES as usize];
        put(&mut block, 0, MAGIC);
        put(&mut block, 8, VERSION.to_le_bytes());
        put(&mut block, 12, self.copies.to_le_bytes());
        let own = address(layout, self.sequence) + copy * SECTOR_BYTES;
        put(&mut block, 16, own.to_le_bytes());
        put(&mut block, 24, self.sequence.to_le_bytes());
        put(&mut block, 32, self.length_bytes.to_le_bytes());
        put(&mut block, 40, pool.into_bytes());
        put(&mut block, 56, self.text_crc.to_le_bytes());
        seal(&mut block);
        block
    }
}

/// Where the catalog with that sequence number goes.
pub(super) fn address(layout: Layout, sequence: u64) -> u64 {
    layout.catalog_address + sequence % 2 * layout.catalog_slot_bytes
}

/// Where the mark of slot `slot` lies.
pub(super) fn mark_address(layout: Layout, slot: u64) -> u64 {
    address(layout, slot) + layout.catalog_slot_bytes - MARK_BYTES
}

/// A slot's bytes; `None` where the catalog is too large for one.
pub(super) fn encode(
    layout: Layout,
    pool: Uuid,
    sequence: u64,
    catalog: &Catalog,
) -> Option<Bytes> {
    let text = serde_json::to_vec(catalog).expect("a catalog has nothing that JSON cannot say");
    image(layout, pool, sequence, &text)
}

/// The same of the catalog's text.
pub(super) fn image(layout: Layout, pool: Uuid, sequence: u64, text: &[u8]) -> Option<Bytes> {
    let mut header =
        SlotHeader { sequence, length_bytes: text.len() as u64, copies: 2, text_crc: crc32c(text) };
    let room = layout.catalog_slot_bytes - MARK_BYTES;
    if header.image_bytes() > room {
        header.copies = 1;
    }
    if header.image_bytes() > room {
        return None;
    }
    let mut block = header.encode(layout, pool, 0);
    block.extend(header.encode(layout, pool, 1));
    for copy in 1..=u64::from(header.copies) {
        block.extend_from_slice(text);
        block.resize((HEADERS_BYTES + copy * header.padded_bytes()) as usize, 0);
    }
    Some(block.into())
}

/// The two headers at the start of `block`, read from slot `slot`.
pub(super) fn headers(
    block: &[u8],
    layout: Layout,
    pool: Uuid,
    slot: u64,
) -> [Option<SlotHeader>; HEADER_COPIES as usize] {
    let sector = |copy: usize| &block[copy * SECTOR_BYTES as usize..][..SECTOR_BYTES as usize];
    [0, 1].map(|copy| decode_header(sector(copy), layout, pool, slot, copy as u64))
}

fn decode_header(
    header: &[u8],
    layout: Layout,
    pool: Uuid,
    slot: u64,
    copy: u64,
) -> Option<SlotHeader> {
    let found = SlotHeader {
        sequence: u64_at(header, 24),
        length_bytes: u64_at(header, 32),
        copies: u32_at(header, 12),
        text_crc: u32_at(header, 56),
    };
    let valid = is_sealed(header)
        && header[..8] == MAGIC
        && u32_at(header, 8) == VERSION
        && u64_at(header, 16) == address(layout, slot) + copy * SECTOR_BYTES
        && bytes_at::<16>(header, 40) == *pool.as_bytes()
        && found.sequence % 2 == slot % 2
        && (1..=2).contains(&found.copies)
        && found.length_bytes <= layout.catalog_slot_bytes
        && found.image_bytes() <= layout.catalog_slot_bytes - MARK_BYTES;
    valid.then_some(found)
}

/// The version of a header of this pool's that is whole and not ours to read.
pub(super) fn foreign_version(block: &[u8], pool: Uuid) -> Option<u32> {
    let header = &block[..SECTOR_BYTES as usize];
    let version = u32_at(header, 8);
    let ours =
        is_sealed(header) && header[..8] == MAGIC && bytes_at::<16>(header, 40) == *pool.as_bytes();
    (ours && version != VERSION).then_some(version)
}

/// The copies of the text behind the headers, each where it is the one that `header` speaks of.
pub(super) fn texts(block: &Bytes, header: SlotHeader) -> Vec<Option<Bytes>> {
    let copy = |copy: u64| {
        let start = (HEADERS_BYTES + copy * header.padded_bytes()) as usize;
        let end = start + header.length_bytes as usize;
        let text = (block.len() >= end).then(|| block.slice(start..end))?;
        (crc32c(&text) == header.text_crc).then_some(text)
    };
    (0..u64::from(header.copies)).map(copy).collect()
}

/// A mark in slot `slot`: the catalog of that sequence number is in force, durably.
pub(super) fn encode_mark(layout: Layout, pool: Uuid, slot: u64, sequence: u64) -> Bytes {
    let mut block = vec![0; MARK_BYTES as usize];
    put(&mut block, 0, MARK_MAGIC);
    put(&mut block, 8, VERSION.to_le_bytes());
    put(&mut block, 16, mark_address(layout, slot).to_le_bytes());
    put(&mut block, 24, sequence.to_le_bytes());
    put(&mut block, 40, pool.into_bytes());
    seal(&mut block);
    block.into()
}

/// The sequence number that the mark in `block`, read from slot `slot`, names.
pub(super) fn decode_mark(block: &[u8], layout: Layout, pool: Uuid, slot: u64) -> Option<u64> {
    let valid = is_sealed(block)
        && block[..8] == MARK_MAGIC
        && u32_at(block, 8) == VERSION
        && u64_at(block, 16) == mark_address(layout, slot)
        && bytes_at::<16>(block, 40) == *pool.as_bytes();
    valid.then(|| u64_at(block, 24))
}
