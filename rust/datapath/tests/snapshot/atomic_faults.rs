//! Atomic writes that fail, records that did not arrive, and what of them is left.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use datapath::block_io::BlockIo;
use datapath::checksum::crc32c;
use datapath::error::{IoError, PoolError};
use datapath::limits::ATOMIC_BYTES_MAX;
use datapath::member::{Call, FaultPlan, Faulty, Power, SimulatedMember};
use datapath::pool::{CreateOptions, Pool, StorePolicy};
use datapath::simulation::Simulation;
use datapath::stripe::Level;
use datapath::volume::{Point, VolumeOptions, Volumes, copy, take_snapshots};

use super::atomic::{LEVELS, open, prepared, survivors};
use super::support::*;

/// Every call of every member fails from one write, or one flush, on; then they are well again. Either
/// the volume takes changes again, and they stay; or it takes none until it is opened anew. Returns
/// whether the outage came before the write had ended, and whether it sealed the volume.
fn outage(members: &[SimulatedMember], call: Call, skip: u64) -> (bool, bool) {
    let power = Power::new();
    let media: Vec<_> = members.iter().map(|member| member.copy(&power)).collect();
    let plan = FaultPlan::new();
    let run = Simulation::new(skip).run(async move {
        let each = |medium: &SimulatedMember| Faulty::new(medium.clone(), &plan);
        let volumes = open(media.iter().map(each).collect()).await;
        let volume = volumes.get("vol0").unwrap();
        volume.write_atomic(0, stamped(2, 40)).await.unwrap();
        plan.die_after(call, skip);
        let outcome = volume.write_atomic(0, stamped(3, 40)).await;
        plan.die_after(call, u64::MAX);
        plan.set_dead(false);
        let changed = volume.write_at(20 * SECTOR, stamped(4, 40)).await.is_ok();
        assert!(changed || outcome.is_err(), "sealed, and nobody was told");
        assert_eq!(changed, volume.write_atomic(100 * SECTOR, stamped(5, 9)).await.is_ok());
        assert_eq!(changed, volume.discard(200 * SECTOR, 8 * SECTOR).await.is_ok());
        volume.flush().await.unwrap();
        let media = media.iter().map(|medium| medium.copy(&power)).collect();
        let again = open(media).await;
        let volume = again.get("vol0").unwrap();
        let found = read_stamps(&*volume, 0, 60).await.unwrap();
        let (range, rest) = found.split_at(if changed { 20 } else { 40 });
        let torn = range.iter().any(|stamp| *stamp != range[0]);
        assert!(!torn || changed, "left to its record: {range:?}");
        if outcome.is_ok() {
            assert_eq!(range, vec![3; range.len()]);
        }
        let expected = if changed { 4 } else { 1 };
        assert_eq!(rest, vec![expected; rest.len()], "skip {skip}");
        volume.write_atomic(0, stamped(6, 40)).await.unwrap();
        (outcome.is_err(), !changed)
    });
    run.unwrap()
}

#[test]
fn an_outage_at_any_moment_undoes_nothing_and_tears_nothing() {
    let members = prepared(Level::Raid0, 2);
    for call in [Call::Write, Call::Flush] {
        let (mut skip, mut sealed) = (0, 0);
        // Ends when the outage comes after the write.
        while let (true, seals) = outage(&members, call, skip) {
            skip += 1;
            sealed += u64::from(seals);
        }
        assert!(skip >= 2 && sealed > 0, "{call:?}: {skip} outages, {sealed} of them sealed it");
    }
}

