//! Making and deleting volumes.

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use super::attributes::{check_attributes, provisioning};
use super::device::Volume;
use super::name::check_name;
use super::opening::rules_of;
use super::status::now_ms;
use super::volumes::Volumes;
use crate::error::PoolError;
use crate::limits::{
    CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CHUNKS_PER_VOLUME_MAX, EXTENT_GRANULE_BYTES,
    STORE_CHUNKS_MIN, VOLUMES_PER_POOL_MAX,
};
use crate::member::Member;
use crate::pool::{Catalog, SpaceId, StorePolicy, VolumeId, VolumeRecord};
use crate::units::ChunkSize;

/// What a volume is made with.
#[derive(Clone, Debug)]
pub struct VolumeOptions {
    /// Its name.
    pub name: String,
    /// Its size; a multiple of `block_bytes`, not 0.
    pub size_bytes: u64,
    /// Bytes of a logical block: 512 or 4096.
    pub block_bytes: u32,
    /// Bytes of a chunk: a power of two from 4 KiB to 1 MiB.
    pub chunk_bytes: u32,
    /// What happens when the exception store is full.
    pub policy: StorePolicy,
    /// How far the exception store may grow; as far as the pool goes when `None`.
    pub store_limit_bytes: Option<u64>,
    /// Whatever the caller wants to keep with the volume.
    pub attributes: BTreeMap<String, String>,
}

impl<M: Member> Volumes<M> {
    /// Makes a volume; it reads as zeros.
    pub async fn create(&self, options: VolumeOptions) -> Result<Arc<Volume<M>>, PoolError> {
        check_options(&options)?;
        let _turn = self.admin.lock().await;
        fail_if_taken(&self.pool.catalog(), &options.name)?;
        let mut record = new_record(options);
        let provisioning = provisioning(&record.attributes);
        record.origin =
            self.pool.create_space_with(record.size_bytes, provisioning, |_, _| Ok(())).await?;
        let created = self.create_on(&mut record).await;
        if created.is_err() {
            // What was made so far has no record; whatever stays is given back at the next open.
            drop(self.give_back_unused_spaces().await);
        }
        created
    }

    async fn create_on(&self, record: &mut VolumeRecord) -> Result<Arc<Volume<M>>, PoolError> {
        let (store_space, store) = self.create_store(record).await?;
        record.store = store_space;
        let volume = self.assemble(record, store)?;
        let update = self.pool.update(|catalog| {
            fail_if_taken(catalog, &record.name)?;
            catalog.volumes.insert(record.id, Arc::new(record.clone()));
            Ok(())
        });
        update.await?;
        self.insert(volume.clone());
        Ok(volume)
    }

    /// Changes what the volume's exception store may take, and what happens when that is not enough.
    /// Durable and in force when it returns `Ok`. A store that has more already keeps it.
    pub async fn set_store_rules(
        &self,
        name: &str,
        policy: StorePolicy,
        limit_bytes: Option<u64>,
    ) -> Result<(), PoolError> {
        let _turn = self.admin.lock().await;
        let volume = self.get(name)?;
        check_store_limit(limit_bytes, volume.engine.chunk())?;
        let record = self
            .pool
            .update(|catalog| {
                let record = catalog.volume_mut(volume.id);
                let record = record.ok_or_else(|| PoolError::NotFound(format!("volume {name}")))?;
                record.policy = policy;
                record.store_limit_bytes = limit_bytes;
                Ok(record.clone())
            })
            .await?;
        self.store_space(record.store, limit_bytes)?;
        volume.engine.set_rules(rules_of(&record));
        Ok(())
    }

    /// Overwrites everything that the volume's snapshots have preserved, and its log of atomic
    /// writes; `Busy` while it has snapshots that can be read. Durable when it returns `Ok`.
    pub async fn erase_store(&self, name: &str) -> Result<(), PoolError> {
        let _turn = self.admin.lock().await;
        let volume = self.get(name)?;
        if volume.engine.erase_store().await? {
            return volume.erase_atomic_log().await;
        }
        Err(PoolError::Busy(format!("volume {name} has snapshots: delete them first")))
    }

