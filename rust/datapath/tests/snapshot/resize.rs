//! Volumes that grow, with snapshots and writes going on, through power cuts.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use datapath::block_io::BlockIo;
use datapath::error::IoError;
use datapath::member::{Call, FaultPlan, Faulty, Power, SimulatedMember};
use datapath::pool::{CreateOptions, Pool, StorePolicy};
use datapath::simulation::{Random, Simulation, sleep, spawn};
use datapath::stripe::Level;
use datapath::volume::{ByteRun, Point, VolumeOptions, Volumes, take_snapshots};

use super::support::*;

type TestVolumes<M = SimulatedMember> = Arc<Volumes<M>>;

const CHUNK: u64 = 64 << 10;
/// Two chunks and a half.
const OLD: u64 = 5 * CHUNK / 2;
/// Beyond the first extent, and a part of a chunk again.
const NEW: u64 = (3 << 20) + 5 * SECTOR;

fn members(power: &Arc<Power>) -> Vec<SimulatedMember> {
    ["m0", "m1"].map(|name| SimulatedMember::new(name, 16 << 20, power)).to_vec()
}

async fn create<M: datapath::member::Member>(members: Vec<M>, level: Level) -> TestVolumes<M> {
    let options = CreateOptions { name: "tank".to_owned(), level, strip_bytes: 16 << 10 };
    Volumes::open(Pool::create(members, options).await.unwrap()).await.unwrap()
}

async fn open(members: Vec<SimulatedMember>) -> TestVolumes {
    Volumes::open(Pool::open(members).await.unwrap()).await.unwrap()
}

fn options(name: &str, size_bytes: u64) -> VolumeOptions {
    VolumeOptions {
        name: name.to_owned(),
        size_bytes,
        block_bytes: 512,
        chunk_bytes: CHUNK as u32,
        policy: StorePolicy::DropSnapshot,
        store_limit_bytes: None,
        attributes: BTreeMap::new(),
    }
}

async fn snapshot(volumes: &TestVolumes, name: &str) {
    let volume = volumes.get("vol0").unwrap();
    take_snapshots(&[Point { volume, name: name.to_owned(), range: None }]).await.unwrap();
}

/// All sectors of the snapshot's image.
async fn image_of(volumes: &TestVolumes, snapshot: &str) -> Vec<u64> {
    let image = volumes.snapshot_image("vol0", snapshot).unwrap();
    read_stamps(&*image, 0, image.size_bytes() / SECTOR).await.unwrap()
}

async fn verify_grown(volumes: &TestVolumes) {
    assert_eq!(image_of(volumes, "monday").await, vec![1; (OLD / SECTOR) as usize]);
    assert_eq!(image_of(volumes, "tuesday").await, vec![2; (NEW / SECTOR) as usize]);
    let whole = |length_bytes| [ByteRun { first_byte: 0, length_bytes }];
    assert_eq!(volumes.diff("vol0", "monday", Some("tuesday")).unwrap(), whole(OLD));
    assert_eq!(volumes.diff("vol0", "tuesday", None).unwrap()[0].first_byte, 0);
    assert_eq!(volumes.check("vol0").await.unwrap().problems, Vec::<String>::new());
}

