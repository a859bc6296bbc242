//! Every bound of the data path, with its reason.

use std::ops::RangeInclusive;

/// Smallest unit of every floor's I/O: what disks write whole, by contract of `BlockIo`.
pub const SECTOR_BYTES: u64 = 512;

/// Chunks smaller than this cost more in records than they save in copying.
pub const CHUNK_BYTES_MIN: u64 = 4 << 10;
/// Chunks larger than this make a 4 KiB write copy a megabyte and more.
pub const CHUNK_BYTES_MAX: u64 = 1 << 20;
/// The default chunk: QEMU's cluster, a fair trade between copying and records.
pub const CHUNK_BYTES_DEFAULT: u64 = 64 << 10;
/// Chunks of a volume are counted in 32 bits, so that a map entry stays small.
pub const CHUNKS_PER_VOLUME_MAX: u64 = 1 << 32;

/// Live snapshots of one volume; each costs a record in the catalog, none costs a write more.
pub const SNAPSHOTS_PER_VOLUME_MAX: usize = 4096;
/// Volumes of one pool: the catalog is written whole at each change.
pub const VOLUMES_PER_POOL_MAX: usize = 4096;
/// Volumes of a pool that are opened or closed at the same time: each reads its map and flushes, so
/// that more of them share the waiting; and each holds a chunk or two in memory.
pub const VOLUMES_OPENING_MAX: usize = 64;
/// Attributes of one volume: a few for each thing that the floors above keep with it.
pub const ATTRIBUTES_PER_VOLUME_MAX: usize = 32;
/// Bytes of an attribute's name: it is a word.
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 64;
/// Bytes of an attribute's value: the catalog, which is written whole at each change, stays small.
pub const ATTRIBUTE_VALUE_BYTES_MAX: usize = 16 << 10;
/// Characters of a pool's, volume's or snapshot's name.
pub const NAME_CHARS_MAX: usize = 128;

/// Runs that one look at what is mapped asks for; each may wait for a thread that asks the kernel.
pub const MAPPED_RUNS_MAX: usize = 1024;
/// Chunks of a snapshot that are looked up for one run of what is mapped.
pub const MAPPED_RUN_CHUNKS_MAX: u64 = 1 << 14;

/// Space that is taken in advance at a time, so that other work of the thread comes between.
pub const ALLOCATED_PIECE_BYTES: u64 = 1 << 30;

/// Chunks of one volume being preserved at the same time; each holds a buffer of a chunk's size.
pub const PRESERVING_CHUNKS_MAX: usize = 64;

/// Data of one command. Longer ones are not solicited and not read: it bounds what a single CDB can
/// make us hold, and is what the Block Limits page reports as MAXIMUM TRANSFER LENGTH.
pub const TRANSFER_BYTES_MAX: u32 = 16 << 20;

/// What an exclusive change may be alone on: as long as a command can be, since ORWRITE has no limit
/// of its own. It bounds what is read and compared at once, and how long others wait for the chunks.
pub const EXCLUSIVE_BYTES_MAX: u64 = TRANSFER_BYTES_MAX as u64;
/// What is written all or nothing: 256 blocks of 4096 bytes, as long as the first form of the command
/// could say, and far above the pages of databases.
pub const ATOMIC_BYTES_MAX: u64 = 1 << 20;
/// What a copy between devices holds in memory: long enough to keep members streaming.
pub const COPY_BYTES_MAX: u64 = 1 << 20;

/// Commands of one session in progress (MaxCmdSN - ExpCmdSN + 1 when none is): deep enough for one
/// initiator's queue, small enough that a session's tasks fit in a cache.
pub const COMMAND_WINDOW: u32 = 128;
/// Immediate commands of one session in progress: they bypass the window, so they need their own.
pub const IMMEDIATE_COMMANDS_MAX: u32 = 32;
/// Data-Out that one session may have solicited or buffered; a command beyond it waits for its R2T.
pub const DATA_OUT_BYTES_PER_SESSION_MAX: u64 = 32 << 20;
/// Data-In of one session that is being read; a command beyond it waits to be started.
pub const DATA_IN_BYTES_PER_SESSION_MAX: u64 = 32 << 20;
/// Bytes that wait for a peer to read them. Past it nothing is read from that peer and no command
/// of its is started.
pub const OUTBOX_BYTES_MAX: usize = 8 << 20;
/// The longest data segment that a session may have declared to take (MaxRecvDataSegmentLength).
pub const RECEIVE_SEGMENT_BYTES_MAX: u32 = 1 << 20;
/// The longest unsolicited burst that a session may have agreed to (FirstBurstLength): the window's
/// worth of it is what a peer can make us hold without being asked.
pub const FIRST_BURST_BYTES_MAX: u32 = 256 << 10;
/// R2Ts outstanding for one command; the protocol allows 65535, more than a few gain nothing.
pub const OUTSTANDING_R2T_MAX: u16 = 16;
/// MaxRecvDataSegmentLength of either side (RFC 7143, 13.12).
pub const SEGMENT_BYTES: RangeInclusive<u32> = 512..=0xFF_FFFF;
/// Text of one request in full-feature phase: twice the PDU that every node must take.
pub const TEXT_BYTES_MAX: usize = 16 << 10;
/// Bytes received at a time: some 64 commands of 4 KiB with their data would be more than a socket
/// buffer usually gives, and the buffer stays in a core's second-level cache.
pub const RECEIVE_BYTES: usize = 128 << 10;
/// Buffers kept for reuse by one session.
pub const POOLED_BYTES_PER_SESSION_MAX: usize = 8 << 20;

