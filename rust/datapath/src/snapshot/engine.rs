//! The engine: a volume's origin behind copy-before-write.
//!
//! A change of clean chunks passes the gate, finds by loads alone that nothing must be preserved and
//! nobody wants to be alone (see `exclusive`), and goes on: no lock, no allocation. Any other change
//! first owns its chunks (see `pending`), has them preserved (see `preserve`), and then passes.
//! [`Engine::change`] and [`Engine::permit`] are the only makers of permits to change the origin.
//!
//! `needed` rises only while the gate is held and drained, so between a passer's look at it and the
//! end of its change it can only fall, which is harmless: a copy too many.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use tokio::sync::Semaphore;

use super::attention::{Attention, Heed};
use super::event::{EngineEvent, EventQueue};
use super::needed::Needed;
use super::origin::{Change, Origin};
use super::pending::{Owned, Pending};
use super::point::{Ended, SnapshotPoint};
use super::policy::{FullPolicy, SnapshotLedger};
use super::tags::Tags;
use crate::block_io::{BlockIo, Growable, ReadResult};
use crate::error::IoError;
use crate::gate::{Gate, Pass};
use crate::limits::{PRESERVING_CHUNKS_MAX, PRESERVING_CHUNKS_PER_WRITE_MAX};
use crate::snapmap::{CheckReport, ChecksumErrors, ExceptionStore, LiveSet, MapError, StoreUse};
use crate::units::{ChunkIndex, ChunkSize, Epoch};

/// What a store may take, and what happens when that is not enough.
#[derive(Clone, Copy, Debug)]
pub struct StoreRules {
    /// What happens when a chunk cannot be preserved.
    pub policy: FullPolicy,
    /// Bytes that the store may take; thresholds are counted against it.
    pub limit_bytes: Option<u64>,
}

/// What an engine is opened with.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The size of the volume; its device may be larger.
    pub size_bytes: u64,
    /// Those of its store.
    pub rules: StoreRules,
    /// The live snapshots of the catalog.
    pub points: Vec<SnapshotPoint>,
    /// The next epoch by the catalog; tags in the store may say a later one.
    pub next_epoch: Epoch,
}

/// A volume's origin, its exception store and its live snapshots.
pub struct Engine<O, S, L> {
    pub(super) origin: Origin<O>,
    pub(super) store: ExceptionStore<S>,
    pub(super) ledger: L,
    pub(super) chunk: ChunkSize,
    pub(super) rules: ArcSwap<StoreRules>,
    pub(super) gate: Gate,
    pub(super) pending: Pending,
    /// Chunks being preserved; first come, first served. Closed with the engine.
    pub(super) preserving: Semaphore,
    /// One at a time makes room in a full store.
    pub(super) relief: tokio::sync::Mutex<()>,
    pub(super) events: EventQueue,
    /// The percentage of the last threshold event.
    pub(super) threshold_percent: AtomicU32,
    needed: ArcSwap<Needed>,
    /// `needed.highest()` among others, to be asked without a look at the list.
    pub(super) attention: Attention,
    snapshots: Mutex<Snapshots>,
    closed: AtomicBool,
}

pub(super) struct Snapshots {
    next_epoch: Epoch,
    live: Vec<(SnapshotPoint, Ended)>,
}

/// Proof that the chunks of a change are preserved where they must be, and that the gate stays open
/// until the change is done. Only [`Engine`]'s choke point makes one.
pub struct Permit<'a> {
    _pass: Pass<'a>,
}