#[test]
fn a_volume_grows_and_its_snapshots_do_not() {
    let run = Simulation::new(1).run(async {
        let power = Power::new();
        let members = members(&power);
        let volumes = create(members.clone(), Level::Raid1).await;
        let volume = volumes.create(options("vol0", OLD)).await.unwrap();
        // What its neighbour held must not be seen in the part that it grows by.
        let other = volumes.create(options("other", 4 << 20)).await.unwrap();
        other.write_at(0, stamped(9, (4 << 20) / SECTOR)).await.unwrap();
        volumes.delete("other").await.unwrap();
        volume.write_at(0, stamped(1, OLD / SECTOR)).await.unwrap();
        snapshot(&volumes, "monday").await;
        let before = volumes.snapshot_image("vol0", "monday").unwrap();

        volumes.resize("vol0", NEW).await.unwrap();
        assert_eq!((volume.size_bytes(), before.size_bytes()), (NEW, OLD));
        let grown = read_stamps(&*volume, OLD / SECTOR, (NEW - OLD) / SECTOR).await.unwrap();
        assert!(grown.iter().all(|stamp| *stamp == 0), "old data in the new part");
        let mapped = mapped_sectors(&*volume, OLD / SECTOR, (NEW - OLD) / SECTOR).await.unwrap();
        assert!(!mapped[mapped.len() - 1], "the new part takes no room");
        volume.write_at(0, stamped(2, NEW / SECTOR)).await.unwrap();
        snapshot(&volumes, "tuesday").await;
        volume.write_at(0, stamped(3, NEW / SECTOR)).await.unwrap();

        verify_grown(&volumes).await;
        volumes.close().await.unwrap();
        volumes.pool().close().await.unwrap();
        verify_grown(&open(members).await).await;
    });
    run.unwrap();
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let run = Simulation::new(1).run(async {
        let volumes = create(members(&Power::new()), Level::Raid1).await;
        let volume = volumes.create(options("vol0", OLD)).await.unwrap();
        let before = volumes.pool().catalog();
        volumes.resize("vol0", OLD).await.unwrap();
        for (size_bytes, code) in [
            (OLD - SECTOR, "invalid-argument"),
            (0, "invalid-argument"),
            (NEW + 1, "invalid-argument"),
            (CHUNK << 33, "invalid-argument"),
            (1 << 30, "no-space"),
        ] {
            let refused = volumes.resize("vol0", size_bytes).await.unwrap_err();
            assert_eq!(refused.code(), code, "{size_bytes}: {refused}");
        }
        assert!(volumes.resize("vol0", SECTOR).await.unwrap_err().to_string().contains("shrink"));
        assert_eq!(volumes.resize("vol1", NEW).await.unwrap_err().code(), "not-found");
        assert_eq!((volumes.pool().catalog(), volume.size_bytes()), (before, OLD));
    });
    run.unwrap();
}

#[test]
fn a_snapshot_without_a_size_keeps_that_of_its_volume() {
    let run = Simulation::new(1).run(async {
        let volumes = create(members(&Power::new()), Level::Raid1).await;
        volumes.create(options("vol0", OLD)).await.unwrap();
        snapshot(&volumes, "monday").await;
        // As catalogs are that were written before snapshots had a size.
        let update = volumes.pool().update(|catalog| {
            for volume in catalog.volumes.values_mut() {
                Arc::make_mut(volume).snapshots[0].volume_bytes = None;
            }
            Ok(())
        });
        update.await.unwrap();
        let size = || volumes.snapshot_image("vol0", "monday").unwrap().size_bytes();
        assert_eq!(size(), OLD);
        volumes.resize("vol0", NEW).await.unwrap();
        assert_eq!(size(), OLD);
    });
    run.unwrap();
}

/// A volume of ones with a snapshot grows while twos are written over it, and then where it has grown;
/// the power goes at a step. Returns what is left, whether the resize was answered, and the steps.
fn cut_life(seed: u64, cut: u64) -> (Vec<SimulatedMember>, bool, u64, u64) {
    let power = Power::new();
    let members: Vec<_> =
        members(&power).into_iter().map(|member| member.with_delays(seed)).collect();
    let (inside, in_run) = (members.clone(), power.clone());
    let (answered, began) = (Rc::new(RefCell::new(false)), Rc::new(RefCell::new(0)));
    let (told, tells) = (answered.clone(), began.clone());
    let outcome = Simulation::new(seed).run(async move {
        let volumes = create(inside, Level::Raid1).await;
        let volume = volumes.create(options("vol0", OLD)).await.unwrap();
        volume.write_at(0, stamped(1, OLD / SECTOR)).await.unwrap();
        snapshot(&volumes, "monday").await;
        *tells.borrow_mut() = in_run.steps();
        in_run.cut_after(cut);
        let writing = volume.clone();
        let writer = spawn(async move {
            for sector in (0..OLD / SECTOR).step_by(16) {
                writing.write_at(sector * SECTOR, stamped(2, 16)).await.unwrap();
                sleep(7).await;
            }
        });
        volumes.resize("vol0", NEW).await.unwrap();
        *told.borrow_mut() = true;
        volume.write_at(OLD, stamped(3, (NEW - OLD) / SECTOR)).await.unwrap();
        volume.flush().await.unwrap();
        writer.await;
    });
    assert!(outcome.is_ok() || power.is_off(), "deadlock: {outcome:?}");
    let answered = *answered.borrow();
    (members, answered, *began.borrow(), power.steps())
}

