//! The catalog as the engine's ledger of snapshots.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{IoError, PoolError};
use crate::member::Member;
use crate::pool::{Pool, SnapshotState, VolumeId};
use crate::snapshot::SnapshotLedger;
use crate::units::Epoch;

/// Where a volume's snapshots are marked invalid.
pub struct CatalogLedger<M> {
    pool: Arc<Pool<M>>,
    volume: VolumeId,
    /// Epochs that were given up before their snapshot was recorded. Looked at and added to inside
    /// of catalog updates only, which come one after another: so either the record comes first and is
    /// marked, or it never comes.
    unrecorded: Mutex<BTreeSet<Epoch>>,
}

impl<M: Member> CatalogLedger<M> {
    /// The ledger of `volume`.
    pub fn new(pool: Arc<Pool<M>>, volume: VolumeId) -> Arc<Self> {
        Arc::new(Self { pool, volume, unrecorded: Mutex::default() })
    }

    /// Whether the snapshot of this epoch was given up before it was recorded.
    pub fn gave_up(&self, epoch: Epoch) -> bool {
        self.unrecorded().contains(&epoch)
    }

    fn unrecorded(&self) -> MutexGuard<'_, BTreeSet<Epoch>> {
        self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Member> SnapshotLedger for Arc<CatalogLedger<M>> {
    async fn invalidate(&self, epochs: &[Epoch], reason: &str) -> Result<(), IoError> {
        let update = self.pool.update(|catalog| {
            let record = catalog.volume_mut(self.volume);
            let mut snapshots =
                record.map_or_else(Vec::new, |record| record.snapshots.iter_mut().collect());
            for epoch in epochs {
                match snapshots.iter_mut().find(|snapshot| snapshot.epoch == *epoch) {
                    Some(snapshot) => {
                        snapshot.state = SnapshotState::Invalid;
                        snapshot.invalid_reason = Some(reason.to_owned());
                    }
                    None => {
                        self.unrecorded().insert(*epoch);
                    }
                }
            }
            Ok(())
        });
        update.await.map_err(|error| match error {
            PoolError::Io(error) => error,
            other => IoError::failed(other.to_string()),
        })
    }
}
