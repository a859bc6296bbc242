//! What changed between two snapshots, or since one.
//!
//! A chunk was changed between a < b when it has an exception with a tag t, epoch(a) <= t < epoch(b):
//! the first change after a preserved it, and b, which did not exist yet, cannot be why. Without b:
//! t >= epoch(a). Such an exception lives as long as a, which reads the lowest of them.

use super::engine::Engine;
use super::policy::SnapshotLedger;
use crate::block_io::{BlockIo, Growable};
use crate::units::{ChunkIndex, Epoch};

/// Chunks in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRun {
    /// The first.
    pub first: ChunkIndex,
    /// How many.
    pub count: u64,
}

impl<O: BlockIo, S: Growable, L: SnapshotLedger> Engine<O, S, L> {
    /// The chunks changed after the snapshot of epoch `since` and before that of `until` (now, when
    /// there is none), ascending and merged. Right for chunks that both snapshots cover, and as long
    /// as both are live.
    pub fn changed(&self, since: Epoch, until: Option<Epoch>) -> Vec<ChunkRun> {
        let mut changed = Vec::new();
        self.store.for_each(|record| {
            if record.tag >= since && until.is_none_or(|until| record.tag < until) {
                changed.push(record.chunk);
            }
        });
        changed.sort_unstable();
        let mut runs: Vec<ChunkRun> = Vec::new();
        for chunk in changed {
            match runs.last_mut() {
                Some(run) if u64::from(chunk.0) < u64::from(run.first.0) + run.count => {}
                Some(run) if u64::from(chunk.0) == u64::from(run.first.0) + run.count => {
                    run.count += 1;
                }
                _ => runs.push(ChunkRun { first: chunk, count: 1 }),
            }
        }
        runs
    }
}
