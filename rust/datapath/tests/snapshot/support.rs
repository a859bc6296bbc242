//! A volume on simulated members, without a pool: origin, store space, catalog of snapshots.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use datapath::block_io::{BlockIo, Growable, ReadResult, mapped_runs};
use datapath::error::IoError;
use datapath::member::{FaultPlan, Faulty, Power, SimulatedMember};
use datapath::simulation::{Random, random_below, sleep};
use datapath::snapmap::{ExceptionStore, LiveSet, MapError, StoreOptions};
use datapath::snapshot::{
    Engine, EngineOptions, FullPolicy, PointRange, SnapshotLedger, SnapshotPoint, StoreRules,
};
use datapath::units::{ChunkSize, Epoch};
use uuid::Uuid;

pub const SECTOR: u64 = 512;

/// How many seeds a test tries: `SCSI_SNAP_SEEDS`, or `default`; from `SCSI_SNAP_SEED` on, or 0.
pub fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first = number("SCSI_SNAP_SEED").unwrap_or(0);
    let count = number("SCSI_SNAP_SEEDS").unwrap_or(default);
    first..first + count
}

/// Says which seed failed when a test panics.
pub struct Seed(pub &'static str, pub u64, pub u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(test, seed, step) = self;
            eprintln!(
                "{test}: failed with seed {seed}, cut at step {step}: replay with SCSI_SNAP_SEED={seed} SCSI_SNAP_SEEDS=1"
            );
        }
    }
}

/// A device that grows on another of fixed size, up to a limit.
#[derive(Clone)]
pub struct GrowingSpace<B> {
    pub device: Arc<B>,
    pub size_bytes: Arc<AtomicU64>,
    pub limit_bytes: u64,
}

/// Of a device that is another's, `self.device`, but for its reads and writes: what else it must do.
macro_rules! passes_on_the_rest {
    () => {
        async fn flush(&self) -> Result<(), IoError> {
            self.device.flush().await
        }
        async fn discard(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
            self.device.discard(offset_bytes, length_bytes).await
        }
        async fn write_zeroes(&self, offset_bytes: u64, length_bytes: u64) -> Result<(), IoError> {
            self.device.write_zeroes(offset_bytes, length_bytes).await
        }
    };
}
pub(crate) use passes_on_the_rest;

impl<B: BlockIo> BlockIo for GrowingSpace<B> {
    fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::SeqCst)
    }
    async fn read_at(&self, offset_bytes: u64, buffer: BytesMut) -> ReadResult {
        self.device.read_at(offset_bytes, buffer).await
    }
    fn read_now(&self, offset_bytes: u64, buffer: &mut [u8]) -> bool {
        self.device.read_now(offset_bytes, buffer)
    }
    async fn write_at(&self, offset_bytes: u64, data: Bytes) -> Result<(), IoError> {
        assert!(offset_bytes + data.len() as u64 <= self.size_bytes(), "a write past the end");
        self.device.write_at(offset_bytes, data).await
    }
    passes_on_the_rest!();
    async fn mapped_run(
        &self,
        offset_bytes: u64,
        length_bytes: u64,
    ) -> Result<(bool, u64), IoError> {
        self.device.mapped_run(offset_bytes, length_bytes).await
    }
}

impl<B: BlockIo> Growable for GrowingSpace<B> {
    async fn grow(&self, additional_bytes: u64) -> Result<u64, IoError> {
        let grown = self.size_bytes() + additional_bytes;
        if grown > self.limit_bytes {
            return Err(IoError::NoSpace);
        }
        self.size_bytes.store(grown, Ordering::SeqCst);
        Ok(grown)
    }
}

/// The catalog: what is in it is durable. An update takes effect at once, or never after a cut.
#[derive(Clone, Default)]
pub struct Catalog {
    pub state: Arc<Mutex<CatalogState>>,
    pub power: Option<Arc<Power>>,
    /// One invalidation out of so many cannot be written; 0 for none.
    pub failures_one_in: Arc<AtomicU64>,
}

#[derive(Clone, Debug, Default)]
pub struct CatalogState {
    pub next_epoch: u32,
    pub live: BTreeMap<Epoch, PointRange>,
    pub unrecorded: Vec<Epoch>,
}

impl Catalog {
    pub async fn update<R>(&self, change: impl FnOnce(&mut CatalogState) -> R) -> R {
        if self.power.is_some() {
            // Others run, and write, before an update takes effect.
            sleep(random_below(30)).await;
        }
        if self.power.as_ref().is_some_and(|power| power.is_off()) {
            std::future::pending::<()>().await;
        }
        change(&mut self.state.lock().unwrap())
    }

