//! The stripe set of every level, and spaces on it, keep the contract of `BlockIo`.

use datapath::block_io::{BlockIo, Growable};
use datapath::member::{MemoryMember, Power, contract};
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
                assert_eq!(mismatches(&pool).await, [], "{level}");
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

/// Without waiting: all of a complete set; of a degraded one what need not be computed; nothing of a
/// space that was deleted.
#[test]
fn what_need_not_be_waited_for_is_read_now() {
    const PIECE: u64 = 4 << 10;
    const PIECES: u64 = 256;
    for (level, count) in shapes() {
        run(4, async move {
            let members = (0..count).map(|index| MemoryMember::new(&format!("m{index}"), 64 << 20));
            let pool = create(members.collect(), level).await;
            let id = pool.create_space(pool.status().granule_bytes).await.unwrap();
            let space = pool.space(id).unwrap();
            for piece in 0..PIECES {
                write(&*space, piece * PIECE, piece as u8, PIECE).await;
            }
            let pieces_read_now = || {
                let mut found = vec![0; (PIECE * PIECES) as usize];
                let is_read_now = |(piece, found): (usize, &mut [u8])| {
                    let is_read = space.read_now(piece as u64 * PIECE, found);
                    assert!(!is_read || found.iter().all(|byte| *byte == piece as u8), "{level}");
                    is_read
                };
                found
                    .chunks_mut(PIECE as usize)
                    .enumerate()
                    .map(is_read_now)
                    .filter(|is| *is)
                    .count()
            };
            let all = PIECES as usize;
            assert_eq!(pieces_read_now(), all, "{level}");
            if level.is_redundant() {
                pool.fail_member("m0").await.unwrap();
                let found = pieces_read_now();
                assert!(found > all / 2, "{level}");
                assert_eq!(found < all, level == Level::Raid5, "{level}");
            }
            pool.delete_space(id).await.unwrap();
            assert_eq!(pieces_read_now(), 0, "{level}");
        });
    }
}
