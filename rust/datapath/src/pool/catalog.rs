//! The catalog: what a pool holds, as typed records. Its bytes on the members are JSON.
//!
//! Floors above change it through `Pool::update` only. Records have no behaviour here: whether a
//! snapshot may be deleted, or a name be taken, is decided by the floor that owns the record.
//!
//! Invariants, checked when a catalog is read and before one is written: extents lie inside the
//! pool, are multiples of the granule and belong to one space only.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::units::Epoch;

/// The number of a space; never used again in its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SpaceId(pub u64);

/// The identity of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VolumeId(pub Uuid);

/// A contiguous run of a pool's bytes; both numbers are multiples of the pool's granule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Extent {
    /// The first byte, in the stripe set's data area.
    pub offset_bytes: u64,
    /// How many bytes.
    pub length_bytes: u64,
}

impl Extent {
    /// The first byte after it.
    pub fn end_bytes(self) -> u64 {
        self.offset_bytes + self.length_bytes
    }
}

/// All that a pool holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// The pool's name.
    pub name: String,
    /// The number that the next space takes.
    pub next_space: u64,
    /// Each space's extents, in the order of its addresses.
    pub spaces: BTreeMap<SpaceId, Vec<Extent>>,
    /// The volumes. A catalog shares the records that a change leaves alone with the one before it.
    pub volumes: BTreeMap<VolumeId, Arc<VolumeRecord>>,
    /// Whatever the floors above want to keep with the pool.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

impl Catalog {
    /// The catalog of a new pool.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            next_space: 1,
            spaces: BTreeMap::new(),
            volumes: BTreeMap::new(),
            attributes: BTreeMap::new(),
        }
    }

    /// The volume called `name`.
    pub fn volume_named(&self, name: &str) -> Option<&VolumeRecord> {
        self.volumes.values().map(Arc::as_ref).find(|volume| volume.name == name)
    }

    /// A volume's record, to be changed in this catalog alone.
    pub fn volume_mut(&mut self, id: VolumeId) -> Option<&mut VolumeRecord> {
        self.volumes.get_mut(&id).map(Arc::make_mut)
    }
}

/// One volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    /// Its identity.
    pub id: VolumeId,
    /// Its name, unique in the pool.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_at_ms: u64,
    /// Its size; its space may be larger.
    pub size_bytes: u64,
    /// Bytes of a logical block.
    pub block_bytes: u32,
    /// Bytes of a chunk.
    pub chunk_bytes: u32,
    /// Where its blocks are.
    pub origin: SpaceId,
    /// Where its exception store is.
    pub store: SpaceId,
    /// Where its atomic log is, once there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub atomic_log: Option<SpaceId>,
    /// How far the exception store may grow; `None` as far as the pool goes.
    pub store_limit_bytes: Option<u64>,
    /// What happens when the exception store cannot grow.
    pub policy: StorePolicy,
    /// The epoch that the next snapshot takes.
    pub next_epoch: u32,
    /// The snapshots, by ascending epoch.
    pub snapshots: Vec<SnapshotRecord>,
    /// Whatever the floors above want to keep with the volume.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

impl VolumeRecord {
    /// All spaces that belong to it.
    pub fn spaces(&self) -> impl Iterator<Item = SpaceId> + use<> {
        [self.origin, self.store].into_iter().chain(self.atomic_log)
    }
}

/// What happens when an exception store is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorePolicy {
    /// The oldest snapshot is given up, and the write goes on.
    #[default]
    DropSnapshot,
    /// The write fails, and the snapshots stay.
    FailWrite,
}

/// One snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// Its identity.
    pub id: Uuid,
    /// Its name, unique in the volume.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_at_ms: u64,
    /// Its epoch.
    pub epoch: Epoch,
    /// The first byte of its range.
    pub first_byte: u64,
    /// The length of its range.
    pub length_bytes: u64,
    /// Whether it can be read.
    pub state: SnapshotState,
    /// Why it cannot.
    pub invalid_reason: Option<String>,
    /// The size of the volume at its point; that of the volume now where there is none, since a
    /// volume that grows gives one to every snapshot that has none.
    #[serde(default)]
    pub volume_bytes: Option<u64>,
    /// The consistent point it belongs to, where several were made at once.
    pub group: Option<Uuid>,
}

/// Whether a snapshot can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotState {
    /// It reads as the volume did at its point in time.
    Live,
    /// It was given up; reads of it fail.
    Invalid,
}