    pub fn points(&self) -> Vec<SnapshotPoint> {
        let state = self.state.lock().unwrap();
        state.live.iter().map(|(&epoch, &range)| SnapshotPoint { epoch, range }).collect()
    }

    fn survivor(&self, power: &Arc<Power>) -> Self {
        let mut state = self.state.lock().unwrap().clone();
        state.unrecorded.clear();
        let failures_one_in = Arc::default();
        Self { state: Arc::new(Mutex::new(state)), power: Some(power.clone()), failures_one_in }
    }
}

impl SnapshotLedger for Catalog {
    async fn invalidate(&self, epochs: &[Epoch], _reason: &str) -> Result<(), IoError> {
        let one_in = self.failures_one_in.load(Ordering::SeqCst);
        let fails = one_in > 0 && random_below(one_in) == 0;
        self.update(|state| {
            for epoch in epochs {
                let recorded = state.live.contains_key(epoch);
                if !fails {
                    state.live.remove(epoch);
                }
                // Also where it fails, as a catalog does it.
                if !recorded {
                    state.unrecorded.push(*epoch);
                }
            }
        })
        .await;
        if fails { Err(IoError::failed("the catalog cannot be written")) } else { Ok(()) }
    }
}

/// What origin and store lie on.
pub type Medium = Faulty<SimulatedMember>;

pub type TestEngine<O> = Engine<O, GrowingSpace<Medium>, Catalog>;

/// What of a volume is there after a cut, and what it is opened with.
#[derive(Clone)]
pub struct Rig {
    pub origin: SimulatedMember,
    pub store: SimulatedMember,
    /// In the pool's catalog, durable.
    pub store_bytes: Arc<AtomicU64>,
    pub catalog: Catalog,
    pub chunk_bytes: u64,
    pub policy: FullPolicy,
    pub origin_faults: Arc<FaultPlan>,
    pub store_faults: Arc<FaultPlan>,
}

pub const STORE_ID: Uuid = Uuid::from_u128(0x5E55_10E5);

impl Rig {
    /// A volume of zeros; its store is made by `format`.
    pub fn new(size_bytes: u64, chunk_bytes: u64, limit_chunks: u64, power: &Arc<Power>) -> Self {
        let store_bytes = (10 * chunk_bytes).max(32 << 10);
        Self {
            origin: SimulatedMember::new("origin", size_bytes, power),
            store: SimulatedMember::new("store", limit_chunks * chunk_bytes, power),
            store_bytes: Arc::new(AtomicU64::new(store_bytes)),
            catalog: Catalog { power: Some(power.clone()), ..Catalog::default() },
            chunk_bytes,
            policy: FullPolicy::DropSnapshot,
            origin_faults: FaultPlan::new(),
            store_faults: FaultPlan::new(),
        }
    }

    pub fn with_delays(mut self, seed: u64) -> Self {
        self.origin = self.origin.with_delays(seed);
        self.store = self.store.with_delays(seed ^ 0x55);
        self
    }

    /// What a power cut left; the faults are over.
    pub fn survivor(&self, seed: u64, power: &Arc<Power>) -> Self {
        Self {
            origin: self.origin.survivor(seed, power),
            store: self.store.survivor(!seed, power),
            store_bytes: Arc::new(AtomicU64::new(self.store_bytes.load(Ordering::SeqCst))),
            catalog: self.catalog.survivor(power),
            origin_faults: FaultPlan::new(),
            store_faults: FaultPlan::new(),
            ..*self
        }
    }

    fn origin(&self) -> Arc<Medium> {
        Arc::new(Faulty::new(self.origin.clone(), &self.origin_faults))
    }

    fn space(&self) -> Arc<GrowingSpace<Medium>> {
        Arc::new(GrowingSpace {
            device: Arc::new(Faulty::new(self.store.clone(), &self.store_faults)),
            size_bytes: self.store_bytes.clone(),
            limit_bytes: self.store.size_bytes(),
        })
    }

    pub fn chunk(&self) -> ChunkSize {
        ChunkSize::new(self.chunk_bytes).unwrap()
    }

    fn store_options() -> StoreOptions {
        StoreOptions { log_slack_blocks: Some(6) }
    }

    pub async fn format(&self) -> Arc<TestEngine<Medium>> {
        let space = self.space();
        let store =
            ExceptionStore::create(space, self.chunk(), STORE_ID, Self::store_options()).await;
        self.engine(self.origin(), store.unwrap())
    }

    pub async fn open(&self) -> Result<Arc<TestEngine<Medium>>, MapError> {
        self.open_over(self.origin()).await
    }

