//! Writes of many chunks while the store has room for some of them.

use datapath::block_io::BlockIo;
use datapath::error::IoError;
use datapath::member::Power;
use datapath::simulation::Simulation;
use datapath::snapshot::{FullPolicy, PointRange};

use super::support::*;

const CHUNK_BYTES: u64 = 4 << 10;
const CHUNK_SECTORS: u64 = CHUNK_BYTES / SECTOR;
const CHUNKS: u64 = 40;
const RANGE: PointRange = PointRange { first_byte: 0, length_bytes: CHUNKS * CHUNK_BYTES };
/// Far more steps than a run needs: one that goes round in circles loses its power and is stuck.
const STEPS_MAX: u64 = 20_000;

/// Writes over a snapshot of all with `chunks` chunks at a time, in a store of `limit_chunks`.
fn overwrite(limit_chunks: u64, chunks: u64, policy: FullPolicy) {
    let power = Power::cut_at(STEPS_MAX);
    let mut rig = Rig::new(CHUNKS * CHUNK_BYTES, CHUNK_BYTES, limit_chunks, &power);
    rig.policy = policy;
    let outcome = Simulation::new(limit_chunks).run(async move {
        let engine = rig.format().await;
        engine.write_at(0, stamped(1, CHUNKS * CHUNK_SECTORS)).await.unwrap();
        let epoch = take_snapshot(&engine, &rig.catalog, RANGE, |_| {}).await.unwrap();
        for first in (0..CHUNKS).step_by(chunks as usize) {
            let sectors = chunks.min(CHUNKS - first) * CHUNK_SECTORS;
            let written = engine.write_at(first * CHUNK_BYTES, stamped(2, sectors)).await;
            match policy {
                FullPolicy::DropSnapshot => written.unwrap(),
                FullPolicy::FailWrite => {
                    assert!(matches!(written, Ok(()) | Err(IoError::StoreFull)), "{written:?}");
                    let image = engine.image(epoch).unwrap();
                    let read = read_stamps(&image, 0, CHUNKS * CHUNK_SECTORS).await.unwrap();
                    assert!(read.iter().all(|stamp| *stamp == 1), "the snapshot suffered");
                }
            }
        }
        assert_eq!(engine.check().await.unwrap().problems, Vec::<String>::new());
    });
    outcome.unwrap_or_else(|stuck| panic!("{limit_chunks}, {chunks}, {policy:?}: {stuck}"));
}

#[test]
fn a_write_of_many_chunks_ends_however_little_room_there_is() {
    for limit_chunks in 10..CHUNKS + 8 {
        for chunks in [1, 2, 3, 5, 16, 23] {
            overwrite(limit_chunks, chunks, FullPolicy::DropSnapshot);
            overwrite(limit_chunks, chunks, FullPolicy::FailWrite);
        }
    }
}
