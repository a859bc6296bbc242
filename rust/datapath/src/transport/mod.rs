//! Floor 7: transports. iSCSI's full-feature phase, and the threads that run it.
//!
//! Login is done above; what comes here is a connected socket, what was negotiated and the bytes
//! that came after the login.

pub mod iscsi;
pub mod workers;

pub use workers::{Driver, Workers};
