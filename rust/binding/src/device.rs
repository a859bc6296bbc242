//! `Device`: a volume or a snapshot image, for the Python command set and for targets.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use datapath::block_io::{BlockIo, ReadResult, mapped_runs};
use datapath::error::IoError;
use datapath::limits::{ATOMIC_BYTES_MAX, EXCLUSIVE_BYTES_MAX};
use datapath::member::FileMember;
use datapath::scsi::UnitShared;
use datapath::volume::{SnapshotImage, Volume, copy};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::Failure;
use crate::runtime::Threads;

/// What a logical unit stands on.
#[derive(Clone)]
pub enum UnitDevice {
    Volume(Arc<Volume<FileMember>>),
    Image(Arc<SnapshotImage<FileMember>>),
}

impl UnitDevice {
    pub fn block_bytes(&self) -> u32 {
        match self {
            Self::Volume(volume) => volume.block_bytes(),
            Self::Image(image) => image.block_bytes(),
        }
    }

    pub fn is_read_only(&self) -> bool {
        matches!(self, Self::Image(_))
    }

    /// What takes changes that are more than one write.
    fn volume(&self) -> Result<&Volume<FileMember>, IoError> {
        match self {
            Self::Volume(volume) => Ok(volume),
            Self::Image(_) => Err(IoError::ReadOnly),
        }
    }
}

impl BlockIo for UnitDevice {
    fn size_bytes(&self) -> u64 {
        match self {
            Self::Volume(volume) => volume.size_bytes(),
            Self::Image(image) => image.size_bytes(),
        }
    }

    fn read_now(&self, offset_bytes: u64, buffer: &mut [u8]) -> bool {
        match self {
            Self::Volume(volume) => volume.read_now(offset_bytes, buffer),
            Self::Image(image) => image.read_now(offset_bytes, buffer),
        }
    }

    async fn read_at(&self, offset_bytes: u64, buffer: BytesMut) -> ReadResult {
        match self {
            Self::Volume(volume) => volume.read_at(offset_bytes, buffer).await,
            Self::Image(image) => image.read_at(offset_bytes, buffer).await,
        }
    }

    async fn write_at(&self, offset_bytes: u64, data: Bytes) -> Result<(), IoError> {
        match self {
            Self::Volume(volume) => volume.write_at(offset_bytes, data).await,
            Self::Image(image) => image.write_at(offset_bytes, data).await,
        }
    }

    async fn flush(&self) -> Result<(), IoError> {
        match self {
            Self::Volume(volume) => volume.flush().await,
            Self::Image(image) => image.flush().await,
        }
    }

    async fn discard(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        match self {
            Self::Volume(volume) => volume.discard(offset_bytes, length_bytes).await,
            Self::Image(image) => image.discard(offset_bytes, length_bytes).await,
        }
    }

    async fn write_zeroes(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        match self {
            Self::Volume(volume) => volume.write_zeroes(offset_bytes, length_bytes).await,
            Self::Image(image) => image.write_zeroes(offset_bytes, length_bytes).await,
        }
    }

    async fn mapped_run(
        &self,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Result<(bool, u64), IoError> {
        match self {
            Self::Volume(volume) => volume.mapped_run(offset_bytes, length_bytes).await,
            Self::Image(image) => image.mapped_run(offset_bytes, length_bytes).await,
        }
    }

    fn unmap_granularity_bytes(&self) -> u64 {
        match self {
            Self::Volume(volume) => volume.unmap_granularity_bytes(),
            Self::Image(image) => image.unmap_granularity_bytes(),
        }
    }
}

#[pyclass(frozen, module = "scsi_snap._native")]
pub struct Device {
    pub threads: Arc<Threads>,
    pub device: UnitDevice,
    /// Of every target that shows it.
    pub shared: Arc<UnitShared>,
}

impl Device {
    pub fn new(threads: Arc<Threads>, device: UnitDevice) -> Self {
        Self { threads, device, shared: Arc::default() }
    }

    /// Python checks ranges first, as every door above floor 5 does; here a bad one is an error
    /// instead of a broken invariant.
    fn check_range(&self, offset_bytes: u64, length_bytes: u64) -> PyResult<()> {
        let end = offset_bytes.checked_add(length_bytes);
        let inside = end.is_some_and(|end| end <= self.device.size_bytes());
        let block_bytes = u64::from(self.device.block_bytes());
        let whole =
            offset_bytes.is_multiple_of(block_bytes) && length_bytes.is_multiple_of(block_bytes);
        if inside && whole {
            return Ok(());
        }
        let text = format!("bytes {offset_bytes}+{length_bytes} are no blocks of the device");
        Err(Failure::new("invalid-argument", text).into())
    }

    fn check_change(&self, offset_bytes: u64, data: &[u8], bytes_max: u64) -> PyResult<()> {
        self.check_range(offset_bytes, data.len() as u64)?;
        if data.len() as u64 <= bytes_max {
            return Ok(());
        }
        let text = format!("{} bytes are more than {bytes_max}", data.len());
        Err(Failure::new("invalid-argument", text).into())
    }
}

#[pymethods]
impl Device {
    #[getter]
    fn size_bytes(&self) -> u64 {
        self.device.size_bytes()
    }