impl<O: BlockIo, S: Growable, L: SnapshotLedger> Engine<O, S, L> {
    /// Puts `origin` behind copy-before-write.
    pub fn open(
        origin: Arc<O>,
        store: ExceptionStore<S>,
        ledger: L,
        options: EngineOptions,
    ) -> Self {
        let chunk = store.chunk();
        let tags = Tags::default();
        store.for_each(|record| tags.raise(record.chunk, record.tag));
        let after_tags = Epoch(store.highest_tag().0.saturating_add(1));
        let live = options.points.into_iter().map(|point| (point, Ended::default())).collect();
        let next_epoch = options.next_epoch.max(after_tags);
        let engine = Self {
            origin: Origin::new(origin, options.size_bytes),
            store,
            ledger,
            chunk,
            rules: ArcSwap::from_pointee(options.rules),
            gate: Gate::default(),
            pending: Pending::new(tags),
            preserving: Semaphore::new(PRESERVING_CHUNKS_MAX),
            relief: tokio::sync::Mutex::new(()),
            events: EventQueue::default(),
            threshold_percent: AtomicU32::new(0),
            needed: ArcSwap::default(),
            attention: Attention::default(),
            snapshots: Mutex::new(Snapshots { next_epoch, live }),
            closed: AtomicBool::new(false),
        };
        engine.refresh(&engine.snapshots());
        engine
    }

    /// The choke point: every change of the origin goes through here, and none begins before what it
    /// overwrites is preserved, durably, for every live snapshot that needs it.
    async fn change(&self, offset_bytes: u64, change: Change) -> Result<(), IoError> {
        let length_bytes = change.length_bytes();
        if length_bytes == 0 {
            return Ok(());
        }
        let (first, last) = self.chunk.chunks_of(offset_bytes, length_bytes);
        let pass = self.gate.enter().await;
        self.fail_if_closed()?;
        if (first.0..=last.0).all(|chunk| self.is_clean(ChunkIndex(chunk))) {
            let permit = Permit { _pass: pass };
            return self.origin.apply(&permit, offset_bytes, change).await;
        }
        drop(pass);
        // Boxed, so that the futures of clean changes stay small.
        Box::pin(self.change_in_pieces(offset_bytes, change)).await
    }

    /// A change with chunks to preserve: a bounded number of them at a time.
    async fn change_in_pieces(&self, offset_bytes: u64, change: Change) -> Result<(), IoError> {
        let end = offset_bytes + change.length_bytes();
        let mut start = offset_bytes;
        while start < end {
            let chunks = PRESERVING_CHUNKS_PER_WRITE_MAX as u64;
            let first_chunk_start = self.chunk.offset_of(self.chunk.chunk_of(start));
            let piece_end = end.min(first_chunk_start + chunks * self.chunk.bytes());
            let piece = change.part(start - offset_bytes, piece_end - start);
            self.change_piece(start, piece).await?;
            start = piece_end;
        }
        Ok(())
    }

    async fn change_piece(&self, offset_bytes: u64, change: Change) -> Result<(), IoError> {
        let (first, last) = self.chunk.chunks_of(offset_bytes, change.length_bytes());
        let owned = self.pending.own(first.0..=last.0).await;
        let permit = self.permit(&owned).await?;
        let change = self.origin.apply(&permit, offset_bytes, change);
        once_begun(change, move || drop(owned)).await
    }

