//! Held writes of a chunk begin in the order they came.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use datapath::block_io::{BlockIo, ReadResult};
use datapath::error::IoError;
use datapath::member::{Power, SimulatedMember};
use datapath::simulation::{Random, Simulation, sleep, spawn};
use datapath::snapshot::PointRange;

use super::support::*;

/// Writes down in which order writes arrive.
struct Recorder {
    device: SimulatedMember,
    arrived: Arc<Mutex<Vec<u64>>>,
}

impl BlockIo for Recorder {
    fn size_bytes(&self) -> u64 {
        self.device.size_bytes()
    }
    async fn read_at(&self, offset_bytes: u64, buffer: BytesMut) -> ReadResult {
        self.device.read_at(offset_bytes, buffer).await
    }
    async fn write_at(&self, offset_bytes: u64, data: Bytes) -> Result<(), IoError> {
        self.arrived.lock().unwrap().push(stamps_of(&data)[0]);
        self.device.write_at(offset_bytes, data).await
    }
    passes_on_the_rest!();
}

const WRITES: u64 = 40;
const CHUNK_SECTORS: u64 = 16;

#[test]
fn held_writes_of_a_chunk_begin_first_in_first_out() {
    for seed in seeds(100) {
        let _named = Seed("held writes", seed, 0);
        Simulation::new(seed).run(writes_to_one_chunk(seed)).unwrap();
    }
}

async fn writes_to_one_chunk(seed: u64) {
    let power = Power::new();
    let rig = Rig::new(1 << 20, CHUNK_SECTORS * SECTOR, 64, &power).with_delays(seed);
    drop(rig.format().await);
    let arrived = Arc::new(Mutex::new(Vec::new()));
    let recorder = Recorder { device: rig.origin.clone(), arrived: arrived.clone() };
    let engine = rig.open_over(Arc::new(recorder)).await.unwrap();
    engine.write_at(0, stamped(7, CHUNK_SECTORS)).await.unwrap();
    arrived.lock().unwrap().clear();
    let range = PointRange { first_byte: 0, length_bytes: 1 << 20 };
    take_snapshot(&engine, &rig.catalog, range, |_| {}).await.unwrap();

    let called = Rc::new(RefCell::new(Vec::new()));
    let mut random = Random::new(seed);
    let mut tasks = Vec::new();
    for stamp in 1..=WRITES {
        let (engine, called) = (engine.clone(), called.clone());
        let (pause, sector) = (random.below(3) * random.below(4), random.below(CHUNK_SECTORS));
        tasks.push(spawn(async move {
            sleep(pause).await;
            called.borrow_mut().push(stamp);
            engine.write_at(sector * SECTOR, stamped(stamp, 1)).await.unwrap();
        }));
    }
    for task in tasks {
        task.await;
    }
    assert_eq!(*arrived.lock().unwrap(), *called.borrow());
}
