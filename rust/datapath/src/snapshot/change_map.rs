//! What changed between two snapshots, or since one.
//!
//! A chunk was changed between a < b when it has an exception with a tag t, epoch(a) <= t < epoch(b):
//! the first change after a preserved it, and b, which did not exist yet, cannot be why. Without b:
//! t >= epoch(a). Such an exception lives as long as a, which reads the lowest of them.

use std::ops::ControlFlow;

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
    /// there is none), ascending and merged, from chunk `first` on: the first `limit` runs. Right for
    /// chunks that both snapshots cover, and as long as both are live. Costs the exceptions that it
    /// comes by, not those that it does not reach.
    pub fn changed(
        &self,
        since: Epoch,
        until: Option<Epoch>,
        first: ChunkIndex,
        limit: usize,
    ) -> Vec<ChunkRun> {
        let mut runs: Vec<ChunkRun> = Vec::new();
        self.store.walk(first, |record| {
            if record.tag < since || until.is_some_and(|until| record.tag >= until) {
                return ControlFlow::Continue(());
            }
            let (chunk, full) = (u64::from(record.chunk.0), runs.len() == limit);
            match runs.last_mut() {
                Some(run) if chunk < u64::from(run.first.0) + run.count => {}
                Some(run) if chunk == u64::from(run.first.0) + run.count => run.count += 1,
                _ if full => return ControlFlow::Break(()),
                _ => runs.push(ChunkRun { first: record.chunk, count: 1 }),
            }
            ControlFlow::Continue(())
        });
        runs
    }
}