/// A record whose data did not arrive, and later one of the same data for another place whose header
/// did not: together they would be a record that nobody wrote.
#[test]
fn two_halves_of_records_never_make_a_whole() {
    let members = prepared(Level::Raid0, 2);
    for seed in seeds(200) {
        let _named = Seed("halves", seed, 0);
        let power = Power::cut_at(u64::MAX);
        let media: Vec<_> = members.iter().map(|member| member.copy(&power)).collect();
        let (inside, cut) = (media.clone(), power.clone());
        let first = Simulation::new(seed).run(async move {
            let volumes = open(inside).await;
            let volume = volumes.get("vol0").unwrap();
            volume.write_atomic(200 * SECTOR, stamped(2, 8)).await.unwrap();
            cut.cut_after(1);
            volume.write_atomic(0, stamped(3, 8)).await.unwrap();
        });
        first.unwrap_err();
        let power = Power::new();
        let media = survivors(&media, seed, &power);
        let (inside, cut) = (media.clone(), power.clone());
        let second = Simulation::new(seed).run(async move {
            let volumes = open(inside).await;
            let volume = volumes.get("vol0").unwrap();
            volume.write_at(0, stamped(4, 8)).await.unwrap();
            volume.flush().await.unwrap();
            cut.cut_after(1);
            volume.write_atomic(100 * SECTOR, stamped(3, 8)).await.unwrap();
        });
        second.unwrap_err();
        let media = survivors(&media, !seed, &Power::new());
        let third = Simulation::new(seed).run(async move {
            let volume = open(media).await.get("vol0").unwrap();
            let found = read_stamps(&*volume, 0, 8).await.unwrap();
            assert_eq!(found, [4; 8], "a flushed write was undone");
        });
        third.unwrap();
    }
}

fn run(main: impl Future<Output = ()> + 'static) {
    Simulation::new(1).run(main).unwrap();
}

#[test]
fn the_log_is_made_when_it_is_needed_and_goes_with_its_volume() {
    for (level, count) in LEVELS {
        let members = prepared(level, count);
        run(async move {
            let power = Power::new();
            let media: Vec<_> = members.iter().map(|member| member.copy(&power)).collect();
            let volumes = open(media.clone()).await;
            let volume = volumes.get("vol0").unwrap();
            assert!(!volumes.dump("vol0").await.unwrap().contains("atomic log"));
            assert_eq!(volumes.pool().catalog().spaces.len(), 2);
            volume.write_atomic(0, Bytes::new()).await.unwrap();
            assert_eq!(volumes.pool().catalog().spaces.len(), 2);
            for stamp in 2..5 {
                volume.write_atomic(SECTOR, stamped(stamp, 9)).await.unwrap();
            }
            let told = "atomic log: no record, the last was 3";
            assert!(volumes.dump("vol0").await.unwrap().contains(told));
            assert_eq!(volumes.pool().catalog().spaces.len(), 3);
            volumes.close().await.unwrap();
            volumes.pool().close().await.unwrap();

            let volumes = open(media.iter().map(|member| member.copy(&power)).collect()).await;
            assert!(volumes.dump("vol0").await.unwrap().contains(told));
            let volume = volumes.get("vol0").unwrap();
            assert_eq!(read_stamps(&*volume, 0, 11).await.unwrap()[..2], [1, 4]);
            volume.erase_atomic_log().await.unwrap();
            assert!(volumes.dump("vol0").await.unwrap().contains("never used"));
            assert_eq!(volumes.check("vol0").await.unwrap().problems, Vec::<String>::new());
            volumes.delete("vol0").await.unwrap();
            assert!(volumes.pool().catalog().spaces.is_empty());
            let refused = volume.write_atomic(0, stamped(1, 1)).await;
            assert_eq!(refused, Err(IoError::Closed));
        });
    }
}

#[test]
fn a_pool_without_room_for_a_log_refuses_the_write_and_nothing_else() {
    let members = prepared(Level::Raid0, 1);
    run(async move {
        let volumes = open(members.iter().map(|member| member.copy(&Power::new())).collect()).await;
        let free = volumes.pool().status().free_bytes;
        volumes.pool().create_space(free).await.unwrap();
        let volume = volumes.get("vol0").unwrap();
        assert_eq!(volume.write_atomic(0, stamped(2, 1)).await, Err(IoError::NoSpace));
        volume.write_at(0, stamped(3, 1)).await.unwrap();
    });
}

