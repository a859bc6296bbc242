//! Comparing copies and parity: what differs is found, with its address and members, and what is
//! being written is not taken for it.

use bytes::Bytes;
use datapath::block_io::BlockIo;
use datapath::error::{IoError, PoolError};
use datapath::limits::MISMATCHES_MAX;
use datapath::member::{Power, SimulatedMember};
use datapath::simulation::{Random, spawn, yield_now};
use datapath::stripe::{Level, Mismatch};

use crate::support::*;

/// Changes a sector behind the set's back.
async fn overwrite(member: &SimulatedMember, address: u64) {
    let mut sector = read(member, address, 512).await.to_vec();
    sector[100] ^= 1;
    member.write_at(address, Bytes::from(sector)).await.unwrap();
}

#[test]
fn what_differs_is_named_with_its_address_and_members() {
    for (level, count) in shapes() {
        let members = simulated(count, &Power::new());
        run(1, async move {
            let pool = create(members.clone(), level).await;
            write(&**pool.set(), 0, 7, 200 << 10).await;
            let clean = pool.compare().await.unwrap();
            assert_eq!(clean.mismatches, []);
            assert_eq!(clean.compared_bytes > 0, level.is_redundant(), "{level}");
            // What was never written is not read.
            assert!(clean.compared_bytes < MEMBER_BYTES / 2, "{level}: {clean:?}");
            let at = pool.set().layout().data_address + (36 << 10);
            overwrite(&members[count - 1], at + 1024).await;
            let found = pool.compare().await.unwrap();
            let disagreeing = match level {
                Level::Raid0 => vec![],
                Level::Raid10 => vec!["m2", "m3"],
                Level::Raid1 | Level::Raid5 => {
                    members.iter().map(datapath::member::Member::name).collect()
                }
            };
            let members = disagreeing.iter().map(|name| (*name).to_owned()).collect();
            let wanted = Mismatch { address: at, length_bytes: 4096, members };
            match level {
                Level::Raid0 => assert_eq!(found.mismatches, []),
                _ => assert_eq!(found.mismatches, [wanted], "{level}"),
            }
            assert_eq!(found.mismatched_bytes, if level.is_redundant() { 4096 } else { 0 });
        });
    }
}

#[test]
fn many_differences_are_counted_and_a_few_are_listed() {
    let members = simulated(2, &Power::new());
    run(1, async move {
        let pool = create(members.clone(), Level::Raid1).await;
        let at = pool.set().layout().data_address;
        for cell in 0..3 * MISMATCHES_MAX as u64 {
            overwrite(&members[1], at + cell * 8192).await;
        }
        let found = pool.compare().await.unwrap();
        assert_eq!(found.mismatches.len(), MISMATCHES_MAX);
        assert_eq!(found.mismatched_bytes, 3 * MISMATCHES_MAX as u64 * 4096);
    });
}

#[test]
fn what_is_being_written_is_no_difference() {
    for (level, count) in shapes().into_iter().filter(|(level, _)| level.is_redundant()) {
        for seed in 0..4 {
            let members = simulated(count, &Power::new());
            let members = members.into_iter().enumerate();
            let members = members.map(|(n, member)| member.with_delays(seed + n as u64)).collect();
            run(seed, async move {
                let pool = create(members, level).await;
                let mut tasks = Vec::new();
                for task in 0..4 {
                    let pool = pool.clone();
                    tasks.push(spawn(async move {
                        let mut random = Random::new(seed * 10 + task);
                        for round in 0..30 {
                            // Two writes of one range at the same time have no order on any copy.
                            let at = (task * 64 + random.below(63)) * 4096;
                            write(&**pool.set(), at, round, 8192).await;
                        }
                    }));
                }
                for _ in 0..6 {
                    assert_eq!(mismatches(&pool).await, [], "{level}, seed {seed}");
                }
                for task in tasks {
                    task.await;
                }
                assert_eq!(mismatches(&pool).await, [], "{level}, seed {seed}");
            });
        }
    }
}

#[test]
fn a_pool_that_is_closed_ends_its_comparison() {
    let power = Power::new();
    let members: Vec<_> = simulated(2, &power).into_iter().map(|m| m.with_delays(1)).collect();
    run(1, async move {
        let pool = create(members, Level::Raid1).await;
        for at in 0..5 {
            write(&**pool.set(), at << 20, 1, 1 << 20).await;
        }
        let comparing = pool.clone();
        let comparison = spawn(async move { comparing.compare().await });
        yield_now().await;
        pool.close().await.unwrap();
        assert_eq!(comparison.await.unwrap_err(), PoolError::Io(IoError::Closed));
    });
}
