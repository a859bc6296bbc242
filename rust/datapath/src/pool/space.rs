//! A space: a list of extents of a pool as one address space.
//!
//! Reads and writes look the extents up in a table that is replaced whole when the space grows, and
//! take no lock. A range within one extent goes down as it came.
//!
//! A deleted space is *closed*: its extents may belong to another one. Changes pass a gate that the
//! deletion closes; a read looks, when it has its data, whether the space was closed meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;

use super::catalog::{Catalog, Extent, SpaceId};
use super::{Pool, Provisioning, io_error};
use crate::block_io::{BlockIo, Growable, ReadResult, Verdict, VerifiedRead};
use crate::error::{IoError, PoolError};
use crate::member::Member;
use crate::stripe::Gate;

/// A list of extents of a pool as one address space.
pub struct Space<M> {
    id: SpaceId,
    pool: Arc<Pool<M>>,
    table: ArcSwap<Table>,
    limit_bytes: AtomicU64,
    pub(super) gate: Gate,
    closed: AtomicBool,
}

/// Extents, each with the first address it holds.
struct Table {
    rows: Vec<(u64, Extent)>,
    size_bytes: u64,
}

impl Table {
    fn new(extents: &[Extent]) -> Self {
        let mut size_bytes = 0;
        let mut rows = Vec::with_capacity(extents.len());
        for extent in extents {
            rows.push((size_bytes, *extent));
            size_bytes += extent.length_bytes;
        }
        Self { rows, size_bytes }
    }

    /// Where a range lies in the pool, cut at the borders of extents.
    fn runs(&self, offset: u64, length: u64) -> impl Iterator<Item = Extent> + '_ {
        let end = offset + length;
        assert!(end <= self.size_bytes, "{length} bytes at {offset} lie outside the space");
        let first =
            self.rows.partition_point(|(start, extent)| start + extent.length_bytes <= offset);
        let rows = self.rows[first..].iter().take_while(move |(start, _)| *start < end);
        rows.map(move |(start, extent)| {
            let from = offset.max(*start);
            let to = end.min(start + extent.length_bytes);
            Extent { offset_bytes: extent.offset_bytes + (from - start), length_bytes: to - from }
        })
    }

    /// Where a range lies that is within one extent.
    fn single_run(&self, offset: u64, length: u64) -> Option<u64> {
        let mut runs = self.runs(offset, length);
        runs.next().filter(|run| run.length_bytes == length).map(|run| run.offset_bytes)
    }
}

impl<M: Member> Space<M> {
    pub(super) fn new(id: SpaceId, pool: Arc<Pool<M>>, extents: &[Extent]) -> Self {
        Self {
            id,
            pool,
            table: ArcSwap::from_pointee(Table::new(extents)),
            limit_bytes: AtomicU64::new(u64::MAX),
            gate: Gate::default(),
            closed: AtomicBool::new(false),
        }
    }

    /// Its number.
    pub fn id(&self) -> SpaceId {
        self.id
    }

    /// How far `grow` may take it; `None` as far as the pool goes. A size beyond it stays.
    pub fn set_limit(&self, limit_bytes: Option<u64>) {
        self.limit_bytes.store(limit_bytes.unwrap_or(u64::MAX), Ordering::Release);
    }

    /// How far `grow` may take it.
    pub fn limit_bytes(&self) -> Option<u64> {
        Some(self.limit_bytes.load(Ordering::Acquire)).filter(|limit| *limit != u64::MAX)
    }

    pub(super) fn set_closed(&self, closed: bool) {
        self.closed.store(closed, Ordering::Release);
    }

    /// Adds at least `additional_bytes`, which may be 0, at the end, whatever the limit, and changes
    /// the catalog as `also` says: both are in force, durably, when it returns `Ok`, or neither. The
    /// new part reads as zeros. Returns the new size in bytes.
    pub async fn grow_with(
        &self,
        additional_bytes: u64,
        provisioning: Provisioning,
        also: impl FnOnce(&mut Catalog) -> Result<(), PoolError>,
    ) -> Result<u64, PoolError> {
        let extents = self.pool.grow_space(self.id, additional_bytes, provisioning, also).await?;
        let table = Table::new(&extents);
        let size_bytes = table.size_bytes;
        // Growths of one space may end in another order than they began; the longest table stays.
        self.table.rcu(|old| {
            let longer = Table { rows: table.rows.clone(), size_bytes };
            if old.size_bytes < size_bytes { Arc::new(longer) } else { old.clone() }
        });
        Ok(size_bytes)
    }

    /// `Closed` once it was deleted.
    fn usable(&self) -> Result<(), IoError> {
        if self.closed.load(Ordering::Acquire) { Err(IoError::Closed) } else { Ok(()) }
    }

    async fn read(&self, offset_bytes: u64, buffer: BytesMut) -> ReadResult {
        let length = buffer.len() as u64;
        if length == 0 {
            return (Ok(()), buffer);
        }
        let single = self.table.load().single_run(offset_bytes, length);
        if let Some(at) = single {
            return self.pool.set().read_at(at, buffer).await;
        }
        let table = self.table.load_full();
        let mut rest = buffer;
        let reads: Vec<_> = table
            .runs(offset_bytes, length)
            .map(|run| {
                let part = rest.split_to(run.length_bytes as usize);
                self.pool.set().read_at(run.offset_bytes, part)
            })
            .collect();
        let mut whole = BytesMut::new();
        let mut outcome = Ok(());
        for (part_outcome, part) in join_all(reads).await {
            whole.unsplit(part);
            outcome = outcome.and(part_outcome);
        }
        (outcome, whole)
    }

