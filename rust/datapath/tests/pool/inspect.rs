//! Dumps say what is on a member, and what is damaged.

use bytes::Bytes;
use datapath::block_io::BlockIo;
use datapath::member::Power;
use datapath::pool::{Pool, inspect};
use datapath::stripe::Level;

use crate::support::*;

#[test]
fn a_dump_tells_what_is_there_and_what_is_damaged() {
    let members = simulated(3, &Power::new());
    let handles = members.clone();
    run(1, async move {
        let pool = create(members, Level::Raid5).await;
        let id = pool.create_space(1 << 20).await.unwrap();
        write(&*pool.space(id).unwrap(), 0, 1, 4096).await;
        let dump = inspect::dump(&handles[1]).await.unwrap();
        assert_eq!(dump.problems, Vec::<String>::new());
        assert_eq!(dump.member.dirty_regions, [0]);
        assert_eq!(dump.member.labels.len(), 2);
        assert_eq!(dump.member.labels[0].label.as_ref().map(|label| label.role), Some(1));
        assert_eq!(dump.member.journal.unwrap().records.len(), 0);
        let newest = dump.slots.iter().max_by_key(|slot| slot.sequence).unwrap();
        assert_eq!(newest.catalog.as_ref(), Some(&*pool.catalog()));

        pool.fail_member("m2").await.unwrap();
        write(&*pool.space(id).unwrap(), 0, 2, 4096).await;
        let journal = inspect::dump(&handles[0]).await.unwrap().member.journal.unwrap();
        assert_eq!(journal.records.len(), 1);
        assert!(journal.records[0].changes.iter().all(|change| change.member != 2));
        pool.close().await.unwrap();
        assert!(inspect::dump(&handles[0]).await.unwrap().member.dirty_regions.is_empty());

        let spoiled = Bytes::from(vec![0xFF; 512]);
        handles[1].write_at((8 << 10) + 512, spoiled.clone()).await.unwrap();
        handles[1].write_at(1024, spoiled).await.unwrap();
        let problems = inspect::dump(&handles[1]).await.unwrap().problems;
        assert_eq!(problems, ["label at 0: it is damaged", "write intents: sector 1 is damaged"]);
    });
}

#[test]
fn extents_given_anew_read_as_zeros() {
    for level in Level::all() {
        let members = simulated(level.members_min(), &Power::new());
        run(1, async move {
            let pool = create(members, level).await;
            let free = pool.status().free_bytes;
            let first = pool.create_space(2 << 20).await.unwrap();
            let space = pool.space(first).unwrap();
            write(&*space, 0, 0xEE, space.size_bytes()).await;
            pool.delete_space(first).await.unwrap();
            let gone = space.write_at(0, Bytes::from(vec![1; 512])).await;
            assert_eq!(gone, Err(datapath::error::IoError::Closed));
            assert_eq!(pool.status().free_bytes, free);
            assert_eq!(pool.delete_space(first).await.unwrap_err().code(), "not-found");
            let second = pool.create_space(2 << 20).await.unwrap();
            let space = pool.space(second).unwrap();
            let found = read(&*space, 0, space.size_bytes()).await;
            assert!(found.iter().all(|byte| *byte == 0), "{level}");
            let refused = pool.create_space(1 << 40).await.unwrap_err();
            assert_eq!(refused.code(), "no-space");
        });
    }
}

#[test]
fn a_space_grows_up_to_its_limit_and_the_pools() {
    use datapath::block_io::Growable;
    use datapath::error::IoError;
    let members = simulated(1, &Power::new());
    run(1, async move {
        let pool = create(members, Level::Raid0).await;
        let id = pool.create_space(0).await.unwrap();
        let space = pool.space(id).unwrap();
        assert_eq!(space.size_bytes(), 0);
        space.set_limit(Some(2 << 20));
        assert_eq!(space.grow(1).await, Ok(1 << 20));
        assert_eq!(space.grow(2 << 20).await, Err(IoError::NoSpace));
        assert_eq!(space.grow(1 << 20).await, Ok(2 << 20));
        space.set_limit(None);
        assert_eq!(space.grow(1 << 40).await, Err(IoError::NoSpace));
        let free = pool.status().free_bytes;
        assert_eq!(space.grow(free).await, Ok((2 << 20) + free));
        assert_eq!(space.grow(1).await, Err(IoError::NoSpace));
    });
}

#[test]
fn a_catalog_too_large_for_its_slot_changes_nothing() {
    let members = simulated(1, &Power::new());
    let handles = members.clone();
    run(1, async move {
        let pool = create(members, Level::Raid0).await;
        let change = |catalog: &mut datapath::pool::Catalog| {
            catalog.attributes.insert("large".to_owned(), "x".repeat(300 << 10));
            Ok(())
        };
        assert_eq!(pool.update(change).await.unwrap_err().code(), "no-space");
        assert!(pool.catalog().attributes.is_empty());
        let pool = Pool::open(restarted(&handles, &[])).await.unwrap();
        assert!(pool.catalog().attributes.is_empty());
    });
}

#[test]
fn write_intents_never_pile_up() {
    use datapath::limits::DIRTY_REGIONS_MAX;
    let power = Power::new();
    let members: Vec<_> = ["m0", "m1"]
        .map(|name| datapath::member::SimulatedMember::new(name, 512 << 20, &power))
        .to_vec();
    let handles = members.clone();
    run(1, async move {
        let pool = create(members, Level::Raid1).await;
        let regions = pool.set().size_bytes() >> 20;
        assert!(regions > DIRTY_REGIONS_MAX as u64 + 50);
        for region in 0..regions {
            write(&**pool.set(), region << 20, 1, 512).await;
        }
        let dirty = inspect::dump(&handles[1]).await.unwrap().member.dirty_regions;
        assert!((1..=DIRTY_REGIONS_MAX + 1).contains(&dirty.len()), "{}", dirty.len());
        pool.checkpoint().await.unwrap();
        assert!(inspect::dump(&handles[1]).await.unwrap().member.dirty_regions.is_empty());
    });
}
