//! One byte of whatever the product writes is flipped, and everything is opened again.
//!
//! A pool of each level, stopped in order or killed, holds a volume with two snapshots, a log with blocks
//! beyond the last root, and a log of atomic writes. On one member after another a byte is flipped:
//! label, write intents, catalog, journal, commit slots, log, preserved data. The origin's own data is
//! left out, for which there are no checksums.
//!
//! - The pool opens, and the volume reads as it was written.
//! - A snapshot reads as its point in time, or fails to be read, invalid for a reason.
//! - Where there is redundancy, or the flip is in something that is doubled, nothing is lost at all.
//!
//! `SCSI_SNAP_STRIDE` is how many bytes lie between two flips; with 1 each byte is flipped once.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use datapath::block_io::BlockIo;
use datapath::error::{IoError, PoolError};
use datapath::member::{Power, SimulatedMember};
use datapath::pool::{CreateOptions, Extent, Pool, SnapshotState, StorePolicy, inspect};
use datapath::simulation::Simulation;
use datapath::snapmap::MapError;
use datapath::snapshot::PointRange;
use datapath::stripe::{Geometry, Layout, Level, Opening};
use datapath::units::Epoch;
use datapath::volume::{Point, VolumeOptions, Volumes, take_snapshots};

use super::support::*;

const CHUNK_BYTES: u64 = 8 << 10;
const CHUNK_SECTORS: u64 = CHUNK_BYTES / SECTOR;
const CHUNKS: u64 = 20;
const SECTORS: u64 = CHUNKS * CHUNK_SECTORS;
const WHOLE: PointRange = PointRange { first_byte: 0, length_bytes: SECTORS * SECTOR };

/// What was made, and what must be read.
struct Scene {
    level: Level,
    members: Vec<SimulatedMember>,
    geometry: Geometry,
    layout: Layout,
    origin: Vec<Extent>,
    /// What the volume reads as, then each snapshot.
    now: Vec<u64>,
    snapshots: [(&'static str, Vec<u64>); 2],
}

fn run<T: 'static>(main: impl Future<Output = T> + 'static) -> T {
    Simulation::new(1).run(main).unwrap()
}

async fn snapshot(volumes: &Arc<Volumes<SimulatedMember>>, name: &str) {
    let volume = volumes.get("vol0").unwrap();
    take_snapshots(&[Point { volume, name: name.to_owned(), range: None }]).await.unwrap();
}

fn scene(level: Level, count: usize, killed: bool) -> Scene {
    let power = Power::new();
    let members: Vec<_> = (0..count)
        .map(|number| SimulatedMember::new(&format!("m{number}"), 8 << 20, &power))
        .collect();
    let handles = members.clone();
    run(async move {
        let options = CreateOptions { name: "tank".to_owned(), level, strip_bytes: 4 << 10 };
        let pool = Pool::create(members, options).await.unwrap();
        let volumes = Volumes::open(pool).await.unwrap();
        let options = VolumeOptions {
            name: "vol0".to_owned(),
            size_bytes: SECTORS * SECTOR,
            block_bytes: 512,
            chunk_bytes: CHUNK_BYTES as u32,
            policy: StorePolicy::DropSnapshot,
            store_limit_bytes: None,
            attributes: BTreeMap::new(),
        };
        let volume = volumes.create(options).await.unwrap();
        let mut now = vec![1; SECTORS as usize];
        volume.write_at(0, stamped(1, SECTORS)).await.unwrap();
        let monday = now.clone();
        snapshot(&volumes, "monday").await;
        let write = async |now: &mut Vec<u64>, chunk: u64, stamp: u64| {
            let first = chunk * CHUNK_SECTORS;
            volume.write_at(first * SECTOR, stamped(stamp, 3)).await.unwrap();
            now[first as usize..first as usize + 3].fill(stamp);
        };
        for chunk in 0..5 {
            write(&mut now, chunk, 10 + chunk).await;
        }
        let tuesday = now.clone();
        snapshot(&volumes, "tuesday").await;
        for chunk in 3..9 {
            write(&mut now, chunk, 20 + chunk).await;
        }
        volume.write_atomic(0, stamped(40, 2)).await.unwrap();
        now[..2].fill(40);
        volume.flush().await.unwrap();
        let record = volumes.pool().catalog().volume_named("vol0").unwrap().clone();
        let scene = Scene {
            level,
            members: handles.iter().map(|handle| handle.copy(&Power::new())).collect(),
            geometry: volumes.pool().set().geometry(),
            layout: volumes.pool().set().layout(),
            origin: volumes.pool().catalog().spaces[&record.origin].clone(),
            now,
            snapshots: [("monday", monday), ("tuesday", tuesday)],
        };
        if killed {
            return scene;
        }
        volumes.close().await.unwrap();
        volumes.pool().close().await.unwrap();
        let members = handles.iter().map(|handle| handle.copy(&Power::new())).collect();
        Scene { members, ..scene }
    })
}

impl Scene {
    /// The addresses of the sectors of a member that hold something but the origin's data.
    fn sectors(&self, role: usize) -> Vec<u64> {
        let member = self.members[role].clone();
        let bytes = run(async move {
            let size = member.size_bytes() as usize;
            member.read_at(0, BytesMut::zeroed(size)).await.1
        });
        let is_origin = |at: u64| {
            let within = at.checked_sub(self.layout.data_address);
            let offset = within.and_then(|within| self.geometry.data_offset(role, within));
            offset.is_some_and(|offset| {
                let holds =
                    |extent: &Extent| (extent.offset_bytes..extent.end_bytes()).contains(&offset);
                self.origin.iter().any(holds)
            })
        };
        let sectors = bytes.chunks(SECTOR as usize).zip((0..).step_by(SECTOR as usize));
        let used = sectors.filter(|(sector, _)| sector.iter().any(|byte| *byte != 0));
        used.map(|(_, at)| at).filter(|at| !is_origin(*at)).collect()
    }

