//! One entry: its header, and the request in it, copied out and checked.

use std::ops::Range;
use std::sync::atomic::{Ordering, fence};

use super::Region;
use super::layout::*;
use super::mailbox::{Mailbox, RingError};
use crate::limits::CDB_BYTES_MAX;
use crate::scsi::Cdb;

/// Why a command that has an identifier, and so can and must be answered, is not handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A handler died while it answered this or another command. Answer BUSY.
    #[error("a former handler has written over the request")]
    RequestGone,
    /// Data in both directions: no command of a direct-access device has it.
    #[error("a bidirectional command")]
    Bidirectional,
    /// Protection information, which is not supported.
    #[error("a command with protection information")]
    Protection,
    /// The CDB does not lie in the entry behind the iovecs, or is longer than one can be.
    #[error("the CDB is not in the entry")]
    Cdb,
    /// The iovecs do not lie in the entry.
    #[error("the iovecs are not in the entry")]
    Iovecs,
    /// An iovec names memory that is not of the data area, or all together more than there is.
    #[error("the data is not in the data area")]
    Data,
}

/// A task management function that has come for some commands of this ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskManagement {
    /// `tmr_type`: 1 ABORT TASK, 2 ABORT TASK SET, 4 CLEAR TASK SET, 5 LOGICAL UNIT RESET, 6 and 7
    /// target resets, 128 PREEMPT AND ABORT.
    pub function: u8,
    /// The identifiers of the commands that it ends ([`super::Task::identifier`]). They are answered
    /// all the same; what they are answered no longer matters.
    pub identifiers: Vec<u16>,
}

/// `len_op`.
#[derive(Clone, Copy)]
pub(super) struct Header {
    pub(super) operation: u32,
    pub(super) length: u32,
}

impl Header {
    /// The header of the entry at `at`, whose length stays before `head` and the ring's end.
    pub(super) fn read(
        region: &Region,
        mailbox: &Mailbox,
        at: u32,
        head: u32,
    ) -> Result<Self, RingError> {
        let word = region.load_u32(mailbox.offset(at), Ordering::Relaxed);
        let header = Self { operation: word & OPERATION_MASK, length: word & !OPERATION_MASK };
        let room = mailbox.distance(at, head).min(mailbox.to_end(at));
        if header.length < header.length_min() || header.length > room {
            return Err(RingError::Length { at, length: header.length });
        }
        Ok(header)
    }

    /// The fewest bytes that an entry of this operation has.
    fn length_min(&self) -> u32 {
        let bytes = match self.operation {
            OP_CMD => CMD_BYTES_MIN,
            OP_TMR => TMR_IDENTIFIERS,
            _ => HEADER_BYTES,
        };
        bytes as u32
    }
}

/// `cmd_id`, `kflags` and `uflags`.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdentifierFlags {
    pub(super) identifier: u16,
    kernel: u8,
    user: u8,
}

impl IdentifierFlags {
    pub(super) fn read(region: &Region, offset: usize) -> Self {
        Self::from_word(region.load_u32(offset + IDENTIFIER_FLAGS, Ordering::Relaxed))
    }

    pub(super) fn from_word(word: u32) -> Self {
        let [a, b, kernel, user] = word.to_ne_bytes();
        Self { identifier: u16::from_ne_bytes([a, b]), kernel, user }
    }

    pub(super) fn word(self) -> u32 {
        let [a, b] = self.identifier.to_ne_bytes();
        u32::from_ne_bytes([a, b, self.kernel, self.user])
    }

    /// In one store, after all that was stored before.
    pub(super) fn write(self, region: &Region, offset: usize) {
        region.store_u32(offset + IDENTIFIER_FLAGS, self.word(), Ordering::Release);
    }

    pub(super) fn of(self, identifier: u16) -> Self {
        Self { identifier, ..self }
    }

    /// With these uflags and no others.
    pub(super) fn flagged(self, user: u8) -> Self {
        Self { user, ..self }
    }

    pub(super) fn request_is_gone(self) -> bool {
        self.user & REQUEST_GONE != 0
    }
}

