//! The stripe set: members as one range of bytes, with what its level survives.
//!
//! - A change passes the gate, declares its intent, and is tried. If a member fails it, the gate is
//!   closed, the member is taken out (`failure`), and the change is tried again without it. Each
//!   round takes a member out, so it ends.
//! - A member that fails a change is a *suspect* from that moment on (`suspects`), before the change
//!   leaves its stripe or the gate: whoever closes the gate sees all that failed, and whoever locks
//!   the stripe next computes nothing from it.
//! - The mask of failed members changes only while the gate is closed, so that a change sees one
//!   mask from its start to its end. Reads pass no gate: one that meets a member which just failed
//!   is tried again like a change.
//! - raid0 has nothing to keep consistent: no gate, no intents, no locks.
//! - A set that can no longer tell right from wrong is *broken*: every call fails with the reason.

use std::collections::VecDeque;
use std::future::Future;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;

use super::gate::{Closed, Gate};
use super::geometry::Piece;
use super::intents::Intents;
use super::journal::Journal;
use super::label::Label;
use super::layout::Layout;
use super::status::SetEvent;
use super::suspects::Suspects;
use super::{Geometry, Level};
use crate::block_io::{BlockIo, ReadResult, Verdict, VerifiedRead};
use crate::error::{IoError, PoolError};
use crate::member::Member;

/// Stripes are locked by their number modulo this; more of them than commands in flight.
pub(super) const STRIPE_LOCKS: usize = 1024;

/// A stripe set. Its `BlockIo` is the data area.
pub struct StripeSet<M> {
    pub(super) members: Vec<Option<M>>,
    pub(super) geometry: Geometry,
    pub(super) layout: Layout,
    /// A bit for each member that is missing or was taken out.
    pub(super) failed: AtomicU32,
    pub(super) suspects: Suspects,
    pub(super) broken: OnceLock<IoError>,
    /// From an opening after an unclean stop to the end of the recovery: the regions to be made equal.
    pub(super) unsynced: Mutex<Vec<usize>>,
    pub(super) closed: AtomicBool,
    pub(super) gate: Gate,
    pub(super) stripe_locks: Box<[tokio::sync::Mutex<()>]>,
    pub(super) intents: Intents,
    pub(super) journal: Journal,
    /// The newest label; `role` means nothing in it.
    pub(super) label: tokio::sync::Mutex<Label>,
    pub(super) identity: Label,
    /// `settled_event` of the newest label, for who cannot wait for it.
    pub(super) event: AtomicU64,
    pub(super) errors: Vec<AtomicU64>,
    pub(super) repairs: Vec<AtomicU64>,
    pub(super) events: Mutex<VecDeque<SetEvent>>,
}

/// Members that failed a call.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) members: u32,
    /// Whether the call may have changed other members.
    pub(super) changed: bool,
    pub(super) error: IoError,
}

impl From<Fault> for PoolError {
    fn from(fault: Fault) -> Self {
        Self::Io(fault.error)
    }
}

/// How a range is zeroed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zeroing {
    /// The space is given back.
    Discard,
    /// It need not be.
    WriteZeroes,
}

impl<M: Member> StripeSet<M> {
    /// The set's shape.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Where the metadata lies on each member.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Bits of the members that are not in sync.
    pub(super) fn failed(&self) -> u32 {
        self.failed.load(Ordering::Acquire)
    }

    /// Roles of the members in sync.
    pub(crate) fn in_sync(&self) -> impl Iterator<Item = usize> + use<M> {
        let failed = self.failed();
        (0..self.geometry.members).filter(move |role| failed >> role & 1 == 0)
    }

    pub(super) fn usable(&self) -> Result<(), IoError> {
        if let Some(reason) = self.broken.get() {
            return Err(reason.clone());
        }
        if self.closed.load(Ordering::Acquire) { Err(IoError::Closed) } else { Ok(()) }
    }

    pub(super) fn member(&self, role: usize) -> &M {
        self.members[role].as_ref().expect("a member in sync is there")
    }