    /// The permit to change owned chunks, once they are preserved and the gate is passed.
    pub(super) async fn permit(&self, owned: &Owned<'_>) -> Result<Permit<'_>, IoError> {
        // Ends unless snapshots are taken faster than chunks are preserved.
        loop {
            self.fail_if_sealed()?;
            self.preserve_needed(owned).await?;
            let pass = self.gate.enter().await;
            self.fail_if_closed()?;
            if self.first_unpreserved(owned).is_none() {
                return Ok(Permit { _pass: pass });
            }
        }
    }

    /// Whether `chunk` may change without being owned: no live snapshot needs a copy of it that is not
    /// there, and nobody wants to be alone on it. Loads only.
    fn is_clean(&self, chunk: ChunkIndex) -> bool {
        match self.attention.heed() {
            Heed::Nothing => true,
            Heed::Needed(highest) => {
                let last = self.pending.tag(chunk);
                last >= highest || last >= self.needed.load().of(chunk)
            }
            Heed::Owners => false,
        }
    }

    fn first_unpreserved(&self, owned: &Owned<'_>) -> Option<ChunkIndex> {
        owned.chunks().find(|chunk| self.needed(*chunk) > owned.tag(*chunk))
    }

    /// The highest epoch of a live snapshot that covers `chunk`.
    pub(super) fn needed(&self, chunk: ChunkIndex) -> Epoch {
        self.needed.load().of(chunk)
    }

    /// The next snapshot's point. The caller holds the gate, drained.
    pub(super) fn add_point(&self, range: super::PointRange) -> Result<Epoch, IoError> {
        let mut snapshots = self.snapshots();
        let epoch = snapshots.next_epoch;
        let next = epoch.0.checked_add(1).ok_or_else(|| IoError::failed("no epochs are left"))?;
        snapshots.next_epoch = Epoch(next);
        snapshots.live.push((SnapshotPoint { epoch, range }, Ended::default()));
        self.refresh(&snapshots);
        Ok(epoch)
    }

    /// Forgets snapshots whose end is durable in the catalog, and frees what only they read.
    pub fn forget(&self, epochs: &[Epoch]) {
        let mut snapshots = self.snapshots();
        let Snapshots { live, .. } = &mut *snapshots;
        live.retain(|(point, ended)| {
            let goes = epochs.contains(&point.epoch);
            if goes {
                ended.set();
            }
            !goes
        });
        self.refresh(&snapshots);
        drop(snapshots);
        self.store.sweep();
        self.threshold_percent.store(0, Ordering::Relaxed);
    }

    /// Derives from the live snapshots what the store and the writers look at.
    fn refresh(&self, snapshots: &Snapshots) {
        let points = snapshots.live.iter().map(|(point, _)| point.live(self.chunk));
        let live = LiveSet::new(points.collect());
        let needed = Needed::of_live(&live);
        // The store first: no record may be tagged with an epoch that it does not know to be live.
        self.store.set_live(live);
        let highest = needed.highest();
        self.needed.store(Arc::new(needed));
        self.attention.set_needed(highest);
    }

    /// The live snapshot of this epoch.
    pub(super) fn live_point(&self, epoch: Epoch) -> Option<(SnapshotPoint, Ended)> {
        let snapshots = self.snapshots();
        snapshots.live.iter().find(|(point, _)| point.epoch == epoch).cloned()
    }

    /// The epochs of the live snapshots, oldest first.
    pub fn live_epochs(&self) -> Vec<Epoch> {
        self.snapshots().live.iter().map(|(point, _)| point.epoch).collect()
    }

    /// The epoch that the next snapshot takes.
    pub fn next_epoch(&self) -> Epoch {
        self.snapshots().next_epoch
    }

    /// Overwrites what the store has ever held; it is empty then. False, and nothing is done, where
    /// there is a live snapshot. None is taken meanwhile; reads and writes go on.
    pub async fn erase_store(&self) -> Result<bool, IoError> {
        let _no_point = self.gate.holder().await;
        self.fail_if_closed()?;
        if !self.live_epochs().is_empty() {
            return Ok(false);
        }
        let all = self.preserving.acquire_many(PRESERVING_CHUNKS_MAX as u32).await;
        let _none_preserving = all.map_err(|_| IoError::Closed)?;
        self.store.erase().await.map(|()| true)
    }

    /// Makes the volume larger. Its device is so already, and reads as zeros there; live snapshots
    /// stay as they are.
    pub fn grow(&self, size_bytes: u64) {
        self.origin.grow(size_bytes);
    }

    /// The size of chunks.
    pub fn chunk(&self) -> ChunkSize {
        self.chunk
    }

    /// How full the store is.
    pub fn store_usage(&self) -> StoreUse {
        self.store.usage()
    }

    /// Verifies every invariant of the map, and the data of every exception. Snapshots whose data is
    /// lost are given up.
    pub async fn check(&self) -> Result<CheckReport, IoError> {
        let chunks = self.origin.size_bytes().div_ceil(self.chunk.bytes());
        let report = self.store.check(chunks).await?;
        for record in &report.damaged {
            // A read of it says the same.
            let _said = self.give_up_damaged(record).await;
        }
        Ok(CheckReport { checksum_errors: self.store.checksum_errors(), ..report })
    }

    /// Failed checksums since the store was opened.
    pub fn checksum_errors(&self) -> ChecksumErrors {
        self.store.checksum_errors()
    }

    /// The snapshot map on disk in words.
    pub async fn dump(&self) -> Result<String, MapError> {
        self.store.dump().await
    }

    /// Adds an event of the opening.
    pub fn announce(&self, event: EngineEvent) {
        self.events.push(event);
    }

    /// What happened since the last call.
    pub fn take_events(&self) -> Vec<EngineEvent> {
        self.events.take()
    }

    /// Takes no more calls, and waits until no change and no preserving is under way.
    pub async fn stop(&self) {
        let held = self.gate.holder().await.close();
        held.drain().await;
        self.closed.store(true, Ordering::SeqCst);
        drop(held);
        // An error says that it was stopped before.
        let _all = self.preserving.acquire_many(PRESERVING_CHUNKS_MAX as u32).await;
        self.preserving.close();
    }

    /// Stops, makes the origin durable and closes the store.
    pub async fn close(&self) -> Result<(), IoError> {
        self.stop().await;
        self.origin.flush().await?;
        self.store.close().await
    }

    pub(super) fn fail_if_closed(&self) -> Result<(), IoError> {
        if self.closed.load(Ordering::SeqCst) { Err(IoError::Closed) } else { Ok(()) }
    }

    /// A range that is not settled must not change: nothing does, until the volume is opened again.
    pub(super) fn fail_if_sealed(&self) -> Result<(), IoError> {
        if !self.attention.is_sealed() {
            return Ok(());
        }
        Err(IoError::failed(
            "an atomic write could not be ended: the volume takes no change until its pool is opened again",
        ))
    }

    fn snapshots(&self) -> MutexGuard<'_, Snapshots> {
        self.snapshots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O: BlockIo, S: Growable, L: SnapshotLedger> BlockIo for Engine<O, S, L> {
    fn size_bytes(&self) -> u64 {
        self.origin.size_bytes()
    }

    fn read_now(&self, offset_bytes: u64, buffer: &mut [u8]) -> bool {
        self.origin.read_now(offset_bytes, buffer) && self.fail_if_closed().is_ok()
    }

    async fn read_at(&self, offset_bytes: u64, buffer: BytesMut) -> ReadResult {
        let (outcome, buffer) = self.origin.read_at(offset_bytes, buffer).await;
        // Looked at afterwards: the space of a deleted volume may be another's by now.
        (outcome.and_then(|()| self.fail_if_closed()), buffer)
    }

    async fn write_at(&self, offset_bytes: u64, data: Bytes) -> Result<(), IoError> {
        self.change(offset_bytes, Change::Write(data)).await
    }

    async fn flush(&self) -> Result<(), IoError> {
        self.fail_if_closed()?;
        self.store.mark_for_flush().await;
        self.origin.flush().await
    }

    async fn discard(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        self.change(offset_bytes, Change::Discard(length_bytes)).await
    }

    async fn write_zeroes(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        self.change(offset_bytes, Change::Zeroes(length_bytes)).await
    }

    async fn mapped_run(
        &self,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Result<(bool, u64), IoError> {
        let run = self.origin.mapped_run(offset_bytes, length_bytes).await?;
        self.fail_if_closed().map(|()| run)
    }

    fn unmap_granularity_bytes(&self) -> u64 {
        self.origin.unmap_granularity_bytes()
    }
}

/// Runs `future`, and `then` as soon as it has begun: after its first poll.
async fn once_begun<F: Future>(future: F, then: impl FnOnce()) -> F::Output {
    let mut future = pin!(future);
    let mut then = Some(then);
    std::future::poll_fn(move |context| {
        let polled = future.as_mut().poll(context);
        if let Some(then) = then.take() {
            then();
        }
        polled
    })
    .await
}
