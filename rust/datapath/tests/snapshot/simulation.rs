//! Two volumes under the seeded executor: writers, snapshot takers over both volumes, deleters, image
//! readers, flushers, delays, and faults or a power cut, all at once.
//!
//! Each writer owns every so-manieth sector of both volumes and writes one after another, so that the
//! history of each sector is known. A snapshot must be a point in time:
//! - it holds what was completed before its point, and nothing issued after it;
//! - if it holds a writer's write, it holds all that this writer wrote before, in both volumes;
//! - it reads the same each time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use datapath::block_io::BlockIo;
use datapath::error::IoError;
use datapath::member::Power;
use datapath::simulation::{Random, Simulation, sleep, spawn};
use datapath::snapshot::{FullPolicy, PointRange, hold_all};
use datapath::units::Epoch;

use super::support::*;

const CHUNK_BYTES: u64 = 4 << 10;
const SECTORS: u64 = 16 * CHUNK_BYTES / SECTOR;
const WRITERS: u64 = 6;
const VOLUMES: usize = 2;
const RANGE: PointRange = PointRange { first_byte: 0, length_bytes: SECTORS * SECTOR };

/// The writes of one sector: their stamps, rising, 0 being the beginning.
#[derive(Clone)]
struct Sector {
    issued: Vec<u64>,
    completed: u64,
    durable: u64,
}

/// A snapshot's volume: what its sectors may hold, and do hold once they were read.
#[derive(Clone)]
struct Image {
    earliest: Vec<u64>,
    latest: Vec<u64>,
    read: Option<Vec<u64>>,
    /// Whether the sectors' histories reach back to its point.
    of_this_life: bool,
}

#[derive(Clone)]
struct World {
    sectors: Vec<Vec<Sector>>,
    /// By the volumes' epochs, which belong to one point.
    images: BTreeMap<[Epoch; VOLUMES], [Option<Image>; VOLUMES]>,
    next_stamp: u64,
}

impl World {
    fn new() -> Self {
        let sector = Sector { issued: vec![0], completed: 0, durable: 0 };
        let sectors = vec![vec![sector; SECTORS as usize]; VOLUMES];
        Self { sectors, images: BTreeMap::new(), next_stamp: 1 }
    }

    fn image_now(&self, volume: usize) -> Image {
        let sectors = &self.sectors[volume];
        Image {
            earliest: sectors.iter().map(|sector| sector.completed).collect(),
            latest: sectors.iter().map(|sector| *sector.issued.last().unwrap()).collect(),
            read: None,
            of_this_life: true,
        }
    }

    /// Takes in what a volume of a snapshot reads as.
    fn saw(&mut self, epochs: [Epoch; VOLUMES], volume: usize, read: Vec<u64>) {
        let images = self.images.get_mut(&epochs).unwrap();
        // A snapshot that was never recorded; its epoch may be another's now.
        let Some(image) = &mut images[volume] else { return };
        for (sector, stamp) in read.iter().enumerate() {
            let possible = image.earliest[sector]..=image.latest[sector];
            assert!(possible.contains(stamp), "sector {sector} reads {stamp}, not of {possible:?}");
        }
        if let Some(before) = &image.read {
            assert_eq!(*before, read, "an image changed");
        }
        image.read = Some(read);
        self.check_causality(epochs);
    }

    /// Each writer's writes are there up to one of them, in both volumes.
    fn check_causality(&self, epochs: [Epoch; VOLUMES]) {
        let images = self.images[&epochs].iter().enumerate();
        let images: Vec<(usize, &Image)> = images
            .filter_map(|(volume, image)| Some((volume, image.as_ref()?)))
            .filter(|(_, image)| image.of_this_life)
            .collect();
        for writer in 0..WRITERS {
            let own = || (writer..SECTORS).step_by(WRITERS as usize).map(|sector| sector as usize);
            let read = images.iter().filter_map(|(_, image)| image.read.as_ref());
            let last = read.flat_map(|read| own().map(|sector| read[sector])).max().unwrap_or(0);
            for (volume, image) in &images {
                let Some(read) = &image.read else { continue };
                for sector in own() {
                    let issued = &self.sectors[*volume][sector].issued;
                    let expected = issued.iter().rfind(|stamp| **stamp <= last).unwrap();
                    assert_eq!(read[sector], *expected, "sector {sector} lags behind write {last}");
                }
            }
        }
    }
}

