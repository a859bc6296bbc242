//! Atomic writes over real pools: the power goes after every write and every flush of a run, over
//! several levels, with torn writes; what is left is opened, looked at, used, and cut once more.
//!
//! The run is one task, so at each moment the model knows what every sector may hold:
//! - the range of an atomic write that was under way holds all of it or what it held before;
//! - one that was answered is there, whatever was or was not flushed;
//! - what was written over it later and flushed is never undone by its record;
//! - snapshots hold all of it or nothing.
//!
//! `SCSI_SNAP_STRIDE` is how many steps lie between two cuts (default 3; 1 is every step; seeds begin
//! at different ones).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use datapath::block_io::BlockIo;
use datapath::member::{Member, Power, SimulatedMember};
use datapath::pool::{CreateOptions, Pool, StorePolicy};
use datapath::simulation::{Random, Simulation, sleep, spawn};
use datapath::stripe::Level;
use datapath::volume::{Point, VolumeOptions, Volumes, take_snapshots};

use super::support::*;

const CHUNK: u64 = 8 << 10;
pub const SECTORS: u64 = 20 * CHUNK / SECTOR;
const OPERATIONS: u64 = 14;
pub const LEVELS: [(Level, usize); 3] = [(Level::Raid0, 2), (Level::Raid1, 2), (Level::Raid5, 3)];

type TestVolumes = Arc<Volumes<SimulatedMember>>;

/// Members of a pool with a volume of ones, closed.
pub fn prepared(level: Level, count: usize) -> Vec<SimulatedMember> {
    let power = Power::new();
    let member = |n| SimulatedMember::new(&format!("m{n}"), 8 << 20, &power);
    let members: Vec<_> = (0..count).map(member).collect();
    let inside = members.clone();
    let run = Simulation::new(1).run(async move {
        let create = CreateOptions { name: "tank".to_owned(), level, strip_bytes: 4 << 10 };
        let pool = Pool::create(inside, create).await.unwrap();
        let volumes = Volumes::open(pool).await.unwrap();
        let options = VolumeOptions {
            name: "vol0".to_owned(),
            size_bytes: SECTORS * SECTOR,
            block_bytes: 512,
            chunk_bytes: CHUNK as u32,
            policy: StorePolicy::DropSnapshot,
            store_limit_bytes: None,
            attributes: BTreeMap::new(),
        };
        let volume = volumes.create(options).await.unwrap();
        volume.write_at(0, stamped(1, SECTORS)).await.unwrap();
        volumes.close().await.unwrap();
        volumes.pool().close().await.unwrap();
    });
    run.unwrap();
    members
}

pub async fn open<M: Member>(members: Vec<M>) -> Arc<Volumes<M>> {
    Volumes::open(Pool::open(members).await.unwrap()).await.unwrap()
}

/// What a cut leaves of each member.
pub fn survivors(
    members: &[SimulatedMember],
    seed: u64,
    power: &Arc<Power>,
) -> Vec<SimulatedMember> {
    let each = members.iter().enumerate();
    each.map(|(n, member)| member.survivor(seed.wrapping_add(n as u64 * 0x9E37), power)).collect()
}

#[derive(Clone)]
struct Model {
    current: Vec<u64>,
    possible: Vec<Vec<u64>>,
    /// First sector, sectors and stamp of the atomic write that is under way.
    under_way: Option<(u64, u64, u64)>,
    snapshots: BTreeMap<String, Vec<u64>>,
    next_stamp: u64,
}

impl Model {
    fn new() -> Self {
        let (current, possible) = (vec![1; SECTORS as usize], vec![vec![1]; SECTORS as usize]);
        Self { current, possible, under_way: None, snapshots: BTreeMap::new(), next_stamp: 2 }
    }

    fn stamp(&mut self) -> u64 {
        self.next_stamp += 1;
        self.next_stamp
    }

    fn write(&mut self, first: u64, sectors: u64, stamp: u64) {
        for sector in first as usize..(first + sectors) as usize {
            self.current[sector] = stamp;
            self.possible[sector].push(stamp);
        }
    }

    fn wrote_atomically(&mut self, first: u64, sectors: u64, stamp: u64) {
        for sector in first as usize..(first + sectors) as usize {
            self.current[sector] = stamp;
            self.possible[sector] = vec![stamp];
        }
        self.under_way = None;
    }

    fn flushed(&mut self) {
        self.possible = self.current.iter().map(|stamp| vec![*stamp]).collect();
    }

    /// Goes on from what was found after a cut, which must be what may be there.
    fn take_over(&mut self, found: Vec<u64>) {
        if let Some((first, sectors, stamp)) = self.under_way
            && found[first as usize] == stamp
        {
            self.wrote_atomically(first, sectors, stamp);
        }
        for (sector, stamp) in found.iter().enumerate() {
            let possible = &self.possible[sector];
            assert!(possible.contains(stamp), "sector {sector} holds {stamp}, not of {possible:?}");
        }
        self.under_way = None;
        self.current = found;
        self.flushed();
    }
}

