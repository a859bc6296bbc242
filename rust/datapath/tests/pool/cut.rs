//! A member file that is made shorter under an open pool, at every kind of size: reads give what was
//! written or an error, never zeros that nobody wrote, and what has redundancy goes on without it.

use std::fs::OpenOptions;

use bytes::{Bytes, BytesMut};
use compio::runtime::Runtime;
use datapath::block_io::BlockIo;
use datapath::member::FileMember;
use datapath::pool::Pool;
use datapath::stripe::{Level, MemberState};
use tempfile::TempDir;

use crate::support::*;

const PART: u64 = 32 << 10;

fn shape(level: Level) -> usize {
    level.members_min().max(2)
}

/// A pool of files, every part of its data area written with its number.
async fn filled(directory: &TempDir, level: Level) -> std::sync::Arc<Pool<FileMember>> {
    let members = (0..shape(level))
        .map(|n| FileMember::create(directory.path().join(format!("m{n}")), MEMBER_BYTES).unwrap());
    let pool = create(members.collect(), level).await;
    for part in 0..pool.set().size_bytes() / PART {
        write(&**pool.set(), part * PART, fill(part), PART).await;
    }
    pool.set().flush().await.unwrap();
    pool
}

/// Not zero.
fn fill(part: u64) -> u8 {
    (part % 255) as u8 + 1
}

fn cut(directory: &TempDir, member: usize, length: u64) {
    let path = directory.path().join(format!("m{member}"));
    OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// Reads all parts; whether any gave an error. What is given is right.
async fn read_all(pool: &Pool<FileMember>, context: &str) -> bool {
    let mut failed = false;
    for part in 0..pool.set().size_bytes() / PART {
        let mut now = vec![0; PART as usize];
        let is_right = |found: &[u8]| found.iter().all(|byte| *byte == fill(part));
        let is_read = pool.set().read_now(part * PART, &mut now);
        assert!(!is_read || is_right(&now), "{context}: part {part} is read now");
        let (outcome, found) =
            pool.set().read_at(part * PART, BytesMut::zeroed(PART as usize)).await;
        assert!(outcome.is_err() || is_right(&found), "{context}: part {part} is read");
        failed |= outcome.is_err();
    }
    failed
}

#[test]
fn a_cut_member_invents_nothing() {
    for level in Level::all() {
        // In the tail, in the last strip, in the middle of pages and sectors, in the metadata.
        for length in [MEMBER_BYTES + 4095, MEMBER_BYTES - 1, 5 << 20, (5 << 20) + 1001, 4096, 0] {
            let directory = tempfile::tempdir_in("/dev/shm").unwrap();
            Runtime::new().unwrap().block_on(async {
                let context = format!("{level}, {length}");
                let pool = filled(&directory, level).await;
                cut(&directory, 1, length);
                // The end is written again, so that the file becomes as long as it can.
                let end = pool.set().size_bytes();
                for part in end / PART - 4..end / PART {
                    let data = Bytes::from(vec![fill(part); PART as usize]);
                    let written = pool.set().write_at(part * PART, data).await;
                    assert!(written.is_ok() || !level.is_redundant(), "{context}");
                }
                let failed = read_all(&pool, &context).await;
                assert!(!failed || !level.is_redundant(), "{context}");
                let flushed = pool.set().flush().await;
                assert_eq!(flushed.is_ok(), level.is_redundant(), "{context}");
                assert_eq!(pool.status().members[1].state, MemberState::Failed, "{context}");
                let failed = read_all(&pool, &context).await;
                assert!(!failed || !level.is_redundant(), "{context}");
            });
        }
    }
}

#[test]
fn a_cut_member_is_seen_where_nothing_is_read_or_written() {
    for level in Level::all() {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        Runtime::new().unwrap().block_on(async {
            let pool = filled(&directory, level).await;
            pool.probe().await.unwrap();
            assert_eq!(pool.status().members[0].state, MemberState::InSync);
            cut(&directory, 0, MEMBER_BYTES / 2);
            assert_eq!(pool.status().members[0].state, MemberState::Failed);
            assert_eq!(pool.probe().await.is_ok(), level.is_redundant(), "{level}");
            assert_eq!(pool.take_events().len(), usize::from(level.is_redundant()), "{level}");
        });
    }
}

#[test]
fn a_cut_member_is_refused_at_the_next_start() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    Runtime::new().unwrap().block_on(async {
        let pool = filled(&directory, Level::Raid1).await;
        pool.close().await.unwrap();
        drop(pool);
        cut(&directory, 1, MEMBER_BYTES + 100);
        let members = (0..2).map(|n| FileMember::open(directory.path().join(format!("m{n}"))));
        let members = members.map(Result::unwrap).collect();
        let (pool, refused) = Pool::open_available(members).await.unwrap();
        assert!(refused[0].to_string().contains("it is too small"), "{refused:?}");
        assert!(!read_all(&pool, "degraded").await);
    });
}
