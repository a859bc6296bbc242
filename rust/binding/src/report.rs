//! What a pool says about itself, as frozen objects: they hold what was so when they were asked for,
//! and give Python a field when it is read.

use std::collections::BTreeMap;
use std::sync::Arc;

use datapath::pool::{self, SnapshotRecord, VolumeRecord};
use datapath::stripe::{self, SetEvent};
use datapath::volume::{StoreStatus, VolumeEvent, VolumeStatus};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use serde::Serialize;
use uuid::Uuid;

#[pyclass(frozen, module = "scsi_snap._native")]
pub struct PoolStatus(pub pool::PoolStatus);

#[pymethods]
impl PoolStatus {
    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }

    #[getter]
    fn id(&self) -> String {
        self.0.id.to_string()
    }

    #[getter]
    fn level(&self) -> String {
        word(self.0.level)
    }

    #[getter]
    fn strip_bytes(&self) -> u64 {
        self.0.strip_bytes
    }

    #[getter]
    fn event(&self) -> u64 {
        self.0.event
    }

    #[getter]
    fn state(&self) -> String {
        word(self.0.state)
    }

    #[getter]
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes
    }

    #[getter]
    fn free_bytes(&self) -> u64 {
        self.0.free_bytes
    }

    #[getter]
    fn granule_bytes(&self) -> u64 {
        self.0.granule_bytes
    }

    #[getter]
    fn members<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let members: Vec<_> =
            self.0.members.iter().map(|member| MemberView(member.clone())).collect();
        PyTuple::new(py, members)
    }
}

#[pyclass(frozen, module = "scsi_snap._native")]
pub struct MemberView(stripe::MemberStatus);

#[pymethods]
impl MemberView {
    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }

    #[getter]
    fn id(&self) -> String {
        self.0.id.to_string()
    }

    #[getter]
    fn role(&self) -> usize {
        self.0.role
    }

    #[getter]
    fn state(&self) -> String {
        word(self.0.state)
    }

    #[getter]
    fn errors(&self) -> u64 {
        self.0.errors
    }

    #[getter]
    fn repairs(&self) -> u64 {
        self.0.repairs
    }
}

#[pyclass(frozen, module = "scsi_snap._native")]
pub struct VolumeView(pub VolumeStatus);

impl VolumeView {
    fn record(&self) -> &Arc<VolumeRecord> {
        &self.0.record
    }

    fn snapshot_where(&self, wanted: impl Fn(&SnapshotRecord) -> bool) -> Option<SnapshotView> {
        let index = self.record().snapshots.iter().position(wanted)?;
        Some(SnapshotView { volume: Arc::clone(self.record()), index })
    }
}

#[pymethods]
impl VolumeView {
    #[getter]
    fn id(&self) -> String {
        self.record().id.0.to_string()
    }

    #[getter]
    fn name(&self) -> &str {
        &self.record().name
    }

    #[getter]
    fn created_at_ms(&self) -> u64 {
        self.record().created_at_ms
    }

    #[getter]
    fn size_bytes(&self) -> u64 {
        self.record().size_bytes
    }

    #[getter]
    fn block_bytes(&self) -> u32 {
        self.record().block_bytes
    }

    #[getter]
    fn chunk_bytes(&self) -> u32 {
        self.record().chunk_bytes
    }

    #[getter]
    fn policy(&self) -> String {
        word(self.record().policy)
    }

    #[getter]
    fn store(&self) -> StoreView {
        StoreView(self.0.store)
    }

    #[getter]
    fn attributes(&self) -> BTreeMap<String, String> {
        self.record().attributes.clone()
    }

    #[getter]
    fn snapshot_count(&self) -> usize {
        self.record().snapshots.len()
    }

    #[getter]
    fn snapshots<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let indices = 0..self.record().snapshots.len();
        let snapshots: Vec<_> = indices
            .map(|index| SnapshotView { volume: Arc::clone(self.record()), index })
            .collect();
        PyTuple::new(py, snapshots)
    }

    fn snapshot(&self, name: &str) -> Option<SnapshotView> {
        self.snapshot_where(|snapshot| snapshot.name == name)
    }

    fn snapshot_of(&self, snapshot_id: &str) -> Option<SnapshotView> {
        let id: Uuid = snapshot_id.parse().ok()?;
        self.snapshot_where(|snapshot| snapshot.id == id)
    }
}

#[pyclass(frozen, module = "scsi_snap._native")]
pub struct StoreView(StoreStatus);

#[pymethods]
impl StoreView {
    #[getter]
    fn used_bytes(&self) -> u64 {
        self.0.used_bytes
    }

