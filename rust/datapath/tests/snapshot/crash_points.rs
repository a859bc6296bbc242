//! Power is cut after every single write and flush of a long random run; then everything that the
//! floors promise is looked at.
//!
//! The run is one task, so at each moment the model knows exactly what every sector holds. After the cut:
//! - each live snapshot of the catalog reads exactly its point in time;
//! - each sector of the origin holds what was flushed last, or something written later;
//! - what changed between any two of them is told: all that differs, and nothing that was not written;
//! - `check` finds nothing.
//!
//! Now and then the store is closed in order and opened again.
//!
//! Then a second life goes on from there, is cut as well, and is looked at in the same way.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use datapath::block_io::BlockIo;
use datapath::error::IoError;
use datapath::member::Power;
use datapath::simulation::{Random, Simulation};
use datapath::snapshot::{PointRange, SnapshotPoint};
use datapath::units::{ChunkIndex, Epoch};

use super::support::*;

const CHUNK_BYTES: u64 = 8 << 10;
const CHUNK_SECTORS: u64 = CHUNK_BYTES / SECTOR;
const SECTORS: u64 = 20 * CHUNK_BYTES / SECTOR - 3;
const OPERATIONS: u64 = 60;

/// What the members must hold.
#[derive(Clone)]
struct Model {
    /// What each sector reads as now.
    current: Vec<u64>,
    /// What each sector may read as after a cut.
    possible: Vec<Vec<u64>>,
    /// How often a change of each sector was asked for.
    changes: Vec<u64>,
    /// The snapshots, whether they are recorded yet or not.
    snapshots: BTreeMap<Epoch, Taken>,
    next_stamp: u64,
}

#[derive(Clone)]
struct Taken {
    range: PointRange,
    content: Vec<u64>,
    changes: Vec<u64>,
}

impl Model {
    fn new() -> Self {
        let (current, possible) = (vec![0; SECTORS as usize], vec![vec![0]; SECTORS as usize]);
        let changes = vec![0; SECTORS as usize];
        Self { current, possible, changes, snapshots: BTreeMap::new(), next_stamp: 1 }
    }

    fn write(&mut self, first: u64, sectors: u64, stamp: u64) {
        for sector in first as usize..(first + sectors) as usize {
            self.current[sector] = stamp;
            self.possible[sector].push(stamp);
            self.changes[sector] += 1;
        }
    }

    fn flushed(&mut self) {
        for (possible, current) in self.possible.iter_mut().zip(&self.current) {
            *possible = vec![*current];
        }
    }
}

type Shared = Rc<RefCell<Model>>;

/// Random operations until they are done or the power goes.
async fn run(
    engine: Arc<TestEngine<Medium>>,
    rig: &Rig,
    model: &Shared,
    random: &mut Random,
) -> Arc<TestEngine<Medium>> {
    let (mut engine, catalog) = (engine, &rig.catalog);
    for _ in 0..OPERATIONS {
        let engine = &mut engine;
        match random.below(103) {
            0..=54 => write(engine, model, random).await,
            55..=64 => zero(engine, model, random).await,
            65..=74 => {
                engine.flush().await.unwrap();
                model.borrow_mut().flushed();
            }
            75..=89 => snapshot(engine, catalog, model, random).await,
            90..=96 => delete(engine, catalog, random).await,
            97..=99 => verify_snapshots(engine, catalog, model).await,
            _ => {
                engine.close().await.unwrap();
                model.borrow_mut().flushed();
                *engine = rig.open().await.unwrap();
            }
        }
    }
    engine
}

async fn write(engine: &TestEngine<Medium>, model: &Shared, random: &mut Random) {
    let longest = if random.chance(1, 8) { 80 } else { 12 };
    let (first, sectors) = random_range(random, SECTORS, longest);
    let stamp = {
        let mut model = model.borrow_mut();
        let stamp = model.next_stamp;
        model.next_stamp += 1;
        model.write(first, sectors, stamp);
        stamp
    };
    engine.write_at(first * SECTOR, stamped(stamp, sectors)).await.unwrap();
}

