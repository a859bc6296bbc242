//! Floor 5: what a logical unit sees, and the volumes of one pool.
//!
//! A volume is two spaces of the pool, its origin and its exception store, with the snapshot engine
//! between them; the pool's catalog holds its record. Here the rules are kept that concern names,
//! sizes and the order between catalog and engine:
//!
//! - A snapshot is in the catalog only after what the origin held at its point is durable.
//! - A snapshot leaves the engine only after its end is durable in the catalog.
//! - What is written atomically is in the volume's log, durably, before it is written in place.
//! - Spaces that no volume names are left over from a cut in a create or delete, and are given back
//!   when the pool's volumes are opened.
//! - A volume's new size is in the catalog, in one update with the space for it, before the engine
//!   lets anybody use it. A snapshot keeps the size that the volume had at its point.

mod admin;
mod atomic_log;
mod atomic_write;
mod attributes;
mod copy;
mod device;
mod event;
mod ledger;
mod name;
mod opening;
mod point;
mod resize;
mod settle;
mod snapshots;
mod status;
mod volumes;

pub use admin::VolumeOptions;
pub use copy::copy;
pub use device::{SnapshotImage, Volume};
pub use event::VolumeEvent;
pub use point::{Point, take_snapshots};
pub use settle::settle_groups;
pub use snapshots::ByteRun;
pub use status::{StoreStatus, VolumeStatus};
pub use volumes::Volumes;
