//! Which exceptions are still needed: the live snapshots as the store sees them.

use crate::units::{ChunkIndex, Epoch};

/// A live snapshot: its epoch and the chunks that it covers, `first` to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LivePoint {
    /// The snapshot's epoch.
    pub epoch: Epoch,
    /// The first chunk that it covers.
    pub first: ChunkIndex,
    /// The last chunk that it covers.
    pub last: ChunkIndex,
}

impl LivePoint {
    /// Whether it covers `chunk`.
    pub fn covers(&self, chunk: ChunkIndex) -> bool {
        (self.first..=self.last).contains(&chunk)
    }
}

/// The live snapshots of a volume, in the order of their epochs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveSet {
    points: Vec<LivePoint>,
}

impl LiveSet {
    /// The set of `points`, in any order; no two have the same epoch.
    pub fn new(mut points: Vec<LivePoint>) -> Self {
        points.sort_by_key(|point| point.epoch);
        Self { points }
    }

    /// The live snapshots, oldest first.
    pub fn points(&self) -> &[LivePoint] {
        &self.points
    }

    /// Those that cover `chunk` and have an epoch in (`above`, `tag`]: they read the exception
    /// (`chunk`, `tag`) when the next lower tag of the chunk is `above`.
    pub fn readers(
        &self,
        chunk: ChunkIndex,
        above: Epoch,
        tag: Epoch,
    ) -> impl Iterator<Item = &LivePoint> {
        let start = self.points.partition_point(|point| point.epoch <= above);
        self.points[start..]
            .iter()
            .take_while(move |point| point.epoch <= tag)
            .filter(move |point| point.covers(chunk))
    }

    /// Whether the exception (`chunk`, `tag`) is live.
    pub fn keeps(&self, chunk: ChunkIndex, above: Epoch, tag: Epoch) -> bool {
        self.readers(chunk, above, tag).next().is_some()
    }
}
