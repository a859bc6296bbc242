//! Which members an import refuses, and what it says.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use datapath::block_io::BlockIo;
use datapath::error::PoolError;
use datapath::member::{Power, SimulatedMember};
use datapath::pool::Pool;
use datapath::stripe::mark::{self, Mark};
use datapath::stripe::{Level, Opening};

use crate::support::*;

/// A closed raid5 pool of four, one block written.
fn pool_of_four(name_offset: u64) -> Vec<SimulatedMember> {
    let members = simulated(4, &Power::new());
    let handles = members.clone();
    run(name_offset, async move {
        let pool = create(members, Level::Raid5).await;
        let id = pool.create_space(1 << 20).await.unwrap();
        write(&*pool.space(id).unwrap(), 0, 0xA5, 4096).await;
        pool.close().await.unwrap();
    });
    restarted(&handles, &[])
}

fn open(members: Vec<SimulatedMember>) -> Result<Arc<Pool<SimulatedMember>>, PoolError> {
    run(0, async move { Pool::open(members).await })
}

fn refusal(members: Vec<SimulatedMember>) -> String {
    let error = open(members).map(|_| ()).unwrap_err();
    assert_eq!(error.code(), "member-refused", "{error}");
    error.to_string()
}

fn overwrite(member: &SimulatedMember, offset: u64, data: Vec<u8>) {
    let member = member.clone();
    run(0, async move { member.write_at(offset, Bytes::from(data)).await.unwrap() });
}

fn label(member: &SimulatedMember) -> Vec<u8> {
    let member = member.clone();
    run(0, async move { member.read_at(0, BytesMut::zeroed(4096)).await.1.to_vec() })
}

#[test]
fn members_are_taken_in_any_order() {
    let mut members = pool_of_four(1);
    members.reverse();
    members.swap(0, 2);
    let pool = open(members).unwrap();
    assert_eq!(pool.status().members[3].name, "m3");
    run(1, async move {
        let space = pool.space(datapath::pool::SpaceId(1)).unwrap();
        assert_eq!(read(&*space, 0, 4096).await, vec![0xA5; 4096]);
    });
}

#[test]
fn a_foreign_member_is_refused_wherever_it_stands() {
    for place in [0, 4] {
        let mut members = pool_of_four(1);
        members.insert(place, pool_of_four(2).swap_remove(2));
        assert!(refusal(members).contains("m2 is refused: it is foreign"));
    }
}

#[test]
fn a_member_given_twice_is_refused() {
    let mut members = pool_of_four(1);
    members.push(members[1].copy(&Power::new()));
    assert!(refusal(members).contains("m1 is refused: it is a duplicate"));
}

#[test]
fn a_member_that_was_away_is_stale() {
    let members = pool_of_four(1);
    let away = members[2].copy(&Power::new());
    let others = [0, 1, 3].map(|n: usize| members[n].clone()).to_vec();
    let pool = open(others.clone()).unwrap();
    run(1, async move { pool.close().await.unwrap() });
    let mut members = restarted(&others, &[]);
    members.push(away);
    assert!(refusal(members).contains("m2 is refused: it is stale: it failed"));
}

#[test]
fn an_old_copy_of_a_member_is_stale() {
    let members = pool_of_four(1);
    let old = members[2].copy(&Power::new());
    let pool = open(members.clone()).unwrap();
    run(1, async move { pool.close().await.unwrap() });
    let mut members = restarted(&members, &[2]);
    members.push(old);
    assert!(refusal(members).contains("m2 is refused: it is stale: its event count"));
}

#[test]
fn a_set_that_is_older_than_is_known_is_refused_with_nothing_written() {
    let members = simulated(3, &Power::new());
    let handles = members.clone();
    let known = run(1, async move {
        let pool = create(members, Level::Raid1).await;
        pool.fail_member("m1").await.unwrap();
        write(&**pool.set(), 0, 0xA5, 4096).await;
        pool.close().await.unwrap();
        pool.status().event
    });
    let open_as = |members: Vec<SimulatedMember>, at_least_event| {
        let opening = Opening { strict: false, at_least_event };
        run(1, async move { Pool::open_as(members, opening).await })
    };
    let (pool, _) = open_as(restarted(&handles, &[]), known).unwrap();
    assert!(pool.status().event > known);
    let stale = restarted(&handles, &[0, 2]);
    let before = label(&stale[0]);
    let error = open_as(stale.clone(), known).err().unwrap();
    assert_eq!(error.code(), "pool-unavailable");
    let text = error.to_string();
    let wanted = format!("the pool has reached {known}; not among these members is number 0 and");
    assert!(text.contains(&wanted), "{text}");
    assert_eq!(label(&stale[0]), before);
    open_as(stale, 0).unwrap();
}

#[test]
fn members_that_call_each_other_failed_are_not_put_together() {
    let members = simulated(2, &Power::new());
    let handles = members.clone();
    run(1, async move {
        let pool = create(members, Level::Raid1).await;
        pool.close().await.unwrap();
    });
    let halves: Vec<_> = (0..2)
        .map(|n| {
            let half = restarted(&handles, &[1 - n]);
            let pool = open(half.clone()).unwrap();
            run(1, async move { pool.close().await.unwrap() });
            half[0].copy(&Power::new())
        })
        .collect();
    assert!(refusal(halves.clone()).contains("call each other failed"));
    open(vec![halves[1].copy(&Power::new())]).unwrap();
}

