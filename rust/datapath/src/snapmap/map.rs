//! The exceptions in memory: what of them is durable, and no more.
//!
//! Sharded by chunk; a shard is locked for one look-up or one insertion. 16 bytes an exception, and
//! nothing for a chunk that was never preserved.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use super::layout::{Place, Record, Slot};
use super::live::LiveSet;
use crate::units::{ChunkIndex, Epoch};

const SHARDS: usize = 64;
/// Neighbouring chunks share a shard, so that a range look-up stays in few.
const CHUNKS_TOGETHER: u32 = 64;
const ZERO_SLOT: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Stored {
    slot: u32,
    data_crc: u32,
}

/// By chunk, then tag.
type Shard = BTreeMap<(u32, u32), Stored>;

/// The exceptions of a store.
#[derive(Debug)]
pub struct ExceptionMap {
    shards: Vec<RwLock<Shard>>,
    count: AtomicU64,
}

impl ExceptionMap {
    /// No exceptions.
    pub fn new() -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::default()).collect();
        Self { shards, count: AtomicU64::new(0) }
    }

    /// How many exceptions there are.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The exception of `chunk` with the smallest tag >= `epoch`.
    pub fn find(&self, chunk: ChunkIndex, epoch: Epoch) -> Option<Record> {
        let shard = self.shard(chunk).read().unwrap_or_else(PoisonError::into_inner);
        let (&(_, tag), stored) = shard.range((chunk.0, epoch.0)..=(chunk.0, u32::MAX)).next()?;
        let (tag, place) = (Epoch(tag), place_of(stored.slot));
        Some(Record { chunk, tag, place, data_crc: stored.data_crc })
    }

    /// The next lower tag of the chunk that `record` is of; 0 where there is none.
    pub fn tag_below(&self, record: &Record) -> Epoch {
        let shard = self.shard(record.chunk).read().unwrap_or_else(PoisonError::into_inner);
        let lower = shard.range((record.chunk.0, 0)..(record.chunk.0, record.tag.0)).next_back();
        Epoch(lower.map_or(0, |(&(_, tag), _)| tag))
    }

    /// Whether exactly this exception is there.
    pub fn contains(&self, record: &Record) -> bool {
        let shard = self.shard(record.chunk).read().unwrap_or_else(PoisonError::into_inner);
        shard.get(&(record.chunk.0, record.tag.0)).is_some_and(|stored| {
            place_of(stored.slot) == record.place && stored.data_crc == record.data_crc
        })
    }

    /// Adds a durable exception if `live` (asked under the shard's lock) still has a use for it.
    /// Returns a slot that nobody reads any more: this one's, or that of one it replaces.
    pub fn publish<L: AsRef<LiveSet>>(
        &self,
        record: &Record,
        live: impl FnOnce() -> L,
    ) -> Option<Slot> {
        let mut shard = self.shard(record.chunk).write().unwrap_or_else(PoisonError::into_inner);
        let lower = shard.range((record.chunk.0, 0)..(record.chunk.0, record.tag.0)).next_back();
        let above = Epoch(lower.map_or(0, |(&(_, tag), _)| tag));
        if !live().as_ref().keeps(record.chunk, above, record.tag) {
            return slot_of(record.place);
        }
        self.put(&mut shard, record)
    }

    /// Adds an exception, live or not; recovery sweeps afterwards.
    pub fn insert(&self, record: &Record) {
        let mut shard = self.shard(record.chunk).write().unwrap_or_else(PoisonError::into_inner);
        self.put(&mut shard, record);
    }

    fn put(&self, shard: &mut Shard, record: &Record) -> Option<Slot> {
        let slot = slot_of(record.place).map_or(ZERO_SLOT, |slot| slot.0);
        let stored = Stored { slot, data_crc: record.data_crc };
        let replaced = shard.insert((record.chunk.0, record.tag.0), stored);
        if replaced.is_none() {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        replaced.and_then(|old| slot_of(place_of(old.slot)))
    }

    /// Removes every exception that `live` has no use for, and hands its slot, if it has one, to
    /// `free`. One shard is locked at a time.
    pub fn sweep(&self, live: &LiveSet, mut free: impl FnMut(Slot)) {
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            let mut lower = (0, 0);
            let before = shard.len();
            shard.retain(|&(chunk, tag), stored| {
                let above = if lower.0 == chunk { lower.1 } else { 0 };
                lower = (chunk, tag);
                let keep = live.keeps(ChunkIndex(chunk), Epoch(above), Epoch(tag));
                if !keep && let Some(slot) = slot_of(place_of(stored.slot)) {
                    free(slot);
                }
                keep
            });
            self.count.fetch_sub((before - shard.len()) as u64, Ordering::Relaxed);
        }
    }

    /// Calls `visit` with every exception, in no order.
    pub fn for_each(&self, mut visit: impl FnMut(Record)) {
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            shard.iter().map(record_of).for_each(&mut visit);
        }
    }

    /// Calls `visit` with the exceptions of `first` and the chunks after it, by chunk and tag, until
    /// it breaks. Costs what is visited, not what there is. One shard is locked at a time, so what is
    /// published or swept during the walk may be visited or not.
    pub fn walk(&self, first: ChunkIndex, mut visit: impl FnMut(Record) -> ControlFlow<()>) {
        let following = |shard: usize, chunk: u32| {
            let shard = self.shards[shard].read().unwrap_or_else(PoisonError::into_inner);
            shard.range((chunk, 0)..).next().map(|(&(chunk, _), _)| chunk)
        };
        let heads =
            (0..SHARDS).filter_map(|shard| Some(Reverse((following(shard, first.0)?, shard))));
        let mut heads: BinaryHeap<Reverse<(u32, usize)>> = heads.collect();
        let mut together = Vec::new();
        while let Some(Reverse((chunk, shard))) = heads.pop() {
            let last = chunk | (CHUNKS_TOGETHER - 1);
            let locked = self.shards[shard].read().unwrap_or_else(PoisonError::into_inner);
            together.extend(locked.range((chunk, 0)..=(last, u32::MAX)).map(record_of));
            drop(locked);
            for record in together.drain(..) {
                if visit(record).is_break() {
                    return;
                }
            }
            let next = last.checked_add(1).and_then(|next| following(shard, next));
            heads.extend(next.map(|next| Reverse((next, shard))));
        }
    }

    fn shard(&self, chunk: ChunkIndex) -> &RwLock<Shard> {
        &self.shards[(chunk.0 / CHUNKS_TOGETHER) as usize % SHARDS]
    }
}

