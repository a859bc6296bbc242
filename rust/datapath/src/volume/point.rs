//! Snapshots of one or more volumes, also of several pools, at one point.
//!
//! ```text
//! hold all, flip all, let go          the point, in memory
//! flush all origins                   what they held at the point is durable
//! record, one update a pool           the snapshots exist
//! ```
//! Over several pools there is no one update. So each pool first records its snapshots as those of a
//! *pending group* of so many, and when all have, each takes the mark away; only then is the caller
//! answered. After a cut `settle_groups` completes a group of which every snapshot is recorded, and drops
//! any other.

use std::sync::Arc;

use futures_util::future::join_all;
use uuid::Uuid;

use super::device::Volume;
use super::name::check_name;
use super::settle::pending_key;
use super::status::now_ms;
use crate::block_io::BlockIo;
use crate::error::{IoError, PoolError};
use crate::limits::{GROUP_SNAPSHOTS_MAX, SNAPSHOTS_PER_VOLUME_MAX};
use crate::member::Member;
use crate::pool::{Catalog, SnapshotRecord, SnapshotState, VolumeRecord};
use crate::snapshot::{PointRange, hold_all};
use crate::units::Epoch;

/// A snapshot to take.
#[derive(Clone)]
pub struct Point<M> {
    /// The volume.
    pub volume: Arc<Volume<M>>,
    /// The snapshot's name.
    pub name: String,
    /// First LBA and number of blocks; the whole volume when `None`.
    pub range: Option<(u64, u64)>,
}

/// What of a volume a snapshot covers, and the volume's size.
#[derive(Clone, Copy)]
struct PointPlace {
    range: PointRange,
    volume_bytes: u64,
}

/// A snapshot whose point was taken, to be recorded.
struct Taken<'a, M> {
    volume: &'a Volume<M>,
    record: SnapshotRecord,
}

/// Takes all `points` as one consistent point: either all exist when this returns, or none.
///
/// Each volume may be named once. `PoolError::Exists`, `Invalid`, `Busy` and `NoSpace` say what is wrong with
/// an argument; `Io` that something could not be made durable.
pub async fn take_snapshots<M: Member>(
    points: &[Point<M>],
) -> Result<Vec<SnapshotRecord>, PoolError> {
    if points.is_empty() || points.len() > GROUP_SNAPSHOTS_MAX {
        return Err(PoolError::Invalid(format!(
            "one point is of 1 to {GROUP_SNAPSHOTS_MAX} snapshots, not of {}",
            points.len()
        )));
    }
    let mut sorted: Vec<(&Point<M>, PointPlace)> = Vec::with_capacity(points.len());
    for point in points {
        sorted.push((point, check_point(point)?));
    }
    // One order for everybody who holds volumes.
    sorted.sort_by_key(|(point, _)| (point.volume.pool_id, point.volume.origin));
    if sorted.windows(2).any(|pair| pair[0].0.volume.id == pair[1].0.volume.id) {
        return Err(PoolError::Invalid("a volume is named twice".into()));
    }
    let taken = flip_all(&sorted).await?;
    let flushed = join_all(taken.iter().map(|taken| taken.volume.flush())).await;
    if let Some(error) = flushed.into_iter().find_map(Result::err) {
        forget(&taken);
        return Err(error.into());
    }
    record_all(&taken).await?;
    let by_name = |point: &Point<M>| {
        let of_volume = |taken: &&Taken<'_, M>| taken.volume.id == point.volume.id;
        taken.iter().find(of_volume).map(|taken| taken.record.clone())
    };
    Ok(points.iter().filter_map(by_name).collect())
}

/// Holds all volumes, takes all points, lets go.
async fn flip_all<'a, M: Member>(
    points: &[(&'a Point<M>, PointPlace)],
) -> Result<Vec<Taken<'a, M>>, PoolError> {
    let group = (points.len() > 1).then(Uuid::new_v4);
    let engines: Vec<_> = points.iter().map(|(point, _)| &*point.volume.engine).collect();
    let holds = hold_all(&engines).await;
    let mut taken = Vec::with_capacity(points.len());
    for (hold, (point, place)) in holds.iter().zip(points) {
        match hold.flip(place.range) {
            Ok(epoch) => {
                let record = new_record(&point.name, epoch, *place, group);
                taken.push(Taken { volume: &*point.volume, record });
            }
            Err(error) => {
                forget(&taken);
                return Err(error.into());
            }
        }
    }
    Ok(taken)
}