/// The pieces of a command's buffer: offsets into the region, checked. The first is apart, as most
/// buffers have no other.
#[derive(Debug, Default)]
pub(super) struct Segments {
    first: Range<usize>,
    others: Vec<Range<usize>>,
    bytes: usize,
}

impl Segments {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn pieces(&self) -> impl Iterator<Item = &Range<usize>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    fn push(&mut self, piece: Range<usize>) {
        match self.bytes {
            0 => self.first = piece.clone(),
            _ => self.others.push(piece.clone()),
        }
        self.bytes += piece.len();
    }

    /// Where the first `length` bytes lie, if they are in one piece.
    pub(super) fn one_piece(&self, length: usize) -> Option<Range<usize>> {
        (length <= self.first.len()).then(|| self.first.start..self.first.start + length)
    }

    /// Where the first byte is that is lent.
    pub(super) fn lent(&self, region: &Region) -> Option<usize> {
        self.pieces().find(|piece| region.is_lent(piece)).map(|piece| piece.start)
    }

    /// Fills `into` with the buffer's first bytes; how many there were.
    pub(super) fn gather(&self, region: &Region, into: &mut [u8]) -> usize {
        let mut done = 0;
        for piece in self.pieces() {
            let length = piece.len().min(into.len() - done);
            region.copy_out(piece.start, &mut into[done..done + length]);
            done += length;
        }
        done
    }

    /// Writes the buffer's first bytes; how many there was room for.
    pub(super) fn scatter(&self, region: &Region, from: &[u8]) -> usize {
        let mut done = 0;
        for piece in self.pieces() {
            let length = piece.len().min(from.len() - done);
            region.copy_in(piece.start, &from[done..done + length]);
            done += length;
        }
        done
    }

    /// Zeroes what is behind the buffer's first bytes.
    pub(super) fn zero_behind(&self, region: &Region, bytes: usize) {
        let mut passed = 0;
        for piece in self.pieces() {
            let kept = piece.len().min(bytes - passed);
            region.zero(piece.start + kept, piece.len() - kept);
            passed += kept;
        }
    }
}

/// The request of the CMD entry of `length` bytes at `offset`.
pub(super) fn read_request(
    region: &Region,
    offset: usize,
    length: usize,
    data_area: Range<usize>,
) -> Result<(Cdb, Segments), Refusal> {
    let count = |field| region.load_u32(offset + field, Ordering::Relaxed) as usize;
    if count(IOV_BIDI_COUNT) != 0 {
        return Err(Refusal::Bidirectional);
    }
    if count(IOV_DIF_COUNT) != 0 {
        return Err(Refusal::Protection);
    }
    let iovecs = count(IOV_COUNT);
    if iovecs > (length - IOVECS) / IOVEC_BYTES {
        return Err(Refusal::Iovecs);
    }
    let place = offset + IOVECS + iovecs * IOVEC_BYTES..offset + length;
    Ok((read_cdb(region, offset, place)?, read_segments(region, offset, iovecs, data_area)?))
}

/// The CDB, which must lie within `place`.
fn read_cdb(region: &Region, offset: usize, place: Range<usize>) -> Result<Cdb, Refusal> {
    let start = usize::try_from(region.load_u64(offset + CDB_OFFSET)).unwrap_or(usize::MAX);
    if !place.contains(&start) {
        return Err(Refusal::Cdb);
    }
    let (mut bytes, room) = ([0; 16], place.end - start);
    match room {
        ..16 => region.copy_out(start, &mut bytes[..room]),
        _ => region.copy_out(start, &mut bytes),
    }
    let length = cdb_bytes(&bytes);
    if length > room.min(CDB_BYTES_MAX) {
        return Err(Refusal::Cdb);
    }
    if length > bytes.len() {
        let mut long = vec![0; length];
        region.copy_out(start, &mut long);
        return Ok(Cdb::Long(long.into()));
    }
    // What is behind the CDB is not of it.
    bytes[length..].fill(0);
    Ok(Cdb::Fixed(bytes))
}

