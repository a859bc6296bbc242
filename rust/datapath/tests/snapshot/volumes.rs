//! Floor 5 over real pools on simulated members: the verbs, and power cuts under raid5.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use datapath::block_io::BlockIo;
use datapath::error::{IoError, PoolError};
use datapath::member::{Power, SimulatedMember};
use datapath::pool::{CreateOptions, Pool, SnapshotState, StorePolicy};
use datapath::simulation::{Random, Simulation};
use datapath::stripe::Level;
use datapath::volume::{ByteRun, Point, VolumeEvent, VolumeOptions, Volumes};
use datapath::volume::{settle_groups, take_snapshots};

use super::support::*;

type TestVolumes = Arc<Volumes<SimulatedMember>>;

const CHUNK: u64 = 64 << 10;
const SECTORS: u64 = 640;

fn members(prefix: &str, power: &Arc<Power>) -> Vec<SimulatedMember> {
    let name = |number| format!("{prefix}{number}");
    (0..3).map(|number| SimulatedMember::new(&name(number), 16 << 20, power)).collect()
}

async fn new_pool(name: &str, members: &[SimulatedMember]) -> TestVolumes {
    let options =
        CreateOptions { name: name.to_owned(), level: Level::Raid5, strip_bytes: 16 << 10 };
    let pool = Pool::create(members.to_vec(), options).await.unwrap();
    Volumes::open(pool).await.unwrap()
}

async fn open_pool(members: Vec<SimulatedMember>) -> TestVolumes {
    Volumes::open(Pool::open(members).await.unwrap()).await.unwrap()
}

fn options(name: &str) -> VolumeOptions {
    VolumeOptions {
        name: name.to_owned(),
        size_bytes: SECTORS * SECTOR,
        block_bytes: 512,
        chunk_bytes: CHUNK as u32,
        policy: StorePolicy::DropSnapshot,
        store_limit_bytes: None,
        attributes: BTreeMap::from([("naa".to_owned(), "1".to_owned())]),
    }
}

fn point(volumes: &TestVolumes, volume: &str, name: &str) -> Point<SimulatedMember> {
    Point { volume: volumes.get(volume).unwrap(), name: name.to_owned(), range: None }
}

async fn image_of(volumes: &TestVolumes, volume: &str, snapshot: &str) -> Vec<u64> {
    let image = volumes.snapshot_image(volume, snapshot).unwrap();
    read_stamps(&*image, 0, SECTORS).await.unwrap()
}

fn run<T: 'static>(main: impl Future<Output = T> + 'static) -> T {
    Simulation::new(1).run(main).unwrap()
}

