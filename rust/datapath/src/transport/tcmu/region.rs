//! Memory that the kernel writes at the same time.
//!
//! No reference to its bytes is ever made. Words are loaded and stored by atomic operations; runs of
//! bytes are copied from and to buffers of our own, and only where the protocol says that they are
//! ours at that time. Each access is checked: an offset outside is a broken invariant, since whoever
//! reads an offset from the region checks it first.

use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A mapped region, by its first byte and length.
#[derive(Debug)]
pub struct Region {
    base: NonNull<u8>,
    length: usize,
}

// SAFETY: by the contract of `new` the memory does not belong to a thread, and a region is moved
// whole: it cannot be copied.
unsafe impl Send for Region {}

impl Region {
    /// The region of `length` bytes at `base`.
    ///
    /// # Safety
    ///
    /// As long as the region exists, `base` is aligned to eight bytes and valid for reads and writes
    /// of `length` bytes, no reference into them exists, and other parts of this process access them
    /// only where the region does not at that time, or atomically.
    pub unsafe fn new(base: NonNull<u8>, length: usize) -> Self {
        assert!(base.cast::<u64>().is_aligned());
        Self { base, length }
    }

    /// How many bytes it has.
    pub fn length(&self) -> usize {
        self.length
    }

    pub(super) fn load_u32(&self, offset: usize, order: Ordering) -> u32 {
        // SAFETY: `word` has checked place and alignment; the memory is valid by contract of `new`,
        // and the atomic reference lives for this access only.
        unsafe { AtomicU32::from_ptr(self.word(offset)) }.load(order)
    }

    pub(super) fn store_u32(&self, offset: usize, value: u32, order: Ordering) {
        // SAFETY: as in `load_u32`.
        unsafe { AtomicU32::from_ptr(self.word(offset)) }.store(value, order);
    }

    pub(super) fn load_u64(&self, offset: usize) -> u64 {
        // SAFETY: as in `load_u32`.
        unsafe { AtomicU64::from_ptr(self.word(offset)) }.load(Ordering::Relaxed)
    }

    pub(super) fn store_u64(&self, offset: usize, value: u64) {
        // SAFETY: as in `load_u32`.
        unsafe { AtomicU64::from_ptr(self.word(offset)) }.store(value, Ordering::Relaxed);
    }

    /// Fills `into` with what lies at `offset`.
    pub(super) fn copy_out(&self, offset: usize, into: &mut [u8]) {
        let from = self.at(offset, into.len());
        // SAFETY: `at` has checked the range; a buffer of ours does not overlap the region, to which
        // no reference exists.
        unsafe { ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) }
    }

    /// Writes `from` at `offset`.
    pub(super) fn copy_in(&self, offset: usize, from: &[u8]) {
        let into = self.at(offset, from.len());
        // SAFETY: as in `copy_out`.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), into, from.len()) }
    }

    /// Writes zeros.
    pub(super) fn zero(&self, offset: usize, length: usize) {
        let into = self.at(offset, length);
        // SAFETY: `at` has checked the range.
        unsafe { ptr::write_bytes(into, 0, length) }
    }

    fn word<T>(&self, offset: usize) -> *mut T {
        let word = self.at(offset, size_of::<T>()).cast::<T>();
        assert!(word.is_aligned());
        word
    }

    fn at(&self, offset: usize, length: usize) -> *mut u8 {
        assert!(offset <= self.length && length <= self.length - offset);
        // SAFETY: the offset is within the region, or at its end.
        unsafe { self.base.as_ptr().add(offset) }
    }
}