/// How many bytes of a CDB the kernel passes on: by its group code, with ten for the vendor-specific
/// groups 6 and 7, or by the additional length of the variable-length format.
fn cdb_bytes(cdb: &[u8; 16]) -> usize {
    const VARIABLE_LENGTH: u8 = 0x7F;
    const BY_GROUP: [usize; 8] = [6, 10, 10, 12, 16, 12, 10, 10];
    match cdb[0] {
        VARIABLE_LENGTH => 8 + usize::from(cdb[7]),
        code => BY_GROUP[usize::from(code >> 5)],
    }
}

/// The pieces that `count` iovecs name. Their number is bounded by the entry that they lie in, their
/// bytes by the data area: pages that are named twice are a mistake.
fn read_segments(
    region: &Region,
    offset: usize,
    count: usize,
    data_area: Range<usize>,
) -> Result<Segments, Refusal> {
    let mut segments = Segments::default();
    for index in 0..count {
        let iovec = offset + IOVECS + index * IOVEC_BYTES;
        let number = |at| usize::try_from(region.load_u64(at)).map_err(|_| Refusal::Data);
        let (start, length) = (number(iovec)?, number(iovec + 8)?);
        let end = start.checked_add(length).ok_or(Refusal::Data)?;
        if start < data_area.start || end > data_area.end {
            return Err(Refusal::Data);
        }
        if length > data_area.len() - segments.bytes {
            return Err(Refusal::Data);
        }
        segments.push(start..end);
    }
    Ok(segments)
}

/// The notification in the TMR entry of `length` bytes at `offset`. Identifiers that the entry has no
/// room for are not there.
pub(super) fn read_task_management(
    region: &Region,
    offset: usize,
    length: usize,
) -> TaskManagement {
    let [function, ..] = region.load_u32(offset + TMR_TYPE, Ordering::Relaxed).to_ne_bytes();
    let given = region.load_u32(offset + TMR_COUNT, Ordering::Relaxed) as usize;
    let mut bytes = vec![0; given.min((length - TMR_IDENTIFIERS) / 2) * 2];
    region.copy_out(offset + TMR_IDENTIFIERS, &mut bytes);
    let identifiers = bytes.chunks_exact(2).map(|pair| u16::from_ne_bytes([pair[0], pair[1]]));
    TaskManagement { function, identifiers: identifiers.collect() }
}

/// The tickets that the CMD entry at `offset` may have: where the request stands, and behind the
/// answer that has begun to be written over it.
pub(super) fn read_tickets(region: &Region, offset: usize, answered: bool) -> [u64; 2] {
    let behind = if answered { region.load_u64(offset + ANSWERED_TICKET) } else { 0 };
    [region.load_u64(offset + TICKET), behind]
}

/// Notes a ticket in a request, before what is stored after this.
pub(super) fn write_ticket(region: &Region, offset: usize, ticket: u64) {
    region.store_u64(offset + TICKET, ticket);
    fence(Ordering::Release);
}

pub(super) const GOOD: u8 = 0x00;

/// An answer as it lies in an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Response<'a> {
    pub(super) status: u8,
    /// How long the Data-In is; zero where the kernel is not told.
    pub(super) read_length: u32,
    /// What is behind [`SENSE_BYTES`] does not come through.
    pub(super) sense: &'a [u8],
}

/// Writes an answer over the request, after all that was stored before; first of all, where the
/// command has one, its ticket to where the answer leaves it. With the status GOOD the kernel does not
/// look for sense data, and none is written.
pub(super) fn write_response(
    region: &Region,
    offset: usize,
    ticket: Option<u64>,
    response: Response<'_>,
) {
    fence(Ordering::Release);
    if let Some(ticket) = ticket {
        region.store_u64(offset + ANSWERED_TICKET, ticket);
        fence(Ordering::Release);
    }
    let Response { status, read_length, sense } = response;
    let [a, b, c, d] = read_length.to_ne_bytes();
    region.store_u64(offset + ANSWER, u64::from_ne_bytes([status, 0, 0, 0, a, b, c, d]));
    if status == GOOD {
        return;
    }
    let mut bytes = [0; SENSE_BYTES];
    let length = sense.len().min(SENSE_BYTES);
    bytes[..length].copy_from_slice(&sense[..length]);
    for (index, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
        region.store_u64(offset + SENSE + index * 8, u64::from_ne_bytes(*word));
    }
}
