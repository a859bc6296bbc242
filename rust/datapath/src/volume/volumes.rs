//! The volumes of one pool.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::device::Volume;
use crate::error::PoolError;
use crate::limits::VOLUMES_OPENING_MAX;
use crate::member::Member;
use crate::pool::{Pool, VolumeRecord};
use crate::snapmap::StoreOptions;

/// The open volumes of a pool, by name.
pub struct Volumes<M> {
    pub(super) pool: Arc<Pool<M>>,
    pub(super) store_options: StoreOptions,
    /// One create or delete of a volume at a time.
    pub(super) admin: tokio::sync::Mutex<()>,
    pub(super) open: RwLock<BTreeMap<String, Arc<Volume<M>>>>,
}

impl<M: Member> Volumes<M> {
    /// Opens every volume of `pool`. `settle_groups` should follow when all pools are open.
    pub async fn open(pool: Arc<Pool<M>>) -> Result<Arc<Self>, PoolError> {
        Self::open_with(pool, StoreOptions::default()).await
    }

    /// The same, with options for the exception stores.
    pub async fn open_with(
        pool: Arc<Pool<M>>,
        store_options: StoreOptions,
    ) -> Result<Arc<Self>, PoolError> {
        let volumes = Self {
            pool,
            store_options,
            admin: tokio::sync::Mutex::new(()),
            open: RwLock::default(),
        };
        volumes.give_back_unused_spaces().await?;
        let mut records: Vec<Arc<VolumeRecord>> =
            volumes.pool.catalog().volumes.values().cloned().collect();
        // In the order they were made, so that a restart does the same each time.
        records.sort_by_key(|record| record.origin);
        let opening = stream::iter(&records)
            .map(|record| volumes.open_volume(VolumeRecord::clone(record)))
            .buffered(VOLUMES_OPENING_MAX);
        let opened: Vec<Arc<Volume<M>>> = opening.try_collect().await?;
        opened.into_iter().for_each(|volume| volumes.insert(volume));
        Ok(Arc::new(volumes))
    }

    /// Closes every volume: calls in flight end, later ones fail with `IoError::Closed`. Every volume is
    /// tried; the first failure is returned. The pool stays open.
    pub async fn close(&self) -> Result<(), PoolError> {
        let _turn = self.admin.lock().await;
        let mut outcome = Ok(());
        let volumes = self.all();
        let mut closing = stream::iter(&volumes)
            .map(|volume| async {
                // One that is under way ends as it should, not with its record left.
                let _no_atomic_write = volume.atomic_log.lock().await;
                volume.engine.close().await
            })
            .buffered(VOLUMES_OPENING_MAX);
        while let Some(closed) = closing.next().await {
            outcome = outcome.and(closed);
        }
        drop(closing);
        self.open.write().unwrap_or_else(PoisonError::into_inner).clear();
        outcome.map_err(PoolError::Io)
    }

    /// The volume called `name`.
    pub fn get(&self, name: &str) -> Result<Arc<Volume<M>>, PoolError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(name).cloned().ok_or_else(|| PoolError::NotFound(format!("volume {name}")))
    }

    /// The pool.
    pub fn pool(&self) -> &Arc<Pool<M>> {
        &self.pool
    }

    /// All volumes, by name.
    pub fn all(&self) -> Vec<Arc<Volume<M>>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.values().cloned().collect()
    }

    pub(super) fn insert(&self, volume: Arc<Volume<M>>) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.insert(volume.name.clone(), volume);
    }

    pub(super) fn remove(&self, name: &str) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}
