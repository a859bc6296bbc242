//! The journal in use: changes of a degraded parity set are durable here before they happen in
//! place.
//!
//! It lies on the first member in sync. One copy is enough: a degraded set cannot miss another
//! member anyhow. Records that wait at the same time share one write and one flush: the first one
//! leads, takes along what has queued up, and hands the lead to the next in the queue.
//!
//! When the ring is full, its leader waits until every recorded change is in place, flushes all
//! members, and starts the next generation. Nobody who owns a recorded change waits for the leader
//! meanwhile, so that this ends.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::{Notify, oneshot};

use super::journal_format::{
    Entry, HEADER_BYTES, Place, decode_header, decode_records, encode_header, encode_record,
    record_bytes, was_flushed,
};
use super::set::{Fault, StripeSet, Zeroing, merge};
use crate::error::{IoError, PoolError};
use crate::limits::SECTOR_BYTES;
use crate::member::Member;

/// The journal's state in memory.
#[derive(Default)]
pub(super) struct Journal {
    queue: Mutex<Queue>,
    ring: tokio::sync::Mutex<Ring>,
    /// Recorded changes that are not yet in place.
    unplaced: AtomicU64,
    /// A recorded change could not be made: its record must stay.
    spoiled: AtomicBool,
    all_placed: Notify,
}

#[derive(Default)]
struct Queue {
    led: bool,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    entries: Vec<Entry>,
    turn: oneshot::Sender<Turn>,
}

enum Turn {
    Written(Result<(), IoError>),
    Lead(Vec<Entry>),
}

#[derive(Default)]
struct Ring {
    generation: u64,
    sequence: u64,
    /// From the journal's start; before the first record, 0.
    position: u64,
    /// The checksum of the header.
    journal: u32,
    previous: u32,
}

/// A change that is recorded and about to be made; ends when it is made.
pub(super) struct InPlace<'a> {
    journal: &'a Journal,
}

impl InPlace<'_> {
    /// The change was made, or not: then no later generation may forget its record.
    pub(super) fn end(self, outcome: &Result<(), Fault>) {
        if outcome.is_err() {
            self.journal.spoiled.store(true, Ordering::Release);
        }
    }
}

impl Drop for InPlace<'_> {
    fn drop(&mut self) {
        if self.journal.unplaced.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.journal.all_placed.notify_waiters();
        }
    }
}

impl Journal {
    /// Joins the queue; `None` where nobody leads: then the caller does.
    fn enqueue(&self, entries: &[Entry]) -> Option<oneshot::Receiver<Turn>> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut queue.led, true) {
            return None;
        }
        let (turn, receiver) = oneshot::channel();
        queue.waiting.push_back(Waiting { entries: entries.to_vec(), turn });
        Some(receiver)
    }

    /// Those from the front of the queue that fit into `room_bytes` together.
    fn take_along(&self, mut room_bytes: u64) -> Vec<Waiting> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::new();
        while let Some(front) = queue.waiting.front() {
            let Some(rest) = room_bytes.checked_sub(record_bytes(&front.entries)) else { break };
            room_bytes = rest;
            taken.extend(queue.waiting.pop_front());
        }
        taken
    }

    fn hand_on(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(next) = queue.waiting.pop_front() {
            if next.turn.send(Turn::Lead(next.entries)).is_ok() {
                return;
            }
        }
        queue.led = false;
    }

    fn placed_later(&self) -> InPlace<'_> {
        self.unplaced.fetch_add(1, Ordering::AcqRel);
        InPlace { journal: self }
    }

    async fn wait_all_placed(&self) {
        loop {
            let mut placed = pin!(self.all_placed.notified());
            placed.as_mut().enable();
            if self.unplaced.load(Ordering::Acquire) == 0 {
                return;
            }
            placed.await;
        }
    }
}

