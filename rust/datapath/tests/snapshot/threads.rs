//! The same on real threads: writers, a taker of snapshots and readers of images on one volume.
//!
//! Each writer goes round its own sectors and numbers its writes, so what a point in time holds of a
//! writer follows from the highest number in it.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use datapath::block_io::BlockIo;
use datapath::error::IoError;
use datapath::member::MemoryMember;
use datapath::snapmap::{ExceptionStore, StoreOptions};
use datapath::snapshot::{Engine, EngineOptions, FullPolicy, PointRange, StoreRules};
use datapath::units::{ChunkSize, Epoch};

use super::support::*;

type EngineOver<O> = Engine<O, GrowingSpace<MemoryMember>, Catalog>;
type ThreadEngine = EngineOver<MemoryMember>;

const SECTORS: u64 = 1024;
const WRITERS: u64 = 3;
const WRITES: u64 = 12_000;
const SNAPSHOTS: usize = 60;
const INCREMENTS: u64 = 1500;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn engine(catalog: &Catalog) -> ThreadEngine {
    engine_over(MemoryMember::new("origin", SECTORS * SECTOR), catalog)
}

/// An engine over all of `origin`, with chunks of 4 KiB, and everything else in memory.
pub fn engine_over<O: BlockIo>(origin: O, catalog: &Catalog) -> EngineOver<O> {
    let size_bytes = origin.size_bytes();
    let limit_bytes = 16 << 20;
    let space = GrowingSpace {
        device: Arc::new(MemoryMember::new("store", limit_bytes)),
        size_bytes: Arc::new(AtomicU64::new(256 << 10)),
        limit_bytes,
    };
    let chunk = ChunkSize::new(4096).unwrap();
    let options = StoreOptions { log_slack_blocks: Some(16) };
    let store = block_on(ExceptionStore::create(Arc::new(space), chunk, STORE_ID, options));
    let options = EngineOptions {
        size_bytes,
        rules: StoreRules { policy: FullPolicy::DropSnapshot, limit_bytes: None },
        points: Vec::new(),
        next_epoch: Epoch(1),
    };
    Engine::open(Arc::new(origin), store.unwrap(), catalog.clone(), options)
}

/// Whether the sectors of each writer hold its writes up to one of them.
fn check_point_in_time(stamps: &[u64]) {
    for writer in 0..WRITERS {
        let own: Vec<u64> =
            (writer..SECTORS).step_by(WRITERS as usize).map(|s| stamps[s as usize]).collect();
        let last = *own.iter().max().unwrap();
        let count = own.len() as u64;
        for (index, stamp) in own.iter().enumerate() {
            // The highest number <= last of a write to this sector: writes are numbered from 1.
            let index = index as u64;
            let rounds = (last + count).saturating_sub(index + 1) / count;
            let expected = if rounds == 0 { 0 } else { (rounds - 1) * count + index + 1 };
            assert_eq!(*stamp, expected, "writer {writer}, last write {last}");
        }
    }
}

#[test]
fn images_are_points_in_time_under_threads() {
    let catalog = Catalog::default();
    let engine = Arc::new(engine(&catalog));
    let live: Mutex<Vec<Epoch>> = Mutex::default();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn({
                    let engine = &engine;
                    move || write_round(engine, writer)
                })
            })
            .collect();
        for reader in 0..2 {
            let (engine, live, done) = (&engine, &live, &done);
            scope.spawn(move || read_images(engine, live, done, reader));
        }
        take_and_delete(&engine, &catalog, &live);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.store(true, Ordering::SeqCst);
    });
    let report = block_on(engine.check()).unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
}

fn write_round(engine: &Arc<ThreadEngine>, writer: u64) {
    let own: Vec<u64> = (writer..SECTORS).step_by(WRITERS as usize).collect();
    for number in 1..=WRITES {
        let sector = own[(number - 1) as usize % own.len()];
        block_on(engine.write_at(sector * SECTOR, stamped(number, 1))).unwrap();
    }
}

fn read_images(
    engine: &Arc<ThreadEngine>,
    live: &Mutex<Vec<Epoch>>,
    done: &AtomicBool,
    reader: usize,
) {
    let mut turn = reader;
    // Ends when the writers have.
    while !done.load(Ordering::SeqCst) {
        let epochs = live.lock().unwrap().clone();
        turn += 1;
        let Some(epoch) = epochs.get(turn % epochs.len().max(1)) else {
            std::thread::yield_now();
            continue;
        };
        let Ok(image) = engine.image(*epoch) else { continue };
        let first = block_on(read_stamps(&image, 0, SECTORS));
        let second = match read_stamps_now(&image, 0, SECTORS) {
            Some(read) => Ok(read),
            None => block_on(read_stamps(&image, 0, SECTORS)),
        };
        match [first, second] {
            [Ok(first), Ok(second)] => {
                assert_eq!(first, second, "an image changed");
                check_point_in_time(&first);
            }
            [first, second] => {
                let ended = [first.err(), second.err()];
                assert!(ended.contains(&Some(IoError::SnapshotInvalid)), "{ended:?}");
            }
        }
    }
}

fn take_and_delete(engine: &Arc<ThreadEngine>, catalog: &Catalog, live: &Mutex<Vec<Epoch>>) {
    let range = PointRange { first_byte: 0, length_bytes: SECTORS * SECTOR };
    for turn in 0..SNAPSHOTS {
        let epoch = block_on(take_snapshot(engine, catalog, range, |_| {}));
        live.lock().unwrap().extend(epoch);
        let kept = live.lock().unwrap().len();
        if kept > 4 {
            let oldest = live.lock().unwrap().remove(turn % kept);
            block_on(delete_snapshot(engine, catalog, oldest));
        }
        std::thread::yield_now();
    }
}

/// Several threads raise one counter; others write, and write everything as it is, around it.
#[test]
fn no_increment_is_lost_under_threads() {
    let catalog = Catalog::default();
    let engine = Arc::new(engine(&catalog));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let counting: Vec<_> = (0..WRITERS).map(|_| scope.spawn(|| count(&engine))).collect();
        for writer in 0..2 {
            let (engine, done) = (&engine, &done);
            scope.spawn(move || write_around(engine, 1 + writer, done));
        }
        take_and_delete(&engine, &catalog, &Mutex::default());
        counting.into_iter().for_each(|thread| thread.join().unwrap());
        done.store(true, Ordering::SeqCst);
    });
    let counter = block_on(read_stamps(&*engine, 0, 1)).unwrap();
    assert_eq!(counter, [WRITERS * INCREMENTS]);
}

fn count(engine: &Arc<ThreadEngine>) {
    for _ in 0..INCREMENTS {
        // Ends: each turn that fails means that another thread has got on.
        loop {
            let value = block_on(read_stamps(&**engine, 0, 1)).unwrap()[0];
            let (expected, data) = (stamped(value, 1), stamped(value + 1, 1));
            match block_on(engine.compare_and_write(0, expected, data)).unwrap() {
                None => break,
                Some(_) => std::thread::yield_now(),
            }
        }
    }
}

fn write_around(engine: &Arc<ThreadEngine>, sector: u64, done: &AtomicBool) {
    // Ends when the counters have.
    for stamp in 1.. {
        if done.load(Ordering::SeqCst) {
            return;
        }
        block_on(engine.write_at(sector * SECTOR, stamped(stamp, 1))).unwrap();
        if stamp % 8 == 0 {
            block_on(engine.or_write(0, stamped(0, 24))).unwrap();
        }
        let read = block_on(read_stamps(&**engine, sector, 1)).unwrap();
        assert_eq!(read, [stamp], "a write was undone");
    }
}
