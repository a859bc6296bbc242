//! One pool used by several threads at once, each with a runtime of its own, while a member is taken
//! out: neighbouring blocks of the same stripes, written by different threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use compio::runtime::Runtime;
use datapath::block_io::BlockIo;
use datapath::member::MemoryMember;
use datapath::pool::{Pool, Space};
use datapath::stripe::{Level, SetState};
use futures_util::future::join_all;

use crate::support::*;

const THREADS: u64 = 4;
const BLOCK: u64 = 1024;
const BLOCKS: u64 = 400;
const ROUNDS: u32 = 12;
/// The round of the first thread after which a member is taken out.
const FAIL_AFTER: u32 = 4;

#[test]
fn threads_share_a_pool_while_a_member_is_taken_out() {
    for level in [Level::Raid1, Level::Raid10, Level::Raid5] {
        let count = level.members_min();
        let members = (0..count).map(|n| MemoryMember::new(&format!("m{n}"), MEMBER_BYTES));
        let pool = Runtime::new().unwrap().block_on(create(members.collect::<Vec<_>>(), level));
        let space = Runtime::new().unwrap().block_on(async {
            let id = pool.create_space(1 << 20).await.unwrap();
            pool.space(id).unwrap()
        });
        let rounds = Arc::new(AtomicU32::new(0));
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (space, rounds, pool) = (&space, &rounds, &pool);
                scope.spawn(move || {
                    Runtime::new().unwrap().block_on(async {
                        for round in 1..=ROUNDS {
                            write_and_compare(space, thread, round).await;
                            if thread == 0 && rounds.fetch_add(1, Ordering::SeqCst) == FAIL_AFTER {
                                pool.fail_member("m1").await.unwrap();
                            }
                        }
                    });
                });
            }
        });
        assert_eq!(pool.status().state, SetState::Degraded);
        Runtime::new().unwrap().block_on(final_check(&pool, &space));
    }
}

fn fill(thread: u64, block: u64, round: u32) -> u8 {
    (thread * 50 + block % 7 + u64::from(round)) as u8
}

async fn write_and_compare(space: &Space<MemoryMember>, thread: u64, round: u32) {
    let own = || (0..BLOCKS).filter(move |block| block % THREADS == thread);
    let writes = own().map(|block| async move {
        let data = Bytes::from(vec![fill(thread, block, round); BLOCK as usize]);
        space.write_at(block * BLOCK, data).await.unwrap();
    });
    join_all(writes).await;
    for block in own() {
        let found = read(space, block * BLOCK, BLOCK).await;
        let wanted = fill(thread, block, round);
        assert!(found.iter().all(|byte| *byte == wanted), "block {block}, round {round}");
    }
    space.flush().await.unwrap();
}

async fn final_check(pool: &Arc<Pool<MemoryMember>>, space: &Space<MemoryMember>) {
    for block in 0..BLOCKS {
        let found = read(space, block * BLOCK, BLOCK).await;
        assert_eq!(found[0], fill(block % THREADS, block, ROUNDS), "block {block}");
    }
    assert_eq!(mismatches(pool).await, []);
    pool.close().await.unwrap();
}