type Shared = Rc<RefCell<Model>>;

async fn life(volumes: &TestVolumes, model: &Shared, random: &mut Random) {
    let volume = volumes.get("vol0").unwrap();
    for _ in 0..OPERATIONS {
        match random.below(20) {
            0..=8 => {
                let (first, sectors) = random_range(random, SECTORS, 70);
                let stamp = model.borrow_mut().stamp();
                model.borrow_mut().under_way = Some((first, sectors, stamp));
                let data = stamped(stamp, sectors);
                volume.write_atomic(first * SECTOR, data).await.unwrap();
                model.borrow_mut().wrote_atomically(first, sectors, stamp);
            }
            9..=13 => {
                let (first, sectors) = random_range(random, SECTORS, 100);
                let stamp = model.borrow_mut().stamp();
                model.borrow_mut().write(first, sectors, stamp);
                volume.write_at(first * SECTOR, stamped(stamp, sectors)).await.unwrap();
            }
            14..=16 => {
                volume.flush().await.unwrap();
                model.borrow_mut().flushed();
            }
            17 | 18 => {
                let name = format!("s{}", model.borrow_mut().stamp());
                let content = model.borrow().current.clone();
                model.borrow_mut().snapshots.insert(name.clone(), content);
                let volume = volume.clone();
                take_snapshots(&[Point { volume, name, range: None }]).await.unwrap();
                model.borrow_mut().flushed();
            }
            _ => {
                let record = volumes.pool().catalog().volume_named("vol0").unwrap().clone();
                if let Some(first) = record.snapshots.first() {
                    volumes.delete_snapshot("vol0", &first.name).await.unwrap();
                }
            }
        }
    }
}

async fn verify(volumes: &TestVolumes, model: &Shared) {
    let volume = volumes.get("vol0").unwrap();
    let found = read_stamps(&*volume, 0, SECTORS).await.unwrap();
    model.borrow_mut().take_over(found);
    let report = volumes.check("vol0").await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    let record = volumes.pool().catalog().volume_named("vol0").unwrap().clone();
    for snapshot in &record.snapshots {
        let image = volumes.snapshot_image("vol0", &snapshot.name).unwrap();
        let read = read_stamps(&*image, 0, SECTORS).await.unwrap();
        assert_eq!(read, model.borrow().snapshots[&snapshot.name], "{}", snapshot.name);
    }
}

/// A life that begins with a look at what is there; the power may go in it, also while it is opened.
fn live(seed: u64, power: &Arc<Power>, members: &[SimulatedMember], model: &Shared) {
    let (members, in_run) = (members.to_vec(), model.clone());
    let outcome = Simulation::new(seed).run(async move {
        let volumes = open(members).await;
        verify(&volumes, &in_run).await;
        life(&volumes, &in_run, &mut Random::new(seed)).await;
    });
    assert!(outcome.is_ok() || power.is_off(), "deadlock: {outcome:?}");
}

fn copies(members: &[SimulatedMember], power: &Arc<Power>) -> Vec<SimulatedMember> {
    members.iter().map(|member| member.copy(power)).collect()
}

#[test]
fn an_atomic_write_is_there_whole_or_not_at_all_wherever_the_power_goes() {
    let stride = std::env::var("SCSI_SNAP_STRIDE").ok().and_then(|text| text.parse().ok());
    let stride: u64 = stride.unwrap_or(3);
    for (level, count) in LEVELS {
        let prepared = prepared(level, count);
        for seed in seeds(6) {
            let mut cut = 1 + seed % stride;
            // Ends when a life has fewer steps.
            while lives_cut_at(seed, cut, &prepared) {
                cut += stride;
            }
            assert!(cut > 60, "a life of {cut} steps proves nothing");
        }
    }
}

fn lives_cut_at(seed: u64, cut: u64, prepared: &[SimulatedMember]) -> bool {
    let _named = Seed("atomic writes", seed, cut);
    let power = Power::cut_at(cut);
    let model = shared(Model::new());
    let members = copies(prepared, &power);
    live(seed, &power, &members, &model);
    let mut random = Random::new(seed ^ cut << 20);
    let again = Power::cut_at(1 + random.below(60));
    let members = survivors(&members, random.next_u64(), &again);
    live(random.next_u64(), &again, &members, &model);
    let members = survivors(&members, random.next_u64(), &Power::new());
    let last = Simulation::new(seed).run(async move { verify(&open(members).await, &model).await });
    last.unwrap();
    power.is_off()
}

