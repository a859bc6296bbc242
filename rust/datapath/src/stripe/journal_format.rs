//! The journal of degraded parity writes on a member: a header sector, then records one after the
//! other. See `docs/formats/write-intent.md`.
//!
//! A record says what a stripe's survivors are to hold: full new images of ranges of members, or
//! ranges to be zeroed. It counts only if its own and its payload's checksums are right and it
//! carries the header's generation, the next sequence number and the checksum of the record before
//! it (of the header, for the first), so that leftovers of earlier rounds never count. Each says which
//! records had been flushed before it was written: so one that does not count, and is called flushed
//! by a later one, is damaged and not torn.

use bytes::Bytes;
use serde::Serialize;
use uuid::Uuid;

use super::bytes_at::{bytes_at, is_sealed, put, seal, u16_at, u32_at, u64_at};
use crate::checksum::crc32c_append;
use crate::limits::{MEMBERS_MAX, SECTOR_BYTES};

const HEADER_MAGIC: u32 = u32::from_le_bytes(*b"SSJH");
const RECORD_MAGIC: u32 = u32::from_le_bytes(*b"SSJR");
const VERSION: u32 = 2;
const ENTRIES_AT: usize = 64;
const ENTRY_BYTES: usize = 16;
const KIND_IMAGE: u16 = 0;
const KIND_ZEROS: u16 = 1;
/// Bytes of the journal's header, and of a record's.
pub(crate) const HEADER_BYTES: u64 = SECTOR_BYTES;

const _: () = assert!(ENTRIES_AT + MEMBERS_MAX * ENTRY_BYTES <= SECTOR_BYTES as usize - 4);

/// A change of one member's data area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) member: usize,
    /// From the start of the member's data area.
    pub(crate) offset_bytes: u64,
    pub(crate) length_bytes: u64,
    /// What the range is to hold; zeros where there is none.
    pub(crate) image: Option<Bytes>,
}

/// Where a record stands in its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The byte of the member it starts at.
    pub address: u64,
    /// The journal's generation.
    pub generation: u64,
    /// The checksum of the journal's header. It depends on the member's UUID, so that no data that a
    /// record holds can pass for another record.
    pub journal: u32,
    /// Counts the records of a generation.
    pub sequence: u64,
    /// The checksum of what precedes it.
    pub previous: u32,
}

/// The header's bytes, and its checksum: what the first record names.
pub(crate) fn encode_header(address: u64, generation: u64, member: Uuid) -> (Vec<u8>, u32) {
    let mut block = vec![0; HEADER_BYTES as usize];
    put(&mut block, 0, HEADER_MAGIC.to_le_bytes());
    put(&mut block, 4, VERSION.to_le_bytes());
    put(&mut block, 8, address.to_le_bytes());
    put(&mut block, 16, generation.to_le_bytes());
    put(&mut block, 24, member.into_bytes());
    seal(&mut block);
    let checksum = checksum_of(&block);
    (block, checksum)
}

/// The generation, and the checksum that the first record names.
pub(crate) fn decode_header(block: &[u8], address: u64, member: Uuid) -> Option<(u64, u32)> {
    let valid = is_sealed(block)
        && u32_at(block, 0) == HEADER_MAGIC
        && u32_at(block, 4) == VERSION
        && u64_at(block, 8) == address
        && bytes_at::<16>(block, 24) == *member.as_bytes();
    valid.then(|| (u64_at(block, 16), checksum_of(block)))
}

/// Bytes that a record of `entries` takes.
pub(crate) fn record_bytes(entries: &[Entry]) -> u64 {
    let images = entries.iter().filter_map(|entry| entry.image.as_ref());
    HEADER_BYTES + images.map(|image| image.len() as u64).sum::<u64>()
}

/// Appends a record to `out`; gives the checksum that the next one names. Records below
/// `flushed_below` were flushed before.
pub(crate) fn encode_record(
    out: &mut Vec<u8>,
    place: Place,
    flushed_below: u64,
    entries: &[Entry],
) -> u32 {
    let mut header = vec![0; HEADER_BYTES as usize];
    let images = || entries.iter().filter_map(|entry| entry.image.as_ref());
    let payload_crc = images().fold(0, |crc, image| crc32c_append(crc, image));
    put(&mut header, 0, RECORD_MAGIC.to_le_bytes());
    put(&mut header, 4, VERSION.to_le_bytes());
    put(&mut header, 8, place.address.to_le_bytes());
    put(&mut header, 16, place.generation.to_le_bytes());
    put(&mut header, 24, place.sequence.to_le_bytes());
    put(&mut header, 32, place.previous.to_le_bytes());
    put(&mut header, 36, payload_crc.to_le_bytes());
    put(&mut header, 40, (record_bytes(entries) as u32).to_le_bytes());
    put(&mut header, 44, (entries.len() as u32).to_le_bytes());
    put(&mut header, 48, flushed_below.to_le_bytes());
    put(&mut header, 56, place.journal.to_le_bytes());
    for (index, entry) in entries.iter().enumerate() {
        let at = ENTRIES_AT + index * ENTRY_BYTES;
        let kind = if entry.image.is_some() { KIND_IMAGE } else { KIND_ZEROS };
        let sectors = (entry.length_bytes / SECTOR_BYTES) as u32;
        put(&mut header, at, entry.offset_bytes.to_le_bytes());
        put(&mut header, at + 8, sectors.to_le_bytes());
        put(&mut header, at + 12, (entry.member as u16).to_le_bytes());
        put(&mut header, at + 14, kind.to_le_bytes());
    }
    seal(&mut header);
    out.extend_from_slice(&header);
    images().for_each(|image| out.extend_from_slice(image));
    checksum_of(&header)
}

