//! A space: a list of extents of a pool as one address space.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::Pool;
use crate::block_io::{BlockIo, Growable, ReadResult};
use crate::error::IoError;
use crate::member::Member;

/// A list of extents of a pool as one address space.
pub struct Space<M> {
    pool: Arc<Pool<M>>,
}

impl<M: Member> Space<M> {
    /// How far `grow` may take it; `None` as far as the pool goes.
    pub fn set_limit(&self, limit_bytes: Option<u64>) {
        let _ = (limit_bytes, &self.pool);
        unimplemented!()
    }
}

impl<M: Member> BlockIo for Space<M> {
    fn size_bytes(&self) -> u64 {
        unimplemented!()
    }
    async fn read_at(&self, _offset_bytes: u64, _buffer: BytesMut) -> ReadResult {
        unimplemented!()
    }
    async fn write_at(&self, _offset_bytes: u64, _data: Bytes) -> Result<(), IoError> {
        unimplemented!()
    }
    async fn flush(&self) -> Result<(), IoError> {
        unimplemented!()
    }
    async fn discard(&self, _offset_bytes: u64, _length_bytes: u64) -> Result<(), IoError> {
        unimplemented!()
    }
    async fn write_zeroes(&self, _offset_bytes: u64, _length_bytes: u64) -> Result<(), IoError> {
        unimplemented!()
    }
}

impl<M: Member> Growable for Space<M> {
    async fn grow(&self, _additional_bytes: u64) -> Result<u64, IoError> {
        unimplemented!()
    }
}
