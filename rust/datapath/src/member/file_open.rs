//! Opening files and block devices as members: what is refused, and exclusive use.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FsWord, fstatfs};

use crate::error::PoolError;
use crate::limits::{SECTOR_BYTES, STRIP_BYTES_MAX, STRIP_BYTES_MIN};

/// A regular file has so many bytes more than the member: they are never written, so that no write
/// gives a file that was cut its length again.
pub const TAIL_BYTES: u64 = 4096;

/// Of a file that is made: it holds the raw bytes of every volume.
const MODE: u32 = 0o600;

/// A file or block device that nobody else holds.
pub(super) struct Opened {
    pub(super) name: String,
    pub(super) file: File,
    pub(super) size_bytes: u64,
    /// What it has now, with the tail.
    pub(super) length_bytes: u64,
    pub(super) in_memory: bool,
    /// Not a block device.
    pub(super) regular: bool,
    /// What the file system gives and takes at a time.
    pub(super) block_bytes: u64,
}

pub(super) fn open(path: &Path) -> Result<Opened, PoolError> {
    let metadata = path.metadata().map_err(|error| refused(path, error))?;
    // A device that is mounted, or held by another with the same flag, refuses O_EXCL.
    let exclusive = if metadata.file_type().is_block_device() { libc::O_EXCL } else { 0 };
    check_type(path, &metadata)?;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(exclusive)
        .open(path)
        .map_err(|error| refused(path, error))?;
    check_type(path, &file.metadata().map_err(|error| refused(path, error))?)?;
    lock(path, &file)?;
    opened(path, file)
}

pub(super) fn create(path: &Path, size_bytes: u64) -> Result<Opened, PoolError> {
    if path.metadata().is_ok_and(|found| !found.is_file() || found.len() > 0) {
        return Err(refused(path, "something with content has that name already"));
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE)
        .open(path)
        .map_err(|error| refused(path, error))?;
    lock(path, &file)?;
    let sized = file.set_len(size_bytes.saturating_add(TAIL_BYTES)).and_then(|()| file.sync_all());
    sized.and_then(|()| sync_directory(path)).map_err(|error| refused(path, error))?;
    opened(path, file)
}

fn opened(path: &Path, mut file: File) -> Result<Opened, PoolError> {
    let end = file.seek(SeekFrom::End(0)).map_err(|error| refused(path, error))?;
    let metadata = file.metadata().map_err(|error| refused(path, error))?;
    let tail_bytes = if metadata.is_file() { TAIL_BYTES } else { 0 };
    Ok(Opened {
        name: path.display().to_string(),
        size_bytes: end.saturating_sub(tail_bytes) / SECTOR_BYTES * SECTOR_BYTES,
        length_bytes: end,
        in_memory: is_in_memory(&file).map_err(|error| refused(path, error))?,
        regular: metadata.is_file(),
        block_bytes: block_bytes(&metadata),
        file,
    })
}

/// As the file system tells it; a page where that is no size that strips could be multiples of.
fn block_bytes(metadata: &Metadata) -> u64 {
    let told = metadata.blksize();
    let plausible = told.is_power_of_two() && (SECTOR_BYTES..=STRIP_BYTES_MAX).contains(&told);
    if plausible { told } else { STRIP_BYTES_MIN }
}

fn check_type(path: &Path, metadata: &Metadata) -> Result<(), PoolError> {
    if metadata.is_file() || metadata.file_type().is_block_device() {
        return Ok(());
    }
    Err(refused(path, "it is neither a regular file nor a block device"))
}

fn lock(path: &Path, file: &File) -> Result<(), PoolError> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => refused(path, "it is in use already"),
        TryLockError::Error(error) => refused(path, error),
    })
}

/// Makes a new file's name durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

fn is_in_memory(file: &File) -> io::Result<bool> {
    const TMPFS_MAGIC: FsWord = 0x0102_1994;
    const RAMFS_MAGIC: FsWord = 0x8584_58f6;
    // A block device's node lies on devtmpfs, which says nothing about the device.
    if !file.metadata()?.is_file() {
        return Ok(false);
    }
    Ok([TMPFS_MAGIC, RAMFS_MAGIC].contains(&fstatfs(file)?.f_type))
}

fn refused(path: &Path, reason: impl ToString) -> PoolError {
    PoolError::MemberRefused { member: path.display().to_string(), reason: reason.to_string() }
}