#[derive(Clone)]
struct Scene {
    rigs: [Rig; VOLUMES],
    engines: [Arc<TestEngine<Medium>>; VOLUMES],
    world: Rc<RefCell<World>>,
    faults: bool,
}

impl Scene {
    async fn write(&self, writer: u64, random: &mut Random) {
        let volume = random.below(VOLUMES as u64) as usize;
        let sector = writer + WRITERS * random.below((SECTORS - writer).div_ceil(WRITERS));
        let stamp = {
            let mut world = self.world.borrow_mut();
            let stamp = world.next_stamp;
            world.next_stamp += 1;
            world.sectors[volume][sector as usize].issued.push(stamp);
            stamp
        };
        let written = self.engines[volume].write_at(sector * SECTOR, stamped(stamp, 1)).await;
        let sector = &mut self.world.borrow_mut().sectors[volume][sector as usize];
        match written {
            Ok(()) => sector.completed = stamp,
            // Refused before the origin was touched: a fault of the origin has no effect either.
            Err(error) => {
                assert!(self.faults || error == IoError::StoreFull, "{error}");
                assert_eq!(sector.issued.pop(), Some(stamp));
            }
        }
    }

    /// Whether it succeeded.
    async fn flush(&self, volume: usize) -> bool {
        let completed: Vec<u64> = {
            let world = self.world.borrow();
            world.sectors[volume].iter().map(|sector| sector.completed).collect()
        };
        if let Err(error) = self.engines[volume].flush().await {
            assert!(self.faults, "{error}");
            return false;
        }
        let mut world = self.world.borrow_mut();
        for (sector, completed) in world.sectors[volume].iter_mut().zip(completed) {
            sector.durable = sector.durable.max(completed);
        }
        true
    }

    /// One point over both volumes, recorded like a group of one pool: both or none.
    async fn snapshot(&self) {
        let epochs = {
            let holds = hold_all(&[&*self.engines[0], &*self.engines[1]]).await;
            let epochs = [holds[0].flip(RANGE).unwrap(), holds[1].flip(RANGE).unwrap()];
            let mut world = self.world.borrow_mut();
            let images = [Some(world.image_now(0)), Some(world.image_now(1))];
            assert!(world.images.insert(epochs, images).is_none(), "an epoch used twice");
            epochs
        };
        for volume in 0..VOLUMES {
            if !self.flush(volume).await {
                self.engines.iter().zip(epochs).for_each(|(engine, epoch)| engine.forget(&[epoch]));
                return;
            }
        }
        for ((rig, engine), epoch) in self.rigs.iter().zip(&self.engines).zip(epochs) {
            let recorded = rig.catalog.update(|state| {
                let given_up = state.unrecorded.contains(&epoch);
                if !given_up {
                    state.next_epoch = state.next_epoch.max(epoch.0 + 1);
                    state.live.insert(epoch, RANGE);
                }
                !given_up
            });
            if !recorded.await {
                engine.forget(&[epoch]);
            }
        }
    }

    async fn delete(&self, random: &mut Random) {
        let volume = random.below(VOLUMES as u64) as usize;
        let points = self.rigs[volume].catalog.points();
        if points.len() > 2 {
            let point = points[random.below(points.len() as u64) as usize];
            delete_snapshot(&self.engines[volume], &self.rigs[volume].catalog, point.epoch).await;
        }
    }

    async fn read_image(&self, random: &mut Random) {
        let all: Vec<_> = self.world.borrow().images.keys().copied().collect();
        let Some(index) = (!all.is_empty()).then(|| random.below(all.len() as u64) as usize) else {
            return;
        };
        let volume = random.below(VOLUMES as u64) as usize;
        self.read_image_of(all[index], volume).await;
    }

