//! The power is cut after every single write and flush of a run, in turn; the survivors are opened
//! again, and everything that was acknowledged as durable must be there, with copies and parity
//! consistent, also when one member is then removed, and also when the run began without one.
//!
//! `SCSI_SNAP_SEEDS` is the number of seeds (default 1), `SCSI_SNAP_SEED` the first one,
//! `SCSI_SNAP_STRIDE` how many steps lie between two cuts (default 1: every step). With a larger
//! stride seeds begin at different steps.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use datapath::block_io::{BlockIo, Growable};
use datapath::member::{Call, FaultPlan, Faulty, Power, SimulatedMember};
use datapath::pool::{Pool, SpaceId};
use datapath::simulation::{Random, Simulation, spawn};
use datapath::stripe::{Level, SetState};
use futures_util::future::join_all;

use crate::support::*;

const BLOCK: u64 = 2048;
const BLOCKS: u64 = 96;
const ROUNDS: u32 = 7;

/// What a block may hold: any of these fill bytes, at the granularity of sectors.
type Expected = Vec<Vec<u8>>;

/// What the run has been told is durable.
#[derive(Clone, Default)]
struct Promise {
    blocks: Expected,
    /// The space's size and the catalog's note, when last acknowledged and when last asked for.
    size: (u64, u64),
    note: (u64, u64),
    space: Option<SpaceId>,
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn seeds() -> std::ops::Range<u64> {
    let first = number("SCSI_SNAP_SEED", 0);
    first..first + number("SCSI_SNAP_SEEDS", 1)
}

#[test]
fn nothing_durable_is_lost_wherever_the_power_goes() {
    for seed in seeds() {
        for level in Level::all() {
            search(seed, Case { level, count: level.members_min(), trouble: Trouble::None });
        }
    }
}

#[test]
fn nothing_durable_is_lost_by_a_degraded_set() {
    for seed in seeds() {
        for (level, count) in REDUNDANT {
            let trouble = Trouble::Missing(seed as usize % count);
            search(seed, Case { level, count, trouble });
        }
    }
}

#[test]
fn nothing_durable_is_lost_when_a_member_fails_before_the_power_does() {
    for seed in seeds() {
        for (level, count) in REDUNDANT {
            let role = seed as usize % count;
            let skip = Random::new(seed ^ 0x5EED).below(40) + 8;
            search(seed, Case { level, count, trouble: Trouble::Fails { role, skip } });
        }
    }
}

const REDUNDANT: [(Level, usize); 3] = [(Level::Raid1, 2), (Level::Raid10, 4), (Level::Raid5, 4)];

#[derive(Clone, Copy, Debug)]
struct Case {
    level: Level,
    count: usize,
    trouble: Trouble,
}

/// What is wrong with a member, besides the power.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    None,
    /// It is not there from the start.
    Missing(usize),
    /// It fails every write and flush after so many writes.
    Fails {
        role: usize,
        skip: u64,
    },
}

/// One run for each step at which the power may go, until a run ends before its cut.
fn search(seed: u64, case: Case) {
    let stride = number("SCSI_SNAP_STRIDE", 1);
    let members = prepared(seed, case);
    let mut step = 1 + seed % stride;
    while cut_at(seed, step, case, &members) {
        step += stride;
    }
    assert!(step > 60, "{case:?}: the run ended after {step} steps: it proves nothing");
}

fn cut_at(seed: u64, step: u64, case: Case, members: &[SimulatedMember]) -> bool {
    let what = format!("seed {seed}, step {step}, {case:?}");
    let power = Power::cut_at(step);
    let handles: Vec<_> = members
        .iter()
        .enumerate()
        .map(|(n, member)| member.copy(&power).with_delays(seed * 100 + n as u64))
        .collect();
    let members: Vec<_> = handles
        .iter()
        .enumerate()
        .map(|(n, member)| Faulty::new(member.clone(), &plan_of(case.trouble, n)))
        .collect();
    let promise = Rc::new(RefCell::new(Promise::default()));
    let told = promise.clone();
    let ended = Simulation::new(seed.wrapping_mul(7919).wrapping_add(step))
        .run(async move { workload(members, seed, &told).await });
    assert!(ended.is_ok() || power.is_off(), "{what}: {ended:?}");
    for outcome in 0..2 {
        let power = Power::new();
        let seed = seed ^ step << 8 ^ outcome << 40;
        let survivors: Vec<_> = handles
            .iter()
            .enumerate()
            .map(|(n, member)| member.survivor(seed.wrapping_add(n as u64 * 0x9E37), &power))
            .collect();
        verify(&what, survivors, &promise.borrow(), case);
    }
    power.is_off()
}

fn plan_of(trouble: Trouble, member: usize) -> Arc<FaultPlan> {
    let plan = FaultPlan::new();
    if let Trouble::Fails { role, skip } = trouble
        && role == member
    {
        plan.die_after(Call::Write, skip);
    }
    plan
}

/// A pool with one space, closed; the members that the run begins with.
fn prepared(seed: u64, case: Case) -> Vec<SimulatedMember> {
    let power = Power::new();
    let members = simulated(case.count, &power);
    let level = case.level;
    let handles = members.clone();
    run(seed, async move {
        let pool = Pool::create(members, options(level, 4096)).await.unwrap();
        let id = pool.create_space(1 << 20).await.unwrap();
        let space = pool.space(id).unwrap();
        for block in 0..BLOCKS {
            write(&*space, block * BLOCK, 1, BLOCK).await;
        }
        pool.close().await.unwrap();
    });
    let missing = |n: usize| matches!(case.trouble, Trouble::Missing(role) if role == n);
    let kept = handles.iter().enumerate().filter(|(n, _)| !missing(*n));
    kept.map(|(_, member)| member.copy(&power)).collect()
}

