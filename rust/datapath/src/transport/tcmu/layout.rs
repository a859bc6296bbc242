//! Where the fields are: `struct tcmu_mailbox`, `tcmu_cmd_entry` and `tcmu_tmr_entry` of
//! `linux/target_core_user.h`, as a 64-bit kernel lays them out. Numbers are in native byte order.

/// The version of the mailbox that is understood here.
pub const VERSION: u16 = 2;

/// `version` (u16) and `flags` (u16).
pub const VERSION_FLAGS: usize = 0;
/// `cmdr_off` (u32).
pub const RING_OFFSET: usize = 4;
/// `cmdr_size` (u32).
pub const RING_BYTES: usize = 8;
/// `cmd_head` (u32).
pub const HEAD: usize = 12;
/// `cmd_tail` (u32), in its own cache line.
pub const TAIL: usize = 64;
/// What the fields above need; a kernel's mailbox takes 128.
pub const MAILBOX_BYTES_MIN: usize = 68;

/// `flags`: out-of-order completion.
pub const CAP_OOOC: u16 = 1 << 0;
/// `flags`: the length of Data-In can be told.
pub const CAP_READ_LEN: u16 = 1 << 1;
/// `flags`: task management is notified.
pub const CAP_TMR: u16 = 1 << 2;
/// `flags`: data may be kept after completion. Not used here.
pub const CAP_KEEP_BUF: u16 = 1 << 3;

/// Entries begin at multiples of this, and are multiples of it long.
pub const ENTRY_ALIGNMENT: usize = 8;
/// The operation's bits of `len_op` (u32 at 0); the others are the length.
pub const OPERATION_MASK: u32 = 7;
/// Filler.
pub const OP_PAD: u32 = 0;
/// A command.
pub const OP_CMD: u32 = 1;
/// A task management notification.
pub const OP_TMR: u32 = 2;

/// `cmd_id` (u16), `kflags` (u8) and `uflags` (u8): one word.
pub const IDENTIFIER_FLAGS: usize = 4;
/// `uflags`: the operation is not known.
pub const UNKNOWN_OP: u8 = 0x01;
/// `uflags`: `read_len` is valid.
pub const READ_LEN: u8 = 0x02;
/// `uflags`: what this handler marks an entry with, the request of which is not, or no longer, the
/// request of the command that the identifier names. The kernel passes over it.
pub const REQUEST_GONE: u8 = 0x80;

/// Request: `iov_cnt` (u32).
pub const IOV_COUNT: usize = 8;
/// Request: `iov_bidi_cnt` (u32).
pub const IOV_BIDI_COUNT: usize = 12;
/// Request: `iov_dif_cnt` (u32).
pub const IOV_DIF_COUNT: usize = 16;
/// Request: `cdb_off` (u64), from the start of the region.
pub const CDB_OFFSET: usize = 24;
/// Request: `__pad1` (u64), which the kernel zeroes and does not read. Kept here: the word at
/// [`IDENTIFIER_FLAGS`] from before the entry took the identifier of an older one.
pub const FORMER_IDENTIFIER_FLAGS: usize = 32;
/// Request: `__pad2` (u64), which the kernel zeroes and does not read. Kept here: the ticket of the
/// command, where it was noted.
pub const TICKET: usize = 40;
/// Request: the iovecs, each an offset from the start of the region (u64) and a length (u64).
pub const IOVECS: usize = 48;
/// The size of an iovec.
pub const IOVEC_BYTES: usize = 16;

/// Answer: from `scsi_status` (u8) on; `read_len` (u32) lies 4 bytes further.
pub const ANSWER: usize = 8;
/// Answer: the sense data.
pub const SENSE: usize = 16;
/// The longest sense data that an answer holds (TCMU_SENSE_BUFFERSIZE).
pub const SENSE_BYTES: usize = 96;
/// Status, length and sense data.
pub const ANSWER_BYTES: usize = SENSE - ANSWER + SENSE_BYTES;

/// Behind the answer: the ticket (u64) of the command that is answered here. What of the request
/// lies there is not needed any more by then.
pub const ANSWERED_TICKET: usize = ANSWER + ANSWER_BYTES;

/// A header, which every entry has.
pub const HEADER_BYTES: usize = 8;
/// The shortest CMD entry: there is room for the answer, and behind it for a CDB.
pub const CMD_BYTES_MIN: usize = ANSWERED_TICKET + 8;

/// TMR: `tmr_type` (u8).
pub const TMR_TYPE: usize = 8;
/// TMR: `cmd_cnt` (u32).
pub const TMR_COUNT: usize = 12;
/// TMR: the command identifiers, each u16; so also the shortest TMR entry.
pub const TMR_IDENTIFIERS: usize = 32;