/// The record at the start of `ring`, if it is the one for `place`: its entries, its length, and
/// the checksum that the next one names.
pub(crate) fn decode_record(ring: &Bytes, place: Place) -> Option<(Vec<Entry>, u64, u32)> {
    let header = ring.get(..HEADER_BYTES as usize)?;
    let valid = is_sealed(header)
        && u32_at(header, 0) == RECORD_MAGIC
        && u32_at(header, 4) == VERSION
        && u64_at(header, 8) == place.address
        && u64_at(header, 16) == place.generation
        && u64_at(header, 24) == place.sequence
        && u32_at(header, 32) == place.previous
        && u32_at(header, 56) == place.journal;
    let count = u32_at(header, 44) as usize;
    if !valid || count > MEMBERS_MAX {
        return None;
    }
    let mut payload_crc = 0;
    let mut end = HEADER_BYTES as usize;
    let mut entries = Vec::with_capacity(count);
    for index in 0..count {
        let at = ENTRIES_AT + index * ENTRY_BYTES;
        let length_bytes = u64::from(u32_at(header, at + 8)) * SECTOR_BYTES;
        let mut image = None;
        if u16_at(header, at + 14) == KIND_IMAGE {
            let start = end;
            end = end.checked_add(length_bytes as usize)?;
            payload_crc = crc32c_append(payload_crc, ring.get(start..end)?);
            image = Some(ring.slice(start..end));
        }
        let member = usize::from(u16_at(header, at + 12));
        entries.push(Entry { member, offset_bytes: u64_at(header, at), length_bytes, image });
    }
    let whole = end == u32_at(header, 40) as usize && payload_crc == u32_at(header, 36);
    whole.then(|| (entries, end as u64, checksum_of(header)))
}

/// Whether the record for `place`, which does not count, had been flushed: one that follows in `ring`,
/// whose start is that place, says so.
pub(crate) fn was_flushed(ring: &[u8], place: Place) -> bool {
    let sectors = ring.chunks_exact(SECTOR_BYTES as usize).zip(0..);
    sectors.skip(1).any(|(sector, index)| {
        is_sealed(sector)
            && u32_at(sector, 0) == RECORD_MAGIC
            && u32_at(sector, 4) == VERSION
            && u64_at(sector, 8) == place.address + index * SECTOR_BYTES
            && u64_at(sector, 16) == place.generation
            && u32_at(sector, 56) == place.journal
            && u64_at(sector, 48) > place.sequence
    })
}

/// All records that count, from the one for `first` at the start of `ring` on.
pub(crate) fn decode_records(
    ring: Bytes,
    first: Place,
) -> impl Iterator<Item = (Place, Vec<Entry>)> {
    let (mut rest, mut place) = (ring, first);
    std::iter::from_fn(move || {
        let (entries, length, next) = decode_record(&rest, place)?;
        let found = place;
        rest = rest.split_off(length as usize);
        place = Place {
            address: place.address + length,
            sequence: place.sequence + 1,
            previous: next,
            ..place
        };
        Some((found, entries))
    })
}

fn checksum_of(block: &[u8]) -> u32 {
    u32_at(block, block.len() - 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        let image = Some(Bytes::from(vec![7; 1024]));
        vec![
            Entry { member: 1, offset_bytes: 4096, length_bytes: 1024, image },
            Entry { member: 2, offset_bytes: 0, length_bytes: 1 << 30, image: None },
        ]
    }

    #[test]
    fn a_record_counts_at_its_place_only_and_whole_only() {
        let place = Place { address: 8192, generation: 3, journal: 7, sequence: 5, previous: 99 };
        let mut out = Vec::new();
        let next = encode_record(&mut out, place, 5, &entries());
        let ring = Bytes::from(out.clone());
        let decoded = decode_record(&ring, place);
        assert_eq!(decoded, Some((entries(), record_bytes(&entries()), next)));
        for wrong in [
            Place { address: 0, ..place },
            Place { generation: 4, ..place },
            Place { journal: 8, ..place },
            Place { sequence: 6, ..place },
            Place { previous: 98, ..place },
        ] {
            assert_eq!(decode_record(&ring, wrong), None);
        }
        for at in (0..out.len()).step_by(13) {
            let mut torn = out.clone();
            torn[at] ^= 1;
            assert_eq!(decode_record(&Bytes::from(torn), place), None, "byte {at}");
        }
        assert_eq!(decode_record(&ring.slice(..1000), place), None);
    }

    #[test]
    fn data_that_looks_like_a_record_proves_nothing() {
        let place = Place { address: 8192, generation: 3, journal: 7, sequence: 5, previous: 99 };
        let later = Place { address: 8192 + 512, sequence: 9, ..place };
        let ring = |journal| {
            let mut out = vec![0; 512];
            encode_record(&mut out, Place { journal, ..later }, 8, &[]);
            out
        };
        assert!(was_flushed(&ring(7), place));
        assert!(!was_flushed(&ring(8), place), "made by somebody who does not know the header");
    }
}
