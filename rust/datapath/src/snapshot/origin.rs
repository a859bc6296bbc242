//! The origin, which changes only with a permit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};

use super::engine::Permit;
use crate::block_io::{BlockIo, ReadResult};
use crate::error::IoError;

/// One change of the origin.
#[derive(Clone, Debug)]
pub enum Change {
    /// Give the space back; reads as zeros.
    Discard(u64),
    /// Write these bytes.
    Write(Bytes),
    /// Write so many zeros.
    Zeroes(u64),
}

impl Change {
    /// How many bytes change.
    pub fn length_bytes(&self) -> u64 {
        match self {
            Self::Discard(length_bytes) | Self::Zeroes(length_bytes) => *length_bytes,
            Self::Write(data) => data.len() as u64,
        }
    }

    /// The part of it that begins `start` bytes into it.
    pub fn part(&self, start: u64, length_bytes: u64) -> Self {
        match self {
            Self::Discard(_) => Self::Discard(length_bytes),
            Self::Write(data) => {
                Self::Write(data.slice(start as usize..(start + length_bytes) as usize))
            }
            Self::Zeroes(_) => Self::Zeroes(length_bytes),
        }
    }
}

/// The volume's own data.
pub struct Origin<O> {
    device: Arc<O>,
    /// Only ever grows.
    size_bytes: AtomicU64,
}

impl<O: BlockIo> Origin<O> {
    /// Puts the first `size_bytes` of `device` behind the permit.
    pub fn new(device: Arc<O>, size_bytes: u64) -> Self {
        assert!(size_bytes <= device.size_bytes(), "the origin is larger than its device");
        Self { device, size_bytes: AtomicU64::new(size_bytes) }
    }

    pub fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::Acquire)
    }

    /// Puts more of the device behind the permit.
    pub fn grow(&self, size_bytes: u64) {
        assert!(size_bytes <= self.device.size_bytes(), "the origin is larger than its device");
        self.size_bytes.fetch_max(size_bytes, Ordering::AcqRel);
    }

    pub fn read_now(&self, offset_bytes: u64, buffer: &mut [u8]) -> bool {
        self.device.read_now(offset_bytes, buffer)
    }

    pub async fn read_at(&self, offset_bytes: u64, buffer: BytesMut) -> ReadResult {
        self.device.read_at(offset_bytes, buffer).await
    }

    pub async fn mapped_run(
        &self,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Result<(bool, u64), IoError> {
        self.device.mapped_run(offset_bytes, length_bytes).await
    }

    pub fn unmap_granularity_bytes(&self) -> u64 {
        self.device.unmap_granularity_bytes()
    }

    pub async fn flush(&self) -> Result<(), IoError> {
        self.device.flush().await
    }

    /// Changes the origin. The permit says that whatever had to be preserved is.
    pub async fn apply(
        &self,
        _permit: &Permit<'_>,
        offset_bytes: u64,
        change: Change,
    ) -> Result<(), IoError> {
        match change {
            Change::Discard(length_bytes) => self.device.discard(offset_bytes, length_bytes).await,
            Change::Write(data) => self.device.write_at(offset_bytes, data).await,
            Change::Zeroes(length_bytes) => {
                self.device.write_zeroes(offset_bytes, length_bytes).await
            }
        }
    }
}
