//! Counts of a logical unit's commands, kept so that sessions on different cores do not share a
//! cache line.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use serde::Serialize;

use super::cdb::Direction;
use super::request::NexusId;

/// Sessions are spread over this many copies; more cores than this rarely share a unit.
const SHARDS: usize = 16;

/// Commands and bytes of one logical unit that took the fast path.
#[derive(Debug, Default)]
pub struct UnitCounters {
    shards: [CachePadded<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    reads: AtomicU64,
    read_bytes: AtomicU64,
    read_ns: AtomicU64,
    writes: AtomicU64,
    written_bytes: AtomicU64,
    write_ns: AtomicU64,
    declined: AtomicU64,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UnitCounts {
    /// READ commands completed.
    pub reads: u64,
    /// Bytes they read.
    pub read_bytes: u64,
    /// Nanoseconds they took, summed.
    pub read_ns: u64,
    /// WRITE commands completed.
    pub writes: u64,
    /// Bytes they wrote.
    pub written_bytes: u64,
    /// Nanoseconds they took, summed.
    pub write_ns: u64,
    /// Commands handed to the command set.
    pub declined: u64,
}

impl UnitCounters {
    pub(super) fn completed(
        &self,
        nexus: NexusId,
        direction: Direction,
        bytes: u64,
        took: Duration,
    ) {
        let shard = self.shard(nexus);
        let (commands, total, total_ns) = match direction {
            Direction::Read => (&shard.reads, &shard.read_bytes, &shard.read_ns),
            Direction::Write => (&shard.writes, &shard.written_bytes, &shard.write_ns),
        };
        let took_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        commands.fetch_add(1, Ordering::Relaxed);
        total.fetch_add(bytes, Ordering::Relaxed);
        total_ns.fetch_add(took_ns, Ordering::Relaxed);
    }

    pub(super) fn declined(&self, nexus: NexusId) {
        self.shard(nexus).declined.fetch_add(1, Ordering::Relaxed);
    }

    fn shard(&self, nexus: NexusId) -> &Shard {
        &self.shards[nexus.0 as usize % SHARDS]
    }

    /// The sums over all sessions; each is exact, together they are not one point in time.
    pub fn counts(&self) -> UnitCounts {
        let sum = |field: fn(&Shard) -> &AtomicU64| {
            self.shards.iter().map(|shard| field(shard).load(Ordering::Relaxed)).sum()
        };
        UnitCounts {
            reads: sum(|shard| &shard.reads),
            read_bytes: sum(|shard| &shard.read_bytes),
            read_ns: sum(|shard| &shard.read_ns),
            writes: sum(|shard| &shard.writes),
            written_bytes: sum(|shard| &shard.written_bytes),
            write_ns: sum(|shard| &shard.write_ns),
            declined: sum(|shard| &shard.declined),
        }
    }
}
