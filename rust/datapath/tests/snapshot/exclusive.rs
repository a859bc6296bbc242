//! Exclusive changes: counters that several tasks raise by comparing and writing, and reads, ORs and
//! writes of everything that change nothing, among plain writes, snapshots and power cuts.
//!
//! - No increment and no plain write is ever lost.
//! - A snapshot holds every counter as it was at its point, and reads the same each time.
//! - After a cut a counter holds what was flushed last, or a later value.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use datapath::block_io::BlockIo;
use datapath::error::IoError;
use datapath::member::Power;
use datapath::simulation::{Random, Simulation, sleep, spawn};
use datapath::snapshot::{FullPolicy, PointRange};
use datapath::units::Epoch;

use super::points::{ALL, CHUNK_BYTES, CHUNK_SECTORS, LONG, SIZE_BYTES, Stop, engine_over};
use super::support::*;

/// Sectors, in three chunks, of which the first are counters and the others belong to a writer each.
const SECTORS: u64 = 3 * CHUNK_SECTORS;
const COUNTERS: u64 = SECTORS - 4;
const INCREMENTS: u64 = 12;
const RANGE: PointRange = PointRange { first_byte: 0, length_bytes: SECTORS * SECTOR };

/// A sector whose value only rises.
#[derive(Clone, Copy, Default)]
struct Rising {
    completed: u64,
    /// Calls that may raise it by one at any moment.
    under_way: u64,
    durable: u64,
}

#[derive(Clone, Default)]
struct World {
    sectors: Vec<Rising>,
    points: BTreeMap<Epoch, Point>,
}

/// A snapshot: what each sector may hold at the least and at the most, and what it was read as.
#[derive(Clone)]
struct Point {
    bounds: Vec<(u64, u64)>,
    read: Option<Vec<u64>>,
}

impl World {
    fn bounds(&self) -> Vec<(u64, u64)> {
        let bounds = |sector: &Rising| (sector.completed, sector.completed + sector.under_way);
        self.sectors.iter().map(bounds).collect()
    }
}

#[derive(Clone)]
struct Scene {
    rig: Rig,
    engine: Arc<TestEngine<Medium>>,
    world: Rc<RefCell<World>>,
}

impl Scene {
    async fn open(rig: &Rig, world: &Rc<RefCell<World>>) -> Self {
        let engine = rig.open().await.unwrap();
        Self { rig: rig.clone(), engine, world: world.clone() }
    }

    fn sector(&self, sector: u64, change: impl FnOnce(&mut Rising)) {
        change(&mut self.world.borrow_mut().sectors[sector as usize]);
    }

    async fn increment(&self, counter: u64) {
        // Ends: each turn that fails means that another task has got on.
        loop {
            let value = read_stamps(&*self.engine, counter, 1).await.unwrap()[0];
            self.sector(counter, |sector| sector.under_way += 1);
            let (expected, data) = (stamped(value, 1), stamped(value + 1, 1));
            let differs = self.engine.compare_and_write(counter * SECTOR, expected, data).await;
            self.sector(counter, |sector| sector.under_way -= 1);
            match differs.unwrap() {
                None => return self.sector(counter, |sector| sector.completed += 1),
                Some(index) => assert!(index < 8, "the first word differs, not byte {index}"),
            }
        }
    }

    /// The one writer of this sector.
    async fn write(&self, sector: u64) {
        let value = self.world.borrow().sectors[sector as usize].completed + 1;
        self.sector(sector, |sector| sector.under_way += 1);
        self.engine.write_at(sector * SECTOR, stamped(value, 1)).await.unwrap();
        self.sector(sector, |sector| {
            (sector.completed, sector.under_way) = (value, 0);
        });
        assert_eq!(read_stamps(&*self.engine, sector, 1).await.unwrap(), [value]);
    }

    /// Writes everything as it is.
    async fn or_nothing(&self, random: &mut Random) {
        let (first, sectors) = random_range(random, SECTORS, SECTORS);
        self.engine.or_write(first * SECTOR, stamped(0, sectors)).await.unwrap();
    }

    async fn flush(&self) {
        let completed: Vec<u64> =
            self.world.borrow().sectors.iter().map(|sector| sector.completed).collect();
        self.engine.flush().await.unwrap();
        for (sector, completed) in self.world.borrow_mut().sectors.iter_mut().zip(completed) {
            sector.durable = sector.durable.max(completed);
        }
    }

    async fn snapshot(&self) {
        let world = self.world.clone();
        let at_the_point = move |epoch| {
            let mut world = world.borrow_mut();
            let bounds = world.bounds();
            world.points.insert(epoch, Point { bounds, read: None });
        };
        take_snapshot(&self.engine, &self.rig.catalog, RANGE, at_the_point).await;
    }

