//! A member's label: what it is, of which set, and how all members stand. See
//! `docs/formats/pool-label.md`.
//!
//! Each commit of the labels takes the next event count. The newest label is the truth about who
//! is in sync: before a set acknowledges anything that a member lacks, the labels of all others
//! say that this member failed. `settled_event` is the last event count that all members in sync
//! hold for certain; a member whose label is older was not there, whoever says otherwise.

use serde::Serialize;
use uuid::Uuid;

use super::bytes_at::{bytes_at, is_sealed, put, seal, u32_at, u64_at};
use super::layout::{LABEL_BYTES, Layout};
use super::{Geometry, Level};
use crate::limits::{MEMBER_BYTES_MIN, MEMBERS_MAX, STRIP_BYTES_MAX, STRIP_BYTES_MIN};

const MAGIC: [u8; 8] = *b"SSNAPLBL";
const VERSION: u32 = 1;
const FLAG_CLEAN: u32 = 1;
const TABLE_AT: usize = 256;
const TABLE_ROW_BYTES: usize = 24;
const STATE_FAILED: u32 = 1;

const _: () = assert!(TABLE_AT + MEMBERS_MAX * TABLE_ROW_BYTES < LABEL_BYTES as usize - 4);

/// A label, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Label {
    /// The pool.
    pub pool: Uuid,
    /// This member's place, counted from 0.
    pub role: usize,
    /// The identity of every member, by role.
    pub members: Vec<Uuid>,
    /// A bit for each member that is not in sync.
    pub failed: u32,
    /// Counts the commits of labels.
    pub event: u64,
    /// The last event count that every member in sync holds for certain.
    pub settled_event: u64,
    /// Whether the set was closed in order.
    pub clean: bool,
    /// The level.
    pub level: Level,
    /// Bytes of a strip.
    pub strip_bytes: u64,
    /// The member size that the layout was made for: the smallest one's.
    pub member_bytes: u64,
}

/// Why a block is no valid label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelFault {
    /// Something else, or nothing.
    Absent,
    /// A label of a version that this software does not know.
    Version(u32),
    /// A label once.
    Damaged,
}

impl Label {
    /// The set's shape.
    pub fn geometry(&self) -> Geometry {
        let members = self.members.len();
        Geometry { level: self.level, members, strip_bytes: self.strip_bytes }
    }

    /// Where the metadata lies.
    pub fn layout(&self) -> Layout {
        Layout::new(self.geometry(), self.member_bytes)
    }

    /// Whether `role` is marked as failed.
    pub fn is_failed(&self, role: usize) -> bool {
        self.failed >> role & 1 == 1
    }

    /// The copy for `address`.
    pub fn encode(&self, address: u64) -> Vec<u8> {
        let mut block = vec![0; LABEL_BYTES as usize];
        let layout = self.layout();
        put(&mut block, 0, MAGIC);
        put(&mut block, 8, VERSION.to_le_bytes());
        put(&mut block, 12, (LABEL_BYTES as u32).to_le_bytes());
        put(&mut block, 16, address.to_le_bytes());
        put(&mut block, 24, self.event.to_le_bytes());
        put(&mut block, 32, self.settled_event.to_le_bytes());
        put(&mut block, 40, self.pool.into_bytes());
        put(&mut block, 56, self.members[self.role].into_bytes());
        put(&mut block, 72, self.level.code().to_le_bytes());
        put(&mut block, 76, (self.members.len() as u32).to_le_bytes());
        put(&mut block, 80, (self.role as u32).to_le_bytes());
        put(&mut block, 84, if self.clean { FLAG_CLEAN } else { 0 }.to_le_bytes());
        put(&mut block, 88, self.strip_bytes.to_le_bytes());
        put(&mut block, 96, self.member_bytes.to_le_bytes());
        put(&mut block, 104, layout.data_address.to_le_bytes());
        put(&mut block, 112, layout.data_bytes.to_le_bytes());
        for (role, member) in self.members.iter().enumerate() {
            let at = TABLE_AT + role * TABLE_ROW_BYTES;
            put(&mut block, at, member.into_bytes());
            put(&mut block, at + 16, u32::from(self.is_failed(role)).to_le_bytes());
        }
        seal(&mut block);
        block
    }