    #[getter]
    fn capacity_bytes(&self) -> u64 {
        self.0.capacity_bytes
    }

    #[getter]
    fn limit_bytes(&self) -> Option<u64> {
        self.0.limit_bytes
    }

    #[getter]
    fn preserved_chunks(&self) -> u64 {
        self.0.preserved_chunks
    }

    #[getter]
    fn checksums_repaired(&self) -> u64 {
        self.0.checksum_errors.repaired
    }

    #[getter]
    fn checksums_lost(&self) -> u64 {
        self.0.checksum_errors.lost
    }
}

/// A snapshot within the record of its volume.
#[pyclass(frozen, module = "scsi_snap._native")]
pub struct SnapshotView {
    volume: Arc<VolumeRecord>,
    index: usize,
}

impl SnapshotView {
    fn record(&self) -> &SnapshotRecord {
        &self.volume.snapshots[self.index]
    }
}

#[pymethods]
impl SnapshotView {
    #[getter]
    fn id(&self) -> String {
        self.record().id.to_string()
    }

    #[getter]
    fn name(&self) -> &str {
        &self.record().name
    }

    #[getter]
    fn created_at_ms(&self) -> u64 {
        self.record().created_at_ms
    }

    #[getter]
    fn epoch(&self) -> u32 {
        self.record().epoch.0
    }

    #[getter]
    fn first_byte(&self) -> u64 {
        self.record().first_byte
    }

    #[getter]
    fn length_bytes(&self) -> u64 {
        self.record().length_bytes
    }

    #[getter]
    fn state(&self) -> String {
        word(self.record().state)
    }

    #[getter]
    fn invalid_reason(&self) -> Option<&str> {
        self.record().invalid_reason.as_deref()
    }

    #[getter]
    fn group(&self) -> Option<String> {
        self.record().group.map(|group| group.to_string())
    }

    #[getter]
    fn volume_bytes(&self) -> u64 {
        self.record().volume_bytes.unwrap_or(self.volume.size_bytes)
    }
}

/// Something that happened. A field that its kind has nothing for is empty or `None`.
#[pyclass(frozen, get_all, module = "scsi_snap._native")]
#[derive(Default)]
pub struct Event {
    kind: String,
    member: Option<String>,
    volume: Option<String>,
    snapshots: Vec<String>,
    reason: Option<String>,
    bytes: Option<u64>,
    offset_bytes: Option<u64>,
    length_bytes: Option<u64>,
    percent: Option<u8>,
}

impl From<SetEvent> for Event {
    fn from(event: SetEvent) -> Self {
        match event {
            SetEvent::MemberFailed { member, reason } => Self {
                kind: "member-failed".to_owned(),
                member: Some(member),
                reason: Some(reason),
                ..Self::default()
            },
            SetEvent::MemberMissing { member } => {
                Self { kind: "member-missing".to_owned(), member: Some(member), ..Self::default() }
            }
            SetEvent::Resynced { bytes } => {
                Self { kind: "resynced".to_owned(), bytes: Some(bytes), ..Self::default() }
            }
            SetEvent::Repaired { member, offset_bytes, length_bytes } => Self {
                kind: "repaired".to_owned(),
                member: Some(member),
                offset_bytes: Some(offset_bytes),
                length_bytes: Some(length_bytes),
                ..Self::default()
            },
            SetEvent::SetFailed { reason } => {
                Self { kind: "set-failed".to_owned(), reason: Some(reason), ..Self::default() }
            }
        }
    }
}

impl From<VolumeEvent> for Event {
    fn from(event: VolumeEvent) -> Self {
        match event {
            VolumeEvent::SnapshotsDropped { volume, snapshots, reason } => Self {
                kind: "snapshots-dropped".to_owned(),
                volume: Some(volume),
                snapshots,
                reason: Some(reason),
                ..Self::default()
            },
            VolumeEvent::MapRepaired { volume, what } => Self {
                kind: "map-repaired".to_owned(),
                volume: Some(volume),
                reason: Some(what),
                ..Self::default()
            },
            VolumeEvent::StoreFull { volume } => {
                Self { kind: "store-full".to_owned(), volume: Some(volume), ..Self::default() }
            }
            VolumeEvent::StoreThreshold { volume, percent } => Self {
                kind: "store-threshold".to_owned(),
                volume: Some(volume),
                percent: Some(percent),
                ..Self::default()
            },
        }
    }
}

/// A state, level or policy as records spell it.
fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => unreachable!("it is one of a few words"),
    }
}
