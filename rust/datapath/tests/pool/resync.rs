//! After an unclean stop, regions that were being written are made equal again: without losing metadata
//! in them that was flushed long ago and that one member has damaged since.

use bytes::Bytes;
use datapath::block_io::BlockIo;
use datapath::checksum::crc32c;
use datapath::member::Power;
use datapath::pool::Pool;
use datapath::self_checked::{CELL_BYTES, MAP_COMMIT, MAP_LOG};

use crate::support::*;

const CELLS: u64 = 24;

/// A cell that proves itself: every second one as a commit slot, the others as blocks of a log.
fn cell(number: u64) -> Bytes {
    let mut bytes = vec![number as u8; CELL_BYTES];
    let kind = if number.is_multiple_of(2) { MAP_COMMIT } else { MAP_LOG };
    bytes[..8].copy_from_slice(&kind.magic);
    let (from, to) = (kind.checksum_at, kind.checksum_at + 4);
    bytes[from..to].fill(0);
    let covered = if to == kind.bytes { from } else { kind.bytes };
    let checksum = crc32c(&bytes[..covered]);
    bytes[from..to].copy_from_slice(&checksum.to_le_bytes());
    Bytes::from(bytes)
}

#[test]
fn a_resync_keeps_metadata_that_proves_itself_on_any_member() {
    for (level, count) in shapes().into_iter().filter(|(level, _)| level.is_redundant()) {
        let members = simulated(count, &Power::new());
        let prepared = members.clone();
        run(1, async move {
            let pool = create(members, level).await;
            for number in 0..CELLS {
                let at = number * CELL_BYTES as u64;
                pool.set().write_at(at, cell(number)).await.unwrap();
            }
            pool.set().flush().await.unwrap();
            // Not closed: the region is still marked.
        });
        for damaged in 0..count {
            for at in (0..CELLS).step_by(3) {
                let members = restarted(&prepared, &[]);
                let handles = members.clone();
                run(2, async move {
                    let layout = Pool::open(restarted(&handles, &[])).await.unwrap().set().layout();
                    let address = layout.data_address + at * CELL_BYTES as u64;
                    let mut sector = read(&handles[damaged], address, 512).await.to_vec();
                    sector[300] ^= 0x10;
                    handles[damaged].write_at(address, Bytes::from(sector)).await.unwrap();
                    let pool = Pool::open(members).await.unwrap();
                    for number in 0..CELLS {
                        let found = read(&**pool.set(), number * CELL_BYTES as u64, 4096).await;
                        assert!(found == cell(number), "{level}, {damaged}, {at}: {number}");
                    }
                    assert_eq!(mismatches(&pool).await, [], "{level}, {damaged}, {at}");
                });
            }
        }
    }
}
