//! Pure arithmetic: where the bytes of a stripe set's data area lie on its members.
//!
//! A set is a row of *columns*, each a strip wide, and stripe after stripe of them. raid0 has a
//! column a member; raid1 has one column, copied to every member; raid10 a column a pair. raid5
//! has a column a member but one, and a parity strip that moves one member down with each stripe
//! (the left-symmetric layout: the stripe's first column follows the parity, so that any run of as
//! many strips as there are members reads from all of them).
//!
//! Strips of one member lie in the order of their stripes, so that a column's part of any run is
//! contiguous on its member. Member offsets count from the start of the member's data area.

use std::ops::Range;

use super::Level;

/// The shape of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// The level.
    pub level: Level,
    /// How many members.
    pub members: usize,
    /// Bytes of a strip; a power of two, at least 4 KiB.
    pub strip_bytes: u64,
}

/// A run of bytes within one strip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The stripe.
    pub stripe: u64,
    /// The column.
    pub column: usize,
    /// The first byte, counted from the start of the strip.
    pub within_bytes: u64,
    /// How many bytes.
    pub length_bytes: u64,
}

impl Geometry {
    /// How many strips of data a stripe has.
    pub fn columns(self) -> usize {
        match self.level {
            Level::Raid0 => self.members,
            Level::Raid1 => 1,
            Level::Raid10 => self.members / 2,
            Level::Raid5 => self.members - 1,
        }
    }

    /// Bytes of data in a stripe.
    pub fn stripe_bytes(self) -> u64 {
        self.columns() as u64 * self.strip_bytes
    }

    /// Bytes of data that members with `member_data_bytes` each hold together.
    pub fn data_bytes(self, member_data_bytes: u64) -> u64 {
        member_data_bytes / self.strip_bytes * self.stripe_bytes()
    }

    /// The members that hold a column's strips, without parity levels' rotation.
    pub fn copies(self, column: usize) -> Range<usize> {
        match self.level {
            Level::Raid1 => 0..self.members,
            Level::Raid10 => 2 * column..2 * column + 2,
            Level::Raid0 | Level::Raid5 => column..column + 1,
        }
    }

    /// The member that holds the parity of `stripe` in raid5.
    pub fn parity_member(self, stripe: u64) -> usize {
        self.members - 1 - (stripe % self.members as u64) as usize
    }

    /// The member that holds the strip of `column` in `stripe` in raid5.
    pub fn data_member(self, stripe: u64, column: usize) -> usize {
        (self.parity_member(stripe) + 1 + column) % self.members
    }

    /// Where a piece lies on its member.
    pub fn member_offset(self, piece: Piece) -> u64 {
        piece.stripe * self.strip_bytes + piece.within_bytes
    }

    /// Where a byte of a member lies in the data area; `None` where it is parity.
    pub fn data_offset(self, role: usize, member_offset: u64) -> Option<u64> {
        let stripe = member_offset / self.strip_bytes;
        let column = match self.level {
            Level::Raid0 => role,
            Level::Raid1 => 0,
            Level::Raid10 => role / 2,
            Level::Raid5 => {
                let before = self.parity_member(stripe) + 1;
                (role + self.members - before % self.members) % self.members
            }
        };
        let start = stripe * self.stripe_bytes() + column as u64 * self.strip_bytes;
        (column < self.columns()).then(|| start + member_offset % self.strip_bytes)
    }

    /// Cuts a range of the data area at strip borders.
    pub fn pieces(self, offset_bytes: u64, length_bytes: u64) -> impl Iterator<Item = Piece> {
        let end = offset_bytes + length_bytes;
        let mut at = offset_bytes;
        std::iter::from_fn(move || {
            let piece = self.piece_at(at, end);
            at += piece.map_or(0, |piece| piece.length_bytes);
            piece
        })
    }

    fn piece_at(self, at: u64, end: u64) -> Option<Piece> {
        let within_bytes = at % self.strip_bytes;
        let strip = at / self.strip_bytes;
        let columns = self.columns() as u64;
        let piece = Piece {
            stripe: strip / columns,
            column: (strip % columns) as usize,
            within_bytes,
            length_bytes: (self.strip_bytes - within_bytes).min(end - at),
        };
        (at < end).then_some(piece)
    }

    /// The stripes that a range of at least one byte touches.
    pub fn stripes(self, offset_bytes: u64, length_bytes: u64) -> Range<u64> {
        let stripe = self.stripe_bytes();
        offset_bytes / stripe..(offset_bytes + length_bytes).div_ceil(stripe)
    }

