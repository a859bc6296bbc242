//! The mailbox: what the kernel says once of the region, and the two cursors.

use std::ops::Range;
use std::sync::atomic::Ordering;

use super::Region;
use super::layout::*;

/// What makes a ring unusable. The ring is not touched further, and its commands are not answered:
/// the way out is a reset of the ring by the kernel, which ends them BUSY.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// The region has no room for a mailbox.
    #[error("a region of {0} bytes has no room for a mailbox")]
    TooShort(usize),
    /// Another layout than ours.
    #[error("the mailbox has version {0}, not 2")]
    Version(u16),
    /// The ring does not lie behind the mailbox and inside of the region, or is not aligned.
    #[error("the command ring of {size} bytes at {offset} does not fit the region")]
    Place {
        /// `cmdr_off`.
        offset: u32,
        /// `cmdr_size`.
        size: u32,
    },
    /// cmd_head lies outside of the ring, is not aligned, or has gone back.
    #[error("cmd_head {0} is not where it can be")]
    Head(u32),
    /// cmd_tail lies outside of the ring or is not aligned.
    #[error("cmd_tail {0} is not where it can be")]
    Tail(u32),
    /// Someone else has moved cmd_tail. The kernel does so when the ring is reset.
    #[error("cmd_tail is {found}, and was left at {left}")]
    TailMoved {
        /// What is there.
        found: u32,
        /// What was written last.
        left: u32,
    },
    /// An entry is too short for its kind or longer than what lies before cmd_head or the ring's end.
    #[error("the entry at {at} cannot be {length} bytes long")]
    Length {
        /// The entry's place in the ring.
        at: u32,
        /// The length that it gives.
        length: u32,
    },
    /// The identifier of a command that is not answered yet.
    #[error("the entry at {at} has the identifier {identifier} of another")]
    Identifier {
        /// The entry's place in the ring.
        at: u32,
        /// `cmd_id`.
        identifier: u16,
    },
    /// Data-In is to go where Data-Out of another command lies that is still being written.
    #[error("the data at {at} is that of two commands")]
    Data {
        /// The offset of the data from the start of the region.
        at: usize,
    },
}

/// What the kernel's side of a ring can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Answers may come in another order than the commands (CAP_OOOC).
    pub out_of_order: bool,
    /// An answer can tell how long its Data-In is (CAP_READ_LEN).
    pub read_length: bool,
    /// Task management can be notified (CAP_TMR), once it is turned on.
    pub task_management: bool,
}

/// Where the ring lies, checked.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) capabilities: Capabilities,
    ring_offset: usize,
    ring_bytes: u32,
}

impl Mailbox {
    pub(super) fn read(region: &Region) -> Result<Self, RingError> {
        if region.length() < MAILBOX_BYTES_MIN {
            return Err(RingError::TooShort(region.length()));
        }
        let load = |field| region.load_u32(field, Ordering::Relaxed);
        let [a, b, c, d] = load(VERSION_FLAGS).to_ne_bytes();
        let (version, flags) = (u16::from_ne_bytes([a, b]), u16::from_ne_bytes([c, d]));
        if version != VERSION {
            return Err(RingError::Version(version));
        }
        let (offset, size) = (load(RING_OFFSET), load(RING_BYTES));
        let end = u64::from(offset) + u64::from(size);
        let aligned = |value: u32| (value as usize).is_multiple_of(ENTRY_ALIGNMENT);
        let behind = offset as usize >= MAILBOX_BYTES_MIN && end <= region.length() as u64;
        if !behind || size == 0 || !aligned(offset) || !aligned(size) {
            return Err(RingError::Place { offset, size });
        }
        let capabilities = Capabilities {
            out_of_order: flags & CAP_OOOC != 0,
            read_length: flags & CAP_READ_LEN != 0,
            task_management: flags & CAP_TMR != 0,
        };
        Ok(Self { capabilities, ring_offset: offset as usize, ring_bytes: size })
    }

    /// cmd_head. What lies before it has been written when this returns.
    pub(super) fn head(&self, region: &Region) -> Result<u32, RingError> {
        let head = region.load_u32(HEAD, Ordering::Acquire);
        self.is_place(head).then_some(head).ok_or(RingError::Head(head))
    }

    /// cmd_tail, as it is found.
    pub(super) fn tail(&self, region: &Region) -> Result<u32, RingError> {
        let tail = region.load_u32(TAIL, Ordering::Relaxed);
        self.is_place(tail).then_some(tail).ok_or(RingError::Tail(tail))
    }

    /// Moves cmd_tail from where it was left. What was written before is there for who sees it moved.
    pub(super) fn move_tail(&self, region: &Region, left: u32, to: u32) -> Result<(), RingError> {
        self.check_tail(region, left)?;
        region.store_u32(TAIL, to, Ordering::Release);
        Ok(())
    }

    /// That cmd_tail is where it was left.
    pub(super) fn check_tail(&self, region: &Region, left: u32) -> Result<(), RingError> {
        match region.load_u32(TAIL, Ordering::Relaxed) {
            found if found == left => Ok(()),
            found => Err(RingError::TailMoved { found, left }),
        }
    }

    /// Bytes from one place of the ring on to another.
    pub(super) fn distance(&self, from: u32, to: u32) -> u32 {
        if to >= from { to - from } else { self.ring_bytes - from + to }
    }

    /// Bytes up to the ring's end.
    pub(super) fn to_end(&self, place: u32) -> u32 {
        self.ring_bytes - place
    }

    /// The place `bytes` further, at most at the ring's end, which is its start.
    pub(super) fn after(&self, place: u32, bytes: u32) -> u32 {
        if bytes == self.to_end(place) { 0 } else { place + bytes }
    }

    /// A place's offset from the start of the region.
    pub(super) fn offset(&self, place: u32) -> usize {
        self.ring_offset + place as usize
    }

    /// What iovecs may name: all that is behind the ring.
    pub(super) fn data_area(&self, region: &Region) -> Range<usize> {
        self.ring_offset + self.ring_bytes as usize..region.length()
    }

    fn is_place(&self, value: u32) -> bool {
        value < self.ring_bytes && (value as usize).is_multiple_of(ENTRY_ALIGNMENT)
    }
}