    fn fault(&self, role: usize, changed: bool) -> impl FnOnce(IoError) -> Fault + '_ {
        move |error| {
            self.errors[role].fetch_add(1, Ordering::Relaxed);
            if changed && self.geometry.level.is_redundant() {
                self.suspects.add(role, &error);
            }
            Fault { members: 1 << role, changed, error }
        }
    }

    /// Reads from a member's data area.
    pub(super) async fn member_read(
        &self,
        role: usize,
        offset_bytes: u64,
        buffer: BytesMut,
    ) -> (Result<(), Fault>, BytesMut) {
        let at = self.layout.data_address + offset_bytes;
        let (outcome, buffer) = self.member(role).read_at(at, buffer).await;
        (outcome.map_err(self.fault(role, false)), buffer)
    }

    fn member_read_now(&self, role: usize, offset_bytes: u64, buffer: &mut [u8]) -> bool {
        self.member(role).read_now(self.layout.data_address + offset_bytes, buffer)
    }

    /// Reads a run piece by piece, each from the member that `role_of` says.
    fn read_pieces_now(
        &self,
        offset_bytes: u64,
        buffer: &mut [u8],
        role_of: impl Fn(Piece) -> Option<usize>,
    ) -> bool {
        let mut pieces = self.geometry.pieces(offset_bytes, buffer.len() as u64);
        let mut rest = buffer;
        pieces.all(|piece| {
            let part = rest.split_off_mut(..piece.length_bytes as usize);
            let at = self.geometry.member_offset(piece);
            role_of(piece)
                .zip(part)
                .is_some_and(|(role, part)| self.member_read_now(role, at, part))
        })
    }

    /// Writes to a member's data area.
    pub(super) async fn member_write(
        &self,
        role: usize,
        offset_bytes: u64,
        data: Bytes,
    ) -> Result<(), Fault> {
        let at = self.layout.data_address + offset_bytes;
        self.member(role).write_at(at, data).await.map_err(self.fault(role, true))
    }

    /// Zeroes a range of a member's data area.
    pub(super) async fn member_zero(
        &self,
        role: usize,
        range: Range<u64>,
        how: Zeroing,
    ) -> Result<(), Fault> {
        let (at, length) = (self.layout.data_address + range.start, range.end - range.start);
        let outcome = match how {
            Zeroing::Discard => self.member(role).discard(at, length).await,
            Zeroing::WriteZeroes => self.member(role).write_zeroes(at, length).await,
        };
        outcome.map_err(self.fault(role, true))
    }

    pub(super) async fn member_flush(&self, role: usize) -> Result<(), Fault> {
        self.member(role).flush().await.map_err(self.fault(role, true))
    }

    pub(super) fn member_probe(&self, role: usize) -> Result<(), Fault> {
        self.member(role).probe().map_err(self.fault(role, false))
    }

    /// Reads from a member's metadata area.
    pub(super) async fn meta_read(
        &self,
        role: usize,
        address: u64,
        length_bytes: u64,
    ) -> Result<Bytes, Fault> {
        let buffer = BytesMut::zeroed(length_bytes as usize);
        let (outcome, buffer) = self.member(role).read_at(address, buffer).await;
        outcome.map(|()| buffer.freeze()).map_err(self.fault(role, false))
    }

    pub(super) async fn meta_write(
        &self,
        role: usize,
        address: u64,
        data: Bytes,
    ) -> Result<(), Fault> {
        self.member(role).write_at(address, data).await.map_err(self.fault(role, true))
    }

    /// Flushes every member in sync.
    pub(super) async fn flush_members(&self) -> Result<(), Fault> {
        merge(join_all(self.in_sync().map(|role| self.member_flush(role))).await)
    }

    /// Writes the same metadata to every member in sync, and flushes them.
    pub(super) async fn write_everywhere(&self, address: u64, data: &Bytes) -> Result<(), Fault> {
        let calls = self.in_sync().map(|role| async move {
            self.meta_write(role, address, data.clone()).await?;
            self.member_flush(role).await
        });
        merge(join_all(calls).await)
    }

    /// The same, without the members that fail it as far as the level allows: durable on every
    /// member in sync when it returns.
    pub(crate) async fn write_metadata(&self, address: u64, data: Bytes) -> Result<(), IoError> {
        self.make_durable(|| self.write_everywhere(address, &data)).await
    }

    /// A call that flushes members. It passes the gate: a system reports to one flush what it could
    /// not write, so no member is taken out while the report may still be on its way. It succeeds
    /// where no other flush had a failure reported that concerns what this one was to make durable.
    async fn make_durable<F: Future<Output = Result<(), Fault>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<(), IoError> {
        loop {
            let pass = self.gate.enter().await;
            self.usable()?;
            let outcome = attempt().await;
            drop(pass);
            match outcome {
                Ok(()) if self.suspects.are_none() => return Ok(()),
                Ok(()) => {
                    let closed = self.gate.close().await;
                    self.take_out_suspects(&closed).await?;
                }
                Err(fault) => self.take_out(fault).await?,
            }
        }
    }

    /// Writes the same metadata to every member in sync, not durable before a later flush. A member
    /// that fails it goes without.
    pub(crate) async fn write_metadata_unflushed(&self, address: u64, data: Bytes) {
        if self.usable().is_ok() {
            let writes = self.in_sync().map(|role| self.meta_write(role, address, data.clone()));
            drop(join_all(writes).await);
        }
    }

    /// The same range of the metadata of each member in sync.
    pub(crate) async fn read_metadata(
        &self,
        address: u64,
        length_bytes: u64,
    ) -> Result<Vec<Bytes>, IoError> {
        loop {
            self.usable()?;
            let reads = self.in_sync().map(|role| self.meta_read(role, address, length_bytes));
            let mut found = Vec::new();
            let mut fault = Ok(());
            for read in join_all(reads).await {
                match read {
                    Ok(bytes) => found.push(bytes),
                    Err(error) => fault = merge([fault, Err(error)]),
                }
            }
            match fault {
                Ok(()) => return Ok(found),
                Err(fault) => self.take_out(fault).await?,
            }
        }
    }

    /// One change of the data area: intent, attempt, and again without what failed.
    async fn change<F: Future<Output = Result<(), Fault>>>(
        &self,
        offset_bytes: u64,
        length_bytes: u64,
        attempt: impl Fn() -> F,
    ) -> Result<(), IoError> {
        if !self.geometry.level.is_redundant() {
            self.usable()?;
            return attempt().await.map_err(|fault| fault.error);
        }
        loop {
            if self.intents.are_too_many() {
                self.checkpoint().await?;
            }
            let pass = self.gate.enter().await;
            self.usable()?;
            let declared = self.declare(offset_bytes, length_bytes).await;
            let outcome = match declared {
                Ok(()) => attempt().await,
                Err(fault) => Err(fault),
            };
            drop(pass);
            match outcome {
                Ok(()) => return Ok(()),
                Err(fault) => self.take_out(fault).await?,
            }
        }
    }

    /// Makes the intent to change a range durable. A degraded parity set keeps a journal instead.
    async fn declare(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), Fault> {
        if self.geometry.level == Level::Raid5 && self.failed() != 0 {
            return Ok(());
        }
        let stripes = self.geometry.stripes(offset_bytes, length_bytes);
        let strip = self.geometry.strip_bytes;
        let range = stripes.start * strip..stripes.end * strip;
        if self.intents.cover(&range) {
            return Ok(());
        }
        self.intents.want(&range);
        let _turn = self.intents.commit.lock().await;
        if self.intents.cover(&range) {
            return Ok(());
        }
        let words = self.intents.snapshot();
        let data = Bytes::from(self.intents.encode(&words));
        self.write_everywhere(super::layout::INTENTS_ADDRESS, &data).await?;
        self.intents.written(&words);
        Ok(())
    }

    /// Flushes with no change in flight and forgets the write intents: less to compare after a
    /// crash.
    pub async fn checkpoint(&self) -> Result<(), IoError> {
        let closed = self.gate.close().await;
        self.settle(&closed).await
    }

    /// With the gate closed: flushes and forgets the write intents, unless a stripe is half changed.
    pub(super) async fn settle(&self, closed: &Closed<'_>) -> Result<(), IoError> {
        loop {
            self.take_out_suspects(closed).await?;
            let outcome = match self.flush_members().await {
                Ok(()) if self.intents.is_empty() => Ok(()),
                Ok(()) => self.forget_intents().await,
                Err(fault) => Err(fault),
            };
            match outcome {
                Ok(()) => return Ok(()),
                Err(fault) => self.take_out_behind(closed, fault).await?,
            }
        }
    }

    /// Clears the bitmap; everything is flushed and nothing in flight. Where it fails, the bits are
    /// gone on some members, so that the next change has to declare itself anew.
    pub(super) async fn forget_intents(&self) -> Result<(), Fault> {
        self.intents.distrust();
        let data = Bytes::from(self.intents.encode(&[]));
        self.write_everywhere(super::layout::INTENTS_ADDRESS, &data).await?;
        self.intents.cleared();
        Ok(())
    }

    async fn zero(&self, offset: u64, length: u64, how: Zeroing) -> Result<(), IoError> {
        if length == 0 {
            return Ok(());
        }
        self.change(offset, length, || async move {
            match self.geometry.level {
                Level::Raid5 => self.parity_zero(offset, length, how).await,
                Level::Raid0 | Level::Raid1 | Level::Raid10 => {
                    self.striped_zero(offset, length, how).await
                }
            }
        })
        .await
    }
}

