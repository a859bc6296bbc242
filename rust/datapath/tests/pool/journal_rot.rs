//! One byte of a degraded set's journal is wrong after a kill: what the missing member held comes back
//! right, or the open is refused.

use bytes::{Bytes, BytesMut};
use datapath::block_io::BlockIo;
use datapath::error::PoolError;
use datapath::member::{Power, SimulatedMember};
use datapath::pool::{Pool, inspect};
use datapath::stripe::Level;

use crate::support::*;

const LOST: usize = 2;
const STRIP: u64 = 16 << 10;

/// A set without member `LOST`, killed after changes of one stripe each.
fn killed() -> Vec<SimulatedMember> {
    let members = simulated(4, &Power::new());
    let handles = members.clone();
    run(1, async move {
        let pool = create(members, Level::Raid5).await;
        write(&**pool.set(), 0, 1, 24 * STRIP).await;
        pool.fail_member(&format!("m{LOST}")).await.unwrap();
        for change in 0..4 {
            write(&**pool.set(), change * 6 * STRIP, 2, STRIP).await;
        }
    });
    restarted(&handles, &[LOST])
}

async fn flip(member: &SimulatedMember, at: u64) {
    let sector = at / 512 * 512;
    let (outcome, mut bytes) = member.read_at(sector, BytesMut::zeroed(512)).await;
    outcome.unwrap();
    bytes[(at - sector) as usize] ^= 0x10;
    member.write_at(sector, Bytes::from(bytes)).await.unwrap();
}

/// What an open finds with the byte at `at` of the first member flipped.
fn opened_with(at: u64) -> Result<(), PoolError> {
    let members = killed();
    run(2, async move {
        flip(&members[0], at).await;
        let (pool, _) = Pool::open_available(members).await?;
        let found = read(&**pool.set(), 0, 24 * STRIP).await;
        for (strip, content) in found.chunks(STRIP as usize).enumerate() {
            let byte = if strip % 6 == 0 { 2 } else { 1 };
            assert!(content.iter().all(|one| *one == byte), "byte {at}: strip {strip}");
        }
        Ok(())
    })
}

#[test]
fn a_damaged_record_is_told_from_a_torn_one() {
    let members = killed();
    let (journal, records) = run(3, async move {
        let dump = inspect::dump(&members[0]).await.unwrap();
        let records: Vec<_> =
            dump.member.journal.unwrap().records.iter().map(|one| one.place.address).collect();
        (dump.member.layout.unwrap().journal_address, records)
    });
    assert_eq!(records.len(), 4);
    for at in (0..512).step_by(37) {
        opened_with(journal + at).unwrap();
    }
    for (index, record) in records.iter().enumerate() {
        for at in (0..1024).step_by(101) {
            match opened_with(record + at) {
                Err(PoolError::Damaged(reason)) => assert!(index < 3, "{reason}"),
                // Nothing proves that the last one was flushed; its change is in place.
                Ok(()) => assert_eq!(index, 3),
                Err(other) => panic!("{other}"),
            }
        }
    }
}
