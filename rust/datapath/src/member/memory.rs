//! A member in memory: nothing survives it. Never-written pages take no memory.

use std::sync::{PoisonError, RwLock};

use bytes::{Bytes, BytesMut};

use super::Member;
use super::image::{Image, PAGE_BYTES};
use crate::block_io::{BlockIo, ReadResult};
use crate::error::IoError;

/// A member in memory.
pub struct MemoryMember {
    name: String,
    size_bytes: u64,
    image: RwLock<Image>,
}

impl MemoryMember {
    /// An empty member of `size_bytes`.
    pub fn new(name: &str, size_bytes: u64) -> Self {
        Self { name: name.to_owned(), size_bytes, image: RwLock::new(Image::new(size_bytes)) }
    }

    fn change(&self, change: impl FnOnce(&mut Image)) {
        change(&mut self.image.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl BlockIo for MemoryMember {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    async fn read_at(&self, offset_bytes: u64, mut buffer: BytesMut) -> ReadResult {
        let image = self.image.read().unwrap_or_else(PoisonError::into_inner);
        image.read(offset_bytes, &mut buffer);
        (Ok(()), buffer)
    }

    fn read_now(&self, offset_bytes: u64, buffer: &mut [u8]) -> bool {
        let image = self.image.read().unwrap_or_else(PoisonError::into_inner);
        image.read(offset_bytes, buffer);
        true
    }

    async fn write_at(&self, offset_bytes: u64, data: Bytes) -> Result<(), IoError> {
        self.change(|image| image.write(offset_bytes, &data));
        Ok(())
    }

    async fn flush(&self) -> Result<(), IoError> {
        Ok(())
    }

    async fn discard(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        self.change(|image| image.zero(offset_bytes, length_bytes));
        Ok(())
    }

    async fn write_zeroes(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        self.change(|image| image.zero(offset_bytes, length_bytes));
        Ok(())
    }

    async fn mapped_run(
        &self,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Result<(bool, u64), IoError> {
        let image = self.image.read().unwrap_or_else(PoisonError::into_inner);
        Ok(image.mapped_run(offset_bytes, length_bytes))
    }

    fn unmap_granularity_bytes(&self) -> u64 {
        PAGE_BYTES as u64
    }
}

impl Member for MemoryMember {
    fn name(&self) -> &str {
        &self.name
    }
}
