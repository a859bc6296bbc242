//! Floor 2, lower half: RAID levels over members.
//!
//! ```text
//! set            the stripe set: dispatch to the level, retry without a member that failed
//! striped        raid0, raid1, raid10: columns and copies       parity    raid5
//! failure        taking a member out                            suspects  who failed a change
//! status         what users see
//! open           from members to a set: create, import          admission which members may join
//! mapped         what is mapped; taking space in advance
//! resync         after an unclean stop                          level, geometry   pure arithmetic
//! verified       reads that are judged, and repaired from the other members
//! compare        whether copies and parity agree, while in use
//! inspect        dump and check of a member's metadata       mark      what a member says it is
//! label, intent_format, journal_format, layout   on-disk formats    intents, journal   their use
//! ```

mod admission;
mod bytes_at;
mod compare;
mod failure;
mod gate;
pub mod geometry;
pub mod inspect;
mod intent_format;
mod intents;
mod journal;
mod journal_format;
mod label;
mod layout;
mod level;
mod mapped;
pub mod mark;
mod open;
mod parity;
mod resync;
mod set;
mod status;
mod striped;
mod suspects;
mod verified;

pub(crate) use bytes_at::{bytes_at, is_sealed, put, seal, u32_at, u64_at};
pub use compare::{Comparison, Mismatch};
pub use gate::Gate;
pub use geometry::Geometry;
pub use label::{Label, LabelFault};
pub use layout::Layout;
pub use level::Level;
pub use open::Opening;
pub use set::StripeSet;
pub use status::{MemberState, MemberStatus, SetEvent, SetState};
