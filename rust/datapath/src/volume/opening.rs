//! From a record in the catalog to an open volume.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::atomic_log::AtomicLog;
use super::attributes::provisioning;
use super::device::Volume;
use super::ledger::CatalogLedger;
use super::volumes::Volumes;
use crate::block_io::BlockIo;
use crate::error::PoolError;
use crate::limits::STORE_BYTES_INITIAL;
use crate::limits::STORE_CHUNKS_MIN;
use crate::member::Member;
use crate::pool::{Pool, SnapshotState, Space, SpaceId, StorePolicy, VolumeRecord};
use crate::snapmap::{ExceptionStore, LiveSet, MapError, repair_in_doubt};
use crate::snapshot::{
    Engine, EngineEvent, EngineOptions, FullPolicy, PointRange, SnapshotPoint, StoreRules,
};
use crate::stripe::Opening;
use crate::units::{ChunkSize, Epoch};

impl<M: Member> Volumes<M> {
    /// Imports a pool with its volumes. After an unclean stop, what their checksums can judge is repaired
    /// before copies and parity are made equal, so that a resync spreads nothing that is damaged.
    pub async fn import(
        members: Vec<M>,
        opening: Opening,
    ) -> Result<(Arc<Self>, Vec<PoolError>), PoolError> {
        let (pool, refused) = Pool::begin_open(members, opening).await?;
        if pool.is_in_doubt() {
            for record in pool.catalog().volumes.values() {
                // What it could not read or repair is found again when the volume is opened.
                drop(repair_volume(&pool, record).await);
            }
        }
        pool.end_open().await?;
        Ok((Self::open(pool).await?, refused))
    }

    /// Opens a volume. Snapshots that its map has lost parts of are given up, in the catalog first, all
    /// of them with a new map where nothing of it can be trusted: the origin never suffers.
    pub(super) async fn open_volume(
        &self,
        mut record: VolumeRecord,
    ) -> Result<Arc<Volume<M>>, PoolError> {
        let chunk = chunk_of(&record)?;
        let mut given_up = Vec::new();
        // Ends: each round gives up the snapshots that the one before it could not be opened with.
        let store = loop {
            let live = points_of(&record);
            let space = self.store_space(record.store, record.store_limit_bytes)?;
            let set = LiveSet::new(live.iter().map(|point| point.live(chunk)).collect());
            let id = record.id.0;
            match ExceptionStore::open(space, chunk, id, set, self.store_options).await {
                Ok(store) => break store,
                Err(MapError::Io(error)) => return Err(error.into()),
                Err(error @ MapError::Version(_)) => {
                    return Err(PoolError::Damaged(format!("volume {}: {error}", record.name)));
                }
                Err(MapError::Lost { up_to, reason }) => {
                    let lost = live.iter().map(|point| point.epoch).filter(|epoch| *epoch <= up_to);
                    given_up.push((lost.collect(), reason.clone()));
                    record = self.give_up(&record, record.store, up_to, &reason).await?;
                }
                Err(MapError::Damaged(reason)) => {
                    given_up.push((live.iter().map(|point| point.epoch).collect(), reason.clone()));
                    let (store, replaced) = self.replace_store(&record, &reason).await?;
                    record = replaced;
                    break store;
                }
            }
        };
        let repaired = store.checksum_errors().repaired;
        let volume = self.assemble(&record, store)?;
        for (epochs, reason) in given_up {
            let reason = damage(&reason);
            volume.engine.announce(EngineEvent::SnapshotsDropped { epochs, reason });
        }
        if repaired > 0 {
            let what = format!("{repaired} structures of the snapshot map");
            volume.engine.announce(EngineEvent::MapRepaired { what });
        }
        if let Some(space) = record.atomic_log {
            volume.recover_atomic_log(space).await?;
        }
        Ok(volume)
    }

    /// An open volume of its record and its open store.
    pub(super) fn assemble(
        &self,
        record: &VolumeRecord,
        store: ExceptionStore<Space<M>>,
    ) -> Result<Arc<Volume<M>>, PoolError> {
        let options = EngineOptions {
            size_bytes: record.size_bytes,
            rules: rules_of(record),
            points: points_of(record),
            next_epoch: Epoch(record.next_epoch),
        };
        let origin = self.pool.space(record.origin)?;
        let ledger = CatalogLedger::new(self.pool.clone(), record.id);
        Ok(Arc::new(Volume {
            id: record.id,
            name: record.name.clone(),
            block_bytes: record.block_bytes,
            engine: Arc::new(Engine::open(origin, store, ledger.clone(), options)),
            ledger,
            pool: self.pool.clone(),
            pool_id: self.pool.id(),
            origin: record.origin,
            atomic_log: tokio::sync::Mutex::new(None),
            provisioning: provisioning(&record.attributes),
        }))
    }

