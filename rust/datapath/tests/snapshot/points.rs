//! Snapshots taken at exact moments of a write.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use datapath::block_io::{BlockIo, ReadResult};
use datapath::error::IoError;
use datapath::member::{Power, SimulatedMember};
use datapath::simulation::{Simulation, sleep, spawn};
use datapath::snapshot::PointRange;
use tokio::sync::{Notify, Semaphore};

use super::support::*;

pub const CHUNK_BYTES: u64 = 4 << 10;
pub const CHUNK_SECTORS: u64 = CHUNK_BYTES / SECTOR;
pub const SIZE_BYTES: u64 = 16 * CHUNK_BYTES;
pub const ALL: PointRange = PointRange { first_byte: 0, length_bytes: SIZE_BYTES };
/// Virtual: until nothing else can run.
pub const LONG: u64 = 1_000_000;

/// An origin whose next read, or next write, stops before its effect or after it, until it is let go.
pub struct Stepwise {
    device: SimulatedMember,
    stop_at: std::sync::Mutex<Option<Stop>>,
    pub stopped: Notify,
    pub go_on: Semaphore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    BeforeRead,
    AfterRead,
    BeforeWrite,
    AfterWrite,
}

impl Stepwise {
    fn new(device: SimulatedMember) -> Arc<Self> {
        let (stop_at, stopped) = Default::default();
        Arc::new(Self { device, stop_at, stopped, go_on: Semaphore::new(0) })
    }

    pub fn stop_at(&self, stop: Stop) {
        *self.stop_at.lock().unwrap() = Some(stop);
    }

    async fn pass(&self, place: Stop) {
        let here = self.stop_at.lock().unwrap().take_if(|stop| *stop == place).is_some();
        if here {
            self.stopped.notify_one();
            self.go_on.acquire().await.unwrap().forget();
        }
    }
}

impl BlockIo for Stepwise {
    fn size_bytes(&self) -> u64 {
        self.device.size_bytes()
    }
    async fn read_at(&self, offset_bytes: u64, buffer: BytesMut) -> ReadResult {
        self.pass(Stop::BeforeRead).await;
        let read = self.device.read_at(offset_bytes, buffer).await;
        self.pass(Stop::AfterRead).await;
        read
    }
    async fn write_at(&self, offset_bytes: u64, data: Bytes) -> Result<(), IoError> {
        self.pass(Stop::BeforeWrite).await;
        let written = self.device.write_at(offset_bytes, data).await;
        self.pass(Stop::AfterWrite).await;
        written
    }
    passes_on_the_rest!();
}

/// An engine whose chunks all hold stamp 1, with a first snapshot of it.
pub async fn engine_over(rig: &Rig) -> (Arc<Stepwise>, Arc<TestEngine<Stepwise>>) {
    drop(rig.format().await);
    let origin = Stepwise::new(rig.origin.clone());
    let engine = rig.open_over(origin.clone()).await.unwrap();
    engine.write_at(0, stamped(1, SIZE_BYTES / SECTOR)).await.unwrap();
    take_snapshot(&engine, &rig.catalog, ALL, |_| {}).await.unwrap();
    (origin, engine)
}

#[test]
fn a_snapshot_between_the_copy_and_the_write_has_a_copy_of_its_own() {
    // The write is stopped while it reads the old data; then the gate is held before it gets there.
    let rig = Rig::new(SIZE_BYTES, CHUNK_BYTES, 64, &Power::new());
    let run = Simulation::new(1).run(async move {
        let (origin, engine) = engine_over(&rig).await;
        origin.stop_at(Stop::AfterRead);
        let writer = engine.clone();
        let write = spawn(async move { writer.write_at(0, stamped(2, CHUNK_SECTORS)).await });
        origin.stopped.notified().await;
        let hold = engine.hold().await;
        origin.go_on.add_permits(1);
        // The old data is preserved for the first snapshot, and the write waits at the gate.
        sleep(LONG).await;
        let second = hold.flip(ALL).unwrap();
        drop(hold);
        write.await.unwrap();
        for epoch in engine.live_epochs() {
            let read = read_stamps(&engine.image(epoch).unwrap(), 0, CHUNK_SECTORS).await.unwrap();
            assert_eq!(read, vec![1; CHUNK_SECTORS as usize], "{epoch:?} of {second:?}");
        }
    });
    run.unwrap();
}

#[test]
fn a_point_waits_for_a_write_that_has_begun_and_holds_it() {
    for stop in [Stop::BeforeWrite, Stop::AfterWrite] {
        let rig = Rig::new(SIZE_BYTES, CHUNK_BYTES, 64, &Power::new());
        let run = Simulation::new(1).run(async move {
            let (origin, engine) = engine_over(&rig).await;
            origin.stop_at(stop);
            let writer = engine.clone();
            let write = spawn(async move { writer.write_at(0, stamped(2, CHUNK_SECTORS)).await });
            origin.stopped.notified().await;
            let taker = engine.clone();
            let second = spawn(async move { taker.hold().await.flip(ALL).unwrap() });
            sleep(LONG).await;
            assert_eq!(engine.live_epochs().len(), 1, "the point was taken over a write's head");
            origin.go_on.add_permits(1);
            let second = second.await;
            write.await.unwrap();
            engine.write_at(0, stamped(3, CHUNK_SECTORS)).await.unwrap();
            let read = read_stamps(&engine.image(second).unwrap(), 0, CHUNK_SECTORS).await.unwrap();
            assert_eq!(read, vec![2; CHUNK_SECTORS as usize]);
        });
        run.unwrap();
    }
}

#[test]
fn an_image_that_reads_the_origin_while_it_changes_reads_the_copy() {
    for stop in [Stop::BeforeRead, Stop::AfterRead] {
        let rig = Rig::new(SIZE_BYTES, CHUNK_BYTES, 64, &Power::new());
        let run = Simulation::new(1).run(async move {
            let (origin, engine) = engine_over(&rig).await;
            let image = engine.image(engine.live_epochs()[0]).unwrap();
            origin.stop_at(stop);
            let read =
                spawn(async move { read_stamps(&image, 0, 3 * CHUNK_SECTORS).await.unwrap() });
            origin.stopped.notified().await;
            engine.write_at(CHUNK_BYTES, stamped(2, CHUNK_SECTORS)).await.unwrap();
            origin.go_on.add_permits(1);
            assert_eq!(read.await, vec![1; 3 * CHUNK_SECTORS as usize]);
        });
        run.unwrap();
    }
}

#[test]
fn an_image_whose_snapshot_ends_while_it_reads_fails() {
    let rig = Rig::new(SIZE_BYTES, CHUNK_BYTES, 64, &Power::new());
    let run = Simulation::new(1).run(async move {
        let (origin, engine) = engine_over(&rig).await;
        let epoch = engine.live_epochs()[0];
        let image = engine.image(epoch).unwrap();
        origin.stop_at(Stop::BeforeRead);
        let read = spawn(async move { read_stamps(&image, 0, CHUNK_SECTORS).await });
        origin.stopped.notified().await;
        delete_snapshot(&engine, &rig.catalog, epoch).await;
        engine.write_at(0, stamped(2, CHUNK_SECTORS)).await.unwrap();
        origin.go_on.add_permits(1);
        assert_eq!(read.await, Err(IoError::SnapshotInvalid));
    });
    run.unwrap();
}