/// Records the snapshots in the catalogs of their pools.
async fn record_all<M: Member>(taken: &[Taken<'_, M>]) -> Result<(), PoolError> {
    let by_pool: Vec<&[Taken<'_, M>]> =
        taken.chunk_by(|one, next| one.volume.pool_id == next.volume.pool_id).collect();
    let group = taken.first().and_then(|first| first.record.group);
    let pending = group.filter(|_| by_pool.len() > 1).map(|group| (group, taken.len()));
    for (index, in_pool) in by_pool.iter().enumerate() {
        if let Err(error) = record(in_pool, pending).await {
            // Nothing was tried in the pools after this one. In this one an update that could not be
            // written may still come into force by a cut, so it is taken back like the others.
            by_pool[index + 1..].iter().for_each(|in_pool| forget(in_pool));
            match error {
                PoolError::Io(_) => undo(in_pool, pending).await,
                _ => forget(in_pool),
            }
            for in_pool in &by_pool[..index] {
                undo(in_pool, pending).await;
            }
            return Err(error);
        }
    }
    if let Some((group, _)) = pending {
        for in_pool in &by_pool {
            settle(in_pool, group).await?;
        }
    }
    Ok(())
}

/// One update with the snapshots of one pool.
async fn record<M: Member>(
    taken: &[Taken<'_, M>],
    pending: Option<(Uuid, usize)>,
) -> Result<(), PoolError> {
    let Some(first) = taken.first() else { return Ok(()) };
    let update = first.volume.pool.update(|catalog| {
        for one in taken {
            let volume = volume_record(catalog, one.volume)?;
            fail_if_no_room(volume, &one.record.name)?;
            if one.volume.ledger.gave_up(one.record.epoch) {
                return Err(PoolError::Io(IoError::StoreFull));
            }
            volume.next_epoch = volume.next_epoch.max(one.record.epoch.0.saturating_add(1));
            volume.snapshots.push(one.record.clone());
            volume.snapshots.sort_by_key(|snapshot| snapshot.epoch);
        }
        if let Some((group, count)) = pending {
            catalog.attributes.insert(pending_key(group), count.to_string());
        }
        Ok(())
    });
    update.await
}

/// Takes the snapshots of one pool back. Where that cannot be made durable they stay in the engine, and so
/// in the catalog if they are there: a snapshot that a cut may bring back must not lose its exceptions.
/// `settle_groups` drops them later, or, for want of room, the volume's policy.
async fn undo<M: Member>(taken: &[Taken<'_, M>], pending: Option<(Uuid, usize)>) {
    let Some(first) = taken.first() else { return };
    let update = first.volume.pool.update(|catalog| {
        for one in taken {
            let volume = volume_record(catalog, one.volume)?;
            volume.snapshots.retain(|snapshot| snapshot.id != one.record.id);
        }
        if let Some((group, _)) = pending {
            catalog.attributes.remove(&pending_key(group));
        }
        Ok(())
    });
    if update.await.is_ok() {
        forget(taken);
    }
}

/// Says in one pool that the group is complete.
async fn settle<M: Member>(taken: &[Taken<'_, M>], group: Uuid) -> Result<(), PoolError> {
    let Some(first) = taken.first() else { return Ok(()) };
    let update = first.volume.pool.update(|catalog| {
        catalog.attributes.remove(&pending_key(group));
        Ok(())
    });
    update.await
}

fn forget<M: Member>(taken: &[Taken<'_, M>]) {
    for one in taken {
        one.volume.engine.forget(&[one.record.epoch]);
    }
}

/// The place of a point in bytes, when name and range are valid and the snapshot has room. Of a volume
/// that grows meanwhile it is the old size.
fn check_point<M: Member>(point: &Point<M>) -> Result<PointPlace, PoolError> {
    check_name("snapshot", &point.name)?;
    let catalog = point.volume.pool.catalog();
    let missing = || PoolError::NotFound(format!("volume {}", point.volume.name));
    let record = catalog.volumes.get(&point.volume.id).ok_or_else(missing)?;
    fail_if_no_room(record, &point.name)?;
    let blocks = record.size_bytes / u64::from(record.block_bytes);
    let (first, count) = point.range.unwrap_or((0, blocks));
    let inside = first.checked_add(count).is_some_and(|end| end <= blocks);
    if count == 0 || !inside {
        return Err(PoolError::Invalid(format!(
            "{count} blocks from LBA {first} on are no range of volume {}, which has {blocks}",
            record.name
        )));
    }
    let block_bytes = u64::from(record.block_bytes);
    let range = PointRange { first_byte: first * block_bytes, length_bytes: count * block_bytes };
    Ok(PointPlace { range, volume_bytes: record.size_bytes })
}

fn fail_if_no_room(volume: &VolumeRecord, name: &str) -> Result<(), PoolError> {
    if volume.snapshots.iter().any(|snapshot| snapshot.name == name) {
        return Err(PoolError::Exists(format!("snapshot {}@{name}", volume.name)));
    }
    if volume.snapshots.len() >= SNAPSHOTS_PER_VOLUME_MAX {
        return Err(PoolError::NoSpace(format!(
            "a volume has at most {SNAPSHOTS_PER_VOLUME_MAX} snapshots"
        )));
    }
    Ok(())
}

pub(super) fn volume_record<'a, M: Member>(
    catalog: &'a mut Catalog,
    volume: &Volume<M>,
) -> Result<&'a mut VolumeRecord, PoolError> {
    let missing = || PoolError::NotFound(format!("volume {}", volume.name));
    catalog.volume_mut(volume.id).ok_or_else(missing)
}

fn new_record(name: &str, epoch: Epoch, place: PointPlace, group: Option<Uuid>) -> SnapshotRecord {
    SnapshotRecord {
        id: Uuid::new_v4(),
        name: name.to_owned(),
        created_at_ms: now_ms(),
        epoch,
        first_byte: place.range.first_byte,
        length_bytes: place.range.length_bytes,
        state: SnapshotState::Live,
        invalid_reason: None,
        volume_bytes: Some(place.volume_bytes),
        group,
    }
}
