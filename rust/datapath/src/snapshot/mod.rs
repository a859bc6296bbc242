//! Floor 4: copy-before-write, snapshot images, change maps.
//!
//! A volume counts epochs; each snapshot takes the next. For a chunk c, `needed(c)` is the highest
//! epoch of a live snapshot whose range covers c, and `last(c)` the highest tag under which c was
//! preserved. A change of c preserves it first when needed(c) > last(c), with the tag needed(c): one
//! copy serves every snapshot.
//!
//! The order that makes snapshots true: *old data durable, then its exception durable, then the
//! origin may change.* It is enforced in one place, `engine.rs`: the origin's changing calls want a
//! [`Permit`], and only `Engine::change` and `Engine::permit` make one.

mod attention;
mod change_map;
mod engine;
mod event;
mod exclusive;
mod group;
mod image;
mod needed;
mod origin;
mod pending;
mod point;
mod policy;
mod preserve;
mod tags;

pub use change_map::ChunkRun;
pub use engine::{Engine, EngineOptions, Permit, StoreRules};
pub use event::EngineEvent;
pub use exclusive::Exclusive;
pub use group::{Hold, hold_all};
pub use image::Image;
pub use point::{PointRange, SnapshotPoint};
pub use policy::{FullPolicy, SnapshotLedger};
