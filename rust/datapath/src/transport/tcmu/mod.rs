//! The kernel's target behind its user-space backstore, TCMU: the command ring, sans-IO.
//!
//! [`Ring`] is the whole interface: commands come out of [`Ring::next_entry`], answers go in by
//! [`Ring::complete`]. It knows the mapped memory ([`Region`]), and neither the UIO device that it
//! is mapped from, nor how to wait or to wake the kernel, nor a logical unit.
//!
//! A short primer; the source is Linux's `Documentation/target/tcmu-design.rst`,
//! `include/uapi/linux/target_core_user.h` and, for what these leave open, what
//! `drivers/target/target_core_user.c` does.
//!
//! ```text
//! 0          cmdr_off                      cmdr_off + cmdr_size             length
//! | mailbox  | command ring: entries       | data area: what iovecs name    |
//!                  ^ cmd_tail    ^ cmd_head
//! ```
//!
//! - The kernel puts entries at cmd_head and moves it; the handler answers them and moves cmd_tail.
//!   An entry is contiguous: where the ring's end is too near the kernel fills up with a PAD entry.
//! - A CMD entry names its CDB, which lies in the entry, and by iovecs the pages of one buffer:
//!   Data-Out or Data-In. Which of them, only the CDB tells.
//! - An answer is written **over** the request, so the request is copied out before.
//! - The kernel goes through the entries up to cmd_tail in order and takes from each only the command
//!   identifier and the answer. So with the capability OOOC the answer of *any* command may be
//!   written into the oldest entry, with its identifier; without it, answers wait for their turn.
//! - TMR entries only tell which commands an initiator has aborted or reset. Nothing is answered to
//!   them but that the tail moves on; the kernel waits for the commands themselves.
//! - An unknown operation is given back with UNKNOWN_OP.
//! - A READ_LEN of zero means "all" to the kernel. The pages of a buffer are not cleared between
//!   commands: where the kernel cannot be told how short Data-In is, the rest is zeroed.
//!
//! # A handler that dies
//!
//! The ring outlives the handler, which may be killed between any two stores. Two things must then
//! not happen: that a request whose bytes an answer has begun to overwrite is carried out, and that
//! the kernel is given an identifier which it does not wait for: it then declares the ring broken.
//! A bit of uflags that the kernel does not look at, [`layout::REQUEST_GONE`], marks the first. For
//! the second, **the entries from cmd_tail to cmd_head always carry the identifiers of exactly the
//! commands that are not answered**: when the answer of a younger command takes the oldest entry, the
//! oldest command's identifier moves into the younger one's entry, first, and a restart sees from the
//! same identifier in both that the exchange was cut short, and undoes it.
//!
//! So [`Ring::attach`] finds each unanswered command once: with its request, to be carried out (again),
//! or as [`Refusal::RequestGone`], to be answered BUSY, whereupon the initiator sends it again. Either
//! may have been carried out before. Which commands the initiator gave up long ago cannot be told.
//!
//! A command that must not be carried out twice has a ticket ([`records`]) and keeps its request until
//! it is answered: the answers of younger ones wait. One that may take long does not have them wait;
//! without its request it cannot be begun again, and a handler that finds it so says that it failed.

pub mod counters;
pub mod dispatch;
mod entry;
pub mod handle;
pub mod layout;
mod mailbox;
mod mapping;
pub mod records;
mod region;
mod ring;
mod serve;

pub use dispatch::Dispatcher;
pub use entry::{Refusal, TaskManagement};
pub use handle::{EndReason, RingHandle};
pub use mailbox::{Capabilities, RingError};
pub use mapping::Mapping;
pub use records::Records;
pub use region::Region;
pub use ring::{Answer, Entry, Ring, Task};
pub(super) use serve::Attachment;
pub use serve::RingDevice;