impl<M: Member> StripeSet<M> {
    /// How much of each strip one record may cover: two of the largest records fit the ring.
    pub(super) fn journal_slice_bytes(&self) -> u64 {
        let record = (self.layout.journal_bytes - HEADER_BYTES) / 2 - HEADER_BYTES;
        let slice = record / self.geometry.members as u64 / SECTOR_BYTES * SECTOR_BYTES;
        slice.min(self.geometry.strip_bytes)
    }

    /// Makes a change durable in the journal. It may happen in place from now on.
    pub(super) async fn journal_append(&self, entries: Vec<Entry>) -> Result<InPlace<'_>, Fault> {
        let entries = match self.journal.enqueue(&entries) {
            None => entries,
            Some(turn) => match turn.await {
                Ok(Turn::Lead(entries)) => entries,
                // The leader has counted it as not yet placed.
                Ok(Turn::Written(Ok(()))) => return Ok(InPlace { journal: &self.journal }),
                Ok(Turn::Written(Err(error))) => return Err(self.journal_fault(error)),
                Err(_) => {
                    return Err(self.journal_fault(IoError::failed("the journal was given up")));
                }
            },
        };
        let outcome = self.lead(entries).await;
        self.journal.hand_on();
        outcome
    }

    async fn lead(&self, own: Vec<Entry>) -> Result<InPlace<'_>, Fault> {
        let mut ring = self.journal.ring.lock().await;
        let bytes = record_bytes(&own);
        if ring.position == 0 || ring.position + bytes > self.layout.journal_bytes {
            self.next_generation(&mut ring).await?;
        }
        let room = self.layout.journal_bytes - ring.position - bytes;
        let others = self.journal.take_along(room);
        let batch = std::iter::once(&own).chain(others.iter().map(|other| &other.entries));
        let outcome = self.write_records(&mut ring, batch).await;
        let answer = outcome.as_ref().map(|_| ()).map_err(|fault| fault.error.clone());
        for other in others {
            let in_place = self.journal.placed_later();
            if answer.is_err() || other.turn.send(Turn::Written(answer.clone())).is_err() {
                drop(in_place);
            } else {
                // The count goes with the answer: its receiver makes the value anew.
                std::mem::forget(in_place);
            }
        }
        outcome.map(|()| self.journal.placed_later())
    }

    async fn write_records<'a>(
        &self,
        ring: &mut Ring,
        batch: impl Iterator<Item = &'a Vec<Entry>>,
    ) -> Result<(), Fault> {
        let start = self.layout.journal_address + ring.position;
        let flushed_below = ring.sequence;
        let mut out = Vec::new();
        for entries in batch {
            let place = Place {
                address: start + out.len() as u64,
                generation: ring.generation,
                journal: ring.journal,
                sequence: ring.sequence,
                previous: ring.previous,
            };
            ring.previous = encode_record(&mut out, place, flushed_below, entries);
            ring.sequence += 1;
        }
        ring.position += out.len() as u64;
        let role = self.journal_role();
        self.meta_write(role, start, Bytes::from(out)).await?;
        self.member_flush(role).await
    }

    async fn next_generation(&self, ring: &mut Ring) -> Result<(), Fault> {
        self.journal.wait_all_placed().await;
        if self.journal.spoiled.load(Ordering::Acquire) {
            let error = IoError::failed("a recorded change of a degraded stripe could not be made");
            return Err(Fault { members: 0, changed: true, error });
        }
        self.flush_members().await?;
        self.start_generation(ring, ring.generation + 1).await
    }

    /// Writes the headers of a generation, durable: what was recorded before counts no more.
    async fn start_generation(&self, ring: &mut Ring, generation: u64) -> Result<(), Fault> {
        let address = self.layout.journal_address;
        let first = self.journal_role();
        let mut previous = 0;
        let writes = self.in_sync().map(|role| {
            let member = self.identity.members[role];
            let (header, checksum) = encode_header(address, generation, member);
            if role == first {
                previous = checksum;
            }
            async move {
                self.meta_write(role, address, Bytes::from(header)).await?;
                self.member_flush(role).await
            }
        });
        merge(join_all(writes).await)?;
        *ring =
            Ring { generation, sequence: 0, position: HEADER_BYTES, journal: previous, previous };
        Ok(())
    }

    /// Before the set is used: makes recorded changes of a degraded set again, in their order, and
    /// starts the next generation. `Damaged` where a change that was recorded cannot be read: how far
    /// it came nobody knows.
    pub(super) async fn replay_journal(&self) -> Result<usize, PoolError> {
        let mut headers = Vec::new();
        for role in self.in_sync() {
            headers.push(self.journal_header(role).await?);
        }
        let newest = headers.iter().flatten().map(|(generation, _)| *generation).max();
        let mut replayed = 0;
        if self.failed() != 0 {
            let role = self.journal_role();
            let damaged = || self.damaged_journal(role, "no member has a header of it");
            // What is in the header is known from the others'.
            let header = headers[0].or_else(|| {
                let member = self.identity.members[role];
                let generation = newest?;
                let address = self.layout.journal_address;
                Some((generation, encode_header(address, generation, member).1))
            });
            let (generation, previous) = header.ok_or_else(damaged)?;
            for entries in self.journal_records(role, generation, previous).await? {
                self.apply_entries(entries, Zeroing::WriteZeroes).await?;
                replayed += 1;
            }
            self.flush_members().await?;
        }
        let mut ring = self.journal.ring.lock().await;
        self.start_generation(&mut ring, newest.unwrap_or(0) + 1).await?;
        // The first record of a set that becomes degraded starts a generation of its own, on the
        // member that then comes first.
        ring.position = 0;
        Ok(replayed)
    }

    /// The generation of a member's journal, and the checksum that the first record names.
    async fn journal_header(&self, role: usize) -> Result<Option<(u64, u32)>, Fault> {
        let address = self.layout.journal_address;
        let header = self.meta_read(role, address, HEADER_BYTES).await?;
        Ok(decode_header(&header, address, self.identity.members[role]))
    }

    /// The records that count in a member's journal.
    async fn journal_records(
        &self,
        role: usize,
        generation: u64,
        previous: u32,
    ) -> Result<Vec<Vec<Entry>>, PoolError> {
        let address = self.layout.journal_address + HEADER_BYTES;
        let length = self.layout.journal_bytes - HEADER_BYTES;
        let ring = self.meta_read(role, address, length).await?;
        let mut next = Place { address, generation, journal: previous, sequence: 0, previous };
        let mut records = Vec::new();
        for (place, entries) in decode_records(ring.clone(), next) {
            next.sequence = place.sequence + 1;
            next.address = place.address + record_bytes(&entries);
            if !entries.iter().all(|entry| self.is_plausible(entry)) {
                return Err(self.damaged_journal(role, "a record makes no sense"));
            }
            records.push(entries);
        }
        if was_flushed(&ring[(next.address - address) as usize..], next) {
            let what = format!("record {}, which was durable, cannot be read", next.sequence);
            return Err(self.damaged_journal(role, &what));
        }
        Ok(records)
    }

    fn damaged_journal(&self, role: usize, what: &str) -> PoolError {
        PoolError::Damaged(format!(
            "the journal of member {}: {what}; a change that it holds may be half made, and what the \
             missing member held cannot be computed from that",
            self.name_of(role)
        ))
    }

    fn is_plausible(&self, entry: &Entry) -> bool {
        let end = entry.offset_bytes.checked_add(entry.length_bytes);
        entry.member < self.geometry.members
            && self.failed() >> entry.member & 1 == 0
            && entry.offset_bytes.is_multiple_of(SECTOR_BYTES)
            && end.is_some_and(|end| end <= self.layout.data_bytes)
    }

    fn journal_role(&self) -> usize {
        self.in_sync().next().expect("a degraded set has members in sync")
    }

    fn journal_fault(&self, error: IoError) -> Fault {
        Fault { members: 1 << self.journal_role(), changed: true, error }
    }
}
