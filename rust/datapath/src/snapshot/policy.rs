//! What happens when a chunk cannot be preserved: the store is full, or an I/O failed.
//!
//! Whatever the policy, nothing unpreserved reaches the origin while a live snapshot needs it. A snapshot
//! that is given up is so in the catalog first, durably, and only then to the writers.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::engine::{Engine, StoreRules};
use super::event::EngineEvent;
use super::pending::Owned;
use crate::block_io::{BlockIo, Growable};
use crate::error::IoError;
use crate::limits::STORE_THRESHOLDS_PERCENT;
use crate::snapmap::Record;
use crate::units::{ChunkIndex, Epoch};

/// A volume's policy for a chunk that cannot be preserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FullPolicy {
    /// Give up snapshots, the oldest first; the origin never suffers.
    DropSnapshot,
    /// Fail the write; the snapshots never suffer.
    FailWrite,
}

/// Where it is written down that snapshots are given up.
pub trait SnapshotLedger: Send + Sync + 'static {
    /// Marks the snapshots of these epochs invalid; durable when it returns `Ok`.
    fn invalidate(
        &self,
        epochs: &[Epoch],
        reason: &str,
    ) -> impl Future<Output = Result<(), IoError>>;
}

/// Why chunks were not preserved.
#[derive(Debug)]
pub enum Failure {
    /// The store has no room.
    Full,
    /// Reading or writing failed for these chunks.
    Io {
        /// The chunks that have no copy now.
        chunks: Vec<ChunkIndex>,
        /// The first failure.
        error: IoError,
    },
}

impl<O: BlockIo, S: Growable, L: SnapshotLedger> Engine<O, S, L> {
    /// Follows the policy. `Ok` says that something has changed and the writer should look again;
    /// an error is the write's.
    pub(super) async fn follow_policy(
        &self,
        failure: Failure,
        owned: &Owned<'_>,
    ) -> Result<(), IoError> {
        self.fail_if_closed()?;
        match (failure, self.rules.load().policy) {
            (Failure::Full, FullPolicy::FailWrite) => {
                self.events.push(EngineEvent::StoreFull);
                Err(IoError::StoreFull)
            }
            (Failure::Full, FullPolicy::DropSnapshot) => self.make_room().await,
            (Failure::Io { error, .. }, FullPolicy::FailWrite) => Err(error),
            (Failure::Io { chunks, error }, FullPolicy::DropSnapshot) => {
                self.give_up_readers(&chunks, owned, &error).await
            }
        }
    }

    /// Gives up the oldest live snapshot, unless somebody made room meanwhile.
    async fn make_room(&self) -> Result<(), IoError> {
        let _turn = self.relief.lock().await;
        match self.store.allocate().await {
            Ok(slot) => {
                self.store.abandon(slot);
                return Ok(());
            }
            Err(IoError::StoreFull) => {}
            Err(error) => return Err(error),
        }
        self.events.push(EngineEvent::StoreFull);
        let Some(oldest) = self.live_epochs().first().copied() else { return Ok(()) };
        self.give_up(&[oldest], "the exception store is full").await
    }

    /// Gives up exactly the snapshots that would read a copy of `chunks` that cannot be made.
    async fn give_up_readers(
        &self,
        chunks: &[ChunkIndex],
        owned: &Owned<'_>,
        error: &IoError,
    ) -> Result<(), IoError> {
        let _turn = self.relief.lock().await;
        let live = self.store.live();
        let mut epochs = BTreeSet::new();
        for chunk in chunks {
            let readers = live.readers(*chunk, owned.tag(*chunk), Epoch(u32::MAX));
            epochs.extend(readers.map(|point| point.epoch));
        }
        if epochs.is_empty() {
            return Ok(());
        }
        let epochs: Vec<Epoch> = epochs.into_iter().collect();
        self.give_up(&epochs, &format!("a chunk could not be preserved: {error}")).await
    }

    /// Gives up the snapshots that read an exception whose data is lost; says why a read of it fails.
    pub(super) async fn give_up_damaged(&self, record: &Record) -> IoError {
        let _turn = self.relief.lock().await;
        let readers = self.store.readers(record);
        if readers.is_empty() {
            return IoError::SnapshotInvalid;
        }
        let (chunk, epoch) = (record.chunk.0, record.tag.0);
        let reason = format!("the preserved data of chunk {chunk} (epoch {epoch}) is damaged");
        match self.give_up(&readers, &reason).await {
            Ok(()) => {
                self.store.count_lost();
                IoError::SnapshotInvalid
            }
            Err(error) => IoError::failed(format!("{reason}; {error}")),
        }
    }

    async fn give_up(&self, epochs: &[Epoch], reason: &str) -> Result<(), IoError> {
        self.ledger.invalidate(epochs, reason).await?;
        self.forget(epochs);
        self.events.push(EngineEvent::SnapshotsDropped {
            epochs: epochs.to_vec(),
            reason: reason.to_owned(),
        });
        Ok(())
    }

    /// Changes the rules of the store: the next chunk that finds no room follows the new ones, and
    /// thresholds are counted anew.
    pub fn set_rules(&self, rules: StoreRules) {
        self.rules.store(Arc::new(rules));
        self.store.may_grow_again();
        self.threshold_percent.store(0, Ordering::Relaxed);
        self.watch_thresholds();
    }

    /// Tells when the store's use has passed a threshold since it was last told.
    pub(super) fn watch_thresholds(&self) {
        let usage = self.store.usage();
        let limit = match self.rules.load().limit_bytes {
            Some(limit_bytes) => limit_bytes,
            None if self.store.is_exhausted() => usage.capacity_bytes,
            None => return,
        };
        let percent = usage.used_bytes.saturating_mul(100) / limit.max(1);
        let reached = STORE_THRESHOLDS_PERCENT.iter().rfind(|each| u64::from(**each) <= percent);
        let Some(&reached) = reached else { return };
        let told = self.threshold_percent.fetch_max(u32::from(reached), Ordering::Relaxed);
        if told < u32::from(reached) {
            self.events.push(EngineEvent::StoreThreshold { percent: reached });
        }
    }
}