#[test]
fn a_cut_leaves_the_old_size_or_the_new_one() {
    for seed in seeds(3) {
        let (_, _, began, steps) = cut_life(seed, u64::MAX / 2);
        let mut sizes = std::collections::BTreeSet::new();
        for cut in 0..steps - began {
            let _named = Seed("resize", seed, cut);
            let (members, answered, ..) = cut_life(seed, cut);
            let power = Power::new();
            let survivors = members.iter().map(|member| member.survivor(seed ^ cut, &power));
            let survivors: Vec<_> = survivors.collect();
            let run = Simulation::new(seed).run(async move {
                let volumes = open(survivors).await;
                let volume = volumes.get("vol0").unwrap();
                let size = volume.size_bytes();
                assert!(size == NEW || (size == OLD && !answered), "{size} bytes");
                let record = volumes.pool().catalog().volume_named("vol0").unwrap().clone();
                let space = volumes.pool().space(record.origin).unwrap();
                assert!(space.size_bytes() < size + (2 << 20), "extents are left over");
                let stamps = read_stamps(&*volume, 0, size / SECTOR).await.unwrap();
                let (old, new) = stamps.split_at((OLD / SECTOR) as usize);
                assert!(old.iter().all(|stamp| [1, 2].contains(stamp)));
                assert!(new.iter().all(|stamp| [0, 3].contains(stamp)));
                assert_eq!(image_of(&volumes, "monday").await, vec![1; old.len()]);
                assert_eq!(volumes.check("vol0").await.unwrap().problems, Vec::<String>::new());
                volumes.resize("vol0", NEW).await.unwrap();
                volume.write_at(NEW - SECTOR, stamped(4, 1)).await.unwrap();
                size
            });
            sizes.insert(run.unwrap());
        }
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [OLD, NEW], "both are seen");
    }
}

/// Per sector: the last stamp that was issued and the last that was completed.
type Histories = Rc<RefCell<Vec<(u64, u64)>>>;

/// A snapshot, with what each of its sectors may hold.
type Taken = (String, Vec<(u64, u64)>);

async fn write_some(volumes: &TestVolumes, histories: &Histories, writer: u64, seed: u64) {
    let mut random = Random::new(seed);
    let volume = volumes.get("vol0").unwrap();
    for turn in 1..=40 {
        // Each writer has every third sector; the newest part is written most.
        let sectors = volume.size_bytes() / SECTOR;
        let reach = if random.chance(1, 2) { sectors } else { 64 };
        let back = random.below(reach);
        let sector = (sectors - 1 - back) / 3 * 3 + writer;
        if sector < sectors {
            histories.borrow_mut()[sector as usize].0 = turn;
            volume.write_at(sector * SECTOR, stamped(turn, 1)).await.unwrap();
            histories.borrow_mut()[sector as usize].1 = turn;
        }
        sleep(random.below(40)).await;
    }
}

async fn take_some(volumes: &TestVolumes, histories: &Histories, seed: u64) -> Vec<Taken> {
    let mut random = Random::new(seed);
    let mut taken = Vec::new();
    for number in 0..6 {
        sleep(random.below(200)).await;
        let completed: Vec<u64> = histories.borrow().iter().map(|sector| sector.1).collect();
        let name = format!("s{number}");
        snapshot(volumes, &name).await;
        let issued = histories.borrow().iter().map(|sector| sector.0).collect::<Vec<_>>();
        taken.push((name, completed.into_iter().zip(issued).collect()));
        if random.chance(1, 3) {
            let (name, _) = taken.remove(random.below(taken.len() as u64) as usize);
            volumes.delete_snapshot("vol0", &name).await.unwrap();
        }
    }
    taken
}

async fn grow_some(volumes: &TestVolumes, seed: u64) {
    let mut random = Random::new(seed);
    for _ in 0..6 {
        sleep(random.below(200)).await;
        let size = volumes.get("vol0").unwrap().size_bytes();
        let more = (1 + random.below(600)) * SECTOR;
        volumes.resize("vol0", (size + more).min(NEW)).await.unwrap();
    }
}

