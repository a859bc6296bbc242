//! Floor 1: members, the devices under a stripe set.

use crate::block_io::BlockIo;

mod image;
#[cfg(feature = "simulation")]
mod simulated;

#[cfg(feature = "simulation")]
pub use simulated::{Power, SimulatedMember};

/// A device in a stripe set.
pub trait Member: BlockIo {
    /// The user's name for it, for messages.
    fn name(&self) -> &str;
}
