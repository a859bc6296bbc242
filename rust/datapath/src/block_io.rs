//! The one shape of every block floor, from member to volume.
//!
//! Contract, checked for every implementation by `member::contract`:
//!
//! - Offsets and lengths are bytes and multiples of 512; the door above has checked them, so a range
//!   outside `size_bytes` is a broken invariant and may panic.
//! - A read after a completed write, from whatever thread, returns what was written.
//! - A completed write is durable only after a later `flush` has completed. Before that a power cut
//!   may lose it, keep it or tear it at 512-byte borders, independently of other writes.
//! - After a completed `discard` or `write_zeroes` the range reads as zeros; `discard` also gives
//!   the space back where the floor below can. Neither is durable before a `flush`.
//! - What `mapped_run` calls deallocated reads as zeros until it is written; what it calls mapped may
//!   hold anything, zeros too.
//! - Overlapping calls in flight at the same time have no order among them.
//! - A failed write leaves its range undefined (old, new or torn), and nothing else.
//! - Futures are driven to their end. Dropping one stands for a power cut, nothing less: no caller
//!   cancels I/O.
//!
//! Buffers are owned by the call until it returns them, as completion-based I/O requires. Futures
//! need not be `Send`: they stay on the thread that made them, the objects are shared by all.

use std::future::Future;

use bytes::{Bytes, BytesMut};

use crate::error::IoError;
use crate::limits::{MAPPED_RUNS_MAX, SECTOR_BYTES};

/// What a read gives back: the outcome, and the buffer it was lent (filled when `Ok`).
pub type ReadResult = (Result<(), IoError>, BytesMut);

/// What became of a read whose content its caller can judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is right as it was read, or as it was read again.
    Right,
    /// It was wrong, redundancy gave what is right, and that was written in its place.
    Repaired,
    /// No way to read it gives what is right; the buffer holds what the plain read gave.
    Wrong,
}

/// What a read that is judged gives back: the verdict, and the buffer it was lent.
pub type VerifiedRead = (Result<Verdict, IoError>, BytesMut);

/// Random access to a fixed number of bytes.
pub trait BlockIo: Send + Sync + 'static {
    /// The size in bytes; a multiple of 512. It only ever grows.
    fn size_bytes(&self) -> u64;

    /// Fills `buffer`, whole, from `offset_bytes`. Nothing is said of the bytes after a failure.
    fn read_at(&self, offset_bytes: u64, buffer: BytesMut) -> impl Future<Output = ReadResult>;

    /// Fills `buffer`, whole, from `offset_bytes` where that needs no waiting. Where it is false
    /// nothing is said of the bytes, and [`BlockIo::read_at`] does it or says why not.
    fn read_now(&self, _offset_bytes: u64, _buffer: &mut [u8]) -> bool {
        false
    }

    /// Fills `buffer`, whole, from `offset_bytes` with what `is_right` takes, if there is any way to
    /// read that: another copy, the rest of a stripe. It costs a plain read where that is right.
    /// `is_right` must refuse what is old as well as what is damaged.
    fn read_verified(
        &self,
        offset_bytes: u64,
        buffer: BytesMut,
        is_right: impl Fn(&[u8]) -> bool,
    ) -> impl Future<Output = VerifiedRead> {
        async move {
            let (outcome, buffer) = self.read_at(offset_bytes, buffer).await;
            let verdict = if is_right(&buffer) { Verdict::Right } else { Verdict::Wrong };
            (outcome.map(|()| verdict), buffer)
        }
    }

    /// Whether copies of a range may differ since an unclean stop and have not been made equal yet:
    /// then a verified read looks at all of them.
    fn is_in_doubt(&self, _offset_bytes: u64, _length_bytes: u64) -> bool {
        false
    }

    /// Writes all of `data` at `offset_bytes`.
    fn write_at(&self, offset_bytes: u64, data: Bytes)
    -> impl Future<Output = Result<(), IoError>>;

    /// Makes every write, discard and zeroing that completed before this call durable.
    fn flush(&self) -> impl Future<Output = Result<(), IoError>>;

    /// Zeroes a range and gives its space back where possible.
    fn discard(
        &self,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> impl Future<Output = Result<(), IoError>>;

    /// Zeroes a range. Where its space was taken it stays so.
    fn write_zeroes(
        &self,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> impl Future<Output = Result<(), IoError>>;

    /// Whether the first sector of a range that is not empty is mapped, and for how many bytes of
    /// the range that goes on at least; whole sectors, one or more. The next sector may be the same.
    fn mapped_run(
        &self,
        _offset_bytes: u64,
        length_bytes: u64,
    ) -> impl Future<Output = Result<(bool, u64), IoError>> {
        async move { Ok((true, length_bytes)) }
    }

    /// A discard whose borders are multiples of this gives back all of its space; a multiple of 512.
    fn unmap_granularity_bytes(&self) -> u64 {
        SECTOR_BYTES
    }
}

/// What of a range that is not empty is mapped: lengths in bytes, neighbours differ. It covers the
/// range from its start on, all of it unless there are many runs.
pub async fn mapped_runs<B: BlockIo>(
    device: &B,
    offset_bytes: u64,
    length_bytes: u64,
) -> Result<Vec<(u64, bool)>, IoError> {
    let mut runs: Vec<(u64, bool)> = Vec::new();
    let mut done = 0;
    for _ in 0..MAPPED_RUNS_MAX {
        if done == length_bytes {
            break;
        }
        let at = offset_bytes + done;
        let (mapped, run_bytes) = device.mapped_run(at, length_bytes - done).await?;
        match runs.last_mut() {
            Some(last) if last.1 == mapped => last.0 += run_bytes,
            _ => runs.push((run_bytes, mapped)),
        }
        done += run_bytes;
    }
    Ok(runs)
}

/// A range that can be made longer: the space of an exception store.
pub trait Growable: BlockIo {
    /// Adds at least `additional_bytes` at the end and returns the new size in bytes. The new size
    /// is durable, and the new part reads as zeros, when this returns. `IoError::NoSpace` where the
    /// pool, or the limit that was set, has no room.
    fn grow(&self, additional_bytes: u64) -> impl Future<Output = Result<u64, IoError>>;
}