#[test]
fn snapshots_are_points_in_time_of_a_volume_that_grows() {
    for seed in seeds(60) {
        let _named = Seed("growing", seed, 0);
        let run = Simulation::new(seed).run(async move {
            let power = Power::new();
            let members: Vec<_> =
                members(&power).into_iter().map(|member| member.with_delays(seed)).collect();
            let volumes = create(members.clone(), Level::Raid0).await;
            volumes.create(options("vol0", OLD)).await.unwrap();
            let histories: Histories = shared(vec![(0, 0); (NEW / SECTOR) as usize]);
            let mut random = Random::new(seed);
            let mut writers = Vec::new();
            for writer in 0..3 {
                let (volumes, histories) = (volumes.clone(), histories.clone());
                let seed = random.next_u64();
                writers.push(spawn(async move {
                    write_some(&volumes, &histories, writer, seed).await;
                }));
            }
            let (growing, grow_seed) = (volumes.clone(), random.next_u64());
            let grower = spawn(async move { grow_some(&growing, grow_seed).await });
            let taken = take_some(&volumes, &histories, random.next_u64()).await;
            grower.await;
            for writer in writers {
                writer.await;
            }
            let mut read = Vec::new();
            for (name, possible) in &taken {
                let image = image_of(&volumes, name).await;
                let mut sectors = image.iter().zip(possible);
                let wrong = sectors.position(|(stamp, (from, to))| !(from..=to).contains(&stamp));
                assert_eq!(wrong, None, "{name}: the first sector that is wrong");
                read.push(image);
            }
            assert_eq!(volumes.check("vol0").await.unwrap().problems, Vec::<String>::new());
            let size = volumes.get("vol0").unwrap().size_bytes();
            drop(volumes);
            let volumes = open(members.iter().map(|member| member.copy(&power)).collect()).await;
            assert_eq!(volumes.get("vol0").unwrap().size_bytes(), size);
            for ((name, _), image) in taken.iter().zip(read) {
                assert_eq!(image_of(&volumes, name).await, image, "{name} after a restart");
            }
        });
        run.unwrap();
    }
}

#[test]
fn a_full_volume_is_whole_or_not_at_all() {
    let run = Simulation::new(1).run(async {
        let plan = FaultPlan::new();
        let media = members(&Power::new());
        let members = media.iter().map(|medium| Faulty::new(medium.clone(), &plan));
        let volumes = create(members.collect(), Level::Raid1).await;
        let mut full = options("vol0", OLD);
        full.attributes.insert("provisioning".to_owned(), "full".to_owned());
        plan.script(Call::Allocate, 1, datapath::member::Fault::Error);
        let refused = volumes.create(full.clone()).await.err().map(|error| error.code());
        assert_eq!(refused, Some("no-space"));
        assert!(volumes.pool().catalog().spaces.is_empty(), "the half-made volume is gone");

        let volume = volumes.create(full).await.unwrap();
        volume.write_at(0, stamped(1, 8)).await.unwrap();
        volume.discard(0, OLD).await.unwrap();
        assert_eq!(read_stamps(&*volume, 0, 8).await.unwrap(), [0; 8]);
        let mapped = mapped_sectors(&*volume, 0, OLD / SECTOR).await.unwrap();
        assert!(mapped.iter().all(|mapped| *mapped), "a full volume has no holes");
        let thin = BTreeMap::from([("provisioning".to_owned(), "thin".to_owned())]);
        let fixed = volumes.set_attributes("vol0", thin).await.unwrap_err();
        assert_eq!(fixed.code(), "invalid-argument");

        plan.script(Call::Allocate, 0, datapath::member::Fault::Error);
        assert_eq!(volumes.resize("vol0", NEW).await.unwrap_err().code(), "no-space");
        assert_eq!(volume.size_bytes(), OLD);
        volumes.resize("vol0", NEW).await.unwrap();
        assert_eq!(volume.size_bytes(), NEW);
        assert!(volumes.pool().status().members.iter().all(|member| member.errors == 0));
        volumes.delete("vol0").await.unwrap();
        assert_eq!(volume.write_at(0, stamped(1, 1)).await, Err(IoError::Closed));
    });
    run.unwrap();
}
