//! The snapshots of a volume: delete, image, what changed.

use std::sync::Arc;

use serde::Serialize;

use super::device::{SnapshotImage, Volume};
use super::point::volume_record;
use super::volumes::Volumes;
use crate::block_io::BlockIo;
use crate::error::{IoError, PoolError};
use crate::member::Member;
use crate::pool::{SnapshotRecord, SnapshotState};
use crate::units::ChunkIndex;

/// Bytes in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ByteRun {
    /// The first.
    pub first_byte: u64,
    /// How many.
    pub length_bytes: u64,
}

impl<M: Member> Volumes<M> {
    /// Deletes a snapshot. Its images fail from then on.
    pub async fn delete_snapshot(&self, volume: &str, snapshot: &str) -> Result<(), PoolError> {
        let volume = self.get(volume)?;
        let update = self.pool.update(|catalog| {
            let record = volume_record(catalog, &volume)?;
            let position = record.snapshots.iter().position(|each| each.name == snapshot);
            let position = position.ok_or_else(|| not_found(&volume, snapshot))?;
            Ok(record.snapshots.remove(position))
        });
        let deleted = update.await?;
        volume.engine.forget(&[deleted.epoch]);
        Ok(())
    }

    /// A snapshot as a device.
    pub fn snapshot_image(
        &self,
        volume: &str,
        snapshot: &str,
    ) -> Result<Arc<SnapshotImage<M>>, PoolError> {
        let volume = self.get(volume)?;
        let record = volume.live_snapshot(snapshot)?;
        let image = volume.engine.image(record.epoch)?;
        let size_bytes = record.volume_bytes.unwrap_or_else(|| volume.size_bytes());
        Ok(Arc::new(SnapshotImage { image, block_bytes: volume.block_bytes, size_bytes }))
    }

    /// What changed after snapshot `since` and before snapshot `until` (now, when there is none): whole
    /// chunks, clipped to the range that both cover, ascending, merged.
    pub fn diff(
        &self,
        volume: &str,
        since: &str,
        until: Option<&str>,
    ) -> Result<Vec<ByteRun>, PoolError> {
        self.diff_page(volume, since, until, 0, usize::MAX)
    }

    /// The same from `first_byte` on, which clips a run that begins before it: at most `limit` runs.
    /// A page costs what is in it.
    pub fn diff_page(
        &self,
        volume: &str,
        since: &str,
        until: Option<&str>,
        first_byte: u64,
        limit: usize,
    ) -> Result<Vec<ByteRun>, PoolError> {
        let volume = self.get(volume)?;
        let since = volume.live_snapshot(since)?;
        let until = until.map(|until| volume.live_snapshot(until)).transpose()?;
        if until.as_ref().is_some_and(|until| until.epoch <= since.epoch) {
            return Err(PoolError::Invalid(format!(
                "snapshot {} is not older than the one to compare it with",
                since.name
            )));
        }
        let mut first = since.first_byte.max(first_byte);
        let mut end = since.first_byte + since.length_bytes;
        if let Some(until) = &until {
            first = first.max(until.first_byte);
            end = end.min(until.first_byte + until.length_bytes);
        }
        let chunk = volume.engine.chunk();
        // What begins after the last chunk that can be counted is after the end of any range.
        let Ok(first_chunk) = u32::try_from(first / chunk.bytes()) else { return Ok(Vec::new()) };
        let until = until.map(|until| until.epoch);
        let first_chunk = ChunkIndex(first_chunk);
        let changed = volume.engine.changed(since.epoch, until, first_chunk, limit);
        let clipped = changed.into_iter().filter_map(|run| {
            let start = chunk.offset_of(run.first);
            let run_end = (start + run.count * chunk.bytes()).min(end);
            let start = start.max(first);
            (start < run_end).then(|| ByteRun { first_byte: start, length_bytes: run_end - start })
        });
        let runs = clipped.collect();
        // A snapshot that ended meanwhile may have lost exceptions while they were listed.
        volume.live_snapshot(&since.name)?;
        Ok(runs)
    }
}

impl<M: Member> Volume<M> {
    /// The record of a snapshot that can be read.
    fn live_snapshot(&self, name: &str) -> Result<SnapshotRecord, PoolError> {
        let catalog = self.pool.catalog();
        let record = catalog.volumes.get(&self.id);
        let snapshot = record
            .and_then(|record| record.snapshots.iter().find(|each| each.name == name))
            .ok_or_else(|| not_found(self, name))?;
        match snapshot.state {
            SnapshotState::Live => Ok(snapshot.clone()),
            SnapshotState::Invalid => Err(PoolError::Io(IoError::SnapshotInvalid)),
        }
    }
}

fn not_found<M>(volume: &Volume<M>, snapshot: &str) -> PoolError {
    PoolError::NotFound(format!("snapshot {}@{snapshot}", volume.name))
}
