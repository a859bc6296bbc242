//! Blocks of metadata that lie among volumes' data and prove themselves: a magic number, and a checksum
//! of the block at a place that the magic number tells.
//!
//! Where two members disagree about something that nobody has flushed, either is right. But a block
//! that was flushed long ago may have been damaged on one of them since, and lie in the same region:
//! then only the one that proves itself is right. So a resync, which knows nothing of what it compares,
//! takes that one.

use crate::checksum::{crc32c, crc32c_append};

/// A kind of block.
#[derive(Clone, Copy, Debug)]
pub struct SelfChecked {
    /// Its first eight bytes.
    pub magic: [u8; 8],
    /// Its length.
    pub bytes: usize,
    /// Where its CRC-32C is, of the whole block with these four bytes taken as zeros or, at the end
    /// of the block, left out.
    pub checksum_at: usize,
}

/// A commit slot of a snapshot map.
pub const MAP_COMMIT: SelfChecked =
    SelfChecked { magic: *b"SSNAPMAP", bytes: 512, checksum_at: 508 };
/// A block of a snapshot map's log.
pub const MAP_LOG: SelfChecked = SelfChecked { magic: *b"SSNAPLOG", bytes: 4096, checksum_at: 84 };

/// Blocks begin at multiples of this.
pub const CELL_BYTES: usize = 4096;

/// Whether a cell begins with a block that proves itself.
pub fn proves_itself(cell: &[u8]) -> bool {
    [MAP_COMMIT, MAP_LOG].into_iter().any(|kind| kind.is_sound(cell))
}

impl SelfChecked {
    fn is_sound(self, cell: &[u8]) -> bool {
        let Some(block) = cell.get(..self.bytes) else { return false };
        if !block.starts_with(&self.magic) {
            return false;
        }
        let (before, rest) = block.split_at(self.checksum_at);
        let (found, after) = rest.split_at(4);
        let mut checksum = crc32c(before);
        if !after.is_empty() {
            checksum = crc32c_append(crc32c_append(checksum, &[0; 4]), after);
        }
        found == checksum.to_le_bytes()
    }
}