    async fn read_image_of(&self, epochs: [Epoch; VOLUMES], volume: usize) {
        let Ok(image) = self.engines[volume].image(epochs[volume]) else { return };
        let mapped = mapped_sectors(&image, 0, SECTORS).await;
        match read_stamps(&image, 0, SECTORS).await {
            Ok(read) => {
                let mut told = mapped.iter().flatten().zip(&read);
                assert!(
                    told.all(|(mapped, stamp)| *mapped || *stamp == 0),
                    "deallocated, but data"
                );
                self.world.borrow_mut().saw(epochs, volume, read);
            }
            Err(IoError::SnapshotInvalid) => {}
            Err(error) => assert!(self.faults, "{error}"),
        }
    }

    async fn verify_images(&self) {
        let all: Vec<_> = self.world.borrow().images.keys().copied().collect();
        for epochs in all {
            for volume in 0..VOLUMES {
                self.read_image_of(epochs, volume).await;
            }
        }
    }

    /// What must hold when nothing else runs.
    async fn verify(&self) {
        self.verify_images().await;
        for (volume, engine) in self.engines.iter().enumerate() {
            let report = engine.check().await.unwrap();
            assert_eq!(report.problems, Vec::<String>::new());
            let origin = read_stamps(&**engine, 0, SECTORS).await.unwrap();
            let world = self.world.borrow();
            for (stamp, sector) in origin.iter().zip(&world.sectors[volume]) {
                assert!(sector.issued.contains(stamp) && *stamp >= sector.durable);
            }
        }
    }
}

impl Scene {
    /// After a cut: what the media hold is where the histories begin anew.
    async fn begin_next_life(&self) {
        for (volume, engine) in self.engines.iter().enumerate() {
            let origin = read_stamps(&**engine, 0, SECTORS).await.unwrap();
            let live = engine.live_epochs();
            let mut world = self.world.borrow_mut();
            world.sectors[volume] = origin
                .into_iter()
                .map(|stamp| Sector { issued: vec![stamp], completed: stamp, durable: stamp })
                .collect();
            for (epochs, images) in &mut world.images {
                if !live.contains(&epochs[volume]) {
                    images[volume] = None;
                }
                images.iter_mut().flatten().for_each(|image| image.of_this_life = false);
            }
        }
        self.world.borrow_mut().images.retain(|_, images| images.iter().any(Option::is_some));
    }
}

async fn play(scene: Scene, mut random: Random) {
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let (scene, mut random) = (scene.clone(), Random::new(random.next_u64()));
        tasks.push(spawn(async move {
            for _ in 0..40 {
                scene.write(writer, &mut random).await;
                sleep(random.below(3) * random.below(30)).await;
            }
        }));
    }
    for role in 0..6 {
        let (scene, mut random) = (scene.clone(), Random::new(random.next_u64()));
        tasks.push(spawn(async move {
            for _ in 0..8 {
                sleep(random.below(40)).await;
                match role {
                    0 | 1 => scene.snapshot().await,
                    2 => scene.delete(&mut random).await,
                    3 => drop(scene.flush(random.below(2) as usize).await),
                    _ => scene.read_image(&mut random).await,
                }
            }
        }));
    }
    for task in tasks {
        task.await;
    }
}

async fn scene(rigs: [Rig; VOLUMES], world: Rc<RefCell<World>>, faults: bool) -> Scene {
    let engines = [rigs[0].open().await.unwrap(), rigs[1].open().await.unwrap()];
    Scene { rigs, engines, world, faults }
}

fn rigs(seed: u64, power: &Arc<Power>) -> [Rig; VOLUMES] {
    let mut random = Random::new(seed ^ 0xA11);
    let limit_chunks = 20 + random.below(80);
    let rig = |number: u64| {
        let mut rig = Rig::new(SECTORS * SECTOR, CHUNK_BYTES, limit_chunks, power);
        rig.policy = match seed % 3 {
            0 => FullPolicy::FailWrite,
            _ => FullPolicy::DropSnapshot,
        };
        rig.with_delays(seed.wrapping_mul(31) + number)
    };
    [rig(0), rig(1)]
}

/// Looks at everything, drops the engines as a kill would, and looks again at what opens.
async fn verify_also_reopened(scene: Scene) {
    scene.verify_images().await;
    let (rigs, world) = (scene.rigs.clone(), scene.world.clone());
    drop(scene);
    self::scene(rigs, world, false).await.verify().await;
}