fn record_of((&(chunk, tag), stored): (&(u32, u32), &Stored)) -> Record {
    Record {
        chunk: ChunkIndex(chunk),
        tag: Epoch(tag),
        place: place_of(stored.slot),
        data_crc: stored.data_crc,
    }
}

fn place_of(slot: u32) -> Place {
    if slot == ZERO_SLOT { Place::Zeros } else { Place::At(Slot(slot)) }
}

fn slot_of(place: Place) -> Option<Slot> {
    match place {
        Place::At(slot) => Some(slot),
        Place::Zeros => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::snapmap::live::LivePoint;

    fn record(chunk: u32, tag: u32, slot: u32) -> Record {
        let (chunk, tag) = (ChunkIndex(chunk), Epoch(tag));
        Record { chunk, tag, place: Place::At(Slot(slot)), data_crc: 0 }
    }

    fn live(points: &[(u32, u32, u32)]) -> Arc<LiveSet> {
        let point = |&(epoch, first, last): &(u32, u32, u32)| LivePoint {
            epoch: Epoch(epoch),
            first: ChunkIndex(first),
            last: ChunkIndex(last),
        };
        Arc::new(LiveSet::new(points.iter().map(point).collect()))
    }

    fn swept(map: &ExceptionMap, live: &LiveSet) -> Vec<u32> {
        let mut freed = Vec::new();
        map.sweep(live, |slot| freed.push(slot.0));
        freed
    }

    #[test]
    fn the_smallest_tag_not_below_the_epoch_is_read() {
        let map = ExceptionMap::new();
        map.insert(&record(7, 2, 10));
        map.insert(&record(7, 5, 11));
        map.insert(&record(8, 1, 12));
        let found = |epoch| map.find(ChunkIndex(7), Epoch(epoch)).map(|found| found.tag.0);
        assert_eq!(
            [found(1), found(2), found(3), found(5), found(6)],
            [Some(2), Some(2), Some(5), Some(5), None]
        );
    }

    #[test]
    fn a_walk_goes_by_chunk_and_tag_and_visits_no_more_than_it_is_let() {
        let map = ExceptionMap::new();
        // In one shard, in its neighbour, in the same shard 64 groups on, and at the very end.
        for (chunk, tag) in [(70, 2), (3, 5), (3, 1), (63, 1), (64 * 64 + 1, 1), (u32::MAX, 9)] {
            map.insert(&record(chunk, tag, chunk));
        }
        let walk = |first, most| {
            let mut visited = Vec::new();
            map.walk(ChunkIndex(first), |record| {
                visited.push((record.chunk.0, record.tag.0));
                if visited.len() < most {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            });
            visited
        };
        let all = [(3, 1), (3, 5), (63, 1), (70, 2), (4097, 1), (u32::MAX, 9)];
        assert_eq!(walk(0, 100), all);
        assert_eq!(walk(3, 2), all[..2]);
        assert_eq!(walk(4, 100), all[2..]);
        assert_eq!(walk(71, 1), all[4..5]);
        assert_eq!(walk(u32::MAX, 100), all[5..]);
    }

    #[test]
    fn a_sweep_frees_what_no_live_snapshot_reads() {
        let map = ExceptionMap::new();
        for (chunk, tag, slot) in [(7, 2, 10), (7, 5, 11), (7, 9, 12), (8, 5, 13), (9, 2, 14)] {
            map.insert(&record(chunk, tag, slot));
        }
        // Epoch 4 covers chunk 7 and reads tag 5; epoch 2 covers chunk 9 only.
        assert_eq!(swept(&map, &live(&[(4, 7, 7), (2, 9, 9)])), [10, 12, 13]);
        assert_eq!(map.count(), 2);
        assert_eq!(swept(&map, &live(&[])), [11, 14]);
    }

    #[test]
    fn an_exception_that_died_on_its_way_is_not_published() {
        let map = ExceptionMap::new();
        assert_eq!(map.publish(&record(1, 3, 20), || live(&[(4, 0, 9)])), Some(Slot(20)));
        assert_eq!(map.publish(&record(1, 4, 21), || live(&[(4, 0, 9)])), None);
        assert_eq!(map.count(), 1);
    }
}
