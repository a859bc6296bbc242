//! A member that is a regular file or a block device, by positional buffered I/O.
//!
//! - On tmpfs and ramfs every call is made inline: it never waits for a device, and a ring would
//!   hand it to a worker thread.
//! - Elsewhere a read is tried inline with `RWF_NOWAIT`, which gives what the page cache has; the
//!   rest, and all writes and flushes, go through the runtime of the thread that polls. Members are
//!   shared by all threads, so nothing here belongs to one of them.
//! - `flush` is `fdatasync`. One that failed stands for good: the kernel forgets which pages it
//!   could not write, so that a later one would vouch for data that is lost.
//! - A regular file that has become shorter than it was when it was opened has failed, for good. A
//!   write beyond its end would make it longer again and leave a hole that reads as zeros; but the
//!   last bytes, its *tail*, are never written here, so a file that was cut never gets its length
//!   back from this side. It is looked at where it matters: before zeros are believed, since a hole
//!   has no other content, and by each flush. A read that no zero byte makes suspect costs no call,
//!   and a write costs none ever. See `docs/decisions/cut-members.md`.
//! - `discard` punches a hole, which reads as zeros by definition, also on block devices; where
//!   that is not supported the range is zeroed, at last by writing zeros. Parts of a block of the file
//!   system are zeroed and stay mapped.
//! - `write_zeroes` leaves the range with its space: where the file system cannot zero it so, a hole
//!   is punched and filled again.
//! - What is mapped is what `SEEK_DATA` says; a block device, or a file system without it, is mapped.

use std::io::{self, IoSliceMut};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Buf, Bytes, BytesMut};
use compio::BufResult;
use compio::buf::{IntoInner, IoBuf};
use compio::driver::op;
use rustix::fs::{FallocateFlags, FlockOperation, SeekFrom, fallocate, flock, fstat, seek};
use rustix::io::{Errno, ReadWriteFlags, pread, preadv2, pwrite, retry_on_intr};

use super::Member;
use super::file_open::{self, Opened};
use crate::block_io::{BlockIo, ReadResult};
use crate::error::{IoError, PoolError};
use crate::limits::{SECTOR_BYTES, ZEROS_BYTES};

static ZEROS: [u8; ZEROS_BYTES] = [0; ZEROS_BYTES];

/// A regular file or block device, held exclusively.
pub struct FileMember {
    name: String,
    file: Arc<OwnedFd>,
    size_bytes: u64,
    /// What a regular file had when it was opened: its tail too.
    length_bytes: u64,
    /// On tmpfs or ramfs.
    in_memory: bool,
    regular: bool,
    block_bytes: u64,
    flush_failed: AtomicBool,
    /// It was seen shorter than `length_bytes`.
    cut: AtomicBool,
}

