//! Consistent points over several pools that a cut left in doubt; see `point`.

use std::sync::Arc;

use uuid::Uuid;

use super::volumes::Volumes;
use crate::error::PoolError;
use crate::member::Member;
use crate::pool::{Catalog, SnapshotRecord};

/// The catalog attribute that marks a pending group; its value is the number of its snapshots.
const PENDING_GROUP: &str = "pending-group:";

pub(super) fn pending_key(group: Uuid) -> String {
    format!("{PENDING_GROUP}{group}")
}

/// Completes or drops the groups that are pending in any of `pools`, which should be all that there are:
/// a group with a snapshot in a pool that is missing here is dropped. Nobody was told that it exists.
/// Returns how many groups were dropped.
pub async fn settle_groups<M: Member>(pools: &[Arc<Volumes<M>>]) -> Result<usize, PoolError> {
    let mut dropped = 0;
    for volumes in pools {
        for (group, count) in pending_groups(&volumes.pool.catalog()) {
            if is_complete(pools, group, count) {
                volumes.end_group(group, false).await?;
            } else {
                for other in pools {
                    other.end_group(group, true).await?;
                }
                dropped += 1;
            }
        }
    }
    Ok(dropped)
}

/// A pool whose mark is gone has seen all others record their part; else all must be there.
fn is_complete<M: Member>(pools: &[Arc<Volumes<M>>], group: Uuid, count: usize) -> bool {
    let mut found = 0;
    for volumes in pools {
        let catalog = volumes.pool.catalog();
        let here = snapshots_of(&catalog, group).count();
        if here > 0 && !catalog.attributes.contains_key(&pending_key(group)) {
            return true;
        }
        found += here;
    }
    found >= count
}

impl<M: Member> Volumes<M> {
    /// Takes the mark of a group away, and, to drop it, its snapshots.
    async fn end_group(&self, group: Uuid, drop_snapshots: bool) -> Result<(), PoolError> {
        let catalog = self.pool.catalog();
        if !catalog.attributes.contains_key(&pending_key(group)) {
            return Ok(());
        }
        let update = self.pool.update(|catalog| {
            catalog.attributes.remove(&pending_key(group));
            for volume in catalog.volumes.values_mut().filter(|_| drop_snapshots) {
                Arc::make_mut(volume).snapshots.retain(|snapshot| snapshot.group != Some(group));
            }
            Ok(())
        });
        update.await?;
        for volume in self.all().into_iter().filter(|_| drop_snapshots) {
            let record = catalog.volumes.get(&volume.id);
            let snapshots = record.iter().flat_map(|record| &record.snapshots);
            let ended = snapshots.filter(|snapshot| snapshot.group == Some(group));
            let epochs: Vec<_> = ended.map(|snapshot| snapshot.epoch).collect();
            volume.engine.forget(&epochs);
        }
        Ok(())
    }
}

fn pending_groups(catalog: &Catalog) -> Vec<(Uuid, usize)> {
    let parse = |(key, value): (&String, &String)| {
        Some((key.strip_prefix(PENDING_GROUP)?.parse().ok()?, value.parse().ok()?))
    };
    catalog.attributes.iter().filter_map(parse).collect()
}

fn snapshots_of(catalog: &Catalog, group: Uuid) -> impl Iterator<Item = &SnapshotRecord> {
    let snapshots = catalog.volumes.values().flat_map(|volume| &volume.snapshots);
    snapshots.filter(move |snapshot| snapshot.group == Some(group))
}
