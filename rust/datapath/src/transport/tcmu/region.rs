//! Memory that the kernel writes at the same time.
//!
//! Words are loaded and stored by atomic operations; runs of bytes are copied from and to buffers of
//! our own, and only where the protocol says that they are ours at that time. No reference to its
//! bytes outlives a call but for those that are lent ([`super::mapping`]). Each access is checked: an
//! offset outside is a broken invariant, since whoever reads an offset from the region checks it first.

use std::ops::Range;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;

use super::mapping::Mapping;

/// A mapped region, by its first byte and length.
#[derive(Debug)]
pub struct Region {
    base: NonNull<u8>,
    length: usize,
    /// What it is mapped by, where it is this process that maps it.
    mapping: Option<Arc<Mapping>>,
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
        Self { base, length, mapping: None }
    }

    /// The region that a mapping holds.
    pub fn of(mapping: Arc<Mapping>) -> Self {
        Self { base: mapping.base(), length: mapping.length(), mapping: Some(mapping) }
    }

    /// The bytes themselves, not to be written before they are given back. `None` where they have
    /// to be copied out instead.
    pub(super) fn lend(&self, range: Range<usize>) -> Option<Bytes> {
        self.mapping.as_ref()?.lend(range)
    }

    /// Whether some of these bytes are lent.
    pub(super) fn is_lent(&self, range: &Range<usize>) -> bool {
        self.mapping.as_ref().is_some_and(|mapping| mapping.is_lent(range))
    }

    /// How many bytes it has.
    pub fn length(&self) -> usize {
        self.length
    }

    #[inline]
    pub(super) fn load_u32(&self, offset: usize, order: Ordering) -> u32 {
        // SAFETY: `word` has checked place and alignment; the memory is valid by contract of `new`,
        // and the atomic reference lives for this access only.
        unsafe { AtomicU32::from_ptr(self.word(offset)) }.load(order)
    }

    #[inline]
    pub(super) fn store_u32(&self, offset: usize, value: u32, order: Ordering) {
        #[cfg(feature = "simulation")]
        crate::simulation::death::before_store();
        // SAFETY: as in `load_u32`.
        unsafe { AtomicU32::from_ptr(self.word(offset)) }.store(value, order);
    }

    #[inline]
    pub(super) fn load_u64(&self, offset: usize) -> u64 {
        // SAFETY: as in `load_u32`.
        unsafe { AtomicU64::from_ptr(self.word(offset)) }.load(Ordering::Relaxed)
    }

    #[inline]
    pub(super) fn store_u64(&self, offset: usize, value: u64) {
        #[cfg(feature = "simulation")]
        crate::simulation::death::before_store();
        // SAFETY: as in `load_u32`.
        unsafe { AtomicU64::from_ptr(self.word(offset)) }.store(value, Ordering::Relaxed);
    }

    /// Fills `into` with what lies at `offset`.
    pub(super) fn copy_out(&self, offset: usize, into: &mut [u8]) {
        let from = self.at(offset, into.len());
        // SAFETY: `at` has checked the range; a buffer of ours does not overlap the region, and what
        // is lent of it is only read.
        unsafe { ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) }
    }

    /// Writes `from` at `offset`.
    pub(super) fn copy_in(&self, offset: usize, from: &[u8]) {
        #[cfg(feature = "simulation")]
        crate::simulation::death::before_store();
        let into = self.at(offset, from.len());
        // SAFETY: as in `copy_out`; who writes has asked whether the bytes are lent.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), into, from.len()) }
    }

    /// Has the bytes themselves filled. They are the Data-In of a command that is not answered, and not
    /// lent.
    pub(super) fn fill<T>(&self, range: &Range<usize>, fill: impl FnOnce(&mut [u8]) -> T) -> T {
        #[cfg(feature = "simulation")]
        crate::simulation::death::before_store();
        let start = self.at(range.start, range.len());
        // SAFETY: `at` has checked the range. The kernel does not touch the buffer of a command that
        // is not answered; of this process only the thread that has the region does, as nothing of it
        // is lent.
        fill(unsafe { slice::from_raw_parts_mut(start, range.len()) })
    }

    /// Writes zeros.
    pub(super) fn zero(&self, offset: usize, length: usize) {
        #[cfg(feature = "simulation")]
        crate::simulation::death::before_store();
        let into = self.at(offset, length);
        // SAFETY: as in `copy_in`.
        unsafe { ptr::write_bytes(into, 0, length) }
    }

    #[inline]
    fn word<T>(&self, offset: usize) -> *mut T {
        let word = self.at(offset, size_of::<T>()).cast::<T>();
        assert!(word.is_aligned());
        word
    }

    #[inline]
    fn at(&self, offset: usize, length: usize) -> *mut u8 {
        assert!(offset <= self.length && length <= self.length - offset);
        // SAFETY: the offset is within the region, or at its end.
        unsafe { self.base.as_ptr().add(offset) }
    }
}
