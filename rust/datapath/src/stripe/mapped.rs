//! What of the data area is mapped, and taking space in advance.
//!
//! A member's strips lie in the order of their stripes, so a run on a member is a run of the set as
//! far as that member is concerned: each member is asked once, and the first that differs ends the
//! run. What a member cannot tell is mapped: reads of it are computed from the others.

use futures_util::future::join_all;

use super::Level;
use super::geometry::Piece;
use super::set::StripeSet;
use crate::error::IoError;
use crate::limits::ALLOCATED_PIECE_BYTES;
use crate::member::Member;

/// A member's part of a range.
struct Share {
    /// `None` where no member in sync has it.
    role: Option<usize>,
    first: Piece,
    /// Where `first` lies in the data area.
    offset_bytes: u64,
}

impl<M: Member> StripeSet<M> {
    pub(super) async fn find_run(&self, offset_bytes: u64, length_bytes: u64) -> (bool, u64) {
        let end = offset_bytes + length_bytes;
        let members_end =
            self.geometry.stripes(offset_bytes, length_bytes).end * self.geometry.strip_bytes;
        let shares = self.shares(offset_bytes, length_bytes);
        let runs = shares.iter().map(|share| self.member_run(share, members_end));
        let runs = join_all(runs).await;
        let mapped = runs[0].0;
        let ends =
            shares.iter().zip(runs).map(
                |(share, (state, run_end))| {
                    if state == mapped { run_end } else { share.offset_bytes }
                },
            );
        (mapped, ends.fold(end, u64::min) - offset_bytes)
    }

    /// The members that a range lies on, each with its first piece, in the order of the pieces.
    fn shares(&self, offset_bytes: u64, length_bytes: u64) -> Vec<Share> {
        let mut shares: Vec<Share> = Vec::new();
        let mut at = offset_bytes;
        // A member holds data of every second stripe at least.
        let pieces = self.geometry.pieces(offset_bytes, length_bytes);
        for first in pieces.take(2 * self.geometry.columns() + 1) {
            let role = self.source_of(first);
            // Members that cannot be asked are mapped from their first piece on: one is enough.
            if shares.iter().all(|share| share.role != role) {
                shares.push(Share { role, first, offset_bytes: at });
            }
            at += first.length_bytes;
        }
        shares
    }

    /// A member in sync that holds the piece.
    fn source_of(&self, piece: Piece) -> Option<usize> {
        let failed = self.failed();
        let mut holders = match self.geometry.level {
            Level::Raid5 => {
                let role = self.geometry.data_member(piece.stripe, piece.column);
                role..role + 1
            }
            Level::Raid0 | Level::Raid1 | Level::Raid10 => self.geometry.copies(piece.column),
        };
        holders.find(|role| failed >> role & 1 == 0)
    }

    /// Whether the share begins mapped, and where in the data area that ends on its member.
    async fn member_run(&self, share: &Share, members_end: u64) -> (bool, u64) {
        let Some(role) = share.role else { return (true, u64::MAX) };
        let start = self.geometry.member_offset(share.first);
        let at = self.layout.data_address + start;
        let Ok((mapped, run_bytes)) = self.member(role).mapped_run(at, members_end - start).await
        else {
            return (true, u64::MAX);
        };
        let run_end = start + run_bytes;
        if run_end >= members_end {
            return (mapped, u64::MAX);
        }
        let stripe = run_end / self.geometry.strip_bytes;
        // In a parity strip: no data of this member lies in that stripe.
        let stripe_start = stripe * self.geometry.stripe_bytes();
        (mapped, self.geometry.data_offset(role, run_end).unwrap_or(stripe_start))
    }

    /// What a discard's borders must be multiples of to give its space back: whole stripes where
    /// parity covers them, since a part of one is written.
    pub(super) fn granularity_bytes(&self) -> u64 {
        let members = self.in_sync().map(|role| self.member(role).unmap_granularity_bytes());
        let coarsest = members.max().unwrap_or_default();
        let columns = self.geometry.columns() as u64;
        match self.geometry.level {
            Level::Raid5 => columns * coarsest.max(self.geometry.strip_bytes),
            _ if columns == 1 || coarsest <= self.geometry.strip_bytes => coarsest,
            Level::Raid0 | Level::Raid1 | Level::Raid10 => columns * coarsest,
        }
    }

    /// Takes the space of whole stripes on every member in sync, so that writing there cannot want
    /// for any; what they hold stays. `IoError::NoSpace` where a member lies on too little.
    pub(crate) async fn allocate(
        &self,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Result<(), IoError> {
        self.usable()?;
        let stripes = self.geometry.stripes(offset_bytes, length_bytes);
        let strip_bytes = self.geometry.strip_bytes;
        let end = self.layout.data_address + stripes.end * strip_bytes;
        let mut at = self.layout.data_address + stripes.start * strip_bytes;
        while at < end {
            let piece_bytes = ALLOCATED_PIECE_BYTES.min(end - at);
            let calls = self.in_sync().map(|role| self.member(role).allocate(at, piece_bytes));
            join_all(calls).await.into_iter().collect::<Result<(), IoError>>()?;
            at += piece_bytes;
        }
        Ok(())
    }
}
