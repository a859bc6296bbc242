//! `Target` and `Session`: the fast path behind a Python command set, and who uses it.

use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use datapath::limits::SENSE_BYTES_MAX;
use datapath::scsi::nexus::end_token;
use datapath::scsi::{LogicalUnit, NexusId, Target as TaskRouter, UnitNumber};
use datapath::transport::iscsi::{SessionHandle, SessionParameters};
use pyo3::prelude::*;

use crate::device::{Device, UnitDevice};
use crate::error::Failure;
use crate::json;
use crate::runtime::{Runtime, Threads};
use crate::slow_path::{PythonCommandSet, PythonNegotiator};

/// How long an initiator has to log out when it is asked to, in seconds; what open-iscsi and libiscsi
/// need is far less.
const LOGOUT_WITHIN_S: u16 = 10;

#[pyclass(frozen, module = "scsi_snap._native")]
pub struct Target {
    pub threads: Arc<Threads>,
    pub router: Arc<TaskRouter<UnitDevice>>,
}

/// Of the attributes of `scsi_snap.iscsi.parameters.SessionParameters`.
#[derive(FromPyObject)]
struct Negotiated {
    cid: u16,
    cmd_sn: u32,
    stat_sn: u32,
    header_digest: bool,
    data_digest: bool,
    max_recv_data_segment_length: u32,
    max_send_data_segment_length: u32,
    max_burst_length: u32,
    first_burst_length: u32,
    initial_r2t: bool,
    immediate_data: bool,
    max_outstanding_r2t: u16,
    protocol_level: u8,
}

impl Negotiated {
    fn into_parameters(self) -> SessionParameters {
        SessionParameters {
            connection_id: self.cid,
            cmd_sn: self.cmd_sn,
            stat_sn: self.stat_sn,
            header_digest: self.header_digest,
            data_digest: self.data_digest,
            max_receive_segment_bytes: self.max_recv_data_segment_length,
            max_send_segment_bytes: self.max_send_data_segment_length,
            max_burst_bytes: self.max_burst_length,
            first_burst_bytes: self.first_burst_length,
            initial_r2t: self.initial_r2t,
            immediate_data: self.immediate_data,
            max_outstanding_r2t: self.max_outstanding_r2t,
            protocol_level: self.protocol_level,
        }
    }
}

#[pymethods]
impl Target {
    #[new]
    fn new(runtime: &Runtime, command_set: Py<PyAny>) -> Self {
        let threads = Arc::clone(&runtime.threads);
        let slow_path = PythonCommandSet::new(Arc::clone(&threads.slow), command_set);
        let router = TaskRouter::new(Arc::clone(&threads.sessions), Arc::new(slow_path));
        Self { threads, router: Arc::new(router) }
    }

    fn map(&self, lun: u64, device: &Device, unit: u64, read_only: bool) {
        let shared = Arc::clone(&device.shared);
        let device = device.device.clone();
        let (block_bytes, read_only) = (device.block_bytes(), read_only || device.is_read_only());
        let unit =
            LogicalUnit::new(UnitNumber(unit), device, block_bytes, read_only).sharing(shared);
        unit.gate().set_pending(None, true);
        self.router.map(lun, Arc::new(unit));
    }

    fn unmap(&self, lun: u64) {
        if let Some(unit) = self.router.unmap(lun) {
            // A command that has just found it goes to the command set, which has it no more.
            unit.gate().set_pending(None, true);
        }
    }

    fn set_pending(&self, lun: u64, nexus: Option<u64>, pending: bool) {
        if let Some(unit) = self.router.unit(lun) {
            unit.gate().set_pending(nexus.map(NexusId), pending);
        }
    }

    fn decline_writes(&self, lun: u64, declined: bool) {
        if let Some(unit) = self.router.unit(lun) {
            unit.decline_writes(declined);
        }
    }

    /// Waits without the interpreter's lock, which a task that is to end may need.
    fn abort_tasks(&self, py: Python<'_>, lun: u64, nexuses: Vec<u64>) {
        let nexuses: Vec<NexusId> = nexuses.into_iter().map(NexusId).collect();
        let (token, ended) = end_token();
        self.router.abort_tasks_of(&nexuses, lun, &token);
        drop(token);
        py.detach(|| ended.wait());
    }

    /// The descriptor is closed whatever comes of it.
    fn adopt(
        &self,
        py: Python<'_>,
        descriptor: i32,
        nexus: u64,
        parameters: Negotiated,
        negotiator: Py<PyAny>,
        received: &[u8],
    ) -> PyResult<Session> {
        if descriptor < 0 {
            return Err(Failure::new("invalid-argument", "no descriptor").into());
        }
        // SAFETY: the caller gives away a descriptor that it owns, as the stub says.
        let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
        let parameters = parameters.into_parameters();
        let negotiator = PythonNegotiator::new(Arc::clone(&self.threads.slow), negotiator);
        let (router, received) = (Arc::clone(&self.router), Bytes::copy_from_slice(received));
        let nexus = NexusId(nexus);
        let workers = &self.threads.workers;
        let negotiator = Arc::new(negotiator);
        py.detach(|| workers.adopt(socket, parameters, negotiator, router, nexus, received))
            .map(|handle| Session { handle })
            .map_err(|error| Failure::new("io-error", error.to_string()).into())
    }
}

#[pyclass(frozen, module = "scsi_snap._native")]
pub struct Session {
    handle: SessionHandle,
}

#[pymethods]
impl Session {
    fn close(&self) {
        self.handle.close();
    }

    fn closed(&self) -> bool {
        self.handle.end_reason().is_some()
    }

    fn wait_closed(&self, py: Python<'_>, timeout_s: f64) -> PyResult<bool> {
        let timeout = Duration::try_from_secs_f64(timeout_s)
            .map_err(|error| Failure::new("invalid-argument", error.to_string()))?;
        Ok(py.detach(|| self.handle.wait_ended(Some(timeout))))
    }

    /// Why it ended, in words; `None` while it runs.
    fn end_reason(&self) -> Option<String> {
        self.handle.end_reason().map(|reason| reason.to_string())
    }

    fn logout_request(&self) {
        self.handle.request_logout(LOGOUT_WITHIN_S);
    }

    fn report_event(&self, lun: u64, sense: &[u8]) -> PyResult<()> {
        if sense.is_empty() || sense.len() > SENSE_BYTES_MAX {
            let failure = Failure::new("invalid-argument", "sense data has 1 to 252 bytes");
            return Err(failure.into());
        }
        self.handle.report_event(lun, Bytes::copy_from_slice(sense));
        Ok(())
    }

    fn counters(&self) -> PyResult<String> {
        json::text(&self.handle.counts())
    }
}
