//! The write-intent bitmap on a member: eight sectors, each valid by itself, so that a torn write
//! leaves a mixture of two bitmaps and nothing else. A sector that cannot be trusted counts as all
//! set. See `docs/formats/write-intent.md`.

use uuid::Uuid;

use super::bytes_at::{is_sealed, put, seal, u16_at, u32_at, u64_at};
use super::layout::{INTENTS_ADDRESS, INTENTS_BYTES};
use crate::checksum::crc32c;
use crate::limits::SECTOR_BYTES;

const MAGIC: u32 = u32::from_le_bytes(*b"SSWI");
const VERSION: u16 = 1;
const BITS_AT: usize = 24;
const BITS_BYTES: usize = SECTOR_BYTES as usize - BITS_AT - 8;
const REGIONS_PER_SECTOR: usize = BITS_BYTES * 8;

/// How many regions the bitmap can name.
pub const REGIONS_MAX: usize = REGIONS_PER_SECTOR * (INTENTS_BYTES / SECTOR_BYTES) as usize;

/// The bitmap's bytes; `is_set` says which regions have an intent.
pub(crate) fn encode(pool: Uuid, is_set: impl Fn(usize) -> bool) -> Vec<u8> {
    let mut block = vec![0; INTENTS_BYTES as usize];
    for (index, sector) in block.chunks_exact_mut(SECTOR_BYTES as usize).enumerate() {
        put(sector, 0, MAGIC.to_le_bytes());
        put(sector, 4, VERSION.to_le_bytes());
        put(sector, 6, (index as u16).to_le_bytes());
        put(sector, 8, address(index).to_le_bytes());
        put(sector, 16, crc32c(pool.as_bytes()).to_le_bytes());
        for bit in 0..REGIONS_PER_SECTOR {
            if is_set(index * REGIONS_PER_SECTOR + bit) {
                sector[BITS_AT + bit / 8] |= 1 << (bit % 8);
            }
        }
        seal(sector);
    }
    block
}

/// The regions below `regions` with an intent.
pub(crate) fn decode(block: &[u8], pool: Uuid, regions: usize) -> Vec<usize> {
    let mut set = Vec::new();
    for (index, sector) in block.chunks_exact(SECTOR_BYTES as usize).enumerate() {
        let valid = is_valid(sector, index, pool);
        let first = index * REGIONS_PER_SECTOR;
        let bits = (0..REGIONS_PER_SECTOR).take_while(|bit| first + bit < regions);
        set.extend(
            bits.filter(|bit| !valid || sector[BITS_AT + bit / 8] >> (bit % 8) & 1 == 1)
                .map(|bit| first + bit),
        );
    }
    set
}

/// The sectors that cannot be trusted.
pub(crate) fn damaged_sectors(block: &[u8], pool: Uuid) -> Vec<usize> {
    let sectors = block.chunks_exact(SECTOR_BYTES as usize).enumerate();
    sectors.filter(|(index, sector)| !is_valid(sector, *index, pool)).map(|one| one.0).collect()
}

fn is_valid(sector: &[u8], index: usize, pool: Uuid) -> bool {
    is_sealed(sector)
        && u32_at(sector, 0) == MAGIC
        && u16_at(sector, 4) == VERSION
        && u64_at(sector, 8) == address(index)
        && u32_at(sector, 16) == crc32c(pool.as_bytes())
}

fn address(index: usize) -> u64 {
    INTENTS_ADDRESS + index as u64 * SECTOR_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_come_back_and_damage_sets_the_regions_of_its_sector() {
        let pool = Uuid::from_u128(5);
        let wanted = [0, 1, 3839, 3840, 10_000];
        let mut block = encode(pool, |region| wanted.contains(&region));
        assert_eq!(decode(&block, pool, REGIONS_MAX), wanted);
        assert_eq!(decode(&block, pool, 2), [0, 1]);
        block[SECTOR_BYTES as usize + 100] ^= 1;
        let damaged = decode(&block, pool, 3 * REGIONS_PER_SECTOR);
        assert_eq!(damaged.len(), 3 + REGIONS_PER_SECTOR + 1);
        assert_eq!(decode(&block, Uuid::from_u128(6), 10).len(), 10);
    }
}
