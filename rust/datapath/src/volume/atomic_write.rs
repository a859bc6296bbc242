//! Writes that a power cut leaves in place all or not at all, whatever the level of the set and however
//! its members tear writes.
//!
//! ```text
//! own the range      nobody else changes it until the end
//! log it, flush      from here on a cut means: all new
//! preserve           as for any change; snapshots hold all of it or nothing
//! write in place
//! flush              the record may go only when what it stands for is durable
//! clear the log
//! let the range go   later changes may begin
//! ```
//! Why the clearing needs no flush: a record that a cut brings back is put in place over what was
//! written there later only if that is lost as well. A later change begins when the clearing has
//! completed; log and volume lie in one stripe set; so whatever flush makes the change durable has made
//! the clearing durable, and a change that no flush has covered may be lost at a cut in any case.
//!
//! Why a record that did not become whole is cleared as well: left alone it could become whole later,
//! by the data of another record with the same content for another place.
//!
//! What fails is answered as failed, and the record is cleared: an error of the medium while the range
//! was written in place leaves it undefined, as with any write. Where not even clearing succeeds, a cut
//! may bring the record back, so nothing may be written that it could undo: the volume is sealed. It
//! reads, and takes no change until its pool is opened again, which puts the record in place.
//!
//! One atomic write of a volume at a time: its log has room for one record.

use bytes::Bytes;

use super::atomic_log::{AtomicLog, AtomicRecord, LOG_BYTES};
use super::device::Volume;
use super::point::volume_record;
use crate::block_io::BlockIo;
use crate::error::{IoError, PoolError};
use crate::limits::ATOMIC_BYTES_MAX;
use crate::member::Member;
use crate::pool::{Provisioning, Space, SpaceId, io_error};
use crate::snapshot::EngineEvent;

impl<M: Member> Volume<M> {
    /// Writes all of `data`, at most [`ATOMIC_BYTES_MAX`] bytes: after a power cut the range holds all of
    /// it or what it held before. Durable when it returns.
    pub async fn write_atomic(&self, offset_bytes: u64, data: Bytes) -> Result<(), IoError> {
        assert!(data.len() as u64 <= ATOMIC_BYTES_MAX, "the door checks the length");
        if data.is_empty() {
            return Ok(());
        }
        let mut turn = self.atomic_log.lock().await;
        let log = match &mut *turn {
            Some(log) => log,
            none => none.insert(self.create_atomic_log().await?),
        };
        let range = self.engine.own_exclusively(offset_bytes, data.len() as u64).await?;
        let written = async {
            log.record(offset_bytes, &data).await?;
            range.write(data).await?;
            self.engine.flush().await
        };
        let written = written.await;
        let cleared = log.clear().await;
        if cleared.is_err() {
            range.seal();
        }
        written.and(cleared)
    }

    /// Overwrites the log with zeros, durably.
    pub async fn erase_atomic_log(&self) -> Result<(), PoolError> {
        match &mut *self.atomic_log.lock().await {
            Some(log) => Ok(log.erase().await?),
            None => Ok(()),
        }
    }

    /// What is wrong with the log.
    pub(super) async fn check_atomic_log(&self) -> Result<Option<String>, PoolError> {
        match &mut *self.atomic_log.lock().await {
            Some(log) => Ok(log.check().await?),
            None => Ok(None),
        }
    }

    /// The log in words; nothing where there is none.
    pub(super) async fn dump_atomic_log(&self) -> Result<String, PoolError> {
        match &*self.atomic_log.lock().await {
            Some(log) => Ok(format!("{}\n", log.dump().await?)),
            None => Ok(String::new()),
        }
    }

    /// Opens the log in `space`, and ends the write that a cut has interrupted.
    pub(super) async fn recover_atomic_log(&self, space: SpaceId) -> Result<(), PoolError> {
        let (mut log, record) = AtomicLog::open(self.pool.space(space)?, self.id.0).await?;
        if let Some(record) = record {
            self.replay(record).await?;
        }
        log.clear().await?;
        if log.repaired() > 0 {
            let what = format!("{} copies of the atomic log's header", log.repaired());
            self.engine.announce(EngineEvent::MapRepaired { what });
        }
        *self.atomic_log.lock().await = Some(log);
        Ok(())
    }

    async fn replay(&self, record: AtomicRecord) -> Result<(), PoolError> {
        let AtomicRecord { offset_bytes, data } = record;
        let length_bytes = data.len() as u64;
        let end = offset_bytes.checked_add(length_bytes);
        if end.is_none_or(|end| end > self.engine.size_bytes()) {
            return Err(PoolError::Damaged(format!(
                "the atomic log of volume {} has a record of bytes {offset_bytes}+{length_bytes}, \
                 which are not the volume's",
                self.name
            )));
        }
        let range = self.engine.own_exclusively(offset_bytes, length_bytes).await?;
        // What is in place already is not written again: it would count as a change.
        if range.read().await.is_ok_and(|found| found == data) {
            return Ok(self.engine.flush().await?);
        }
        match range.write(data).await {
            Ok(()) => Ok(self.engine.flush().await?),
            // A copy that finds no room now was not made before the cut: the write had not begun.
            Err(IoError::StoreFull) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the log's space and names it, in one update of the catalog.
    async fn create_atomic_log(&self) -> Result<AtomicLog<Space<M>>, IoError> {
        let created =
            self.pool.create_space_with(LOG_BYTES, Provisioning::Thin, |catalog, space| {
                volume_record(catalog, self)?.atomic_log = Some(space);
                Ok(())
            });
        let space = self.pool.space(created.await.map_err(io_error)?).map_err(io_error)?;
        Ok(AtomicLog::new(space, self.id.0))
    }
}