#[test]
fn a_volume_and_its_snapshots_come_back_from_the_members_alone() {
    run(async {
        let power = Power::new();
        let members = members("a", &power);
        let volumes = new_pool("tank", &members).await;
        let volume = volumes.create(options("vol0")).await.unwrap();
        volume.write_at(0, stamped(1, SECTORS)).await.unwrap();
        take_snapshots(&[point(&volumes, "vol0", "monday")]).await.unwrap();
        volume.write_at(CHUNK, stamped(2, 4)).await.unwrap();
        volume.discard(3 * CHUNK, 512).await.unwrap();
        take_snapshots(&[point(&volumes, "vol0", "tuesday")]).await.unwrap();
        volume.write_at(0, stamped(3, 1)).await.unwrap();
        drop(volume);
        volumes.close().await.unwrap();
        volumes.pool().close().await.unwrap();

        let volumes = open_pool(members.iter().map(|member| member.copy(&power)).collect()).await;
        assert_eq!(image_of(&volumes, "vol0", "monday").await, vec![1; SECTORS as usize]);
        let tuesday = image_of(&volumes, "vol0", "tuesday").await;
        assert_eq!((tuesday[0], tuesday[128], tuesday[132], tuesday[384]), (1, 2, 1, 0));
        let run = |first, chunks| ByteRun { first_byte: first, length_bytes: chunks * CHUNK };
        let diff = |since, until| volumes.diff("vol0", since, until).unwrap();
        assert_eq!(diff("monday", Some("tuesday")), [run(CHUNK, 1), run(3 * CHUNK, 1)]);
        assert_eq!(diff("monday", None), [run(0, 2), run(3 * CHUNK, 1)]);
        assert_eq!(diff("tuesday", None), [run(0, 1)]);
        let page = |first_byte, limit| {
            volumes.diff_page("vol0", "monday", None, first_byte, limit).unwrap()
        };
        assert_eq!(page(0, 1), [run(0, 2)]);
        assert_eq!(page(2 * CHUNK, 1), [run(3 * CHUNK, 1)]);
        let clipped = ByteRun { first_byte: CHUNK + 512, length_bytes: CHUNK - 512 };
        assert_eq!(page(CHUNK + 512, 9), [clipped, run(3 * CHUNK, 1)]);
        assert_eq!(page(4 * CHUNK, 9), []);
        assert_eq!(page(u64::MAX, 9), []);
        assert!(volumes.diff("vol0", "tuesday", Some("monday")).is_err());
        assert_eq!(volumes.check("vol0").await.unwrap().problems, Vec::<String>::new());
        assert!(volumes.dump("vol0").await.unwrap().contains("chunk 1 tag 1"));
        let listed = volumes.status("vol0").unwrap();
        assert_eq!(listed.record.snapshots[1].name, "tuesday");
        assert_eq!(listed.store.preserved_chunks, 3);
    });
}

/// What a status costs does not grow with what the pool holds, nor a change with what it leaves alone.
#[test]
fn a_status_shares_the_record_and_a_change_leaves_the_others() {
    run(async {
        let volumes = new_pool("tank", &members("a", &Power::new())).await;
        for name in ["vol0", "vol1", "vol2"] {
            volumes.create(options(name)).await.unwrap();
        }
        assert_eq!(
            (volumes.names(), volumes.count()),
            (vec!["vol0".to_owned(), "vol1".into(), "vol2".into()], 3)
        );
        let before = volumes.status("vol1").unwrap();
        let record = |name| volumes.status(name).unwrap().record;
        assert!(Arc::ptr_eq(&before.record, &record("vol1")));
        assert!(Arc::ptr_eq(&before.record, &volumes.status_of(before.record.id).unwrap().record));
        take_snapshots(&[point(&volumes, "vol0", "monday")]).await.unwrap();
        assert!(Arc::ptr_eq(&before.record, &record("vol1")), "a record was copied for another's");
        assert_eq!(record("vol0").snapshots.len(), 1);
        assert!(volumes.status("vol3").is_none());
        let named = |value| volumes.with_attribute("naa", value).len();
        assert_eq!((named("1"), named("2")), (3, 0));
        volumes.delete("vol1").await.unwrap();
        assert!(volumes.status_of(before.record.id).is_none());
        assert_eq!(before.record.name, "vol1", "what was given out stays as it was");
    });
}

