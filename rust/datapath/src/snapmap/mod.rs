//! Floor 3: the exception store of a volume, on disk and in memory.
//!
//! Invariants:
//! - An exception is visible only when it and its data are durable.
//! - A slot is given out again only after its exception is dead in the catalog, durably.
//! - What is on disk is trusted only as far as `recover` has verified it.
//!
//! The format, and what a power cut may leave of it, is in `docs/formats/snapshot-map.md`.

mod buffers;
mod chain;
mod check;
mod commit;
mod copies;
mod erase;
mod errors;
mod growth;
mod layout;
mod live;
mod log;
mod map;
mod recover;
mod slots;
mod store;

pub use check::{CheckReport, dump};
pub use copies::Copied;
pub use errors::ChecksumErrors;
pub use layout::{Place, RECORDS_PER_BLOCK, Record, Slot};
pub use live::{LivePoint, LiveSet};
pub use recover::{MapError, repair_in_doubt};
pub use store::{ExceptionStore, StoreOptions, StoreUse};
