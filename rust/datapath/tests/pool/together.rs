//! Several members fail at once, each under another change: what was durable and nobody was writing
//! stays as it was, whether the set goes on or stops, and after every open that follows.
//!
//! `SCSI_SNAP_SEEDS` is how many orders of events each case is tried in (default 6),
//! `SCSI_SNAP_SEED` the first one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use datapath::block_io::BlockIo;
use datapath::error::PoolError;
use datapath::member::{Call, Fault, FaultPlan, Faulty, Power, SimulatedMember};
use datapath::pool::Pool;
use datapath::simulation::{Random, Simulation, spawn};
use datapath::stripe::Level;
use futures_util::future::join_all;

use crate::support::*;

const STRIP: u64 = 4096;
/// Changes lie this far apart: each in a stripe of its own whatever the level, several in a stripe,
/// or over one another.
const SPACINGS: [u64; 3] = [5 * STRIP, 2 * STRIP, 1024];
const CHANGES: u64 = 6;
const BYTES: u64 = (CHANGES + 1) * 5 * STRIP;
const OLD: u8 = 1;

const SHAPES: [(Level, usize); 6] = [
    (Level::Raid1, 2),
    (Level::Raid1, 3),
    (Level::Raid10, 4),
    (Level::Raid5, 3),
    (Level::Raid5, 4),
    (Level::Raid5, 5),
];

/// What is wrong with a member.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// One call fails, the next ones go well.
    Once(Call, u64, Fault),
    /// Every call fails.
    Dies(Call, u64),
    /// Every write fails.
    Full(u64),
}

impl Trouble {
    fn any(random: &mut Random) -> Self {
        let skip = random.below(12);
        match random.below(6) {
            0 | 1 => Self::Once(Call::Write, skip, Fault::Error),
            2 => Self::Once(Call::Write, skip, Fault::Torn),
            3 => Self::Once(Call::Flush, skip % 4, Fault::Error),
            4 => Self::Dies(Call::Write, skip),
            _ => Self::Full(skip),
        }
    }

    fn strike(self, plan: &FaultPlan) {
        match self {
            Self::Once(call, skip, fault) => plan.script(call, skip, fault),
            Self::Dies(call, skip) => plan.die_after(call, skip),
            Self::Full(skip) => plan.full_after(skip),
        }
    }
}

/// A change: where it wrote, and whether it must be found there.
#[derive(Clone, Copy)]
struct Change {
    offset: u64,
    length: u64,
    kept: bool,
}

type Outcome = Vec<Change>;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn each_seed(mut case: impl FnMut(u64, Level, usize)) {
    let first = number("SCSI_SNAP_SEED", 0);
    for seed in first..first + number("SCSI_SNAP_SEEDS", 6) {
        for (level, count) in SHAPES {
            case(seed, level, count);
        }
    }
}

#[test]
fn two_members_that_fail_at_once_spoil_nothing() {
    each_seed(|seed, level, count| {
        for first in 0..count {
            for second in (0..count).filter(|second| *second != first) {
                let mut random = Random::new(seed << 8 ^ (first * 8 + second) as u64);
                let troubles =
                    [(first, Trouble::any(&mut random)), (second, Trouble::any(&mut random))];
                case(random.below(1 << 40), level, count, &troubles, None);
            }
        }
    });
}

#[test]
fn members_that_run_full_one_after_the_other_spoil_nothing() {
    each_seed(|seed, level, count| {
        let mut random = Random::new(seed ^ 0xF011);
        for _ in 0..4 {
            let troubles: Vec<_> =
                (0..count).map(|role| (role, Trouble::Full(4 + random.below(16)))).collect();
            case(random.below(1 << 40), level, count, &troubles, None);
        }
    });
}

#[test]
fn a_power_cut_on_top_spoils_nothing() {
    each_seed(|seed, level, count| {
        let mut random = Random::new(seed ^ 0xC07);
        for _ in 0..12 {
            let first = random.below(count as u64) as usize;
            let second = (first + 1 + random.below(count as u64 - 1) as usize) % count;
            let troubles =
                [(first, Trouble::any(&mut random)), (second, Trouble::any(&mut random))];
            let step = 1 + random.below(90);
            case(random.below(1 << 40), level, count, &troubles, Some(step));
        }
    });
}

