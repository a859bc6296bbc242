//! `Pool`: a pool with its volumes.

use std::collections::BTreeMap;
use std::sync::Arc;

use datapath::error::PoolError;
use datapath::limits::CHUNK_BYTES_MAX;
use datapath::member::FileMember;
use datapath::pool::{CreateOptions, Pool as StripedPool, StorePolicy, VolumeId};
use datapath::stripe::mark::{self, Mark};
use datapath::stripe::{Level, Opening};
use datapath::volume::{Point, VolumeOptions, Volumes, settle_groups, take_snapshots};
use pyo3::prelude::*;

use crate::device::{Device, UnitDevice};
use crate::error::Failure;
use crate::report::{Event, PoolStatus, VolumeView};
use crate::runtime::{Runtime, Threads};

type FileVolumes = Arc<Volumes<FileMember>>;
/// Bytes from the members' start, how many, and the members.
type Disagreement = (u64, u64, Vec<String>);
type NamedPoint<'py> = (PyRef<'py, Pool>, String, String, Option<(u64, u64)>);

/// What a file or block device says it is.
#[pyclass(frozen, get_all, module = "scsi_snap._native")]
pub struct MemberMark {
    /// "member", "free" (its pool was destroyed) or "none".
    kind: &'static str,
    pool: Option<String>,
    member: Option<String>,
    event: u64,
}

#[pyclass(frozen, module = "scsi_snap._native")]
pub struct Pool {
    threads: Arc<Threads>,
    volumes: FileVolumes,
}

#[pymethods]
impl Pool {
    #[staticmethod]
    fn create(
        py: Python<'_>,
        runtime: &Runtime,
        name: String,
        level: &str,
        strip_bytes: u64,
        members: Vec<(String, Option<u64>)>,
    ) -> PyResult<Self> {
        let level = parse::<Level>("level", level)?;
        let volumes = runtime.threads.run(py, move || async move {
            let members = members.iter().map(|(path, size)| open_or_create(path, *size));
            let members = members.collect::<Result<Vec<_>, PoolError>>()?;
            let pool = StripedPool::create(members, CreateOptions { name, level, strip_bytes });
            Volumes::open(pool.await?).await
        })?;
        Ok(Self { threads: Arc::clone(&runtime.threads), volumes })
    }

    #[staticmethod]
    #[pyo3(signature = (runtime, members, at_least_event=None))]
    fn open(
        py: Python<'_>,
        runtime: &Runtime,
        members: Vec<String>,
        at_least_event: Option<u64>,
    ) -> PyResult<Self> {
        let opening = Opening { strict: true, at_least_event: at_least_event.unwrap_or_default() };
        let volumes = runtime.threads.run(py, move || async move {
            let members = members.iter().map(FileMember::open);
            let members = members.collect::<Result<Vec<_>, PoolError>>()?;
            Volumes::import(members, opening).await.map(|(volumes, _)| volumes)
        })?;
        Ok(Self { threads: Arc::clone(&runtime.threads), volumes })
    }

    /// Leaves out members that cannot be used, as far as the level allows; why, beside the pool.
    #[staticmethod]
    #[pyo3(signature = (runtime, members, at_least_event=None))]
    fn open_available(
        py: Python<'_>,
        runtime: &Runtime,
        members: Vec<String>,
        at_least_event: Option<u64>,
    ) -> PyResult<(Self, Vec<String>)> {
        let opening = Opening { strict: false, at_least_event: at_least_event.unwrap_or_default() };
        let (volumes, refused) = runtime.threads.run(py, move || async move {
            let (mut found, mut refused) = (Vec::new(), Vec::new());
            for path in &members {
                match FileMember::open(path) {
                    Ok(member) => found.push(member),
                    Err(error) => refused.push(error),
                }
            }
            if found.is_empty() && !refused.is_empty() {
                return Err(refused.remove(0));
            }
            let (volumes, unfit) = Volumes::import(found, opening).await?;
            refused.extend(unfit);
            Ok((volumes, refused))
        })?;
        let refused = refused.iter().map(ToString::to_string).collect();
        Ok((Self { threads: Arc::clone(&runtime.threads), volumes }, refused))
    }

