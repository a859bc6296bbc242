//! Volumes as users see them, and their check.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::device::Volume;
use super::volumes::Volumes;
use crate::error::PoolError;
use crate::member::Member;
use crate::pool::{SnapshotRecord, StorePolicy, VolumeId, VolumeRecord};
use crate::snapmap::{CheckReport, MapError, StoreUse};

/// A volume: its record, with the state of its exception store.
#[derive(Clone, Debug, Serialize)]
pub struct VolumeStatus {
    /// Its identity.
    pub id: VolumeId,
    /// Its name.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_at_ms: u64,
    /// Its size.
    pub size_bytes: u64,
    /// Bytes of a logical block.
    pub block_bytes: u32,
    /// Bytes of a chunk.
    pub chunk_bytes: u32,
    /// What happens when the exception store is full.
    pub policy: StorePolicy,
    /// The exception store.
    pub store: StoreStatus,
    /// The snapshots, oldest first.
    pub snapshots: Vec<SnapshotRecord>,
    /// Whatever the floors above keep with the volume.
    pub attributes: BTreeMap<String, String>,
}

/// How full an exception store is.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub struct StoreStatus {
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes that it has.
    pub capacity_bytes: u64,
    /// Bytes that it may take; `None` as many as the pool has.
    pub limit_bytes: Option<u64>,
    /// Preserved chunks.
    pub preserved_chunks: u64,
}

impl<M: Member> Volumes<M> {
    /// All volumes, by name.
    pub fn list(&self) -> Vec<VolumeStatus> {
        let catalog = self.pool.catalog();
        let status = |volume: Arc<Volume<M>>| {
            let record = catalog.volumes.get(&volume.id)?.clone();
            Some(status_of(record, volume.engine.store_usage()))
        };
        self.all().into_iter().filter_map(status).collect()
    }

    /// A volume's snapshot map in words, a line for each block and record; and its atomic log.
    pub async fn dump(&self, volume: &str) -> Result<String, PoolError> {
        let volume = self.get(volume)?;
        let map = volume.engine.dump().await.map_err(|error| match error {
            MapError::Damaged(reason) => PoolError::Damaged(reason),
            MapError::Io(error) => PoolError::Io(error),
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
        let snapshots = record.map_or(&[][..], |record| &record.snapshots);
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

fn status_of(record: VolumeRecord, usage: StoreUse) -> VolumeStatus {
    VolumeStatus {
        id: record.id,
        name: record.name,
        created_at_ms: record.created_at_ms,
        size_bytes: record.size_bytes,
        block_bytes: record.block_bytes,
        chunk_bytes: record.chunk_bytes,
        policy: record.policy,
        store: StoreStatus {
            used_bytes: usage.used_bytes,
            capacity_bytes: usage.capacity_bytes,
            limit_bytes: record.store_limit_bytes,
            preserved_chunks: usage.exceptions,
        },
        snapshots: record.snapshots,
        attributes: record.attributes,
    }
}

/// Now, in milliseconds since 1970; only ever shown.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
