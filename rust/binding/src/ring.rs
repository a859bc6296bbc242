//! `Ring`: the command ring of a device of the kernel's target, served.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;

use datapath::scsi::NexusId;
use datapath::transport::tcmu::{Mapping, Records, RingDevice, RingHandle};
use pyo3::prelude::*;

use crate::error::Failure;
use crate::json;
use crate::target::Target;

#[pyclass(frozen, module = "scsi_snap._native")]
pub struct Ring {
    handle: RingHandle,
}

#[pymethods]
impl Ring {
    #[staticmethod]
    #[pyo3(signature = (target, nexus, lun, region, region_bytes, doorbell, records, once))]
    #[allow(clippy::too_many_arguments)]
    fn attach(
        py: Python<'_>,
        target: &Target,
        nexus: u64,
        lun: u64,
        region: i32,
        region_bytes: usize,
        doorbell: i32,
        records: PathBuf,
        once: HashMap<u8, bool>,
    ) -> PyResult<Self> {
        if region < 0 || doorbell < 0 || region_bytes == 0 {
            return Err(Failure::new("invalid-argument", "no descriptor, or no region").into());
        }
        // SAFETY: the caller's descriptors stay open during the call, as the stub says.
        let (region, doorbell) =
            unsafe { (BorrowedFd::borrow_raw(region), BorrowedFd::borrow_raw(doorbell)) };
        let (threads, router) = (Arc::clone(&target.threads), Arc::clone(&target.router));
        py.detach(|| {
            let failure = |what: &str, error: std::io::Error| {
                Failure::new("io-error", format!("{what}: {error}"))
            };
            let mapping = Mapping::map(region, region_bytes)
                .map_err(|error| failure("the device's memory", error))?;
            let doorbell = doorbell
                .try_clone_to_owned()
                .map_err(|error| failure("the device's descriptor", error))?;
            let records =
                Records::open(&records).map_err(|error| failure("the record file", error))?;
            let device = RingDevice { mapping, doorbell, records, once, lun };
            threads
                .workers
                .attach_ring(device, router, NexusId(nexus))
                .map(|handle| Self { handle })
                .map_err(|stopped| Failure::new("closed", stopped.to_string()))
        })
        .map_err(PyErr::from)
    }

    fn stop(&self, py: Python<'_>) {
        py.detach(|| {
            self.handle.stop();
            self.handle.wait_ended();
        });
    }

    fn closed(&self) -> bool {
        self.handle.end_reason().is_some()
    }

    /// Why it ended, in words; `None` while it is served.
    fn end_reason(&self) -> Option<String> {
        self.handle.end_reason().map(|reason| reason.to_string())
    }

    fn settled(&self) -> bool {
        self.handle.is_settled()
    }

    fn counters(&self) -> PyResult<String> {
        json::text(&self.handle.counts())
    }
}
