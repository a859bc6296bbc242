//! Floor 2, lower half: RAID levels over members.

mod gate;
pub mod geometry;
pub mod level;

pub use gate::Gate;
pub use level::Level;
