//! What happened to the volumes of a pool, for the floor above to fetch.

use serde::Serialize;

use super::device::Volume;
use super::volumes::Volumes;
use crate::member::Member;
use crate::snapshot::EngineEvent;
use crate::units::Epoch;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum VolumeEvent {
    /// Snapshots were given up.
    SnapshotsDropped {
        /// The volume.
        volume: String,
        /// The snapshots' names.
        snapshots: Vec<String>,
        /// Why.
        reason: String,
    },
    /// Parts of the snapshot map or the atomic log were damaged, and are written anew.
    MapRepaired {
        /// The volume.
        volume: String,
        /// In words.
        what: String,
    },
    /// The exception store is full; the volume's policy was followed.
    StoreFull {
        /// The volume.
        volume: String,
    },
    /// The exception store fills.
    StoreThreshold {
        /// The volume.
        volume: String,
        /// Per cent of what it may take.
        percent: u8,
    },
}

impl<M: Member> Volumes<M> {
    /// What happened since the last call, volume by volume, oldest first.
    pub fn take_events(&self) -> Vec<VolumeEvent> {
        let volumes = self.all();
        let events = volumes.iter().flat_map(|volume| {
            volume.engine.take_events().into_iter().map(|event| volume.name_event(event))
        });
        events.collect()
    }
}

impl<M: Member> Volume<M> {
    fn name_event(&self, event: EngineEvent) -> VolumeEvent {
        let volume = self.name.clone();
        match event {
            EngineEvent::SnapshotsDropped { epochs, reason } => {
                VolumeEvent::SnapshotsDropped { volume, snapshots: self.names(&epochs), reason }
            }
            EngineEvent::MapRepaired { what } => VolumeEvent::MapRepaired { volume, what },
            EngineEvent::StoreFull => VolumeEvent::StoreFull { volume },
            EngineEvent::StoreThreshold { percent } => {
                VolumeEvent::StoreThreshold { volume, percent }
            }
        }
    }

    /// The names of those of the snapshots that are still in the catalog.
    fn names(&self, epochs: &[Epoch]) -> Vec<String> {
        let catalog = self.pool.catalog();
        let record = catalog.volumes.get(&self.id);
        let snapshots = record.iter().flat_map(|record| &record.snapshots);
        let dropped = snapshots.filter(|snapshot| epochs.contains(&snapshot.epoch));
        dropped.map(|snapshot| snapshot.name.clone()).collect()
    }
}