/// Sectors whose stamps one task raises: what is there after a cut is `answered` or later, and of an
/// atomic range all the same.
#[derive(Clone, Copy, Default)]
struct Region {
    answered: u64,
    durable: u64,
    issued: u64,
}

const REGIONS: u64 = 8;
const REGION_SECTORS: u64 = SECTORS / REGIONS;

fn is_atomic(region: u64) -> bool {
    region.is_multiple_of(2)
}

async fn raise(volumes: TestVolumes, region: u64, world: Rc<RefCell<Vec<Region>>>, seed: u64) {
    let volume = volumes.get("vol0").unwrap();
    let mut random = Random::new(seed);
    let (index, offset) = (region as usize, region * REGION_SECTORS * SECTOR);
    for _ in 0..6 {
        let stamp = world.borrow()[index].issued + 1;
        world.borrow_mut()[index].issued = stamp;
        let data = stamped(stamp, REGION_SECTORS);
        if is_atomic(region) {
            volume.write_atomic(offset, data).await.unwrap();
            world.borrow_mut()[index].durable = stamp;
        } else {
            volume.write_at(offset, data).await.unwrap();
        }
        world.borrow_mut()[index].answered = stamp;
        sleep(random.below(30)).await;
    }
}

/// Each region's stamps are ones that may be there, and those of an atomic one are all the same.
fn check_regions(stamps: &[u64], world: &[Region], after_a_cut: bool) {
    for (region, bounds) in world.iter().enumerate() {
        let own = &stamps[region * REGION_SECTORS as usize..][..REGION_SECTORS as usize];
        let least = if after_a_cut { bounds.durable } else { bounds.answered };
        let possible = least..=bounds.issued;
        assert!(own.iter().all(|stamp| possible.contains(stamp)), "{region}: {own:?} {possible:?}");
        let torn = own.iter().any(|stamp| *stamp != own[0]);
        assert!(!(torn && is_atomic(region as u64)), "{region}: {own:?}");
    }
}

#[test]
fn atomic_writes_among_others_are_whole_after_a_cut_and_in_every_snapshot() {
    let prepared: Vec<_> = LEVELS.iter().map(|(level, n)| prepared(*level, *n)).collect();
    for seed in seeds(120) {
        let mut random = Random::new(seed ^ 0xA70);
        let cut = 30 + random.below(500);
        let _named = Seed("atomic regions", seed, cut);
        let power = Power::cut_at(cut);
        let members = copies(&prepared[seed as usize % LEVELS.len()], &power);
        let members: Vec<_> = members.into_iter().map(|one| one.with_delays(seed)).collect();
        // All sectors begin with stamp 1.
        let region = Region { answered: 1, durable: 1, issued: 1 };
        let world = shared(vec![region; REGIONS as usize]);
        let (inside, in_run) = (members.clone(), world.clone());
        let outcome = Simulation::new(seed).run(async move {
            let volumes = open(inside).await;
            let mut tasks = Vec::new();
            for region in 0..REGIONS {
                tasks.push(spawn(raise(volumes.clone(), region, in_run.clone(), seed + region)));
            }
            for number in 0..5 {
                let volume = volumes.get("vol0").unwrap();
                let name = format!("s{number}");
                take_snapshots(&[Point { volume, name, range: None }]).await.unwrap();
                sleep(20).await;
            }
            for task in tasks {
                task.await;
            }
            let regions = in_run.borrow().clone();
            check_snapshots(&volumes, regions).await;
            let volume = volumes.get("vol0").unwrap();
            let stamps = read_stamps(&*volume, 0, SECTORS).await.unwrap();
            check_regions(&stamps, &in_run.borrow(), false);
        });
        assert!(outcome.is_ok() || power.is_off(), "deadlock: {outcome:?}");
        let members = survivors(&members, random.next_u64(), &Power::new());
        let last = Simulation::new(seed).run(async move {
            let volumes = open(members).await;
            let volume = volumes.get("vol0").unwrap();
            let stamps = read_stamps(&*volume, 0, SECTORS).await.unwrap();
            check_regions(&stamps, &world.borrow(), true);
            let regions = world.borrow().clone();
            check_snapshots(&volumes, regions).await;
        });
        last.unwrap();
    }
}

/// No atomic region is torn in a snapshot.
async fn check_snapshots(volumes: &TestVolumes, mut world: Vec<Region>) {
    world.iter_mut().for_each(|region| region.durable = 1);
    let record = volumes.pool().catalog().volume_named("vol0").unwrap().clone();
    for snapshot in &record.snapshots {
        let image = volumes.snapshot_image("vol0", &snapshot.name).unwrap();
        let stamps = read_stamps(&*image, 0, SECTORS).await.unwrap();
        check_regions(&stamps, &world, true);
    }
}