    /// What a file or block device says it is; held exclusively meanwhile, and only read.
    #[staticmethod]
    fn mark(py: Python<'_>, runtime: &Runtime, path: String) -> PyResult<MemberMark> {
        let mark = runtime
            .threads
            .run(py, move || async move { mark::read(&FileMember::open(&path)?).await })?;
        Ok(match mark {
            Mark::Label { pool, member, event } => MemberMark {
                kind: "member",
                pool: Some(pool.to_string()),
                member: Some(member.to_string()),
                event,
            },
            Mark::Free { pool } => {
                MemberMark { kind: "free", pool: Some(pool.to_string()), member: None, event: 0 }
            }
            Mark::None => MemberMark { kind: "none", pool: None, member: None, event: 0 },
        })
    }

    /// Completes or drops what a crash left of consistent points over several pools.
    #[staticmethod]
    fn settle_groups(py: Python<'_>, pools: Vec<PyRef<'_, Self>>) -> PyResult<usize> {
        let Some(threads) = pools.first().map(|pool| Arc::clone(&pool.threads)) else {
            return Ok(0);
        };
        let volumes: Vec<FileVolumes> =
            pools.iter().map(|pool| Arc::clone(&pool.volumes)).collect();
        threads.run(py, move || async move { settle_groups(&volumes).await })
    }

    #[staticmethod]
    fn create_snapshots(py: Python<'_>, points: Vec<NamedPoint<'_>>) -> PyResult<()> {
        let Some(threads) = points.first().map(|(pool, ..)| Arc::clone(&pool.threads)) else {
            return Err(Failure::new("invalid-argument", "no snapshot is named").into());
        };
        let points: Vec<_> = points
            .into_iter()
            .map(|(pool, volume, name, range)| {
                let volume = pool.volumes.get(&volume).map_err(Failure::from)?;
                Ok(Point { volume, name, range })
            })
            .collect::<Result<_, Failure>>()?;
        threads.run(py, move || async move { take_snapshots(&points).await.map(drop) })
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let volumes = Arc::clone(&self.volumes);
        self.threads.run(py, move || async move {
            let closed = volumes.close().await;
            // The pool is closed whatever became of its volumes.
            volumes.pool().close().await.and(closed)
        })
    }

    fn destroy(&self, py: Python<'_>) -> PyResult<()> {
        let volumes = Arc::clone(&self.volumes);
        self.threads.run(py, move || async move { volumes.pool().destroy().await })
    }

    fn status(&self) -> PoolStatus {
        PoolStatus(self.volumes.pool().status())
    }

    fn fail_member(&self, py: Python<'_>, name: String) -> PyResult<()> {
        let volumes = Arc::clone(&self.volumes);
        self.threads.run(py, move || async move { volumes.pool().fail_member(&name).await })
    }

    fn volumes(&self) -> Vec<VolumeView> {
        self.volumes.list().into_iter().map(VolumeView).collect()
    }

    fn volume(&self, name: &str) -> Option<VolumeView> {
        self.volumes.status(name).map(VolumeView)
    }

    fn volume_of(&self, volume_id: &str) -> Option<VolumeView> {
        self.volumes.status_of(VolumeId(volume_id.parse().ok()?)).map(VolumeView)
    }

    fn volumes_with(&self, attribute: &str, value: &str) -> Vec<VolumeView> {
        self.volumes.with_attribute(attribute, value).into_iter().map(VolumeView).collect()
    }

    fn volume_names(&self) -> Vec<String> {
        self.volumes.names()
    }

    fn volume_count(&self) -> usize {
        self.volumes.count()
    }

    #[allow(clippy::too_many_arguments)]
    fn create_volume(
        &self,
        py: Python<'_>,
        name: String,
        size_bytes: u64,
        block_bytes: u32,
        chunk_bytes: u64,
        policy: &str,
        store_limit_bytes: Option<u64>,
        attributes: BTreeMap<String, String>,
    ) -> PyResult<()> {
        let options = VolumeOptions {
            name,
            size_bytes,
            block_bytes,
            // More than fits is more than is allowed, and refused as that.
            chunk_bytes: chunk_bytes.min(2 * CHUNK_BYTES_MAX) as u32,
            policy: parse::<StorePolicy>("policy", policy)?,
            store_limit_bytes,
            attributes,
        };
        let volumes = Arc::clone(&self.volumes);
        self.threads.run(py, move || async move { volumes.create(options).await.map(drop) })
    }

    fn resize_volume(&self, py: Python<'_>, name: String, size_bytes: u64) -> PyResult<()> {
        let volumes = Arc::clone(&self.volumes);
        self.threads.run(py, move || async move { volumes.resize(&name, size_bytes).await })
    }

