//! What the data path may fail with.
//!
//! - [`IoError`]: one read, write or flush failed. The scsi floor maps each to sense data.
//! - [`PoolError`]: a verb on a pool failed (create, import, snapshot …). Each has a stable code.
//!
//! A SCSI failure is neither: it is a `Completion` with a status.

use std::sync::Arc;

use thiserror::Error;

/// Why an I/O failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum IoError {
    /// The medium or the operating system failed it; the text names the member and the cause.
    #[error("{0}")]
    Failed(Arc<str>),
    /// The device may not be written: a snapshot image.
    #[error("the device is read-only")]
    ReadOnly,
    /// The pool, or the limit that was set, has no room.
    #[error("the pool has no room")]
    NoSpace,
    /// The exception store is full and the volume's policy is `fail-write`.
    #[error("the exception store is full")]
    StoreFull,
    /// The snapshot was given up (policy `drop-snapshot`, or its data could not be kept).
    #[error("the snapshot is invalid")]
    SnapshotInvalid,
    /// The range is not part of the snapshot.
    #[error("the range lies outside the snapshot")]
    OutsideSnapshot,
    /// The device was closed or deleted.
    #[error("the device is closed")]
    Closed,
}

impl IoError {
    /// A failure in words.
    pub fn failed(reason: impl Into<Arc<str>>) -> Self {
        Self::Failed(reason.into())
    }
}

/// Why a verb on a pool failed. `code` is stable; the text says what to do where there is something.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PoolError {
    /// An argument is out of its range; the text names it.
    #[error("{0}")]
    Invalid(String),
    /// A thing of that name exists.
    #[error("{0} exists already")]
    Exists(String),
    /// No thing of that name exists.
    #[error("{0} does not exist")]
    NotFound(String),
    /// Something still uses it; the text says what.
    #[error("{0}")]
    Busy(String),
    /// The pool has no room for it.
    #[error("{0}")]
    NoSpace(String),
    /// A member cannot be used: stale, foreign, duplicated, too small, damaged.
    #[error("member {member} is refused: {reason}")]
    MemberRefused {
        /// The member's name as the user gave it.
        member: String,
        /// Why.
        reason: String,
    },
    /// Too many members are missing, or what is there cannot be trusted.
    #[error("{0}")]
    Unavailable(String),
    /// What is on disk is damaged.
    #[error("{0}")]
    Damaged(String),
    /// An I/O failed.
    #[error(transparent)]
    Io(#[from] IoError),
}

impl PoolError {
    /// The stable code, as the API and the CLI show it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid-argument",
            Self::Exists(_) => "exists",
            Self::NotFound(_) => "not-found",
            Self::Busy(_) => "busy",
            Self::NoSpace(_) => "no-space",
            Self::MemberRefused { .. } => "member-refused",
            Self::Unavailable(_) => "pool-unavailable",
            Self::Damaged(_) => "damaged",
            Self::Io(_) => "io-error",
        }
    }
}