impl<M: Member> BlockIo for StripeSet<M> {
    fn size_bytes(&self) -> u64 {
        self.geometry.data_bytes(self.layout.data_bytes)
    }

    fn read_now(&self, offset_bytes: u64, buffer: &mut [u8]) -> bool {
        if self.usable().is_err() {
            return false;
        }
        if self.geometry.level == Level::Raid5 {
            let role = |piece: Piece| self.strip_to_read(piece.stripe, piece.column);
            return self.read_pieces_now(offset_bytes, buffer, role);
        }
        match self.single_run(offset_bytes, buffer.len() as u64) {
            Some((column, at)) => {
                let role = self.copy_to_read(column, at);
                role.is_some_and(|role| self.member_read_now(role, at, buffer))
            }
            None => self.read_pieces_now(offset_bytes, buffer, |piece| {
                self.copy_to_read(piece.column, self.geometry.member_offset(piece))
            }),
        }
    }

    async fn read_at(&self, offset_bytes: u64, buffer: BytesMut) -> ReadResult {
        let mut buffer = buffer;
        loop {
            if let Err(error) = self.usable() {
                return (Err(error), buffer);
            }
            let (outcome, back) = match self.geometry.level {
                Level::Raid5 => self.parity_read(offset_bytes, buffer).await,
                Level::Raid0 | Level::Raid1 | Level::Raid10 => {
                    self.striped_read(offset_bytes, buffer).await
                }
            };
            buffer = back;
            let Err(fault) = outcome else { return (Ok(()), buffer) };
            if let Err(error) = self.take_out(fault).await {
                return (Err(error), buffer);
            }
        }
    }

