//! Floor 2, upper half: a pool is a stripe set with a catalog and free space.
//!
//! The bodies follow the stripe set; the signatures are what floors above build on.

pub mod catalog;
mod space;

use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

pub use catalog::{
    Catalog, Extent, SnapshotRecord, SnapshotState, SpaceId, StorePolicy, VolumeId, VolumeRecord,
};
pub use space::Space;

use crate::error::PoolError;
use crate::member::Member;
use crate::stripe::Level;

/// What a pool is made with.
#[derive(Clone, Debug)]
pub struct CreateOptions {
    /// Its name.
    pub name: String,
    /// Its level.
    pub level: Level,
    /// Bytes of a strip: a power of two from 4 KiB to 1 MiB.
    pub strip_bytes: u64,
}

/// A pool as users see it.
#[derive(Clone, Debug, Serialize)]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub id: Uuid,
    /// Bytes that spaces may take.
    pub size_bytes: u64,
    /// Bytes that no space has.
    pub free_bytes: u64,
}

/// A pool.
pub struct Pool<M> {
    members: Vec<M>,
}

impl<M: Member> Pool<M> {
    /// Makes a pool over members, whatever they held.
    pub async fn create(members: Vec<M>, options: CreateOptions) -> Result<Arc<Self>, PoolError> {
        let _ = (members, options);
        unimplemented!()
    }

    /// Imports a pool from its members alone, in any order.
    pub async fn open(members: Vec<M>) -> Result<Arc<Self>, PoolError> {
        let _ = members;
        unimplemented!()
    }

    /// Flushes and marks the pool clean. I/O after this fails with `IoError::Closed`.
    pub async fn close(&self) -> Result<(), PoolError> {
        unimplemented!()
    }

    /// The catalog in force: a view that does not change any more.
    pub fn catalog(&self) -> Arc<Catalog> {
        unimplemented!()
    }

    /// Changes the catalog: durable on all members when it returns `Ok`; nothing has changed when
    /// it returns `Err`.
    pub async fn update<R>(
        &self,
        change: impl FnOnce(&mut Catalog) -> Result<R, PoolError>,
    ) -> Result<R, PoolError> {
        let _ = change;
        unimplemented!()
    }

    /// Makes a space of at least `size_bytes`, which may be 0; it reads as zeros.
    pub async fn create_space(&self, size_bytes: u64) -> Result<SpaceId, PoolError> {
        let _ = size_bytes;
        unimplemented!()
    }

    /// Gives a space's extents back; I/O on it fails with `IoError::Closed` from then on.
    pub async fn delete_space(&self, id: SpaceId) -> Result<(), PoolError> {
        let _ = id;
        unimplemented!()
    }

    /// The space of that number; the same object for every caller.
    pub fn space(self: &Arc<Self>, id: SpaceId) -> Result<Arc<Space<M>>, PoolError> {
        let _ = id;
        unimplemented!()
    }

    /// What users see.
    pub fn status(&self) -> PoolStatus {
        let _ = &self.members;
        unimplemented!()
    }
}