/// The longest CDB (SPC-5, 4.2.3.1): 8 bytes, and 252 of additional length.
pub const CDB_BYTES_MAX: usize = 260;

/// Asynchronous events that wait for one session's thread; more tell an initiator nothing that its
/// next command would not.
pub const EVENTS_WAITING_MAX: usize = 64;
/// The longest sense data (SPC-4, 4.5.1), so also that of an asynchronous event.
pub const SENSE_BYTES_MAX: usize = 252;

/// Commands of one ring in progress: all initiators of a kernel target's unit share it, so some times
/// what one session may have.
pub const COMMANDS_PER_RING_MAX: usize = 512;
/// Data of the commands of one ring in progress, in either direction; it leaves room for several of
/// the longest.
pub const DATA_BYTES_PER_RING_MAX: u64 = 64 << 20;
/// Commands of one ring that were looked at and wait for their turn; how far ahead is seen which of
/// them an initiator has aborted. Their data stays in the ring.
pub const COMMANDS_WAITING_PER_RING_MAX: usize = 1024;
/// Commands that one turn of a ring begins before it answers, so that the kernel is not told for each,
/// nor waits for long.
pub const COMMANDS_PER_RING_TURN: usize = 64;
/// Commands of one ring in progress that must not be carried out twice; they are rare, more wait.
pub const RECORDS_PER_RING: usize = 64;

/// Silence of a peer after which it is sent a NOP-In ping.
pub const PING_AFTER_S: u64 = 15;
/// Silence after a ping, or answers left unread, after which the connection is closed.
pub const PEER_GONE_AFTER_S: u64 = 30;

/// Chunks that one write preserves together; longer writes go in pieces, so that one cannot take
/// all of [`PRESERVING_CHUNKS_MAX`].
pub const PRESERVING_CHUNKS_PER_WRITE_MAX: usize = 16;
/// Log blocks beyond twice a compact log's need before a checkpoint is due: 4 MiB of log.
pub const LOG_SLACK_BLOCKS: u64 = 1024;
/// Log blocks that may be durable and not yet called so by a root: it bounds what a damaged region of
/// the log can hide, and costs one write in so many batches.
pub const LOG_MARK_BLOCKS: u64 = 256;
/// Preserved chunks of a volume that are kept in memory after a part of them was read: some streams.
pub const KEPT_COPIES: usize = 4;
/// Slots of a store that are overwritten at a time, and so are missing while they are.
pub const ERASED_SLOTS: usize = 64;
/// Zeros are written in parts of this size: few calls, and no memory to speak of.
pub const ZEROS_BYTES: usize = 256 << 10;
/// Slots that only the log may take, so that a store full of data can still record it.
pub const LOG_RESERVED_SLOTS: u64 = 2;
/// A store grows by a quarter of its size, within these bounds: few steps, little waste.
pub const STORE_GROWTH_BYTES_MIN: u64 = 4 << 20;
/// See [`STORE_GROWTH_BYTES_MIN`].
pub const STORE_GROWTH_BYTES_MAX: u64 = 1 << 30;
/// Slots of a store are counted in 32 bits; the highest number means "all zeros".
pub const STORE_SLOTS_MAX: u64 = u32::MAX as u64;
/// Per cent of a store's limit at which an event tells that it fills.
pub const STORE_THRESHOLDS_PERCENT: [u8; 4] = [50, 75, 90, 95];
/// Events of a pool that wait to be fetched; beyond it the oldest are lost.
pub const EVENTS_MAX: usize = 1024;

/// Members of one stripe set: a journal record names each in one sector.
pub const MEMBERS_MAX: usize = 24;
/// The smallest member: the metadata area takes 1 MiB, and volumes need some granules of room.
pub const MEMBER_BYTES_MIN: u64 = 8 << 20;
/// Strips smaller than a page would split every request.
pub const STRIP_BYTES_MIN: u64 = 4 << 10;
/// Strips larger than this leave most requests on one member.
pub const STRIP_BYTES_MAX: u64 = 1 << 20;
/// The default strip: most requests stay on one member, large ones use several.
pub const STRIP_BYTES_DEFAULT: u64 = 64 << 10;
/// Extents are multiples of this, or of the next full stripe.
pub const EXTENT_GRANULE_BYTES: u64 = 1 << 20;
/// Regions with a write intent at one time; more, and a checkpoint clears them all. It bounds what
/// is compared after a crash.
pub const DIRTY_REGIONS_MAX: usize = 256;
/// Events of a pool that nobody has fetched; the oldest give way.
pub const POOL_EVENTS_MAX: usize = 256;
/// Ranges that a comparison of members lists; all are counted.
pub const MISMATCHES_MAX: usize = 64;

/// A new exception store: room for some chunks, without a cost for volumes that see no snapshot.
pub const STORE_BYTES_INITIAL: u64 = 4 << 20;
/// The fewest chunks that an exception store must have room for, commit slots and log included.
pub const STORE_CHUNKS_MIN: u64 = 8;
/// Snapshots of one consistent point: all of its volumes are held at once.
pub const GROUP_SNAPSHOTS_MAX: usize = 256;
