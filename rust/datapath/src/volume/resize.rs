//! Making a volume larger, online.

use std::cmp::Ordering;

use super::admin::check_size;
use super::attributes::provisioning;
use super::point::volume_record;
use super::volumes::Volumes;
use crate::block_io::BlockIo;
use crate::error::PoolError;
use crate::member::Member;

impl<M: Member> Volumes<M> {
    /// Gives a volume `size_bytes`: at least what it has, in whole blocks. The new part reads as
    /// zeros, snapshots keep their size, and I/O goes on. Durable when it returns `Ok`; a cut leaves
    /// the old size or the new one. `Invalid` where it would shrink or have too many chunks,
    /// `NoSpace` where the pool has no room.
    pub async fn resize(&self, name: &str, size_bytes: u64) -> Result<(), PoolError> {
        let _turn = self.admin.lock().await;
        let volume = self.get(name)?;
        let catalog = self.pool.catalog();
        let record = catalog.volumes.get(&volume.id);
        let record = record.ok_or_else(|| PoolError::NotFound(format!("volume {name}")))?;
        check_size(size_bytes, record.block_bytes.into(), volume.engine.chunk())?;
        match size_bytes.cmp(&record.size_bytes) {
            Ordering::Equal => return Ok(()),
            Ordering::Less => {
                return Err(PoolError::Invalid(format!(
                    "volume {name} cannot shrink from {} to {size_bytes} bytes",
                    record.size_bytes
                )));
            }
            Ordering::Greater => {}
        }
        let origin = self.pool.space(record.origin)?;
        let additional = size_bytes.saturating_sub(origin.size_bytes());
        let grown = origin.grow_with(additional, provisioning(&record.attributes), |catalog| {
            let record = volume_record(catalog, &volume)?;
            for snapshot in &mut record.snapshots {
                snapshot.volume_bytes.get_or_insert(record.size_bytes);
            }
            record.size_bytes = size_bytes;
            Ok(())
        });
        grown.await?;
        volume.engine.grow(size_bytes);
        Ok(())
    }
}