    /// Deletes a volume without snapshots. Calls on it fail with `IoError::Closed` from then on.
    pub async fn delete(&self, name: &str) -> Result<(), PoolError> {
        let _turn = self.admin.lock().await;
        let volume = self.get(name)?;
        let update = self.pool.update(|catalog| {
            let record = catalog.volumes.get(&volume.id);
            let record = record.ok_or_else(|| PoolError::NotFound(format!("volume {name}")))?;
            if let Some(snapshot) = record.snapshots.first() {
                return Err(PoolError::Busy(format!(
                    "volume {name} has {} snapshots (the first is {}): delete them first",
                    record.snapshots.len(),
                    snapshot.name
                )));
            }
            Ok(catalog.volumes.remove(&volume.id))
        });
        let record = update.await?;
        self.remove(name);
        volume.engine.stop().await;
        for space in record.iter().flat_map(|record| record.spaces()) {
            self.give_back(space).await?;
        }
        Ok(())
    }
}

fn check_options(options: &VolumeOptions) -> Result<(), PoolError> {
    let invalid = |text: String| Err(PoolError::Invalid(text));
    check_name("volume", &options.name)?;
    check_attributes(&options.attributes)?;
    if ![512, 4096].contains(&options.block_bytes) {
        return invalid(format!("a block has 512 or 4096 bytes, not {}", options.block_bytes));
    }
    let Some(chunk) = ChunkSize::new(options.chunk_bytes.into()) else {
        return invalid(format!(
            "a chunk is a power of two from {CHUNK_BYTES_MIN} to {CHUNK_BYTES_MAX} bytes, not {}",
            options.chunk_bytes
        ));
    };
    check_size(options.size_bytes, options.block_bytes.into(), chunk)?;
    check_store_limit(options.store_limit_bytes, chunk)
}

fn check_store_limit(limit_bytes: Option<u64>, chunk: ChunkSize) -> Result<(), PoolError> {
    let least = EXTENT_GRANULE_BYTES.max(STORE_CHUNKS_MIN * chunk.bytes());
    if limit_bytes.is_some_and(|limit_bytes| limit_bytes < least) {
        return Err(PoolError::Invalid(format!(
            "the exception store needs at least {least} bytes"
        )));
    }
    Ok(())
}

/// Whether a volume may have this size: whole blocks, and no more chunks than can be counted.
pub(super) fn check_size(
    size_bytes: u64,
    block_bytes: u64,
    chunk: ChunkSize,
) -> Result<(), PoolError> {
    if size_bytes == 0 || !size_bytes.is_multiple_of(block_bytes) {
        return Err(PoolError::Invalid(format!(
            "a size of {size_bytes} bytes is no whole number of blocks of {block_bytes} bytes"
        )));
    }
    if size_bytes.div_ceil(chunk.bytes()) > CHUNKS_PER_VOLUME_MAX {
        return Err(PoolError::Invalid(format!(
            "{size_bytes} bytes are more than {CHUNKS_PER_VOLUME_MAX} chunks of {} bytes",
            chunk.bytes()
        )));
    }
    Ok(())
}

fn fail_if_taken(catalog: &Catalog, name: &str) -> Result<(), PoolError> {
    if catalog.volume_named(name).is_some() {
        return Err(PoolError::Exists(format!("volume {name}")));
    }
    if catalog.volumes.len() >= VOLUMES_PER_POOL_MAX {
        return Err(PoolError::NoSpace(format!(
            "a pool has at most {VOLUMES_PER_POOL_MAX} volumes"
        )));
    }
    Ok(())
}

/// The record of a new volume, its spaces still to be made.
fn new_record(options: VolumeOptions) -> VolumeRecord {
    VolumeRecord {
        id: VolumeId(Uuid::new_v4()),
        name: options.name,
        created_at_ms: now_ms(),
        size_bytes: options.size_bytes,
        block_bytes: options.block_bytes,
        chunk_bytes: options.chunk_bytes,
        origin: SpaceId(0),
        store: SpaceId(0),
        atomic_log: None,
        store_limit_bytes: options.store_limit_bytes,
        policy: options.policy,
        next_epoch: 1,
        snapshots: Vec::new(),
        attributes: options.attributes,
    }
}
