//! A volume and a snapshot's image as block devices.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use super::atomic_log::AtomicLog;
use super::ledger::CatalogLedger;
use crate::block_io::{BlockIo, ReadResult};
use crate::error::IoError;
use crate::member::Member;
use crate::pool::{Pool, Provisioning, Space, SpaceId, VolumeId};
use crate::snapshot::{Engine, Image};

pub(super) type VolumeEngine<M> = Engine<Space<M>, Space<M>, Arc<CatalogLedger<M>>>;
type VolumeImage<M> = Image<Space<M>, Space<M>, Arc<CatalogLedger<M>>>;

/// A volume. One that is fully provisioned keeps its room when it is discarded, and is all mapped.
pub struct Volume<M> {
    pub(super) id: VolumeId,
    pub(super) name: String,
    pub(super) block_bytes: u32,
    pub(super) engine: Arc<VolumeEngine<M>>,
    pub(super) ledger: Arc<CatalogLedger<M>>,
    pub(super) pool: Arc<Pool<M>>,
    pub(super) pool_id: Uuid,
    pub(super) origin: SpaceId,
    /// Made at the first atomic write. Held by the one that is under way.
    pub(super) atomic_log: tokio::sync::Mutex<Option<AtomicLog<Space<M>>>>,
    pub(super) provisioning: Provisioning,
}

impl<M: Member> Volume<M> {
    /// Its identity.
    pub fn id(&self) -> VolumeId {
        self.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Bytes of a logical block.
    pub fn block_bytes(&self) -> u32 {
        self.block_bytes
    }

    /// See [`Engine::compare_and_write`].
    pub async fn compare_and_write(
        &self,
        offset_bytes: u64,
        expected: Bytes,
        data: Bytes,
    ) -> Result<Option<u64>, IoError> {
        self.engine.compare_and_write(offset_bytes, expected, data).await
    }

    /// See [`Engine::or_write`].
    pub async fn or_write(&self, offset_bytes: u64, data: Bytes) -> Result<(), IoError> {
        self.engine.or_write(offset_bytes, data).await
    }
}

impl<M: Member> BlockIo for Volume<M> {
    fn size_bytes(&self) -> u64 {
        self.engine.size_bytes()
    }

    fn read_now(&self, offset_bytes: u64, buffer: &mut [u8]) -> bool {
        self.engine.read_now(offset_bytes, buffer)
    }

    async fn read_at(&self, offset_bytes: u64, buffer: BytesMut) -> ReadResult {
        self.engine.read_at(offset_bytes, buffer).await
    }

    async fn write_at(&self, offset_bytes: u64, data: Bytes) -> Result<(), IoError> {
        self.engine.write_at(offset_bytes, data).await
    }

    async fn flush(&self) -> Result<(), IoError> {
        self.engine.flush().await
    }

    async fn discard(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        match self.provisioning {
            Provisioning::Thin => self.engine.discard(offset_bytes, length_bytes).await,
            Provisioning::Full => self.engine.write_zeroes(offset_bytes, length_bytes).await,
        }
    }

    async fn write_zeroes(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        self.engine.write_zeroes(offset_bytes, length_bytes).await
    }

    async fn mapped_run(
        &self,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Result<(bool, u64), IoError> {
        match self.provisioning {
            Provisioning::Thin => self.engine.mapped_run(offset_bytes, length_bytes).await,
            Provisioning::Full => Ok((true, length_bytes)),
        }
    }

    fn unmap_granularity_bytes(&self) -> u64 {
        self.engine.unmap_granularity_bytes()
    }
}

/// A snapshot as a read-only device, of the size that the volume had at its point. Reads outside of the snapshot's range fail
/// with `IoError::OutsideSnapshot`, all reads with `IoError::SnapshotInvalid` once it is gone.
pub struct SnapshotImage<M> {
    pub(super) image: VolumeImage<M>,
    pub(super) block_bytes: u32,
    pub(super) size_bytes: u64,
}

impl<M: Member> SnapshotImage<M> {
    /// Bytes of a logical block.
    pub fn block_bytes(&self) -> u32 {
        self.block_bytes
    }
}

impl<M: Member> BlockIo for SnapshotImage<M> {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_now(&self, offset_bytes: u64, buffer: &mut [u8]) -> bool {
        self.image.read_now(offset_bytes, buffer)
    }

    async fn read_at(&self, offset_bytes: u64, buffer: BytesMut) -> ReadResult {
        self.image.read_at(offset_bytes, buffer).await
    }

    async fn write_at(&self, offset_bytes: u64, data: Bytes) -> Result<(), IoError> {
        self.image.write_at(offset_bytes, data).await
    }

    async fn flush(&self) -> Result<(), IoError> {
        self.image.flush().await
    }

    async fn discard(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        self.image.discard(offset_bytes, length_bytes).await
    }

    async fn write_zeroes(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        self.image.write_zeroes(offset_bytes, length_bytes).await
    }

    async fn mapped_run(
        &self,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Result<(bool, u64), IoError> {
        self.image.mapped_run(offset_bytes, length_bytes).await
    }

    fn unmap_granularity_bytes(&self) -> u64 {
        self.image.unmap_granularity_bytes()
    }
}