    async fn zero(&self, offset: u64, length: u64, discard: bool) -> Result<(), IoError> {
        let _pass = self.gate.enter().await;
        self.usable()?;
        let table = self.table.load_full();
        for run in table.runs(offset, length) {
            match discard {
                true => self.pool.set().discard(run.offset_bytes, run.length_bytes).await?,
                false => self.pool.set().write_zeroes(run.offset_bytes, run.length_bytes).await?,
            }
        }
        Ok(())
    }
}

impl<M: Member> BlockIo for Space<M> {
    fn size_bytes(&self) -> u64 {
        self.table.load().size_bytes
    }

    fn read_now(&self, offset_bytes: u64, buffer: &mut [u8]) -> bool {
        if self.usable().is_err() {
            return false;
        }
        let table = self.table.load();
        let mut rest = &mut *buffer;
        let is_read = table.runs(offset_bytes, rest.len() as u64).all(|run| {
            let part = rest.split_off_mut(..run.length_bytes as usize);
            part.is_some_and(|part| self.pool.set().read_now(run.offset_bytes, part))
        });
        if self.usable().is_err() {
            // What was read may be another space's by now, and the buffer somebody's who sees it.
            buffer.fill(0);
            return false;
        }
        is_read
    }

    async fn read_at(&self, offset_bytes: u64, buffer: BytesMut) -> ReadResult {
        if let Err(error) = self.usable() {
            return (Err(error), buffer);
        }
        let (outcome, buffer) = self.read(offset_bytes, buffer).await;
        (outcome.and_then(|()| self.usable()), buffer)
    }

    async fn read_verified(
        &self,
        offset_bytes: u64,
        buffer: BytesMut,
        is_right: impl Fn(&[u8]) -> bool,
    ) -> VerifiedRead {
        let (outcome, buffer) = self.read_at(offset_bytes, buffer).await;
        let in_doubt = self.is_in_doubt(offset_bytes, buffer.len() as u64);
        match outcome {
            Ok(()) if !in_doubt && is_right(&buffer) => return (Ok(Verdict::Right), buffer),
            Ok(()) => {}
            Err(error) => return (Err(error), buffer),
        }
        let _pass = self.gate.enter().await;
        if let Err(error) = self.usable() {
            return (Err(error), buffer);
        }
        let single = self.table.load().single_run(offset_bytes, buffer.len() as u64);
        match single {
            Some(at) => self.pool.set().read_otherwise(at, buffer, is_right).await,
            None if is_right(&buffer) => (Ok(Verdict::Right), buffer),
            None => (Ok(Verdict::Wrong), buffer),
        }
    }

    fn is_in_doubt(&self, offset_bytes: u64, length_bytes: u64) -> bool {
        let table = self.table.load();
        let mut runs = table.runs(offset_bytes, length_bytes);
        runs.any(|run| self.pool.set().is_in_doubt(run.offset_bytes, run.length_bytes))
    }

    async fn write_at(&self, offset_bytes: u64, data: Bytes) -> Result<(), IoError> {
        if data.is_empty() {
            return Ok(());
        }
        let _pass = self.gate.enter().await;
        self.usable()?;
        let single = self.table.load().single_run(offset_bytes, data.len() as u64);
        if let Some(at) = single {
            return self.pool.set().write_at(at, data).await;
        }
        let table = self.table.load_full();
        let mut rest = data;
        let length = rest.len() as u64;
        let writes: Vec<_> = table
            .runs(offset_bytes, length)
            .map(|run| {
                let part = rest.split_to(run.length_bytes as usize);
                self.pool.set().write_at(run.offset_bytes, part)
            })
            .collect();
        join_all(writes).await.into_iter().collect()
    }

    async fn flush(&self) -> Result<(), IoError> {
        self.usable()?;
        self.pool.set().flush().await
    }

    async fn discard(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        self.zero(offset_bytes, length_bytes, true).await
    }

    async fn write_zeroes(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        self.zero(offset_bytes, length_bytes, false).await
    }

    async fn mapped_run(
        &self,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Result<(bool, u64), IoError> {
        self.usable()?;
        let first = self.table.load().runs(offset_bytes, length_bytes).next();
        let first = first.expect("the range is not empty");
        let run = self.pool.set().mapped_run(first.offset_bytes, first.length_bytes).await?;
        self.usable().map(|()| run)
    }

    fn unmap_granularity_bytes(&self) -> u64 {
        self.pool.set().unmap_granularity_bytes()
    }
}

impl<M: Member> Growable for Space<M> {
    async fn grow(&self, additional_bytes: u64) -> Result<u64, IoError> {
        self.usable()?;
        let limit = self.limit_bytes.load(Ordering::Acquire);
        if self.size_bytes().checked_add(additional_bytes).is_none_or(|wanted| wanted > limit) {
            return Err(IoError::NoSpace);
        }
        let grown = self.grow_with(additional_bytes, Provisioning::Thin, |_| Ok(())).await;
        grown.map_err(io_error)
    }
}