    async fn read_verified(
        &self,
        offset_bytes: u64,
        buffer: BytesMut,
        is_right: impl Fn(&[u8]) -> bool,
    ) -> VerifiedRead {
        if self.is_in_doubt(offset_bytes, buffer.len() as u64) {
            return self.read_otherwise(offset_bytes, buffer, is_right).await;
        }
        let (outcome, buffer) = self.read_at(offset_bytes, buffer).await;
        match outcome {
            Ok(()) if is_right(&buffer) => (Ok(Verdict::Right), buffer),
            Ok(()) => self.read_otherwise(offset_bytes, buffer, is_right).await,
            Err(error) => (Err(error), buffer),
        }
    }

    fn is_in_doubt(&self, offset_bytes: u64, length_bytes: u64) -> bool {
        let unsynced = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
        let stripes = self.geometry.stripes(offset_bytes, length_bytes);
        let region_of = |stripe: u64| stripe * self.geometry.strip_bytes / self.layout.region_bytes;
        let range = region_of(stripes.start)..=region_of(stripes.end.saturating_sub(1));
        unsynced.iter().any(|region| range.contains(&(*region as u64)))
    }

    async fn write_at(&self, offset_bytes: u64, data: Bytes) -> Result<(), IoError> {
        let length = data.len() as u64;
        if length == 0 {
            return Ok(());
        }
        self.change(offset_bytes, length, || async {
            match self.geometry.level {
                Level::Raid5 => self.parity_write(offset_bytes, data.clone()).await,
                Level::Raid0 | Level::Raid1 | Level::Raid10 => {
                    self.striped_write(offset_bytes, data.clone()).await
                }
            }
        })
        .await
    }

    async fn flush(&self) -> Result<(), IoError> {
        self.make_durable(|| self.flush_members()).await
    }

    async fn discard(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        self.zero(offset_bytes, length_bytes, Zeroing::Discard).await
    }

    async fn write_zeroes(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
        self.zero(offset_bytes, length_bytes, Zeroing::WriteZeroes).await
    }

    async fn mapped_run(
        &self,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Result<(bool, u64), IoError> {
        self.usable()?;
        Ok(self.find_run(offset_bytes, length_bytes).await)
    }

    fn unmap_granularity_bytes(&self) -> u64 {
        self.granularity_bytes()
    }
}

/// One fault out of several: all members that failed, and the first one's reason.
pub(super) fn merge(outcomes: impl IntoIterator<Item = Result<(), Fault>>) -> Result<(), Fault> {
    let faults = outcomes.into_iter().filter_map(Result::err);
    faults
        .reduce(|first, next| Fault {
            members: first.members | next.members,
            changed: first.changed | next.changed,
            error: first.error,
        })
        .map_or(Ok(()), Err)
}