#[test]
fn snapshots_are_points_in_time_whatever_happens_meanwhile() {
    for seed in seeds(1000) {
        let _named = Seed("simulation", seed, 0);
        let rigs = rigs(seed, &Power::new());
        let outcome = Simulation::new(seed).run(async move {
            drop((rigs[0].format().await, rigs[1].format().await));
            let scene = scene(rigs, shared(World::new()), false).await;
            play(scene.clone(), Random::new(seed)).await;
            scene.verify().await;
        });
        outcome.unwrap();
    }
}

#[test]
fn failing_stores_cost_snapshots_or_writes_and_never_wrong_data() {
    for seed in seeds(1000) {
        let _named = Seed("faults", seed, 0);
        let rigs = rigs(seed, &Power::new());
        let outcome = Simulation::new(seed).run(async move {
            drop((rigs[0].format().await, rigs[1].format().await));
            let scene = scene(rigs, shared(World::new()), true).await;
            scene.rigs[0].store_faults.errors(seed, 12);
            scene.rigs[1].store_faults.errors(!seed, 60);
            play(scene.clone(), Random::new(seed)).await;
            scene.rigs.iter().for_each(|rig| rig.store_faults.errors(seed, u64::MAX));
            verify_also_reopened(scene).await;
        });
        outcome.unwrap();
    }
}

#[test]
fn failing_origins_and_ledgers_cost_snapshots_or_writes_and_never_wrong_data() {
    for seed in seeds(1000) {
        let _named = Seed("origin faults", seed, 0);
        let rigs = rigs(seed, &Power::new());
        let outcome = Simulation::new(seed).run(async move {
            drop((rigs[0].format().await, rigs[1].format().await));
            let scene = scene(rigs, shared(World::new()), true).await;
            let all_faults = |one_in: u64, ledger: u64| {
                for (number, rig) in scene.rigs.iter().enumerate() {
                    rig.origin_faults.errors(seed ^ number as u64, one_in);
                    rig.store_faults.errors(seed ^ 0xFA ^ number as u64, one_in);
                    rig.catalog.failures_one_in.store(ledger, Ordering::SeqCst);
                }
            };
            all_faults(20, 2);
            play(scene.clone(), Random::new(seed)).await;
            all_faults(u64::MAX, 0);
            verify_also_reopened(scene).await;
        });
        outcome.unwrap();
    }
}

#[test]
fn clean_restarts_change_nothing() {
    for seed in seeds(400) {
        let _named = Seed("restarts", seed, 0);
        let rigs = rigs(seed, &Power::new());
        let outcome = Simulation::new(seed).run(async move {
            drop((rigs[0].format().await, rigs[1].format().await));
            let mut scene = scene(rigs, shared(World::new()), false).await;
            let mut random = Random::new(seed);
            for _ in 0..3 {
                play(scene.clone(), Random::new(random.next_u64())).await;
                for engine in &scene.engines {
                    engine.close().await.unwrap();
                }
                scene = self::scene(scene.rigs.clone(), scene.world.clone(), false).await;
                scene.verify().await;
                scene.begin_next_life().await;
            }
        });
        outcome.unwrap();
    }
}

#[test]
fn a_cut_in_the_middle_of_everything_leaves_points_in_time() {
    for seed in seeds(1000) {
        let mut random = Random::new(seed ^ 0xC07);
        let cut = 20 + random.below(600);
        let _named = Seed("cut", seed, cut);
        let power = Power::cut_at(cut);
        let world = shared(World::new());
        let (first, in_run) = (rigs(seed, &power), world.clone());
        let rigs = first.clone();
        let outcome = Simulation::new(seed).run(async move {
            drop((first[0].format().await, first[1].format().await));
            let scene = scene(first, in_run, false).await;
            play(scene, Random::new(seed)).await;
        });
        assert!(outcome.is_ok() || power.is_off(), "deadlock: {outcome:?}");
        let power = Power::new();
        let rigs = rigs.each_ref().map(|rig| rig.survivor(random.next_u64(), &power));
        let world = world.borrow().clone();
        let outcome = Simulation::new(seed).run(async move {
            let scene = scene(rigs, shared(world), false).await;
            scene.verify().await;
            scene.begin_next_life().await;
            play(scene.clone(), random).await;
            scene.verify().await;
        });
        outcome.unwrap();
    }
}
