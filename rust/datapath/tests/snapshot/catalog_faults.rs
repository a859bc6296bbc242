//! A catalog that cannot be written: whatever a cut brings back, snapshots are true.

use std::collections::BTreeMap;
use std::sync::Arc;

use datapath::block_io::BlockIo;
use datapath::member::{Call, Fault, FaultPlan, Faulty, Power, SimulatedMember};
use datapath::pool::{CreateOptions, Pool, StorePolicy};
use datapath::simulation::Simulation;
use datapath::stripe::Level;
use datapath::volume::{Point, VolumeOptions, Volumes, take_snapshots};

use super::support::*;

const SECTORS: u64 = 1024;

fn options() -> VolumeOptions {
    VolumeOptions {
        name: "vol0".to_owned(),
        size_bytes: SECTORS * SECTOR,
        block_bytes: 512,
        chunk_bytes: 64 << 10,
        policy: StorePolicy::DropSnapshot,
        store_limit_bytes: None,
        attributes: BTreeMap::new(),
    }
}

/// A volume of ones on a raid0 of two, of which a snapshot fails since the members fail writes as
/// their plans say; then it is written over, and the members are opened anew as they are.
fn snapshot_that_fails(plan: impl FnOnce(&[Arc<FaultPlan>; 2]) + 'static) {
    let power = Power::new();
    let media = ["m0", "m1"].map(|name| SimulatedMember::new(name, 16 << 20, &power));
    let handles = media.clone();
    let plans = [FaultPlan::new(), FaultPlan::new()];
    let run = Simulation::new(1).run(async move {
        let members = media.into_iter().zip(&plans).map(|(medium, plan)| Faulty::new(medium, plan));
        let create =
            CreateOptions { name: "tank".to_owned(), level: Level::Raid0, strip_bytes: 64 << 10 };
        let pool = Pool::create(members.collect(), create).await.unwrap();
        let volumes = Volumes::open(pool).await.unwrap();
        let volume = volumes.create(options()).await.unwrap();
        volume.write_at(0, stamped(1, SECTORS)).await.unwrap();
        plan(&plans);
        let point = Point { volume: volume.clone(), name: "monday".to_owned(), range: None };
        take_snapshots(&[point]).await.unwrap_err();
        assert!(volumes.pool().catalog().volume_named("vol0").unwrap().snapshots.is_empty());
        volume.write_at(0, stamped(2, SECTORS)).await.unwrap();
        volume.flush().await.unwrap();

        let members = handles.map(|handle| handle.copy(&power)).to_vec();
        let volumes = Volumes::open(Pool::open(members).await.unwrap()).await.unwrap();
        let volume = volumes.get("vol0").unwrap();
        assert_eq!(read_stamps(&*volume, 0, SECTORS).await.unwrap(), vec![2; SECTORS as usize]);
        if let Ok(image) = volumes.snapshot_image("vol0", "monday") {
            let read = read_stamps(&*image, 0, SECTORS).await.unwrap();
            assert_eq!(read, vec![1; SECTORS as usize], "a snapshot that nobody preserved for");
        }
    });
    run.unwrap();
}

#[test]
fn a_snapshot_that_one_member_recorded_does_not_come_back() {
    snapshot_that_fails(|plans| plans[1].script(Call::Write, 0, Fault::Error));
}

#[test]
fn a_snapshot_that_cannot_be_taken_back_is_preserved_for() {
    snapshot_that_fails(|plans| {
        for skip in 0..4 {
            plans[1].script(Call::Write, skip, Fault::Error);
        }
        for skip in 1..4 {
            plans[0].script(Call::Write, skip, Fault::Error);
        }
    });
}

#[test]
fn a_volume_whose_deletion_failed_is_there_after_a_cut() {
    let power = Power::new();
    let media = ["m0", "m1"].map(|name| SimulatedMember::new(name, 16 << 20, &power));
    let handles = media.clone();
    let plan = FaultPlan::new();
    let run = Simulation::new(1).run(async move {
        let plans = [FaultPlan::new(), plan.clone()];
        let members = media.into_iter().zip(&plans).map(|(medium, plan)| Faulty::new(medium, plan));
        let create =
            CreateOptions { name: "tank".to_owned(), level: Level::Raid0, strip_bytes: 64 << 10 };
        let pool = Pool::create(members.collect(), create).await.unwrap();
        let volumes = Volumes::open(pool).await.unwrap();
        let volume = volumes.create(options()).await.unwrap();
        plan.script(Call::Write, 0, Fault::Error);
        volumes.delete("vol0").await.unwrap_err();
        volume.write_at(0, stamped(1, SECTORS)).await.unwrap();
        volume.flush().await.unwrap();
        let members = handles.map(|handle| handle.copy(&power)).to_vec();
        let volumes = Volumes::open(Pool::open(members).await.unwrap()).await.unwrap();
        let volume = volumes.get("vol0").unwrap();
        assert_eq!(read_stamps(&*volume, 0, SECTORS).await.unwrap(), vec![1; SECTORS as usize]);
    });
    run.unwrap();
}
