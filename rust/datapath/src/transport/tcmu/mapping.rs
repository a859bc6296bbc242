//! The mapping of a TCMU device's memory, and what of it is lent as Data-Out.
//!
//! Data-Out in one piece goes down to the members without a copy: [`Mapping::lend`] makes it [`Bytes`].
//! That is sound as long as nobody writes those bytes while they are lent:
//!
//! - the kernel does not touch the pages of a command that is not answered, and the answer waits for
//!   the command's end;
//! - this process writes the data area only with the Data-In of a command, on the thread that lends,
//!   and asks [`Mapping::is_lent`] before it does. So a ring that names the same pages in two
//!   commands, which the kernel's never does, is found out.
//!
//! The mapping lives as long as anything that is lent.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Memory shared with the kernel.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    length: usize,
    /// By their first byte, the ends of what is lent; they do not overlap.
    lent: Mutex<BTreeMap<usize, usize>>,
    /// How many those are, so that nobody takes the lock for nothing.
    lent_count: AtomicUsize,
}

// SAFETY: a mapping belongs to the process, not to a thread; what is not behind a lock or atomic is
// never changed.
unsafe impl Send for Mapping {}
// SAFETY: as above; a shared mapping gives out an address and bytes that are only read.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `length` bytes of what `descriptor` refers to: a UIO device, or a file in memory.
    pub fn map(descriptor: BorrowedFd<'_>, length: usize) -> io::Result<Arc<Self>> {
        // SAFETY: the kernel chooses a place that nothing else uses.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                descriptor.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let (lent, lent_count) = Default::default();
        Ok(Arc::new(Self { base, length, lent, lent_count }))
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// The bytes at `range`, which are not empty and those of the Data-Out of a command that is not
    /// answered. `None` where some of them are lent already.
    pub(super) fn lend(self: &Arc<Self>, range: Range<usize>) -> Option<Bytes> {
        assert!(range.start < range.end && range.end <= self.length);
        let mut lent = self.lent();
        if overlaps(&lent, &range) {
            return None;
        }
        lent.insert(range.start, range.end);
        self.lent_count.fetch_add(1, Ordering::Relaxed);
        drop(lent);
        Some(Bytes::from_owner(Loan { mapping: Arc::clone(self), range }))
    }

    /// Whether some of these bytes are lent. Asked on the thread that lends, so that what it has lent
    /// is never missed.
    pub(super) fn is_lent(&self, range: &Range<usize>) -> bool {
        self.lent_count.load(Ordering::Acquire) > 0 && overlaps(&self.lent(), range)
    }

    fn give_back(&self, start: usize) {
        self.lent().remove(&start);
        self.lent_count.fetch_sub(1, Ordering::Release);
    }

    fn lent(&self) -> MutexGuard<'_, BTreeMap<usize, usize>> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped at this place and length, and nothing refers to it any more. There is
        // nothing to be done about a failure.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.length) };
    }
}

/// Whether one of `lent`, which do not overlap each other, has a byte of `range`.
fn overlaps(lent: &BTreeMap<usize, usize>, range: &Range<usize>) -> bool {
    let last = lent.range(..range.end).next_back();
    !range.is_empty() && last.is_some_and(|(_, end)| *end > range.start)
}

/// Bytes of a mapping while they are lent.
struct Loan {
    mapping: Arc<Mapping>,
    range: Range<usize>,
}

impl AsRef<[u8]> for Loan {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the range was checked, the mapping is kept, and the bytes are not written while they
        // are lent, as the module says.
        unsafe {
            let start = self.mapping.base.as_ptr().add(self.range.start);
            std::slice::from_raw_parts(start, self.range.len())
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.mapping.give_back(self.range.start);
    }
}