/// Rounds of concurrent writes on blocks of their own, flushes, growth and catalog changes.
async fn workload(
    members: Vec<Faulty<SimulatedMember>>,
    seed: u64,
    promise: &Rc<RefCell<Promise>>,
) {
    let mut random = Random::new(seed ^ 0xABCD);
    {
        let mut promise = promise.borrow_mut();
        promise.blocks = vec![vec![1]; BLOCKS as usize];
        promise.size = (1 << 20, u64::MAX);
        promise.space = Some(SpaceId(1));
    }
    let pool = Pool::open(members).await.unwrap();
    let space = pool.space(SpaceId(1)).unwrap();
    for round in 0..ROUNDS {
        let fill = round as u8 + 2;
        let mut tasks = Vec::new();
        let mut at = random.below(6);
        while at < BLOCKS {
            let count = (1 + random.below(9)).min(BLOCKS - at);
            let zero = random.chance(1, 5);
            let byte = if zero { 0 } else { fill };
            for block in at..at + count {
                promise.borrow_mut().blocks[block as usize].push(byte);
            }
            let space = space.clone();
            tasks.push(spawn(async move {
                let (offset, length) = (at * BLOCK, count * BLOCK);
                if zero {
                    space.discard(offset, length).await.unwrap();
                } else {
                    let data = Bytes::from(vec![byte; length as usize]);
                    space.write_at(offset, data).await.unwrap();
                }
            }));
            at += count + random.below(12);
        }
        let other = spawn(catalog_work(pool.clone(), round, promise.clone()));
        join_all(tasks).await;
        other.await;
        match random.below(3) {
            0 => space.flush().await.unwrap(),
            1 => pool.checkpoint().await.unwrap(),
            _ => continue,
        }
        for block in &mut promise.borrow_mut().blocks {
            block.drain(..block.len() - 1);
        }
    }
    pool.close().await.unwrap();
}

async fn catalog_work(
    pool: Arc<Pool<Faulty<SimulatedMember>>>,
    round: u32,
    promise: Rc<RefCell<Promise>>,
) {
    if round % 3 == 1 {
        let space = pool.space(SpaceId(1)).unwrap();
        let size = space.grow(1 << 19).await.unwrap();
        promise.borrow_mut().size.0 = size;
    }
    if round.is_multiple_of(2) {
        let note = u64::from(round) + 1;
        promise.borrow_mut().note.1 = note;
        let text = note.to_string();
        let change = |catalog: &mut datapath::pool::Catalog| {
            catalog.attributes.insert("note".to_owned(), text);
            Ok(())
        };
        pool.update(change).await.unwrap();
        promise.borrow_mut().note.0 = note;
    }
}

fn verify(what: &str, survivors: Vec<SimulatedMember>, promise: &Promise, case: Case) {
    let (name, promise) = (what.to_owned(), promise.clone());
    let handles = survivors.clone();
    run(0, async move {
        let opened = Pool::open_available(survivors).await;
        let (pool, refused) = opened.unwrap_or_else(|error| panic!("{name}: {error}"));
        let may_refuse = matches!(case.trouble, Trouble::Fails { .. });
        assert!(refused.is_empty() || may_refuse, "{name}: {refused:?}");
        check_promise(&name, &pool, &promise).await;
        assert_eq!(mismatches(&pool).await, [], "{name}: members disagree");
        let before = read(&*pool.space(SpaceId(1)).unwrap(), 0, BLOCKS * BLOCK).await;
        pool.close().await.unwrap();
        if !case.level.is_redundant() || pool.status().state != SetState::Optimal {
            return;
        }
        for lost in 0..handles.len() {
            let pool = Pool::open(restarted(&handles, &[lost])).await.unwrap();
            let after = read(&*pool.space(SpaceId(1)).unwrap(), 0, BLOCKS * BLOCK).await;
            assert!(after == before, "{name}: other data without member {lost}");
        }
    });
}

async fn check_promise(what: &str, pool: &Arc<Pool<SimulatedMember>>, promise: &Promise) {
    let id = promise.space.unwrap_or(SpaceId(1));
    let space = pool.space(id).unwrap();
    let size = space.size_bytes();
    assert!((promise.size.0..=promise.size.1).contains(&size), "{what}: size {size}");
    let note = pool.catalog().attributes.get("note").map_or(0, |text| text.parse().unwrap());
    assert!((promise.note.0..=promise.note.1).contains(&note), "{what}: note {note}");
    let expected: Expected = if promise.blocks.is_empty() {
        vec![vec![1]; BLOCKS as usize]
    } else {
        promise.blocks.clone()
    };
    let found = read(&*space, 0, BLOCKS * BLOCK).await;
    for (block, (content, allowed)) in found.chunks(BLOCK as usize).zip(&expected).enumerate() {
        for sector in content.chunks(512) {
            let one = sector.iter().all(|byte| *byte == sector[0]);
            assert!(
                one && allowed.contains(&sector[0]),
                "{what}: block {block} holds {:?}, allowed are {allowed:?}",
                sector[0]
            );
        }
    }
    let rest = read(&*space, BLOCKS * BLOCK, size - BLOCKS * BLOCK).await;
    assert!(rest.iter().all(|byte| *byte == 0), "{what}: what was never written is not zero");
}
