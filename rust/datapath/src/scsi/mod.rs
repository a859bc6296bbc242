//! Floor 6: commands, transport-neutral, and the fast path for plain READ and WRITE.
//!
//! The fast path may decline, never decide: whatever is not a plain READ or WRITE that succeeds is
//! executed from its start by the [`SlowPath`], which alone makes sense data.

pub mod buffers;
pub mod cdb;
pub mod counters;
pub mod data_out;
pub mod gate;
pub mod logical_unit;
pub mod lun;
pub mod nexus;
pub mod request;
pub mod sessions;
pub mod slow_path;
pub mod target;

pub use counters::UnitCounts;
pub use gate::Gate;
pub use logical_unit::{LogicalUnit, UnitNumber, UnitShared};
pub use request::{Cdb, Completion, Expected, ExpectedDirection, NexusId, Request, TaskAttribute};
pub use sessions::Sessions;
pub use slow_path::{FunctionAnswer, SlowPath};
pub use target::Target;
