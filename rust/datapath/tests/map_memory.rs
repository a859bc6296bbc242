//! The maps of a 16 TiB sparse volume with one full-range snapshot stay under 64 MiB.
//!
//! A program of its own, since it looks at the memory of the whole process.

#![allow(clippy::unwrap_used)] // A test says by panicking that it failed.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use datapath::block_io::{BlockIo, Growable, ReadResult};
use datapath::error::IoError;
use datapath::snapmap::{ExceptionStore, StoreOptions};
use datapath::snapshot::{
    Engine, EngineOptions, FullPolicy, PointRange, SnapshotLedger, StoreRules,
};
use datapath::units::{ChunkSize, Epoch};
use uuid::Uuid;

const VOLUME_BYTES: u64 = 16 << 40;
const CHUNK_BYTES: u64 = 64 << 10;
/// Chunks preserved, spread evenly over the volume: the worst case for a tree.
const PRESERVED: u64 = 20_000;

/// A device without a memory: everything reads as the same byte.
struct Endless {
    size_bytes: AtomicU64,
}

impl BlockIo for Endless {
    fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::SeqCst)
    }
    async fn read_at(&self, _offset_bytes: u64, mut buffer: BytesMut) -> ReadResult {
        buffer.fill(0x5A);
        (Ok(()), buffer)
    }
    async fn write_at(&self, _offset_bytes: u64, _data: Bytes) -> Result<(), IoError> {
        Ok(())
    }
    async fn flush(&self) -> Result<(), IoError> {
        Ok(())
    }
    async fn discard(&self, _offset_bytes: u64, _length_bytes: u64) -> Result<(), IoError> {
        Ok(())
    }
    async fn write_zeroes(&self, _offset_bytes: u64, _length_bytes: u64) -> Result<(), IoError> {
        Ok(())
    }
}

impl Growable for Endless {
    async fn grow(&self, additional_bytes: u64) -> Result<u64, IoError> {
        Ok(self.size_bytes.fetch_add(additional_bytes, Ordering::SeqCst) + additional_bytes)
    }
}

struct NoLedger;

impl SnapshotLedger for NoLedger {
    async fn invalidate(&self, _epochs: &[Epoch], _reason: &str) -> Result<(), IoError> {
        Err(IoError::ReadOnly)
    }
}

fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("nothing here waits"),
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn the_maps_of_a_large_sparse_volume_are_small() {
    let before = resident_bytes();
    let space = Arc::new(Endless { size_bytes: AtomicU64::new(64 << 20) });
    let chunk = ChunkSize::new(CHUNK_BYTES).unwrap();
    let id = Uuid::from_u128(1);
    let store = now(ExceptionStore::create(space, chunk, id, StoreOptions::default())).unwrap();
    let options = EngineOptions {
        size_bytes: VOLUME_BYTES,
        rules: StoreRules { policy: FullPolicy::FailWrite, limit_bytes: None },
        points: Vec::new(),
        next_epoch: Epoch(1),
    };
    let origin = Arc::new(Endless { size_bytes: AtomicU64::new(VOLUME_BYTES) });
    let engine = Engine::open(origin, store, NoLedger, options);
    let whole = PointRange { first_byte: 0, length_bytes: VOLUME_BYTES };
    now(engine.hold()).flip(whole).unwrap();
    let data = Bytes::from(vec![1; 4096]);
    let step = VOLUME_BYTES / PRESERVED / CHUNK_BYTES * CHUNK_BYTES;
    for number in 0..PRESERVED {
        now(engine.write_at(number * step, data.clone())).unwrap();
    }
    assert_eq!(engine.store_usage().exceptions, PRESERVED);
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB", grown >> 20);
}