#[test]
fn of_three_copies_that_were_used_apart_none_is_taken_by_itself() {
    let members = simulated(3, &Power::new());
    let handles = members.clone();
    run(1, async move {
        let pool = create(members, Level::Raid1).await;
        pool.close().await.unwrap();
    });
    let used = |without: &[usize]| {
        let part = restarted(&handles, without);
        let pool = open(part.clone()).unwrap();
        run(1, async move { pool.close().await.unwrap() });
        restarted(&part, &[])
    };
    let (alone, pair) = (used(&[1, 2]), used(&[0]));
    for order in [[0, 1, 2], [1, 0, 2], [2, 1, 0]] {
        let all = [&alone[0], &pair[0], &pair[1]];
        let given = order.map(|index| all[index].copy(&Power::new()));
        let opened = run(1, async move { Pool::open_available(given.to_vec()).await });
        let refusal = opened.map(|_| ()).unwrap_err().to_string();
        assert!(refusal.contains("m") && refusal.contains("is refused"), "{order:?}: {refusal}");
    }
    open(restarted(&pair, &[])).unwrap();
}

#[test]
fn one_label_copy_is_enough_and_the_other_is_repaired() {
    for address in [0, (1 << 20) - 4096] {
        let members = pool_of_four(1);
        overwrite(&members[1], address, vec![0xFF; 4096]);
        drop(open(members.clone()).unwrap());
        let other = (1 << 20) - 4096 - address;
        let members = restarted(&members, &[]);
        overwrite(&members[1], other, vec![0xFF; 4096]);
        open(members).unwrap();
    }
}

#[test]
fn damage_strangers_and_other_versions_are_told_apart() {
    let damaged = pool_of_four(1);
    for address in [0, (1 << 20) - 4096] {
        overwrite(&damaged[1], address + 512, vec![0xFF; 512]);
    }
    assert!(refusal(damaged).contains("m1 is refused: both copies of its label are damaged"));

    let mut stranger = pool_of_four(1);
    stranger[1] = SimulatedMember::new("blank", MEMBER_BYTES, &Power::new());
    assert!(refusal(stranger).contains("blank is refused: it is not a member of a pool"));

    let newer = pool_of_four(1);
    let mut block = label(&newer[1]);
    block[8] = 2;
    overwrite(&newer[1], 0, block);
    overwrite(&newer[1], (1 << 20) - 4096, vec![0; 4096]);
    assert!(refusal(newer).contains("m1 is refused: its label has format version 2"));
}

#[test]
fn a_member_that_shrank_is_refused() {
    let mut members = pool_of_four(1);
    let small = SimulatedMember::new("small", MEMBER_BYTES / 2, &Power::new());
    overwrite(&small, 0, label(&members[3]));
    members[3] = small;
    assert!(refusal(members).contains("small is refused: it is too small"));
}

#[test]
fn creation_refuses_what_it_should() {
    let taken = pool_of_four(1);
    let error = run(0, async move {
        Pool::create(taken, options(Level::Raid5, 4096)).await.map(|_| ()).unwrap_err()
    });
    assert!(error.to_string().contains("m0 is refused: it belongs to pool"), "{error}");

    let cases = [
        (2, Level::Raid5, 4096, "raid5 takes 3 to 24 members; 2 were given"),
        (5, Level::Raid10, 4096, "an even number"),
        (1, Level::Raid0, 5000, "a power of two"),
        (1, Level::Raid0, 2 << 20, "a power of two"),
    ];
    for (count, level, strip_bytes, text) in cases {
        let members = simulated(count, &Power::new());
        let created =
            run(0, async move { Pool::create(members, options(level, strip_bytes)).await });
        let error = created.map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(text) && error.code() == "invalid-argument", "{error}");
    }
    let small = vec![SimulatedMember::new("small", 4 << 20, &Power::new())];
    let created = run(0, async move { Pool::create(small, options(Level::Raid0, 4096)).await });
    assert!(
        created.map(|_| ()).unwrap_err().to_string().contains("small is refused: it is too small")
    );
    for name in ["", "a b", "a/b", "a@b", &"x".repeat(129)] {
        let options =
            datapath::pool::CreateOptions { name: name.to_owned(), ..options(Level::Raid0, 4096) };
        let members = simulated(1, &Power::new());
        let created = run(0, async move { Pool::create(members, options).await });
        assert_eq!(created.map(|_| ()).unwrap_err().code(), "invalid-argument", "{name:?}");
    }
}

#[test]
fn an_unclean_raid5_that_lost_a_member_in_addition_is_refused_by_name() {
    let members = pool_of_four(1);
    let pool = open(members.clone()).unwrap();
    run(1, async move {
        let space = pool.space(datapath::pool::SpaceId(1)).unwrap();
        write(&*space, 0, 0x5A, 512).await;
    });
    let error = open(restarted(&members, &[1])).map(|_| ()).unwrap_err();
    assert_eq!(error.code(), "pool-unavailable");
    assert!(error.to_string().contains("was not closed in order and member number 1 is missing"));
    open(restarted(&members, &[])).unwrap();
}

fn mark_of(member: &SimulatedMember) -> Mark {
    let member = member.clone();
    run(0, async move { mark::read(&member).await.unwrap() })
}

#[test]
fn a_destroyed_pool_leaves_its_members_free_until_something_is_made_over_them() {
    let members = pool_of_four(0);
    let Mark::Label { pool, event, .. } = mark_of(&members[0]) else {
        panic!("it is a member");
    };
    assert!(event > 0);
    let handles = members.clone();
    run(0, async move {
        let pool = Pool::open(members).await.unwrap();
        pool.destroy().await.unwrap();
    });
    let members = restarted(&handles, &[]);
    assert!(members.iter().all(|one| mark_of(one) == Mark::Free { pool }));
    assert!(refusal(members.clone()).contains("it has no label"));
    // Where file systems, volume managers and partition tables put the first of their own.
    for (member, offset) in members.iter().zip([0, 512, 1024, 4086]) {
        overwrite(member, offset, vec![0x5A; 2]);
        assert_eq!(mark_of(member), Mark::None);
    }
}