#[test]
fn a_damaged_header_is_told_and_a_newer_version_is_refused() {
    let members = prepared(Level::Raid1, 2);
    run(async move {
        let power = Power::new();
        let media: Vec<_> = members.iter().map(|member| member.copy(&power)).collect();
        let volumes = open(media.clone()).await;
        let volume = volumes.get("vol0").unwrap();
        volume.write_atomic(0, stamped(2, 9)).await.unwrap();
        let record = volumes.pool().catalog().volume_named("vol0").unwrap().clone();
        let space = volumes.pool().space(record.atomic_log.unwrap()).unwrap();
        let (outcome, header) = space.read_at(0, BytesMut::zeroed(512)).await;
        outcome.unwrap();
        space.write_at(0, stamped(9, 1)).await.unwrap();
        let problems = volumes.check("vol0").await.unwrap().problems;
        let repaired = "1 copies of the atomic log's header were damaged, and are written anew";
        assert_eq!(problems, [repaired]);
        assert_eq!(volumes.check("vol0").await.unwrap().problems, Vec::<String>::new());
        let again = open(media.iter().map(|member| member.copy(&power)).collect()).await;
        assert_eq!(again.check("vol0").await.unwrap().problems, Vec::<String>::new());

        let mut newer = header.to_vec();
        newer[8] = 3;
        let crc = crc32c(&newer[..508]);
        newer[508..].copy_from_slice(&crc.to_le_bytes());
        space.write_at(0, Bytes::from(newer)).await.unwrap();
        let members = media.iter().map(|member| member.copy(&power)).collect();
        let refused = Volumes::open(Pool::open(members).await.unwrap()).await.err();
        let refused = refused.unwrap();
        assert!(matches!(&refused, PoolError::Damaged(text) if text.contains("version 3")));
    });
}

#[test]
fn the_longest_atomic_write_and_a_copy_of_many_pieces_arrive() {
    let power = Power::new();
    run(async move {
        let member = SimulatedMember::new("m", 64 << 20, &power);
        let create =
            CreateOptions { name: "tank".to_owned(), level: Level::Raid0, strip_bytes: 64 << 10 };
        let pool = Pool::create(vec![member], create).await.unwrap();
        let volumes = Volumes::open(pool).await.unwrap();
        let size_bytes = 5 << 20;
        let make = |name: &str| VolumeOptions {
            name: name.to_owned(),
            size_bytes,
            block_bytes: 512,
            chunk_bytes: 4096,
            policy: StorePolicy::DropSnapshot,
            store_limit_bytes: None,
            attributes: Default::default(),
        };
        let source = volumes.create(make("source")).await.unwrap();
        let destination = volumes.create(make("destination")).await.unwrap();
        let sectors = size_bytes / SECTOR;
        for sector in 0..sectors {
            source.write_at(sector * SECTOR, stamped(sector, 1)).await.unwrap();
        }
        destination.write_at(0, stamped(7, sectors)).await.unwrap();
        for (volume, name) in [(&source, "s"), (&destination, "d")] {
            let point = Point { volume: Arc::clone(volume), name: name.to_owned(), range: None };
            take_snapshots(&[point]).await.unwrap();
        }
        let atomic = ATOMIC_BYTES_MAX / SECTOR;
        source.write_atomic(SECTOR, stamped(3, atomic)).await.unwrap();
        let found = read_stamps(&*source, 0, atomic + 2).await.unwrap();
        assert!(found[1..=atomic as usize].iter().all(|stamp| *stamp == 3));
        assert_eq!((found[0], found[atomic as usize + 1]), (0, atomic + 1));

        let image = volumes.snapshot_image("source", "s").unwrap();
        let (from, length) = (3 * SECTOR, size_bytes - 10 * SECTOR);
        copy(&*image, from, &*destination, 5 * SECTOR, length).await.unwrap();
        let found = read_stamps(&*destination, 0, sectors).await.unwrap();
        let copied = |sector: u64| (5..sectors - 5).contains(&sector);
        let expected = (0..sectors).map(|at| if copied(at) { at - 2 } else { 7 });
        assert!(found.into_iter().eq(expected));
        let before = volumes.snapshot_image("destination", "d").unwrap();
        let before = read_stamps(&*before, 0, sectors).await.unwrap();
        assert!(before.iter().all(|stamp| *stamp == 7), "a copy is a change like any other");
        let refused = copy(&*source, 0, &*image, 0, SECTOR).await;
        assert_eq!(refused, Err(IoError::ReadOnly));
    });
}