    async fn read_images(&self) {
        for epoch in self.engine.live_epochs() {
            let Ok(image) = self.engine.image(epoch) else { continue };
            let read = match read_stamps(&image, 0, SECTORS).await {
                Ok(read) => read,
                Err(IoError::SnapshotInvalid) => continue,
                Err(error) => panic!("{error}"),
            };
            let mut world = self.world.borrow_mut();
            let point = world.points.get_mut(&epoch).unwrap();
            for (sector, (value, (least, most))) in read.iter().zip(&point.bounds).enumerate() {
                let possible = *least..=*most;
                assert!(possible.contains(value), "sector {sector}: {value}, not of {possible:?}");
            }
            let before = point.read.get_or_insert_with(|| read.clone());
            assert_eq!(*before, read, "an image changed");
        }
    }

    /// What must hold when nothing else runs: exactly so, or, after a cut, within bounds.
    async fn verify(&self, after_a_cut: bool) {
        self.read_images().await;
        assert_eq!(self.engine.check().await.unwrap().problems, Vec::<String>::new());
        let values = read_stamps(&*self.engine, 0, SECTORS).await.unwrap();
        let mut world = self.world.borrow_mut();
        for (index, (value, sector)) in values.into_iter().zip(&mut world.sectors).enumerate() {
            let most = sector.completed + sector.under_way;
            let least = if after_a_cut { sector.durable } else { most };
            assert!((least..=most).contains(&value), "sector {index}: {value} of {least}..={most}");
            *sector = Rising { completed: value, under_way: 0, durable: value };
        }
    }

    async fn play(&self, mut random: Random) {
        let mut tasks = Vec::new();
        for role in 0..11 {
            let (scene, mut random) = (self.clone(), Random::new(random.next_u64()));
            tasks.push(spawn(async move {
                for _ in 0..INCREMENTS {
                    match role {
                        0..=2 => scene.increment(random.below(3)).await,
                        3 => scene.increment(random.below(COUNTERS)).await,
                        4..=7 => scene.write(COUNTERS + role - 4).await,
                        8 => scene.or_nothing(&mut random).await,
                        9 => scene.flush().await,
                        _ if random.chance(1, 2) => scene.snapshot().await,
                        _ => scene.read_images().await,
                    }
                    sleep(random.below(3) * random.below(20)).await;
                }
            }));
        }
        for task in tasks {
            task.await;
        }
    }
}

fn rig(seed: u64, power: &Arc<Power>) -> Rig {
    Rig::new(SECTORS * SECTOR, CHUNK_BYTES, 60, power).with_delays(seed)
}

fn new_world() -> Rc<RefCell<World>> {
    let sectors = vec![Rising::default(); SECTORS as usize];
    shared(World { sectors, points: BTreeMap::new() })
}

#[test]
fn no_increment_and_no_write_is_lost() {
    for seed in seeds(400) {
        let _named = Seed("exclusive", seed, 0);
        let rig = rig(seed, &Power::new());
        let outcome = Simulation::new(seed).run(async move {
            drop(rig.format().await);
            let scene = Scene::open(&rig, &new_world()).await;
            scene.play(Random::new(seed)).await;
            scene.verify(false).await;
        });
        outcome.unwrap();
    }
}

#[test]
fn a_cut_among_exclusive_changes_leaves_what_was_flushed_or_later() {
    for seed in seeds(400) {
        let mut random = Random::new(seed ^ 0xE8C);
        let cut = 20 + random.below(300);
        let _named = Seed("exclusive cut", seed, cut);
        let power = Power::cut_at(cut);
        let (first, world) = (rig(seed, &power), new_world());
        let (inside, in_run) = (first.clone(), world.clone());
        let outcome = Simulation::new(seed).run(async move {
            drop(inside.format().await);
            Scene::open(&inside, &in_run).await.play(Random::new(seed)).await;
        });
        assert!(outcome.is_ok() || power.is_off(), "deadlock: {outcome:?}");
        let rig = first.survivor(random.next_u64(), &Power::new());
        let outcome = Simulation::new(seed).run(async move {
            // A snapshot that was not recorded may have given its epoch to another.
            let recorded: Vec<Epoch> = rig.catalog.points().iter().map(|p| p.epoch).collect();
            world.borrow_mut().points.retain(|epoch, _| recorded.contains(epoch));
            let scene = Scene::open(&rig, &world).await;
            scene.verify(true).await;
            scene.play(random).await;
            scene.verify(false).await;
        });
        outcome.unwrap();
    }
}

#[test]
fn what_differs_is_told_by_its_first_byte_and_nothing_is_written() {
    let rig = Rig::new(SIZE_BYTES, CHUNK_BYTES, 64, &Power::new());
    let run = Simulation::new(1).run(async move {
        let engine = rig.format().await;
        engine.write_at(0, stamped(7, 32)).await.unwrap();
        for index in [0, 511, 512, 9000, 32 * SECTOR - 1] {
            let mut expected = stamped(7, 32).to_vec();
            expected[index as usize] ^= 0x80;
            let expected = Bytes::from(expected);
            let told = engine.compare_and_write(0, expected, stamped(8, 32)).await;
            assert_eq!(told, Ok(Some(index)));
        }
        assert_eq!(read_stamps(&*engine, 0, 33).await.unwrap()[31..], [7, 0]);
        let told = engine.compare_and_write(0, stamped(7, 32), stamped(8, 32)).await;
        assert_eq!((told, read_stamps(&*engine, 31, 2).await.unwrap()), (Ok(None), vec![8, 0]));
        engine.or_write(31 * SECTOR, stamped(0x11, 2)).await.unwrap();
        assert_eq!(read_stamps(&*engine, 30, 4).await.unwrap(), [8, 0x19, 0x11, 0]);
        let nothing = engine.compare_and_write(0, Bytes::new(), Bytes::new()).await;
        assert_eq!((nothing, engine.or_write(0, Bytes::new()).await), (Ok(None), Ok(())));
    });
    run.unwrap();
}