async fn zero(engine: &TestEngine<Medium>, model: &Shared, random: &mut Random) {
    let (first, sectors) = random_range(random, SECTORS, 40);
    model.borrow_mut().write(first, sectors, 0);
    let outcome = if random.chance(1, 2) {
        engine.discard(first * SECTOR, sectors * SECTOR).await
    } else {
        engine.write_zeroes(first * SECTOR, sectors * SECTOR).await
    };
    outcome.unwrap();
}

async fn snapshot(
    engine: &TestEngine<Medium>,
    catalog: &Catalog,
    model: &Shared,
    random: &mut Random,
) {
    let (first, sectors) = match random.below(2) {
        0 => (0, SECTORS),
        _ => random_range(random, SECTORS, SECTORS),
    };
    let range = PointRange { first_byte: first * SECTOR, length_bytes: sectors * SECTOR };
    let taken = take_snapshot(engine, catalog, range, |epoch| {
        let mut model = model.borrow_mut();
        let (content, changes) = (model.current.clone(), model.changes.clone());
        let taken = Taken { range, content, changes };
        assert!(model.snapshots.insert(epoch, taken).is_none(), "an epoch used twice");
    });
    taken.await;
    model.borrow_mut().flushed();
}

async fn delete(engine: &TestEngine<Medium>, catalog: &Catalog, random: &mut Random) {
    let points = catalog.points();
    if points.is_empty() {
        return;
    }
    let point = points[random.below(points.len() as u64) as usize];
    delete_snapshot(engine, catalog, point.epoch).await;
}

/// Every live snapshot reads as its point in time, and nothing outside of its range.
async fn verify_snapshots(engine: &Arc<TestEngine<Medium>>, catalog: &Catalog, model: &Shared) {
    verify_changes(engine, catalog, &model.borrow());
    for point in catalog.points() {
        let image = engine.image(point.epoch).unwrap();
        let Taken { range, content, .. } = model.borrow().snapshots[&point.epoch].clone();
        assert_eq!(range, point.range);
        let (first, sectors) = (range.first_byte / SECTOR, range.length_bytes / SECTOR);
        let read = read_stamps(&image, first, sectors).await.unwrap();
        let expected = &content[first as usize..(first + sectors) as usize];
        assert_eq!(read, expected, "snapshot {:?}", point.epoch);
        let mapped = mapped_sectors(&image, first, sectors).await.unwrap();
        let mut told = mapped.iter().zip(&read);
        assert!(told.all(|(mapped, stamp)| *mapped || *stamp == 0), "deallocated, but data");
        if first > 0 {
            let outside = read_stamps(&image, first - 1, 1).await;
            assert_eq!(outside, Err(IoError::OutsideSnapshot));
        }
    }
}

/// What changed between each two snapshots, and since each: exactly what the model says, but for writes
/// that a cut interrupted.
fn verify_changes(engine: &TestEngine<Medium>, catalog: &Catalog, model: &Model) {
    let now = Taken {
        range: PointRange { first_byte: 0, length_bytes: SECTORS * SECTOR },
        content: model.current.clone(),
        changes: model.changes.clone(),
    };
    let epochs: Vec<Epoch> = catalog.points().iter().map(|point| point.epoch).collect();
    for (index, since) in epochs.iter().enumerate() {
        let before = &model.snapshots[since];
        let later = epochs[index + 1..].iter().map(|until| Some(*until));
        for until in later.chain([None]) {
            let after = until.map_or(&now, |until| &model.snapshots[&until]);
            let runs = engine.changed(*since, until, ChunkIndex(0), usize::MAX);
            let told = |chunk: u64| {
                let holds = |first: u64, count: u64| (first..first + count).contains(&chunk);
                runs.iter().any(|run| holds(run.first.0.into(), run.count))
            };
            for chunk in 0..SECTORS.div_ceil(CHUNK_SECTORS) {
                let sectors = chunk * CHUNK_SECTORS..SECTORS.min((chunk + 1) * CHUNK_SECTORS);
                let both = |sector: &u64| {
                    let covers = |range: &PointRange| range.contains(sector * SECTOR, SECTOR);
                    covers(&before.range) && covers(&after.range)
                };
                let covered: Vec<usize> =
                    sectors.clone().filter(both).map(|sector| sector as usize).collect();
                if covered.is_empty() {
                    continue;
                }
                let differs = covered.iter().any(|&at| before.content[at] != after.content[at]);
                let mut sectors = sectors.map(|sector| sector as usize);
                let written = sectors.any(|at| before.changes[at] != after.changes[at]);
                let told = told(chunk);
                let what = format!("chunk {chunk}, {since:?} to {until:?}");
                assert!(told || !differs, "{what}: changed, and nobody says so");
                assert!(written || !told, "{what}: told, and never written");
            }
        }
    }
}

