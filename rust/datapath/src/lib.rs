//! The data path of scsi_snap. No Python here: `cargo test` alone proves it.
//!
//! Floors, top first. A module uses only modules below its own line.
//!
//! ```text
//! 7  transport   iSCSI full-feature phase: session (sans-IO), the loop around it; the TCMU ring
//! 6  scsi        requests, completions, the READ and WRITE fast path
//! 5  volume      what a logical unit sees; the volumes of one pool
//! 4  snapshot    copy-before-write, snapshot images, change maps
//! 3  snapmap     the exception store on disk
//! 2  pool        label, catalog and extents of a stripe set
//!    stripe      RAID levels over members
//! 1  member      files and block devices
//! 0  block_io, units, limits, error, checksum, gate, event_signal
//!    simulation  the seeded executor (feature `simulation`)
//! ```

pub mod block_io;
pub mod checksum;
pub mod error;
pub mod event_signal;
pub mod gate;
pub mod limits;
pub mod member;
pub mod pool;
pub mod scsi;
#[cfg(feature = "simulation")]
pub mod simulation;
pub mod snapmap;
pub mod snapshot;
pub mod stripe;
pub mod transport;
pub mod units;
pub mod volume;
