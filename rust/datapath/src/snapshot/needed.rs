//! `needed(c)`: the highest epoch of a live snapshot that covers each chunk; constant over pieces of
//! the volume, so a sorted list.

use std::collections::BTreeSet;

use crate::snapmap::LiveSet;
use crate::units::{ChunkIndex, Epoch};

/// The needed epochs of a volume.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Needed {
    /// From this chunk on, up to the next entry's, this epoch; in 64 bits, since the border after
    /// the last chunk may be 2^32.
    pieces: Vec<(u64, Epoch)>,
    highest: Epoch,
}

impl Needed {
    /// What the live snapshots need.
    pub fn of_live(live: &LiveSet) -> Self {
        let mut borders: Vec<(u64, bool, Epoch)> = Vec::with_capacity(live.points().len() * 2);
        for point in live.points() {
            borders.push((u64::from(point.first.0), true, point.epoch));
            borders.push((u64::from(point.last.0) + 1, false, point.epoch));
        }
        borders.sort_unstable();
        let mut pieces: Vec<(u64, Epoch)> = Vec::new();
        let mut covering = BTreeSet::new();
        for (chunk, begins, epoch) in borders {
            if begins {
                covering.insert(epoch);
            } else {
                covering.remove(&epoch);
            }
            let highest = covering.last().copied().unwrap_or_default();
            match pieces.last_mut() {
                Some(last) if last.0 == chunk => last.1 = highest,
                _ => pieces.push((chunk, highest)),
            }
        }
        pieces.dedup_by_key(|piece| piece.1);
        let highest = live.points().last().map(|point| point.epoch).unwrap_or_default();
        Self { pieces, highest }
    }

    /// The highest of all chunks; 0 where there is no live snapshot.
    pub fn highest(&self) -> Epoch {
        self.highest
    }

    /// `needed(chunk)`, 0 where no live snapshot covers it.
    pub fn of(&self, chunk: ChunkIndex) -> Epoch {
        let after = self.pieces.partition_point(|piece| piece.0 <= u64::from(chunk.0));
        after.checked_sub(1).map_or(Epoch(0), |index| self.pieces[index].1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::snapmap::LivePoint;

    proptest! {
        #[test]
        fn agrees_with_looking_at_every_snapshot(
            ranges in proptest::collection::vec((0u32..40, 0u32..40), 0..8),
        ) {
            let points = ranges.iter().enumerate().map(|(number, &(first, length))| LivePoint {
                epoch: Epoch(number as u32 + 1),
                first: ChunkIndex(first),
                last: ChunkIndex(first + length),
            });
            let live = LiveSet::new(points.collect());
            let needed = Needed::of_live(&live);
            for chunk in (0..90).map(ChunkIndex) {
                let covering = live.points().iter().filter(|point| point.covers(chunk));
                let expected = covering.map(|point| point.epoch).max().unwrap_or_default();
                prop_assert_eq!(needed.of(chunk), expected);
            }
        }
    }

    #[test]
    fn a_snapshot_of_the_largest_volume_ends_at_its_end() {
        let (first, last) = (ChunkIndex(0), ChunkIndex(u32::MAX));
        let needed =
            Needed::of_live(&LiveSet::new(vec![LivePoint { epoch: Epoch(3), first, last }]));
        assert_eq!([needed.of(first), needed.of(last), needed.highest()], [Epoch(3); 3]);
    }
}