/// One run: durable old data, then changes at once while members fail, then opens.
fn case(seed: u64, level: Level, count: usize, troubles: &[(usize, Trouble)], cut: Option<u64>) {
    let what = format!("seed {seed}, {level} of {count}, {troubles:?}, cut {cut:?}");
    let handles = prepared(seed, level, count);
    let power = cut.map_or_else(Power::new, Power::cut_at);
    let handles: Vec<_> = handles.iter().map(|member| member.copy(&power)).collect();
    let outcome = Rc::new(RefCell::new(Outcome::new()));
    let plans: Vec<_> = (0..count).map(|_| FaultPlan::new()).collect();
    for (role, _) in troubles {
        plans[*role].delays(seed ^ *role as u64);
    }
    let faulty: Vec<_> = handles
        .iter()
        .zip(&plans)
        .map(|(member, plan)| Faulty::new(member.clone(), plan))
        .collect();
    let flushed = Rc::new(Cell::new(false));
    let (told, told_flushed, troubles) = (outcome.clone(), flushed.clone(), troubles.to_vec());
    let ended = Simulation::new(seed).run(async move {
        let pool = Pool::open(faulty).await.unwrap();
        troubles.iter().for_each(|(role, trouble)| trouble.strike(&plans[*role]));
        workload(seed, pool, &told, &told_flushed).await;
    });
    assert!(ended.is_ok() || power.is_off(), "{what}: {ended:?}");
    let survivors = |seed: u64| -> Vec<_> {
        let now = Power::new();
        let survivor = |(n, member): (usize, &SimulatedMember)| match power.is_off() {
            true => member.survivor(seed + n as u64, &now),
            false => member.copy(&now),
        };
        handles.iter().enumerate().map(survivor).collect()
    };
    let mut outcome = outcome.borrow().clone();
    if power.is_off() && !flushed.get() {
        outcome.iter_mut().for_each(|change| change.kept = false);
    }
    let all_in_sync = verify(&what, survivors(seed), &outcome);
    // A copy that was taken out and is alone cannot know that the pool went on without it.
    if level != Level::Raid5 && !all_in_sync {
        return;
    }
    for lost in 0..count {
        let mut rest = survivors(seed);
        rest.remove(lost);
        let what = format!("{what}, then without {lost}");
        verify_if_it_opens(&what, rest, &outcome);
    }
}

fn prepared(seed: u64, level: Level, count: usize) -> Vec<SimulatedMember> {
    let members = simulated(count, &Power::new());
    let handles = members.clone();
    run(seed, async move {
        let pool = Pool::create(members, options(level, STRIP)).await.unwrap();
        write(&**pool.set(), 0, OLD, BYTES).await;
        pool.close().await.unwrap();
    });
    handles
}

/// Changes at once, some of more than one strip, with a flush beside them and one after them.
async fn workload(
    seed: u64,
    pool: Arc<Pool<Faulty<SimulatedMember>>>,
    outcome: &Rc<RefCell<Outcome>>,
    flushed: &Cell<bool>,
) {
    let mut random = Random::new(seed ^ 0xD0);
    let spacing = SPACINGS[random.below(3) as usize];
    let mut tasks = Vec::new();
    for change in 0..CHANGES {
        let offset = change * spacing + random.below(4) * 512;
        let length = (1 + random.below(STRIP / 512 + 4)) * 512;
        outcome.borrow_mut().push(Change { offset, length, kept: false });
        let (pool, outcome) = (pool.clone(), outcome.clone());
        tasks.push(spawn(async move {
            let data = Bytes::from(vec![change as u8 + 2; length as usize]);
            let done = pool.set().write_at(offset, data).await.is_ok();
            outcome.borrow_mut()[change as usize].kept = done;
        }));
    }
    let beside = pool.clone();
    tasks.push(spawn(async move { drop(beside.set().flush().await) }));
    join_all(tasks).await;
    flushed.set(pool.set().flush().await.is_ok());
}

/// Whether no member was refused.
fn verify(what: &str, members: Vec<SimulatedMember>, outcome: &Outcome) -> bool {
    let (name, outcome) = (what.to_owned(), outcome.clone());
    run(0, async move {
        let (pool, refused) = Pool::open_available(members)
            .await
            .unwrap_or_else(|error| panic!("{name}: all members are there, but {error}"));
        compare(&name, &pool, &outcome).await;
        assert_eq!(mismatches(&pool).await, [], "{name}: members disagree");
        refused.is_empty()
    })
}

/// One member more is missing than was when the set stopped: refusing is right too.
fn verify_if_it_opens(what: &str, members: Vec<SimulatedMember>, outcome: &Outcome) {
    let (name, outcome) = (what.to_owned(), outcome.clone());
    run(0, async move {
        match Pool::open_available(members).await {
            Ok((pool, _)) => compare(&name, &pool, &outcome).await,
            Err(error) => assert!(
                matches!(error, PoolError::Unavailable(_) | PoolError::MemberRefused { .. }),
                "{name}: {error}"
            ),
        }
    });
}

/// Sectors that nobody wrote are old; those of a change are new, or old where nobody relies on it.
async fn compare(what: &str, pool: &Arc<Pool<SimulatedMember>>, outcome: &Outcome) {
    let found = read(&**pool.set(), 0, BYTES).await;
    for (sector, content) in found.chunks(512).enumerate() {
        let at = sector as u64 * 512;
        let covers = |one: &Change| (one.offset..one.offset + one.length).contains(&at);
        let changes: Vec<_> = (0..outcome.len()).filter(|one| covers(&outcome[*one])).collect();
        let mut allowed: Vec<_> = changes.iter().map(|change| *change as u8 + 2).collect();
        if !changes.iter().any(|change| outcome[*change].kept) {
            allowed.push(OLD);
        }
        assert!(
            content.iter().all(|byte| *byte == content[0]) && allowed.contains(&content[0]),
            "{what}: the sector at {at} holds {:?}, allowed are {allowed:?}",
            content[0]
        );
    }
}