    fn set_store_rules(
        &self,
        py: Python<'_>,
        volume: String,
        policy: &str,
        limit_bytes: Option<u64>,
    ) -> PyResult<()> {
        let policy = parse::<StorePolicy>("policy", policy)?;
        let volumes = Arc::clone(&self.volumes);
        self.threads.run(py, move || async move {
            volumes.set_store_rules(&volume, policy, limit_bytes).await
        })
    }

    fn set_attributes(
        &self,
        py: Python<'_>,
        volume: String,
        attributes: BTreeMap<String, String>,
    ) -> PyResult<()> {
        let volumes = Arc::clone(&self.volumes);
        self.threads
            .run(py, move || async move { volumes.set_attributes(&volume, attributes).await })
    }

    fn erase_store(&self, py: Python<'_>, volume: String) -> PyResult<()> {
        let volumes = Arc::clone(&self.volumes);
        self.threads.run(py, move || async move { volumes.erase_store(&volume).await })
    }

    fn delete_volume(&self, py: Python<'_>, name: String) -> PyResult<()> {
        let volumes = Arc::clone(&self.volumes);
        self.threads.run(py, move || async move { volumes.delete(&name).await })
    }

    fn delete_snapshot(&self, py: Python<'_>, volume: String, snapshot: String) -> PyResult<()> {
        let volumes = Arc::clone(&self.volumes);
        self.threads
            .run(py, move || async move { volumes.delete_snapshot(&volume, &snapshot).await })
    }

    #[pyo3(signature = (volume, since, until, first_byte=0, limit=None))]
    fn diff(
        &self,
        py: Python<'_>,
        volume: &str,
        since: &str,
        until: Option<&str>,
        first_byte: u64,
        limit: Option<usize>,
    ) -> PyResult<Vec<(u64, u64)>> {
        let limit = limit.unwrap_or(usize::MAX);
        let page = || self.volumes.diff_page(volume, since, until, first_byte, limit);
        let runs = py.detach(page).map_err(Failure::from)?;
        Ok(runs.into_iter().map(|run| (run.first_byte, run.length_bytes)).collect())
    }

    fn device(&self, volume: &str, snapshot: Option<&str>) -> PyResult<Device> {
        let device = match snapshot {
            None => self.volumes.get(volume).map(UnitDevice::Volume),
            Some(name) => self.volumes.snapshot_image(volume, name).map(UnitDevice::Image),
        };
        let device = device.map_err(Failure::from)?;
        Ok(Device::new(Arc::clone(&self.threads), device))
    }

    fn check(&self, py: Python<'_>, volume: String) -> PyResult<Vec<String>> {
        let volumes = Arc::clone(&self.volumes);
        let report = self.threads.run(py, move || async move { volumes.check(&volume).await })?;
        Ok(report.problems)
    }

    fn compare(&self, py: Python<'_>) -> PyResult<(u64, Vec<Disagreement>)> {
        let volumes = Arc::clone(&self.volumes);
        let found = self.threads.run(py, move || async move { volumes.pool().compare().await })?;
        let ranges = found.mismatches.into_iter();
        let ranges = ranges.map(|one| (one.address, one.length_bytes, one.members)).collect();
        Ok((found.mismatched_bytes, ranges))
    }

    fn probe(&self, py: Python<'_>) -> PyResult<()> {
        let volumes = Arc::clone(&self.volumes);
        self.threads.run(py, move || async move { volumes.pool().probe().await })
    }

    fn events(&self) -> Vec<Event> {
        let (pool, volumes) = (self.volumes.pool().take_events(), self.volumes.take_events());
        let pool = pool.into_iter().map(Event::from);
        pool.chain(volumes.into_iter().map(Event::from)).collect()
    }
}

fn open_or_create(path: &str, size_bytes: Option<u64>) -> Result<FileMember, PoolError> {
    match size_bytes {
        Some(size_bytes) => FileMember::create(path, size_bytes),
        None => FileMember::open(path),
    }
}

/// One of the words that a record's field may be.
fn parse<T: serde::de::DeserializeOwned>(what: &str, word: &str) -> PyResult<T> {
    serde_json::from_value(word.into()).map_err(|_| {
        Failure::new("invalid-argument", format!("there is no {what} called {word:?}")).into()
    })
}