#[test]
fn verbs_refuse_what_is_wrong_and_change_nothing() {
    run(async {
        let volumes = new_pool("tank", &members("a", &Power::new())).await;
        let volume = volumes.create(options("vol0")).await.unwrap();
        let code = |error: PoolError| error.code();
        let exists = volumes.create(options("vol0")).await.err().map(code);
        assert_eq!(exists, Some("exists"));
        let wrong: [fn(&mut VolumeOptions); 6] = [
            |options| options.name = "a/b".into(),
            |options| options.block_bytes = 1024,
            |options| options.chunk_bytes = 3 << 12,
            |options| options.size_bytes = 0,
            |options| options.size_bytes = 700,
            |options| options.store_limit_bytes = Some(4096),
        ];
        for change in wrong {
            let mut options = options("vol1");
            change(&mut options);
            let refused = volumes.create(options).await.err().map(code);
            assert_eq!(refused, Some("invalid-argument"));
        }
        let mut huge = options("vol1");
        huge.size_bytes = 1 << 40;
        assert_eq!(volumes.create(huge).await.err().map(code), Some("no-space"));
        assert_eq!(volumes.pool().catalog().spaces.len(), 2, "a failed create leaves no space");

        let monday = || point(&volumes, "vol0", "monday");
        take_snapshots(&[monday()]).await.unwrap();
        assert_eq!(take_snapshots(&[monday()]).await.err().map(code), Some("exists"));
        let mut outside = point(&volumes, "vol0", "b");
        outside.range = Some((SECTORS - 1, 2));
        assert_eq!(take_snapshots(&[outside]).await.err().map(code), Some("invalid-argument"));
        let twice = [point(&volumes, "vol0", "b"), point(&volumes, "vol0", "c")];
        assert_eq!(take_snapshots(&twice).await.err().map(code), Some("invalid-argument"));
        assert_eq!(volumes.delete("vol0").await.err().map(code), Some("busy"));
        let missing = volumes.delete_snapshot("vol0", "sunday").await.err().map(code);
        assert_eq!(missing, Some("not-found"));

        let image = volumes.snapshot_image("vol0", "monday").unwrap();
        assert_eq!(image.write_at(0, stamped(1, 1)).await, Err(IoError::ReadOnly));
        volumes.delete_snapshot("vol0", "monday").await.unwrap();
        assert_eq!(read_stamps(&*image, 0, 1).await, Err(IoError::SnapshotInvalid));
        volumes.delete("vol0").await.unwrap();
        assert_eq!(read_stamps(&*volume, 0, 1).await, Err(IoError::Closed));
        assert_eq!(volume.write_at(0, stamped(1, 1)).await, Err(IoError::Closed));
        assert!(volumes.pool().catalog().spaces.is_empty());
    });
}