impl FileMember {
    /// Opens what is there. `PoolError::MemberRefused` where it is neither a regular file nor a
    /// block device, or somebody else holds it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, PoolError> {
        file_open::open(path.as_ref()).map(Self::over)
    }

    /// Makes a sparse file of `size_bytes`. `PoolError::MemberRefused` where something with
    /// content has that name.
    pub fn create(path: impl AsRef<Path>, size_bytes: u64) -> Result<Self, PoolError> {
        file_open::create(path.as_ref(), size_bytes).map(Self::over)
    }

    fn over(opened: Opened) -> Self {
        Self {
            name: opened.name,
            file: Arc::new(opened.file.into()),
            size_bytes: opened.size_bytes,
            length_bytes: opened.length_bytes,
            in_memory: opened.in_memory,
            regular: opened.regular,
            block_bytes: opened.block_bytes,
            flush_failed: AtomicBool::new(false),
            cut: AtomicBool::new(false),
        }
    }

    fn failed(&self, what: &str, error: &io::Error) -> IoError {
        IoError::failed(format!("member {}: {what}: {error}", self.name))
    }

    fn fail_if_flush_failed(&self) -> Result<(), IoError> {
        if self.flush_failed.load(Ordering::Acquire) {
            return Err(IoError::failed(format!("member {}: an earlier flush failed", self.name)));
        }
        Ok(())
    }

    /// An error where the file has become shorter, from then on always.
    fn check_length(&self) -> io::Result<()> {
        if !self.regular {
            return Ok(());
        }
        if !self.cut.load(Ordering::Acquire) {
            if fstat(&self.file)?.st_size as u64 >= self.length_bytes {
                return Ok(());
            }
            self.cut.store(true, Ordering::Release);
        }
        Err(io::Error::other(format!(
            "the file was cut: it had {} bytes when it was opened",
            self.length_bytes
        )))
    }

    /// What can be read without waiting; 0 where nothing can.
    fn read_inline(&self, offset_bytes: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        if self.in_memory {
            return retry_on_intr(|| pread(&self.file, &mut *buffer, offset_bytes));
        }
        let parts = &mut [IoSliceMut::new(buffer)];
        Ok(preadv2(&self.file, parts, offset_bytes, ReadWriteFlags::NOWAIT).unwrap_or(0))
    }

    async fn read(&self, offset_bytes: u64, buffer: BytesMut) -> (io::Result<()>, BytesMut) {
        let (mut buffer, mut done) = (buffer, 0);
        while done < buffer.len() {
            let at = offset_bytes + done as u64;
            let step = match self.read_inline(at, &mut buffer[done..]) {
                Ok(0) if !self.in_memory => {
                    let part = done..buffer.len();
                    let read = op::ReadAt::new(self.file.clone(), at, buffer.slice(part));
                    let BufResult(step, read) = compio::runtime::submit(read).await;
                    buffer = read.into_inner().into_inner();
                    step
                }
                inline => inline.map_err(io::Error::from),
            };
            match step {
                Ok(0) => {
                    let cut = self.check_length().err();
                    let error = cut.unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into());
                    return (Err(error), buffer);
                }
                Ok(step) => done += step,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (Err(error), buffer),
            }
        }
        let outcome = if may_hold_hole(&buffer) { self.check_length() } else { Ok(()) };
        (outcome, buffer)
    }

    async fn write(&self, offset_bytes: u64, mut data: Bytes) -> io::Result<()> {
        if self.cut.load(Ordering::Relaxed) {
            return self.check_length();
        }
        let mut at = offset_bytes;
        while !data.is_empty() {
            let step = if self.in_memory {
                pwrite(&self.file, &data, at).map_err(io::Error::from)
            } else {
                let write = op::WriteAt::new(self.file.clone(), at, data.clone());
                compio::runtime::submit(write).await.0
            };
            match step {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(step) => {
                    at += step as u64;
                    data.advance(step);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn sync(&self) -> io::Result<()> {
        if self.in_memory {
            return Ok(());
        }
        loop {
            let sync = op::Sync::new(self.file.clone(), true);
            match compio::runtime::submit(sync).await.0 {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome.map(|_| ()),
            }
        }
    }

    /// Makes a call that may wait for a device: in another thread, except in memory.
    async fn blocking<T: Send + 'static>(
        &self,
        call: impl Fn(&OwnedFd) -> Result<T, Errno> + Send + 'static,
    ) -> io::Result<T> {
        if self.in_memory {
            return Ok(retry_on_intr(|| call(&self.file))?);
        }
        let file = self.file.clone();
        match compio::runtime::spawn_blocking(move || retry_on_intr(|| call(&file))).await {
            Ok(outcome) => Ok(outcome?),
            Err(_) => Err(io::Error::other("the call was lost with its thread")),
        }
    }

    /// Zeroes by the first of `ways` that the file knows, each a row of modes; else by writing.
    async fn zero(
        &self,
        offset: u64,
        length: u64,
        ways: [&'static [FallocateFlags]; 2],
    ) -> io::Result<()> {
        for way in ways {
            let all = move |file: &OwnedFd| {
                way.iter().try_for_each(|mode| fallocate(file, *mode, offset, length))
            };
            match self.blocking(all).await {
                Err(error) if Errno::from_io_error(&error).is_some_and(is_unsupported) => {}
                outcome => return outcome,
            }
        }
        self.write_zeros_out(offset, length).await
    }

    async fn write_zeros_out(&self, offset_bytes: u64, length_bytes: u64) -> io::Result<()> {
        for done in (0..length_bytes).step_by(ZEROS_BYTES) {
            let part = (length_bytes - done).min(ZEROS_BYTES as u64) as usize;
            self.write(offset_bytes + done, Bytes::from_static(&ZEROS[..part])).await?;
        }
        Ok(())
    }
}

impl BlockIo for FileMember {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    async fn read_at(&self, offset_bytes: u64, buffer: BytesMut) -> ReadResult {
        let (outcome, buffer) = self.read(offset_bytes, buffer).await;
        (outcome.map_err(|error| self.failed("read", &error)), buffer)
    }

    fn read_now(&self, offset_bytes: u64, buffer: &mut [u8]) -> bool {
        let mut done = 0;
        while done < buffer.len() {
            let at = offset_bytes + done as u64;
            match self.read_inline(at, &mut buffer[done..]) {
                Ok(step) if step > 0 => done += step,
                _ => return false,
            }
        }
        !may_hold_hole(buffer) || self.check_length().is_ok()
    }

    async fn write_at(&self, offset_bytes: u64, data: Bytes) -> Result<(), IoError> {
        let end = offset_bytes + data.len() as u64;
        assert!(end <= self.size_bytes, "a write past the end would make the file grow");
        self.write(offset_bytes, data).await.map_err(|error| self.failed("write", &error))
    }

    async fn flush(&self) -> Result<(), IoError> {
        self.fail_if_flush_failed()?;
        self.check_length().map_err(|error| self.failed("flush", &error))?;
        if let Err(error) = self.sync().await {
            self.flush_failed.store(true, Ordering::Release);
            return Err(self.failed("flush", &error));
        }
        // The kernel tells an error once: to one of several flushes at the same time.
        self.fail_if_flush_failed()
    }

    async fn discard(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        let ways: [&[FallocateFlags]; 2] = [&[PUNCH_HOLE], &[ZERO_RANGE]];
        let outcome = self.zero(offset_bytes, length_bytes, ways).await;
        outcome.map_err(|error| self.failed("discard", &error))
    }

    async fn write_zeroes(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        let ways: [&[FallocateFlags]; 2] = [&[ZERO_RANGE], &[PUNCH_HOLE, ALLOCATE]];
        let outcome = self.zero(offset_bytes, length_bytes, ways).await;
        outcome.map_err(|error| self.failed("write zeroes", &error))
    }

    async fn mapped_run(
        &self,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Result<(bool, u64), IoError> {
        if !self.regular {
            return Ok((true, length_bytes));
        }
        let run = self.blocking(move |file| file_run(file, offset_bytes, length_bytes)).await;
        let checked =
            run.and_then(|run| if run.0 { Ok(run) } else { self.check_length().map(|()| run) });
        checked.map_err(|error| self.failed("look for holes", &error))
    }

    fn unmap_granularity_bytes(&self) -> u64 {
        self.block_bytes
    }
}

impl Member for FileMember {
    fn name(&self) -> &str {
        &self.name
    }

    fn probe(&self) -> Result<(), IoError> {
        self.check_length().map_err(|error| self.failed("its length", &error))
    }

    async fn allocate(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        if !self.regular {
            return Ok(());
        }
        let all = move |file: &OwnedFd| fallocate(file, ALLOCATE, offset_bytes, length_bytes);
        self.blocking(all).await.map_err(|error| match Errno::from_io_error(&error) {
            Some(Errno::NOSPC | Errno::DQUOT) => IoError::NoSpace,
            _ => self.failed("take space in advance", &error),
        })
    }

    fn release(&self) {
        let _held_until_dropped = flock(&self.file, FlockOperation::Unlock);
    }
}

const PUNCH_HOLE: FallocateFlags = FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE);
const ZERO_RANGE: FallocateFlags = FallocateFlags::ZERO_RANGE.union(FallocateFlags::KEEP_SIZE);
const ALLOCATE: FallocateFlags = FallocateFlags::KEEP_SIZE;

/// Whether any sector may lie in a hole, whole or with its end: its last byte is zero.
fn may_hold_hole(buffer: &[u8]) -> bool {
    buffer.chunks(SECTOR_BYTES as usize).any(|sector| sector.last() == Some(&0))
}

/// Whether the first sector of a range holds data, and for how many bytes that goes on.
fn file_run(file: &OwnedFd, offset_bytes: u64, length_bytes: u64) -> Result<(bool, u64), Errno> {
    let end = offset_bytes + length_bytes;
    let data = match seek(file, SeekFrom::Data(offset_bytes)) {
        Ok(data) => data,
        Err(Errno::NXIO) => seek(file, SeekFrom::End(0))?,
        Err(error) if is_unsupported(error) => return Ok((true, length_bytes)),
        Err(error) => return Err(error),
    };
    let hole_bytes = data.clamp(offset_bytes, end) - offset_bytes;
    if hole_bytes >= SECTOR_BYTES {
        return Ok((false, hole_bytes / SECTOR_BYTES * SECTOR_BYTES));
    }
    let hole = seek(file, SeekFrom::Hole(offset_bytes))?.clamp(offset_bytes + 1, end);
    Ok((true, (hole - offset_bytes).next_multiple_of(SECTOR_BYTES)))
}

fn is_unsupported(error: Errno) -> bool {
    [Errno::OPNOTSUPP, Errno::NOSYS, Errno::NODEV, Errno::INVAL].contains(&error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(outcome: Result<FileMember, PoolError>) -> String {
        match outcome.map(|_| ()) {
            Err(PoolError::MemberRefused { reason, .. }) => reason,
            other => panic!("refused was expected, not {other:?}"),
        }
    }

    #[test]
    fn a_member_is_held_once_and_freed_with_its_object() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("member");
        let member = FileMember::create(&path, 1 << 20).unwrap();
        assert_eq!(member.size_bytes(), 1 << 20);
        assert!(refusal(FileMember::open(&path)).contains("in use"));
        drop(member);
        assert_eq!(FileMember::open(&path).unwrap().size_bytes(), 1 << 20);
    }

    #[test]
    fn a_released_member_is_free_for_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("member");
        let member = FileMember::create(&path, 1 << 20).unwrap();
        member.release();
        assert_eq!(FileMember::open(&path).unwrap().size_bytes(), 1 << 20);
        drop(member);
    }

    #[test]
    fn what_is_no_member_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        assert!(refusal(FileMember::open(directory.path())).contains("neither"));
        let missing = directory.path().join("missing");
        assert!(refusal(FileMember::open(&missing)).contains("No such file"));
        let filled = directory.path().join("filled");
        std::fs::write(&filled, b"precious").unwrap();
        assert!(refusal(FileMember::create(&filled, 1 << 20)).contains("content"));
        assert_eq!(std::fs::read(&filled).unwrap(), b"precious");
    }

    #[test]
    fn room_that_is_taken_stays_when_zeros_are_written_and_goes_when_discarded() {
        use std::os::unix::fs::MetadataExt;
        for directory in [env!("CARGO_MANIFEST_DIR"), "/dev/shm"] {
            let directory = tempfile::tempdir_in(directory).unwrap();
            let path = directory.path().join("member");
            let member = FileMember::create(&path, 4 << 20).unwrap();
            let taken_bytes = || path.metadata().unwrap().blocks() * 512;
            let runtime = compio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                member.allocate(1 << 20, 2 << 20).await.unwrap();
                assert!(taken_bytes() >= 2 << 20);
                member.write_at(2 << 20, Bytes::from(vec![1; 4096])).await.unwrap();
                member.write_zeroes(1 << 20, 2 << 20).await.unwrap();
                assert!(taken_bytes() >= 2 << 20, "the room is still there");
                let (outcome, read) = member.read_at(2 << 20, BytesMut::zeroed(4096)).await;
                outcome.unwrap();
                assert!(read.iter().all(|byte| *byte == 0));
                member.discard(1 << 20, 2 << 20).await.unwrap();
                assert!(taken_bytes() < 1 << 20, "the room was given back");
            });
        }
    }

    #[test]
    fn a_file_that_was_cut_gives_what_was_written_or_an_error() {
        const LENGTH: u64 = 64 << 10;
        let ones = |length: u64| Bytes::from(vec![1; length as usize]);
        for directory in [env!("CARGO_MANIFEST_DIR"), "/dev/shm"] {
            let directory = tempfile::tempdir_in(directory).unwrap();
            let runtime = compio::runtime::Runtime::new().unwrap();
            // In the tail, at borders of sectors and pages, and anywhere.
            for cut in [LENGTH + 4095, LENGTH, LENGTH - 1, 40960, 40448, 40447, 20001, 1, 0] {
                let path = directory.path().join(cut.to_string());
                let member = FileMember::create(&path, LENGTH).unwrap();
                runtime.block_on(async {
                    member.write_at(0, ones(LENGTH)).await.unwrap();
                    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
                    file.set_len(cut).unwrap();
                    // The end, so that the file becomes as long as a write can make it.
                    member.write_at(LENGTH - 512, ones(512)).await.unwrap();
                    for at in (0..LENGTH).step_by(512) {
                        let mut now = [0xFF; 512];
                        let is_read = member.read_now(at, &mut now);
                        assert!(!is_read || now == [1; 512], "{cut}: {at}");
                        let (outcome, found) = member.read_at(at, BytesMut::zeroed(512)).await;
                        assert!(outcome.is_err() || found == [1; 512][..], "{cut}: {at}");
                        let run = member.mapped_run(at, LENGTH - at).await;
                        assert!(run.is_err() || run.unwrap().0, "{cut}: {at}");
                    }
                    assert!(member.probe().unwrap_err().to_string().contains("the file was cut"));
                    assert!(member.flush().await.is_err());
                    file.set_len(LENGTH + 4096).unwrap();
                    assert!(member.flush().await.is_err(), "it is not whole by being long again");
                    assert!(member.write_at(0, ones(512)).await.is_err());
                });
            }
        }
    }

    #[test]
    fn a_file_that_shrank_fails_reads_instead_of_inventing_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("member");
        let member = FileMember::create(&path, 1 << 20).unwrap();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(4096).unwrap();
        let runtime = compio::runtime::Runtime::new().unwrap();
        let read = member.read_at(4096, BytesMut::zeroed(4096));
        assert!(matches!(runtime.block_on(read).0, Err(IoError::Failed(_))));
    }
}
