//! Holding the writes of one or more volumes, to take their snapshots at one point.
//!
//! ```text
//! turn to hold, volume by volume, in one order for everybody
//! close all gates      new writes wait
//! drain all            those in flight end; held ones are not in flight
//! flip all             the next change of any chunk preserves it
//! drop the holds       writes go on
//! ```
//! Only changes that are being applied to the origin are waited for: a write that is preserving has not
//! passed the gate, looks again when it does, and preserves for the new snapshot too. Making the point
//! durable comes after the holds are gone.

use super::engine::Engine;
use super::point::PointRange;
use super::policy::SnapshotLedger;
use crate::block_io::{BlockIo, Growable};
use crate::error::IoError;
use crate::gate::Held;
use crate::units::Epoch;

/// A volume whose origin does not change until this is dropped.
pub struct Hold<'a, O, S, L> {
    engine: &'a Engine<O, S, L>,
    _held: Held<'a>,
}

/// Holds all `engines`. No two callers may name them in different orders, and none may name one twice.
pub async fn hold_all<'a, O: BlockIo, S: Growable, L: SnapshotLedger>(
    engines: &[&'a Engine<O, S, L>],
) -> Vec<Hold<'a, O, S, L>> {
    let mut holders = Vec::with_capacity(engines.len());
    for engine in engines {
        holders.push(engine.gate.holder().await);
    }
    let closed: Vec<Held<'a>> = holders.into_iter().map(|holder| holder.close()).collect();
    for held in &closed {
        held.drain().await;
    }
    let holds = engines.iter().zip(closed);
    holds.map(|(engine, held)| Hold { engine, _held: held }).collect()
}

impl<O: BlockIo, S: Growable, L: SnapshotLedger> Hold<'_, O, S, L> {
    /// Takes the point: from now on a live snapshot of `range` exists in memory, and this is its epoch.
    /// The caller makes origin and record durable after the hold, or forgets the epoch.
    pub fn flip(&self, range: PointRange) -> Result<Epoch, IoError> {
        self.engine.fail_if_closed()?;
        self.engine.add_point(range)
    }
}

impl<O: BlockIo, S: Growable, L: SnapshotLedger> Engine<O, S, L> {
    /// Holds this volume alone.
    pub async fn hold(&self) -> Hold<'_, O, S, L> {
        let held = self.gate.holder().await.close();
        held.drain().await;
        Hold { engine: self, _held: held }
    }
}