    /// Makes a space for an exception store and an empty store in it.
    pub(super) async fn create_store(
        &self,
        record: &VolumeRecord,
    ) -> Result<(SpaceId, ExceptionStore<Space<M>>), PoolError> {
        let chunk = chunk_of(record)?;
        let wanted = STORE_BYTES_INITIAL.max(STORE_CHUNKS_MIN * chunk.bytes());
        let size_bytes = wanted.min(record.store_limit_bytes.unwrap_or(u64::MAX));
        let id = self.pool.create_space(size_bytes).await?;
        let space = self.store_space(id, record.store_limit_bytes)?;
        let store = ExceptionStore::create(space, chunk, record.id.0, self.store_options).await?;
        Ok((id, store))
    }

    /// Gives a volume a new store for one that is damaged. Its snapshots end in the same update that
    /// names the new store; the old one's space is given back last.
    async fn replace_store(
        &self,
        record: &VolumeRecord,
        reason: &str,
    ) -> Result<(ExceptionStore<Space<M>>, VolumeRecord), PoolError> {
        let (space, store) = self.create_store(record).await?;
        let replaced = self.give_up(record, space, Epoch(u32::MAX), reason).await?;
        self.give_back(record.store).await?;
        Ok((store, replaced))
    }

    /// Ends the live snapshots of epochs up to `up_to`, and names the store's space in the same update.
    async fn give_up(
        &self,
        record: &VolumeRecord,
        store: SpaceId,
        up_to: Epoch,
        reason: &str,
    ) -> Result<VolumeRecord, PoolError> {
        let update = self.pool.update(|catalog| {
            let missing = || PoolError::NotFound(format!("volume {}", record.name));
            let record = catalog.volume_mut(record.id).ok_or_else(missing)?;
            record.store = store;
            for snapshot in &mut record.snapshots {
                if snapshot.state == SnapshotState::Live && snapshot.epoch <= up_to {
                    snapshot.state = SnapshotState::Invalid;
                    snapshot.invalid_reason = Some(damage(reason));
                }
            }
            Ok(record.clone())
        });
        update.await
    }

    /// Gives back the spaces that no volume names.
    pub(super) async fn give_back_unused_spaces(&self) -> Result<(), PoolError> {
        let catalog = self.pool.catalog();
        let named = catalog.volumes.values().flat_map(|record| record.spaces());
        let named: BTreeSet<SpaceId> = named.collect();
        for space in catalog.spaces.keys().filter(|space| !named.contains(space)) {
            self.give_back(*space).await?;
        }
        Ok(())
    }

    /// Deletes a space that no volume names, and gives its room back to what the members lie on.
    pub(super) async fn give_back(&self, id: SpaceId) -> Result<(), PoolError> {
        let space = self.pool.space(id)?;
        // Where the room stays taken, the extents are free in the pool all the same.
        drop(space.discard(0, space.size_bytes()).await);
        self.pool.delete_space(id).await
    }

    pub(super) fn store_space(
        &self,
        id: SpaceId,
        limit_bytes: Option<u64>,
    ) -> Result<Arc<Space<M>>, PoolError> {
        let space = self.pool.space(id)?;
        space.set_limit(limit_bytes);
        Ok(space)
    }
}

/// The rules of a volume's exception store.
pub(super) fn rules_of(record: &VolumeRecord) -> StoreRules {
    let policy = match record.policy {
        StorePolicy::DropSnapshot => FullPolicy::DropSnapshot,
        StorePolicy::FailWrite => FullPolicy::FailWrite,
    };
    StoreRules { policy, limit_bytes: record.store_limit_bytes }
}

async fn repair_volume<M: Member>(
    pool: &Arc<Pool<M>>,
    record: &VolumeRecord,
) -> Result<(), PoolError> {
    let chunk = chunk_of(record)?;
    let live = points_of(record).iter().map(|point| point.live(chunk)).collect();
    let space = pool.space(record.store)?;
    let repaired = repair_in_doubt(&*space, chunk, record.id.0, &LiveSet::new(live)).await;
    if let Some(log) = record.atomic_log {
        AtomicLog::open(pool.space(log)?, record.id.0).await?;
    }
    repaired.map_err(|error| PoolError::Damaged(error.to_string()))
}

fn damage(reason: &str) -> String {
    format!("the snapshot map is damaged: {reason}")
}

/// The live snapshots of a record.
fn points_of(record: &VolumeRecord) -> Vec<SnapshotPoint> {
    let live = record.snapshots.iter().filter(|snapshot| snapshot.state == SnapshotState::Live);
    live.map(|snapshot| SnapshotPoint {
        epoch: snapshot.epoch,
        range: PointRange { first_byte: snapshot.first_byte, length_bytes: snapshot.length_bytes },
    })
    .collect()
}

fn chunk_of(record: &VolumeRecord) -> Result<ChunkSize, PoolError> {
    ChunkSize::new(record.chunk_bytes.into()).ok_or_else(|| {
        PoolError::Damaged(format!(
            "volume {} has chunks of {} bytes",
            record.name, record.chunk_bytes
        ))
    })
}
