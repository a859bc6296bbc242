//! Where the metadata of a member lies; the same on all members of a set.
//!
//! ```text
//! 0           label, first copy                       4 KiB
//! 8 KiB       write intents                           4 KiB
//! 16 KiB ..   catalog slots 0 and 1, journal          here if they fit before the second label,
//! 1 MiB-4 KiB label, second copy                      4 KiB
//! 1 MiB ..    catalog slots 0 and 1, journal          else here
//! data offset data area, to the end; a multiple of 1 MiB
//! ```
//!
//! The labels' addresses are fixed, so that either is found without the other.

use serde::Serialize;

use super::{Geometry, Level};
use crate::limits::SECTOR_BYTES;

/// Bytes of a label's copy.
pub const LABEL_BYTES: u64 = 4 << 10;
/// Where a label's two copies are.
pub const LABEL_ADDRESSES: [u64; 2] = [0, (1 << 20) - LABEL_BYTES];
/// Where the write intents are, and how long.
pub const INTENTS_ADDRESS: u64 = 8 << 10;
/// Eight sectors, each with a checksum of its own.
pub const INTENTS_BYTES: u64 = 8 * SECTOR_BYTES;

const EARLY_ADDRESS: u64 = 16 << 10;
const LATE_ADDRESS: u64 = 1 << 20;
const DATA_ALIGNMENT: u64 = 1 << 20;
/// Smallest slot: the catalog of some hundred volumes.
const CATALOG_SLOT_BYTES_MIN: u64 = 256 << 10;
/// Largest slot: the catalog is written whole, so that more would be too slow to change.
const CATALOG_SLOT_BYTES_MAX: u64 = 16 << 20;
const JOURNAL_BYTES_MIN: u64 = 256 << 10;
/// Enough for some hundred stripes in flight.
const JOURNAL_BYTES_MAX: u64 = 8 << 20;

/// Sizes and places, in bytes from a member's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Layout {
    /// Slot 0 of the catalog; slot 1 follows it.
    pub catalog_address: u64,
    /// Bytes of one slot.
    pub catalog_slot_bytes: u64,
    /// The journal; only parity levels have one.
    pub journal_address: u64,
    /// Its bytes, or 0.
    pub journal_bytes: u64,
    /// The start of the data area.
    pub data_address: u64,
    /// Bytes of the data area: whole strips.
    pub data_bytes: u64,
    /// Bytes of a member's data area that one write-intent bit stands for.
    pub region_bytes: u64,
}

impl Layout {
    /// The layout of a set whose smallest member has `member_bytes`.
    pub fn new(geometry: Geometry, member_bytes: u64) -> Self {
        let share = 1 << (member_bytes / 64).max(1).ilog2();
        let slot = u64::clamp(share, CATALOG_SLOT_BYTES_MIN, CATALOG_SLOT_BYTES_MAX);
        let journal_bytes = match geometry.level {
            Level::Raid5 => u64::clamp(share, JOURNAL_BYTES_MIN, JOURNAL_BYTES_MAX),
            Level::Raid0 | Level::Raid1 | Level::Raid10 => 0,
        };
        let early_end = EARLY_ADDRESS + 2 * slot + journal_bytes;
        let catalog_address =
            if early_end <= LABEL_ADDRESSES[1] { EARLY_ADDRESS } else { LATE_ADDRESS };
        let journal_address = catalog_address + 2 * slot;
        let end = (journal_address + journal_bytes).max(LATE_ADDRESS);
        let data_address = end.next_multiple_of(DATA_ALIGNMENT);
        let data_bytes =
            (member_bytes - data_address) / geometry.strip_bytes * geometry.strip_bytes;
        Self {
            catalog_address,
            catalog_slot_bytes: slot,
            journal_address,
            journal_bytes,
            data_address,
            data_bytes,
            region_bytes: region_bytes(data_bytes),
        }
    }

    /// Bytes a member must have.
    pub fn member_bytes(&self) -> u64 {
        self.data_address + self.data_bytes
    }
}

/// The smallest power of two, from the largest strip on, of which the bitmap can name all regions.
fn region_bytes(data_bytes: u64) -> u64 {
    let least = data_bytes.div_ceil(super::intent_format::REGIONS_MAX as u64);
    least.next_power_of_two().max(crate::limits::STRIP_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::MEMBER_BYTES_MIN;

    #[test]
    fn nothing_overlaps_at_any_size() {
        for level in Level::all() {
            for shift in 0..30 {
                let geometry = Geometry { level, members: 4, strip_bytes: 64 << 10 };
                let member_bytes = MEMBER_BYTES_MIN << shift;
                let layout = Layout::new(geometry, member_bytes);
                let mut areas = [
                    (LABEL_ADDRESSES[0], LABEL_BYTES),
                    (INTENTS_ADDRESS, INTENTS_BYTES),
                    (LABEL_ADDRESSES[1], LABEL_BYTES),
                    (layout.catalog_address, 2 * layout.catalog_slot_bytes),
                    (layout.journal_address, layout.journal_bytes),
                    (layout.data_address, layout.data_bytes),
                ];
                areas.sort_unstable();
                for pair in areas.windows(2) {
                    assert!(
                        pair[0].0 + pair[0].1 <= pair[1].0,
                        "{level} {member_bytes}: {areas:?}"
                    );
                }
                assert!(layout.member_bytes() <= member_bytes);
                assert!(layout.data_bytes >= member_bytes / 2);
                let regions = layout.data_bytes.div_ceil(layout.region_bytes);
                assert!(regions <= super::super::intent_format::REGIONS_MAX as u64);
            }
        }
    }
}