    /// The members, one of them with a flipped byte.
    fn flipped(&self, role: usize, at: u64) -> Vec<SimulatedMember> {
        let power = Power::new();
        let members: Vec<_> = self.members.iter().map(|member| member.copy(&power)).collect();
        let spoiled = members[role].clone();
        run(async move { flip(&spoiled, at).await });
        members
    }

    /// Opens the members and looks at everything; gives how many snapshots cannot be read.
    fn lost(&self, members: Vec<SimulatedMember>, what: &str) -> usize {
        let (now, snapshots) = (self.now.clone(), self.snapshots.clone());
        let what = what.to_owned();
        run(async move {
            let imported = Volumes::import(members, Opening::default()).await;
            let (volumes, refused) = imported.map_err(|error| format!("{what}: {error}")).unwrap();
            assert_eq!(refused, [], "{what}");
            let volume = volumes.get("vol0").unwrap();
            assert_eq!(read_stamps(&*volume, 0, SECTORS).await.unwrap(), now, "{what}");
            let mut lost = 0;
            for (name, expected) in snapshots {
                match read_snapshot(&volumes, name).await {
                    Ok(read) => assert_eq!(read, expected, "{what}: {name} reads wrongly"),
                    Err(IoError::SnapshotInvalid) => {
                        let catalog = volumes.pool().catalog();
                        let record = catalog.volume_named("vol0").unwrap();
                        let record = record.snapshots.iter().find(|one| one.name == name).unwrap();
                        assert_eq!(record.state, SnapshotState::Invalid, "{what}");
                        assert!(record.invalid_reason.is_some(), "{what}");
                        lost += 1;
                    }
                    Err(error) => panic!("{what}: {name}: {error}"),
                }
            }
            lost
        })
    }
}

/// Half a chunk at a time, now where that is possible.
async fn read_snapshot(
    volumes: &Arc<Volumes<SimulatedMember>>,
    name: &str,
) -> Result<Vec<u64>, IoError> {
    let image = match volumes.snapshot_image("vol0", name) {
        Ok(image) => image,
        Err(PoolError::Io(error)) => return Err(error),
        Err(error) => panic!("{error}"),
    };
    let (mut read, step) = (Vec::new(), CHUNK_SECTORS / 2);
    for first in (0..SECTORS).step_by(step as usize) {
        match read_stamps_now(&*image, first, step) {
            Some(stamps) => read.extend(stamps),
            None => read.extend(read_stamps(&*image, first, step).await?),
        }
    }
    Ok(read)
}

async fn flip(member: &SimulatedMember, at: u64) {
    let start = at / SECTOR * SECTOR;
    let (outcome, mut sector) = member.read_at(start, BytesMut::zeroed(SECTOR as usize)).await;
    outcome.unwrap();
    sector[(at - start) as usize] ^= 0x10;
    member.write_at(start, sector.freeze()).await.unwrap();
    member.flush().await.unwrap();
}

fn stride() -> usize {
    let stride = std::env::var("SCSI_SNAP_STRIDE").ok().and_then(|text| text.parse().ok());
    stride.unwrap_or(2999)
}

/// Every `stride()`th byte of every member's sectors.
fn search(level: Level, count: usize, killed: bool) {
    let scene = scene(level, count, killed);
    let how = if killed { "killed" } else { "stopped" };
    assert_eq!(scene.lost(scene.flipped(0, 0), "the first byte"), 0);
    let mut next = 7;
    for role in 0..count {
        let sectors = scene.sectors(role);
        let end = sectors.len() * SECTOR as usize;
        while next < end {
            let at = sectors[next / SECTOR as usize] + next as u64 % SECTOR;
            let what = format!("{} {how}, byte {at} of member {role}", scene.level);
            let lost = scene.lost(scene.flipped(role, at), &what);
            assert!(lost == 0 || !level.is_redundant(), "{what}: {lost} snapshots are lost");
            next += stride();
        }
        next -= end;
    }
}

#[test]
fn a_flipped_byte_without_redundancy_costs_a_snapshot_at_most() {
    search(Level::Raid0, 1, false);
    search(Level::Raid0, 2, true);
}

#[test]
fn a_flipped_byte_of_a_mirror_costs_nothing() {
    search(Level::Raid1, 2, false);
    search(Level::Raid1, 2, true);
    search(Level::Raid10, 4, false);
}

#[test]
fn a_flipped_byte_beside_parity_costs_nothing() {
    search(Level::Raid5, 3, false);
    search(Level::Raid5, 3, true);
}

/// Bytes of the metadata that are told on before anything is opened, one in each field and more.
#[test]
fn inspection_names_every_damaged_copy_of_the_metadata() {
    let scene = scene(Level::Raid0, 1, false);
    let (catalog, slot_bytes) = (scene.layout.catalog_address, scene.layout.catalog_slot_bytes);
    let mut places: Vec<u64> = [0, (1 << 20) - 4096]
        .into_iter()
        .flat_map(|label| (0..256).step_by(8).chain([4090]).map(move |at| label + at))
        .collect();
    for slot in [catalog, catalog + slot_bytes] {
        for header in [slot, slot + 512, slot + slot_bytes - 512] {
            places.extend((0..64).step_by(4).chain([510]).map(|at| header + at));
        }
        places.extend((1024..1400).step_by(31).map(|at| slot + at));
    }
    for at in places {
        let member = scene.flipped(0, at).swap_remove(0);
        let problems = run(async move { inspect::dump(&member).await.unwrap().problems });
        assert_eq!(problems.len(), 1, "byte {at}: {problems:?}");
        assert_eq!(scene.lost(scene.flipped(0, at), &format!("byte {at}")), 0);
    }
}

#[test]
fn check_names_damaged_data_and_ends_what_needs_it() {
    let scene = scene(Level::Raid0, 1, false);
    let members: Vec<_> = scene.members.iter().map(|one| one.copy(&Power::new())).collect();
    let handle = members[0].clone();
    run(async move {
        let volumes = Volumes::open(Pool::open(members).await.unwrap()).await.unwrap();
        let dump = volumes.dump("vol0").await.unwrap();
        // The copy of chunk 8, which both snapshots read.
        let line = dump.lines().find(|line| line.contains("chunk 8 tag 2")).unwrap();
        let slot = line.split("Slot(").nth(1).unwrap().split(')').next().unwrap();
        let catalog = volumes.pool().catalog();
        let store = catalog.volume_named("vol0").unwrap().store;
        let extent = catalog.spaces[&store][0];
        let layout = volumes.pool().set().layout();
        let at = extent.offset_bytes + slot.parse::<u64>().unwrap() * CHUNK_BYTES + 99;
        flip(&handle, layout.data_address + at).await;
        let report = volumes.check("vol0").await.unwrap();
        assert_eq!(report.problems, ["the data of chunk 8 tag 2 is damaged"]);
        assert_eq!((report.checksum_errors.repaired, report.checksum_errors.lost), (0, 1));
        for name in ["monday", "tuesday"] {
            assert_eq!(read_snapshot(&volumes, name).await, Err(IoError::SnapshotInvalid));
        }
        let events = volumes.take_events();
        assert_eq!(events.len(), 1, "{events:?}");
        assert!(volumes.check("vol0").await.unwrap().problems.is_empty());
    });
}

/// A store of its own whose first log blocks lie in slots 1 and 2, two in each: block 1 and 2 are of
/// epoch 1, block 3 and 4 of epoch 2.
async fn four_blocks(rig: &Rig) {
    let engine = rig.format().await;
    engine.write_at(0, stamped(1, SECTORS)).await.unwrap();
    for (snapshot, chunks) in [(1, 0..2), (2, 2..4)] {
        let epoch = take_snapshot(&engine, &rig.catalog, WHOLE, |_| ()).await.unwrap();
        assert_eq!(epoch, Epoch(snapshot));
        for chunk in chunks {
            let stamp = stamped(10 + chunk, 1);
            engine.write_at(chunk * CHUNK_BYTES, stamp).await.unwrap();
        }
    }
}

fn rig() -> Rig {
    let rig = Rig::new(SECTORS * SECTOR, CHUNK_BYTES, 512, &Power::new());
    // So large that no checkpoint moves the log.
    rig.store_bytes.store(512 * CHUNK_BYTES, std::sync::atomic::Ordering::SeqCst);
    rig
}

fn block(number: u64) -> u64 {
    CHUNK_BYTES + (number - 1) * 4096 + 100
}

#[test]
fn a_damaged_block_amid_the_log_costs_the_snapshots_that_may_need_it() {
    for (number, up_to) in [(1, 1), (2, 2), (3, 2)] {
        let rig = rig();
        run(async move {
            four_blocks(&rig).await;
            flip(&rig.store, block(number)).await;
            let error = rig.open().await.map(|_| ()).unwrap_err();
            let MapError::Lost { up_to: found, .. } = error else { panic!("{error}") };
            assert_eq!(found, Epoch(up_to), "block {number}");
            rig.catalog.state.lock().unwrap().live.retain(|epoch, _| *epoch > found);
            let engine = rig.open().await.unwrap();
            assert_eq!(engine.checksum_errors().lost, 1);
            assert!(engine.check().await.unwrap().problems.is_empty());
            for epoch in engine.live_epochs() {
                let image = engine.image(epoch).unwrap();
                let mut expected = vec![1; SECTORS as usize];
                expected[0] = 10;
                expected[CHUNK_SECTORS as usize] = 11;
                assert_eq!(read_stamps(&image, 0, SECTORS).await.unwrap(), expected);
            }
            drop(engine);
            assert_eq!(rig.open().await.unwrap().checksum_errors().lost, 0);
        });
    }
}

#[test]
fn a_slot_of_log_that_is_lost_whole_is_not_taken_for_its_end() {
    let rig = rig();
    run(async move {
        four_blocks(&rig).await;
        let engine = rig.open().await.unwrap();
        for chunk in 4..8 {
            engine.write_at(chunk * CHUNK_BYTES, stamped(10 + chunk, 1)).await.unwrap();
        }
        let noise = Bytes::from(vec![0xA5; CHUNK_BYTES as usize]);
        rig.store.write_at(3 * CHUNK_BYTES, noise).await.unwrap();
        let error = rig.open().await.map(|_| ()).unwrap_err();
        assert!(matches!(error, MapError::Lost { up_to: Epoch(2), .. }), "{error}");
    });
}

#[test]
fn the_last_batch_is_told_from_a_torn_one_after_a_flush() {
    let rig = rig();
    run(async move {
        four_blocks(&rig).await;
        let engine = rig.open().await.unwrap();
        engine.write_at(5 * CHUNK_BYTES, stamped(15, 1)).await.unwrap();
        engine.flush().await.unwrap();
        flip(&rig.store, block(5)).await;
        let error = rig.open().await.map(|_| ()).unwrap_err();
        assert!(matches!(error, MapError::Lost { up_to: Epoch(2), .. }), "{error}");
    });
}

#[test]
fn a_catalog_that_was_in_force_is_never_replaced_by_the_one_before_it() {
    let scene = scene(Level::Raid0, 1, false);
    let member = scene.members[0].copy(&Power::new());
    let layout = scene.layout;
    run(async move {
        let dump = inspect::dump(&member).await.unwrap();
        let newest = dump.slots.iter().max_by_key(|slot| slot.sequence).unwrap();
        let noise = Bytes::from(vec![0xA5; layout.catalog_slot_bytes as usize / 2]);
        member.write_at(newest.address, noise).await.unwrap();
        let problems = inspect::dump(&member).await.unwrap().problems;
        let lost = "the catalog that was in force is lost on this member";
        assert!(problems.iter().any(|problem| problem == lost), "{problems:?}");
        let error = Pool::open(vec![member]).await.map(|_| ()).unwrap_err();
        assert_eq!(error.code(), "damaged");
        let named = format!("its catalog number {} was in force", newest.sequence.unwrap());
        assert!(error.to_string().contains(&named), "{error}");
    });
}