    pub async fn open_over<O: BlockIo>(
        &self,
        origin: Arc<O>,
    ) -> Result<Arc<TestEngine<O>>, MapError> {
        let live = self.catalog.points().iter().map(|point| point.live(self.chunk())).collect();
        let space = self.space();
        let options = Self::store_options();
        let store =
            ExceptionStore::open(space, self.chunk(), STORE_ID, LiveSet::new(live), options);
        Ok(self.engine(origin, store.await?))
    }

    fn engine<O: BlockIo>(
        &self,
        origin: Arc<O>,
        store: ExceptionStore<GrowingSpace<Medium>>,
    ) -> Arc<TestEngine<O>> {
        let options = EngineOptions {
            size_bytes: origin.size_bytes(),
            rules: StoreRules { policy: self.policy, limit_bytes: Some(self.store.size_bytes()) },
            points: self.catalog.points(),
            next_epoch: Epoch(self.catalog.state.lock().unwrap().next_epoch.max(1)),
        };
        Arc::new(Engine::open(origin, store, self.catalog.clone(), options))
    }
}

/// Takes a snapshot as floor 5 does: point, flush, record. `None` when it was given up meanwhile.
pub async fn take_snapshot<O: BlockIo, S: Growable>(
    engine: &Engine<O, S, Catalog>,
    catalog: &Catalog,
    range: PointRange,
    at_the_point: impl FnOnce(Epoch),
) -> Option<Epoch> {
    let hold = engine.hold().await;
    let epoch = hold.flip(range).unwrap();
    at_the_point(epoch);
    drop(hold);
    engine.flush().await.unwrap();
    let recorded = catalog
        .update(|state| {
            let given_up = state.unrecorded.contains(&epoch);
            if !given_up {
                state.next_epoch = state.next_epoch.max(epoch.0 + 1);
                state.live.insert(epoch, range);
            }
            !given_up
        })
        .await;
    recorded.then_some(epoch)
}

pub async fn delete_snapshot<O: BlockIo, S: Growable>(
    engine: &Engine<O, S, Catalog>,
    catalog: &Catalog,
    epoch: Epoch,
) {
    catalog.update(|state| state.live.remove(&epoch)).await;
    engine.forget(&[epoch]);
}

/// `sectors` sectors that all hold `stamp`.
pub fn stamped(stamp: u64, sectors: u64) -> Bytes {
    let words = (sectors * SECTOR / 8) as usize;
    Bytes::from(stamp.to_le_bytes().repeat(words))
}

/// The stamp of each sector; a sector must hold one stamp throughout.
pub fn stamps_of(bytes: &[u8]) -> Vec<u64> {
    let stamp_of = |sector: &[u8]| {
        let stamp = &sector[..8];
        assert!(sector.chunks(8).all(|word| word == stamp), "a sector is mixed");
        u64::from_le_bytes(stamp.try_into().unwrap())
    };
    bytes.chunks(SECTOR as usize).map(stamp_of).collect()
}

/// The stamps of a range of a device, or why it cannot be read.
pub async fn read_stamps<B: BlockIo>(
    device: &B,
    first_sector: u64,
    sectors: u64,
) -> Result<Vec<u64>, IoError> {
    let buffer = BytesMut::zeroed((sectors * SECTOR) as usize);
    let (outcome, bytes) = device.read_at(first_sector * SECTOR, buffer).await;
    outcome.map(|()| stamps_of(&bytes))
}

/// The same, as far as that needs no waiting.
pub fn read_stamps_now<B: BlockIo>(
    device: &B,
    first_sector: u64,
    sectors: u64,
) -> Option<Vec<u64>> {
    let mut bytes = vec![0; (sectors * SECTOR) as usize];
    device.read_now(first_sector * SECTOR, &mut bytes).then(|| stamps_of(&bytes))
}

/// Whether each sector of a range of a device is mapped.
pub async fn mapped_sectors<B: BlockIo>(
    device: &B,
    first_sector: u64,
    sectors: u64,
) -> Result<Vec<bool>, IoError> {
    let runs = mapped_runs(device, first_sector * SECTOR, sectors * SECTOR).await?;
    let of_run = |(length, mapped): &(u64, bool)| vec![*mapped; (length / SECTOR) as usize];
    let mapped: Vec<bool> = runs.iter().flat_map(of_run).collect();
    assert_eq!(mapped.len() as u64, sectors, "so few runs are never cut short");
    Ok(mapped)
}

pub fn shared<T>(value: T) -> Rc<RefCell<T>> {
    Rc::new(RefCell::new(value))
}

pub fn random_range(random: &mut Random, sectors: u64, longest: u64) -> (u64, u64) {
    let first = random.below(sectors);
    (first, 1 + random.below(longest.min(sectors - first)))
}
