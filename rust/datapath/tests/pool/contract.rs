//! The stripe set of every level, and spaces on it, keep the contract of `BlockIo`.

use datapath::block_io::{BlockIo, Growable};
use datapath::member::{Power, contract};
use datapath::pool::Pool;
use datapath::stripe::Level;

use crate::support::*;

#[test]
fn every_level_keeps_the_contract() {
    for (level, count) in shapes() {
        for strip_bytes in [4 << 10, 64 << 10] {
            let members = simulated(count, &Power::new());
            run(1, async move {
                let pool = Pool::create(members, options(level, strip_bytes)).await.unwrap();
                contract::check(&**pool.set(), 1, 120).await;
                contract::check_concurrent(&**pool.set(), 2, 12).await;
                contract::check_discards(&**pool.set(), 3, 12).await;
                assert_eq!(pool.set().find_mismatch().await, Ok(None), "{level}");
            });
        }
    }
}

#[test]
fn every_level_keeps_the_contract_without_any_one_member() {
    for (level, count) in shapes().into_iter().filter(|(level, _)| level.is_redundant()) {
        for lost in 0..count {
            let members = simulated(count, &Power::new());
            run(lost as u64, async move {
                let pool = create(members, level).await;
                contract::check(&**pool.set(), 7, 30).await;
                pool.fail_member(&format!("m{lost}")).await.unwrap();
                contract::check(&**pool.set(), 8, 60).await;
                contract::check_concurrent(&**pool.set(), 9, 6).await;
            });
        }
    }
}

#[test]
fn spaces_keep_the_contract_over_scattered_extents() {
    for level in Level::all() {
        let members = simulated(level.members_min(), &Power::new());
        run(3, async move {
            let pool = create(members, level).await;
            let granule = pool.status().granule_bytes;
            let scattered = pool.create_space(granule).await.unwrap();
            let between = pool.create_space(granule).await.unwrap();
            let space = pool.space(scattered).unwrap();
            let size = space.grow(2 * granule).await.unwrap();
            assert_eq!((size, space.size_bytes()), (3 * granule, 3 * granule));
            assert_eq!(pool.catalog().spaces[&scattered].len(), 2);
            contract::check(&*space, 4, 120).await;
            contract::check_concurrent(&*space, 5, 12).await;
            contract::check_discards(&*space, 6, 12).await;
            let other = read(&*pool.space(between).unwrap(), 0, granule).await;
            assert!(other.iter().all(|byte| *byte == 0), "{level}: a neighbour was written");
        });
    }
}
