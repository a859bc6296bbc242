//! Reads whose content is judged: what one member holds wrongly comes from the others, and is
//! rewritten; what no member can give is called wrong, and nothing is written.

use bytes::{Bytes, BytesMut};
use datapath::block_io::{BlockIo, Verdict};
use datapath::member::{Member, Power, SimulatedMember};
use datapath::pool::Pool;
use datapath::simulation::Random;
use datapath::stripe::{Level, MemberState, SetEvent};

use crate::support::*;

const OFFSET: u64 = 40 << 10;
const LENGTH: u64 = 88 << 10;

fn content(seed: u64) -> Bytes {
    let mut bytes = vec![0; LENGTH as usize];
    Random::new(seed).fill(&mut bytes);
    Bytes::from(bytes)
}

async fn written<M: Member>(members: Vec<M>, level: Level) -> std::sync::Arc<Pool<M>> {
    let pool = create(members, level).await;
    pool.set().write_at(OFFSET, content(1)).await.unwrap();
    pool.set().flush().await.unwrap();
    pool
}

async fn judged<M: Member>(pool: &Pool<M>) -> (Verdict, bool) {
    let wanted = content(1);
    let buffer = BytesMut::zeroed(LENGTH as usize);
    let (verdict, found) =
        pool.set().read_verified(OFFSET, buffer, |found| found == &wanted[..]).await;
    (verdict.unwrap(), found[..] == wanted[..])
}

/// Flips a bit of the data area.
async fn flip(pool: &Pool<SimulatedMember>, member: &SimulatedMember, at: u64) {
    let at = pool.set().layout().data_address + at;
    let mut sector = read(member, at / 512 * 512, 512).await.to_vec();
    sector[(at % 512) as usize] ^= 4;
    member.write_at(at / 512 * 512, Bytes::from(sector)).await.unwrap();
}

fn repairs<M: Member>(pool: &Pool<M>) -> Vec<u64> {
    pool.status().members.iter().map(|member| member.repairs).collect()
}

#[test]
fn a_flipped_bit_of_any_member_is_read_from_the_others_and_repaired() {
    for (level, count) in shapes() {
        let members = simulated(count, &Power::new());
        run(1, async move {
            let pool = written(members.clone(), level).await;
            let mut repaired = 0;
            for (role, member) in members.iter().enumerate() {
                for at in (0..OFFSET + LENGTH).step_by(6 << 10) {
                    flip(&pool, member, at).await;
                    let before = repairs(&pool);
                    let (verdict, is_right) = judged(&*pool).await;
                    match verdict {
                        Verdict::Repaired => {
                            repaired += 1;
                            assert!(is_right && level.is_redundant(), "{level}, {role}, {at}");
                            assert_eq!(repairs(&pool)[role], before[role] + 1);
                            let again = judged(&*pool).await;
                            assert_eq!(again, (Verdict::Right, true), "{level}, {role}, {at}");
                        }
                        // It is not among what is read.
                        Verdict::Right => {
                            assert!(is_right, "{level}, {role}, {at}");
                            flip(&pool, member, at).await;
                        }
                        Verdict::Wrong => {
                            assert!(!level.is_redundant(), "{level}, {role}, {at}");
                            flip(&pool, member, at).await;
                        }
                    }
                }
            }
            assert_eq!(mismatches(&pool).await, [], "{level}");
            assert_eq!(repaired > 0, level.is_redundant(), "{level}");
            let events = pool.take_events();
            assert_eq!(events.len(), repaired);
            assert!(events.iter().all(|event| matches!(event, SetEvent::Repaired { .. })));
        });
    }
}

#[test]
fn two_members_may_be_wrong_in_different_places() {
    for level in [Level::Raid1, Level::Raid10, Level::Raid5] {
        let count = level.members_min();
        let members = simulated(count, &Power::new());
        run(1, async move {
            let pool = written(members.clone(), level).await;
            let base = if level == Level::Raid1 { OFFSET } else { OFFSET / 2 };
            let mut repaired = 0;
            for (one, other) in [(0, 1), (count - 2, count - 1)] {
                // Different stripes.
                flip(&pool, &members[one], base + (2 << 10)).await;
                flip(&pool, &members[other], base + (22 << 10)).await;
                let (verdict, is_right) = judged(&*pool).await;
                assert!(is_right, "{level}: {verdict:?}");
                repaired += u32::from(verdict == Verdict::Repaired);
            }
            assert!(repaired > 0, "{level}");
        });
    }
}

#[test]
fn what_no_member_can_give_is_wrong_and_stays_as_it_is() {
    for level in [Level::Raid1, Level::Raid10, Level::Raid5] {
        let members = simulated(level.members_min(), &Power::new());
        run(1, async move {
            let pool = written(members.clone(), level).await;
            for (role, member) in members.iter().enumerate() {
                // In raid5, equal flips of two members would cancel each other.
                flip(&pool, member, OFFSET / 2 + (20 << 10) + role as u64).await;
                if level != Level::Raid5 {
                    flip(&pool, member, OFFSET + (20 << 10)).await;
                }
            }
            let mut held = Vec::new();
            for member in &members {
                held.push(read(member, 0, MEMBER_BYTES).await);
            }
            assert_eq!(judged(&*pool).await, (Verdict::Wrong, false), "{level}");
            for (member, held) in members.iter().zip(held) {
                assert!(read(member, 0, MEMBER_BYTES).await == held, "{level}");
            }
            assert!(repairs(&pool).iter().all(|count| *count == 0));
        });
    }
}

#[test]
fn a_degraded_set_gives_what_is_left() {
    for level in [Level::Raid1, Level::Raid10, Level::Raid5] {
        let members = simulated(level.members_min(), &Power::new());
        run(1, async move {
            let pool = written(members.clone(), level).await;
            pool.fail_member("m0").await.unwrap();
            assert_eq!(judged(&*pool).await, (Verdict::Right, true), "{level}");
            flip(&pool, &members[0], OFFSET / 2 + (20 << 10)).await;
            assert_eq!(judged(&*pool).await, (Verdict::Right, true), "{level}");
            for at in (0..OFFSET + LENGTH).step_by(4 << 10) {
                flip(&pool, &members[1], at).await;
            }
            assert_eq!(judged(&*pool).await, (Verdict::Wrong, false), "{level}");
            assert_eq!(pool.status().members[0].state, MemberState::Failed);
        });
    }
}

#[test]
fn a_write_that_comes_between_is_not_undone() {
    let members = simulated(2, &Power::new());
    run(1, async move {
        let pool = written(members.clone(), Level::Raid1).await;
        for at in (OFFSET..OFFSET + LENGTH).step_by(4 << 10) {
            flip(&pool, &members[0], at).await;
        }
        let (wanted, buffer) = (content(1), BytesMut::zeroed(LENGTH as usize));
        let reading = pool.set().read_verified(OFFSET, buffer, |found| found == &wanted[..]);
        let writing = pool.set().write_at(OFFSET, content(2));
        let (_, written) = futures_util::future::join(reading, writing).await;
        written.unwrap();
        for member in &members {
            let at = pool.set().layout().data_address + OFFSET;
            assert!(read(member, at, LENGTH).await == content(2));
        }
    });
}
