//! Volumes as users see them, and their check.

use std::sync::{Arc, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::device::Volume;
use super::volumes::Volumes;
use crate::error::PoolError;
use crate::member::Member;
use crate::pool::{VolumeId, VolumeRecord};
use crate::snapmap::{CheckReport, ChecksumErrors, MapError};

/// A volume: its record in the catalog, as it stood when it was asked for, and the state of its
/// exception store. To have one costs nothing that grows with the record.
#[derive(Clone, Debug)]
pub struct VolumeStatus {
    /// The record.
    pub record: Arc<VolumeRecord>,
    /// The exception store.
    pub store: StoreStatus,
}

/// How full an exception store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreStatus {
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes that it has.
    pub capacity_bytes: u64,
    /// Bytes that it may take; `None` as many as the pool has.
    pub limit_bytes: Option<u64>,
    /// Preserved chunks.
    pub preserved_chunks: u64,
    /// Failed checksums of map and preserved data since the volume was opened.
    pub checksum_errors: ChecksumErrors,
}

impl<M: Member> Volumes<M> {
    /// All volumes, by name.
    pub fn list(&self) -> Vec<VolumeStatus> {
        self.all().iter().filter_map(|volume| volume.status()).collect()
    }

    /// The names of all volumes, ascending.
    pub fn names(&self) -> Vec<String> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.keys().cloned().collect()
    }

    /// How many volumes there are.
    pub fn count(&self) -> usize {
        self.open.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The volumes whose attribute `name` is `value`.
    pub fn with_attribute(&self, name: &str, value: &str) -> Vec<VolumeStatus> {
        let catalog = self.pool.catalog();
        let records = catalog.volumes.values();
        let found =
            records.filter(|record| record.attributes.get(name).is_some_and(|at| at == value));
        found.filter_map(|record| self.status(&record.name)).collect()
    }

    /// The volume called `name`; no other one is looked at.
    pub fn status(&self, name: &str) -> Option<VolumeStatus> {
        self.get(name).ok()?.status()
    }

    /// The volume of that identity, whatever it is called; no other one is looked at.
    pub fn status_of(&self, id: VolumeId) -> Option<VolumeStatus> {
        let catalog = self.pool.catalog();
        self.status(&catalog.volumes.get(&id)?.name)
    }

    /// A volume's snapshot map in words, a line for each block and record; and its atomic log.
    pub async fn dump(&self, volume: &str) -> Result<String, PoolError> {
        let volume = self.get(volume)?;
        let map = volume.engine.dump().await.map_err(|error| match error {
            MapError::Io(error) => PoolError::Io(error),
            other => PoolError::Damaged(other.to_string()),
        })?;
        Ok(map + &volume.dump_atomic_log().await?)
    }

    /// Verifies every invariant of a volume's snapshot map and atomic log, and the data of every preserved
    /// chunk; it may take long. What is wrong is in the report.
    pub async fn check(&self, volume: &str) -> Result<CheckReport, PoolError> {
        let volume = self.get(volume)?;
        let mut report = volume.engine.check().await?;
        report.problems.extend(volume.check_atomic_log().await?);
        let catalog = self.pool.catalog();
        let record = catalog.volumes.get(&volume.id);
        let snapshots = record.map_or(&[][..], |record| &record.snapshots[..]);
        if snapshots.windows(2).any(|pair| pair[0].epoch >= pair[1].epoch) {
            report.problems.push("the snapshots' epochs do not rise".into());
        }
        let next = record.map_or(0, |record| record.next_epoch);
        if snapshots.iter().any(|snapshot| snapshot.epoch.0 >= next) {
            report.problems.push("a snapshot has an epoch that is still to come".into());
        }
        Ok(report)
    }
}

impl<M: Member> Volume<M> {
    /// `None` where the volume has just been deleted.
    fn status(&self) -> Option<VolumeStatus> {
        let record = Arc::clone(self.pool.catalog().volumes.get(&self.id)?);
        let usage = self.engine.store_usage();
        let store = StoreStatus {
            used_bytes: usage.used_bytes,
            capacity_bytes: usage.capacity_bytes,
            limit_bytes: record.store_limit_bytes,
            preserved_chunks: usage.exceptions,
            checksum_errors: self.engine.checksum_errors(),
        };
        Some(VolumeStatus { record, store })
    }
}

/// Now, in milliseconds since 1970; only ever shown.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