#[test]
fn attributes_are_replaced_by_name_and_kept() {
    run(async {
        let power = Power::new();
        let members = members("a", &power);
        let volumes = new_pool("tank", &members).await;
        volumes.create(options("vol0")).await.unwrap();
        let set = |name: &str, value: &str| {
            let changes = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            let volumes = volumes.clone();
            async move { volumes.set_attributes("vol0", changes).await.map_err(|error| error.code()) }
        };
        set("info", "a text").await.unwrap();
        set("naa", "2").await.unwrap();
        set("gone", "x").await.unwrap();
        set("gone", "").await.unwrap();
        let long = "x".repeat(1 << 15);
        for (name, value) in
            [("", "x"), (&long[..65], "x"), ("info", &long), ("provisioning", "fat")]
        {
            assert_eq!(set(name, value).await, Err("invalid-argument"));
        }
        assert_eq!(set("provisioning", "full").await, Err("invalid-argument"));
        let kept = [("info", "a text"), ("naa", "2")];
        let kept = BTreeMap::from(kept.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(volumes.list()[0].record.attributes, kept);
        let volumes = open_pool(members.iter().map(|member| member.copy(&power)).collect()).await;
        assert_eq!(volumes.list()[0].record.attributes, kept, "durable when it returns");
        for number in 0..30 {
            let changes = BTreeMap::from([(format!("n{number}"), "x".to_owned())]);
            volumes.set_attributes("vol0", changes).await.unwrap();
        }
        let more = BTreeMap::from([("one-more".to_owned(), "x".to_owned())]);
        let refused = volumes.set_attributes("vol0", more).await.err().map(|error| error.code());
        assert_eq!(refused, Some("invalid-argument"));
    });
}

#[test]
fn a_full_store_follows_the_policy_of_its_volume() {
    run(async {
        let volumes = new_pool("tank", &members("a", &Power::new())).await;
        for (name, policy) in
            [("drop", StorePolicy::DropSnapshot), ("fail", StorePolicy::FailWrite)]
        {
            let mut limited = options(name);
            limited.size_bytes = 80 * CHUNK;
            limited.policy = policy;
            limited.store_limit_bytes = Some(4 << 20);
            let volume = volumes.create(limited).await.unwrap();
            for chunk in 0..80 {
                volume.write_at(chunk * CHUNK, stamped(1, 1)).await.unwrap();
            }
            for name in ["first", "second"] {
                let mut point = point(&volumes, volume.name(), name);
                point.range = Some((0, 80 * CHUNK / SECTOR));
                take_snapshots(&[point]).await.unwrap();
            }
            let mut outcomes = Vec::new();
            for chunk in 0..80 {
                outcomes.push(volume.write_at(chunk * CHUNK, stamped(2, 1)).await);
            }
            let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
            let image = volumes.snapshot_image(name, "second");
            let events = volumes.take_events();
            let full = VolumeEvent::StoreFull { volume: name.to_owned() };
            assert!(events.contains(&full), "{events:?}");
            let soft = VolumeEvent::StoreThreshold { volume: name.to_owned(), percent: 75 };
            assert!(events.contains(&soft), "{events:?}");
            if policy == StorePolicy::DropSnapshot {
                assert_eq!((failed, image.is_err()), (0, true));
                let record = volumes.pool().catalog().volume_named(name).unwrap().clone();
                let states = record.snapshots.iter().map(|snapshot| snapshot.state);
                assert!(states.eq([SnapshotState::Invalid; 2]));
            } else {
                assert!(failed > 0);
                let stamps = read_stamps(&*image.unwrap(), 0, 128 * 80).await.unwrap();
                assert!((0..80).all(|chunk| stamps[chunk * 128] == 1), "the snapshot suffered");
            }
        }
    });
}

#[test]
fn a_write_that_wants_more_than_the_room_left_gives_the_snapshot_up() {
    run(async {
        let volumes = new_pool("tank", &members("a", &Power::new())).await;
        let mut limited = options("vol0");
        limited.size_bytes = 80 * CHUNK;
        limited.store_limit_bytes = Some(4 << 20);
        let volume = volumes.create(limited).await.unwrap();
        let sectors = 16 * CHUNK / SECTOR;
        for piece in 0..5 {
            volume.write_at(piece * 16 * CHUNK, stamped(1, sectors)).await.unwrap();
        }
        let mut first = point(&volumes, "vol0", "first");
        first.range = Some((0, 80 * CHUNK / SECTOR));
        take_snapshots(&[first]).await.unwrap();
        // The store has 64 slots, some of them the log's: the last pieces do not fit, and there is
        // room for a part of one.
        for piece in 0..5 {
            volume.write_at(piece * 16 * CHUNK, stamped(2, sectors)).await.unwrap();
        }
        assert!(volumes.snapshot_image("vol0", "first").is_err());
        let stamps = read_stamps(&*volume, 0, 5 * sectors).await.unwrap();
        assert!(stamps.iter().all(|stamp| *stamp == 2));
    });
}

#[test]
fn a_point_over_two_pools_is_recorded_in_both_or_in_none() {
    let mut seen = [0; 2];
    for seed in seeds(40) {
        let _named = Seed("two pools", seed, 0);
        let power = Power::new();
        let (one, two) = (members("a", &power), members("b", &power));
        let (inside, cut) = ([one.clone(), two.clone()], power.clone());
        let outcome = Simulation::new(seed).run(async move {
            let one = new_pool("one", &inside[0]).await;
            let two = new_pool("two", &inside[1]).await;
            let both = [one.create(options("v")).await, two.create(options("w")).await];
            assert!(both.iter().all(Result::is_ok));
            let random = Random::new(seed).below(90);
            cut.cut_after(random);
            take_snapshots(&[point(&one, "v", "s"), point(&two, "w", "s")]).await.unwrap();
        });
        assert!(outcome.is_ok() || power.is_off(), "deadlock: {outcome:?}");
        let power = Power::new();
        let survivors = [one, two].map(|members| {
            let numbered = members.iter().enumerate();
            numbered.map(|(n, member)| member.survivor(seed + n as u64, &power)).collect()
        });
        let found = run(async move {
            let [one, two] = survivors;
            let pools = [open_pool(one).await, open_pool(two).await];
            settle_groups(&pools).await.unwrap();
            let count = |volumes: &TestVolumes, volume: &str| {
                volumes.pool().catalog().volume_named(volume).unwrap().snapshots.len()
            };
            for volumes in &pools {
                assert!(volumes.pool().catalog().attributes.is_empty(), "a group is pending");
            }
            assert_eq!(count(&pools[0], "v"), count(&pools[1], "w"));
            count(&pools[0], "v")
        });
        seen[found] += 1;
    }
    assert!(seen.iter().all(|count| *count > 0), "one outcome was never seen: {seen:?}");
}

#[test]
fn a_damaged_map_costs_the_snapshots_and_not_the_origin() {
    run(async {
        let power = Power::new();
        let members = members("a", &power);
        let volumes = new_pool("tank", &members).await;
        let volume = volumes.create(options("vol0")).await.unwrap();
        volume.write_at(0, stamped(1, SECTORS)).await.unwrap();
        take_snapshots(&[point(&volumes, "vol0", "monday")]).await.unwrap();
        volume.write_at(0, stamped(2, 1)).await.unwrap();
        let store = volumes.pool().catalog().volume_named("vol0").unwrap().store;
        volumes.close().await.unwrap();
        let space = volumes.pool().space(store).unwrap();
        space.write_at(0, stamped(9, 16)).await.unwrap();
        volumes.pool().close().await.unwrap();
        let volumes = open_pool(members.iter().map(|member| member.copy(&power)).collect()).await;
        let image = volumes.snapshot_image("vol0", "monday").err();
        assert_eq!(image, Some(PoolError::Io(IoError::SnapshotInvalid)));
        let volume = volumes.get("vol0").unwrap();
        assert_eq!(read_stamps(&*volume, 0, 2).await.unwrap(), [2, 1]);
        take_snapshots(&[point(&volumes, "vol0", "tuesday")]).await.unwrap();
        volume.write_at(0, stamped(3, 1)).await.unwrap();
        assert_eq!(image_of(&volumes, "vol0", "tuesday").await[0], 2);
    });
}

/// What the pool's one volume must hold.
#[derive(Clone)]
struct Model {
    current: Vec<u64>,
    possible: Vec<Vec<u64>>,
    snapshots: BTreeMap<String, Vec<u64>>,
}

async fn random_life(volumes: &TestVolumes, model: &Rc<RefCell<Model>>, random: &mut Random) {
    let volume = volumes.get("vol0").unwrap();
    for number in 0..40 {
        match random.below(10) {
            0..=5 => {
                let (first, sectors) = random_range(random, SECTORS, 140);
                let stamp = random.next_u64() >> 1;
                for sector in first as usize..(first + sectors) as usize {
                    let mut model = model.borrow_mut();
                    model.current[sector] = stamp;
                    model.possible[sector].push(stamp);
                }
                volume.write_at(first * SECTOR, stamped(stamp, sectors)).await.unwrap();
            }
            6 => {
                volume.flush().await.unwrap();
                model.borrow_mut().flushed();
            }
            7 | 8 => {
                let name = format!("s{number}-{}", random.below(1 << 30));
                let content = model.borrow().current.clone();
                model.borrow_mut().snapshots.insert(name.clone(), content);
                take_snapshots(&[point(volumes, "vol0", &name)]).await.unwrap();
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

impl Model {
    fn flushed(&mut self) {
        self.possible = self.current.iter().map(|stamp| vec![*stamp]).collect();
    }
}

#[test]
fn cuts_under_raid5_leave_snapshots_exact_and_flushed_data_in_place() {
    for seed in seeds(12) {
        let steps = pool_life(seed, u64::MAX).2;
        let mut random = Random::new(seed);
        for _ in 0..6 {
            let cut = 1 + random.below(steps);
            let _named = Seed("raid5 cuts", seed, cut);
            let (members, model, _) = pool_life(seed, cut);
            let power = Power::new();
            let numbered = members.iter().enumerate();
            let survivors: Vec<_> = numbered
                .map(|(n, member)| member.survivor(seed ^ cut ^ n as u64, &power))
                .collect();
            let Some(model) = model else { continue };
            run(async move {
                let volumes = open_pool(survivors).await;
                let report = volumes.check("vol0").await.unwrap();
                assert_eq!(report.problems, Vec::<String>::new());
                let record = volumes.pool().catalog().volume_named("vol0").unwrap().clone();
                for snapshot in &record.snapshots {
                    let image = image_of(&volumes, "vol0", &snapshot.name).await;
                    assert_eq!(image, model.snapshots[&snapshot.name], "{}", snapshot.name);
                }
                let volume = volumes.get("vol0").unwrap();
                let origin = read_stamps(&*volume, 0, SECTORS).await.unwrap();
                for (stamp, possible) in origin.iter().zip(&model.possible) {
                    assert!(possible.contains(stamp), "{stamp} is not of {possible:?}");
                }
            });
        }
    }
}

/// A random life of a pool; no model where the power went before its volume was made.
fn pool_life(seed: u64, cut: u64) -> (Vec<SimulatedMember>, Option<Model>, u64) {
    let power = Power::cut_at(cut);
    let members = members("m", &power);
    let (inside, started) = (members.clone(), shared(None));
    let in_run = started.clone();
    let outcome = Simulation::new(seed).run(async move {
        let volumes = new_pool("tank", &inside).await;
        volumes.create(options("vol0")).await.unwrap();
        let zeros = vec![0; SECTORS as usize];
        let possible = vec![vec![0]; SECTORS as usize];
        let model = shared(Model { current: zeros, possible, snapshots: BTreeMap::new() });
        *in_run.borrow_mut() = Some(model.clone());
        random_life(&volumes, &model, &mut Random::new(seed)).await;
    });
    assert!(outcome.is_ok() || power.is_off(), "deadlock: {outcome:?}");
    let model = started.borrow().as_ref().map(|model| model.borrow().clone());
    (members, model, power.steps())
}

#[test]
fn the_rules_of_a_store_change_while_it_is_full_and_stay_changed() {
    let power = Power::new();
    let members = members("m", &power);
    let handles = members.clone();
    Simulation::new(1)
        .run(async move {
            let volumes = new_pool("tank", &members).await;
            let mut wanted = options("vol0");
            wanted.size_bytes = 64 * CHUNK;
            wanted.policy = StorePolicy::FailWrite;
            wanted.store_limit_bytes = Some(1 << 20);
            volumes.create(wanted).await.unwrap();
            let volume = volumes.get("vol0").unwrap();
            let all = Bytes::from(vec![1; 64 * CHUNK as usize]);
            volume.write_at(0, all.clone()).await.unwrap();
            take_snapshots(&[point(&volumes, "vol0", "a")]).await.unwrap();
            assert_eq!(volume.write_at(0, all.clone()).await, Err(IoError::StoreFull));
            let refused = volumes.set_store_rules("vol0", StorePolicy::FailWrite, Some(4096)).await;
            assert!(matches!(refused, Err(PoolError::Invalid(_))), "{refused:?}");
            volumes.set_store_rules("vol0", StorePolicy::FailWrite, None).await.unwrap();
            volume.write_at(0, all.clone()).await.unwrap();
            let state = |volumes: &TestVolumes| {
                volumes.status("vol0").unwrap().record.snapshots.first().map(|one| one.state)
            };
            assert_eq!(state(&volumes), Some(SnapshotState::Live));
            volumes.delete_snapshot("vol0", "a").await.unwrap();
            volumes
                .set_store_rules("vol0", StorePolicy::DropSnapshot, Some(1 << 20))
                .await
                .unwrap();
            volumes.pool().close().await.unwrap();
        })
        .unwrap();
    let survivors: Vec<_> = handles.iter().map(|member| member.copy(&Power::new())).collect();
    Simulation::new(2)
        .run(async move {
            let volumes = open_pool(survivors).await;
            let record = volumes.status("vol0").unwrap().record;
            let rules = (record.policy, record.store_limit_bytes);
            assert_eq!(rules, (StorePolicy::DropSnapshot, Some(1 << 20)));
        })
        .unwrap();
}
