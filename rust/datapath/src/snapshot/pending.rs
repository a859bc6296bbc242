//! Chunks being preserved, and the writes held for them.
//!
//! A chunk has one owner at a time. The first write that finds it unpreserved owns it, preserves it,
//! begins its own write, and passes the chunk on to the next that waits, first in, first out. So held
//! writes begin in the order they came. The tag is told to [`Tags`] only when nobody waits any more:
//! until then later writes find the chunk unpreserved and get in line, and nobody overtakes.
//!
//! A write owns all its chunks at once, taken in ascending order, so no two wait for each other.
//!
//! An exclusive change (see `exclusive`) owns its chunks, preserved or not, until it has ended.

use std::collections::{HashMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::tags::Tags;
use crate::units::{ChunkIndex, Epoch};

const SHARDS: usize = 16;

#[derive(Default)]
struct Entry {
    /// Preserved under this tag, and not told to the tags yet; 0 where it is not.
    tag: Epoch,
    waiting: VecDeque<oneshot::Sender<()>>,
}

/// The chunks that have an owner.
pub struct Pending {
    tags: Tags,
    shards: [Mutex<HashMap<u32, Entry>>; SHARDS],
}

/// Chunks owned by one write; dropping passes them on.
pub struct Owned<'a> {
    pending: &'a Pending,
    first: ChunkIndex,
    /// How many, counted while they are taken.
    count: u32,
}

impl Pending {
    /// No chunk has an owner.
    pub fn new(tags: Tags) -> Self {
        Self { tags, shards: Default::default() }
    }

    /// The tag of a chunk, as told when it last had no owner.
    pub fn tag(&self, chunk: ChunkIndex) -> Epoch {
        self.tags.get(chunk)
    }

    /// Owns `chunks`, waiting for each in line.
    pub async fn own(&self, chunks: RangeInclusive<u32>) -> Owned<'_> {
        let mut owned = Owned { pending: self, first: ChunkIndex(*chunks.start()), count: 0 };
        for chunk in chunks {
            if let Some(turn) = self.own_or_wait(chunk) {
                turn.await.expect("an owner passes on");
            }
            owned.count += 1;
        }
        owned
    }

    fn own_or_wait(&self, chunk: u32) -> Option<oneshot::Receiver<()>> {
        use std::collections::hash_map::Entry::{Occupied, Vacant};
        match self.shard(chunk).entry(chunk) {
            Vacant(vacant) => {
                vacant.insert(Entry::default());
                None
            }
            Occupied(mut occupied) => {
                let (pass, turn) = oneshot::channel();
                occupied.get_mut().waiting.push_back(pass);
                Some(turn)
            }
        }
    }

    fn pass_on(&self, chunk: u32) {
        let mut shard = self.shard(chunk);
        let entry = shard.get_mut(&chunk).expect("an owned chunk has an entry");
        while let Some(next) = entry.waiting.pop_front() {
            if next.send(()).is_ok() {
                return;
            }
        }
        if entry.tag > Epoch(0) {
            self.tags.raise(ChunkIndex(chunk), entry.tag);
        }
        shard.remove(&chunk);
    }

    fn shard(&self, chunk: u32) -> MutexGuard<'_, HashMap<u32, Entry>> {
        self.shards[chunk as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owned<'_> {
    /// The chunks.
    pub fn chunks(&self) -> impl Iterator<Item = ChunkIndex> + use<> {
        (self.first.0..=self.first.0 + (self.count - 1)).map(ChunkIndex)
    }

    /// The highest tag under which an owned chunk was preserved.
    pub fn tag(&self, chunk: ChunkIndex) -> Epoch {
        let tag = self.pending.shard(chunk.0).get(&chunk.0).map(|entry| entry.tag);
        tag.unwrap_or_default().max(self.pending.tags.get(chunk))
    }

    /// An owned chunk was preserved under `tag`, durably.
    pub fn set_tag(&self, chunk: ChunkIndex, tag: Epoch) {
        if let Some(entry) = self.pending.shard(chunk.0).get_mut(&chunk.0) {
            entry.tag = tag;
        }
    }
}

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        for index in 0..self.count {
            self.pending.pass_on(self.first.0 + index);
        }
    }
}