#[test]
fn a_range_of_more_chunks_than_are_preserved_at_once_is_preserved_whole() {
    let chunks = 300;
    let sectors = chunks * CHUNK_SECTORS;
    let rig = Rig::new(sectors * SECTOR, CHUNK_BYTES, 2 * chunks, &Power::new());
    let run = Simulation::new(1).run(async move {
        let engine = rig.format().await;
        engine.write_at(0, stamped(1, sectors)).await.unwrap();
        let range = PointRange { first_byte: 0, length_bytes: sectors * SECTOR };
        let epoch = take_snapshot(&engine, &rig.catalog, range, |_| {}).await.unwrap();
        engine.or_write(0, stamped(2, sectors)).await.unwrap();
        let image = engine.image(epoch).unwrap();
        assert_eq!(read_stamps(&image, 0, sectors).await.unwrap(), vec![1; sectors as usize]);
        assert_eq!(read_stamps(&*engine, 0, sectors).await.unwrap(), vec![3; sectors as usize]);
    });
    run.unwrap();
}

#[test]
fn an_exclusive_change_that_cannot_be_preserved_changes_nothing() {
    let chunks = 40;
    let sectors = chunks * CHUNK_SECTORS;
    let mut rig = Rig::new(sectors * SECTOR, CHUNK_BYTES, 24, &Power::new());
    rig.policy = FullPolicy::FailWrite;
    let run = Simulation::new(1).run(async move {
        let engine = rig.format().await;
        engine.write_at(0, stamped(1, sectors)).await.unwrap();
        let range = PointRange { first_byte: 0, length_bytes: sectors * SECTOR };
        take_snapshot(&engine, &rig.catalog, range, |_| {}).await.unwrap();
        let outcome = engine.or_write(0, stamped(2, sectors)).await;
        assert_eq!(outcome, Err(IoError::StoreFull));
        assert_eq!(read_stamps(&*engine, 0, sectors).await.unwrap(), vec![1; sectors as usize]);
        // It has let its chunks go, and nobody has to own any.
        engine.compare_and_write(0, stamped(1, 1), stamped(1, 1)).await.unwrap();
    });
    run.unwrap();
}

#[test]
fn only_writes_to_its_chunks_wait_for_an_exclusive_change() {
    for stop in [Stop::BeforeRead, Stop::AfterRead] {
        let rig = Rig::new(SIZE_BYTES, CHUNK_BYTES, 64, &Power::new());
        let run = Simulation::new(1).run(async move {
            let (origin, engine) = engine_over(&rig).await;
            origin.stop_at(stop);
            let other = engine.clone();
            let or = spawn(async move { other.or_write(0, stamped(2, CHUNK_SECTORS)).await });
            origin.stopped.notified().await;
            let other = engine.clone();
            let held = spawn(async move { other.write_at(0, stamped(8, 1)).await.unwrap() });
            engine.write_at(CHUNK_BYTES, stamped(9, 1)).await.unwrap();
            let second = engine.hold().await.flip(ALL).unwrap();
            sleep(LONG).await;
            assert_eq!(read_stamps(&*engine, 0, 9).await.unwrap(), [1, 1, 1, 1, 1, 1, 1, 1, 9]);
            origin.go_on.add_permits(1);
            or.await.unwrap();
            held.await;
            assert_eq!(read_stamps(&*engine, 0, 3).await.unwrap(), [8, 3, 3]);
            // The point was taken before the exclusive change was made.
            let image = engine.image(second).unwrap();
            assert_eq!(read_stamps(&image, 0, 9).await.unwrap(), [1, 1, 1, 1, 1, 1, 1, 1, 9]);
        });
        run.unwrap();
    }
}

#[test]
fn an_exclusive_change_of_a_closed_volume_fails() {
    let rig = Rig::new(SIZE_BYTES, CHUNK_BYTES, 64, &Power::new());
    let run = Simulation::new(1).run(async move {
        let (origin, engine) = engine_over(&rig).await;
        origin.stop_at(Stop::AfterRead);
        let other = engine.clone();
        let or = spawn(async move { other.or_write(0, stamped(2, 1)).await });
        origin.stopped.notified().await;
        engine.close().await.unwrap();
        origin.go_on.add_permits(1);
        assert_eq!(or.await, Err(IoError::Closed));
        assert_eq!(engine.or_write(0, stamped(2, 1)).await, Err(IoError::Closed));
        assert_eq!(read_stamps(&rig.origin, 0, 1).await.unwrap(), [1]);
    });
    run.unwrap();
}
