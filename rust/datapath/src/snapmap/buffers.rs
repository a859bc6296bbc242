//! Buffers of one chunk's size, used again, so that preserving neither allocates nor zeroes memory.

use std::sync::{Mutex, PoisonError};

use bytes::{Bytes, BytesMut};

use crate::limits::PRESERVING_CHUNKS_MAX;

/// A pool of buffers.
#[derive(Debug)]
pub struct Buffers {
    length: usize,
    spare: Mutex<Vec<BytesMut>>,
}

impl Buffers {
    /// A pool of buffers of `length` bytes, empty at first.
    pub fn new(length: usize) -> Self {
        Self { length, spare: Mutex::new(Vec::new()) }
    }

    /// A buffer of the pool's length with whatever bytes in it.
    pub fn take(&self) -> BytesMut {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| BytesMut::zeroed(self.length))
    }

    /// Takes a buffer back. Another than the pool's own, of another length, is dropped.
    pub fn put(&self, buffer: BytesMut) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.len() == self.length && spare.len() < PRESERVING_CHUNKS_MAX {
            spare.push(buffer);
        }
    }

    /// Takes a buffer back that was written from, unless somebody below still holds a part of it.
    pub fn put_written(&self, data: Bytes) {
        if let Ok(buffer) = data.try_into_mut() {
            self.put(buffer);
        }
    }
}