    /// The part of a range that lies in `column`, as a range of its members' offsets. It is
    /// contiguous for every level without parity; empty where the column has none of it.
    pub fn column_range(self, offset_bytes: u64, length_bytes: u64, column: usize) -> Range<u64> {
        self.column_bytes_before(offset_bytes, column)
            ..self.column_bytes_before(offset_bytes + length_bytes, column)
    }

    /// How many bytes of `column` lie before `offset_bytes` of the data area.
    fn column_bytes_before(self, offset_bytes: u64, column: usize) -> u64 {
        let within_stripe = offset_bytes % self.stripe_bytes();
        let before = within_stripe.saturating_sub(column as u64 * self.strip_bytes);
        offset_bytes / self.stripe_bytes() * self.strip_bytes + before.min(self.strip_bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn geometries() -> impl Strategy<Value = Geometry> {
        (prop::sample::select(Level::all().collect::<Vec<_>>()), 1..9usize, 12..17u32).prop_map(
            |(level, extra, shift)| {
                let members = (level.members_min() + extra).next_multiple_of(2);
                Geometry { level, members, strip_bytes: 1 << shift }
            },
        )
    }

    proptest! {
        #[test]
        fn pieces_cover_a_range_in_order_and_stay_in_their_strips(
            geometry in geometries(), offset in 0..4096u64, length in 1..4096u64
        ) {
            let (offset, length) = (offset * 512, length * 512);
            let mut at = offset;
            for piece in geometry.pieces(offset, length) {
                let strip = piece.stripe * geometry.columns() as u64 + piece.column as u64;
                prop_assert_eq!(strip * geometry.strip_bytes + piece.within_bytes, at);
                prop_assert!(piece.within_bytes + piece.length_bytes <= geometry.strip_bytes);
                at += piece.length_bytes;
            }
            prop_assert_eq!(at, offset + length);
        }

        #[test]
        fn a_columns_part_of_a_range_is_what_its_pieces_add_up_to(
            geometry in geometries(), offset in 0..4096u64, length in 1..4096u64
        ) {
            let (offset, length) = (offset * 512, length * 512);
            for column in 0..geometry.columns() {
                let range = geometry.column_range(offset, length, column);
                let pieces: Vec<_> =
                    geometry.pieces(offset, length).filter(|piece| piece.column == column).collect();
                let sum: u64 = pieces.iter().map(|piece| piece.length_bytes).sum();
                prop_assert_eq!(range.end - range.start, sum);
                if let Some(first) = pieces.first() {
                    prop_assert_eq!(range.start, geometry.member_offset(*first));
                }
            }
        }

        #[test]
        fn a_byte_of_a_member_is_found_where_its_piece_lies(
            geometry in geometries(), offset in 0..4096u64
        ) {
            let offset = offset * 512;
            let piece = geometry.pieces(offset, 512).next().unwrap();
            let roles = match geometry.level {
                Level::Raid5 => {
                    let role = geometry.data_member(piece.stripe, piece.column);
                    role..role + 1
                }
                _ => geometry.copies(piece.column),
            };
            for role in roles {
                let at = geometry.member_offset(piece);
                prop_assert_eq!(geometry.data_offset(role, at), Some(offset));
            }
            if geometry.level == Level::Raid5 {
                let role = geometry.parity_member(piece.stripe);
                let at = geometry.member_offset(piece);
                prop_assert_eq!(geometry.data_offset(role, at), None);
            }
        }

        #[test]
        fn the_strips_of_a_parity_stripe_are_on_different_members(
            members in 3..20usize, stripe in 0..1000u64
        ) {
            let geometry = Geometry { level: Level::Raid5, members, strip_bytes: 4096 };
            let mut seen: BTreeSet<_> =
                (0..members - 1).map(|column| geometry.data_member(stripe, column)).collect();
            seen.insert(geometry.parity_member(stripe));
            prop_assert_eq!(seen.len(), members);
        }
    }

    #[test]
    fn parity_is_spread_evenly_and_runs_read_from_all_members() {
        let geometry = Geometry { level: Level::Raid5, members: 4, strip_bytes: 4096 };
        let parity: Vec<_> = (0..4).map(|stripe| geometry.parity_member(stripe)).collect();
        assert_eq!(parity, [3, 2, 1, 0]);
        let run = geometry.pieces(2 * 4096, 4 * 4096);
        let members: BTreeSet<_> =
            run.map(|piece| geometry.data_member(piece.stripe, piece.column)).collect();
        assert_eq!(members.len(), 4);
    }
}
