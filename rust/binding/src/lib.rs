//! The Python module `scsi_snap._native`: classes over the data path, and no logic. The stub
//! `scsi_snap/_native.pyi` documents it.

mod device;
mod error;
mod json;
mod pool;
mod report;
mod ring;
mod runtime;
mod slow_path;
mod target;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    /// A regular file that is made as a member is so many bytes longer than was asked for.
    #[pymodule_export]
    const MEMBER_TAIL_BYTES: u64 = datapath::member::TAIL_BYTES;
    #[pymodule_export]
    use crate::device::Device;
    #[pymodule_export]
    use crate::error::NativeError;
    #[pymodule_export]
    use crate::pool::{MemberMark, Pool};
    #[pymodule_export]
    use crate::report::{Event, MemberView, PoolStatus, SnapshotView, StoreView, VolumeView};
    #[pymodule_export]
    use crate::ring::Ring;
    #[pymodule_export]
    use crate::runtime::Runtime;
    #[pymodule_export]
    use crate::target::{Session, Target};
}