    /// The label in `block`, read from `address`.
    pub fn decode(block: &[u8], address: u64) -> Result<Self, LabelFault> {
        if block[..8] != MAGIC {
            return Err(LabelFault::Absent);
        }
        // The version comes first: another one may have its checksum elsewhere.
        if u32_at(block, 8) != VERSION {
            return Err(LabelFault::Version(u32_at(block, 8)));
        }
        if !is_sealed(block) || u64_at(block, 16) != address {
            return Err(LabelFault::Damaged);
        }
        Self::parse(block).filter(Self::is_plausible).ok_or(LabelFault::Damaged)
    }

    fn parse(block: &[u8]) -> Option<Self> {
        let count = u32_at(block, 76) as usize;
        if count == 0 || count > MEMBERS_MAX {
            return None;
        }
        let row = |role| TABLE_AT + role * TABLE_ROW_BYTES;
        let failed = (0..count).filter(|&role| u32_at(block, row(role) + 16) == STATE_FAILED);
        Some(Self {
            pool: Uuid::from_bytes(bytes_at(block, 40)),
            role: u32_at(block, 80) as usize,
            members: (0..count).map(|role| Uuid::from_bytes(bytes_at(block, row(role)))).collect(),
            failed: failed.fold(0, |mask, role| mask | 1 << role),
            event: u64_at(block, 24),
            settled_event: u64_at(block, 32),
            clean: u32_at(block, 84) & FLAG_CLEAN != 0,
            level: Level::from_code(u32_at(block, 72))?,
            strip_bytes: u64_at(block, 88),
            member_bytes: u64_at(block, 96),
        })
        .filter(|label| {
            label.members.get(label.role).is_some_and(|own| own.as_bytes() == &block[56..72])
        })
    }

    /// A checksum proves where bytes come from, not that they make sense.
    fn is_plausible(&self) -> bool {
        let strips = STRIP_BYTES_MIN..=STRIP_BYTES_MAX;
        self.level.check_members(self.members.len()).is_ok()
            && self.strip_bytes.is_power_of_two()
            && strips.contains(&self.strip_bytes)
            && (MEMBER_BYTES_MIN..1 << 62).contains(&self.member_bytes)
            && self.settled_event <= self.event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label() -> Label {
        Label {
            pool: Uuid::from_u128(7),
            role: 2,
            members: (0..4).map(Uuid::from_u128).collect(),
            failed: 0b10,
            event: 9,
            settled_event: 8,
            clean: true,
            level: Level::Raid5,
            strip_bytes: 64 << 10,
            member_bytes: 16 << 20,
        }
    }

    #[test]
    fn a_label_comes_back_from_its_own_address_only() {
        let block = label().encode(4096);
        assert_eq!(Label::decode(&block, 4096), Ok(label()));
        assert_eq!(Label::decode(&block, 0), Err(LabelFault::Damaged));
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let block = label().encode(0);
        for at in (0..block.len()).step_by(7) {
            let mut flipped = block.clone();
            flipped[at] ^= 0x10;
            assert!(Label::decode(&flipped, 0).is_err(), "byte {at}");
        }
    }

    #[test]
    fn nonsense_with_a_good_checksum_is_damage() {
        for (at, bytes) in [(76, 200u32), (72, 6), (80, 4), (88, 100), (96, 0)] {
            let mut block = label().encode(0);
            put(&mut block, at, bytes.to_le_bytes());
            seal(&mut block);
            assert_eq!(Label::decode(&block, 0), Err(LabelFault::Damaged), "offset {at}");
        }
        let mut block = label().encode(0);
        put(&mut block, 8, 2u32.to_le_bytes());
        assert_eq!(Label::decode(&block, 0), Err(LabelFault::Version(2)));
        assert_eq!(Label::decode(&[0; 4096], 0), Err(LabelFault::Absent));
    }
}