    #[getter]
    fn block_bytes(&self) -> u32 {
        self.device.block_bytes()
    }

    #[getter]
    fn read_only(&self) -> bool {
        self.device.is_read_only()
    }

    #[getter]
    fn atomic_bytes_max(&self) -> u64 {
        if self.device.is_read_only() { 0 } else { ATOMIC_BYTES_MAX }
    }

    fn fast_path_counts(&self) -> (u64, u64, u64, u64, u64, u64) {
        let counts = self.shared.counts();
        (
            counts.reads,
            counts.read_bytes,
            counts.read_ns,
            counts.writes,
            counts.written_bytes,
            counts.write_ns,
        )
    }

    fn wait_for_writes(&self, py: Python<'_>) -> PyResult<()> {
        let shared = Arc::clone(&self.shared);
        self.threads.run(py, move || async move {
            shared.wait_for_writes().await;
            Ok::<(), IoError>(())
        })
    }

    fn read<'py>(
        &self,
        py: Python<'py>,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        self.check_range(offset_bytes, length_bytes)?;
        let device = self.device.clone();
        let data = self.threads.run(py, move || async move {
            let buffer = BytesMut::zeroed(length_bytes as usize);
            let (outcome, data) = device.read_at(offset_bytes, buffer).await;
            outcome.map(|()| data)
        })?;
        Ok(PyBytes::new(py, &data))
    }

    fn write(&self, py: Python<'_>, offset_bytes: u64, data: &[u8]) -> PyResult<()> {
        self.check_range(offset_bytes, data.len() as u64)?;
        let (device, data) = (self.device.clone(), Bytes::copy_from_slice(data));
        self.threads.run(py, move || async move { device.write_at(offset_bytes, data).await })
    }

    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        let device = self.device.clone();
        self.threads.run(py, move || async move { device.flush().await })
    }

    fn discard(&self, py: Python<'_>, offset_bytes: u64, length_bytes: u64) -> PyResult<()> {
        self.check_range(offset_bytes, length_bytes)?;
        let device = self.device.clone();
        self.threads
            .run(py, move || async move { device.discard(offset_bytes, length_bytes).await })
    }

    fn write_zeroes(&self, py: Python<'_>, offset_bytes: u64, length_bytes: u64) -> PyResult<()> {
        self.check_range(offset_bytes, length_bytes)?;
        let device = self.device.clone();
        self.threads
            .run(py, move || async move { device.write_zeroes(offset_bytes, length_bytes).await })
    }

    fn compare_and_write(
        &self,
        py: Python<'_>,
        offset_bytes: u64,
        expected: &[u8],
        data: &[u8],
    ) -> PyResult<Option<u64>> {
        self.check_change(offset_bytes, data, EXCLUSIVE_BYTES_MAX)?;
        if expected.len() != data.len() {
            let text = format!("{} bytes are expected, {} written", expected.len(), data.len());
            return Err(Failure::new("invalid-argument", text).into());
        }
        let (expected, data) = (Bytes::copy_from_slice(expected), Bytes::copy_from_slice(data));
        let device = self.device.clone();
        self.threads.run(py, move || async move {
            device.volume()?.compare_and_write(offset_bytes, expected, data).await
        })
    }

    fn or_write(&self, py: Python<'_>, offset_bytes: u64, data: &[u8]) -> PyResult<()> {
        self.check_change(offset_bytes, data, EXCLUSIVE_BYTES_MAX)?;
        let (device, data) = (self.device.clone(), Bytes::copy_from_slice(data));
        self.threads
            .run(py, move || async move { device.volume()?.or_write(offset_bytes, data).await })
    }

    fn write_atomic(&self, py: Python<'_>, offset_bytes: u64, data: &[u8]) -> PyResult<()> {
        self.check_change(offset_bytes, data, ATOMIC_BYTES_MAX)?;
        let (device, data) = (self.device.clone(), Bytes::copy_from_slice(data));
        self.threads
            .run(py, move || async move { device.volume()?.write_atomic(offset_bytes, data).await })
    }

    fn copy_from(
        &self,
        py: Python<'_>,
        source: &Self,
        source_offset_bytes: u64,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> PyResult<()> {
        source.check_range(source_offset_bytes, length_bytes)?;
        self.check_range(offset_bytes, length_bytes)?;
        let (source, device) = (source.device.clone(), self.device.clone());
        self.threads.run(py, move || async move {
            let destination = device.volume()?;
            copy(&source, source_offset_bytes, destination, offset_bytes, length_bytes).await
        })
    }

    #[getter]
    fn unmap_granularity_bytes(&self) -> u64 {
        self.device.unmap_granularity_bytes()
    }

    fn lba_status(
        &self,
        py: Python<'_>,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> PyResult<Vec<(u64, bool)>> {
        self.check_range(offset_bytes, length_bytes)?;
        let device = self.device.clone();
        self.threads
            .run(py, move || async move { mapped_runs(&device, offset_bytes, length_bytes).await })
    }
}