/// Everything that must hold after a cut. The model then continues with what the origin holds.
async fn verify(engine: &Arc<TestEngine<Medium>>, catalog: &Catalog, shared_model: &Shared) {
    let report = engine.check().await.unwrap();
    assert_eq!(report.problems, Vec::<String>::new());
    let origin = read_stamps(&**engine, 0, SECTORS).await.unwrap();
    shared_model.borrow_mut().take_over(origin, &catalog.points());
    verify_snapshots(engine, catalog, shared_model).await;
}

impl Model {
    /// Goes on from what the origin holds after a cut, which must be what it may hold.
    fn take_over(&mut self, origin: Vec<u64>, recorded: &[SnapshotPoint]) {
        for (sector, stamp) in origin.iter().enumerate() {
            let possible = &self.possible[sector];
            assert!(possible.contains(stamp), "sector {sector} holds {stamp}, not of {possible:?}");
        }
        // What was not flushed may still be unflushed now, but a survivor's medium is all it has.
        self.possible = origin.iter().map(|stamp| vec![*stamp]).collect();
        self.current = origin;
        // Epochs that were never recorded may be used again.
        self.snapshots.retain(|epoch, _| recorded.iter().any(|point| point.epoch == *epoch));
    }
}

/// Runs the first life of `seed` with the power going at `cut`; returns the rig, the model, the steps.
fn first_life(seed: u64, cut: u64) -> (Rig, Model, u64) {
    let power = Power::cut_at(cut);
    let rig = Rig::new(SECTORS * SECTOR, CHUNK_BYTES, 34, &power);
    let (inside, model) = (rig.clone(), shared(Model::new()));
    let in_run = model.clone();
    let outcome = Simulation::new(seed).run(async move {
        let engine = inside.format().await;
        let mut random = Random::new(seed);
        let engine = run(engine, &inside, &in_run, &mut random).await;
        verify_snapshots(&engine, &inside.catalog, &in_run).await;
    });
    assert!(outcome.is_ok() || power.is_off(), "deadlock: {outcome:?}");
    let model = model.borrow().clone();
    (rig, model, power.steps())
}

/// Opens what the cut left, looks at everything, goes on for a second life with a cut of its own, and
/// looks again.
fn later_lives(seed: u64, cut: u64, rig: &Rig, model: Model) {
    let mut random = Random::new(seed ^ (cut << 20));
    let power = Power::cut_at(20 + random.below(120));
    let rig = rig.survivor(random.next_u64(), &power);
    let model = shared(model);
    let (second, in_run) = (rig.clone(), model.clone());
    let mut in_second = Random::new(random.next_u64());
    let outcome = Simulation::new(seed).run(async move {
        let engine = second.open().await.unwrap();
        verify(&engine, &second.catalog, &in_run).await;
        let engine = run(engine, &second, &in_run, &mut in_second).await;
        if in_second.chance(1, 2) {
            engine.close().await.unwrap();
        }
    });
    assert!(outcome.is_ok() || power.is_off(), "deadlock: {outcome:?}");
    let rig = rig.survivor(random.next_u64(), &Power::new());
    let third = Simulation::new(seed).run(async move {
        let engine = rig.open().await.unwrap();
        verify(&engine, &rig.catalog, &model).await;
    });
    third.unwrap();
}

#[test]
fn every_cut_leaves_snapshots_exact_and_flushed_data_in_place() {
    for seed in seeds(6) {
        let (_, _, steps) = first_life(seed, u64::MAX);
        // The store is made in the first steps; a cut there leaves nothing that was promised.
        for cut in 5..=steps + 1 {
            let _named = Seed("crash points", seed, cut);
            let (rig, model, _) = first_life(seed, cut);
            later_lives(seed, cut, &rig, model);
        }
    }
}
