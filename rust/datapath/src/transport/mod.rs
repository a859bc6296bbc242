//! Floor 7: transports. iSCSI's full-feature phase, the kernel target's command ring, and the
//! threads that run them.
//!
//! A login is done above; what comes here is a connected socket, what was negotiated and the bytes
//! that came after the login.

mod ending;
pub mod iscsi;
mod running;
pub mod tcmu;
pub mod workers;

pub use workers::{Driver, Workers};
